//! The pointwise operation as a Burn backend extension, with its hand-written backward pass.
#![allow(deprecated, reason = "ndarray stays selectable as long as Burn has it")]

use std::sync::Arc;

use burn::backend::{
    Autodiff, Backend,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    backend_extension,
    tensor::FloatTensor,
};

use super::{PointwiseKernel, PointwiseSaved, Saves, on_host};

/// The pointwise operation of a backend.
#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
pub trait PointwiseOps: Backend {
    /// A function of every element.
    fn pointwise(x: FloatTensor<Self>, kernel: Arc<dyn PointwiseKernel>) -> FloatTensor<Self>;
}

/// The backward pass of [`PointwiseOps`].
pub trait PointwiseVjps: Backend {
    /// Of [`PointwiseOps::pointwise`].
    fn pointwise_vjp(saved: PointwiseSaved<Self>, g: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The operation of a backend that computes it on the host.
macro_rules! on_host {
    ($backend:ty) => {
        impl PointwiseOps for $backend {
            fn pointwise(x: FloatTensor<Self>, kernel: Arc<dyn PointwiseKernel>) -> FloatTensor<Self> {
                on_host::pointwise::<Self>(x, &kernel)
            }
        }
        impl PointwiseVjps for $backend {
            fn pointwise_vjp(saved: PointwiseSaved<Self>, g: FloatTensor<Self>) -> FloatTensor<Self> {
                on_host::pointwise_vjp(saved, g)
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_host!(burn::backend::NdArray);

impl<B: PointwiseOps + PointwiseVjps, C: CheckpointStrategy> PointwiseOps for Autodiff<B, C> {
    fn pointwise(x: FloatTensor<Self>, kernel: Arc<dyn PointwiseKernel>) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        match PointwiseBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(B::pointwise(x, kernel)),
            OpsKind::Tracked(prep) => {
                let (values, y) = match kernel.saves() {
                    Saves::Input => (x.clone(), B::pointwise(x, kernel.clone())),
                    Saves::Output => {
                        let y = B::pointwise(x, kernel.clone());
                        (y.clone(), y)
                    }
                };
                prep.finish(PointwiseSaved { values, kernel }, y)
            }
        }
    }
}

#[derive(Debug)]
struct PointwiseBackward;

impl<B: PointwiseVjps> Backward<B, 1> for PointwiseBackward {
    type State = PointwiseSaved<B>;
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::pointwise_vjp(ops.state, g));
        }
    }
}
