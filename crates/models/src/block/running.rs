//! What training passes leave behind for evaluation.
use std::sync::{Arc, Mutex, PoisonError};

use burn::{
    module::{
        Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param, ParamId,
    },
    tensor::{Device, Tensor, TensorData},
};
use kiln_activations::Init;

/// The container under which visitors meet the value; see [`crate::visit_trained`].
pub(crate) const RUNNING: &str = "Running";

/// A statistic that training passes update and no gradient does, such as the mean that batch normalisation takes out
/// of an image while evaluating.
///
/// A pass only proposes the next value. It becomes the value when the module is mapped, which is what an optimizer's
/// step does, so that a network at step t has the value of step t however many passes look at it, and a step that is
/// not adopted leaves nothing behind. Of several passes before one step the last proposes. Clones share the proposal,
/// and the first of them to be mapped takes it.
///
/// In a record the value stands as `<name>.value`. It is no parameter: [`crate::parameters`] does not name it, and
/// `num_params` does not count it.
#[derive(Clone, Debug)]
pub struct Running<const D: usize> {
    value: Param<Tensor<D>>,
    next: Arc<Mutex<Option<Tensor<D>>>>,
}

impl<const D: usize> Running<D> {
    /// A statistic that starts at `first` everywhere.
    pub fn new(init: &Init, shape: [usize; D], first: f64) -> Self {
        let data = TensorData::new(vec![first; shape.iter().product()], shape);
        let value = Tensor::from_data(data, (&init.device, init.dtype));
        Self::of(Param::initialized(ParamId::new(), value))
    }

    fn of(value: Param<Tensor<D>>) -> Self {
        Self { value, next: Arc::default() }
    }

    /// The present value, without gradient.
    pub fn value(&self) -> Tensor<D> {
        self.value.val()
    }

    /// Proposes the next value.
    pub fn propose(&self, next: Tensor<D>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next.detach());
    }

    /// Proposes `(1 − rate) · value + rate · observed` as the next value.
    pub fn observe(&self, observed: Tensor<D>, rate: f64) {
        self.propose(self.value().mul_scalar(1.0 - rate) + observed.detach().mul_scalar(rate));
    }
}

impl<const D: usize> Module for Running<D> {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.enter_module("value", RUNNING);
        visitor.visit_float(&self.value);
        visitor.exit_module("value", RUNNING);
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        let value = match next {
            Some(next) => self.value.map(|_| next),
            None => self.value,
        };
        mapper.enter_module("value", RUNNING);
        let value = mapper.map_float(value).set_require_grad(false);
        mapper.exit_module("value", RUNNING);
        Self::of(value)
    }

    fn num_params(&self) -> usize {
        0
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        self.value.collect_devices(devices)
    }

    fn to_device(self, device: &Device) -> Self {
        Self::of(self.value.to_device(device))
    }

    fn fork(self, device: &Device) -> Self {
        Self::of(self.value.fork(device))
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        Self::of(self.value.valid())
    }

    fn train(self) -> Self {
        Self::of(self.value.train())
    }
}

impl<const D: usize> ModuleDisplayDefault for Running<D> {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_single(&format!("Running {{shape: {:?}}}", self.value.dims())).optional()
    }
}

impl<const D: usize> ModuleDisplay for Running<D> {}

#[cfg(test)]
mod tests {
    use burn::{module::ModuleMapper, store::ModuleRecord, tensor::DType};

    use super::*;
    use crate::{
        parameters,
        testing::{device, values},
    };

    #[derive(Module, Debug)]
    struct Part {
        weight: Param<Tensor<1>>,
        mean: Running<1>,
    }

    fn part() -> Part {
        let init = Init::new(0, &device(), DType::F64);
        Part { weight: init.constant([3], 1.0), mean: Running::new(&init, [2], 0.5) }
    }

    /// What an optimizer's step is to a module that it finds no gradients for.
    struct Step;
    impl ModuleMapper for Step {}

    fn observed(part: &Part, value: f64) {
        part.mean.observe(Tensor::from_data([value, 1.0], (&device(), DType::F64)).require_grad(), 0.25);
    }

    #[test]
    fn a_proposal_becomes_the_value_with_the_next_step() {
        let before = part();
        observed(&before, 7.0);
        observed(&before, 2.5);
        assert_eq!(values(&before.mean.value()), [0.5, 0.5]);
        let after = before.clone().map(&mut Step);
        assert_eq!(values(&after.mean.value()), [0.75 * 0.5 + 0.25 * 2.5, 0.625]);
        assert_eq!(values(&before.mean.value()), [0.5, 0.5], "the state before the step keeps its value");
        assert_eq!(values(&before.map(&mut Step).mean.value()), [0.5, 0.5], "a proposal is taken once");
        assert!(!after.mean.value().is_require_grad());
    }

    #[test]
    fn evaluation_copies_hold_the_value_and_not_the_proposal() {
        let part = part();
        observed(&part, 2.5);
        let copy = part.valid();
        assert_eq!(values(&copy.map(&mut Step).mean.value()), [0.5, 0.5]);
    }

    #[test]
    fn records_carry_it_and_lists_of_parameters_do_not() {
        let part = part();
        observed(&part, 2.5);
        let part = part.map(&mut Step);
        let names: Vec<_> = parameters(&part).into_iter().map(|parameter| parameter.name).collect();
        assert_eq!(names, ["weight"]);
        assert_eq!(Module::num_params(&part), 3);
        let bytes = part.clone().into_record().into_bytes().unwrap();
        let loaded = self::part().try_load_record(ModuleRecord::from_bytes(bytes).unwrap()).unwrap();
        assert_eq!(values(&loaded.mean.value()), values(&part.mean.value()));
        assert!(!loaded.mean.value().is_require_grad() && loaded.weight.val().is_require_grad());
    }
}
