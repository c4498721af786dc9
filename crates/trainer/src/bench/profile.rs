//! Time per phase of a training: what every step takes, and what is taken now and then.
use std::{path::Path, time::Instant};

use burn::module::Module;
use kiln_activations::Ctx;
use kiln_analyses::statistics::median;
use serde::Serialize;

use super::step::StepTimes;
use crate::{
    run::{checkpoint::Checkpoints, metrics::MetricsLog},
    train::engine::Engine,
};

/// One phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Phase {
    /// `data`, `forward`, `backward`, `optimizer`, `evaluation`, `logging` or `checkpoint`.
    pub phase: &'static str,
    /// Milliseconds each time, the median.
    pub ms: f64,
    /// Steps from one time to the next.
    pub every: u64,
    /// Milliseconds per step, spread over the steps between.
    pub ms_per_step: f64,
    /// Share of the whole.
    pub share: f64,
}

/// What is timed.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Steps that are timed.
    pub steps: usize,
    /// Steps before them.
    pub warmup: usize,
    /// Times that evaluation, logging and saving are timed.
    pub rows: usize,
}

/// Times the phases; `scratch` is a folder for a log and checkpoints that nobody keeps.
///
/// # Errors
/// If a measure does not apply to the run or the folder cannot be written.
pub fn profile(engine: &mut Engine, effort: &Effort, scratch: &Path) -> anyhow::Result<Vec<Phase>> {
    for _ in 0..effort.warmup {
        StepTimes::measure(engine);
    }
    let steps: Vec<StepTimes> = (0..effort.steps.max(1)).map(|_| StepTimes::measure(engine)).collect();
    let of = |phase: fn(&StepTimes) -> f64| median(&steps.iter().map(phase).collect::<Vec<_>>());
    let optimizer = of(|times| times.optimizer_ms);

    let (mut evaluation, mut logging, mut saving) = (Vec::new(), Vec::new(), Vec::new());
    let mut log = MetricsLog::open(&scratch.join("metrics.jsonl"), 0)?;
    // The sets are brought to the device once in a run.
    evaluate(engine);
    for _ in 0..effort.rows.max(1) {
        let evaluated = evaluate(engine);
        let pass = engine.pass();
        engine.sync();
        let start = Instant::now();
        let (row, next) = engine.row(pass)?;
        log.append(&row)?;
        engine.sync();
        let whole = 1e3 * start.elapsed().as_secs_f64();
        engine.adopt(next);
        evaluation.push(evaluated);
        // A row evaluates, and makes the step's update, which is counted where it belongs.
        logging.push((whole - evaluated - optimizer).max(0.0));
        let start = Instant::now();
        let files = engine.state.to_files(log.sync()?, 0.0)?;
        Checkpoints::of(scratch).save(engine.state.step, &files, 1)?;
        saving.push(1e3 * start.elapsed().as_secs_f64());
    }
    let (every_row, every_save) = (engine.experiment().eval.every, engine.experiment().train.checkpoint.every);
    let mut phases: Vec<Phase> = [
        ("data", of(|times| times.data_ms), 1),
        ("forward", of(|times| times.forward_ms), 1),
        ("backward", of(|times| times.backward_ms), 1),
        ("optimizer", optimizer, 1),
        ("evaluation", median(&evaluation), every_row),
        ("logging", median(&logging), every_row),
        ("checkpoint", median(&saving), every_save),
    ]
    .into_iter()
    .map(|(phase, ms, every)| Phase { phase, ms, every, ms_per_step: ms / every as f64, share: 0.0 })
    .collect();
    let whole: f64 = phases.iter().map(|phase| phase.ms_per_step).sum();
    for phase in &mut phases {
        phase.share = phase.ms_per_step / whole;
    }
    Ok(phases)
}

/// Milliseconds of a pass over every evaluation set.
fn evaluate(engine: &mut Engine) -> f64 {
    let (model, seed) = (engine.state.model.valid(), engine.experiment().run.seed);
    let ctx = Ctx::eval(seed, engine.state.step);
    engine.sync();
    let start = Instant::now();
    for set in engine.feed().source().eval_sets() {
        engine.evaluate(&model, set, &ctx, &mut []);
    }
    engine.sync();
    1e3 * start.elapsed().as_secs_f64()
}
