//! The Fourier head: classes are ordered bins of a density.
use std::f64::consts::PI;

use burn::{
    module::{Module, Param},
    tensor::{Tensor, TensorData},
};
use kiln_activations::{Ctx, Init};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HeadParams, Laws, Scorer, Site, angular::single};
use crate::{Ask, Invalid, block::Linear, kernel::Epilogue};

use kiln_activations::loss::Scores;

/// Parameters of [`Fourier`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FourierConfig {
    /// The number of frequencies N, below half the number of classes.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub frequencies: usize,
    /// Weight of the penalty on high frequencies.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub gamma: f64,
}

impl Default for FourierConfig {
    /// Few frequencies, and the authors' weight for toy data.
    fn default() -> Self {
        Self { frequencies: 4, gamma: 1e-6 }
    }
}

impl Entry for FourierConfig {
    const SUMMARY: &'static str = "a density over ordered classes from a few Fourier coefficients";
    const PAPER: &'static str = "Gillman et al. 2024, Fourier Head: Helping Large Language Models Learn Complex Probability \
                                 Distributions, arXiv:2410.22269";
}

impl HeadParams for FourierConfig {
    fn laws(&self) -> Laws {
        Laws { scores: Scores::LogWeights, ..Laws::LINEAR }
    }

    fn check(&self, site: &Site) -> Result<(), Invalid> {
        if 2 * self.frequencies < site.outputs {
            return Ok(());
        }
        let message = format!(
            "{} frequencies cannot be told apart on {} classes; expected fewer than half of them",
            self.frequencies, site.outputs
        );
        Err(Invalid::new("frequencies", message))
    }
}

impl FourierConfig {
    /// The head. Weights and biases begin at a hundredth of those of the network's dense layers.
    pub fn init(&self, (site, init): (&Site, &Init)) -> Fourier {
        let outputs = 2 * (self.frequencies + 1);
        let Linear { weight, bias } = Site { outputs, bias: true, ..*site }.linear(&init.child("output"));
        fn smaller<const D: usize>(param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| {
                let tracked = tensor.is_require_grad();
                let tensor = tensor.detach().mul_scalar(0.01).detach();
                if tracked { tensor.require_grad() } else { tensor }
            })
        }
        let output = Linear { weight: smaller(weight), bias: bias.map(smaller) };
        Fourier { output, bins: site.outputs, frequencies: self.frequencies, gamma: self.gamma }
    }
}

/// A density over m ordered classes, the squared size of a trigonometric polynomial with N frequencies.
/// ```text
/// t_j = −1 + (2j + 1)/m,   a_k + i b_k = (h W + b)_k,   k = 0 … N
/// A_j + i B_j = Σ_k (a_k + i b_k) e^{iπ k t_j},   q_j = (A_j² + B_j²) / Σ_l (A_l² + B_l²),   z_j = ln(q_j + 1e-5)
/// term: γ · 2 · mean_rows Σ_k 2π²k² |c_k|²,   c_k = Σ_l z_{l+k} conj z_l with z = a + i b
/// ```
/// A row whose coefficients are all 0 is uniform. The term is added to the training loss as `fourier_penalty`.
///
/// # Shapes
/// - features: `[answers, features]`; logits: `[answers, outputs]`, logarithms of probabilities, at most 1e-5 above 0
/// # References
/// Gillman et al. 2024, arXiv:2410.22269. Their code forms the autocorrelation c and sums its cosine series; that is the same
/// number.
#[derive(Module, Debug)]
pub struct Fourier {
    /// `[features, 2 (N + 1)]`: a, then b.
    pub output: Linear,
    bins: usize,
    frequencies: usize,
    gamma: f64,
}

impl Fourier {
    /// cos and sin of π k t_j: `[N + 1, m]` each.
    fn tables(&self, like: &Tensor<2>) -> [Tensor<2>; 2] {
        let (terms, bins) = (self.frequencies + 1, self.bins);
        [f64::cos, f64::sin].map(|wave| {
            let angle = |k: usize, j: usize| PI * k as f64 * (-1.0 + (2 * j + 1) as f64 / bins as f64);
            let values = (0..terms).flat_map(|k| (0..bins).map(move |j| wave(angle(k, j)))).collect::<Vec<f64>>();
            Tensor::from_data(TensorData::new(values, [terms, bins]), (&like.device(), like.dtype()))
        })
    }

    /// The logits of coefficients (`[rows, N + 1]` each).
    fn logits(&self, a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
        let [cos, sin] = self.tables(a);
        let real = a.clone().matmul(cos.clone()) - b.clone().matmul(sin.clone());
        let imaginary = a.clone().matmul(sin) + b.clone().matmul(cos);
        let f = real.clone() * real + imaginary.clone() * imaginary;
        let sum = f.clone().sum_dim(1);
        let nothing = sum.clone().detach().lower_elem(1e-24);
        let shape = f.dims();
        let q = f / sum.mask_fill(nothing.clone(), 1.0);
        q.mask_fill(nothing.expand(shape), 1.0 / self.bins as f64).add_scalar(1e-5).log()
    }

    /// The penalty of coefficients (`[rows, N + 1]` each), `[1]`.
    fn penalty(&self, a: &Tensor<2>, b: &Tensor<2>) -> Tensor<1> {
        let [rows, terms] = a.dims();
        let along = |x: &Tensor<2>, y: &Tensor<2>, k: usize| {
            (x.clone().narrow(1, k, terms - k) * y.clone().narrow(1, 0, terms - k)).sum_dim(1)
        };
        let square = |x: Tensor<2>| x.clone() * x;
        let each = (1..terms).map(|k| {
            let real = along(a, a, k) + along(b, b, k);
            let imaginary = along(b, a, k) - along(a, b, k);
            (square(real) + square(imaginary)).sum().mul_scalar(4.0 * PI * PI * (k * k) as f64)
        });
        let sum = each.reduce(|sum, term| sum + term).expect("there is at least one frequency");
        sum.mul_scalar(self.gamma / rows.max(1) as f64)
    }
}

impl Scorer for Fourier {
    fn forward(&self, features: Tensor<2>, _: &Ask, ctx: &Ctx) -> Tensor<2> {
        let dtype = features.dtype();
        let coefficients = single(self.output.forward(features, Epilogue::None));
        let terms = self.frequencies + 1;
        let (a, b) = (coefficients.clone().narrow(1, 0, terms), coefficients.narrow(1, terms, terms));
        ctx.add_loss("fourier_penalty", || self.penalty(&a, &b));
        self.logits(&a, &b).cast(dtype)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Int};
    use kiln_activations::loss::{LossConfig, Target};

    use super::*;
    use crate::{
        block::Draw,
        testing::{assert_close, device, values},
    };

    fn head(frequencies: usize, bins: usize, gamma: f64) -> Fourier {
        let site = Site { features: 3, outputs: bins, bias: true, draw: Draw::Uniform };
        let config = FourierConfig { frequencies, gamma };
        config.check(&site).unwrap();
        config.init((&site, &Init::new(0, &device(), DType::F64)))
    }

    fn row(values: &[f64]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, values.len()]), (&device(), DType::F64)).require_grad()
    }

    #[test]
    fn golden_values() {
        let head = head(2, 5, 1.0);
        let (a, b) = (row(&[1.0, 0.3, -0.2]), row(&[0.1, 0.5, 0.4]));
        let z = head.logits(&a, &b);
        let want = [-2.447258018, -0.6821122392, -1.254665261, -3.233164559, -2.484495019];
        assert_close("logits", &values(&z), &want, 1e-9);
        let q: Vec<f64> = values(&z).iter().map(|z| z.exp() - 1e-5).collect();
        let want = [0.08652052668, 0.5055380254, 0.2851612903, 0.03942251462, 0.08335764295];
        assert_close("q", &q, &want, 1e-9);
        assert_close("penalty", &values(&head.penalty(&a, &b)), &[60.17300411], 1e-9);
        let loss = serde_json::from_str::<LossConfig>(r#"{ "name": "cross_entropy", "dtype": "f64" }"#).unwrap();
        let target = Target::Classes(Tensor::<1, Int>::from_data([3], &device()));
        let loss = loss.init(&Init::new(0, &device(), DType::F64)).forward(z, &target).mean;
        assert_close("loss", &values(&loss), &[3.233214558], 1e-9);
        let gradients = loss.backward();
        let of = |leaf: Tensor<2>| values(&leaf.grad(&gradients).expect("it takes part"));
        assert_close("da", &of(a), &[-2.26931485, -1.326973491, 2.242018123], 1e-8);
        assert_close("db", &of(b), &[-0.5166873881, 3.830574613, 3.130479886], 1e-8);
    }

    #[test]
    fn the_density_is_the_series_of_the_autocorrelation() {
        // f(t) = ½ + Re Σ_k (c_k/c_0) e^{iπkt}
        let head = head(2, 5, 1.0);
        let z = values(&head.logits(&row(&[1.0, 0.3, -0.2]), &row(&[0.1, 0.5, 0.4])));
        let c = [(1.55, 0.0), (0.49, 0.69), (-0.16, 0.42)];
        let f: Vec<f64> = (0..5)
            .map(|j| {
                let t = PI * (-1.0 + (2 * j + 1) as f64 / 5.0);
                let wave = |k: usize| (c[k].0 * (k as f64 * t).cos() - c[k].1 * (k as f64 * t).sin()) / c[0].0;
                0.5 + wave(1) + wave(2)
            })
            .collect();
        let sum: f64 = f.iter().sum();
        let want: Vec<f64> = f.iter().map(|f| (f / sum + 1e-5).ln()).collect();
        assert_close("logits", &z, &want, 1e-12);
    }

    #[test]
    fn no_coefficients_are_uniform_and_too_many_frequencies_refused() {
        let head = head(2, 5, 1.0);
        let zero = row(&[0.0; 3]);
        let z = head.logits(&zero, &zero);
        assert_close("logits", &values(&z), &[0.20001f64.ln(); 5], 1e-12);
        assert!(values(&zero.grad(&z.sum().backward()).expect("it takes part")).iter().all(|g| *g == 0.0));
        let site = Site { features: 3, outputs: 8, bias: true, draw: Draw::Uniform };
        let message = FourierConfig::default().check(&site).unwrap_err().message;
        assert_eq!(message, "4 frequencies cannot be told apart on 8 classes; expected fewer than half of them");
    }
}
