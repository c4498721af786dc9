//! Are a few hidden values far larger than the rest?
use kiln_analyses::{Matrix, outliers::Outliers};

use super::*;

/// Of each block i that the network names (from 0, as it runs them) two metrics: `<set>_block<i>_largest`, the mean over rows
/// of the largest size of a value that the block gives, max |h|, and `<set>_block<i>_kurtosis` of all its values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutliersMeasure {}

impl Entry for OutliersMeasure {
    const SUMMARY: &'static str = "largest hidden value and kurtosis after each block, on each evaluation set";
    const PAPER: &'static str = "Bondarenko et al. 2023, Quantizable Transformers, arXiv:2306.12929";
}

impl Measure for OutliersMeasure {
    fn watch(&self, _set: &Set) -> Option<Box<dyn Watcher>> {
        Some(Box::<Blocks>::default())
    }
}

/// The outliers of each block on one evaluation set.
#[derive(Default)]
struct Blocks(PerPart<Outliers>);

impl Watcher for Blocks {
    fn wants(&self) -> &'static str {
        "block"
    }

    fn see(&mut self, seen: &Seen) {
        let shape = &seen.record.shape;
        let of_row: usize = shape[1..].iter().product();
        if of_row > 0 {
            self.0.of(&seen.record.path).add(&Matrix::new(seen.rows().values(), of_row));
        }
    }

    fn report(&self, set: Split, row: &mut Row) {
        for (i, block) in self.0.iter().enumerate() {
            row.push(format!("{set}_block{i}_largest"), block.largest());
            row.push(format!("{set}_block{i}_kurtosis"), block.kurtosis());
        }
    }
}
