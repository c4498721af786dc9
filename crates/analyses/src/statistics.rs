//! What several numbers say: over rows of a batch, layers of a network, seeds of a study.
//!
//! A statistic that does not exist (of nothing, the deviation of one value) is NaN, and a NaN among the values
//! makes each of them NaN.

/// Arithmetic mean.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sample standard deviation, `sqrt(Σ (x − mean)² / (n − 1))`; NaN for fewer than two values.
pub fn standard_deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return f64::NAN;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// Standard error of the mean, `standard_deviation / sqrt(n)`.
pub fn standard_error(values: &[f64]) -> f64 {
    standard_deviation(values) / (values.len() as f64).sqrt()
}

/// The middle value, or the mean of the two middle ones.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value at position `q (n − 1)` of the sorted values, interpolated linearly between neighbours.
///
/// # Panics
/// If `q` lies outside [0, 1].
pub fn quantile(values: &[f64], q: f64) -> f64 {
    quantiles(values, [q])[0]
}

/// Several [`quantile`]s of the same values, sorted once.
///
/// # Panics
/// If one of `qs` lies outside [0, 1].
pub fn quantiles<const N: usize>(values: &[f64], qs: [f64; N]) -> [f64; N] {
    assert!(qs.iter().all(|q| (0.0..=1.0).contains(q)), "quantiles {qs:?} must lie in [0, 1]");
    if values.is_empty() || values.iter().any(|x| x.is_nan()) {
        return [f64::NAN; N];
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    qs.map(|q| {
        let position = q * (sorted.len() - 1) as f64;
        let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
        // Equal neighbours may be infinite, where a difference would be NaN.
        if below == above { below } else { below + (above - below) * position.fract() }
    })
}

/// The largest value; unlike a fold with `f64::max`, NaN if one is NaN.
pub fn max(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().reduce(|a, b| if b > a || b.is_nan() { b } else { a }).unwrap_or(f64::NAN)
}

/// Share of values that pass a test; NaN if there are none or one is NaN.
pub fn share(values: impl IntoIterator<Item = f64>, test: impl Fn(f64) -> bool) -> f64 {
    let (mut passed, mut count) = (0.0, 0.0);
    for value in values {
        passed += if value.is_nan() { f64::NAN } else { f64::from(u8::from(test(value))) };
        count += 1.0;
    }
    passed / count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn by_hand() {
        let values = [2.0, 4.0, 9.0];
        assert_eq!((mean(&values), median(&values)), (5.0, 4.0));
        // Squares 9 + 1 + 16 over 2 = 13.
        assert_eq!(standard_deviation(&values), 13f64.sqrt());
        assert_eq!(standard_error(&values), 13f64.sqrt() / 3f64.sqrt());
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        assert_eq!(quantiles(&[0.0, 10.0], [0.0, 0.1, 1.0]), [0.0, 1.0, 10.0]);
        assert_eq!(max([1.0, -3.0, 1.5]), 1.5);
        assert_eq!(share([0.0, -0.0, 1.0, 2.0], |x| x == 0.0), 0.5);
    }

    #[test]
    fn nothing_and_nan_give_nan() {
        for values in [&[][..], &[1.0, f64::NAN, 3.0], &[f64::NAN]] {
            let statistics = [
                mean(values),
                standard_deviation(values),
                standard_error(values),
                median(values),
                quantile(values, 1.0),
                max(values.iter().copied()),
                share(values.iter().copied(), |x| x > 0.0),
            ];
            assert!(statistics.iter().all(|x| x.is_nan()), "{values:?} {statistics:?}");
        }
        assert!(standard_deviation(&[1.0]).is_nan());
    }

    #[test]
    fn infinite_values_are_values() {
        assert_eq!(median(&[f64::INFINITY, 1.0, f64::INFINITY]), f64::INFINITY);
        assert_eq!(max([f64::NEG_INFINITY]), f64::NEG_INFINITY);
    }

    proptest! {
        #[test]
        fn quantiles_rise_between_least_and_largest(
            values in proptest::collection::vec(-1e3f64..1e3, 1..40), a in 0.0f64..1.0, b in 0.0f64..1.0,
        ) {
            let [least, low, high, largest] = quantiles(&values, [0.0, a.min(b), a.max(b), 1.0]);
            prop_assert!(least <= low && low <= high && high <= largest);
            prop_assert_eq!(largest, max(values.iter().copied()));
        }

        #[test]
        fn deviation_ignores_shifts_and_follows_scales(
            values in proptest::collection::vec(-10f64..10.0, 2..20), shift in -10f64..10.0, scale in 0.1f64..10.0,
        ) {
            let moved: Vec<f64> = values.iter().map(|x| scale * x + shift).collect();
            prop_assert!((standard_deviation(&moved) - scale * standard_deviation(&values)).abs() < 1e-10);
        }
    }
}
