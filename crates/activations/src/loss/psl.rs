//! Pairwise softmax losses.
use std::{f64::consts::LN_2, sync::Arc};

use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    LossDtype, LossOutput, Objective, Scores, Target, TargetKind, by_rows, composed as parts,
    wide::{Wide, WideNll, logistic, softplus, sum},
};
use crate::{Init, kernel::Real as _, normalizer::composed};

/// The surrogate never falls below this.
const LEAST: f64 = 1e-8;

/// Parameters of [`Psl`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PslConfig {
    /// What is taken of a rival's lead over the target.
    pub surrogate: Surrogate,
    /// One over the power of the surrogate; the authors search 0.005 to 0.25.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub tau: f64,
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
}

impl Default for PslConfig {
    /// The surrogate that ranks best without noise, in the middle of the authors' range.
    fn default() -> Self {
        Self { surrogate: Surrogate::default(), tau: 0.1, dtype: LossDtype::default() }
    }
}

/// What [`Psl`] takes of a rival's lead d.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Surrogate {
    /// `max(0, 1 + d)`
    #[default]
    Relu,
    /// `1 + tanh d`
    Tanh,
    /// `1 + arctan d`
    Atan,
    /// `e^d`: softmax cross entropy without the target in its sum.
    Exp,
}

impl Entry for PslConfig {
    const SUMMARY: &'static str =
        "log-sum of a power of each rival's lead over the target, for ranking by half cosines";
    const PAPER: &'static str = "Yang et al. 2024, PSL: Rethinking and Improving Softmax Loss from Pairwise Perspective for \
                                 Recommendation, arXiv:2411.00163";
}

impl PslConfig {
    /// The loss.
    pub fn init(&self, _: &Init) -> Psl {
        Psl { config: self.clone() }
    }
}

/// A pairwise softmax loss: the target of a row against each of its rivals.
/// ```text
/// L = ln Σ_{j≠y} σ(d_j)^{1/τ},   d_j = f_j − f_y
/// ∂L/∂f_j = w_j σ'(d_j)/(τ σ(d_j)),   w = softmax(ln σ(d)/τ),   ∂L/∂f_y = −Σ_j ∂L/∂f_j
/// ```
/// Scores are half cosines, so that d lies in [−1, 1], where every surrogate is positive: the head `normalised` with s = 0.5 or
/// less. A surrogate below 1e-8 counts as 1e-8, with the slope 0. Rivals that were not sampled have the score −∞. A row without
/// rivals has the loss 0. The authors, too, sum over the rivals where their formula takes the mean: a constant.
///
/// # Shapes
/// - logits: `[rows, classes]`; target: [`Target::Classes`]
/// # Numerics
/// Computed in f64 and rounded once to the precision of the loss.
/// # References
/// Yang et al. 2024, arXiv:2411.00163.
#[derive(Module, Debug)]
pub struct Psl {
    #[module(skip)]
    config: PslConfig,
}

impl Objective for Psl {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        let PslConfig { surrogate, tau, .. } = self.config;
        by_rows(self, logits, None, target, Arc::new(Wide(PslRow { surrogate, power: 1.0 / tau })))
    }

    fn dtype(&self) -> LossDtype {
        self.config.dtype
    }

    fn targets(&self) -> &'static [TargetKind] {
        &[TargetKind::Classes]
    }

    fn check_scores(&self, scores: Scores) -> Result<(), String> {
        match scores {
            Scores::Logits { bound: Some(bound) } if bound <= 0.5 => Ok(()),
            Scores::Logits { bound } => {
                let given = bound.map_or_else(|| "logits of any size".into(), |bound| format!("logits up to {bound}"));
                Err(format!(
                    "reads half cosines, between −½ and ½, and the head gives {given}; take \
                     head = {{ name = \"normalised\", s = 0.5 }}"
                ))
            }
            other => Err(format!("reads half cosines, and the head gives {other}")),
        }
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let classes = target.classes();
        let left_out = parts::removed(&logits).bool_or(composed::is_class(classes, &logits));
        let own = composed::at_class(logits.clone(), classes).unsqueeze_dim::<2>(1);
        let d = (logits - own).mask_fill(left_out.clone(), 0.0);
        let log = match self.config.surrogate {
            Surrogate::Exp => d,
            Surrogate::Tanh => {
                let low = d.clone().detach().lower_elem(tanh_edge());
                // 1 + tanh d = 2/(1 + e^−2d)
                composed::softplus(d.mul_scalar(-2.0)).neg().add_scalar(LN_2).mask_fill(low, LEAST.ln())
            }
            Surrogate::Atan => floored(d.atan().add_scalar(1.0)),
            Surrogate::Relu => floored(d.add_scalar(1.0)),
        };
        let (log_sum, alone) = parts::log_sum(log.mul_scalar(1.0 / self.config.tau), left_out);
        log_sum.mask_fill(alone, 0.0).squeeze_dim(1)
    }
}

/// ln max(x, 1e-8), with the slope 0 at the floor.
fn floored(x: Tensor<2>) -> Tensor<2> {
    let low = x.clone().detach().lower_elem(LEAST);
    x.mask_fill(low, LEAST).log()
}

/// Where 1 + tanh d is 1e-8: −½ ln(2e8 − 1).
fn tanh_edge() -> f64 {
    -0.5 * (2.0 / LEAST - 1.0).ln()
}

#[derive(Clone, Copy, Debug)]
struct PslRow {
    surrogate: Surrogate,
    /// 1/τ
    power: f64,
}

impl PslRow {
    /// ln σ(d).
    #[inline(always)]
    fn log(&self, d: f64) -> f64 {
        match self.surrogate {
            Surrogate::Exp => d,
            Surrogate::Tanh => (LN_2 - softplus(-2.0 * d)).max(LEAST.ln()),
            Surrogate::Atan => (1.0 + arctan(d)).max(LEAST).ln_exact(),
            Surrogate::Relu => (1.0 + d).max(LEAST).ln_exact(),
        }
    }

    /// σ'(d)/σ(d), and 0 at the floor.
    #[inline(always)]
    fn slope(&self, d: f64) -> f64 {
        match self.surrogate {
            Surrogate::Exp => 1.0,
            Surrogate::Tanh if d < tanh_edge() => 0.0,
            Surrogate::Tanh => 2.0 * logistic(-2.0 * d),
            Surrogate::Atan if 1.0 + arctan(d) < LEAST => 0.0,
            Surrogate::Atan => 1.0 / ((1.0 + d * d) * (1.0 + arctan(d))),
            Surrogate::Relu if 1.0 + d < LEAST => 0.0,
            Surrogate::Relu => 1.0 / (1.0 + d),
        }
    }

    /// The largest ln σ(d)/τ among the rivals, and Σ exp of what the others are below it.
    #[inline(always)]
    fn terms(&self, x: &[f64], target: usize) -> (f64, f64) {
        let own = x[target];
        // The surrogates grow with d.
        let mut lead = f64::NEG_INFINITY;
        for (place, &x) in x.iter().enumerate() {
            lead = if place == target { lead } else { lead.max(x - own) };
        }
        let most = self.power * self.log(lead);
        let term = |place, x| if place == target { 0.0 } else { (self.power * self.log(x - own) - most).exp_exact() };
        (most, sum(x, term))
    }
}

impl WideNll for PslRow {
    #[inline(always)]
    fn loss(&self, x: &[f64], target: usize) -> f64 {
        if x.len() == 1 {
            return 0.0;
        }
        let (most, sum) = self.terms(x, target);
        most + sum.ln_exact()
    }

    #[inline(always)]
    fn slopes(&self, x: &[f64], target: usize, dx: &mut [f64]) {
        dx.fill(0.0);
        if x.len() == 1 {
            return;
        }
        let (own, (most, total)) = (x[target], self.terms(x, target));
        for (dx, &x) in dx.iter_mut().zip(x) {
            let weight = (self.power * self.log(x - own) - most).exp_exact() / total;
            *dx = self.power * weight * self.slope(x - own);
        }
        dx[target] = 0.0;
        dx[target] = -sum(dx, |_, slope| slope);
    }
}

/// arctan x to about 1 ulp, the same bits everywhere.
#[inline(always)]
fn arctan(x: f64) -> f64 {
    let size = x.abs();
    let (size, turned) = if size > 1.0 { (1.0 / size, true) } else { (size, false) };
    // arctan t = π/4 + arctan((t − 1)/(t + 1)) brings t below tan(π/8).
    let (t, offset) =
        if size > 0.414 { ((size - 1.0) / (size + 1.0), std::f64::consts::FRAC_PI_4) } else { (size, 0.0) };
    let square = t * t;
    let mut series = 0.0;
    for k in (0..22).rev() {
        series = 1.0 / (2 * k + 1) as f64 - square * series;
    }
    let angle = offset + t * series;
    if turned { std::f64::consts::FRAC_PI_2 - angle } else { angle }.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        loss::law_tests::{assert_laws, assert_row, loss},
        testing::assert_close,
    };

    fn psl(surrogate: &str, tau: f64) -> crate::loss::Loss {
        loss(&format!(r#"{{ "name": "psl", "surrogate": "{surrogate}", "tau": {tau}, "dtype": "f64" }}"#))
    }

    #[test]
    fn golden_values() {
        for (surrogate, want, slopes) in [
            ("tanh", 3.284663099, [5.814958532, 0.01545494171, 0.5793651866, 1.141745573e-05]),
            ("atan", 3.288448424, [5.857776003, 0.01540690971, 0.5771775491, 9.269701376e-06]),
            ("relu", 3.420431473, [6.755815904, 0.01319495294, 0.5072583177, 1.67415416e-07]),
            ("exp", 4.030641138, [9.698235432, 0.008843645988, 0.2928613339, 5.958801795e-05]),
        ] {
            // The target at 0.1, the rivals ahead by these much.
            let x = [0.1, 0.5, -0.2, 0.15, -0.7];
            let all = [&[-slopes.iter().sum::<f64>()], &slopes[..]].concat();
            assert_row(&psl(surrogate, 0.1), &x, 0, want, &all);
        }
    }

    #[test]
    fn laws_where_every_surrogate_is_positive() {
        // The shared scales reach beyond [−1, 1] for all but the exponential; there the floor has kinks.
        for surrogate in ["tanh", "exp"] {
            assert_laws(&psl(surrogate, 0.4));
        }
        assert_row(&psl("relu", 0.1), &[0.3], 0, 0.0, &[0.0]);
        assert_row(&psl("atan", 0.1), &[0.3, f64::NEG_INFINITY], 0, 0.0, &[0.0; 2]);
        // A rival far behind stands on the floor.
        assert_row(&psl("relu", 1.0), &[2.0, 0.5], 0, LEAST.ln(), &[0.0; 2]);
    }

    #[test]
    fn arctan_is_that_of_the_library() {
        for x in [-1e300, -7.0, -1.001, -1.0, -0.5, -0.414, -1e-9, 0.0, 1e-300, 0.2, 0.4141, 0.7, 1.0, 3.0, 1e9] {
            assert_close("arctan", &[arctan(x)], &[x.atan()], 4e-16, 0.0);
        }
    }

    #[test]
    fn scores_that_are_no_half_cosines_are_refused() {
        let psl = psl("relu", 0.1);
        assert_eq!(psl.check_scores(Scores::Logits { bound: Some(0.5) }), Ok(()));
        let message = psl.check_scores(Scores::Logits { bound: Some(20.0) }).expect_err("refused");
        assert!(
            message.contains("the head gives logits up to 20; take head = { name = \"normalised\", s = 0.5 }"),
            "{message}"
        );
        assert!(psl.check_scores(Scores::LOGITS).expect_err("refused").contains("logits of any size"));
    }
}
