//! The chain that a training loop calls: transforms, rule, mask.
use std::{collections::BTreeMap, fmt, iter::Peekable, sync::Arc, vec};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    optim::{DynOptimizer, DynState, GradientsParams, StateSink, StateSource},
    tensor::{DType, Device, Tensor},
};

use crate::{Invalid, Leaf, OptimConfig, StateError, group::Settings, record::Record, rule::dead_second_moments};

impl OptimConfig {
    /// Whether the values go together.
    ///
    /// # Errors
    /// If two keys contradict each other; the key is relative to `[optim]`.
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_rule()?;
        let shared = self.shared();
        shared.schedule.check().map_err(|invalid| invalid.under("schedule"))?;
        for (i, transform) in shared.transforms.iter().enumerate() {
            transform.check().map_err(|invalid| invalid.under(&format!("transforms[{i}]")))?;
        }
        for (i, group) in shared.groups.iter().enumerate() {
            group.check().map_err(|invalid| invalid.under(&format!("groups[{i}]")))?;
        }
        Ok(())
    }

    /// The learning rate of the update from `w_step` to `w_{step+1}`, before the groups' factors.
    pub fn lr(&self, step: u64) -> f64 {
        let shared = self.shared();
        shared.lr * shared.schedule.factor(step)
    }

    /// The chain for `model`, without state yet.
    ///
    /// # Errors
    /// If [`check`](Self::check) fails, a group matches no parameter, or the rule cannot update one.
    pub fn init<M: Module>(&self, model: &M) -> Result<Chain, Invalid> {
        self.check()?;
        let mut slots = Slots { path: Path::default(), config: self, found: BTreeMap::new() };
        model.visit(&mut slots);
        let slots = slots.found;
        for (i, group) in self.shared().groups.iter().enumerate() {
            if !slots.keys().any(|path| group.pattern.matches(path)) {
                let known = slots.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                return Err(Invalid::new(
                    format!("groups[{i}].match"),
                    format!("{} matches no parameter; the model has {known}", group.pattern),
                ));
            }
        }
        for (path, slot) in &slots {
            if let Some(why) = self.refuses(&slot.shape).filter(|_| slot.settings.update) {
                return Err(Invalid::new(
                    "name",
                    format!(
                        "{why}, and parameter {path:?} has shape {:?}; choose another rule \
                         or freeze it by groups = [{{ match = {path:?}, update = false }}]",
                        slot.shape
                    ),
                ));
            }
        }
        Ok(Chain { config: self.clone(), slots, grad_norm: None })
    }
}

/// Transforms, then the rule, then the mask of frozen groups; with the state of every parameter.
///
/// ```text
/// gradients → transforms, in the order of their list → rule(lr · lr_scale, weight decay of the group) → mask
/// ```
/// State belongs to a parameter's *path*, so it survives a model that is built anew. A tensor that requires no gradient
/// is no parameter; a parameter that got none at a step is left alone, its state too. Cloning is cheap: tensors are
/// shared until one side steps.
#[derive(Clone)]
pub struct Chain {
    config: OptimConfig,
    slots: BTreeMap<String, Slot>,
    grad_norm: Option<Tensor<1>>,
}

/// One parameter's place in the chain.
#[derive(Clone)]
struct Slot {
    shape: Vec<usize>,
    state_dtype: DType,
    device: Device,
    settings: Settings,
    rule: Arc<dyn DynOptimizer>,
    state: Option<DynState>,
}

impl Slot {
    /// What the record says about the parameter.
    fn describe(&self) -> String {
        format!("{:?} {:?}", self.state_dtype, self.shape)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Chain").field("config", &self.config).field("parameters", &self.slots.keys()).finish()
    }
}

impl Chain {
    /// The config it was made from.
    pub fn config(&self) -> &OptimConfig {
        &self.config
    }

    /// The learning rate of the update from `w_step` to `w_{step+1}`, before the groups' factors.
    pub fn lr(&self, step: u64) -> f64 {
        self.config.lr(step)
    }

    /// The update from `w_step` to `w_{step+1}`. `grads` holds the gradients by parameter, as
    /// `GradientsParams::from_grads` makes them.
    ///
    /// # Panics
    /// If `model` has a parameter that the model given to [`OptimConfig::init`] lacks.
    pub fn step<M: Module>(&mut self, step: u64, model: M, grads: GradientsParams) -> M {
        let grads = self.transform(&model, grads);
        let lr = self.lr(step);
        model.map(&mut Update { path: Path::default(), lr, grads, slots: &mut self.slots })
    }

    /// The gradients as the rule gets them. [`step`](Self::step) does this itself; alone it is for
    /// measurements.
    pub fn transform<M: Module>(&mut self, model: &M, grads: GradientsParams) -> GradientsParams {
        let transforms = self.config.shared().transforms;
        if transforms.is_empty() {
            return grads;
        }
        let mut taken = Take { path: Path::default(), grads, leaves: Vec::new() };
        model.visit(&mut taken);
        let Take { grads, mut leaves, .. } = taken;
        self.grad_norm = None;
        for transform in transforms {
            self.grad_norm = transform.apply(&mut leaves).or(self.grad_norm.take());
        }
        let mut give = Give { grads, leaves: leaves.into_iter().peekable() };
        model.visit(&mut give);
        give.grads
    }

    /// The common norm of all gradients at the last step, as the last `clip_norm` of the chain met it; `None`
    /// without one. Waits for the device.
    pub fn grad_norm(&self) -> Option<f64> {
        self.grad_norm.as_ref().map(|norm| norm.clone().cast(DType::F64).into_scalar::<f64>())
    }

    /// The share of all elements under Adam or AdamW whose second moment is exactly 0 while the first is not;
    /// `None` for other rules and before the first step. Copies the moments to the host.
    pub fn v_zero(&self) -> Option<f64> {
        let counts = self.slots.values().filter_map(|slot| {
            let mut flat = StateSink::default();
            slot.rule.state_flatten("", slot.state.as_ref()?, &mut flat);
            dead_second_moments(&flat)
        });
        let (dead, all) = counts.reduce(|sum, count| (sum.0 + count.0, sum.1 + count.1))?;
        Some(dead as f64 / all as f64)
    }

    /// Bytes that the state of all parameters takes: none before the first step.
    pub fn state_bytes(&self) -> usize {
        let mut flat = StateSink::default();
        for (path, slot) in &self.slots {
            if let Some(state) = &slot.state {
                slot.rule.state_flatten(path, state, &mut flat);
            }
        }
        flat.tensors.iter().map(|(_, data)| data.as_bytes().len()).sum()
    }

    /// The state of all parameters; equal state gives equal bytes.
    ///
    /// # Errors
    /// If it cannot be packed.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StateError> {
        let mut parameters = BTreeMap::new();
        let mut flat = StateSink::default();
        for (path, slot) in &self.slots {
            if let Some(state) = &slot.state {
                parameters.insert(path.clone(), slot.describe());
                slot.rule.state_flatten(path, state, &mut flat);
            }
        }
        let scalars = flat.scalars.into_iter().collect();
        Record { rule: self.config.name().into(), parameters, tensors: flat.tensors, scalars }.into_bytes()
    }

    /// Takes over the state that [`to_bytes`](Self::to_bytes) gave, with the same bits. On error nothing has
    /// changed.
    ///
    /// # Errors
    /// If the bytes are damaged or truncated, or belong to another rule or model.
    pub fn load_bytes(&mut self, bytes: Vec<u8>) -> Result<(), StateError> {
        let record = Record::from_bytes(bytes)?;
        let expected = self.config.name();
        if record.rule != expected {
            return Err(StateError::OtherRule { found: record.rule, expected: expected.into() });
        }
        let mut source = StateSource::new(record.scalars);
        for (name, data) in record.tensors {
            source.insert_tensor(name, data);
        }
        let mut states = BTreeMap::new();
        for (path, found) in record.parameters {
            let Some(slot) = self.slots.get(&path) else { return Err(StateError::UnknownParameter { path }) };
            let expected = slot.describe();
            if found != expected {
                return Err(StateError::OtherParameter { path, found, expected });
            }
            match slot.rule.state_unflatten(slot.shape.len(), &path, &mut source, &slot.device) {
                Some(state) => states.insert(path, state),
                None => return Err(StateError::Incomplete { path }),
            };
        }
        for (path, slot) in &mut self.slots {
            slot.state = states.remove(path);
        }
        Ok(())
    }
}

/// Where a walk through a module stands.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn enter(&mut self, name: &str) {
        self.0.push(name.into());
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    fn joined(&self) -> String {
        self.0.join(".")
    }
}

/// Finds a model's parameters and what the config says about each.
struct Slots<'a> {
    path: Path,
    config: &'a OptimConfig,
    found: BTreeMap<String, Slot>,
}

impl ModuleVisitor for Slots<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // Running statistics and fixed tables stand in the record, but no gradient ever comes for them.
        if !param.is_require_grad() {
            return;
        }
        let (path, tensor) = (self.path.joined(), param.val().inner());
        let shared = self.config.shared();
        let settings = Settings::of(&path, shared.groups, shared.weight_decay);
        let slot = Slot {
            shape: tensor.dims().to_vec(),
            state_dtype: shared.state_dtype.resolve(tensor.dtype()),
            device: tensor.device(),
            settings,
            rule: self.config.rule(settings.weight_decay),
            state: None,
        };
        self.found.insert(path, slot);
    }
}

/// Takes the gradients out, in the model's order.
struct Take {
    path: Path,
    grads: GradientsParams,
    leaves: Vec<Leaf>,
}

impl ModuleVisitor for Take {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.remove::<D>(param.id) else { return };
        let shape = grad.dims().to_vec();
        let n: usize = shape.iter().product();
        let (weight, grad) = (param.val().inner().reshape([n]), grad.reshape([n]));
        self.leaves.push(Leaf { id: param.id, path: self.path.joined(), shape, weight, grad });
    }
}

/// Puts them back.
struct Give {
    grads: GradientsParams,
    leaves: Peekable<vec::IntoIter<Leaf>>,
}

impl ModuleVisitor for Give {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(leaf) = self.leaves.next_if(|leaf| leaf.id == param.id) {
            self.grads.register::<D>(leaf.id, leaf.grad.reshape(param.shape()));
        }
    }
}

/// Applies the rule to every parameter that has a gradient and is not frozen.
struct Update<'a> {
    path: Path,
    lr: f64,
    grads: GradientsParams,
    slots: &'a mut BTreeMap<String, Slot>,
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.is_require_grad() {
            return param;
        }
        let path = self.path.joined();
        let Some(slot) = self.slots.get_mut(&path) else {
            panic!("parameter {path:?} is not in the model that the chain was made for")
        };
        let Some(grad) = self.grads.remove::<D>(param.id).filter(|_| slot.settings.update) else { return param };

        let (id, tensor, mapper) = param.consume();
        let (required, checkpointing) = (tensor.is_require_grad(), tensor.gradient_checkpointing_strategy());
        let lr = self.lr * slot.settings.lr_scale;
        let (tensor, state) =
            slot.rule.step_dyn(D, lr, tensor.inner().into_bridge(), grad.into_bridge(), slot.state.take());
        slot.state = state;

        // The new value comes without the old one's autodiff settings.
        let mut tensor = Tensor::<D>::from_bridge(tensor);
        if let Some(strategy) = checkpointing {
            tensor = tensor.autodiff().with_gradient_checkpointing_strategy(strategy);
        }
        if required {
            tensor = tensor.autodiff().require_grad();
        }
        Param::from_mapped_value(id, tensor, mapper)
    }
}
