//! A two-parameter model, and gradients given by hand.
#![allow(dead_code, missing_docs)]
use burn::{
    module::{Module, Param},
    optim::GradientsParams,
    tensor::{DType, Device, Tensor, TensorData},
};
use kiln_optimizers::{Chain, OptimConfig};

/// A matrix and a vector, at the paths `w` and `layer.bias`.
#[derive(Module, Debug)]
pub struct Toy {
    pub w: Param<Tensor<2>>,
    pub layer: Layer,
}

#[derive(Module, Debug)]
pub struct Layer {
    pub bias: Param<Tensor<1>>,
}

/// A matrix alone.
#[derive(Module, Debug)]
pub struct Matrix {
    pub w: Param<Tensor<2>>,
}

pub fn tensor<const D: usize>(values: &[f64], shape: [usize; D], dtype: DType) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (&Device::default(), dtype))
}

fn param<const D: usize>(values: &[f64], shape: [usize; D], dtype: DType) -> Param<Tensor<D>> {
    Param::from_tensor(tensor(values, shape, dtype).autodiff())
}

pub fn toy(w: &[f64], shape: [usize; 2], bias: &[f64], dtype: DType) -> Toy {
    Toy { w: param(w, shape, dtype), layer: Layer { bias: param(bias, [bias.len()], dtype) } }
}

pub fn matrix(w: &[f64], shape: [usize; 2], dtype: DType) -> Matrix {
    Matrix { w: param(w, shape, dtype) }
}

pub fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.clone().inner().cast(DType::F64).into_data().try_into_vec::<f64>().unwrap()
}

impl Toy {
    /// One step on these gradients.
    pub fn step(self, chain: &mut Chain, step: u64, w: &[f64], bias: &[f64]) -> Self {
        let grads = self.grads(w, bias);
        chain.step(step, self, grads)
    }

    pub fn grads(&self, w: &[f64], bias: &[f64]) -> GradientsParams {
        let mut grads = GradientsParams::new();
        let dtype = self.w.dtype();
        grads.register(self.w.id, tensor(w, self.w.dims(), dtype));
        grads.register(self.layer.bias.id, tensor(bias, [bias.len()], dtype));
        grads
    }
}

impl Matrix {
    pub fn step(self, chain: &mut Chain, step: u64, g: &[f64]) -> Self {
        let mut grads = GradientsParams::new();
        grads.register(self.w.id, tensor(g, self.w.dims(), self.w.dtype()));
        chain.step(step, self, grads)
    }
}

/// The config in TOML, `name` included.
pub fn config(toml: &str) -> OptimConfig {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}\n{error}"))
}

/// What is wrong with the config, as the reader sees it.
pub fn refusal(toml: &str) -> String {
    toml::from_str::<OptimConfig>(toml).expect_err(toml).to_string()
}

pub fn assert_close(actual: &[f64], expected: &[f64], relative: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= relative * e.abs().max(1.0), "{what}: element {i} is {a}, expected {e}");
    }
}
