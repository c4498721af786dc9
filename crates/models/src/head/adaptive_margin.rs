//! MadaCos: scale and margin from the batch.
use burn::{module::Module, tensor::Tensor};
use kiln_activations::{Ctx, Init};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Angular, HeadParams, Laws, Scorer, Site,
    angular::{at_class, said, with_own},
};
use crate::Ask;

/// The scale never exceeds the one of a median this far from 1.
const NEAREST: f64 = 1e-3;

/// Parameters of [`AdaptiveMargin`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveMarginConfig {
    /// The probability that the right class of the median row keeps.
    #[serde(deserialize_with = "range::open_unit")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: f64,
    /// The least scale, and the scale of an evaluation.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub s: f64,
    /// Which rows' rivals the margin keeps a distance from.
    pub rivals: Rivals,
}

/// Which rows' rivals B of [`AdaptiveMargin`] sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rivals {
    /// Those of the row whose own cosine is the median.
    #[default]
    MedianRow,
    /// Every row's: the mean of the sums.
    Mean,
    /// Every row's: the lower median of the sums.
    Median,
}

impl Default for AdaptiveMarginConfig {
    /// That of every config of the authors.
    fn default() -> Self {
        Self { alpha: 0.02, s: 32.0, rivals: Rivals::MedianRow }
    }
}

impl Entry for AdaptiveMarginConfig {
    const SUMMARY: &'static str =
        "scaled cosines, whose scale and margin grow with the batch's median cosine while training";
    const PAPER: &'static str = "Zhu et al. 2023, Coarse-to-Fine: Learning Compact Discriminative Representation for \
                                 Single-Stage Image Retrieval (MadaCos), arXiv:2308.04008";
}

impl HeadParams for AdaptiveMarginConfig {
    fn laws(&self) -> Laws {
        Laws { needs_classes: true, batch_coupled: true, exact_gradient: false, ..Laws::LINEAR }
    }
}

impl AdaptiveMarginConfig {
    /// The head.
    pub fn init(&self, (site, init): (&Site, &Init)) -> AdaptiveMargin {
        let Self { alpha, s, rivals } = *self;
        AdaptiveMargin { classes: Angular::new(&init.child("classes"), site), alpha, s, rivals }
    }
}

/// Cosine softmax whose scale and margin follow the batch, so that the task stays hard.
/// ```text
/// med = the lower median of c_{i,y_i} over the batch, i* its row
/// s = max(32, ln(9999999 (1 − α)/α)/(1 − med)),   B = Σ_{k≠y_i*} exp(s c_{i*k}),   m = max(0, med − ln(B α/(1 − α))/s)
/// z_y = s (c_y − m) while training,   z_j = s c_j
/// ```
/// B may also be the mean or the lower median of all rows' sums. While m > 0 the median row's right class has probability α
/// exactly, with its own sum. s and m count as constants in the backward pass. 1 − med
/// is taken as 1e-3 at least, which bounds s. An evaluation uses the least scale and no margin; the authors' layer reads the
/// labels there too.
///
/// # Shapes
/// - features: `[answers, features]`; logits: `[answers, outputs]`
/// # References
/// Zhu et al. 2023, arXiv:2308.04008.
#[derive(Module, Debug)]
pub struct AdaptiveMargin {
    /// The class vectors.
    pub classes: Angular,
    alpha: f64,
    s: f64,
    #[module(skip)]
    rivals: Rivals,
}

/// The place of the lower median.
fn lower_median(values: &[f64]) -> Option<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    order.get(values.len().saturating_sub(1) / 2).copied()
}

/// ln Σ exp(x) without overflow; −∞ of nothing.
fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY { most } else { most + values.map(|x| (x - most).exp()).sum::<f64>().ln() }
}

impl AdaptiveMargin {
    /// Scale and margin of a batch, from each row's cosine of its class and the cosines of any row's rivals.
    fn adapt(&self, own: &[f64], rivals: impl Fn(usize) -> Vec<f64>) -> (f64, f64) {
        let Some(row) = lower_median(own) else { return (self.s, 0.0) };
        let (median, odds) = (own[row], self.alpha / (1.0 - self.alpha));
        let s = ((9_999_999.0 / odds).ln() / (1.0 - median).max(NEAREST)).max(self.s);
        let log_sum_of = |row: usize| log_sum_exp(rivals(row).iter().map(|c| s * c));
        let log_sums = || (0..own.len()).map(log_sum_of).collect::<Vec<f64>>();
        let log_sum = match self.rivals {
            Rivals::MedianRow => log_sum_of(row),
            Rivals::Mean => log_sum_exp(log_sums().into_iter()) - (own.len() as f64).ln(),
            Rivals::Median => {
                let sums = log_sums();
                sums[lower_median(&sums).expect("there are rows")]
            }
        };
        // Without rivals there is nothing to keep a distance from.
        let margin = if log_sum == f64::NEG_INFINITY { 0.0 } else { median - (log_sum + odds.ln()) / s };
        (s, margin.max(0.0))
    }

    /// Scale and margin of a batch of cosines, whose right classes have the cosines `own`.
    fn of_batch(&self, cosines: &Tensor<2>, own: &Tensor<2>, classes: &[usize]) -> (f64, f64) {
        let own: Vec<f64> = own.to_data().iter().collect();
        self.adapt(&own, |row| {
            let all: Vec<f64> = cosines.clone().narrow(0, row, 1).to_data().iter().collect();
            all.into_iter().enumerate().filter(|(class, _)| *class != classes[row]).map(|(_, c)| c).collect()
        })
    }
}

impl Scorer for AdaptiveMargin {
    fn forward(&self, features: Tensor<2>, ask: &Ask, _: &Ctx) -> Tensor<2> {
        let dtype = features.dtype();
        let c = self.classes.cosines(features);
        let Some(classes) = said(ask) else { return c.mul_scalar(self.s).cast(dtype) };
        let own = at_class(c.clone(), classes);
        let host: Vec<usize> = classes.to_data().iter::<i64>().map(|class| class as usize).collect();
        let (s, m) = self.of_batch(&c, &own, &host);
        with_own(c, classes, own.sub_scalar(m)).mul_scalar(s).cast(dtype)
    }

    fn unembedding(&self) -> Option<Tensor<2>> {
        Some(self.classes.vectors())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, device};
    use burn::tensor::{DType, TensorData};
    use kiln_activations::loss::{LossConfig, Target};

    fn head() -> AdaptiveMargin {
        let site = Site { features: 3, outputs: 4, bias: true, draw: crate::block::Draw::Uniform };
        AdaptiveMarginConfig::default().init((&site, &Init::new(0, &device(), DType::F64)))
    }

    fn batch(own: [f64; 3]) -> (Tensor<2>, Vec<usize>) {
        let mut c = [[0.6, 0.1, -0.2, 0.3], [0.2, 0.5, 0.0, -0.1], [-0.3, 0.2, 0.4, 0.1]];
        (0..3).for_each(|row| c[row][row] = own[row]);
        (Tensor::from_data(TensorData::new(c.concat(), [3, 4]), (&device(), DType::F64)), vec![0, 1, 2])
    }

    #[test]
    fn golden_values() {
        let (c, classes) = batch([0.6, 0.5, 0.4]);
        let target = Tensor::<1, burn::tensor::Int>::from_data([0, 1, 2], &device());
        let own = at_class(c.clone(), &target);
        let (s, m) = head().of_batch(&c, &own, &classes);
        assert_close("s and m", &[s, m], &[40.0198317, 0.3972387926], 1e-9);
        let logits = with_own(c, &target, own.sub_scalar(m)).mul_scalar(s);
        let loss = serde_json::from_str::<LossConfig>(r#"{ "name": "cross_entropy", "dtype": "f64" }"#).unwrap();
        let output = loss.init(&Init::new(0, &device(), DType::F64)).forward(logits, &Target::Classes(target));
        assert_close("loss", &output.mean.to_data().iter().collect::<Vec<f64>>(), &[5.245328005], 1e-9);
        // The median row keeps the probability α.
        let rows: Vec<f64> = output.rows.to_data().iter().collect();
        assert_close("probability", &[(-rows[1]).exp()], &[0.02], 1e-12);

        let (c, classes) = batch([0.85, 0.9, 0.95]);
        let target = Tensor::<1, burn::tensor::Int>::from_data([0, 1, 2], &device());
        let (s, m) = head().of_batch(&c, &at_class(c.clone(), &target), &classes);
        assert_close("s and m", &[s, m], &[200.0991585, 0.7194494586], 1e-9);
    }

    #[test]
    fn the_sums_of_all_rows_may_count() {
        let (c, classes) = batch([0.6, 0.5, 0.4]);
        let target = Tensor::<1, burn::tensor::Int>::from_data([0, 1, 2], &device());
        let own = at_class(c.clone(), &target);
        let (s, sums) = (40.0198317, [163780.6957, 2993.823237, 3047.511499f64]);
        let mean = (sums[0] + sums[1] + sums[2]) / 3.0;
        for (rivals, sum) in [(Rivals::MedianRow, sums[1]), (Rivals::Mean, mean), (Rivals::Median, sums[2])] {
            let head = AdaptiveMargin { rivals, ..head() };
            let want = 0.5 - (sum * 0.02f64 / 0.98).ln() / s;
            let (s, m) = head.of_batch(&c, &own, &classes);
            assert_close(&format!("{rivals:?}"), &[s, m], &[40.0198317, want.max(0.0)], 1e-8);
        }
        let (c, _) = batch([0.85, 0.9, 0.95]);
        let log_sums: Vec<f64> = (0..3)
            .map(|row| {
                let all: Vec<f64> = c.clone().narrow(0, row, 1).to_data().iter().collect();
                log_sum_exp(all.into_iter().enumerate().filter(|(k, _)| *k != row).map(|(_, c)| 200.0991585 * c))
            })
            .collect();
        assert_close("log B", &log_sums, &[60.02974755, 40.0198317, 40.0198317], 1e-8);
    }

    #[test]
    fn the_scale_is_bounded_and_a_hard_batch_has_no_margin() {
        let (s, _) = head().adapt(&[1.0, 1.0], |_| vec![0.0; 3]);
        assert_close("s", &[s], &[(9_999_999.0 * 49.0f64).ln() / 1e-3], 1e-12);
        let (s, m) = head().adapt(&[-0.5, 0.0, 0.2], |_| vec![0.9, 0.8]);
        assert_eq!((s, m), (32.0, 0.0));
    }
}
