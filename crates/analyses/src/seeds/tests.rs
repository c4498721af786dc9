use proptest::prelude::*;

use super::*;

fn by_seed(values: &[f64]) -> BySeed {
    (0..).zip(values.iter().copied()).collect()
}

fn close(found: Option<f64>, expected: f64) -> bool {
    found.is_some_and(|found| (found - expected).abs() < 1e-13)
}

/// Made with SciPy 1.17.1: `ttest_rel(a, b)` with its `confidence_interval(0.95)`, and `t.interval(0.95, 4, mean(a),
/// sem(a))`.
#[test]
fn against_scipy() {
    let a = [0.912, 0.934, 0.921, 0.945, 0.918];
    let b = [0.905, 0.921, 0.925, 0.931, 0.902];
    let alone = Estimate::of(a);
    assert!(close(alone.mean, 0.926) && close(alone.deviation, 0.0133229125944742), "{alone:?}");
    let Interval { low, high } = alone.interval.unwrap();
    assert!(close(Some(low), 0.9094574190802258) && close(Some(high), 0.942542580919774), "{alone:?}");

    let paired = Paired::between(&by_seed(&a), &by_seed(&b));
    assert!(close(paired.difference.mean, 0.009199999999999986), "{paired:?}");
    assert!(close(paired.difference.deviation, 0.008105553651663768), "{paired:?}");
    assert!(close(paired.p, 0.06411758012459536), "{paired:?}");
    let Interval { low, high } = paired.difference.interval.unwrap();
    assert!(close(Some(low), -0.0008643741547799694) && close(Some(high), 0.01926437415477994), "{paired:?}");
}

#[test]
fn nothing_and_one_value() {
    assert_eq!(Estimate::of([]), Estimate::default());
    assert_eq!(Estimate::of([0.5]), Estimate { count: 1, mean: Some(0.5), ..Estimate::default() });
    assert_eq!(Paired::between(&by_seed(&[]), &by_seed(&[])), Paired::default());
    let one = Paired::between(&by_seed(&[0.5]), &by_seed(&[0.25, 1.0]));
    let difference = Estimate { count: 1, mean: Some(0.25), ..Estimate::default() };
    assert_eq!(one, Paired { difference, only_variant: 0, only_baseline: 1, p: None });
}

#[test]
fn equal_values_have_a_point() {
    let estimate = Estimate::of([0.1; 7]);
    assert_eq!((estimate.mean, estimate.deviation, estimate.error), (Some(0.1), Some(0.0), Some(0.0)));
    assert_eq!(estimate.interval, Some(Interval { low: 0.1, high: 0.1 }));
}

#[test]
fn equal_differences_are_certain() {
    let base = by_seed(&[0.6, 0.3, 0.1]);
    let same = Paired::between(&base, &base);
    assert_eq!((same.difference.mean, same.p), (Some(0.0), Some(1.0)));
    assert_eq!(same.difference.interval, Some(Interval { low: 0.0, high: 0.0 }));
    // 0.7 − 0.6, 0.4 − 0.3 and 0.2 − 0.1 differ in their last bits only.
    let shifted = Paired::between(&by_seed(&[0.7, 0.4, 0.2]), &base);
    assert_eq!((shifted.difference.deviation, shifted.p), (Some(0.0), Some(0.0)));
    assert!(close(shifted.difference.mean, 0.1));
    // 0.1 + 0.2 is not 0.3 in binary, and yet no difference.
    let rounded = Paired::between(&by_seed(&[0.1 + 0.2, 0.1 + 0.2]), &by_seed(&[0.3, 0.3]));
    assert_eq!((rounded.difference.mean, rounded.p), (Some(0.0), Some(1.0)));
}

#[test]
fn seeds_that_one_side_lacks_are_counted() {
    let variant = BySeed::from([(3, 2.0), (1, 5.0), (9, 100.0), (8, 100.0)]);
    let baseline = BySeed::from([(1, 4.0), (2, -100.0), (3, 1.5)]);
    let paired = Paired::between(&variant, &baseline);
    assert_eq!((paired.difference.count, paired.only_variant, paired.only_baseline), (2, 2, 1));
    assert_eq!(paired.difference.mean, Some(0.75));
}

#[test]
fn a_diverged_run_is_neither_hidden_nor_averaged() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let estimate = Estimate::of([1.0, bad, 2.0]);
        assert_eq!((estimate.count, estimate.non_finite), (3, 1));
        let interval = estimate.interval.unwrap();
        let exist = [estimate.mean, estimate.deviation, estimate.error, Some(interval.low), Some(interval.high)];
        assert!(exist.iter().all(|x| x.is_some_and(f64::is_nan)), "{estimate:?}");
        let one = Estimate::of([bad]);
        assert!(one.mean.is_some_and(f64::is_nan) && one.deviation.is_none());

        // On either side, and on both, where ∞ − ∞ is no number.
        let (fine, broken) = (by_seed(&[1.0, 2.0]), by_seed(&[bad, 1.0]));
        for (variant, baseline) in [(&fine, &broken), (&broken, &fine), (&broken, &broken)] {
            let paired = Paired::between(variant, baseline);
            assert_eq!((paired.difference.count, paired.difference.non_finite), (2, 1));
            assert!(paired.p.is_some_and(f64::is_nan) && paired.difference.mean.is_some_and(f64::is_nan));
        }
    }
    // Without a partner it does not enter the difference.
    let paired = Paired::between(&BySeed::from([(0, 1.0), (7, f64::NAN)]), &by_seed(&[0.5, 0.5]));
    assert_eq!((paired.difference.mean, paired.only_variant), (Some(0.5), 1));
}

#[test]
fn numbers_at_the_edge_of_the_format_do_not_panic() {
    let estimate = Estimate::of([f64::MAX, f64::MIN, f64::MAX]);
    assert_eq!((estimate.count, estimate.non_finite), (3, 0));
    assert!(Estimate::of([5e-324, 0.0]).mean.is_some());
}

proptest! {
    #[test]
    fn shifts_and_scales(
        values in proptest::collection::vec(-10f64..10.0, 2..12), shift in -10f64..10.0, scale in 0.1f64..10.0,
    ) {
        let (plain, moved) = (Estimate::of(values.clone()), Estimate::of(values.iter().map(|x| scale * x + shift)));
        let (a, b) = (plain.interval.unwrap(), moved.interval.unwrap());
        let laws = [
            (moved.mean.unwrap(), scale * plain.mean.unwrap() + shift),
            (moved.deviation.unwrap(), scale * plain.deviation.unwrap()),
            (b.low, scale * a.low + shift),
            (b.high, scale * a.high + shift),
        ];
        for (found, expected) in laws {
            // The shortest interval of two values is 12.7 standard errors long.
            prop_assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }

    /// What a seed does to both sides cancels.
    #[test]
    fn pairs_ignore_what_seeds_have_in_common(
        seeds in proptest::collection::vec((-1f64..1.0, -1f64..1.0, -5f64..5.0), 2..12),
    ) {
        let of = |f: fn(&(f64, f64, f64)) -> f64| by_seed(&seeds.iter().map(f).collect::<Vec<_>>());
        let plain = Paired::between(&of(|s| s.0), &of(|s| s.1));
        let common = Paired::between(&of(|s| s.0 + s.2), &of(|s| s.1 + s.2));
        prop_assert!((plain.difference.mean.unwrap() - common.difference.mean.unwrap()).abs() < 1e-12);
        prop_assert!((plain.p.unwrap() - common.p.unwrap()).abs() < 1e-6);
    }

    #[test]
    fn pairing_does_not_depend_on_the_order(
        seeds in proptest::collection::btree_map(0u64..50, (-1f64..1.0, -1f64..1.0), 2..12),
    ) {
        let forward: (BySeed, BySeed) = seeds.iter().map(|(&s, &(a, b))| ((s, a), (s, b))).unzip();
        let backward: (BySeed, BySeed) = seeds.iter().rev().map(|(&s, &(a, b))| ((s, a), (s, b))).unzip();
        prop_assert_eq!(Paired::between(&forward.0, &forward.1), Paired::between(&backward.0, &backward.1));
    }

    /// Sides exchanged, the difference changes its sign and nothing else.
    #[test]
    fn exchange_of_sides(seeds in proptest::collection::vec((-1f64..1.0, -1f64..1.0), 2..12)) {
        let (a, b): (Vec<f64>, Vec<f64>) = seeds.into_iter().unzip();
        let there = Paired::between(&by_seed(&a), &by_seed(&b));
        let back = Paired::between(&by_seed(&b), &by_seed(&a));
        prop_assert_eq!(there.difference.mean.unwrap(), -back.difference.mean.unwrap());
        prop_assert_eq!(there.difference.interval.unwrap().low, -back.difference.interval.unwrap().high);
        prop_assert_eq!(there.p, back.p);
    }

    /// The interval leaves out 0 exactly where p is below 0.05.
    #[test]
    fn interval_and_test_agree(differences in proptest::collection::vec(-1f64..3.0, 2..8)) {
        let paired = Paired::between(&by_seed(&differences), &by_seed(&vec![0.0; differences.len()]));
        let (Interval { low, high }, p) = (paired.difference.interval.unwrap(), paired.p.unwrap());
        prop_assume!((p - 0.05).abs() > 1e-9);
        prop_assert_eq!(low > 0.0 || high < 0.0, p < 0.05);
    }
}
