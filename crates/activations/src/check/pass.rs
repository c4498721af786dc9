//! One forward and backward pass over host numbers.
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::kernel::seeded;

/// What a pass gave, in row-major order.
pub(super) struct Pass {
    pub(super) y: Vec<f64>,
    /// At the scores; empty if nothing was differentiated.
    pub(super) dx: Vec<f64>,
    /// At the row parameters; empty if there are none.
    pub(super) dparams: Vec<f64>,
}

/// Numbers and where they are worked on.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) device: &'a Device,
    pub(super) dtype: DType,
    pub(super) n: usize,
    /// Scores `[rows, n]`.
    pub(super) scores: &'a [f64],
    /// Row parameters `[rows, P]`, if there are any.
    pub(super) params: Option<&'a [f64]>,
    /// The gradient that arrives at the result; `None` runs forward only.
    pub(super) upstream: Option<&'a [f64]>,
}

impl<'a> Inputs<'a> {
    /// The same numbers elsewhere.
    pub(super) fn on(self, device: &'a Device, dtype: DType) -> Self {
        Self { device, dtype, ..self }
    }

    /// Applies `f` to scores and parameters as leaves. The result has as many values as the upstream gradient, or as the
    /// scores.
    pub(super) fn run<const D: usize>(&self, f: impl FnOnce(Tensor<2>, Option<Tensor<2>>) -> Tensor<D>) -> Pass {
        let rows = self.scores.len() / self.n;
        let x = tensor(self.scores, [rows, self.n], self.device, self.dtype);
        let params = self.params.map(|params| tensor(params, [rows, params.len() / rows], self.device, self.dtype));
        let Some(upstream) = self.upstream else {
            return Pass { y: values(f(x, params)), dx: Vec::new(), dparams: Vec::new() };
        };
        let (x, params) = (x.require_grad(), params.map(Tensor::require_grad));
        let y = f(x.clone(), params.clone());
        let g = Tensor::from_data(TensorData::new(upstream.to_vec(), y.dims()), (self.device, y.dtype()));
        let grads = seeded(y.clone(), g).backward();
        let zeros = |leaf: &Tensor<2>| vec![0.0; leaf.dims().iter().product()];
        Pass {
            y: values(y.detach()),
            dx: x.grad(&grads).map_or_else(|| zeros(&x), values),
            dparams: params.map_or_else(Vec::new, |params| params.grad(&grads).map_or_else(|| zeros(&params), values)),
        }
    }
}

pub(super) fn tensor(values: &[f64], shape: [usize; 2], device: &Device, dtype: DType) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (device, dtype))
}

/// The values in row-major order.
pub(super) fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// The backend of the references, with autodiff: the first one on the host that is compiled in.
pub(super) fn host() -> Device {
    #[cfg(feature = "flex")]
    return Device::flex().autodiff();
    #[cfg(all(feature = "ndarray", not(feature = "flex")))]
    #[allow(deprecated, reason = "ndarray stays selectable as long as Burn has it")]
    return Device::ndarray().autodiff();
    #[cfg(not(any(feature = "flex", feature = "ndarray")))]
    panic!("a check needs a host backend for its references: build with the feature flex");
}
