//! `kiln bench step`.
use clap::Args;
use kiln_analyses::statistics::{mean, median};
use kiln_models::At;

use super::super::{ConfigArgs, Global, print};
use crate::{
    Result,
    bench::{step::StepTimes, values},
    config,
    train::{
        self,
        engine::{Engine, host},
    },
};

/// One training step of a config: median and minimum, and where the time goes.
#[derive(Debug, Args)]
pub struct Step {
    #[command(flatten)]
    config: ConfigArgs,
    /// Steps that are timed.
    #[arg(long, default_value_t = 30)]
    steps: usize,
    /// Steps before them.
    #[arg(long, default_value_t = 5)]
    warmup: usize,
    /// Print, instead of times, what the first pass receives and gives, as an object: the batch, the loss, every parameter
    /// and its gradient. For a comparison with another implementation; choose a small model.
    #[arg(long)]
    values: bool,
    /// Print an object.
    #[arg(long)]
    json: bool,
}

impl Step {
    /// Measures and prints.
    ///
    /// # Errors
    /// If the config does not say what Kiln can do.
    pub fn run(self, global: &Global) -> Result<()> {
        let loaded = config::load(&self.config.config, &global.sets(&self.config.set))?;
        let resolved = config::resolve(&loaded)?;
        train::set_threads(loaded.experiment.run.threads);
        let mut engine = train::ready(&loaded, resolved.source, &resolved.device)?;
        if self.values {
            print(first_pass(&mut engine));
            return Ok(());
        }
        let mut times = Vec::new();
        for i in 0..self.warmup + self.steps.max(1) {
            let step = StepTimes::measure(&mut engine);
            if i >= self.warmup {
                times.push(step);
            }
        }
        let all = |of: fn(&StepTimes) -> f64| times.iter().map(of).collect::<Vec<f64>>();
        let step_ms = all(StepTimes::total_ms);
        let pass_ms = all(|times| times.total_ms() - times.optimizer_ms);
        let update_ms = all(|times| times.optimizer_ms);
        let minimum = step_ms.iter().copied().fold(f64::INFINITY, f64::min);
        let result = serde_json::json!({
            "median_ms": median(&step_ms),
            "min_ms": minimum,
            "mean_ms": mean(&step_ms),
            "phases": { "forward_backward": median(&pass_ms), "optimizer": median(&update_ms) },
            "steps": step_ms.len(),
            "threads": rayon::current_num_threads(),
        });
        if self.json {
            print(result);
        } else {
            print(format_args!(
                "step {:.2} ms (median of {}, minimum {minimum:.2}): forward and backward {:.2}, optimizer {:.2}",
                median(&step_ms),
                step_ms.len(),
                median(&pass_ms),
                median(&update_ms),
            ));
        }
        Ok(())
    }
}

fn first_pass(engine: &mut Engine) -> serde_json::Value {
    let step = engine.state.step;
    let pass = engine.pass();
    let batch = engine.train_batch(step);
    let [parameters, gradients] = values::module(&engine.state.model, &pass.gradients);
    let places = match &batch.ask.at {
        At::Row => serde_json::Value::Null,
        At::Places(places) => values::whole(places),
    };
    serde_json::json!({
        "input": values::input(&batch.input),
        "places": places,
        "classes": batch.classes,
        "loss": host(&pass.loss)[0],
        "logits": values::tensor(&pass.logits),
        "parameters": parameters,
        "gradients": gradients,
    })
}
