//! The row operations as a Burn backend extension, with their hand-written backward passes.
#![allow(deprecated, reason = "ndarray stays selectable as long as Burn has it")]

use std::sync::Arc;

use burn::{
    backend::{
        Autodiff, Backend, ExtensionType, TensorMetadata,
        autodiff::{
            NodeId,
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::{BoolTensor, FloatTensor, IntTensor},
    },
    tensor::Shape,
};

use super::{
    LossKernel, RowKernel,
    on_host::{LossInput, MapSaved, RowGrads},
};
use crate::loss::LossDtype;

/// Which entries of each row take part, as backend tensors; see [`super::Keep`].
#[derive(ExtensionType, Clone, Debug)]
pub enum RowKeep<B: Backend> {
    /// Every entry.
    All,
    /// The first `count[row]` entries (`[rows]`).
    Prefix(IntTensor<B>),
    /// `true` = keep (`[rows, n]`).
    Mask(BoolTensor<B>),
}

/// Per-row parameters, as a backend tensor.
#[derive(ExtensionType, Clone, Debug)]
pub enum RowParams<B: Backend> {
    /// The kernel has none.
    None,
    /// `[rows, P]`, in the dtype of the scores.
    Rows(FloatTensor<B>),
}

/// The row operations of a backend.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Autodiff
)]
pub trait RowOps: Backend {
    /// A map over every row: `[rows, n]` to `[rows, n]`.
    fn row_map(
        scores: FloatTensor<Self>,
        #[extension_type] row_params: RowParams<Self>,
        #[extension_type] keep: RowKeep<Self>,
        kernel: Arc<dyn RowKernel>,
    ) -> FloatTensor<Self>;

    /// A loss of every row against its class: `[rows, n]` and `[rows]` to the loss and the row sum, `[rows]` each in
    /// the loss dtype. The row sum carries no gradient.
    fn row_loss(
        logits: FloatTensor<Self>,
        #[extension_type] row_params: RowParams<Self>,
        target: IntTensor<Self>,
        #[extension_type] keep: RowKeep<Self>,
        kernel: Arc<dyn LossKernel>,
        dtype: LossDtype,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The mean of `[rows]` as `[1]`: summed in `f64` in a fixed order and rounded once.
    fn row_mean(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The backward passes of [`RowOps`].
pub trait RowVjps: Backend {
    /// Of [`RowOps::row_map`].
    fn row_map_vjp(saved: MapSaved<Self>, g: FloatTensor<Self>) -> RowGrads<Self>;
    /// Of [`RowOps::row_loss`]: from its input, its row sums and the gradient at the losses.
    fn row_loss_vjp(input: LossInput<Self>, row_sum: FloatTensor<Self>, g: FloatTensor<Self>) -> RowGrads<Self>;
}

/// The operations of a backend that computes them on the host.
macro_rules! on_host {
    ($backend:ty) => {
        impl RowOps for $backend {
            fn row_map(
                scores: FloatTensor<Self>,
                row_params: RowParams<Self>,
                keep: RowKeep<Self>,
                kernel: Arc<dyn RowKernel>,
            ) -> FloatTensor<Self> {
                super::on_host::row_map::<Self>(scores, row_params, keep, &kernel)
            }

            fn row_loss(
                logits: FloatTensor<Self>,
                row_params: RowParams<Self>,
                target: IntTensor<Self>,
                keep: RowKeep<Self>,
                kernel: Arc<dyn LossKernel>,
                dtype: LossDtype,
            ) -> (FloatTensor<Self>, FloatTensor<Self>) {
                super::on_host::row_loss::<Self>(LossInput { logits, row_params, target, keep, kernel, dtype })
            }

            fn row_mean(x: FloatTensor<Self>) -> FloatTensor<Self> {
                super::on_host::row_mean::<Self>(x)
            }
        }

        impl RowVjps for $backend {
            fn row_map_vjp(saved: MapSaved<Self>, g: FloatTensor<Self>) -> RowGrads<Self> {
                super::on_host::row_map_vjp(saved, g)
            }
            fn row_loss_vjp(
                input: LossInput<Self>,
                row_sum: FloatTensor<Self>,
                g: FloatTensor<Self>,
            ) -> RowGrads<Self> {
                super::on_host::row_loss_vjp(input, row_sum, g)
            }
        }
    };
}

#[cfg(feature = "flex")]
on_host!(burn::backend::Flex);
#[cfg(feature = "ndarray")]
on_host!(burn::backend::NdArray);

impl<B: RowOps + RowVjps, C: CheckpointStrategy> RowOps for Autodiff<B, C> {
    fn row_map(
        scores: FloatTensor<Self>,
        row_params: RowParams<Self>,
        keep: RowKeep<Self>,
        kernel: Arc<dyn RowKernel>,
    ) -> FloatTensor<Self> {
        let keep = keep.into_inner();
        let (row_params, params_node) = row_params.into_inner(&scores);
        let (scores, scores_node) = scores.into_parts();
        let forward = |scores| B::row_map(scores, row_params.clone(), keep.clone(), kernel.clone());
        match RowMapBackward.prepare::<C>([scores_node, params_node]).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(forward(scores)),
            OpsKind::Tracked(prep) => {
                let weights = forward(scores.clone());
                let saved = MapSaved { scores, weights: weights.clone(), row_params, keep, kernel };
                prep.finish(saved, weights)
            }
        }
    }

    fn row_loss(
        logits: FloatTensor<Self>,
        row_params: RowParams<Self>,
        target: IntTensor<Self>,
        keep: RowKeep<Self>,
        kernel: Arc<dyn LossKernel>,
        dtype: LossDtype,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let keep = keep.into_inner();
        let (row_params, params_node) = row_params.into_inner(&logits);
        let (logits, logits_node) = logits.into_parts();
        let input = LossInput::<B> { logits, row_params, target, keep, kernel, dtype };
        let forward = |input: LossInput<B>| {
            B::row_loss(input.logits, input.row_params, input.target, input.keep, input.kernel, input.dtype)
        };
        match RowLossBackward.prepare::<C>([logits_node, params_node]).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => {
                let (loss, row_sum) = forward(input);
                (prep.finish(loss), FloatTensor::<Self>::new(row_sum))
            }
            OpsKind::Tracked(prep) => {
                let (loss, row_sum) = forward(input.clone());
                (prep.finish((input, row_sum.clone()), loss), FloatTensor::<Self>::new(row_sum))
            }
        }
    }

    fn row_mean(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let shape = x.shape();
        match RowMeanBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(B::row_mean(x)),
            OpsKind::Tracked(prep) => prep.finish(shape, B::row_mean(x)),
        }
    }
}

impl<B: Backend, C: CheckpointStrategy> RowKeep<Autodiff<B, C>> {
    pub(super) fn into_inner(self) -> RowKeep<B> {
        match self {
            Self::All => RowKeep::All,
            Self::Prefix(count) => RowKeep::Prefix(count),
            Self::Mask(mask) => RowKeep::Mask(mask),
        }
    }
}

impl<B: Backend, C: CheckpointStrategy> RowParams<Autodiff<B, C>> {
    /// The parameters without their graph, and their node; without parameters an untracked stand-in.
    fn into_inner(
        self,
        scores: &FloatTensor<Autodiff<B, C>>,
    ) -> (RowParams<B>, burn::backend::autodiff::ops::NodeGuard) {
        match self {
            Self::None => {
                let stand_in = FloatTensor::<Autodiff<B, C>>::new(scores.primitive().clone());
                (RowParams::None, stand_in.node())
            }
            Self::Rows(params) => {
                let (params, node) = params.into_parts();
                (RowParams::Rows(params), node)
            }
        }
    }
}

/// Registers the gradients of scores and parameters at those of their nodes that are tracked.
fn register<B: Backend>(grads: &mut Gradients, [scores, params]: [Option<NodeId>; 2], (dx, dparams): RowGrads<B>) {
    if let Some(id) = scores {
        grads.register::<B>(id, dx);
    }
    if let (Some(id), Some(dparams)) = (params, dparams) {
        grads.register::<B>(id, dparams);
    }
}

#[derive(Debug)]
struct RowMapBackward;

impl<B: RowVjps> Backward<B, 2> for RowMapBackward {
    type State = MapSaved<B>;
    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        register::<B>(grads, ops.parents.map(|node| node.map(|node| node.id)), B::row_map_vjp(ops.state, g));
    }
}

#[derive(Debug)]
struct RowLossBackward;

impl<B: RowVjps> Backward<B, 2> for RowLossBackward {
    type State = (LossInput<B>, FloatTensor<B>);
    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        let (input, row_sum) = ops.state;
        register::<B>(grads, ops.parents.map(|node| node.map(|node| node.id)), B::row_loss_vjp(input, row_sum, g));
    }
}

#[derive(Debug)]
struct RowMeanBackward;

impl<B: Backend> Backward<B, 1> for RowMeanBackward {
    type State = Shape;
    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let g = grads.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            let share = 1.0 / ops.state.num_elements() as f64;
            grads.register::<B>(node.id, B::float_expand(B::float_mul_scalar(g, share.into()), ops.state));
        }
    }
}
