//! One training step and one logged row, without files, clocks or signals.
use std::sync::Arc;

use burn::{
    module::Module,
    tensor::{DType, Device, Tensor},
};
use kiln_activations::{Ctx, Init, Probe, Record, loss::Loss};
use kiln_datasets::{BatchSource, Split};
use kiln_models::Model;

use super::{
    feed::{DeviceBatch, Feed, io},
    pieces::pieces,
    snapshot::{self, Scored, Snapshot},
    state::TrainState,
};
use crate::{
    config::schema::Experiment,
    measure::{Seen, Set, Watcher},
    run::metrics::Row,
    task::{Misfit, Pass, Task},
};

/// Model, data, loss and optimizer of one run.
pub struct Engine {
    experiment: Experiment,
    feed: Feed,
    loss: Loss,
    device: Device,
    /// Made when it is first needed: an evaluation needs no teacher.
    task: Option<Box<dyn Task>>,
    /// Parameters and optimizer; replaced as a whole when a run is resumed.
    pub state: TrainState,
}

/// What a pass over an evaluation set found.
pub struct Evaluated {
    /// The answers beside the right ones.
    pub scored: Scored,
    /// Their mean loss.
    pub loss: f64,
}

/// A made step that is not yet adopted: what the state becomes if the run goes on.
pub struct Next(TrainState);

impl Engine {
    /// Builds the initial state of an experiment that [`resolve`](crate::config::resolve) has checked.
    ///
    /// # Errors
    /// If the optimizer does not fit the network's parameters; the key is relative to `[optim]`.
    pub fn new(
        experiment: Experiment,
        source: Box<dyn BatchSource>,
        device: &Device,
    ) -> Result<Self, kiln_optimizers::Invalid> {
        let training = device.clone().autodiff();
        let dtype: DType = experiment.model.dtype();
        let seed = experiment.run.seed;
        let io = io(source.spec());
        let feed = Feed::new(source, seed, experiment.train.batch_size, experiment.run.workers, device, dtype);
        let init = Init::new(seed, &training, dtype);
        let model = experiment.model.init((&io, &init.child("model")));
        let loss = experiment.loss.init(&init.child("loss"));
        let chain = experiment.optim.init(&model)?;
        let state = TrainState { model, chain, step: 0 };
        Ok(Self { state, experiment, feed, loss, device: device.clone(), task: None })
    }

    /// Makes the task ready, with what it needs beside the data.
    ///
    /// # Errors
    /// If something it needs, such as a teacher, is not there.
    pub fn prepare(&mut self) -> Result<&dyn Task, Misfit> {
        let task = match self.task.take() {
            Some(task) => task,
            None => {
                let io = io(self.feed.source().spec());
                self.experiment.task.init(&self.experiment, &io, &self.device)?
            }
        };
        Ok(&**self.task.insert(task))
    }

    /// The experiment.
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// The data.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The training batch of a step.
    pub fn train_batch(&mut self, step: u64) -> Arc<DeviceBatch> {
        self.feed.train(step)
    }

    /// From now on every step sees the batch of the first one.
    pub fn hold_first_batch(&mut self) {
        self.feed.hold(0);
    }

    /// The training loss.
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Number of trained values.
    pub fn parameters(&self) -> usize {
        self.state.model.num_params()
    }

    /// Forward and backward pass of the step that starts at the present state.
    ///
    /// # Panics
    /// If the task cannot be made ready; call [`Engine::prepare`] first.
    pub fn pass(&mut self) -> Pass {
        if self.task.is_none() {
            self.prepare().unwrap_or_else(|misfit| panic!("task.{}: {}", misfit.key, misfit.message));
        }
        let step = self.state.step;
        let batch = self.feed.train(step);
        let ctx = Ctx::train(self.experiment.run.seed, step);
        let task = self.task.as_ref().expect("it was made ready above");
        task.pass(&self.state.model, &self.loss, &batch, &ctx)
    }

    /// Applies a pass to the present state.
    pub fn advance(&mut self, pass: Pass) {
        let TrainState { model, chain, step } = &mut self.state;
        *model = chain.step(*step, model.clone(), pass.gradients);
        *step += 1;
    }

    /// Measures the present state, given the pass that starts at it. The step is made on a copy, since the
    /// row holds its update; [`Engine::adopt`] makes it real.
    ///
    /// # Errors
    /// If a measure does not apply to this run.
    pub fn row(&mut self, pass: Pass) -> anyhow::Result<(Row, Next)> {
        let step = self.state.step;
        let batch = self.feed.train(step);
        let mut row = Row::new(step);
        row.push("train_loss", host(&pass.loss)[0]);
        for (name, value) in &pass.terms {
            row.push(format!("train_{name}"), host(value)[0]);
        }
        let train = Scored::new(&self.loss, &pass.logits, batch.classes.as_deref());
        let seed = self.experiment.run.seed;
        let (model, ctx) = (self.state.model.valid(), Ctx::eval(seed, step));
        // A head that moves the right class's logit is asked again without being told.
        let told = self.experiment.model.head().is_some_and(|head| head.laws().needs_classes);
        let untold = told.then(|| Scored::new(&self.loss, &answers(&model, &batch, &ctx), batch.classes.as_deref()));
        if let Some(accuracy) = untold.as_ref().unwrap_or(&train).accuracy() {
            row.push("train_accuracy", accuracy);
        }

        let (mut sets, mut watched) = (Vec::new(), Vec::new());
        for set in self.feed.source().eval_sets() {
            let batch = self.feed.eval(set);
            let passing = Set { source: self.feed.source(), split: set, batch: &batch };
            let measures = &self.experiment.eval.measures;
            let mut watchers: Vec<_> = measures.iter().map(|measure| measure.watch(&passing)).collect();
            let Evaluated { scored, loss } = self.evaluate(&model, set, &ctx, &mut watchers);
            row.push(format!("{set}_loss"), loss);
            if let Some(accuracy) = scored.accuracy() {
                row.push(format!("{set}_accuracy"), accuracy);
            }
            sets.push((set, scored));
            watched.push((set, watchers));
        }
        row.push("lr", self.state.chain.lr(step));

        let measures = &self.experiment.eval.measures;
        let before = (!measures.is_empty()).then(|| snapshot::Before::read(&self.state.model, &pass.gradients));
        let logits = pass.logits.clone();
        let loss_rows = pass.loss_rows.clone();
        let mut next = self.state.clone();
        next.model = next.chain.step(step, next.model, pass.gradients);
        next.step += 1;

        if let Some(before) = before {
            let snapshot = Snapshot {
                train,
                sets,
                logits,
                target: batch.target.clone(),
                loss_rows,
                updates: snapshot::updates(&before.weights, &next.model),
                before,
                loss: &self.loss,
                model: &model,
                chain: &next.chain,
                source: self.feed.source(),
                cache: snapshot::Cache::default(),
            };
            for (i, measure) in measures.iter().enumerate() {
                measure.measure(&snapshot, &mut row)?;
                for (set, watchers) in &watched {
                    watchers[i].iter().for_each(|watcher| watcher.report(*set, &mut row));
                }
            }
        }
        Ok((row, Next(next)))
    }

    /// Makes a measured step real.
    pub fn adopt(&mut self, next: Next) {
        self.state = next.0;
    }

    /// Waits until the device has done everything it was asked to.
    ///
    /// # Panics
    /// If the device fails.
    pub fn sync(&self) {
        self.device.sync().expect("the device ends its work");
    }

    /// All rows of a set that ends.
    pub fn batch(&mut self, set: Split) -> Arc<DeviceBatch> {
        self.feed.eval(set)
    }

    /// Passes a whole evaluation set through `model` (on the inference device), while `watchers` look on.
    pub fn evaluate(
        &mut self,
        model: &Model,
        set: Split,
        ctx: &Ctx,
        watchers: &mut [Option<Box<dyn Watcher>>],
    ) -> Evaluated {
        let batch = self.feed.eval(set);
        let wanted: Vec<_> = watchers.iter().flatten().map(|watcher| watcher.wants()).collect();
        let probe = (!wanted.is_empty()).then(|| Probe::of(wanted));
        let answers = passes(model, &batch, batch.input.rows(), ctx, probe.as_ref()).map(|piece| {
            for record in &piece.records {
                let seen = Seen::new(record, piece.first_row);
                let wanting = watchers.iter_mut().flatten().filter(|watcher| watcher.wants() == record.name);
                wanting.for_each(|watcher| watcher.see(&seen));
            }
            piece.logits
        });
        let logits = Tensor::cat(answers.collect(), 0);
        let judge = self.loss.valid();
        let loss = judge.forward(logits.clone(), &batch.target);
        Evaluated { scored: Scored::new(&judge, &logits, batch.classes.as_deref()), loss: host(&loss.mean)[0] }
    }
}

/// The logits of a whole batch under `model` (on the inference device), which is not told the right answers.
fn answers(model: &Model, batch: &DeviceBatch, ctx: &Ctx) -> Tensor<2> {
    Tensor::cat(passes(model, batch, batch.input.rows(), ctx, None).map(|piece| piece.logits).collect(), 0)
}

/// What came of some rows of a batch.
pub struct Piece {
    /// The first of the rows.
    pub first_row: usize,
    /// Their answers.
    pub logits: Tensor<2>,
    /// What a probe saw of them.
    pub records: Vec<Record>,
}

/// Passes the first rows of a batch through `model` (on the inference device), piece after piece, since the attention weights of
/// a whole set of long rows would not fit into memory.
pub fn passes<'a>(
    model: &'a Model,
    batch: &'a DeviceBatch,
    rows: usize,
    ctx: &Ctx,
    probe: Option<&'a Probe>,
) -> impl Iterator<Item = Piece> + 'a {
    let ctx = probe.map_or_else(|| ctx.clone(), |probe| ctx.clone().with_probe(probe));
    // An empty batch is one empty piece.
    pieces(&batch.input).take_while(move |piece| piece.start < rows.max(1)).map(move |piece| {
        let first_row = piece.start;
        let (input, ask) = batch.part(first_row..piece.end.min(rows));
        let logits = model.forward(&input, &ask, &ctx);
        Piece { first_row, logits, records: probe.map(Probe::take).unwrap_or_default() }
    })
}

/// A tensor's values on the host, as f64, row-major.
pub fn host<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}
