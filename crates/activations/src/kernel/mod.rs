//! The few backend operations that carry every map and every loss of scores, and what stands between layers.
//!
//! - [`row_map`]: scores to weights, row by row;
//! - [`row_loss`]: logits and a class per row to a loss per row, in a precision of the loss's own, so that `f32`
//!   logits meet an `f64` loss without a copy of the logits;
//! - [`row_mean`]: the mean of row losses in a fixed order;
//! - [`pointwise`](pointwise()): a function of every element;
//! - [`soft_pool`], [`max_pool`]: over the windows of an image.
//!
//! A map is a [`RowMap`], a loss a [`RowNll`]: maths on one row, written once for all scalars, with a hand-written
//! vector-Jacobian product. The driver cuts the tensor into fixed blocks of rows, removes masked entries before the
//! maths sees them, settles rows with NaN or infinities, converts half types, chooses the instruction set and
//! spreads the blocks over the threads. Results have the same bits on every CPU and thread count.
//!
//! All of them run on the devices that [`supports`] names: flex works on the tensors' own memory, ndarray through a copy
//! on the host. CubeCL devices (wgpu, vulkan, cuda) run the maps that have cube code, see [`runs`]; whatever has no
//! kernel on a device is composed of tensor operations.
use std::sync::Arc;

use burn::{
    backend::{Dispatch, DispatchDevice},
    tensor::{Device, Int, Tensor},
};

use crate::loss::LossDtype;

mod block;
#[cfg(feature = "cube")]
pub mod cube;
mod drive_loss;
mod drive_map;
mod elementary;
mod fresh;
mod gumbel;
mod host;
mod isa;
mod keep;
mod kept;
pub mod lanes;
mod map;
mod nll;
mod on_host;
mod ops;
mod pointwise;
mod pooling;
mod precision;
mod real;
mod seeded;
mod storage;
mod tasks;
mod topk;

#[cfg(test)]
mod elementary_tests;
#[cfg(test)]
mod lanes_tests;
#[cfg(test)]
mod real_tests;
#[cfg(test)]
mod tests;

pub use block::{MapBlocks, MapScalar};
pub use elementary::Elementary;
pub(crate) use gumbel::fill_gumbel;
pub use isa::{Job, run as in_vectors};
pub use keep::Keep;
pub use map::{AtInfinity, MapRows, MapVjpRows, RowKernel, RowKernelOf, RowMap, VjpRow};
pub use nll::{LossKernel, LossKernelOf, NllBack, NllOut, NllRow, NllRows, NllVjpOut, RowNll};
pub use on_host::{LossInput, MapSaved, RowGrads};
pub use ops::{RowKeep, RowOps, RowParams, RowVjps};
pub use pointwise::{
    PointwiseKernel, PointwiseKernelOf, PointwiseMap, PointwiseOps, PointwiseSaved, PointwiseVjps, Saves, pointwise,
};
pub use pooling::{MaxPoolSaved, PoolKeep, PoolOps, PoolSaved, PoolVjps, SoftWindow, Window, max_pool, soft_pool};
pub use precision::{Double, Half, Precision, Single};
pub use real::Real;
pub use seeded::{SeedOps, seeded};
pub(crate) use topk::largest;
pub use topk::{TopkOps, TopkSaved, TopkVjps, row_topk};

/// Whether every row operation runs on `device`. On another one only the maps that [run](runs) there do, and the
/// other operations panic, so ask first.
pub fn supports(device: &Device) -> bool {
    fn listed(device: &DispatchDevice) -> bool {
        match device {
            #[cfg(feature = "flex")]
            DispatchDevice::Flex(_) => true,
            #[cfg(feature = "ndarray")]
            DispatchDevice::NdArray(_) => true,
            DispatchDevice::Autodiff(device) => listed(device),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }
    listed(device.as_dispatch())
}

/// Whether [`row_map`] with this kernel runs on `device`; otherwise the map is to be composed of tensor operations.
pub fn runs(kernel: &dyn RowKernel, device: &Device) -> bool {
    #[cfg(feature = "cube")]
    if cube::is_cube(device) {
        return kernel.cube().is_some();
    }
    let _ = kernel;
    supports(device)
}

/// Applies a map to every row of `scores`.
///
/// # Shapes
/// - `scores`, result: `[rows, n]`; `row_params`: `[rows, P]` in the dtype of the scores, `None` if P = 0
///
/// # Panics
/// If the kernel does not [run](runs) on the device or a shape does not fit.
pub fn row_map(scores: Tensor<2>, row_params: Option<Tensor<2>>, keep: &Keep, kernel: Arc<dyn RowKernel>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as RowOps>::row_map(
        scores.into_dispatch(),
        params(row_params),
        keep.to_dispatch(),
        kernel,
    ))
}

/// The loss of every row of `logits` against its class, and the row's sum, both `[rows]` in the loss dtype. Only the
/// loss is differentiated; the gradient has the dtype of the logits.
///
/// A row with a NaN or a logit of +∞ gives NaN; a target that is removed gives +∞.
///
/// # Shapes
/// - `logits`: `[rows, n]`; `row_params`: `[rows, P]` in the dtype of the logits, `None` if P = 0; `target`: `[rows]`
///
/// # Panics
/// If the device is not [supported](supports), a shape does not fit or a target is not below n.
pub fn row_loss(
    logits: Tensor<2>,
    row_params: Option<Tensor<2>>,
    target: Tensor<1, Int>,
    keep: &Keep,
    kernel: Arc<dyn LossKernel>,
    dtype: LossDtype,
) -> (Tensor<1>, Tensor<1>) {
    let (loss, row_sum) = <Dispatch as RowOps>::row_loss(
        logits.into_dispatch(),
        params(row_params),
        target.into_dispatch(),
        keep.to_dispatch(),
        kernel,
        dtype,
    );
    (Tensor::from_dispatch(loss), Tensor::from_dispatch(row_sum))
}

/// The mean of `x` (`[rows]`) as `[1]` in the same dtype: summed in `f64` in a fixed order, rounded once. Each row's
/// gradient is the upstream gradient times 1/rows, in the dtype of `x`.
///
/// # Panics
/// If the device is not [supported](supports).
pub fn row_mean(x: Tensor<1>) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as RowOps>::row_mean(x.into_dispatch()))
}

fn params(row_params: Option<Tensor<2>>) -> RowParams<Dispatch> {
    row_params.map_or(RowParams::None, |params| RowParams::Rows(params.into_dispatch()))
}
