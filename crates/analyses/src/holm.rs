//! Holm's correction: p values that stay honest when several comparisons are made.

/// Corrected p values, in the order given: the chance that *any* of them is that small without an effect stays below
/// the value itself, whatever the comparisons have in common.
///
/// ```text
/// p_(1) ≤ … ≤ p_(m) sorted:   corrected p_(i) = max over j ≤ i of min(1, (m − j + 1) p_(j))
/// ```
/// A NaN stands for a comparison that could not be made: it stays NaN and is not counted in m.
///
/// Source: Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.
///
/// ```
/// assert_eq!(kiln_analyses::holm::holm(&[0.25, 0.0625, 1.0]), [0.5, 0.1875, 1.0]);
/// ```
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).filter(|&i| !p[i].is_nan()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![f64::NAN; p.len()];
    let mut largest = 0.0_f64;
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max(((order.len() - rank) as f64 * p[i]).min(1.0));
        corrected[i] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn by_hand() {
        // 4 · 0.005, 3 · 0.01, 2 · 0.03, and 1 · 0.04, which may not fall below the one before.
        let found = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in found.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-15, "{found} {expected}");
        }
        assert_eq!(holm(&[0.3]), [0.3]);
        assert_eq!(holm(&[0.75, 0.0]), [0.75, 0.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn what_was_not_compared_is_not_counted() {
        let found = holm(&[f64::NAN, 0.25, f64::NAN]);
        assert!(found[0].is_nan() && found[2].is_nan());
        assert_eq!(found[1], 0.25);
    }

    proptest! {
        #[test]
        fn keeps_the_order_and_lies_between_p_and_bonferroni(p in proptest::collection::vec(0f64..=1.0, 1..12)) {
            let found = holm(&p);
            for (i, a) in found.iter().enumerate() {
                prop_assert!(p[i] <= *a && *a <= (p.len() as f64 * p[i]).min(1.0));
                for (j, b) in found.iter().enumerate() {
                    prop_assert!(p[i] > p[j] || a <= b);
                }
            }
        }

        #[test]
        fn does_not_depend_on_the_order(p in proptest::collection::vec(0f64..=1.0, 1..12)) {
            let mut reversed = p.clone();
            reversed.reverse();
            let mut found = holm(&reversed);
            found.reverse();
            prop_assert_eq!(found, holm(&p));
        }
    }
}
