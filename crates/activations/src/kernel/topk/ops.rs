//! Softmax with top-k as a Burn backend extension, with its hand-written backward pass.
#![allow(deprecated, reason = "ndarray stays selectable as long as Burn has it")]

use burn::backend::{
    Autodiff, Backend,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    backend_extension,
    tensor::{FloatTensor, IntTensor},
};

use super::{TopkSaved, on_host};
use crate::kernel::RowKeep;

/// The top-k operation of a backend.
#[backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)]
pub trait TopkOps: Backend {
    /// Scores `[rows, n]` to weights and indices, `[rows, k]` each.
    fn row_topk(
        scores: FloatTensor<Self>,
        #[extension_type] keep: RowKeep<Self>,
        k: usize,
    ) -> (FloatTensor<Self>, IntTensor<Self>);
}

/// The backward pass of [`TopkOps`].
pub trait TopkVjps: Backend {
    /// Of [`TopkOps::row_topk`], from the gradient at the weights.
    fn row_topk_vjp(saved: TopkSaved<Self>, g: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The operation of a backend that computes it on the host.
macro_rules! on_host {
    ($backend:ty) => {
        impl TopkOps for $backend {
            fn row_topk(
                scores: FloatTensor<Self>,
                keep: RowKeep<Self>,
                k: usize,
            ) -> (FloatTensor<Self>, IntTensor<Self>) {
                on_host::row_topk::<Self>(scores, keep, k)
            }
        }
        impl TopkVjps for $backend {
            fn row_topk_vjp(saved: TopkSaved<Self>, g: FloatTensor<Self>) -> FloatTensor<Self> {
                on_host::row_topk_vjp(saved, g)
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_host!(burn::backend::NdArray);

impl<B: TopkOps + TopkVjps, C: CheckpointStrategy> TopkOps for Autodiff<B, C> {
    fn row_topk(scores: FloatTensor<Self>, keep: RowKeep<Self>, k: usize) -> (FloatTensor<Self>, IntTensor<Self>) {
        let keep = keep.into_inner();
        let (scores, node) = scores.into_parts();
        match TopkBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => {
                let (weights, indices) = B::row_topk(scores, keep, k);
                (prep.finish(weights), indices)
            }
            OpsKind::Tracked(prep) => {
                let (weights, indices) = B::row_topk(scores.clone(), keep.clone(), k);
                (prep.finish(TopkSaved { scores, keep, indices: indices.clone() }, weights), indices)
            }
        }
    }
}

#[derive(Debug)]
struct TopkBackward;

impl<B: TopkVjps> Backward<B, 1> for TopkBackward {
    type State = TopkSaved<B>;
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::row_topk_vjp(ops.state, g));
        }
    }
}
