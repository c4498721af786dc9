//! A step of Adam in one pass over the weight, its gradient and its moments.
//!
//! Composed of tensor operations, the step walks a dozen times through arrays that no cache holds, on one thread. The
//! pass here does the same arithmetic, operation for operation, so its results are the same bits.
use burn::{
    backend::{Backend, Dispatch, DispatchDevice, backend_extension, tensor::FloatTensor},
    tensor::{DType, Tensor},
};

/// The numbers of one step; see [`Moments`](super::Moments) for the formula.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// What the weight is multiplied with before the step: 1, or 1 − lr λ.
    pub keep: f64,
    /// How much of the weight is added to the gradient.
    pub penalty: f64,
    /// β₁ and β₂.
    pub betas: [f64; 2],
    /// √(1 − β₂ᵗ)
    pub root: f64,
    /// Added to the root of the corrected second moment.
    pub eps: f64,
    /// lr / (1 − β₁ᵗ)
    pub lr: f64,
    /// Whether elements whose second moment is 0 stay as they are.
    pub skip_zero: bool,
}

/// The new weight and its new moments, all in one dtype and on one device.
pub(super) fn adam_step<const D: usize>(
    step: AdamStep,
    w: Tensor<D>,
    g: Tensor<D>,
    m: Tensor<D>,
    v: Tensor<D>,
) -> [Tensor<D>; 3] {
    if !has_kernel(w.device().as_dispatch(), w.dtype()) {
        return composed(step, w, g, m, v);
    }
    let [w, g, m, v] = [w, g, m, v].map(Tensor::into_dispatch);
    let (w, m, v) = <Dispatch as AdamOps>::adam_step(w, g, m, v, step);
    [w, m, v].map(Tensor::from_dispatch)
}

/// The same from tensor operations, for every device and dtype.
fn composed<const D: usize>(step: AdamStep, w: Tensor<D>, g: Tensor<D>, m: Tensor<D>, v: Tensor<D>) -> [Tensor<D>; 3] {
    let [beta1, beta2] = step.betas;
    let g = if step.penalty == 0.0 { g } else { g + w.clone() * step.penalty };
    let w = if step.keep == 1.0 { w } else { w * step.keep };
    let m = m * beta1 + g.clone() * (1.0 - beta1);
    let v = v * beta2 + g.square() * (1.0 - beta2);
    let denominator = v.clone().sqrt() / step.root + step.eps;
    let change = m.clone() / denominator * step.lr;
    let change = if step.skip_zero { change.mask_fill(v.clone().equal_scalar(0.0), 0.0) } else { change };
    [w - change, m, v]
}

/// Whether [`AdamOps`] runs there.
fn has_kernel(device: &DispatchDevice, dtype: DType) -> bool {
    match device {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => matches!(dtype, DType::F32 | DType::F64),
        #[allow(unreachable_patterns)]
        _ => false,
    }
}

/// The step of a backend that has it in one pass.
#[backend_extension(Flex: cfg(feature = "flex"))]
pub trait AdamOps: Backend {
    /// The new weight, first and second moment.
    fn adam_step(
        w: FloatTensor<Self>,
        g: FloatTensor<Self>,
        m: FloatTensor<Self>,
        v: FloatTensor<Self>,
        step: AdamStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

#[cfg(feature = "flex")]
mod flex {
    use burn::{
        backend::{Flex, flex::FlexTensor},
        tensor::{DType, Element, ElementConversion},
    };
    use num_traits::Float;
    use rayon::prelude::*;

    use super::{AdamOps, AdamStep};

    /// Elements that one thread takes at a time.
    const PART: usize = 1 << 14;

    impl AdamOps for Flex {
        fn adam_step(
            w: FlexTensor,
            g: FlexTensor,
            m: FlexTensor,
            v: FlexTensor,
            step: AdamStep,
        ) -> (FlexTensor, FlexTensor, FlexTensor) {
            // In the memory of the weight and the moments; who else holds one of them keeps it as it was.
            let [mut w, g, mut m, mut v] = [w, g, m, v].map(|tensor| {
                let contiguous = tensor.to_contiguous();
                drop(tensor);
                contiguous
            });
            match w.dtype() {
                DType::F32 => {
                    Numbers::<f32>::new(step).run(w.storage_mut(), g.storage(), m.storage_mut(), v.storage_mut())
                }
                DType::F64 => {
                    Numbers::<f64>::new(step).run(w.storage_mut(), g.storage(), m.storage_mut(), v.storage_mut())
                }
                dtype => unreachable!("{dtype:?} has no kernel"),
            }
            (w, m, v)
        }
    }

    /// [`AdamStep`] in the dtype of the tensors.
    struct Numbers<R> {
        keep: R,
        penalty: Option<R>,
        betas: [R; 2],
        rest: [R; 2],
        root: R,
        eps: R,
        lr: R,
        skip_zero: bool,
    }

    impl<R: Float + Element> Numbers<R> {
        fn new(step: AdamStep) -> Self {
            Self {
                keep: step.keep.elem(),
                penalty: (step.penalty != 0.0).then(|| step.penalty.elem()),
                betas: step.betas.map(|beta| beta.elem()),
                rest: step.betas.map(|beta| (1.0 - beta).elem()),
                root: step.root.elem(),
                eps: step.eps.elem(),
                lr: step.lr.elem(),
                skip_zero: step.skip_zero,
            }
        }

        fn run(&self, w: &mut [R], g: &[R], m: &mut [R], v: &mut [R]) {
            if w.len() <= PART {
                return self.update(w, g, m, v);
            }
            let moments = m.par_chunks_mut(PART).zip(v.par_chunks_mut(PART));
            let parts = w.par_chunks_mut(PART).zip(g.par_chunks(PART)).zip(moments);
            parts.for_each(|((w, g), (m, v))| self.update(w, g, m, v));
        }

        fn update(&self, w: &mut [R], g: &[R], m: &mut [R], v: &mut [R]) {
            match (self.penalty, self.skip_zero) {
                (None, true) => self.each::<true>(w, g, m, v, |g, _| g),
                (None, false) => self.each::<false>(w, g, m, v, |g, _| g),
                (Some(penalty), true) => self.each::<true>(w, g, m, v, |g, w| g + w * penalty),
                (Some(penalty), false) => self.each::<false>(w, g, m, v, |g, w| g + w * penalty),
            }
        }

        #[inline(always)]
        fn each<const SKIP: bool>(
            &self,
            w: &mut [R],
            g: &[R],
            m: &mut [R],
            v: &mut [R],
            penalised: impl Fn(R, R) -> R,
        ) {
            let Self { keep, betas: [beta1, beta2], rest: [rest1, rest2], root, eps, lr, .. } = *self;
            for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                let g = penalised(*g, *w);
                *m = *m * beta1 + g * rest1;
                *v = *v * beta2 + g * g * rest2;
                let change = *m / (v.sqrt() / root + eps) * lr;
                let change = if SKIP && *v == R::zero() { R::zero() } else { change };
                *w = *w * keep - change;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    use super::*;

    fn tensor(values: &[f64], dtype: DType) -> Tensor<1> {
        Tensor::from_data(TensorData::from(values), (&Device::flex(), dtype))
    }

    fn bits(tensor: &Tensor<1>) -> Vec<u64> {
        tensor
            .to_data()
            .convert_dtype(DType::F64)
            .try_into_vec::<f64>()
            .unwrap()
            .into_iter()
            .map(f64::to_bits)
            .collect()
    }

    /// Some of them so small that their squares are 0, some not numbers.
    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![6 => -2.0..2.0, 1 => Just(0.0), 1 => -1e-30..1e-30, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)]
    }

    proptest! {
        #[test]
        fn one_pass_gives_the_bits_of_the_operations(
            rows in prop::collection::vec((value(), value(), value(), 0.0..1.0), 1..50),
            copies in prop_oneof![9 => Just(1), 1 => Just(997)],
            decay in prop_oneof![Just([1.0, 0.0]), Just([0.999, 0.0]), Just([1.0, 0.01])],
            skip_zero: bool, double: bool, shared: bool,
        ) {
            let dtype = if double { DType::F64 } else { DType::F32 };
            // Long enough for more than one thread in one case of ten.
            let column = |of: fn(&(f64, f64, f64, f64)) -> f64| tensor(&rows.iter().map(of).collect::<Vec<_>>().repeat(copies), dtype);
            let (w, g, m) = (column(|row| row.0), column(|row| row.1), column(|row| row.2));
            let v = column(|row| if row.3 < 0.2 { 0.0 } else { row.3 });
            let step = AdamStep {
                keep: decay[0], penalty: decay[1], betas: [0.9, 0.999], root: 0.0447, eps: 1e-8, lr: 2e-3, skip_zero,
            };
            let expected = composed(step, w.clone(), g.clone(), m.clone(), v.clone());
            let before = bits(&w);
            let kept = shared.then(|| w.clone());
            let found = adam_step(step, w, g, m, v);
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert_eq!(bits(found), bits(expected));
            }
            // Who else holds the weight keeps its value.
            prop_assert!(kept.is_none_or(|kept| bits(&kept) == before));
        }
    }
}
