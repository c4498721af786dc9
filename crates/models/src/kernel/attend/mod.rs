//! Scores, weights and their sum over values in one pass, a block of queries at a time.
use std::sync::Arc;

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, DispatchDevice,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::{DType, Device, Tensor},
};
use kiln_activations::kernel::RowKernel;

#[cfg(feature = "flex")]
mod flex;
#[cfg(all(test, feature = "flex"))]
mod tests;

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// All of them.
    All,
    /// The first query the first `first` keys, and each query one more than the one before it.
    Growing {
        /// At least 1.
        first: usize,
    },
}

impl Seen {
    /// How many of `keys` the query at this index sees.
    fn by(self, query: usize, keys: usize) -> usize {
        match self {
            Self::All => keys,
            Self::Growing { first } => (first + query).min(keys),
        }
    }
}

/// Attention by any map of scores to weights that takes no row parameters.
/// ```text
/// o_i = Σ_j w_ij v_j,   w_i = map(z_i),   z_ij = ⟨q_i, k_j⟩ over the keys that query i sees
/// ```
/// Scores and weights exist for one block of queries at a time: memory grows with the length, not with its square, for every
/// map. The backward pass computes them anew. With G at the output, block by block,
/// ```text
/// dv_j = Σ_i w_ij G_i     dw = G vᵀ     dz = dwᵀ ∂map/∂z     dq = dz k     dk_j = Σ_i dz_ij q_i
/// ```
/// A query head h uses the keys and values of head `⌊h / (heads / kv_heads)⌋`. Special scores are settled as
/// [`row_map`](kiln_activations::kernel::row_map()) does.
///
/// # Shapes
/// - q: `[rows, heads, queries, d]`; k: `[rows, kv_heads, keys, d]`; v: `[rows, kv_heads, keys, e]`
/// - output: `[rows, heads, queries, e]`, laid out as `[rows, queries, heads, e]`, which is what joins the heads for free
///
/// # Panics
/// If the shapes do not fit, or [`attends`] denies.
///
/// # References
/// Never holding all scores: Rabe and Staats 2021, arXiv:2112.05682; Dao et al. 2022, FlashAttention, arXiv:2205.14135. Here a
/// block holds whole rows of scores, so that the map need not be one that merges parts of a row.
pub fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, seen: Seen, map: Arc<dyn RowKernel>) -> Tensor<4> {
    let ([rows, heads, _, d], [_, kv_heads, keys, _]) = (q.dims(), k.dims());
    let fits = k.dims() == [rows, kv_heads, keys, d]
        && v.dims()[..3] == [rows, kv_heads, keys]
        && kv_heads > 0
        && heads.is_multiple_of(kv_heads)
        && seen != Seen::Growing { first: 0 };
    assert!(fits, "attend: q {:?}, k {:?}, v {:?} do not fit each other under {seen:?}", q.dims(), k.dims(), v.dims());
    let (q, k, v) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch());
    Tensor::from_dispatch(<Dispatch as AttendOps>::attend(q, k, v, seen, map))
}

/// Whether [`attend`] runs with this map, dtype and device.
pub fn attends(map: &dyn RowKernel, dtype: DType, device: &Device) -> bool {
    fn listed(device: &DispatchDevice) -> bool {
        match device {
            #[cfg(feature = "flex")]
            DispatchDevice::Flex(_) => true,
            DispatchDevice::Autodiff(device) => listed(device),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }
    map.n_params() == 0 && matches!(dtype, DType::F32 | DType::F64) && listed(device.as_dispatch())
}

/// The operation as the backends that have it offer it; see [`attend`].
#[backend_extension(Flex: cfg(feature = "flex"), Autodiff)]
pub trait AttendOps: Backend {
    /// What every query gets.
    fn attend(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        seen: Seen,
        map: Arc<dyn RowKernel>,
    ) -> FloatTensor<Self>;
}

/// What enters, and all that the backward pass needs beside the gradient at the output.
#[derive(Clone, Debug)]
pub struct AttendInput<B: Backend> {
    /// `[rows, heads, queries, d]`
    pub q: FloatTensor<B>,
    /// `[rows, kv_heads, keys, d]`
    pub k: FloatTensor<B>,
    /// `[rows, kv_heads, keys, e]`
    pub v: FloatTensor<B>,
    /// Which keys a query sees.
    pub seen: Seen,
    /// From scores to weights.
    pub map: Arc<dyn RowKernel>,
}

/// The backward pass on a backend's own tensors.
pub trait AttendKernel: AttendOps {
    /// Gradients of q, k and v.
    fn attend_backward(input: &AttendInput<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 3];
}

impl<B: AttendKernel, C: CheckpointStrategy> AttendOps for Autodiff<B, C> {
    fn attend(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        seen: Seen,
        map: Arc<dyn RowKernel>,
    ) -> FloatTensor<Self> {
        let (q, q_node) = q.into_parts();
        let (k, k_node) = k.into_parts();
        let (v, v_node) = v.into_parts();
        let output = B::attend(q.clone(), k.clone(), v.clone(), seen, map.clone());
        match AttendBackward.prepare::<C>([q_node, k_node, v_node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(AttendInput { q, k, v, seen, map }, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct AttendBackward;

impl<B: AttendKernel> Backward<B, 3> for AttendBackward {
    type State = AttendInput<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        for (parent, gradient) in ops.parents.into_iter().zip(B::attend_backward(&ops.state, grad)) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}
