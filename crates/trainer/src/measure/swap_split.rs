//! Does accuracy come from symmetry alone?
use kiln_datasets::Group;

use super::{group_accuracy, *};

/// Parameters of the measure: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwapSplit {}

impl Entry for SwapSplit {
    const SUMMARY: &'static str = "accuracy on pairs whose swap is, and is not, among the training pairs";
}

fn of_swaps(group: &Group) -> bool {
    group.name.starts_with("swap_")
}

impl Measure for SwapSplit {
    fn check(&self, context: &Context) -> Result<(), String> {
        if group_accuracy::publishes(context, of_swaps) {
            return Ok(());
        }
        Err("the data has no swapped pairs to tell apart; use it with a commutative operation (add, mul)".into())
    }

    /// `<set>_swap_seen_accuracy` and `<set>_swap_unseen_accuracy`.
    fn measure(&self, snapshot: &Snapshot, row: &mut Row) -> anyhow::Result<()> {
        group_accuracy::push(snapshot, row, of_swaps);
        Ok(())
    }
}
