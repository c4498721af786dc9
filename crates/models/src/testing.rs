//! Helpers of this crate's tests.
use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{DType, Device, Gradients, Int, Tensor, TensorData},
};
use kiln_stream::Stream;

use crate::{block::RUNNING, parameters, visit_trained};

pub(crate) fn device() -> Device {
    Device::flex().autodiff()
}

/// Standard normal values, tracked.
pub(crate) fn normal<const D: usize>(shape: [usize; D], dtype: DType, name: &str) -> Tensor<D> {
    let mut draws = Stream::new(7, "test").child(name).at(0);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| draws.normal()).collect();
    Tensor::from_data(TensorData::new(values, shape), (&device(), dtype)).require_grad()
}

/// Uniform indices below `n`.
pub(crate) fn indices(shape: [usize; 2], n: usize) -> (Vec<usize>, Tensor<2, Int>) {
    let mut draws = Stream::new(7, "test").child("indices").at(0);
    let indices: Vec<usize> = (0..shape.iter().product()).map(|_| draws.below(n)).collect();
    let data: Vec<i64> = indices.iter().map(|i| *i as i64).collect();
    (indices, Tensor::from_data(TensorData::new(data, shape), &device()))
}

pub(crate) fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter().collect()
}

/// Asserts `|got − want| ≤ tolerance · (1 + |want|)`; the message names the tensor, the worst index and both values.
#[track_caller]
pub(crate) fn assert_close(name: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}: number of values");
    let error = |i: usize| (got[i] - want[i]).abs() / (1.0 + want[i].abs());
    if let Some(worst) = (0..got.len()).max_by(|a, b| error(*a).total_cmp(&error(*b))) {
        assert!(error(worst) <= tolerance, "{name}[{worst}]: got {}, expected {}", got[worst], want[worst]);
    }
}

/// Runs `f` in a pool of `n` threads.
pub(crate) fn on_threads<T: Send>(n: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(f)
}

/// Every parameter's values by name.
pub(crate) fn named_values<M: Module>(module: &M) -> BTreeMap<String, Vec<f64>> {
    struct Read(Vec<Vec<f64>>);
    impl ModuleVisitor for Read {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(values(&param.val()));
        }
    }
    let mut read = Read(Vec::new());
    visit_trained(module, &mut read);
    parameters(module).into_iter().map(|p| p.name).zip(read.0).collect()
}

/// Every parameter's gradient by name.
pub(crate) fn named_gradients<M: Module>(module: &M, gradients: &Gradients) -> BTreeMap<String, Vec<f64>> {
    struct Read<'a>(&'a Gradients, Vec<Vec<f64>>);
    impl ModuleVisitor for Read<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push(param.val().grad(self.0).expect("every parameter has a gradient").to_data().iter().collect());
        }
    }
    let mut read = Read(gradients, Vec::new());
    visit_trained(module, &mut read);
    parameters(module).into_iter().map(|p| p.name).zip(read.1).collect()
}

/// The module with every parameter drawn anew from N(0, 0.25), so that no bias is 0 and no scale 1, and every running
/// statistic from [1/2, 3/2), since a variance among them has to be positive.
pub(crate) fn randomised<M: Module>(module: M) -> M {
    struct Redraw(u64, bool);
    impl ModuleMapper for Redraw {
        fn enter_module(&mut self, _: &str, container_type: &str) {
            self.1 |= container_type == RUNNING;
        }
        fn exit_module(&mut self, _: &str, container_type: &str) {
            self.1 &= container_type != RUNNING;
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.0 += 1;
            let (mut draws, running) = (Stream::new(3, "test").at(self.0), self.1);
            param.map(|t| {
                let draw = |_| if running { 0.5 + draws.uniform() } else { 0.5 * draws.normal() };
                replace(&t, (0..t.shape().num_elements()).map(draw).collect())
            })
        }
    }
    module.map(&mut Redraw(0, false))
}

fn replace<const D: usize>(tensor: &Tensor<D>, values: Vec<f64>) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, tensor.dims()), (&tensor.device(), tensor.dtype())).require_grad()
}

/// The module with `delta` added to one value of one parameter.
fn nudged<M: Module>(module: M, id: ParamId, index: usize, delta: f64) -> M {
    struct Nudge(ParamId, usize, f64);
    impl ModuleMapper for Nudge {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if param.id != self.0 {
                return param;
            }
            param.map(|t| {
                let mut values = values(&t);
                values[self.1] += self.2;
                replace(&t, values)
            })
        }
    }
    module.map(&mut Nudge(id, index, delta))
}

/// Compares every gradient of a scalar function of an `f64` module with central differences.
#[track_caller]
pub(crate) fn check_gradients<M: Module>(module: &M, f: impl Fn(&M) -> Tensor<1>) {
    const STEP: f64 = 1e-5;
    let gradients = named_gradients(module, &f(module).backward());
    for parameter in parameters(module) {
        let exact = &gradients[&parameter.name];
        let difference = |i: usize| {
            let at = |delta| values(&f(&nudged(module.clone(), parameter.id, i, delta)))[0];
            (at(STEP) - at(-STEP)) / (2.0 * STEP)
        };
        let differences: Vec<f64> = (0..exact.len()).map(difference).collect();
        assert_close(&parameter.name, exact, &differences, 1e-7);
    }
}

/// Every running statistic's values by name.
pub(crate) fn running_values<M: Module>(module: &M) -> BTreeMap<String, Vec<f64>> {
    #[derive(Default)]
    struct Read(Vec<String>, BTreeMap<String, Vec<f64>>);
    impl ModuleVisitor for Read {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.0.push(if container_type.starts_with("Enum:") { String::new() } else { name.into() });
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if !param.is_require_grad() {
                let path: Vec<&str> = self.0.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
                self.1.insert(path.join("."), values(&param.val()));
            }
        }
    }
    let mut read = Read::default();
    module.visit(&mut read);
    read.1
}
