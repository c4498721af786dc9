//! Diagnostics: what `[eval] measures` may name.
//!
//! A measure reads the [`Snapshot`] of a log step and adds metrics to its row. The formulas are pure
//! functions of `kiln-analyses`; here stands only what each needs from the run. A measure never changes the
//! run: final weights are the same bits with and without it.
use kiln_activations::loss::LossConfig;
use kiln_datasets::Split;
use kiln_registry::{Entry, registry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{run::metrics::Row, train::snapshot::Snapshot};

mod attention;
mod calibration;
mod collapse;
mod fourier;
mod group_accuracy;
mod logits;
mod nlm;
mod norms;
mod outliers;
mod sink_rate;
mod swap_split;
mod v_zero;
mod watch;

use attention::{DeadRows, LargestWeight, ZeroShare};
use calibration::Calibration;
use collapse::{RowGradZero, RowsumDefect, SIsOne, TargetGradZero, ZeroLoss};
use fourier::Fourier;
use group_accuracy::GroupAccuracy;
use logits::{LogitNorm, Margins};
use nlm::{NlmGrad, NlmUpdate, NormGrowth};
use norms::Norms;
use outliers::OutliersMeasure;
use sink_rate::SinkRate;
use swap_split::SwapSplit;
use v_zero::VZero;
pub use watch::{PerPart, Seen, Set, Watcher};

registry! {
    /// A diagnostic, by name.
    config MeasureConfig("measure"): dyn Measure;
    "zero_loss" => ZeroLoss(ZeroLoss),
    "target_grad_zero" => TargetGradZero(TargetGradZero),
    "s_is_one" => SIsOne(SIsOne),
    "row_grad_zero" => RowGradZero(RowGradZero),
    "rowsum_defect" => RowsumDefect(RowsumDefect),
    "logit_norm" => LogitNorm(LogitNorm),
    "margins" => Margins(Margins),
    "norms" => Norms(Norms),
    "nlm_grad" => NlmGrad(NlmGrad),
    "nlm_update" => NlmUpdate(NlmUpdate),
    "norm_growth" => NormGrowth(NormGrowth),
    "fourier" => Fourier(Fourier),
    "swap_split" => SwapSplit(SwapSplit),
    "calibration" => Calibration(Calibration),
    "group_accuracy" => GroupAccuracy(GroupAccuracy),
    "v_zero" => VZero(VZero),
    "largest_weight" => LargestWeight(LargestWeight),
    "zero_share" => ZeroShare(ZeroShare),
    "dead_rows" => DeadRows(DeadRows),
    "sink_rate" => SinkRate(SinkRate),
    "outliers" => Outliers(OutliersMeasure),
}

/// Adds metrics to a row.
pub trait Measure {
    /// Whether the measure applies to a run on this data with this optimizer.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    fn check(&self, context: &Context) -> Result<(), String> {
        let _ = context;
        Ok(())
    }

    /// Who looks at the records of an evaluation set for it, if it needs any.
    fn watch(&self, set: &Set) -> Option<Box<dyn Watcher>> {
        let _ = set;
        None
    }

    /// Reads the snapshot, adds to the row.
    ///
    /// # Errors
    /// If the run cannot be measured in this way.
    fn measure(&self, snapshot: &Snapshot, row: &mut Row) -> anyhow::Result<()> {
        let _ = (snapshot, row);
        Ok(())
    }
}

/// What is known of a run before it starts.
pub struct Context<'a> {
    /// The data.
    pub source: &'a dyn kiln_datasets::BatchSource,
    /// The optimizer's name.
    pub optimizer: &'a str,
    /// Whether the network records attention weights.
    pub attends: bool,
    /// The training loss.
    pub loss: &'a LossConfig,
}

impl Context<'_> {
    /// The number of classes that the data asks for.
    ///
    /// # Errors
    /// If it asks for real numbers.
    pub fn classes(&self) -> Result<usize, String> {
        self.source.spec().asks.classes().ok_or_else(|| {
            "the data asks for real numbers, and the measure reads classes; leave it out, or use other data".into()
        })
    }
}

/// Declares a measure without parameters: its struct, its summary and what it adds to the row. `of classes` refuses data
/// that asks for real numbers.
macro_rules! measure {
    ($(#[$doc:meta])* $name:ident, $summary:literal, $(of $classes:ident)? |$snapshot:ident, $row:ident| $body:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {}

        impl Entry for $name {
            const SUMMARY: &'static str = $summary;
            const PAPER: &'static str = "Prieto et al. 2025, arXiv:2501.04697";
        }

        impl Measure for $name {
            $(fn check(&self, context: &Context) -> Result<(), String> {
                context.$classes().map(drop)
            })?

            fn measure(&self, $snapshot: &Snapshot, $row: &mut Row) -> anyhow::Result<()> {
                $body;
                Ok(())
            }
        }
    };
}
use measure;
