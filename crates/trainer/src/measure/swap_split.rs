//! Does accuracy come from symmetry alone?
use kiln_analyses::accuracy::accuracy_of;

use super::*;

/// Parameters of the measure: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwapSplit {}

impl Entry for SwapSplit {
    const SUMMARY: &'static str = "accuracy on pairs whose swap is, and is not, among the training pairs";
}

impl Measure for SwapSplit {
    fn check(&self, context: &Context) -> Result<(), String> {
        if context.source.eval_sets().iter().any(|&set| !context.source.groups(set).is_empty()) {
            return Ok(());
        }
        Err("the data has no swapped pairs to tell apart; use it with a commutative operation (add, mul)".into())
    }

    /// `<set>_<group>_accuracy`, such as `test_swap_unseen_accuracy`, for every group the data set names.
    fn measure(&self, snapshot: &Snapshot, row: &mut Row) -> anyhow::Result<()> {
        for (set, scored) in &snapshot.sets {
            for group in snapshot.source.groups(*set) {
                let accuracy = accuracy_of(&scored.matrix(), &scored.targets, &group.rows);
                row.push(format!("{set}_{}_accuracy", group.name), accuracy);
            }
        }
        Ok(())
    }
}
