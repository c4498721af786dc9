//! Student's t distribution: how far the mean of few values strays by chance.
//!
//! For n independent values of one normal distribution, `(mean − μ) / (s / √n)` follows the t distribution with
//! n − 1 degrees of freedom (Student 1908, "The probable error of a mean", Biometrika 6). The distribution function is
//! that of the crate `statrs`, within a relative error of 1e-12.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// The `t` for which `P(|T| ≤ t) = level`, with `freedom` degrees of freedom: 4.303 for 0.95 and 2.
///
/// 0 at level 0, ∞ at level 1. NaN without a degree of freedom, or for a level outside [0, 1].
pub fn critical(level: f64, freedom: usize) -> f64 {
    match distribution(freedom) {
        Some(_) if level == 1.0 => f64::INFINITY,
        Some(t) if (0.0..1.0).contains(&level) => t.inverse_cdf(0.5 + level / 2.0),
        _ => f64::NAN,
    }
}

/// The two-sided p value `P(|T| ≥ |t|)`, with `freedom` degrees of freedom: the chance of a statistic at least as far
/// from 0 if there is no effect.
///
/// 0 at `t = ±∞`. NaN without a degree of freedom, or if `t` is NaN.
pub fn two_sided(t: f64, freedom: usize) -> f64 {
    match distribution(freedom) {
        Some(_) if t.is_infinite() => 0.0,
        Some(distribution) if !t.is_nan() => (2.0 * distribution.sf(t.abs())).min(1.0),
        _ => f64::NAN,
    }
}

fn distribution(freedom: usize) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, freedom as f64).ok()
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use proptest::prelude::*;

    use super::*;

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-11 * expected.abs()
    }

    /// Made with mpmath 1.4.1 at 40 digits: roots of `betainc(v/2, 1/2, 0, v/(v + t²), regularized=True) = 1 − level`.
    #[test]
    fn critical_values() {
        let golden = [
            (1, 12.706204736174705, 63.65674116287158),
            (2, 4.302652729749464, 9.924843200918293),
            (3, 3.1824463052837095, 5.840909309733357),
            (4, 2.7764451051977943, 4.604094871349993),
            (5, 2.5705818356363155, 4.032142983555228),
            (9, 2.2621571627982053, 3.2498355415921263),
            (29, 2.0452296421327043, 2.7563859036706053),
            (100, 1.9839715185235522, 2.6258905214380177),
        ];
        for (freedom, at_95, at_99) in golden {
            assert!(close(critical(0.95, freedom), at_95), "{freedom}: {}", critical(0.95, freedom));
            assert!(close(critical(0.99, freedom), at_99), "{freedom}: {}", critical(0.99, freedom));
        }
    }

    /// The same source.
    #[test]
    fn p_values() {
        let golden = [
            (1.0, 1, 0.5),
            (1000.0, 1, 0.0006366195601611178),
            (0.1, 2, 0.9294654384141402),
            (30.0, 2, 0.0011092626819596588),
            (2.5, 3, 0.08770664700806555),
            (12.0, 4, 0.00027642854850297297),
            (1e6, 7, 2.6410413526518378e-40),
            (2.093, 19, 0.05000237894282798),
        ];
        for (t, freedom, p) in golden {
            assert!(close(two_sided(t, freedom), p), "{t} {freedom}: {}", two_sided(t, freedom));
        }
    }

    #[test]
    fn edges() {
        assert_eq!((critical(0.0, 3), critical(1.0, 3)), (0.0, f64::INFINITY));
        assert_eq!((two_sided(0.0, 3), two_sided(f64::NEG_INFINITY, 3)), (1.0, 0.0));
        let without = [critical(0.95, 0), critical(1.5, 3), critical(-0.1, 3), critical(f64::NAN, 3)];
        assert!(without.iter().all(|t| t.is_nan()), "{without:?}");
        assert!(two_sided(1.0, 0).is_nan() && two_sided(f64::NAN, 3).is_nan());
    }

    proptest! {
        /// One degree of freedom is Cauchy's distribution, and two have a closed form as well.
        #[test]
        fn closed_forms(t in 1e-3f64..1e4) {
            prop_assert!(close(two_sided(t, 1), 2.0 / PI * (1.0 / t).atan()));
            // 1 − t / √(2 + t²), without the cancellation.
            let root = (2.0 + t * t).sqrt();
            prop_assert!(close(two_sided(t, 2), 2.0 / (root * (root + t))));
        }

        #[test]
        fn each_undoes_the_other(level in 0.01f64..0.999, freedom in 1usize..200) {
            prop_assert!((two_sided(critical(level, freedom), freedom) - (1.0 - level)).abs() < 1e-10);
        }

        #[test]
        fn p_falls_with_distance_and_has_no_sign(a in 0f64..50.0, b in 0f64..50.0, freedom in 1usize..60) {
            prop_assert!(two_sided(a.max(b), freedom) <= two_sided(a.min(b), freedom) + 1e-12);
            prop_assert_eq!(two_sided(a, freedom), two_sided(-a, freedom));
        }
    }
}
