//! One class against the rest through the Gumbel distribution.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    LossDtype, LossOutput, Objective, Scores, Target, TargetKind, by_rows, composed as parts,
    wide::{Wide, WideNll, sum},
};
use crate::{
    Init,
    kernel::{Elementary as _, Real as _},
    normalizer::composed,
};

/// Scores are clamped to this range before they meet the distribution.
const RANGE: [f64; 2] = [-4.0, 10.0];

/// Parameters of [`GumbelCe`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GumbelCeConfig {
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
}

impl Entry for GumbelCeConfig {
    const SUMMARY: &'static str =
        "a binary cross entropy per class whose probability is the Gumbel distribution function";
    const PAPER: &'static str =
        "Alexandridis et al. 2022, Long-tailed Instance Segmentation using Gumbel Optimized Loss, arXiv:2207.10936";
}

impl GumbelCeConfig {
    /// The loss.
    pub fn init(&self, _: &Init) -> GumbelCe {
        GumbelCe { dtype: self.dtype }
    }
}

/// Binary cross entropy of every class through the Gumbel distribution function, for classes that are rare.
/// ```text
/// η_k = exp(−e^−q_k),   L = mean_k (−t_k ln η_k − (1 − t_k) ln(1 − η_k)),   q = o clamped to [−4, 10]
/// ∂L/∂q_k = (1/n) · (−u for the target,  u/(e^u − 1) for the others),   u = e^−q
/// ```
/// The pull on the target is exponential, the push on a class that is low already is faint. Where the clamp acts the slope
/// is 0. The authors also clamp the batch's loss at 20, where learning would stop; this loss does not.
///
/// # Shapes
/// - logits: `[rows, classes]`; target: [`Target::Classes`] or [`Target::Labels`]
/// # Numerics
/// Computed in f64 and rounded once to the precision of the loss.
/// # References
/// Alexandridis et al. 2022, arXiv:2207.10936.
#[derive(Module, Debug)]
pub struct GumbelCe {
    #[module(skip)]
    dtype: LossDtype,
}

impl Objective for GumbelCe {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        by_rows(self, logits, None, target, Arc::new(Wide(GumbelRow)))
    }

    fn dtype(&self) -> LossDtype {
        self.dtype
    }

    fn targets(&self) -> &'static [TargetKind] {
        &[TargetKind::Classes, TargetKind::Labels]
    }

    fn check_scores(&self, scores: Scores) -> Result<(), String> {
        if scores == Scores::Gumbel { Ok(()) } else { scores.only_logits("it takes them as Gumbel deviates") }
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let [low, high] = RANGE;
        let (below, above) = (logits.clone().detach().lower_elem(low), logits.clone().detach().greater_elem(high));
        let q = logits.clone().mask_fill(below, low).mask_fill(above, high);
        let u = q.neg().exp();
        // ln(1 − e^−u), each side of ln 2 from what keeps its digits there.
        let small = u.clone().detach().lower_elem(std::f64::consts::LN_2);
        let near = composed::exp_m1(u.clone().mask_fill(small.clone().bool_not(), 1.0).neg()).neg().log();
        let far = u.clone().mask_fill(small.clone(), 1.0).neg().exp().neg().add_scalar(1.0).log();
        let others = far.mask_where(small, near).neg();
        let share = target.matrix(&logits);
        let terms = share.clone() * u + share.neg().add_scalar(1.0) * others;
        parts::mean_of_classes(terms, &logits)
    }
}

#[derive(Clone, Copy, Debug)]
struct GumbelRow;

impl GumbelRow {
    /// e^−q of a clamped score.
    #[inline(always)]
    fn u(x: f64) -> f64 {
        (-x.clamp(RANGE[0], RANGE[1])).exp_exact()
    }
}

impl WideNll for GumbelRow {
    #[inline(always)]
    fn loss(&self, x: &[f64], target: usize) -> f64 {
        let term = |place: usize, x: f64| {
            let u = Self::u(x);
            let small = (-u).exp_exact();
            if place == target {
                u
            } else if u < std::f64::consts::LN_2 {
                let rise = u.exp_m1_positive();
                -(rise / (1.0 + rise)).ln_exact()
            } else {
                -(-small).ln_1p_exact()
            }
        };
        sum(x, term) / x.len() as f64
    }

    #[inline(always)]
    fn slopes(&self, x: &[f64], target: usize, dx: &mut [f64]) {
        let n = x.len() as f64;
        for (place, (dx, &x)) in dx.iter_mut().zip(x).enumerate() {
            let u = Self::u(x);
            let slope = if place == target { -u } else { u / u.exp_m1_positive() };
            *dx = if (RANGE[0]..=RANGE[1]).contains(&x) { slope / n } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::loss::law_tests::{assert_laws, assert_row, loss};

    #[test]
    fn golden_values() {
        let slopes = [-0.1353352832, 0.1920468748, 0.727204956, 0.0].map(|slope| slope / 4.0);
        let gumbel = loss(r#"{ "name": "gumbel_ce", "dtype": "f64" }"#);
        assert_row(&gumbel, &[2.0, -1.0, 0.5, -5.0], 0, 0.2478962633, &slopes);
        // A class at the lower end of the range: −ln(1 − exp(−e⁴)).
        assert_row(&gumbel, &[2.0, -5.0], 0, 0.5 * ((-2f64).exp() + 1.942337605e-24), &[-0.5 * (-2f64).exp(), 0.0]);
    }

    #[test]
    fn laws() {
        assert_laws(&loss(r#"{ "name": "gumbel_ce", "dtype": "f64" }"#));
    }
}
