//! SoftPool.
use burn::{
    module::Module,
    tensor::{Bool, Slice, Tensor, ops::PadMode},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Pool, Windowed, windowed};
use crate::{
    Init,
    kernel::{self, SoftWindow, Window},
};

/// Parameters of [`Soft`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SoftConfig {
    /// Cells along each side of a window.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub kernel: usize,
    /// Cells from one window to the next; `kernel` if left out.
    #[schemars(range(min = 1))]
    pub stride: Option<usize>,
    /// Cells around the image that take no part, fewer than `kernel`.
    pub padding: usize,
    /// β, at least 0: average pooling at 0, towards max pooling as it grows.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub beta: f64,
    /// Whether the backward pass takes the weights as constants, as the authors' code does; otherwise it is the gradient
    /// of the forward pass.
    pub detach_weights: bool,
}

impl Default for SoftConfig {
    fn default() -> Self {
        Self { kernel: 2, stride: None, padding: 0, beta: 1.0, detach_weights: false }
    }
}

windowed!(SoftConfig);

impl Entry for SoftConfig {
    const SUMMARY: &'static str = "the mean of each window weighted by its softmax";
    const PAPER: &'static str =
        "Stergiou et al. 2021, Refining activation downsampling with SoftPool, arXiv:2101.00440";
}

impl SoftConfig {
    /// The pooling.
    pub fn init(&self, _: &Init) -> Soft {
        Soft { soft: SoftWindow { window: self.window(), beta: self.beta, detach_weights: self.detach_weights } }
    }
}

/// SoftPool: each window's mean, weighted by the softmax of its cells.
/// ```text
/// y = Σ_i w_i a_i,   w = softmax(β a) over the window
/// gradient:           da_i = g w_i (1 + β (a_i − y))
/// detached weights:   da_i = g w_i
/// ```
/// # Numerics
/// A cell of −∞ takes no part; a window with NaN or +∞ gives NaN.
/// # References
/// Stergiou et al. 2021, arXiv:2101.00440. The factor β is ours; their GPU code shifts windows of an even size by half of it,
/// clamps exponentials instead of subtracting the maximum, and detaches the weights.
#[derive(Module, Debug)]
pub struct Soft {
    /// The windows and the weights.
    #[module(skip)]
    pub soft: SoftWindow,
}

impl Pool for Soft {
    fn pool(&self, x: Tensor<4>, valid: Option<Tensor<4, Bool>>) -> Tensor<4> {
        if kernel::supports(&x.device()) { kernel::soft_pool(x, valid, self.soft) } else { self.composed(x, valid) }
    }

    fn composed(&self, x: Tensor<4>, valid: Option<Tensor<4, Bool>>) -> Tensor<4> {
        let removed = x.clone().detach().equal_elem(f64::NEG_INFINITY);
        let removed = valid.map_or(removed.clone(), |valid| removed.bool_or(valid.bool_not()));
        // A padded cell is a removed one.
        let cells = unfold(&self.soft.window, x.mask_fill(removed.clone(), 0.0), 0.0);
        let removed = unfold(&self.soft.window, removed.float().cast(cells.dtype()), 1.0).equal_elem(1.0);
        let max = cells.clone().detach().mask_fill(removed.clone(), f64::MIN).max_dim(0);
        let weights = (cells.clone() - max).mul_scalar(self.soft.beta).mask_fill(removed.clone(), 0.0).exp();
        let weights = weights.mask_fill(removed, 0.0);
        let sum = weights.clone().sum_dim(0);
        let empty = sum.clone().detach().equal_elem(0.0);
        let weights = weights / sum.mask_fill(empty, 1.0);
        let weights = if self.soft.detach_weights { weights.detach() } else { weights };
        (weights * cells).sum_dim(0).squeeze_dim(0)
    }
}

/// The cells of every window, one place of the window after another: `[kernel², batch, channels, rows, columns]`.
fn unfold(window: &Window, x: Tensor<4>, padded: f32) -> Tensor<5> {
    let (Window { kernel, stride, padding }, [batch, channels, height, width]) = (*window, x.dims());
    let [rows, columns] = [height, width].map(|size| window.places(size));
    let x = x.pad((padding, padding, padding, padding), PadMode::Constant(padded));
    let part = |r: usize| {
        let (i, j) = (r / kernel, r % kernel);
        let take = |from: usize, places: usize| {
            Slice::new(from as isize, Some((from + (places - 1) * stride + 1) as isize), stride as isize)
        };
        x.clone().slice([Slice::from(0..batch), Slice::from(0..channels), take(i, rows), take(j, columns)])
    };
    Tensor::stack((0..kernel * kernel).map(part).collect(), 0)
}
