//! Where things lie that must not overlap.
use kiln_stream::Draws;

/// First cells of `count` runs of `width` cells each in a line of `cells`, in ascending order. No two overlap, and every
/// such placement is as likely as any other: shrunk to one cell each, the runs are `count` different cells of a line
/// that is shorter by `count · (width − 1)`.
///
/// # Panics
/// If `width` is 0 or the runs are longer than the line.
pub(crate) fn scatter(draws: &mut Draws, count: usize, width: usize, cells: usize) -> Vec<usize> {
    let mut starts = draws.distinct(count, cells - count * (width - 1));
    starts.sort_unstable();
    starts.iter().enumerate().map(|(i, start)| start + i * (width - 1)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use kiln_stream::Stream;

    use super::*;

    #[test]
    fn every_placement_is_as_likely_as_any_other() {
        // Two runs of two cells in five cells: starts 0 2, 0 3 and 1 3.
        let mut draws = Stream::new(4, "test").at(0);
        let mut counts: HashMap<Vec<usize>, u32> = HashMap::new();
        for _ in 0..3000 {
            *counts.entry(scatter(&mut draws, 2, 2, 5)).or_default() += 1;
        }
        let mut placements: Vec<_> = counts.keys().cloned().collect();
        placements.sort();
        assert_eq!(placements, [[0, 2], [0, 3], [1, 3]]);
        // Five standard deviations of a third of 3000 are 129.
        assert!(counts.values().all(|count| count.abs_diff(1000) < 129), "{counts:?}");
        assert_eq!(scatter(&mut draws, 4, 2, 8), [0, 2, 4, 6]);
    }
}
