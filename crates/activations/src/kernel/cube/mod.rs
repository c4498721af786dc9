//! The row operations on CubeCL devices: one forward and one backward kernel that take a map's cube code when they
//! are compiled for the device.
//!
//! A map brings its cube code as a [`CubeRow`], or as a [`CubeRatio`] if it is positive numerators over their sum,
//! and hands it out by [`super::RowMap::cube`]. A map without cube code runs composed on these devices; losses do,
//! too.
//!
//! A row is worked on by a power of two of units side by side, up to 256; a cube holds as many short rows as fit.
//! Sums run over each unit's entries first and then over the units, pairwise, so that a device always gives the same
//! bits. Half types are computed in `f32`, as on the host.
use std::fmt;

use burn::{backend::DispatchDevice, tensor::Device};
pub use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;

mod fold;
mod forward;
mod launch;
mod math;
mod ops;
mod ratio;
mod row;
mod scan;
#[cfg(test)]
mod tests;
mod vjp;

use launch::{Forward, Vjp};
pub use math::log_1p;
pub use ratio::{CubeRatio, LogRatio, Ratio};
pub use row::{CubeRow, Entry, EntryExpand, Fold, Plan, RowFacts, RowFactsExpand};

/// A map's cube code as an object: what [`super::RowKernel::cube`] returns.
#[derive(Clone)]
pub struct CubeMap {
    name: &'static str,
    constants: Vec<f64>,
    forward: fn(Forward) -> CubeTensor,
    vjp: fn(Vjp) -> (CubeTensor, Option<CubeTensor>),
}

impl CubeMap {
    /// The map of this cube code.
    pub fn of<M: CubeRow>() -> Self {
        let name = std::any::type_name::<M>();
        Self { name, constants: Vec::new(), forward: launch::forward::<M>, vjp: launch::vjp::<M> }
    }

    /// The same code with the map's own constants, such as an exponent: they stand behind the row's parameters in
    /// [`RowFacts::params`]. Their values are no part of what is compiled, their number is.
    pub fn with(self, constants: impl Into<Vec<f64>>) -> Self {
        Self { constants: constants.into(), ..self }
    }

    /// The weights f / Σ f.
    pub fn ratio<M: CubeRatio>() -> Self {
        Self::of::<Ratio<M>>()
    }

    /// The logarithms of the weights, ln f − ln Σ f.
    pub fn log_ratio<M: CubeRatio>() -> Self {
        Self::of::<LogRatio<M>>()
    }
}

/// Whether CubeCL compiles for this device.
pub(super) fn is_cube(device: &Device) -> bool {
    match device.as_dispatch() {
        DispatchDevice::Cube(_) => true,
        DispatchDevice::Autodiff(device) => matches!(**device, DispatchDevice::Cube(_)),
        #[allow(unreachable_patterns)]
        _ => false,
    }
}

impl fmt::Debug for CubeMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CubeMap({} with {:?})", self.name, self.constants)
    }
}
