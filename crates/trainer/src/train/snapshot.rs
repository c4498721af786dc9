//! What a measure may look at: one log step, from three sides.
//!
//! At step t a snapshot holds the weights w_t (before the step), the logits of the step's training batch in
//! training mode, the loss gradient g_t (raw, before any transform) and the update u_t = w_{t+1} − w_t
//! (after everything), and the logits of the evaluation sets under w_t. Reading it changes nothing.
use std::cell::OnceCell;

use burn::{
    module::{ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};
use kiln_activations::loss::{Loss, Target};
use kiln_analyses::{Matrix, accuracy::accuracy, alignment::Named};
use kiln_datasets::{BatchSource, Split};
use kiln_models::{Model, visit_trained};
use kiln_optimizers::Chain;

use super::engine::host;

/// A network's answers on the host beside the right ones.
#[derive(Clone, Debug)]
pub struct Scored {
    /// Logits, row-major `[answers, classes]`, exact in f64; or the values that were asked for.
    pub logits: Vec<f64>,
    /// Numbers per answer.
    pub classes: usize,
    /// The right class of each answer; `None` where the answers are real numbers.
    targets: Option<Vec<usize>>,
    /// The probabilities, where the loss's answer is not the largest logit.
    preferences: Option<Vec<f64>>,
}

impl Scored {
    /// Reads logits of `[answers, classes]`, which this loss judges.
    pub fn new(loss: &Loss, logits: &Tensor<2>, targets: Option<&[usize]>) -> Self {
        let [_, classes] = logits.dims();
        let other = (!loss.keeps_order()).then(|| loss.probabilities(logits.clone())).flatten();
        Self {
            logits: host(logits),
            classes,
            targets: targets.map(<[usize]>::to_vec),
            preferences: other.as_ref().map(host),
        }
    }

    /// The right class of each answer.
    ///
    /// # Panics
    /// If the answers are real numbers; a measure that reads classes says so in
    /// [`Measure::check`](crate::measure::Measure::check).
    pub fn targets(&self) -> &[usize] {
        self.targets.as_deref().expect("the data asks for classes")
    }

    /// Share of answers whose first most preferred class is the target; NaN without answers, `None` if they are no classes.
    pub fn accuracy(&self) -> Option<f64> {
        self.targets.as_ref().map(|targets| accuracy(&self.preferences(), targets))
    }

    /// What the answer is the largest of: the logits, or the probabilities where the loss's map does not keep their order.
    pub fn preferences(&self) -> Matrix<'_> {
        Matrix::new(self.preferences.as_deref().unwrap_or(&self.logits), self.classes)
    }

    /// The logits as a matrix.
    pub fn matrix(&self) -> Matrix<'_> {
        Matrix::new(&self.logits[..], self.classes)
    }
}

/// One tensor of every parameter of a network (its values, its gradient or its update), on the host.
#[derive(Clone, Debug, Default)]
pub struct Parameters(Vec<Parameter>);

#[derive(Clone, Debug)]
struct Parameter {
    name: String,
    layer: String,
    rank: usize,
    values: Vec<f64>,
}

impl Parameters {
    /// As the analyses read it.
    pub fn named(&self) -> Vec<Named<'_>> {
        self.0.iter().map(|p| Named { name: &p.name, layer: &p.layer, rank: p.rank, values: &p.values }).collect()
    }
}

/// Weights and gradients before the step.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// w_t.
    pub weights: Parameters,
    /// g_t.
    pub gradients: Parameters,
}

/// One log step.
pub struct Snapshot<'a> {
    /// The training batch.
    pub train: Scored,
    /// Every evaluation set, by name.
    pub sets: Vec<(Split, Scored)>,
    /// The training logits on their device, detached.
    pub logits: Tensor<2>,
    /// Targets of the training batch.
    pub target: Target,
    /// Loss of each training row, in the loss dtype.
    pub loss_rows: Tensor<1>,
    /// u_t.
    pub updates: Parameters,
    /// w_t and g_t.
    pub before: Before,
    /// The training loss.
    pub loss: &'a Loss,
    /// The network at w_t, on the inference device.
    pub model: &'a Model,
    /// The optimizer after the step.
    pub chain: &'a Chain,
    /// The data.
    pub source: &'a dyn BatchSource,
    /// Filled on first use.
    pub cache: Cache,
}

/// Quantities several measures share.
#[derive(Debug, Default)]
pub struct Cache {
    logit_gradient: OnceCell<Vec<f64>>,
    row_sums: OnceCell<Vec<f64>>,
    loss_rows: OnceCell<Vec<f64>>,
}

impl Snapshot<'_> {
    /// G = ∂(mean loss)/∂z after the cast back to the model's dtype, `[rows, classes]`: exactly what the
    /// network's backward pass receives. Read by evaluating the loss once more on the detached logits.
    pub fn logit_gradient(&self) -> &[f64] {
        self.cache.logit_gradient.get_or_init(|| {
            let leaf = self.logits.clone().detach().require_grad();
            let gradients = self.loss.forward(leaf.clone(), &self.target).mean.backward();
            leaf.grad(&gradients).map_or_else(Vec::new, |gradient| host(&gradient))
        })
    }

    /// [`logit_gradient`](Self::logit_gradient) as a matrix.
    pub fn gradient_matrix(&self) -> Matrix<'_> {
        Matrix::new(self.logit_gradient(), self.train.classes)
    }

    /// S = Σ exp(z − max z) of each training row in the loss dtype, whatever the loss.
    pub fn row_sums(&self) -> &[f64] {
        self.cache.row_sums.get_or_init(|| {
            host(&kiln_activations::loss::softmax_row_sum(self.logits.clone(), self.loss.dtype(), Default::default()))
        })
    }

    /// Loss of each training row.
    pub fn losses(&self) -> &[f64] {
        self.cache.loss_rows.get_or_init(|| host(&self.loss_rows))
    }
}

impl Before {
    /// Reads weights and gradients to the host.
    pub fn read(model: &Model, gradients: &GradientsParams) -> Self {
        let mut values = Values { gradients: Some(gradients), ..Values::default() };
        visit_trained(model, &mut values);
        Self { weights: named(model, values.weights), gradients: named(model, values.gradient_values) }
    }
}

/// u = w_{t+1} − w_t, in f64 from values in the model's dtype.
pub fn updates(weights: &Parameters, next: &Model) -> Parameters {
    let mut values = Values::default();
    visit_trained(next, &mut values);
    let mut updates = named(next, values.weights);
    for (new, old) in updates.0.iter_mut().zip(&weights.0) {
        new.values.iter_mut().zip(&old.values).for_each(|(new, old)| *new -= old);
    }
    updates
}

fn named(model: &Model, values: Vec<Vec<f64>>) -> Parameters {
    let names = kiln_models::parameters(model);
    let join = |(p, values): (kiln_models::NamedParameter, _)| Parameter {
        name: p.name,
        layer: p.layer,
        rank: p.rank,
        values,
    };
    Parameters(names.into_iter().zip(values).map(join).collect())
}

/// Reads every trained parameter and, if asked, its gradient, in the order of [`kiln_models::parameters`].
#[derive(Default)]
struct Values<'a> {
    gradients: Option<&'a GradientsParams>,
    weights: Vec<Vec<f64>>,
    gradient_values: Vec<Vec<f64>>,
}

impl ModuleVisitor for Values<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let weight = host(&param.val());
        if let Some(gradients) = self.gradients {
            // A parameter that the loss does not reach has the gradient 0.
            let gradient = gradients.get::<D>(param.id).map_or_else(|| vec![0.0; weight.len()], |g| host(&g));
            self.gradient_values.push(gradient);
        }
        self.weights.push(weight);
    }
}
