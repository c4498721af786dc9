//! Where the attention of the evaluation sets goes: selection, dispersion, dead heads.
use kiln_analyses::attention::Spread;

use super::*;

/// Refuses networks without attention weights.
pub(super) fn attends(context: &Context) -> Result<(), String> {
    match context.attends {
        true => Ok(()),
        false => {
            Err("the network has no attention whose weights could be read; use it with query_pool or a transformer \
                      whose attention core is scores"
                .into())
        }
    }
}

/// A measure that reads a spread of each evaluation set; its method's name is the metric's.
macro_rules! spread_measure {
    ($(#[$doc:meta])* $name:ident, $summary:literal, $method:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {}

        impl Entry for $name {
            const SUMMARY: &'static str = $summary;
            const PAPER: &'static str =
                "Veličković et al. 2024, softmax is not enough (for sharp out-of-distribution), arXiv:2410.01104";
        }

        impl Measure for $name {
            fn check(&self, context: &Context) -> Result<(), String> {
                attends(context)
            }

            fn watch(&self, _set: &Set) -> Option<Box<dyn Watcher>> {
                /// The weights of all layers and heads together.
                #[derive(Default)]
                struct All(Spread);

                impl Watcher for All {
                    fn wants(&self) -> &'static str {
                        "attention"
                    }

                    fn see(&mut self, seen: &Seen) {
                        self.0.add(&seen.rows(), seen.kept());
                    }

                    fn report(&self, set: Split, row: &mut Row) {
                        row.push(format!("{set}_{}", stringify!($method)), self.0.$method());
                    }
                }

                Some(Box::<All>::default())
            }
        }
    };
}

spread_measure!(
    /// `<set>_largest_weight`: mean over the rows of every layer and head of the largest attention weight.
    LargestWeight,
    "mean largest attention weight on each evaluation set",
    largest_weight
);

spread_measure!(
    /// `<set>_zero_share`: share of the kept attention weights that are exactly 0, underflow included.
    ZeroShare,
    "share of attention weights that are exactly 0 on each evaluation set",
    zero_share
);

spread_measure!(
    /// `<set>_dead_rows`: share of rows whose attention weights are all exactly 0, so that no gradient returns.
    DeadRows,
    "share of rows without any attention weight on each evaluation set",
    dead_rows
);
