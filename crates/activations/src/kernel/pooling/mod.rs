//! SoftPool, which Burn lacks, and max pooling, which it does slowly.
use burn::{
    backend::Dispatch,
    tensor::{Bool, Tensor},
};

mod max;
mod on_host;
mod ops;
mod soft;
#[cfg(test)]
mod tests;
mod window;

pub use max::MaxPoolSaved;
pub use on_host::PoolSaved;
pub use ops::{PoolKeep, PoolOps, PoolVjps};
pub use soft::SoftWindow;
pub use window::Window;

/// SoftPool of every window of `x`; a window without a valid cell gives 0.
///
/// # Shapes
/// - `x`: `[batch, channels, height, width]`; `valid` (`true` = takes part): the same
/// - result: `[batch, channels, rows, columns]`, see [`Window::places`]
///
/// # Panics
/// If the device is not [supported](super::supports), a shape does not fit or the window is larger than the image.
pub fn soft_pool(x: Tensor<4>, valid: Option<Tensor<4, Bool>>, window: SoftWindow) -> Tensor<4> {
    let keep = valid.map_or(PoolKeep::<Dispatch>::All, |valid| {
        assert_eq!(valid.dims(), x.dims(), "a mask of valid cells has the shape of the image");
        PoolKeep::Mask(valid.into_dispatch())
    });
    Tensor::from_dispatch(<Dispatch as PoolOps>::soft_pool(x.into_dispatch(), keep, window))
}

/// The largest value of every window of `x`; the gradient goes to the first of several largest cells. A NaN counts as the
/// largest.
///
/// # Shapes
/// - `x`: `[batch, channels, height, width]`; result: `[batch, channels, rows, columns]`, see [`Window::places`]
///
/// # Panics
/// If the device is not [supported](super::supports) or the window is larger than the image.
pub fn max_pool(x: Tensor<4>, window: Window) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as PoolOps>::max_pool(x.into_dispatch(), window))
}
