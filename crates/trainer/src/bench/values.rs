//! What a pass received and gave, as JSON, so that another implementation can be held against it.
use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{Int, Tensor},
};
use kiln_models::{Input, parameters, visit_trained};
use serde_json::{Map, Value, json};

use crate::train::engine::host;

/// A tensor: `{"shape": […], "values": […]}`, row-major.
pub fn tensor<const D: usize>(tensor: &Tensor<D>) -> Value {
    json!({ "shape": tensor.dims().as_slice(), "values": host(tensor) })
}

/// A tensor of whole numbers, in the same form.
pub fn whole<const D: usize>(tensor: &Tensor<D, Int>) -> Value {
    json!({ "shape": tensor.dims().as_slice(), "values": tensor.to_data().iter::<i64>().collect::<Vec<_>>() })
}

/// A network's input in the same form, with its `kind`.
pub fn input(input: &Input) -> Value {
    let mut value = match input {
        Input::OneHot(indices) => whole(indices),
        Input::Tokens(tokens) => whole(tokens),
        Input::TokenSums { ids, .. } => whole(ids),
        Input::Floats(values) => tensor(values),
        Input::Items(values) => tensor(values),
        Input::Image(values) => tensor(values),
    };
    value["kind"] = input.kind().into();
    value
}

/// The trained parameters of a module by name, and their gradients: 0 for those that the loss does not reach.
pub fn module<M: Module>(module: &M, gradients: &GradientsParams) -> [Value; 2] {
    let mut visitor = Visitor { gradients, found: Vec::new() };
    visit_trained(module, &mut visitor);
    let (mut of_parameters, mut of_gradients) = (Map::new(), Map::new());
    for (parameter, [value, gradient]) in parameters(module).into_iter().zip(visitor.found) {
        of_parameters.insert(parameter.name.clone(), value);
        of_gradients.insert(parameter.name, gradient);
    }
    [of_parameters.into(), of_gradients.into()]
}

struct Visitor<'a> {
    gradients: &'a GradientsParams,
    found: Vec<[Value; 2]>,
}

impl ModuleVisitor for Visitor<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let gradient = self.gradients.get::<D>(param.id).unwrap_or_else(|| value.zeros_like());
        self.found.push([tensor(&value), tensor(&gradient)]);
    }
}
