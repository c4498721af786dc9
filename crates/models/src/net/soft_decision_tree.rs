//! The soft decision tree.
use burn::{
    module::{Module, Param},
    tensor::{DType, Tensor, TensorData, activation::log_softmax},
};
use kiln_activations::{
    Ctx, Init, Keep,
    loss::{LossConfig, Scores, TargetKind},
    pointwise::{Pointwise, PointwiseConfig},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Network, NetworkConfig};
use crate::{
    Ask, HeadConfig, Input, Invalid, Io, Precision,
    block::{Draw, Linear, Running},
    kernel::Epilogue,
};

/// Parameters of [`SoftDecisionTree`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SoftDecisionTreeConfig {
    /// Decisions on the way to a leaf; the tree has 2^depth leaves.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1, max = 16))]
    pub depth: usize,
    /// What training makes small.
    pub objective: Objective,
    /// How it answers while evaluating.
    pub predict: Predict,
    /// β: how sharply each node decides, at first.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub inverse_temperature: f64,
    /// Whether each node learns its β.
    pub learn_temperature: bool,
    /// λ: weight of the penalty on nodes that send nearly everything to one side; 0 for none.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub penalty: f64,
    /// Batches over which the share that the root sends right is averaged; a node at depth d averages over 2^d times
    /// as many, since it sees as many fewer rows. 1 forgets earlier batches at the root.
    #[serde(deserialize_with = "at_least_one")]
    #[schemars(range(min = 1.0))]
    pub window: f64,
    /// No key: a head here is refused with the reason.
    #[serde(skip_serializing, deserialize_with = "no_head")]
    #[schemars(skip)]
    pub head: (),
    /// Number format of parameters and hidden states.
    pub dtype: Precision,
}

/// The tree has no place for a head, and says why.
fn no_head<'de, D: serde::Deserializer<'de>>(_: D) -> Result<(), D::Error> {
    Err(serde::de::Error::custom(
        "a soft decision tree takes no head: its leaves are distributions over the classes, and there are no features to score; \
         leave it out, or choose another network",
    ))
}

fn at_least_one<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let window = range::positive(deserializer)?;
    if window < 1.0 {
        return Err(serde::de::Error::custom(format!("{window} is out of range; expected a number of at least 1")));
    }
    Ok(window)
}

/// What training makes small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The cross-entropy of each leaf, weighted by the probability of its path: each leaf learns on its own. The paper's.
    #[default]
    Paths,
    /// The cross-entropy of the mixture of all leaves.
    Mixture,
}

/// How the tree answers while evaluating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Predict {
    /// By the leaf of the most probable path, whose decisions explain the answer. The paper's.
    #[default]
    MaxPath,
    /// By the mixture of all leaves.
    Mixture,
}

impl Default for SoftDecisionTreeConfig {
    /// The paper's tree for MNIST.
    fn default() -> Self {
        Self {
            depth: 8,
            objective: Objective::Paths,
            predict: Predict::MaxPath,
            inverse_temperature: 1.0,
            learn_temperature: false,
            penalty: 0.1,
            window: 1.0,
            head: (),
            dtype: Precision::F32,
        }
    }
}

impl Entry for SoftDecisionTreeConfig {
    const SUMMARY: &'static str =
        "binary tree of soft decisions on feature vectors or images, a distribution at each leaf";
    const PAPER: &'static str = "Frosst and Hinton 2017, arXiv:1711.09784";
}

impl NetworkConfig for SoftDecisionTreeConfig {
    fn check(&self, io: &Io) -> Result<(), Invalid> {
        if io.input.flat().is_none() {
            let message = format!(
                "\"soft_decision_tree\" takes feature vectors or images, but the data gives {}; choose other data, such \
                 as \"parity\", or name = \"mlp\"",
                io.input
            );
            return Err(Invalid::new("name", message));
        }
        if self.depth > 16 {
            let message = format!("a tree of depth {} has 2^{0} leaves; expected at most 16", self.depth);
            return Err(Invalid::new("depth", message));
        }
        Ok(())
    }

    fn dtype(&self) -> DType {
        self.dtype.dtype()
    }

    fn head(&self) -> Option<&HeadConfig> {
        None
    }

    fn trains(&self, loss: &LossConfig, _: TargetKind) -> Result<(), String> {
        loss.check_scores(Scores::LogWeights).map_err(|message| format!("with the tree's leaves, {message}"))
    }
}

impl SoftDecisionTreeConfig {
    /// The tree. Decisions are drawn from `U(−1/√inputs, 1/√inputs)`, the leaves' scores from `N(0, 1)`.
    ///
    /// # Panics
    /// If [`NetworkConfig::check`] refuses.
    pub fn init(&self, (io, init): (&Io, &Init)) -> SoftDecisionTree {
        let inputs = io.input.flat().unwrap_or_else(|| panic!("soft_decision_tree takes no {}", io.input));
        let leaves = 1 << self.depth;
        let sharpness = || init.constant([leaves - 1], self.inverse_temperature);
        SoftDecisionTree {
            decisions: Linear::new(&init.child("decisions"), [inputs, leaves - 1], true, Draw::Uniform),
            sharpness: self.learn_temperature.then(sharpness),
            leaves: init.normal("leaves", [leaves, io.outputs], 1.0),
            shares: Running::new(init, [leaves - 1], 0.5),
            softplus: PointwiseConfig::Softplus(Default::default()).init(init),
            config: self.clone(),
        }
    }
}

/// A full binary tree of soft decisions on the raw input.
/// ```text
/// p_i = σ(β_i (⟨w_i, x⟩ + b_i))                     node i goes right
/// P_l = product of p or 1 − p along the path        leaf l is reached
/// Q_l = softmax(φ_l)                                its answer, whatever x
/// ```
/// Nodes are numbered row by row from the root, the children of node i are 2i + 1 (left) and 2i + 2, leaves run from
/// left to right.
///
/// The logits are logarithms of probabilities, `log Q` of one leaf or of the mixture `Σ_l P_l Q_l`. While training under
/// [`Objective::Paths`] they are the averages `z_k = Σ_l P_l log Q_l(k)`, which are no logarithms of probabilities: the
/// cross-entropy adds `log Σ_k exp z_k`, and the term `tree_paths` takes that away again, so that under the softmax
/// cross-entropy of mean rows both together are the paper's loss, `−Σ_l P_l Σ_k T_k log Q_l(k)`. (The paper writes a
/// logarithm around that sum, which has none.)
///
/// The term `tree_balance` is the paper's penalty,
/// ```text
/// −λ Σ_i 2^(−depth i) · ½ (log α_i + log(1 − α_i)),   α_i = Σ_x P_i(x) p_i(x) / Σ_x P_i(x)
/// ```
/// over the batch, blended with its running average at `rate_i = 1 / (window · 2^(depth i))`: the gradient flows
/// through the batch's part. α is kept within [1e-6, 1 − 1e-6].
///
/// # Shapes
/// - input: `Floats [rows, width]` or `Image`; logits: `[rows, outputs]`
/// - recorded for a probe: `block`, the probability of each leaf, `[rows, leaves]`
#[derive(Module, Debug)]
pub struct SoftDecisionTree {
    /// w and b of all nodes: `[inputs, nodes]`
    pub decisions: Linear,
    /// β: `[nodes]`, if it is learned.
    pub sharpness: Option<Param<Tensor<1>>>,
    /// φ: `[leaves, outputs]`
    pub leaves: Param<Tensor<2>>,
    /// The running average of α: `[nodes]`, first ½.
    pub shares: Running<1>,
    softplus: Pointwise,
    #[module(skip)]
    config: SoftDecisionTreeConfig,
}

impl SoftDecisionTree {
    /// β_i (⟨w_i, x⟩ + b_i): `[rows, inputs]` to `[rows, nodes]`.
    fn scores(&self, x: Tensor<2>) -> Tensor<2> {
        let scores = self.decisions.forward(x, Epilogue::None);
        match &self.sharpness {
            Some(sharpness) => scores * sharpness.val().unsqueeze(),
            None if self.config.inverse_temperature == 1.0 => scores,
            None => scores.mul_scalar(self.config.inverse_temperature),
        }
    }

    /// Logarithms of the probability of reaching each node, level by level, the leaves last: `[rows, 2^d]` each.
    fn paths(&self, scores: &Tensor<2>) -> Vec<Tensor<2>> {
        let [rows, _] = scores.dims();
        // log σ(s) = −softplus(−s)
        let right = self.softplus.forward(scores.clone().neg()).neg();
        let left = self.softplus.forward(scores.clone()).neg();
        let mut levels = vec![Tensor::zeros([rows, 1], (&scores.device(), scores.dtype()))];
        for depth in 0..self.config.depth {
            let (first, nodes) = ((1 << depth) - 1, 1 << depth);
            let above = levels[depth].clone();
            let children = [&left, &right].map(|side| above.clone() + side.clone().narrow(1, first, nodes));
            levels.push(Tensor::stack::<3>(children.to_vec(), 2).reshape([rows, 2 * nodes]));
        }
        levels
    }

    /// The penalty, `[1]`; proposes the next running averages.
    fn balance(&self, scores: &Tensor<2>, levels: &[Tensor<2>]) -> Tensor<1> {
        let depth = self.config.depth;
        let right = burn::tensor::activation::sigmoid(scores.clone());
        let shares = |d: usize| {
            // The largest path probability of a node cancels, and with it the underflow of deep nodes.
            let paths = levels[d].clone();
            let weights = (paths.clone() - paths.max_dim(0).detach()).exp();
            let right = right.clone().narrow(1, (1 << d) - 1, 1 << d);
            (weights.clone() * right).sum_dim(0) / weights.sum_dim(0)
        };
        let shares = Tensor::cat((0..depth).map(shares).collect(), 1);
        let nodes = (1 << depth) - 1;
        let shares: Tensor<1> = shares.reshape([nodes]);
        let per_depth = |f: &dyn Fn(usize) -> f64| {
            let values: Vec<f64> = (0..depth).flat_map(|d| vec![f(d); 1 << d]).collect();
            Tensor::<1>::from_data(TensorData::new(values, [nodes]), (&scores.device(), scores.dtype()))
        };
        let rate = |d: usize| 1.0 / (self.config.window * (1 << d) as f64);
        let running = self.shares.value() * per_depth(&|d| 1.0 - rate(d)) + shares * per_depth(&rate);
        self.shares.propose(running.clone());
        let share = running.clamp(1e-6, 1.0 - 1e-6);
        let logs = share.clone().log() + share.neg().add_scalar(1.0).log();
        let penalty = self.config.penalty;
        (logs * per_depth(&|d| -0.5 * penalty / (1 << d) as f64)).sum()
    }

    /// log Σ_l P_l Q_l: `[rows, outputs]`.
    fn mixture(paths: Tensor<2>, answers: Tensor<2>) -> Tensor<2> {
        let ([rows, leaves], [_, outputs]) = (paths.dims(), answers.dims());
        let joint = paths.reshape([rows, leaves, 1]) + answers.reshape([1, leaves, outputs]);
        log_sum_exp(joint, 1).reshape([rows, outputs])
    }
}

/// log Σ exp along an axis, which stays with one entry.
fn log_sum_exp<const D: usize>(x: Tensor<D>, dim: usize) -> Tensor<D> {
    let largest = x.clone().max_dim(dim).detach();
    (x - largest.clone()).exp().sum_dim(dim).log() + largest
}

impl Network for SoftDecisionTree {
    fn forward(&self, input: &Input, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        ask.expect_rows("soft_decision_tree");
        let x = input.flat().unwrap_or_else(|| panic!("soft_decision_tree takes no {}", input.kind()));
        let scores = self.scores(x);
        let levels = self.paths(&scores);
        let paths = levels[self.config.depth].clone();
        ctx.record("block", &Keep::All, || paths.clone().exp());
        let answers = log_softmax(self.leaves.val(), 1);
        if ctx.training && self.config.penalty > 0.0 {
            ctx.add_loss("tree_balance", || self.balance(&scores, &levels));
        }
        let logits = match (ctx.training, self.config.objective, self.config.predict) {
            (true, Objective::Mixture, _) | (false, _, Predict::Mixture) => Self::mixture(paths, answers),
            (true, Objective::Paths, _) => {
                let averages = paths.exp().matmul(answers);
                ctx.add_loss("tree_paths", || log_sum_exp(averages.clone(), 1).mean().neg());
                averages
            }
            (false, _, Predict::MaxPath) => {
                let [rows, _] = paths.dims();
                answers.select(0, paths.argmax(1).reshape([rows]))
            }
        };
        ctx.record("logits", &Keep::All, || logits.clone());
        logits
    }

    fn embedding(&self) -> Option<Tensor<2>> {
        None
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        None
    }
}

#[cfg(test)]
mod tests;
