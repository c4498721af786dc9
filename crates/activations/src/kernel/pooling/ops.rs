//! Poolings as a Burn backend extension, with their hand-written backward passes.
#![allow(deprecated, reason = "ndarray stays selectable as long as Burn has it")]

use burn::backend::{
    Autodiff, Backend, ExtensionType,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    backend_extension,
    tensor::{BoolTensor, FloatTensor},
};

use super::{MaxPoolSaved, PoolSaved, SoftWindow, Window, max, on_host};

/// Which cells of an image take part, as a backend tensor.
#[derive(ExtensionType, Clone, Debug)]
pub enum PoolKeep<B: Backend> {
    /// Every cell.
    All,
    /// `true` = takes part (the shape of the image).
    Mask(BoolTensor<B>),
}

/// The pooling operations of a backend.
#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
pub trait PoolOps: Backend {
    /// SoftPool: `[batch, channels, height, width]` to `[batch, channels, rows, columns]`.
    fn soft_pool(x: FloatTensor<Self>, #[extension_type] keep: PoolKeep<Self>, soft: SoftWindow) -> FloatTensor<Self>;

    /// Max pooling: `[batch, channels, height, width]` to `[batch, channels, rows, columns]`.
    fn max_pool(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self>;
}

/// The backward passes of [`PoolOps`].
pub trait PoolVjps: Backend {
    /// Of [`PoolOps::soft_pool`].
    fn soft_pool_vjp(saved: PoolSaved<Self>, g: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Of [`PoolOps::max_pool`].
    fn max_pool_vjp(saved: MaxPoolSaved<Self>, g: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The operation of a backend that computes it on the host.
macro_rules! on_host {
    ($backend:ty) => {
        impl PoolOps for $backend {
            fn soft_pool(x: FloatTensor<Self>, keep: PoolKeep<Self>, soft: SoftWindow) -> FloatTensor<Self> {
                on_host::soft_pool::<Self>(x, keep, soft)
            }
            fn max_pool(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
                max::max_pool::<Self>(x, window)
            }
        }
        impl PoolVjps for $backend {
            fn soft_pool_vjp(saved: PoolSaved<Self>, g: FloatTensor<Self>) -> FloatTensor<Self> {
                on_host::soft_pool_vjp(saved, g)
            }
            fn max_pool_vjp(saved: MaxPoolSaved<Self>, g: FloatTensor<Self>) -> FloatTensor<Self> {
                max::max_pool_vjp(saved, g)
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_host!(burn::backend::NdArray);

impl<B: PoolOps + PoolVjps, C: CheckpointStrategy> PoolOps for Autodiff<B, C> {
    fn soft_pool(x: FloatTensor<Self>, keep: PoolKeep<Self>, soft: SoftWindow) -> FloatTensor<Self> {
        let keep = match keep {
            PoolKeep::All => PoolKeep::All,
            PoolKeep::Mask(mask) => PoolKeep::Mask(mask),
        };
        let (x, node) = x.into_parts();
        match SoftPoolBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(B::soft_pool(x, keep, soft)),
            OpsKind::Tracked(prep) => {
                let saved = PoolSaved { x: x.clone(), keep: keep.clone(), soft };
                prep.finish(saved, B::soft_pool(x, keep, soft))
            }
        }
    }

    fn max_pool(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let y = B::max_pool(x.clone(), window);
        match MaxPoolBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(y),
            OpsKind::Tracked(prep) => prep.finish(MaxPoolSaved { x, y: y.clone(), window }, y),
        }
    }
}

#[derive(Debug)]
struct SoftPoolBackward;

impl<B: PoolVjps> Backward<B, 1> for SoftPoolBackward {
    type State = PoolSaved<B>;
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::soft_pool_vjp(ops.state, g));
        }
    }
}

#[derive(Debug)]
struct MaxPoolBackward;

impl<B: PoolVjps> Backward<B, 1> for MaxPoolBackward {
    type State = MaxPoolSaved<B>;
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::max_pool_vjp(ops.state, g));
        }
    }
}
