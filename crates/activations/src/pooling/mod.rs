//! Poolings: a window of a feature map to one value per channel.
//!
//! What holds for all of them: padded cells and cells that are not valid take no part, as if they were not there, and a
//! window that is left without any gives 0 and passes no gradient.
use std::fmt::Debug;

use burn::tensor::{Bool, Tensor};
use kiln_registry::{Tagged, registry};
use serde::de::value::{Error, MapDeserializer};

use crate::{Init, kernel::Window};

mod avg;
mod max;
mod soft;
#[cfg(test)]
mod tests;

pub use avg::{Avg, AvgConfig};
pub use max::{Max, MaxConfig};
pub use soft::{Soft, SoftConfig};

registry! {
    /// A pooling, by name; call [`Windowed::check`] before it is built.
    config PoolingConfig("pooling"): dyn Windowed;
    module Pooling: dyn Pool, init(&Init);
    "max" => Max(MaxConfig),
    "avg" => Avg(AvgConfig),
    "soft" => Soft(SoftConfig),
}

/// What every pooling's parameters say.
pub trait Windowed {
    /// Cells along each side of a window.
    fn kernel(&self) -> usize;
    /// Cells from one window to the next; [`Windowed::kernel`] if left out.
    fn stride(&self) -> Option<usize>;
    /// Cells around the image that take no part.
    fn padding(&self) -> usize;

    /// Where the windows lie.
    fn window(&self) -> Window {
        let kernel = self.kernel();
        Window { kernel, stride: self.stride().unwrap_or(kernel), padding: self.padding() }
    }

    /// Checks what no single parameter can know.
    ///
    /// # Errors
    /// If the parameters do not fit each other; the message says what to choose instead.
    fn check(&self) -> Result<(), String> {
        let Window { kernel, stride, padding } = self.window();
        if kernel == 0 || stride == 0 {
            let key = if kernel == 0 { "kernel" } else { "stride" };
            return Err(format!("{key} is 0; expected a whole number of at least 1"));
        }
        if padding >= kernel {
            return Err(format!(
                "padding is {padding} with a kernel of {kernel}, so that a window can miss the image; expected at most {}",
                kernel - 1
            ));
        }
        Ok(())
    }
}

/// The [`Windowed`] of a params struct with the usual three fields.
macro_rules! windowed {
    ($config:ty) => {
        impl super::Windowed for $config {
            fn kernel(&self) -> usize {
                self.kernel
            }
            fn stride(&self) -> Option<usize> {
                self.stride
            }
            fn padding(&self) -> usize {
                self.padding
            }
        }
    };
}
use windowed;

/// The contract of a pooling.
pub trait Pool: Debug + Send + Sync {
    /// The pooled image; `valid` has the shape of `x`.
    fn pool(&self, x: Tensor<4>, valid: Option<Tensor<4, Bool>>) -> Tensor<4>;

    /// [`Pool::pool`] in tensor operations of the device: for devices without a kernel, and as the independent check of
    /// its gradient.
    fn composed(&self, x: Tensor<4>, valid: Option<Tensor<4, Bool>>) -> Tensor<4>;
}

impl Pooling {
    /// The pooled image.
    ///
    /// # Shapes
    /// - `x`: `[batch, channels, height, width]`
    /// - `valid`: `true` = takes part; each axis as in `x` or 1
    /// - result: `[batch, channels, rows, columns]`, see [`Window::places`]
    ///
    /// # Panics
    /// If the mask does not fit or the window is larger than the padded image.
    pub fn forward(&self, x: Tensor<4>, valid: Option<Tensor<4, Bool>>) -> Tensor<4> {
        let shape = x.dims();
        let valid = valid.map(|valid| {
            let fits = valid.dims().iter().zip(&shape).all(|(v, s)| v == s || *v == 1);
            assert!(fits, "a mask of shape {:?} does not fit an image of shape {shape:?}", valid.dims());
            valid.expand(shape)
        });
        self.pool(x, valid)
    }
}

impl PoolingConfig {
    /// The entry `name` at its default parameters; `None` if it is unknown.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::load(name, MapDeserializer::<_, Error>::new(std::iter::empty::<(String, String)>())).ok()
    }
}
