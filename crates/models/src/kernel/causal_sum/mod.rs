//! Causal sums of products, chunk by chunk.
use burn::{
    backend::{
        Autodiff, Backend, Dispatch, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::Tensor,
};

mod composed;
#[cfg(feature = "flex")]
mod flex;
#[cfg(test)]
mod tests;

/// Causal sums with a state that fades from chunk to chunk.
/// ```text
/// in chunk k, from state S:   y_i = S_kᵀ a_i + Σ_j≤i (a_i·b_j) w_j,   j in the chunk
/// S_(k+1) = g_k ⊙ (S_k + Σ_j b_j w_jᵀ)
/// ```
/// # Shapes
/// - a, b: `[batch, length, f]`; w: `[batch, length, e]`; start S₀: `[batch, f, e]`
/// - factors g: `[batch, chunks, f or 1]`, for chunks of `chunk` tokens of which the last may be shorter
/// - output: `[batch, length + f, e]`, the sums of every token and below them the state after the last
/// # Panics
/// If the shapes do not fit.
///
/// Work and memory grow with the length: the backward pass starts from the states between chunks and computes the pairs of
/// a chunk anew. With G at the sums, R at the state after a chunk and `R' = g ⊙ R`, `A = tril(a bᵀ)`, `dA = tril(G wᵀ)`:
/// ```text
/// da = G Sᵀ + dA b     db = w R'ᵀ + dAᵀ a     dw = b R' + Aᵀ G     dg = Σ_e R ⊙ (S + bᵀ w)     R ← R' + aᵀ G
/// ```
pub fn causal_sum(
    a: Tensor<3>,
    b: Tensor<3>,
    w: Tensor<3>,
    factors: Tensor<3>,
    start: Tensor<3>,
    chunk: usize,
) -> Tensor<3> {
    let ([batch, length, f], [_, _, e], [_, _, of_f]) = (a.dims(), w.dims(), factors.dims());
    let chunks = length.div_ceil(chunk.max(1));
    let fits = chunk > 0
        && length > 0
        && b.dims() == [batch, length, f]
        && w.dims() == [batch, length, e]
        && factors.dims() == [batch, chunks, of_f]
        && (of_f == f || of_f == 1)
        && start.dims() == [batch, f, e];
    assert!(
        fits,
        "causal_sum: a {:?}, b {:?}, w {:?}, factors {:?} and start {:?} do not fit each other in chunks of {chunk}",
        a.dims(),
        b.dims(),
        w.dims(),
        factors.dims(),
        start.dims()
    );
    Tensor::from_dispatch(Dispatch::causal_sum(
        a.into_dispatch(),
        b.into_dispatch(),
        w.into_dispatch(),
        factors.into_dispatch(),
        start.into_dispatch(),
        chunk,
    ))
}

/// The operation as every backend offers it; see [`causal_sum`].
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda")),
    Autodiff
)]
pub trait CausalSumOps: Backend {
    /// The sums and the last state.
    fn causal_sum(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        w: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        start: FloatTensor<Self>,
        chunk: usize,
    ) -> FloatTensor<Self>;
}

/// What enters a causal sum, on a backend's own tensors.
#[derive(Clone, Debug)]
pub struct CausalSumInput<B: Backend> {
    /// `[batch, length, f]`
    pub a: FloatTensor<B>,
    /// `[batch, length, f]`
    pub b: FloatTensor<B>,
    /// `[batch, length, e]`
    pub w: FloatTensor<B>,
    /// `[batch, chunks, f or 1]`
    pub factors: FloatTensor<B>,
    /// Tokens of a chunk.
    pub chunk: usize,
}

/// Its sizes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    batch: usize,
    length: usize,
    f: usize,
    e: usize,
    of_f: usize,
    chunk: usize,
    chunks: usize,
}

impl<B: Backend> CausalSumInput<B> {
    fn sizes(&self) -> Sizes {
        let ([batch, length, f], [_, _, e]) = (self.a.shape().dims(), self.w.shape().dims());
        let [_, chunks, of_f] = self.factors.shape().dims();
        Sizes { batch, length, f, e, of_f, chunk: self.chunk, chunks }
    }
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
pub struct CausalSumSaved<B: Backend> {
    /// What entered.
    pub input: CausalSumInput<B>,
    /// The states before each chunk, `[batch, chunks, f, e]`.
    pub states: FloatTensor<B>,
}

/// Forward and backward pass on a backend's own tensors; the default bodies are composed.
pub trait CausalSumKernel: Backend {
    /// The output and the states before each chunk.
    fn causal_sum_forward(input: &CausalSumInput<Self>, start: FloatTensor<Self>) -> [FloatTensor<Self>; 2] {
        composed::forward::<Self>(input, start)
    }

    /// Gradients of a, b, w, the factors and the start.
    fn causal_sum_backward(saved: CausalSumSaved<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 5] {
        composed::backward::<Self>(saved, grad)
    }
}

macro_rules! offer {
    ($backend:ty) => {
        impl CausalSumOps for $backend {
            fn causal_sum(
                a: FloatTensor<Self>,
                b: FloatTensor<Self>,
                w: FloatTensor<Self>,
                factors: FloatTensor<Self>,
                start: FloatTensor<Self>,
                chunk: usize,
            ) -> FloatTensor<Self> {
                let [output, _] = Self::causal_sum_forward(&CausalSumInput { a, b, w, factors, chunk }, start);
                output
            }
        }
    };
}

#[cfg(feature = "flex")]
offer!(burn::backend::Flex);

#[cfg(feature = "ndarray")]
offer!(burn::backend::NdArray);
#[cfg(feature = "ndarray")]
impl CausalSumKernel for burn::backend::NdArray {}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
offer!(burn::backend::Cube);
#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
impl CausalSumKernel for burn::backend::Cube {}

impl<B: CausalSumKernel, C: CheckpointStrategy> CausalSumOps for Autodiff<B, C> {
    fn causal_sum(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        w: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        start: FloatTensor<Self>,
        chunk: usize,
    ) -> FloatTensor<Self> {
        let (a, a_node) = a.into_parts();
        let (b, b_node) = b.into_parts();
        let (w, w_node) = w.into_parts();
        let (factors, factors_node) = factors.into_parts();
        let (start, start_node) = start.into_parts();
        let input = CausalSumInput { a, b, w, factors, chunk };
        let [output, states] = B::causal_sum_forward(&input, start);
        let nodes = [a_node, b_node, w_node, factors_node, start_node];
        match CausalSumBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(CausalSumSaved { input, states }, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}

#[derive(Debug)]
struct CausalSumBackward;

impl<B: CausalSumKernel> Backward<B, 5> for CausalSumBackward {
    type State = CausalSumSaved<B>;

    fn backward(self, ops: Ops<Self::State, 5>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        for (parent, gradient) in ops.parents.into_iter().zip(B::causal_sum_backward(ops.state, grad)) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}
