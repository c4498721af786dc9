//! Average pooling.
use burn::{
    module::Module,
    tensor::{Bool, Tensor, module::avg_pool2d, ops::AvgPoolOptions},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Pool, Windowed, windowed};
use crate::{Init, kernel::Window};

/// Parameters of [`Avg`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AvgConfig {
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

impl Default for AvgConfig {
    fn default() -> Self {
        Self { kernel: 2, stride: None, padding: 0 }
    }
}

windowed!(AvgConfig);

impl Entry for AvgConfig {
    const SUMMARY: &'static str = "the mean of each window";
}

impl AvgConfig {
    /// The pooling.
    pub fn init(&self, _: &Init) -> Avg {
        Avg { window: self.window() }
    }
}

/// Average pooling: the mean of each window, of the cells that take part.
#[derive(Module, Debug)]
pub struct Avg {
    /// Where the windows lie.
    #[module(skip)]
    pub window: Window,
}

impl Pool for Avg {
    fn pool(&self, x: Tensor<4>, valid: Option<Tensor<4, Bool>>) -> Tensor<4> {
        self.composed(x, valid)
    }

    fn composed(&self, x: Tensor<4>, valid: Option<Tensor<4, Bool>>) -> Tensor<4> {
        let Window { kernel, stride, padding } = self.window;
        let pool = |x, count_include_pad: bool| {
            let options = AvgPoolOptions {
                kernel_size: [kernel; 2],
                stride: [stride; 2],
                padding: [(padding, padding); 2],
                count_include_pad,
                ceil_mode: false,
            };
            avg_pool2d(x, options)
        };
        let Some(valid) = valid else {
            return pool(x, false);
        };
        // Both means are over all cells, so their quotient is over the valid ones.
        let share = pool(valid.clone().float().cast(x.dtype()), true);
        let empty = share.clone().equal_elem(0.0);
        pool(x.mask_fill(valid.bool_not(), 0.0), true) / share.mask_fill(empty, 1.0)
    }
}
