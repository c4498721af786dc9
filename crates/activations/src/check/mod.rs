//! Whether maps, pointwise functions and losses compute what they say: on the user's own device, in the user's own dtype.
//!
//! Everything is held against its composed form in `f64` on the host, whose gradient comes from autodiff: two ways to the
//! same numbers that share no code. Scores, parameters and upstream gradients are rounded to the dtype first, so that both
//! sides see the same numbers. The shapes are awkward (n of 1, 2, 3, 63, 100, 257, 4097, prime numbers of rows), the
//! [kinds](Kind) of rows include masks, prefixes, empty rows, infinities, NaN, huge and tiny scores.
//!
//! # What passes
//! The error of an entry counts in units of the last place ([`Finding::error_ulp`]) of the largest value in its row. Results
//! that are differences count against what they are differences of, if that is larger: a gradient against the largest weight
//! times the largest upstream gradient (for log weights and losses: that gradient alone), the gradient at a parameter also
//! against the size its sum has at random signs, a log weight against 1 + ln(1 + |x|) of the largest score, a loss against 1. No arithmetic of the dtype does better. A case passes if
//! - its error is at most [`ULP`] units, or twice the error of the composed form in the same dtype on the same device (in f64
//!   [`F64_FACTOR`] times as much);
//! - and stays below the dtype's [absolute cap](cap());
//! - and NaN, +∞ and −∞ stand exactly where they should.
//!
//! A map that jumps (a quantiser), or whose gradient does (the edge of a support), may stand on either side of a jump that lies
//! within a few units of its scores.
//!
//! In rows with NaN or +∞ the composed form says nothing; there the contract of the [maps](crate::normalizer) decides.
//!
//! # Example
//! ```
//! use burn::tensor::{Device, DType};
//! use kiln_activations::{check::{Setting, check_map}, Init, normalizer::NormalizerConfig};
//!
//! let setting = Setting { shapes: vec![[3, 2], [5, 63]], ..Setting::new(Device::flex(), DType::F32) };
//! let softmax = NormalizerConfig::default().init(&Init::new(0, &setting.device, setting.dtype));
//! let findings = check_map("softmax", &*softmax, &setting);
//! assert!(findings.iter().all(|finding| finding.passed()));
//! ```
use std::fmt;

use burn::tensor::{DType, Device};
use serde::Serialize;

mod cases;
mod entries;
mod expected;
mod loss;
mod map;
mod pass;
mod pointwise;
#[cfg(test)]
mod tests;
mod ulp;
mod yardstick;

pub use cases::Kind;
pub use entries::{Entry, entries};
pub use loss::check_loss;
pub use map::check_map;
pub use pointwise::check_pointwise;
pub use ulp::{F64_FACTOR, ULP, cap};

/// Where and on what a check runs.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The device under test, with autodiff.
    pub device: Device,
    /// The dtype scores are stored in: f64, f32, f16 or bf16.
    pub dtype: DType,
    /// Rows and entries per row of each case.
    pub shapes: Vec<[usize; 2]>,
}

impl Setting {
    /// Every awkward shape, on `device` and in `dtype`. Short rows are many, so that neither side's largest error is luck.
    pub fn new(device: Device, dtype: DType) -> Self {
        let shapes = vec![[127, 1], [131, 2], [113, 3], [61, 63], [41, 100], [19, 257], [3, 4097]];
        let device = if device.is_autodiff() { device } else { device.autodiff() };
        Self { device, dtype, shapes }
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// The weights of a map.
    Weights,
    /// The gradient that reaches the scores from the weights.
    WeightsGradient,
    /// The logarithms of the weights.
    LogWeights,
    /// The gradient that reaches the scores from the logarithms.
    LogWeightsGradient,
    /// The gradient at the row parameters, from the weights.
    ParamGradient,
    /// The values of a pointwise function.
    Value,
    /// The gradient that reaches its arguments.
    ValueGradient,
    /// The losses of the rows.
    Loss,
    /// The gradient that reaches the logits from the losses.
    LossGradient,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weights => "weights",
            Self::WeightsGradient => "gradient",
            Self::LogWeights => "log weights",
            Self::LogWeightsGradient => "gradient of log weights",
            Self::ParamGradient => "gradient at parameters",
            Self::Value => "value",
            Self::ValueGradient => "gradient",
            Self::Loss => "loss",
            Self::LossGradient => "gradient",
        })
    }
}

/// The worst case of one quantity of one entry: the one nearest to its limit, or farthest beyond.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The entry: `softmax`, `cross_entropy(softmax)`.
    pub name: String,
    /// The dtype it was checked in.
    pub dtype: &'static str,
    /// What was compared.
    pub quantity: Quantity,
    /// The largest error of the worst case, in units of the last place of the largest value in the row.
    pub error_ulp: f64,
    /// The composed form's error in the same case; `None` where that form is no number in this dtype.
    pub composed_ulp: Option<f64>,
    /// Where the largest error stands.
    pub place: Place,
    /// What is wrong; `None` if it passed.
    pub problem: Option<Problem>,
}

impl Finding {
    /// Whether it passed.
    pub fn passed(&self) -> bool {
        self.problem.is_none()
    }
}

/// One value of one case.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Place {
    /// Rows of the case.
    pub rows: usize,
    /// Entries per row of the case.
    pub n: usize,
    /// The kind of its rows.
    pub kind: Kind,
    /// The row.
    pub row: usize,
    /// The entry in it.
    pub entry: usize,
    /// The value that came.
    pub got: f64,
    /// The value that was expected.
    pub want: f64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, n, kind, row, entry, .. } = self;
        write!(f, "[{rows}, {n}] {kind}, at [{row}, {entry}]")
    }
}

/// Why a case failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// NaN or an infinity stands where another value should, or the reverse.
    Pattern,
    /// The error is above twice the composed form's and above [`ULP`] units.
    Error,
    /// The error is above the dtype's [cap](cap()).
    Cap,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pattern => "NaN or infinity misplaced",
            Self::Error => "error too large",
            Self::Cap => "error above the cap",
        })
    }
}

/// The name of a float dtype, as the command line and reports write it.
fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "f64",
        DType::F32 | DType::Flex32 => "f32",
        DType::F16 => "f16",
        DType::BF16 => "bf16",
        other => panic!("maps and losses take f64, f32, f16 or bf16, not {other:?}"),
    }
}
