//! States carried from chunk to chunk.
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
    tensor::{Slice, Tensor},
};

/// A linear recurrence over matrices.
/// ```text
/// S_0 = start,   S_(k+1) = g_k ⊙ S_k + P_k
/// ```
/// # Shapes
/// - added P: `[batch, chunks, f, e]`; factors g: `[batch, chunks, f or 1, 1]`; start: `[batch, f, e]`
/// - output: `[batch, chunks + 1, f, e]`, the states before each chunk and the one after the last
/// # Panics
/// If the shapes do not fit or there is no chunk.
///
/// The backward pass is the same recurrence from the end, `R_k = G_k + g_k ⊙ R_(k+1)`, with `dP_k = R_(k+1)` and
/// `dg_k = R_(k+1) ⊙ S_k`, summed over the axes of length 1.
pub fn scan(added: Tensor<4>, factors: Tensor<4>, start: Tensor<3>) -> Tensor<4> {
    let ([batch, chunks, f, e], [.., of_f, one]) = (added.dims(), factors.dims());
    assert!(
        chunks > 0
            && factors.dims()[..2] == [batch, chunks]
            && (of_f == f || of_f == 1)
            && one == 1
            && start.dims() == [batch, f, e],
        "scan: {:?} and {:?} do not fit what is added, {:?}",
        factors.dims(),
        start.dims(),
        added.dims()
    );
    Tensor::from_dispatch(Dispatch::scan(added.into_dispatch(), factors.into_dispatch(), start.into_dispatch()))
}

/// The operation as every backend offers it; see [`scan`].
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda")),
    Autodiff
)]
pub trait ScanOps: Backend {
    /// The states of the recurrence.
    fn scan(added: FloatTensor<Self>, factors: FloatTensor<Self>, start: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
pub struct ScanSaved<B: Backend> {
    /// `[batch, chunks, f or 1, 1]`
    pub factors: FloatTensor<B>,
    /// `[batch, chunks + 1, f, e]`
    pub states: FloatTensor<B>,
}

/// Forward and backward pass on a backend's own tensors; the default bodies are composed.
pub trait ScanKernel: Backend {
    /// The states.
    fn scan_forward(
        added: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        start: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        forward::<Self>(added, factors, start)
    }

    /// Gradients of what is added, of the factors and of the start.
    fn scan_backward(saved: ScanSaved<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 3] {
        backward::<Self>(saved, grad)
    }
}

/// Chunk k of `[batch, chunks, .., ..]`, its axis kept.
fn at<B: Backend>(x: &FloatTensor<B>, k: usize) -> FloatTensor<B> {
    let whole = |axis| Slice::from(0..x.shape()[axis]);
    B::float_slice(x.clone(), &[whole(0), Slice::from(k..k + 1), whole(2), whole(3)])
}

fn forward<B: Backend>(added: FloatTensor<B>, factors: FloatTensor<B>, start: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, chunks, f, e] = added.shape().dims();
    let mut states = vec![B::float_reshape(start, [batch, 1, f, e].into())];
    for k in 0..chunks {
        let faded = B::float_mul(states[k].clone(), at::<B>(&factors, k));
        states.push(B::float_add(faded, at::<B>(&added, k)));
    }
    B::float_cat(states, 1)
}

fn backward<B: Backend>(saved: ScanSaved<B>, grad: FloatTensor<B>) -> [FloatTensor<B>; 3] {
    let ScanSaved { factors, states } = saved;
    let [batch, after, f, e] = grad.shape().dims();
    let [_, _, of_f, _] = factors.shape().dims();
    let mut carried = at::<B>(&grad, after - 1);
    let (mut added, mut of_factors) = (Vec::new(), Vec::new());
    for k in (0..after - 1).rev() {
        let product = B::float_sum_dim(B::float_mul(carried.clone(), at::<B>(&states, k)), 3);
        of_factors.push(if of_f == f { product } else { B::float_sum_dim(product, 2) });
        let next = B::float_add(at::<B>(&grad, k), B::float_mul(carried.clone(), at::<B>(&factors, k)));
        added.push(std::mem::replace(&mut carried, next));
    }
    added.reverse();
    of_factors.reverse();
    [B::float_cat(added, 1), B::float_cat(of_factors, 1), B::float_reshape(carried, [batch, f, e].into())]
}

macro_rules! offer {
    ($backend:ty) => {
        impl ScanOps for $backend {
            fn scan(
                added: FloatTensor<Self>,
                factors: FloatTensor<Self>,
                start: FloatTensor<Self>,
            ) -> FloatTensor<Self> {
                Self::scan_forward(added, factors, start)
            }
        }
    };
}

#[cfg(feature = "flex")]
offer!(burn::backend::Flex);

#[cfg(feature = "ndarray")]
offer!(burn::backend::NdArray);
#[cfg(feature = "ndarray")]
impl ScanKernel for burn::backend::NdArray {}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
offer!(burn::backend::Cube);
#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda"))]
impl ScanKernel for burn::backend::Cube {}

impl<B: ScanKernel, C: CheckpointStrategy> ScanOps for Autodiff<B, C> {
    fn scan(added: FloatTensor<Self>, factors: FloatTensor<Self>, start: FloatTensor<Self>) -> FloatTensor<Self> {
        let (added, added_node) = added.into_parts();
        let (factors, factors_node) = factors.into_parts();
        let (start, start_node) = start.into_parts();
        let states = B::scan_forward(added, factors.clone(), start);
        let nodes = [added_node, factors_node, start_node];
        match ScanBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(ScanSaved { factors, states: states.clone() }, states),
            OpsKind::UnTracked(prep) => prep.finish(states),
        }
    }
}

#[derive(Debug)]
struct ScanBackward;

impl<B: ScanKernel> Backward<B, 3> for ScanBackward {
    type State = ScanSaved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        for (parent, gradient) in ops.parents.into_iter().zip(B::scan_backward(ops.state, grad)) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

#[cfg(feature = "flex")]
mod flex {
    use burn::{
        backend::{Flex, TensorMetadata, flex::FlexTensor},
        tensor::DType,
    };
    use rayon::prelude::*;

    use super::{ScanKernel, ScanSaved};
    use crate::kernel::host::Real;

    impl ScanKernel for Flex {
        fn scan_forward(added: FlexTensor, factors: FlexTensor, start: FlexTensor) -> FlexTensor {
            match added.dtype() {
                DType::F32 => forward::<f32>(&added, &factors, &start),
                DType::F64 => forward::<f64>(&added, &factors, &start),
                _ => super::forward::<Self>(added, factors, start),
            }
        }

        fn scan_backward(saved: ScanSaved<Self>, grad: FlexTensor) -> [FlexTensor; 3] {
            match grad.dtype() {
                DType::F32 => backward::<f32>(&saved, &grad),
                DType::F64 => backward::<f64>(&saved, &grad),
                _ => super::backward::<Self>(saved, grad),
            }
        }
    }

    fn forward<R: Real>(added: &FlexTensor, factors: &FlexTensor, start: &FlexTensor) -> FlexTensor {
        let ([batch, chunks, f, e], [_, _, of_f, _]) = (added.shape().dims(), factors.shape().dims());
        let (added, factors, start) = (added.to_contiguous(), factors.to_contiguous(), start.to_contiguous());
        let (added, factors, start) = (R::view(&added), R::view(&factors), R::view(&start));
        let state = f * e;
        let mut states = vec![R::ZERO; batch * (chunks + 1) * state];
        let each = |(row, states): (usize, &mut [R])| {
            states[..state].copy_from_slice(&start[row * state..][..state]);
            for k in 0..chunks {
                let (before, after) = states[k * state..].split_at_mut(state);
                let factors = &factors[(row * chunks + k) * of_f..][..of_f];
                let added = &added[(row * chunks + k) * state..][..state];
                let lines = before.chunks_exact(e).zip(added.chunks_exact(e)).zip(after.chunks_exact_mut(e));
                for (i, ((before, added), after)) in lines.enumerate() {
                    let g = factors[i.min(of_f - 1)];
                    for ((after, before), added) in after.iter_mut().zip(before).zip(added) {
                        *after = *before * g;
                        *after += *added;
                    }
                }
            }
        };
        if state > 0 {
            states.par_chunks_mut((chunks + 1) * state).enumerate().for_each(each);
        }
        R::tensor(states, [batch, chunks + 1, f, e])
    }

    fn backward<R: Real>(saved: &ScanSaved<Flex>, grad: &FlexTensor) -> [FlexTensor; 3] {
        let ([batch, after, f, e], [_, _, of_f, _]) = (grad.shape().dims(), saved.factors.shape().dims());
        let chunks = after - 1;
        let (factors, states, grad) =
            (saved.factors.to_contiguous(), saved.states.to_contiguous(), grad.to_contiguous());
        let (factors, states, grad) = (R::view(&factors), R::view(&states), R::view(&grad));
        let state = f * e;
        let mut of_added = vec![R::ZERO; batch * chunks * state];
        let mut of_factors = vec![R::ZERO; batch * chunks * of_f];
        let mut of_start = vec![R::ZERO; batch * state];
        let each = |row: usize, of_added: &mut [R], of_factors: &mut [R], carried: &mut [R]| {
            carried.copy_from_slice(&grad[(row * after + chunks) * state..][..state]);
            for k in (0..chunks).rev() {
                of_added[k * state..][..state].copy_from_slice(carried);
                let factors = &factors[(row * chunks + k) * of_f..][..of_f];
                let of_factors = &mut of_factors[k * of_f..][..of_f];
                let (before, grad) = (&states[(row * after + k) * state..], &grad[(row * after + k) * state..]);
                for (i, carried) in carried.chunks_exact_mut(e).enumerate() {
                    let (channel, place) = (i.min(of_f - 1), i * e);
                    let mut product = R::ZERO;
                    for ((carried, before), grad) in carried.iter_mut().zip(&before[place..]).zip(&grad[place..]) {
                        product += *carried * *before;
                        *carried = *carried * factors[channel];
                        *carried += *grad;
                    }
                    of_factors[channel] += product;
                }
            }
        };
        if state > 0 {
            let added = of_added.par_chunks_mut(chunks * state);
            let factors = of_factors.par_chunks_mut(chunks * of_f);
            let parts = added.zip(factors).zip(of_start.par_chunks_mut(state)).enumerate();
            parts.for_each(|(row, ((added, factors), carried))| each(row, added, factors, carried));
        }
        [
            R::tensor(of_added, [batch, chunks, f, e]),
            R::tensor(of_factors, [batch, chunks, of_f, 1]),
            R::tensor(of_start, [batch, f, e]),
        ]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::{assert_close, normal, on_threads, values};

    /// Output and gradients of `Σ c S`.
    fn run(
        scan: impl Fn(Tensor<4>, Tensor<4>, Tensor<3>) -> Tensor<4>,
        [batch, chunks, f, e, of_f]: [usize; 5],
        dtype: DType,
    ) -> Vec<Vec<f64>> {
        let added = normal([batch, chunks, f, e], dtype, "added");
        let factors = normal([batch, chunks, of_f, 1], dtype, "factors");
        let start = normal([batch, f, e], dtype, "start");
        let c = normal([batch, chunks + 1, f, e], dtype, "c").detach();
        let states = scan(added.clone(), factors.clone(), start.clone());
        let gradients = (states.clone() * c).sum().backward();
        vec![
            values(&states),
            values(&added.grad(&gradients).unwrap()),
            values(&factors.grad(&gradients).unwrap()),
            values(&start.grad(&gradients).unwrap()),
        ]
    }

    /// The recurrence in operations that autodiff knows.
    fn composed(added: Tensor<4>, factors: Tensor<4>, start: Tensor<3>) -> Tensor<4> {
        let chunks = added.dims()[1];
        let mut states = vec![start.unsqueeze_dim::<4>(1)];
        for k in 0..chunks {
            let next = states[k].clone() * factors.clone().narrow(1, k, 1) + added.clone().narrow(1, k, 1);
            states.push(next);
        }
        Tensor::cat(states, 1)
    }

    #[test]
    fn kernel_agrees_with_autodiff_of_the_composed_form() {
        for sizes in [[1, 1, 1, 1, 1], [2, 3, 5, 7, 5], [2, 3, 5, 7, 1], [5, 1, 2, 3, 2], [3, 7, 1, 2, 1]] {
            for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 1e-4), (DType::F16, 5e-2)] {
                let (kernel, plain) = (run(scan, sizes, dtype), run(composed, sizes, dtype));
                for ((kernel, plain), name) in kernel.iter().zip(&plain).zip(["S", "dP", "dg", "dstart"]) {
                    assert_close(&format!("{name} {sizes:?} {dtype:?}"), kernel, plain, tolerance);
                }
            }
        }
    }

    #[test]
    fn two_chunks_by_hand() {
        let device = crate::testing::device();
        let tensor = |values: [f32; 2]| Tensor::<1>::from_data(values, &device);
        let start = Tensor::<1>::from_data([1.0f32], &device).reshape([1, 1, 1]);
        let states = scan(tensor([3.0, 5.0]).reshape([1, 2, 1, 1]), tensor([2.0, 10.0]).reshape([1, 2, 1, 1]), start);
        // 1, 2·1 + 3, 10·5 + 5
        assert_eq!(values(&states), [1.0, 5.0, 55.0]);
    }

    #[test]
    fn thread_count_moves_no_bit() {
        let work = || run(scan, [13, 5, 7, 11, 7], DType::F32);
        assert_eq!(on_threads(1, work), on_threads(3, work));
    }

    #[test]
    #[should_panic(expected = "scan: [2, 3, 4, 1] and [2, 5, 7] do not fit what is added, [2, 3, 5, 7]")]
    fn sizes_must_meet() {
        let (added, factors) = (normal([2, 3, 5, 7], DType::F32, "p"), normal([2, 3, 4, 1], DType::F32, "g"));
        scan(added, factors, normal([2, 5, 7], DType::F32, "s"));
    }
}
