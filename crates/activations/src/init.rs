//! Initial parameter values from named streams, so that they depend on the seed and the parameter's path
//! alone, not on the order in which modules are built or first used.
use burn::{
    module::{Param, ParamId},
    tensor::{DType, Device, Tensor, TensorData},
};
use kiln_stream::{Draws, Stream};

/// Where and how a module's parameters are made.
#[derive(Clone, Debug)]
pub struct Init {
    /// The device the parameters live on; an autodiff device for training.
    pub device: Device,
    /// The parameters' storage type.
    pub dtype: DType,
    /// How many values a parameter per head has: the heads of the attention the part belongs to, else 1.
    pub heads: usize,
    stream: Stream,
}

impl Init {
    /// Parameters of the run with this seed.
    pub fn new(seed: u64, device: &Device, dtype: DType) -> Self {
        Self { device: device.clone(), dtype, heads: 1, stream: Stream::new(seed, "init") }
    }

    /// For a part that is built only to be asked about itself, on the host where there is a host backend.
    pub(crate) fn sample() -> Self {
        #[cfg(feature = "flex")]
        let device = Device::flex();
        #[cfg(not(feature = "flex"))]
        let device = Device::default();
        Self::new(0, &device, DType::F32)
    }

    /// For a part that stands in every one of so many heads.
    #[must_use]
    pub fn per_head(&self, heads: usize) -> Self {
        Self { heads, ..self.clone() }
    }

    /// Parameters of a part, such as `layers.0`.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        Self { stream: self.stream.child(name), ..self.clone() }
    }

    /// The parameter `name`, each value drawn by `draw` in row-major order.
    pub fn param<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        mut draw: impl FnMut(&mut Draws) -> f64,
    ) -> Param<Tensor<D>> {
        let mut draws = self.stream.child(name).at(0);
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| draw(&mut draws)).collect();
        self.stored(values, shape)
    }

    /// The buffer `name`: stored with the parameters but not trained. Its values, in row-major order, are drawn all at once.
    pub fn buffer<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        draw: impl FnOnce(&mut Draws) -> Vec<f64>,
    ) -> Param<Tensor<D>> {
        self.stored(draw(&mut self.stream.child(name).at(0)), shape).set_require_grad(false)
    }

    /// Uniform on [−bound, bound).
    pub fn uniform<const D: usize>(&self, name: &str, shape: [usize; D], bound: f64) -> Param<Tensor<D>> {
        self.param(name, shape, |draws| (2.0 * draws.uniform() - 1.0) * bound)
    }

    /// Normal with mean 0 and standard deviation `std`.
    pub fn normal<const D: usize>(&self, name: &str, shape: [usize; D], std: f64) -> Param<Tensor<D>> {
        self.param(name, shape, |draws| draws.normal() * std)
    }

    /// The same value everywhere.
    pub fn constant<const D: usize>(&self, shape: [usize; D], value: f64) -> Param<Tensor<D>> {
        self.stored(vec![value; shape.iter().product()], shape)
    }

    /// Given values that are kept in records and never trained.
    ///
    /// # Panics
    /// If there are not as many values as the shape says.
    pub fn frozen<const D: usize>(&self, values: Vec<f64>, shape: [usize; D]) -> Param<Tensor<D>> {
        let tensor = Tensor::from_data(TensorData::new(values, shape), (&self.device, self.dtype));
        Param::initialized(ParamId::new(), tensor).set_require_grad(false)
    }

    /// The draws of what is no parameter, under a name of its own.
    pub fn draws(&self, name: &str) -> Draws {
        self.stream.child(name).at(0)
    }

    fn stored<const D: usize>(&self, values: Vec<f64>, shape: [usize; D]) -> Param<Tensor<D>> {
        let tensor = Tensor::from_data(TensorData::new(values, shape), (&self.device, self.dtype));
        let tensor = if self.device.is_autodiff() { tensor.require_grad() } else { tensor };
        Param::initialized(ParamId::new(), tensor)
    }
}
