//! Is one part of an evaluation set harder than another?
use kiln_analyses::accuracy::accuracy_of;
use kiln_datasets::Group;

use super::*;

/// Parameters of the measure: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupAccuracy {}

impl Entry for GroupAccuracy {
    const SUMMARY: &'static str = "accuracy on each group of answers that the data set tells apart";
}

impl Measure for GroupAccuracy {
    fn check(&self, context: &Context) -> Result<(), String> {
        context.classes()?;
        match publishes(context, |_| true) {
            true => Ok(()),
            false => Err("the data tells no groups apart; use it with needle, bigram_back_copy, or modular with a \
                          commutative operation"
                .into()),
        }
    }

    /// `<set>_<group>_accuracy`, such as `n768_far31_accuracy`, for every group the data set names.
    fn measure(&self, snapshot: &Snapshot, row: &mut Row) -> anyhow::Result<()> {
        push(snapshot, row, |_| true);
        Ok(())
    }
}

/// Whether an evaluation set has such a group.
pub(super) fn publishes(context: &Context, such: impl Fn(&Group) -> bool) -> bool {
    context.source.eval_sets().iter().any(|&set| context.source.groups(set).iter().any(&such))
}

/// The names of all groups, each once.
pub(super) fn group_names(context: &Context) -> Vec<String> {
    let sets = context.source.eval_sets();
    let groups = sets.iter().flat_map(|&set| context.source.groups(set));
    groups.fold(Vec::new(), |mut names, group| {
        if !names.contains(&group.name) {
            names.push(group.name.clone());
        }
        names
    })
}

/// Adds the accuracies of such groups.
pub(super) fn push(snapshot: &Snapshot, row: &mut Row, such: impl Fn(&Group) -> bool) {
    for (set, scored) in &snapshot.sets {
        for group in snapshot.source.groups(*set).iter().filter(|group| such(group)) {
            let accuracy = accuracy_of(&scored.preferences(), scored.targets(), &group.answers);
            row.push(format!("{set}_{}_accuracy", group.name), accuracy);
        }
    }
}
