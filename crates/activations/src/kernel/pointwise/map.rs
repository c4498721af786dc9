//! A function of one element, and the object that carries it across elements, scalars and instruction sets.
use std::fmt::Debug;

use crate::kernel::{
    Elementary,
    isa::{self, Job},
};

/// What the backward pass of a pointwise function starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saves {
    /// The argument.
    Input,
    /// The value.
    Output,
}

/// The maths of a function of one element, written once for `f32` and `f64`.
///
/// Implementations are `#[inline(always)]` and free of branches (a choice between two computed values is none), so that
/// they are compiled for the vectors of the CPU.
pub trait PointwiseMap: Copy + Debug + Send + Sync + 'static {
    /// What [`PointwiseMap::vjp`] starts from.
    const SAVES: Saves = Saves::Input;

    /// The value at x.
    fn forward<T: Elementary>(&self, x: T) -> T;

    /// The gradient `g` at the value times the slope, from what is [saved](PointwiseMap::SAVES).
    fn vjp<T: Elementary>(&self, saved: T, g: T) -> T;
}

/// A pointwise function as an object, for one scalar.
pub trait PointwiseKernelOf<T>: Debug + Send + Sync {
    /// Replaces arguments by values.
    fn forward_all(&self, x: &mut [T]);
    /// Replaces gradients at the values by gradients at the arguments; `saved` is as long as `g`.
    fn vjp_all(&self, saved: &[T], g: &mut [T]);
}

/// A pointwise function as an object: what [`pointwise`](super::pointwise()) takes. Every [`PointwiseMap`] is one.
pub trait PointwiseKernel: PointwiseKernelOf<f32> + PointwiseKernelOf<f64> + 'static {
    /// What the backward pass starts from.
    fn saves(&self) -> Saves;
}

impl<K: PointwiseMap> PointwiseKernel for K {
    fn saves(&self) -> Saves {
        K::SAVES
    }
}

impl<K: PointwiseMap, T: Elementary> PointwiseKernelOf<T> for K {
    fn forward_all(&self, x: &mut [T]) {
        isa::run(Forward { map: *self, x });
    }
    fn vjp_all(&self, saved: &[T], g: &mut [T]) {
        isa::run(Vjp { map: *self, saved, g });
    }
}

pub(super) struct Forward<'a, K, T> {
    pub(super) map: K,
    pub(super) x: &'a mut [T],
}

impl<K: PointwiseMap, T: Elementary> Job for Forward<'_, K, T> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let map = self.map;
        for x in self.x {
            *x = map.forward(*x);
        }
    }
}

pub(super) struct Vjp<'a, K, T> {
    pub(super) map: K,
    pub(super) saved: &'a [T],
    pub(super) g: &'a mut [T],
}

impl<K: PointwiseMap, T: Elementary> Job for Vjp<'_, K, T> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let map = self.map;
        for (g, &saved) in self.g.iter_mut().zip(self.saved) {
            *g = map.vjp(saved, *g);
        }
    }
}
