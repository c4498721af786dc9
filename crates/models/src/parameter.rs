//! A module's parameters by name.
use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    tensor::Tensor,
};

use crate::block::RUNNING;

/// A float parameter of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedParameter {
    /// Path from the module's root, such as `blocks.0.attention.query.weight`. The names of enum variants,
    /// which Burn's records carry, are left out, so that the same part has the same name in every network.
    pub name: String,
    /// The path without its last part: `blocks.0.attention.query`.
    pub layer: String,
    /// Burn's identifier, under which gradients and optimizer state are filed.
    pub id: ParamId,
    /// Number of axes: 2 for matrices, 1 for biases and scales.
    pub rank: usize,
}

/// Every trained parameter, in the order of the module's fields.
pub fn parameters<M: Module>(module: &M) -> Vec<NamedParameter> {
    let mut visitor = Names::default();
    visit_trained(module, &mut visitor);
    visitor.found
}

/// Shows a visitor the trained parameters, those that [`parameters`] names: all but running statistics
/// ([`Running`](crate::block::Running)).
pub fn visit_trained<M: Module, V: ModuleVisitor>(module: &M, visitor: &mut V) {
    module.visit(&mut Trained { visitor, running: false });
}

struct Trained<'a, V> {
    visitor: &'a mut V,
    running: bool,
}

impl<V: ModuleVisitor> ModuleVisitor for Trained<'_, V> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.running |= container_type == RUNNING;
        self.visitor.enter_module(name, container_type);
    }

    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.running &= container_type != RUNNING;
        self.visitor.exit_module(name, container_type);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.running {
            self.visitor.visit_float(param);
        }
    }
}

#[derive(Default)]
struct Names {
    path: Vec<String>,
    found: Vec<NamedParameter>,
}

fn is_variant(container_type: &str) -> bool {
    container_type.starts_with("Enum:")
}

impl ModuleVisitor for Names {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        if !is_variant(container_type) {
            self.path.push(name.into());
        }
    }

    fn exit_module(&mut self, _: &str, container_type: &str) {
        if !is_variant(container_type) {
            self.path.pop();
        }
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let layer = self.path.len().saturating_sub(1);
        self.found.push(NamedParameter {
            name: self.path.join("."),
            layer: self.path[..layer].join("."),
            id: param.id,
            rank: D,
        });
    }
}
