//! The composed form's own error, which a kernel is measured by.
use burn::tensor::{DType, Device};

use super::{
    pass::{Inputs, Pass},
    ulp::{Want, round, worst},
};

/// The composed form in the dtype under test.
pub(super) enum Yardstick {
    /// As it is.
    Same(Pass),
    /// In `f64` the form is its own reference and has no error to show. It is taken to lose as many units of the last place
    /// as it does in `f32`, where `f64` can tell.
    Single {
        /// In `f32`.
        pass: Pass,
        /// In `f64`, of the same numbers.
        want: Pass,
    },
}

impl Yardstick {
    /// Runs the composed form by `run`, which is told whether it computes elsewhere than on the device under test.
    pub(super) fn new(inputs: &Inputs<'_>, host: &Device, run: impl Fn(Inputs<'_>, bool) -> Pass) -> Self {
        if inputs.dtype != DType::F64 {
            return Self::Same(run(*inputs, false));
        }
        let single = |values: &[f64]| values.iter().map(|&x| round(x, DType::F32)).collect::<Vec<f64>>();
        let (scores, params, upstream) =
            (single(inputs.scores), inputs.params.map(single), inputs.upstream.map(single));
        let inputs = Inputs { scores: &scores, params: params.as_deref(), upstream: upstream.as_deref(), ..*inputs };
        Self::Single { pass: run(inputs.on(host, DType::F32), true), want: run(inputs.on(host, DType::F64), true) }
    }

    /// The error of one tensor of the pass, in units of the last place, over the rows that count; `None` where it is no number
    /// that one could measure by.
    pub(super) fn error(
        &self,
        of: impl Fn(&Pass) -> &Vec<f64>,
        want: &Want,
        dtype: DType,
        counts: impl Fn(usize) -> bool,
    ) -> Option<f64> {
        let found = match self {
            Self::Same(pass) => worst(of(pass), want, dtype, counts),
            Self::Single { pass, want: double } => {
                let want = Want::exactly(of(double).clone(), want.width).of_terms(want.terms.clone());
                worst(of(pass), &want, DType::F32, counts)
            }
        };
        (!found.pattern).then_some(found.ulp)
    }
}
