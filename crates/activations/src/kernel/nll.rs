//! The negative log-weight of one class per row, and the object that carries it across rows, precisions and
//! instruction sets.
use std::fmt::Debug;

use burn::tensor::{Int, Tensor};

use super::{
    Double, Half, Precision, Single,
    isa::{self, Job},
};

/// A loss in tensor operations: logits `[rows, n]` and classes `[rows]` to the loss and the sum of each row, `[rows]`.
pub type ComposedNll = Box<dyn Fn(Tensor<2>, Tensor<1, Int>) -> (Tensor<1>, Tensor<1>)>;

/// The loss of one row against one class, written once for every [`Precision`].
///
/// Rows arrive as for [`super::RowMap`]: compacted, not empty, finite. Every term and every result goes through
/// [`Precision::round`]; sums go through [`super::lanes`] and are rounded once.
pub trait RowNll: Debug + Send + Sync + 'static {
    /// Number of per-row parameters.
    const N_PARAMS: usize = 0;

    /// The loss and the row's sum. `scratch` is as long as the row; what it holds before is unspecified.
    fn forward<P: Precision>(&self, row: NllRow<'_, P::T>, scratch: &mut [P::T]) -> (P::T, P::T);

    /// `dx = g ∂loss/∂x` and `dparams = g ∂loss/∂params`, recomputed from the logits and the row's sum. What `dx` and
    /// `dparams` hold before is unspecified.
    fn vjp<P: Precision>(&self, row: NllRow<'_, P::T>, back: NllBack<P::T>, dx: &mut [P::T], dparams: &mut [P::T]);

    /// The loss in tensor operations, in the dtype of the logits and for all of their entries, for devices without
    /// loss kernels; `None` is refused there.
    fn composed(&self) -> Option<ComposedNll> {
        None
    }
}

/// One row and its class.
#[derive(Clone, Copy, Debug)]
pub struct NllRow<'a, T> {
    /// The logits.
    pub x: &'a [T],
    /// The row's parameters.
    pub params: &'a [T],
    /// Which entry of `x` is the target.
    pub target: usize,
}

/// What comes back to one row.
#[derive(Clone, Copy, Debug)]
pub struct NllBack<T> {
    /// The row's sum, as the forward pass gave it.
    pub row_sum: T,
    /// The gradient that arrives at the loss.
    pub g: T,
}

/// Several rows and their classes.
#[derive(Clone, Copy, Debug)]
pub struct NllRows<'a, T> {
    /// Entries per row.
    pub n: usize,
    /// Logits `[rows, n]`.
    pub x: &'a [T],
    /// Parameters `[rows, P]`.
    pub params: &'a [T],
    /// Target of each row.
    pub targets: &'a [usize],
}

impl<'a, T> NllRows<'a, T> {
    #[inline(always)]
    fn row(&self, row: usize, n_params: usize) -> NllRow<'a, T> {
        NllRow {
            x: &self.x[row * self.n..][..self.n],
            params: &self.params[row * n_params..][..n_params],
            target: self.targets[row],
        }
    }
}

/// Places for the results of a forward pass.
#[derive(Debug)]
pub struct NllOut<'a, T> {
    /// Loss of each row.
    pub loss: &'a mut [T],
    /// Sum of each row.
    pub row_sum: &'a mut [T],
    /// Room for one row.
    pub scratch: &'a mut [T],
}

/// Where a backward pass starts, and places for its results.
#[derive(Debug)]
pub struct NllVjpOut<'a, T> {
    /// Sum of each row.
    pub row_sum: &'a [T],
    /// Gradient at the loss of each row.
    pub g: &'a [T],
    /// Gradients at the logits `[rows, n]`.
    pub dx: &'a mut [T],
    /// Gradients at the parameters `[rows, P]`.
    pub dparams: &'a mut [T],
}

/// A row loss as an object, for one precision.
pub trait LossKernelOf<P: Precision>: Debug + Send + Sync {
    /// The forward pass of several rows.
    fn forward_rows(&self, rows: NllRows<'_, P::T>, out: NllOut<'_, P::T>);
    /// The backward pass of several rows.
    fn vjp_rows(&self, rows: NllRows<'_, P::T>, out: NllVjpOut<'_, P::T>);
}

/// A row loss as an object: what [`super::row_loss`] takes. Every [`RowNll`] is one.
pub trait LossKernel: LossKernelOf<Half> + LossKernelOf<Single> + LossKernelOf<Double> + 'static {
    /// Number of per-row parameters.
    fn n_params(&self) -> usize;
    /// The loss in tensor operations; see [`RowNll::composed`].
    fn composed(&self) -> Option<ComposedNll>;
}

impl<K: RowNll> LossKernel for K {
    fn n_params(&self) -> usize {
        K::N_PARAMS
    }
    fn composed(&self) -> Option<ComposedNll> {
        RowNll::composed(self)
    }
}

impl<K: RowNll, P: Precision> LossKernelOf<P> for K {
    fn forward_rows(&self, rows: NllRows<'_, P::T>, out: NllOut<'_, P::T>) {
        isa::run(Forward::<K, P> { loss: self, rows, out });
    }
    fn vjp_rows(&self, rows: NllRows<'_, P::T>, out: NllVjpOut<'_, P::T>) {
        isa::run(Vjp::<K, P> { loss: self, rows, out });
    }
}

pub(crate) struct Forward<'a, K, P: Precision> {
    pub(crate) loss: &'a K,
    pub(crate) rows: NllRows<'a, P::T>,
    pub(crate) out: NllOut<'a, P::T>,
}

impl<K: RowNll, P: Precision> Job for Forward<'_, K, P> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let NllOut { loss, row_sum, scratch } = self.out;
        for (row, (loss, row_sum)) in loss.iter_mut().zip(row_sum).enumerate() {
            (*loss, *row_sum) = self.loss.forward::<P>(self.rows.row(row, K::N_PARAMS), scratch);
        }
    }
}

pub(crate) struct Vjp<'a, K, P: Precision> {
    pub(crate) loss: &'a K,
    pub(crate) rows: NllRows<'a, P::T>,
    pub(crate) out: NllVjpOut<'a, P::T>,
}

impl<K: RowNll, P: Precision> Job for Vjp<'_, K, P> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let NllVjpOut { row_sum, g, dx, dparams } = self.out;
        for (row, (dx, (&row_sum, &g))) in dx.chunks_exact_mut(self.rows.n).zip(row_sum.iter().zip(g)).enumerate() {
            let dparams = &mut dparams[row * K::N_PARAMS..][..K::N_PARAMS];
            self.loss.vjp::<P>(self.rows.row(row, K::N_PARAMS), NllBack { row_sum, g }, dx, dparams);
        }
    }
}
