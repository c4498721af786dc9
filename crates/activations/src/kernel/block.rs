//! A map on blocks of rows of the caller's own, for operations that never hold all rows at once.
use super::{MapRows, MapVjpRows, Real, RowKernel, RowKernelOf, drive_map::BlockDriver, kept::Kept};

/// A scalar that a map's object carries its maths for.
pub trait MapScalar: Real {
    /// The maths of `kernel` for this scalar.
    fn of_kernel(kernel: &dyn RowKernel) -> &dyn RowKernelOf<Self>;
}

impl MapScalar for f32 {
    fn of_kernel(kernel: &dyn RowKernel) -> &dyn RowKernelOf<Self> {
        kernel
    }
}

impl MapScalar for f64 {
    fn of_kernel(kernel: &dyn RowKernel) -> &dyn RowKernelOf<Self> {
        kernel
    }
}

/// A map without row parameters on one block of rows after another, on the calling thread. Removed entries and special rows
/// are settled as in [`row_map`](super::row_map()), and the results have its bits.
#[derive(Debug)]
pub struct MapBlocks<'a, T: MapScalar> {
    driver: BlockDriver<'a, T>,
}

impl<'a, T: MapScalar> MapBlocks<'a, T> {
    /// For rows of at most `most` entries.
    ///
    /// # Panics
    /// If the map takes row parameters.
    pub fn new(kernel: &'a dyn RowKernel, most: usize) -> Self {
        assert_eq!(kernel.n_params(), 0, "blocks of rows come without parameters");
        Self { driver: BlockDriver::new(T::of_kernel(kernel), kernel, most) }
    }

    /// `y` of scores `x`, rows of `n` entries each, of which row i keeps the first `live[i]`, or all.
    ///
    /// # Panics
    /// If the lengths do not fit, or `n` is more than was said.
    pub fn forward(&mut self, n: usize, live: Option<&[usize]>, x: &[T], y: &mut [T]) {
        assert!(x.len() == y.len() && n > 0 && x.len().is_multiple_of(n), "scores and weights are rows of {n}");
        self.driver.forward(n, kept(live, x.len() / n), MapRows { n, x, params: &[], y });
    }

    /// `dx = gᵀ ∂y/∂x` for what [`MapBlocks::forward`] made of `x`.
    ///
    /// # Panics
    /// As there.
    pub fn vjp(&mut self, n: usize, live: Option<&[usize]>, [x, y, g]: [&[T]; 3], dx: &mut [T]) {
        let fits = [x, y, g].iter().all(|rows| rows.len() == dx.len());
        assert!(fits && n > 0 && x.len().is_multiple_of(n), "scores, weights and gradients are rows of {n}");
        let rows = MapVjpRows { n, x, y, params: &[], g, dx, dparams: &mut [] };
        self.driver.vjp(n, kept(live, x.len() / n), rows);
    }
}

fn kept(live: Option<&[usize]>, rows: usize) -> Kept<'_> {
    match live {
        None => Kept::All,
        Some(live) => {
            assert_eq!(live.len(), rows, "one count of kept entries per row");
            Kept::Prefix(live)
        }
    }
}
