//! Parameters survive saving, loading and training.
use burn::{
    module::{Module, ModuleVisitor, Param},
    store::ModuleRecord,
    tensor::{DType, Tensor},
};

use super::{cases::configs, ctx};
use crate::{
    Init,
    testing::{assert_bits, device, normal, tensor, values},
};

/// Collects the values of all parameters.
#[derive(Default)]
struct Collect(Vec<f64>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.extend(values(param.val()));
    }
}

#[test]
fn parameters_survive_a_record() {
    let x = tensor(&normal(1, 4 * 9, 1.0), 9, DType::F64);
    for (name, config) in configs() {
        // Four heads, so that a parameter per head has more than one value; moved from where they start.
        let init = Init::new(0, &device(), DType::F64).per_head(4);
        let map = config.init(&init).map(&mut Move);
        let bytes = map.clone().into_record().into_bytes().expect("a record can be written");
        let record = ModuleRecord::from_bytes(bytes).expect("and read");
        let loaded = config.init(&init).try_load_record(record).expect("and loaded");
        let (mut before, mut after) = (Collect::default(), Collect::default());
        map.visit(&mut before);
        loaded.visit(&mut after);
        assert_bits(&name, &after.0, &before.0);
        let scores = x.clone().reshape([1, 4, 1, 9]);
        let by = |map: &super::Normalizer| values(map.weights(scores.clone(), -1, None, &ctx()));
        assert_bits(&name, &by(&loaded), &by(&map));
    }
}

/// Every parameter a little larger.
struct Move;

impl burn::module::ModuleMapper for Move {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| (value.set_require_grad(false) + 0.125).require_grad())
    }
}

#[test]
fn every_parameter_gets_a_gradient_of_its_own_head() {
    for (name, config) in configs() {
        let map = config.init(&Init::new(0, &device(), DType::F64).per_head(3));
        let mut parameters = Collect::default();
        map.visit(&mut parameters);
        if parameters.0.is_empty() {
            continue;
        }
        // Only the middle head of three gets an upstream gradient.
        let scores = tensor(&normal(2, 2 * 3 * 5 * 7, 1.0), 7, DType::F64).reshape([2, 3, 5, 7]);
        let upstream: Vec<f64> =
            normal(3, 2 * 3 * 5 * 7, 1.0).iter().enumerate().map(|(i, g)| if (i / 35) % 3 == 1 { *g } else { 0.0 }).collect();
        let upstream = tensor(&upstream, 7, DType::F64).reshape([2, 3, 5, 7]);
        let grads = (map.weights(scores, -1, None, &ctx()) * upstream).sum().backward();
        let mut check = OwnHead { grads: &grads, name: &name };
        map.visit(&mut check);
    }
}

struct OwnHead<'a> {
    grads: &'a burn::tensor::Gradients,
    name: &'a str,
}

impl ModuleVisitor for OwnHead<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let grad = values(param.val().grad(self.grads).unwrap_or_else(|| panic!("{}: no gradient", self.name)));
        match grad.as_slice() {
            [_] => {}
            [0.0, own, 0.0] => assert!(*own != 0.0, "{}: {grad:?}", self.name),
            _ => panic!("{}: the gradient of another head: {grad:?}", self.name),
        }
    }
}
