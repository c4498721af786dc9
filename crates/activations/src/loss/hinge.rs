//! Hinge losses.
use std::sync::Arc;

use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    LossDtype, LossOutput, Objective, Scores, Target, TargetKind, by_rows, composed as parts,
    wide::{Wide, WideNll, sum},
};
use crate::{Init, normalizer::composed};

/// Parameters of [`Hinge`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HingeConfig {
    /// What is compared.
    pub form: HingeForm,
    /// The power of each hinge.
    pub power: HingePower,
    /// How the hinges of the classes make the loss of a row.
    pub reduce: HingeReduce,
    /// Factor on the loss, the C of support-vector machines.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub c: f64,
    /// The precision of the loss, chosen apart from the model's.
    pub dtype: LossDtype,
}

impl Default for HingeConfig {
    /// The loss of the CNN-SVM: squared hinges of one class against the rest, their mean, C = 1.
    fn default() -> Self {
        Self {
            form: HingeForm::default(),
            power: HingePower::default(),
            reduce: HingeReduce::default(),
            c: 1.0,
            dtype: LossDtype::default(),
        }
    }
}

/// What a hinge compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HingeForm {
    /// Each class with the rest: the score of the target above 1, every other one below −1.
    #[default]
    OneVsRest,
    /// The target with its strongest rival: one hinge per row. Crammer and Singer 2001.
    CrammerSinger,
}

/// The power of a hinge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HingePower {
    /// The hinge itself, the L1-SVM.
    Linear,
    /// Its square, the L2-SVM.
    #[default]
    Squared,
}

/// How the hinges of the classes make the loss of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HingeReduce {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

impl Entry for HingeConfig {
    const SUMMARY: &'static str =
        "what the scores lack to a margin of 1: one class against the rest, or Crammer-Singer";
    const PAPER: &'static str =
        "Tang 2013, Deep Learning using Linear Support Vector Machines, arXiv:1306.0239; Agarap 2017, arXiv:1712.03541";
}

impl HingeConfig {
    /// The loss.
    pub fn init(&self, _: &Init) -> Hinge {
        Hinge { config: self.clone() }
    }
}

/// A hinge loss.
/// ```text
/// one against the rest:  L = C mean_k h_k^p,   h_k = max(0, 1 − t_k o_k),   t_k = 1 for the target, −1 for the others
/// Crammer-Singer:        L = C h^p,            h = max(0, 1 + max_{k≠y} o_k − o_y)
/// ```
/// with p = 1 or 2; the slope at the kink of p = 1 is 0. Scores are margins, not probabilities; the answer is the largest.
///
/// # Shapes
/// - logits: `[rows, classes]`; target: [`Target::Classes`], and [`Target::Labels`] for one against the rest
/// # Numerics
/// Computed in f64 and rounded once to the precision of the loss.
/// # References
/// Tang 2013, arXiv:1306.0239; Agarap 2017, arXiv:1712.03541; Crammer and Singer 2001.
#[derive(Module, Debug)]
pub struct Hinge {
    #[module(skip)]
    config: HingeConfig,
}

impl Objective for Hinge {
    fn forward(&self, logits: Tensor<2>, target: &Target) -> LossOutput {
        by_rows(self, logits, None, target, Arc::new(Wide(HingeRow { config: self.config.clone() })))
    }

    fn dtype(&self) -> LossDtype {
        self.config.dtype
    }

    fn targets(&self) -> &'static [TargetKind] {
        match self.config.form {
            HingeForm::OneVsRest => &[TargetKind::Classes, TargetKind::Labels],
            HingeForm::CrammerSinger => &[TargetKind::Classes],
        }
    }

    fn check_scores(&self, scores: Scores) -> Result<(), String> {
        if scores == Scores::Margins { Ok(()) } else { scores.only_logits("it wants them beyond 1 and −1") }
    }

    fn composed(&self, logits: Tensor<2>, target: &Target) -> Tensor<1> {
        let power = |lack: Tensor<2>| {
            let hinge = lack.clamp_min(0.0);
            if self.config.power == HingePower::Squared { hinge.clone() * hinge } else { hinge }
        };
        let rows = match self.config.form {
            HingeForm::CrammerSinger => {
                let classes = target.classes();
                let left_out = parts::removed(&logits).bool_or(composed::is_class(classes, &logits));
                let rivals = logits.clone().mask_fill(left_out, f64::NEG_INFINITY).max_dim(1);
                let alone = rivals.clone().detach().equal_elem(f64::NEG_INFINITY);
                let own = composed::at_class(logits, classes).unsqueeze_dim::<2>(1);
                let lack = rivals.mask_fill(alone.clone(), 0.0) - own + 1.0;
                power(lack.mask_fill(alone, 0.0)).squeeze_dim(1)
            }
            HingeForm::OneVsRest => {
                let sign = target.matrix(&logits).mul_scalar(2.0).sub_scalar(1.0);
                let x = logits.clone().mask_fill(parts::removed(&logits), 0.0);
                let hinges = power((sign * x).neg().add_scalar(1.0));
                let mean = parts::mean_of_classes(hinges, &logits);
                match self.config.reduce {
                    HingeReduce::Mean => mean,
                    HingeReduce::Sum => mean * parts::count(&logits).squeeze_dim::<1>(1),
                }
            }
        };
        rows.mul_scalar(self.config.c)
    }
}

#[derive(Clone, Debug)]
struct HingeRow {
    config: HingeConfig,
}

impl HingeRow {
    /// h^p of a lack, and its slope.
    #[inline(always)]
    fn hinge(&self, lack: f64) -> (f64, f64) {
        let hinge = lack.max(0.0);
        match self.config.power {
            HingePower::Linear => (hinge, if lack > 0.0 { 1.0 } else { 0.0 }),
            HingePower::Squared => (hinge * hinge, 2.0 * hinge),
        }
    }

    /// The factor on each hinge.
    #[inline(always)]
    fn factor(&self, n: usize) -> f64 {
        let mean = self.config.form == HingeForm::OneVsRest && self.config.reduce == HingeReduce::Mean;
        if mean { self.config.c / n as f64 } else { self.config.c }
    }

    /// The first largest rival and what the target lacks to it; `None` for a row without rivals.
    #[inline(always)]
    fn strongest(x: &[f64], target: usize) -> Option<(usize, f64)> {
        let mut best: Option<usize> = None;
        for place in (0..x.len()).filter(|place| *place != target) {
            best = if best.is_none_or(|best| x[place] > x[best]) { Some(place) } else { best };
        }
        best.map(|place| (place, 1.0 + (x[place] - x[target])))
    }
}

impl WideNll for HingeRow {
    #[inline(always)]
    fn loss(&self, x: &[f64], target: usize) -> f64 {
        let factor = self.factor(x.len());
        match self.config.form {
            HingeForm::OneVsRest => {
                factor * sum(x, |place, x| self.hinge(if place == target { 1.0 - x } else { 1.0 + x }).0)
            }
            HingeForm::CrammerSinger => Self::strongest(x, target).map_or(0.0, |(_, lack)| factor * self.hinge(lack).0),
        }
    }

    #[inline(always)]
    fn slopes(&self, x: &[f64], target: usize, dx: &mut [f64]) {
        let factor = self.factor(x.len());
        match self.config.form {
            HingeForm::OneVsRest => {
                for (place, (dx, &x)) in dx.iter_mut().zip(x).enumerate() {
                    let sign = if place == target { 1.0 } else { -1.0 };
                    *dx = -sign * factor * self.hinge(1.0 - sign * x).1;
                }
            }
            HingeForm::CrammerSinger => {
                dx.fill(0.0);
                if let Some((rival, lack)) = Self::strongest(x, target) {
                    dx[rival] = factor * self.hinge(lack).1;
                    dx[target] = -dx[rival];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::loss::law_tests::{assert_laws, assert_row, loss};

    fn hinge(keys: &str) -> crate::loss::Loss {
        loss(&format!(r#"{{ "name": "hinge", "dtype": "f64"{keys} }}"#))
    }

    const ROWS: [([f64; 3], usize); 2] = [([0.5, -0.2, 1.2], 2), ([-1.5, 0.3, -0.4], 0)];

    #[test]
    fn golden_values() {
        // Losses and slopes of the two rows, whose means are 1.865, 11.19 and 1.116666667.
        let third = 1.0 / 3.0;
        for (keys, losses, slopes) in [
            ("", [2.89 * third, 8.3 * third], [[1.0, 1.6 * third, 0.0], [-5.0 * third, 2.6 * third, 0.4]]),
            (r#", "reduce": "sum""#, [2.89, 8.3], [[3.0, 1.6, 0.0], [-5.0, 2.6, 1.2]]),
            (r#", "reduce": "sum", "c": 0.5"#, [1.445, 4.15], [[1.5, 0.8, 0.0], [-2.5, 1.3, 0.6]]),
            (r#", "power": "linear""#, [2.3 * third, 4.4 * third], [[third, third, 0.0], [-third, third, third]]),
        ] {
            for (((x, target), want), slopes) in ROWS.into_iter().zip(losses).zip(slopes) {
                assert_row(&hinge(keys), &x, target, want, &slopes);
            }
        }
    }

    #[test]
    fn crammer_singer_by_hand() {
        let keys = r#", "form": "crammer_singer", "power": "linear""#;
        // Ahead by 0.7: 0.3 is lacking. Behind by 1.8: 2.8.
        assert_row(&hinge(keys), &ROWS[0].0, 2, 0.3, &[1.0, 0.0, -1.0]);
        assert_row(&hinge(keys), &ROWS[1].0, 0, 2.8, &[-1.0, 1.0, 0.0]);
        assert_row(&hinge(keys), &[3.0, 1.5, f64::NEG_INFINITY], 0, 0.0, &[0.0; 3]);
        assert_row(&hinge(keys), &[3.0], 0, 0.0, &[0.0]);
    }

    #[test]
    fn laws() {
        for keys in [
            "",
            r#", "power": "linear""#,
            r#", "reduce": "sum", "c": 0.3"#,
            r#", "form": "crammer_singer""#,
            r#", "form": "crammer_singer", "power": "linear""#,
        ] {
            assert_laws(&hinge(keys));
        }
    }
}
