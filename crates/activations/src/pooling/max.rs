//! Max pooling.
use burn::{
    module::Module,
    tensor::{Bool, Tensor, module::max_pool2d, ops::MaxPoolOptions},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Pool, Windowed, windowed};
use crate::{
    Init,
    kernel::{self, Window},
};

/// Parameters of [`Max`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MaxConfig {
    /// Cells along each side of a window.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub kernel: usize,
    /// Cells from one window to the next; `kernel` if left out.
    #[schemars(range(min = 1))]
    pub stride: Option<usize>,
    /// Cells around the image that take no part, fewer than `kernel`.
    pub padding: usize,
}

impl Default for MaxConfig {
    fn default() -> Self {
        Self { kernel: 2, stride: None, padding: 0 }
    }
}

windowed!(MaxConfig);

impl Entry for MaxConfig {
    const SUMMARY: &'static str = "the largest value of each window";
}

impl MaxConfig {
    /// The pooling.
    pub fn init(&self, _: &Init) -> Max {
        Max { window: self.window() }
    }
}

/// Max pooling: the largest value of each window.
///
/// The gradient goes to the first of several largest cells.
/// # Numerics
/// A cell of −∞ takes no part. Of a NaN the window gives NaN where it has a kernel.
#[derive(Module, Debug)]
pub struct Max {
    /// Where the windows lie.
    #[module(skip)]
    pub window: Window,
}

impl Pool for Max {
    fn pool(&self, x: Tensor<4>, valid: Option<Tensor<4, Bool>>) -> Tensor<4> {
        match valid {
            None if kernel::supports(&x.device()) => kernel::max_pool(x, self.window),
            valid => self.composed(x, valid),
        }
    }

    fn composed(&self, x: Tensor<4>, valid: Option<Tensor<4, Bool>>) -> Tensor<4> {
        let Window { kernel, stride, padding } = self.window;
        let pool = |x| {
            let options = MaxPoolOptions {
                kernel_size: [kernel; 2],
                stride: [stride; 2],
                padding: [(padding, padding); 2],
                dilation: [1; 2],
                ceil_mode: false,
            };
            max_pool2d(x, options)
        };
        let Some(valid) = valid else {
            return pool(x);
        };
        let max = pool(x.mask_fill(valid.bool_not(), f64::NEG_INFINITY));
        let empty = max.clone().detach().equal_elem(f64::NEG_INFINITY);
        max.mask_fill(empty, 0.0)
    }
}
