//! NBC: class means of a batch that push each other apart.
use burn::{
    module::Module,
    tensor::{Tensor, TensorData},
};
use kiln_activations::{Ctx, Init};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    HeadParams, Laws, Scorer, Site,
    angular::{said, single, unit},
};
use crate::{Ask, Invalid, block::Linear, kernel::Epilogue};

/// Parameters of [`Nbc`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NbcConfig {
    /// Factor on the cosines; it multiplies.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub tau: f64,
    /// Weight of the term beside the loss: r/(1 − r) of the paper's mixture `(1 − r) CE + r L_N`.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub weight: f64,
    /// Whether the term is divided by the number of classes.
    pub per_class: bool,
    /// Width of a linear map that the features pass before their means are taken; left out, they pass none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub projection: Option<usize>,
}

impl Default for NbcConfig {
    /// The authors' code: r = ½. Both together make the term too small to matter on small tasks; τ = 5 and a weight of 9
    /// (r = 0.9) act.
    fn default() -> Self {
        Self { tau: 0.2, weight: 1.0, per_class: true, projection: None }
    }
}

impl Entry for NbcConfig {
    const SUMMARY: &'static str =
        "a dense layer, and a term of the loss that pushes the class means of the features apart";
    const PAPER: &'static str = "Kulatilleke et al. 2022, NBC-Softmax: Darkweb Author fingerprinting and migration tracking, \
                                 arXiv:2212.08184";
}

impl HeadParams for NbcConfig {
    fn laws(&self) -> Laws {
        Laws { needs_classes: true, batch_coupled: true, ..Laws::LINEAR }
    }

    fn check(&self, _: &Site) -> Result<(), Invalid> {
        match self.projection {
            Some(0) => Err(Invalid::new("projection", "0 is no width; expected a whole number of at least 1".into())),
            _ => Ok(()),
        }
    }
}

impl NbcConfig {
    /// The head.
    pub fn init(&self, (site, init): (&Site, &Init)) -> Nbc {
        let Self { tau, weight, per_class, projection } = *self;
        let factor = if per_class { weight / site.outputs as f64 } else { weight };
        let project = |outputs| Site { outputs, bias: false, ..*site }.linear(&init.child("projection"));
        Nbc { output: site.linear(&init.child("output")), projection: projection.map(project), tau, factor }
    }
}

/// A dense layer, and in training the term `nbc` for the classes of the batch, whose mean features μ_k push each other apart.
/// ```text
/// S_kl = cos(μ_k, μ_l) for k ≠ l, S_kk = 0,   term: weight / C · mean_k ln Σ_l exp(τ S_kl)
/// ```
/// A mean of 0 has the cosine 0 with all others; a batch of one class has the term 0. Use batches with many classes.
///
/// # Shapes
/// - features: `[answers, features]`; logits: `[answers, outputs]`
/// # References
/// Kulatilleke et al. 2022, arXiv:2212.08184.
#[derive(Module, Debug)]
pub struct Nbc {
    /// `[features, outputs]`
    pub output: Linear,
    /// `[features, projection]`, what the means are taken of, if it is not the features.
    pub projection: Option<Linear>,
    tau: f64,
    factor: f64,
}

impl Nbc {
    /// The term for features whose rows have these classes, `[1]`.
    fn term(&self, features: Tensor<2>, classes: &[usize]) -> Tensor<1> {
        let features = single(features);
        let (rows, device, dtype) = (classes.len(), features.device(), features.dtype());
        let mut present = classes.to_vec();
        present.sort_unstable();
        present.dedup();
        let n = present.len();
        // Means as a product: each row of this matrix is 1/n_k at the rows of class k.
        let mut share = vec![0.0; n * rows];
        for (k, class) in present.iter().enumerate() {
            let own: Vec<usize> = (0..rows).filter(|row| classes[*row] == *class).collect();
            own.iter().for_each(|row| share[k * rows + row] = 1.0 / own.len() as f64);
        }
        let matrix = |values: Vec<f64>, shape: [usize; 2]| {
            Tensor::<2>::from_data(TensorData::new(values, shape), (&device, dtype))
        };
        let means = unit(matrix(share, [n, rows]).matmul(features), 1);
        let between = (0..n * n).map(|i| if i / n == i % n { 0.0 } else { self.tau }).collect();
        let s = means.clone().matmul(means.transpose()) * matrix(between, [n, n]);
        s.exp().sum_dim(1).log().mean().mul_scalar(self.factor)
    }
}

impl Scorer for Nbc {
    fn forward(&self, features: Tensor<2>, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        if let Some(classes) = said(ask) {
            ctx.add_loss("nbc", || {
                let classes: Vec<usize> = classes.to_data().iter::<i64>().map(|class| class as usize).collect();
                let projected = match &self.projection {
                    Some(projection) => projection.forward(features.clone(), Epilogue::None),
                    None => features.clone(),
                };
                self.term(projected, &classes)
            });
        }
        self.output.forward(features, Epilogue::None)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        Some(self.output.weight.val().transpose())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::{
        block::Draw,
        testing::{assert_close, device, values},
    };

    fn head() -> Nbc {
        let site = Site { features: 2, outputs: 4, bias: true, draw: Draw::Uniform };
        NbcConfig::default().init((&site, &Init::new(0, &device(), DType::F64)))
    }

    fn features(values: &[f64]) -> Tensor<2> {
        let data = TensorData::new(values.to_vec(), [values.len() / 2, 2]);
        Tensor::from_data(data, (&device(), DType::F64)).require_grad()
    }

    #[test]
    fn golden_values() {
        let h = features(&[1.0, 0.0, 0.8, 0.2, 0.0, 1.0, -0.5, 0.5, 0.3, -1.0]);
        let term = head().term(h.clone(), &[0, 0, 1, 1, 3]);
        assert_close("term", &values(&term), &[0.2640003629], 1e-9);
        let first = [4.770626134e-05, -0.000429356352];
        let second = [0.006329692174, 0.002109897391];
        let want = [first, first, second, second, [0.01039621068, 0.003118863204]].concat();
        let found = values(&h.grad(&term.backward()).expect("it takes part"));
        found.iter().zip(&want).for_each(|(found, want)| assert_close("dh", &[found / want], &[1.0], 1e-8));
    }

    #[test]
    fn the_means_may_be_those_of_a_projection() {
        let site = Site { features: 2, outputs: 4, bias: true, draw: Draw::Uniform };
        let config = NbcConfig { projection: Some(3), ..Default::default() };
        let head = config.init((&site, &Init::new(0, &device(), DType::F64)));
        let h = features(&[1.0, 0.0, 0.8, 0.2, 0.0, 1.0, -0.5, 0.5, 0.3, -1.0]);
        let classes = [0, 0, 1, 1, 3];
        let target = Tensor::<1, burn::tensor::Int>::from_data(classes.map(|class| class as i32), &device());
        let ask = Ask::row().knowing(kiln_activations::loss::Target::Classes(target));
        let terms = kiln_activations::LossTerms::default();
        head.forward(h.clone(), &ask, &Ctx::train(0, 0).with_loss_terms(&terms));
        let projected = h.matmul(head.projection.as_ref().unwrap().weight.val());
        assert_close("term", &values(&terms.take()[0].value), &values(&head.term(projected, &classes)), 1e-15);
        let message = NbcConfig { projection: Some(0), ..config }.check(&site).unwrap_err().to_string();
        assert_eq!(message, "model.projection: 0 is no width; expected a whole number of at least 1");
    }

    #[test]
    fn one_class_or_a_mean_of_0_pushes_nothing() {
        let h = features(&[1.0, 2.0, 0.5, -1.0]);
        let term = head().term(h.clone(), &[2, 2]);
        assert_eq!(values(&term), [0.0]);
        assert_eq!(values(&h.grad(&term.backward()).expect("it takes part")), [0.0; 4]);
        let h = features(&[1.0, 2.0, -1.0, -2.0, 0.5, -1.0]);
        let term = head().term(h.clone(), &[0, 0, 1]);
        assert_close("term", &values(&term), &[2f64.ln() / 4.0], 1e-15);
        assert!(values(&h.grad(&term.backward()).expect("it takes part")).iter().all(|g| g.is_finite()));
    }
}
