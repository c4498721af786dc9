//! Making long series short enough to draw, without losing what the eye would see.

/// Most points of one series that are drawn.
pub(super) const MOST: usize = 2000;

/// Kept from each bucket: first, lowest, highest, last, one gap.
const PER_BUCKET: usize = 5;

/// Indices of the points to draw, in order, at most [`MOST`]: in each of 400 buckets of equal count the first and the
/// last point, the lowest and the highest, and a gap if there is one. `low` and `high` give the two heights of a point
/// (equal for a curve, the two edges for a band); a point is a gap if either is not finite.
pub(super) fn kept(count: usize, low: impl Fn(usize) -> f64, high: impl Fn(usize) -> f64) -> Vec<usize> {
    if count <= MOST {
        return (0..count).collect();
    }
    let buckets = MOST / PER_BUCKET;
    let mut indices = Vec::with_capacity(MOST);
    for bucket in 0..buckets {
        let range = bucket * count / buckets..(bucket + 1) * count / buckets;
        let gap = |&i: &usize| !(low(i).is_finite() && high(i).is_finite());
        let solid = || range.clone().filter(|i| !gap(i));
        let mut chosen = [
            solid().next(),
            solid().min_by(|&a, &b| low(a).total_cmp(&low(b))),
            solid().max_by(|&a, &b| high(a).total_cmp(&high(b))),
            solid().next_back(),
            range.clone().find(gap),
        ];
        chosen.sort_unstable();
        indices.extend(chosen.into_iter().flatten());
    }
    indices.dedup();
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_series_are_untouched() {
        assert_eq!(kept(3, |_| 0.0, |_| 0.0), vec![0, 1, 2]);
        assert!(kept(0, |_| 0.0, |_| 0.0).is_empty());
    }

    #[test]
    fn extremes_ends_and_gaps_survive() {
        let n = 123_457;
        let mut y: Vec<f64> = (0..n).map(|i| (i as f64 * 0.01).sin()).collect();
        y[60_001] = 50.0;
        y[90_002] = -50.0;
        y[30_003] = f64::NAN;
        let indices = kept(n, |i| y[i], |i| y[i]);
        assert!(indices.len() <= MOST, "{}", indices.len());
        assert!(indices.windows(2).all(|w| w[0] < w[1]));
        for must in [0, 30_003, 60_001, 90_002, n - 1] {
            assert!(indices.contains(&must), "{must} was lost");
        }
    }

    #[test]
    fn a_series_of_gaps_does_not_panic() {
        assert!(kept(10_000, |_| f64::NAN, |_| f64::NAN).len() <= MOST);
    }
}
