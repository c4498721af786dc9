//! `kiln bench`.
use std::time::Instant;

use clap::{Args, Subcommand};

use super::{ConfigArgs, Global, print};
use crate::{Result, config, train};

mod activations;

/// Measure speed.
#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    verb: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// One training step of a config: median and minimum, and where the time goes.
    Step {
        #[command(flatten)]
        config: ConfigArgs,
        /// Steps that are timed.
        #[arg(long, default_value_t = 30)]
        steps: usize,
        /// Steps before them.
        #[arg(long, default_value_t = 5)]
        warmup: usize,
        /// Print an object.
        #[arg(long)]
        json: bool,
    },
    /// Throughput of the maps, beside that of a copy of as many bytes.
    Activations(activations::Activations),
}

impl Bench {
    /// Measures and prints.
    ///
    /// # Errors
    /// If the config does not say what Kiln can do.
    pub fn run(self, global: &Global) -> Result<()> {
        let (config, steps, warmup, json) = match self.verb {
            Kind::Step { config, steps, warmup, json } => (config, steps, warmup, json),
            Kind::Activations(verb) => return verb.run(global),
        };
        let loaded = config::load(&config.config, &global.sets(&config.set))?;
        let resolved = config::resolve(&loaded)?;
        train::set_threads(loaded.experiment.run.threads);
        let mut engine = train::build(&loaded, resolved.source, &resolved.device)?;
        let (mut pass_ms, mut update_ms, mut step_ms) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..warmup + steps.max(1) {
            let start = Instant::now();
            let pass = engine.pass();
            let middle = Instant::now();
            engine.advance(pass);
            engine.sync();
            let end = Instant::now();
            if i >= warmup {
                pass_ms.push((middle - start).as_secs_f64() * 1e3);
                update_ms.push((end - middle).as_secs_f64() * 1e3);
                step_ms.push((end - start).as_secs_f64() * 1e3);
            }
        }
        let minimum = step_ms.iter().copied().fold(f64::INFINITY, f64::min);
        let median = kiln_analyses::statistics::median;
        let result = serde_json::json!({
            "median_ms": median(&step_ms),
            "min_ms": minimum,
            "phases": { "forward_backward": median(&pass_ms), "optimizer": median(&update_ms) },
            "steps": step_ms.len(),
            "threads": rayon::current_num_threads(),
        });
        if json {
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
