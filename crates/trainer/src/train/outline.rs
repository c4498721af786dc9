//! What a run would be, before it is one: its parameters, its memory, its steps, its data.
use std::path::PathBuf;

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};
use kiln_datasets::{Order, Split};
use kiln_models::{Model, parameters, visit_trained};
use serde::Serialize;

use super::engine::Engine;
use crate::{
    config::{self, Loaded},
    run::RunFolder,
};

/// What a run would be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outline {
    /// The folder it would be written to.
    pub folder: PathBuf,
    /// Whether the folder is there already.
    pub exists: bool,
    /// The trained parameters, in the network's order.
    pub parameters: Vec<Parameter>,
    /// Values of all trained parameters.
    pub trained: usize,
    /// Values of running statistics and fixed tables, which are kept but not trained.
    pub fixed: usize,
    /// What these and their updates take.
    pub memory: Memory,
    /// Steps to make.
    pub steps: u64,
    /// Passes over the training set that these are; none for a stream without an end.
    pub epochs: Option<f64>,
    /// Rows of a step; none is the whole training set.
    pub batch_size: Option<usize>,
    /// Logged rows, the first and the last included.
    pub logged_rows: u64,
    /// Rows of the training set; none if they never end.
    pub training_rows: Option<usize>,
    /// Evaluation sets and their rows.
    pub evaluation_sets: Vec<EvaluationSet>,
}

/// One trained tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Such as `blocks.0.attention.query.weight`.
    pub name: String,
    /// Its axes.
    pub shape: Vec<usize>,
    /// Its number format.
    pub dtype: String,
    /// Its number of values.
    pub values: usize,
}

/// Bytes between steps and during an update. What a pass keeps for its way back comes on top: it grows with the batch and is
/// not known before the pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Parameters, running statistics and fixed tables.
    pub parameters_bytes: usize,
    /// Their gradients.
    pub gradients_bytes: usize,
    /// The optimizer's state.
    pub optimizer_bytes: usize,
}

/// A set that is evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EvaluationSet {
    /// Its name, which begins its metrics.
    pub name: String,
    /// Its rows.
    pub rows: Option<usize>,
}

impl Outline {
    /// Looks at a built network. One step is made on a copy, with gradients of 0, since only its rule knows what it keeps.
    pub fn new(loaded: &Loaded, engine: &Engine, steps: u64) -> Self {
        let experiment = &loaded.experiment;
        let model = &engine.state.model;
        let mut trained = Shapes::default();
        visit_trained(model, &mut trained);
        let mut all = Shapes::default();
        model.visit(&mut all);
        let named = parameters(model).into_iter().zip(&trained.found).map(|(named, (shape, dtype, _))| Parameter {
            name: named.name,
            values: shape.iter().product(),
            shape: shape.clone(),
            dtype: dtype.clone(),
        });
        let parameters: Vec<Parameter> = named.collect();
        let mut zeros = Zeros { gradients: GradientsParams::new(), bytes: 0 };
        visit_trained(model, &mut zeros);
        let Zeros { gradients, bytes: gradients_bytes } = zeros;
        let mut chain = engine.state.chain.clone();
        let _: Model = chain.step(0, model.clone(), gradients);
        let source = engine.feed().source();
        let training_rows = source.len(Split::Train);
        let batch_size = experiment.train.batch_size;
        let epochs = training_rows.map(|rows| {
            let order = batch_size.map_or(Order::Full, |size| Order::Sequential { size });
            steps as f64 / order.steps_per_epoch(rows).max(1) as f64
        });
        let folder = experiment.run.dir.join(RunFolder::name(&config::stem(&loaded.path), experiment));
        Self {
            exists: folder.exists(),
            folder,
            trained: parameters.iter().map(|parameter| parameter.values).sum(),
            fixed: all.values() - trained.values(),
            parameters,
            memory: Memory { parameters_bytes: all.bytes(), gradients_bytes, optimizer_bytes: chain.state_bytes() },
            steps,
            epochs,
            batch_size,
            // Rows 0, every, 2 every …, and the last one if it is none of these.
            logged_rows: steps / experiment.eval.every + 1 + u64::from(!steps.is_multiple_of(experiment.eval.every)),
            training_rows,
            evaluation_sets: source
                .eval_sets()
                .into_iter()
                .map(|set| EvaluationSet { name: set.to_string(), rows: source.len(set) })
                .collect(),
        }
    }
}

/// Shape, number format and bytes of each float parameter.
#[derive(Default)]
struct Shapes {
    found: Vec<(Vec<usize>, String, usize)>,
}

impl Shapes {
    fn values(&self) -> usize {
        self.found.iter().map(|(shape, ..)| shape.iter().product::<usize>()).sum()
    }

    fn bytes(&self) -> usize {
        self.found.iter().map(|(_, _, bytes)| bytes).sum()
    }
}

impl ModuleVisitor for Shapes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let shape = value.dims().to_vec();
        let bytes = shape.iter().product::<usize>() * value.dtype().size();
        self.found.push((shape, value.dtype().name().to_owned(), bytes));
    }
}

/// Gradients of 0 for all that is trained.
struct Zeros {
    gradients: GradientsParams,
    bytes: usize,
}

impl ModuleVisitor for Zeros {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            let zeros = param.val().inner().zeros_like();
            self.bytes += zeros.dims().iter().product::<usize>() * zeros.dtype().size();
            self.gradients.register::<D>(param.id, zeros);
        }
    }
}
