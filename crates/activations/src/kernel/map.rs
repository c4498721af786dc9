//! A map of one row, and the object that carries it across rows, scalars and instruction sets.
use std::fmt::Debug;

#[cfg(feature = "cube")]
use super::cube::CubeMap;
use super::{
    Real,
    isa::{self, Job},
};

/// What becomes of a row in which a score is +∞.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtInfinity {
    /// The infinite scores share all the weight: the map's limit is one-hot.
    OneHot,
    /// The row is NaN.
    Nan,
}

/// The maths of a map on one row, written once for `f32` and `f64`.
///
/// The driver removes masked entries and scores of −∞ first and settles rows with NaN or +∞ by itself, so a row
/// that arrives here has at least one entry and all of them are finite. Implementations are `#[inline(always)]`
/// so that they are compiled for the vectors of the CPU, and sum through [`super::lanes`].
pub trait RowMap: Debug + Send + Sync + 'static {
    /// Number of per-row parameters.
    const N_PARAMS: usize = 0;
    /// Whether the result is the logarithm of a weight, so that a removed entry reads −∞ instead of 0.
    const IS_LOG: bool = false;
    /// What becomes of a row in which a score is +∞.
    const AT_INFINITY: AtInfinity = AtInfinity::Nan;

    /// Whether a row of few entries is computed in `f64`: where a map of one or two entries is all but constant, its
    /// gradient is what large terms leave of each other.
    const SHORT_IN_F64: bool = false;

    /// `y` of the scores `x`, all of length n.
    fn forward<T: Real>(&self, x: &[T], params: &[T], y: &mut [T]);

    /// `dx = gᵀ ∂y/∂x` and `dparams = gᵀ ∂y/∂params`. What `dx` and `dparams` hold before is unspecified.
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], dparams: &mut [T]);

    /// The same map for devices that CubeCL compiles for; a map without it runs composed there.
    #[cfg(feature = "cube")]
    fn cube(&self) -> Option<CubeMap> {
        None
    }
}

/// What the backward pass of one row starts from.
#[derive(Clone, Copy, Debug)]
pub struct VjpRow<'a, T> {
    /// The scores.
    pub x: &'a [T],
    /// What the forward pass made of them.
    pub y: &'a [T],
    /// The row's parameters.
    pub params: &'a [T],
    /// The gradient that arrives at `y`.
    pub g: &'a [T],
}

/// Scores of several rows, row after row, and the place for their results.
#[derive(Debug)]
pub struct MapRows<'a, T> {
    /// Entries per row.
    pub n: usize,
    /// Scores `[rows, n]`.
    pub x: &'a [T],
    /// Parameters `[rows, P]`.
    pub params: &'a [T],
    /// Results `[rows, n]`.
    pub y: &'a mut [T],
}

/// What the backward pass of several rows needs, and the places for its results.
#[derive(Debug)]
pub struct MapVjpRows<'a, T> {
    /// Entries per row.
    pub n: usize,
    /// Scores `[rows, n]`.
    pub x: &'a [T],
    /// Results of the forward pass `[rows, n]`.
    pub y: &'a [T],
    /// Parameters `[rows, P]`.
    pub params: &'a [T],
    /// Gradients at the results `[rows, n]`.
    pub g: &'a [T],
    /// Gradients at the scores `[rows, n]`.
    pub dx: &'a mut [T],
    /// Gradients at the parameters `[rows, P]`.
    pub dparams: &'a mut [T],
}

/// A map as an object, for one scalar.
pub trait RowKernelOf<T: Real>: Debug + Send + Sync {
    /// The forward pass of several rows.
    fn forward_rows(&self, rows: MapRows<'_, T>);
    /// The backward pass of several rows.
    fn vjp_rows(&self, rows: MapVjpRows<'_, T>);
}

/// A map as an object: what [`super::row_map`] takes. Every [`RowMap`] is one.
pub trait RowKernel: RowKernelOf<f32> + RowKernelOf<f64> + 'static {
    /// Number of per-row parameters.
    fn n_params(&self) -> usize;
    /// Whether the result is the logarithm of a weight.
    fn is_log(&self) -> bool;
    /// What becomes of a row in which a score is +∞.
    fn at_infinity(&self) -> AtInfinity;
    /// The map's cube code; see [`RowMap::cube`].
    #[cfg(feature = "cube")]
    fn cube(&self) -> Option<CubeMap>;
}

impl<K: RowMap> RowKernel for K {
    fn n_params(&self) -> usize {
        K::N_PARAMS
    }
    fn is_log(&self) -> bool {
        K::IS_LOG
    }
    fn at_infinity(&self) -> AtInfinity {
        K::AT_INFINITY
    }
    #[cfg(feature = "cube")]
    fn cube(&self) -> Option<CubeMap> {
        RowMap::cube(self)
    }
}

impl<K: RowMap, T: Real> RowKernelOf<T> for K {
    fn forward_rows(&self, rows: MapRows<'_, T>) {
        isa::run(Forward { map: self, rows });
    }
    fn vjp_rows(&self, rows: MapVjpRows<'_, T>) {
        isa::run(Vjp { map: self, rows });
    }
}

pub(crate) struct Forward<'a, K, T> {
    pub(crate) map: &'a K,
    pub(crate) rows: MapRows<'a, T>,
}

impl<K: RowMap, T: Real> Job for Forward<'_, K, T> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let MapRows { n, x, params, y } = self.rows;
        if in_f64::<K, T>(n) {
            for (row, (x, y)) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)).enumerate() {
                short_forward(self.map, x, &params[row * K::N_PARAMS..][..K::N_PARAMS], y);
            }
            return;
        }
        for (row, (x, y)) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)).enumerate() {
            self.map.forward(x, &params[row * K::N_PARAMS..][..K::N_PARAMS], y);
        }
    }
}

pub(crate) struct Vjp<'a, K, T> {
    pub(crate) map: &'a K,
    pub(crate) rows: MapVjpRows<'a, T>,
}

impl<K: RowMap, T: Real> Job for Vjp<'_, K, T> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let MapVjpRows { n, x, y, params, g, dx, dparams } = self.rows;
        if in_f64::<K, T>(n) {
            for (row, dx) in dx.chunks_exact_mut(n).enumerate() {
                let (at, of) = (row * n, row * K::N_PARAMS);
                let dparams = &mut dparams[of..][..K::N_PARAMS];
                short_vjp(self.map, &x[at..][..n], &params[of..][..K::N_PARAMS], &g[at..][..n], dx, dparams);
            }
            return;
        }
        for (row, dx) in dx.chunks_exact_mut(n).enumerate() {
            let (at, of) = (row * n, row * K::N_PARAMS);
            let row =
                VjpRow { x: &x[at..][..n], y: &y[at..][..n], params: &params[of..][..K::N_PARAMS], g: &g[at..][..n] };
            self.map.vjp(row, dx, &mut dparams[of..][..K::N_PARAMS]);
        }
    }
}

/// The longest row that [`RowMap::SHORT_IN_F64`] speaks of.
const SHORT: usize = 16;

fn in_f64<K: RowMap, T>(n: usize) -> bool {
    K::SHORT_IN_F64 && n <= SHORT && size_of::<T>() < size_of::<f64>()
}

/// The numbers of a short row.
#[inline(always)]
fn widened<T: Real>(from: &[T]) -> [f64; SHORT] {
    let mut row = [0.0f64; SHORT];
    row.iter_mut().zip(from).for_each(|(to, from)| *to = from.wide());
    row
}

/// The results of a short row in `f64`.
#[inline(always)]
fn short_forward<K: RowMap, T: Real>(map: &K, x: &[T], params: &[T], y: &mut [T]) {
    let n = x.len();
    let mut wide = [0.0f64; SHORT];
    map.forward(&widened(x)[..n], &widened(params)[..K::N_PARAMS], &mut wide[..n]);
    y.iter_mut().zip(wide).for_each(|(to, from)| *to = T::of(from));
}

/// The backward pass of a short row in `f64`, its results included.
#[inline(always)]
fn short_vjp<K: RowMap, T: Real>(map: &K, x: &[T], params: &[T], g: &[T], dx: &mut [T], dparams: &mut [T]) {
    let n = x.len();
    let (x, params, g) = (widened(x), widened(params), widened(g));
    let (params, mut wide_dparams) = (&params[..K::N_PARAMS], [0.0f64; SHORT]);
    let (mut y, mut wide_dx) = ([0.0f64; SHORT], [0.0f64; SHORT]);
    map.forward(&x[..n], params, &mut y[..n]);
    let row = VjpRow { x: &x[..n], y: &y[..n], params, g: &g[..n] };
    map.vjp(row, &mut wide_dx[..n], &mut wide_dparams[..K::N_PARAMS]);
    dx.iter_mut().zip(wide_dx).for_each(|(to, from)| *to = T::of(from));
    dparams.iter_mut().zip(wide_dparams).for_each(|(to, from)| *to = T::of(from));
}
