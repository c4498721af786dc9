//! The pointwise operation on the host: tensors in, a kernel over blocks of their slices, tensors out.
use std::{ops::Range, sync::Arc};

use burn::{
    backend::{Backend, TensorMetadata, tensor::FloatTensor},
    tensor::DType,
};
use half::{bf16, f16};

use super::{PointwiseKernel, PointwiseKernelOf};
use crate::kernel::{
    Double, Precision, Real, Single,
    host::{Floats, HostBackend, HostTensor, tensor},
    on_host::with_storage,
    storage::Stored,
    tasks::Tasks,
};

/// What the backward pass of a pointwise function starts from.
#[derive(Debug, Clone)]
pub struct PointwiseSaved<B: Backend> {
    /// Its arguments or its values, whichever it [saves](PointwiseKernel::saves).
    pub values: FloatTensor<B>,
    /// The function.
    pub kernel: Arc<dyn PointwiseKernel>,
}

/// The same function as an object for one scalar.
trait ForScalar<T> {
    fn kernel(&self) -> &dyn PointwiseKernelOf<T>;
}
impl ForScalar<f32> for Arc<dyn PointwiseKernel> {
    fn kernel(&self) -> &dyn PointwiseKernelOf<f32> {
        &**self
    }
}
impl ForScalar<f64> for Arc<dyn PointwiseKernel> {
    fn kernel(&self) -> &dyn PointwiseKernelOf<f64> {
        &**self
    }
}

/// [`super::PointwiseOps::pointwise`].
pub(super) fn pointwise<B: HostBackend>(x: FloatTensor<B>, kernel: &Arc<dyn PointwiseKernel>) -> FloatTensor<B> {
    let dtype = x.dtype();
    with_storage!(dtype, S, P => {
        let kernel = kernel.kernel();
        updated::<B, S, P>(x, |_, x, _| kernel.forward_all(x))
    })
}

/// [`super::PointwiseVjps::pointwise_vjp`].
pub(super) fn pointwise_vjp<B: HostBackend>(saved: PointwiseSaved<B>, g: FloatTensor<B>) -> FloatTensor<B> {
    let PointwiseSaved { values, kernel } = saved;
    let dtype = g.dtype();
    assert_eq!(values.dtype(), dtype, "a gradient has the dtype of the value it belongs to");
    let values = B::floats(values);
    with_storage!(dtype, S, P => {
        let (kernel, saved) = (kernel.kernel(), S::slice(&values));
        updated::<B, S, P>(g, |at, g, room| kernel.vjp_all(<S as Stored<P>>::load(&saved[at], room), g))
    })
}

/// `x` after `change` was made to every block of its values, in the arithmetic of `P`; `change` is given the place of the
/// block, its values and room for as many. The memory of `x` is used again, if nothing else holds it.
fn updated<B: HostBackend, S: Floats + Stored<P>, P: Precision>(
    x: FloatTensor<B>,
    change: impl Fn(Range<usize>, &mut [P::T], &mut [P::T]) + Sync,
) -> FloatTensor<B> {
    let (shape, device) = (x.shape(), x.device());
    let mut x = B::floats(x);
    match S::slice_mut(&mut x) {
        Some(values) => {
            update_blocks::<_, S, P>(values, |_, values| values, change);
            B::float_from_data(x.data(), &device)
        }
        None => tensor::<B, S>(updated_copy(&x, change), shape, &device),
    }
}

/// As [`updated`], into new memory.
fn updated_copy<S: Floats + Stored<P>, P: Precision>(
    x: &HostTensor,
    change: impl Fn(Range<usize>, &mut [P::T], &mut [P::T]) + Sync,
) -> Vec<S> {
    let x = S::slice(x);
    let mut copy = Vec::with_capacity(x.len());
    // A block is copied and changed while it is in the first-level cache: the memory of the result is passed once.
    let fresh = &mut copy.spare_capacity_mut()[..x.len()];
    update_blocks::<_, S, P>(fresh, |at, fresh| fresh.write_copy_of_slice(&x[at]), change);
    // SAFETY: the blocks partition the first `x.len()` places, and each was written as a copy of its part of `x`.
    unsafe { copy.set_len(x.len()) };
    copy
}

/// Changes every block of `values`, once `init` has made numbers of it.
fn update_blocks<V: Send, S: Stored<P>, P: Precision>(
    values: &mut [V],
    init: impl for<'a> Fn(Range<usize>, &'a mut [V]) -> &'a mut [S] + Sync,
    change: impl Fn(Range<usize>, &mut [P::T], &mut [P::T]) + Sync,
) {
    let tasks = Tasks::new(values.len(), 1);
    tasks.run(tasks.split(values, 1), |place, values| {
        let room = || vec![P::T::of(0.0); tasks.block()];
        let (mut own, mut other) = (room(), room());
        for (here, there) in tasks.blocks(place) {
            let values = init(there.clone(), &mut values[here]);
            S::update(values, &mut own, |values| change(there, values, &mut other));
        }
    });
}
