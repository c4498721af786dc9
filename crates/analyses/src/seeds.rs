//! What several seeds say: a metric of one variant, and its difference to a baseline on equal seeds.
//!
//! A seed is one independent repetition. Seeds that two variants share start from the same weights and see the same
//! data, so their values are compared in pairs: what a seed does to both cancels in the difference.
//!
//! # What does not exist, and what went wrong
//! - `None`: the statistic does not exist for so few values (a mean of nothing, the spread of one).
//! - NaN: a value is NaN or infinite, such as the loss of a run that diverged. Such a value is never left out: it is
//!   counted in `non_finite` and makes every statistic that exists NaN.

use std::collections::BTreeMap;

use crate::student_t;

/// Level of every interval.
pub const LEVEL: f64 = 0.95;

/// Differences that lie this many units of rounding (of the values they were made from) apart count as equal.
const ROUNDING: f64 = 4.0 * f64::EPSILON;

/// The values of one metric of one variant, by seed.
pub type BySeed = BTreeMap<u64, f64>;

/// A range of numbers, ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Mean, spread, and how well the mean is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Number of values n, those that are not finite included.
    pub count: usize,
    /// How many of them are NaN or infinite.
    pub non_finite: usize,
    /// Arithmetic mean; from one value on.
    pub mean: Option<f64>,
    /// Sample standard deviation s, `sqrt(Σ (x − mean)² / (n − 1))`; from two values on. Exactly 0 for equal values.
    pub deviation: Option<f64>,
    /// Standard error of the mean, `s / √n`; from two values on.
    pub error: Option<f64>,
    /// The 95 % interval of the mean, `mean ± t s / √n` with t of n − 1 degrees of freedom; from two values on, a
    /// point if they are all equal. It takes the values to be roughly normal.
    pub interval: Option<Interval>,
}

/// The difference of a variant to a baseline, on the seeds they share.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Paired {
    /// The differences, variant − baseline, one per shared seed. Differences that agree within rounding (4 units in
    /// the last place of the largest value) are taken as equal, and as 0 if they are that small.
    pub difference: Estimate,
    /// Seeds that only the variant has; left out.
    pub only_variant: usize,
    /// Seeds that only the baseline has; left out.
    pub only_baseline: usize,
    /// Two-sided p value of the paired t test, `t = mean √n / s` with n − 1 degrees of freedom; from two pairs on. If
    /// all differences are equal it is 1 where they are 0, else 0.
    pub p: Option<f64>,
}

impl Estimate {
    /// What the values say; their order does not matter beyond rounding.
    ///
    /// ```
    /// use kiln_analyses::seeds::Estimate;
    ///
    /// let estimate = Estimate::of([2.0, 4.0, 6.0]);
    /// assert_eq!((estimate.mean, estimate.deviation), (Some(4.0), Some(2.0)));
    /// // 4.303 · 2 / √3
    /// assert!((estimate.interval.unwrap().high - 8.968).abs() < 1e-3);
    /// ```
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        Self::rounded(&values.into_iter().collect::<Vec<_>>(), 0.0)
    }

    /// The estimate of values that are known to within `rounding`.
    fn rounded(values: &[f64], rounding: f64) -> Self {
        let count = values.len();
        let non_finite = values.iter().filter(|x| !x.is_finite()).count();
        let n = count as f64;
        let Some(&first) = values.first() else { return Self::default() };
        let (mean, deviation) = if non_finite > 0 {
            (f64::NAN, f64::NAN)
        } else if values.iter().all(|x| (x - first).abs() <= rounding) {
            (if first.abs() <= rounding { 0.0 } else { first }, 0.0)
        } else {
            // Sums of distances to the first value, so that equal values have exactly that mean.
            let mean = first + values.iter().map(|x| x - first).sum::<f64>() / n;
            let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
            (mean, (squares / (n - 1.0)).sqrt())
        };
        let estimate = Self { count, non_finite, mean: Some(mean), ..Self::default() };
        if count < 2 {
            return estimate;
        }
        let error = deviation / n.sqrt();
        let reach = student_t::critical(LEVEL, count - 1) * error;
        let interval = Interval { low: mean - reach, high: mean + reach };
        Self { deviation: Some(deviation), error: Some(error), interval: Some(interval), ..estimate }
    }
}

impl Paired {
    /// Compares a variant with a baseline, seed by seed.
    pub fn between(variant: &BySeed, baseline: &BySeed) -> Self {
        let pairs: Vec<(f64, f64)> =
            variant.iter().filter_map(|(seed, &value)| Some((value, *baseline.get(seed)?))).collect();
        let differences: Vec<f64> = pairs.iter().map(|(value, base)| value - base).collect();
        let largest = pairs.iter().flat_map(|(value, base)| [value.abs(), base.abs()]).fold(0.0, f64::max);
        let difference = Estimate::rounded(&differences, ROUNDING * largest);
        let p = match (difference.mean, difference.error) {
            (Some(0.0), Some(0.0)) => Some(1.0),
            (Some(mean), Some(error)) => Some(student_t::two_sided(mean / error, pairs.len() - 1)),
            _ => None,
        };
        let alone = |of: &BySeed| of.len() - pairs.len();
        Self { difference, only_variant: alone(variant), only_baseline: alone(baseline), p }
    }
}

#[cfg(test)]
mod tests;
