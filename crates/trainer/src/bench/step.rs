//! Where the time of a training step goes.
use std::time::Instant;

use crate::{task::clock, train::engine::Engine};

/// Milliseconds of one step by its phases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepTimes {
    /// Until the batch is on the device; what worker threads make ahead is not waited for.
    pub data_ms: f64,
    /// Through network and loss, and what the task does beside them.
    pub forward_ms: f64,
    /// Back to the gradients.
    pub backward_ms: f64,
    /// Transforms and rule.
    pub optimizer_ms: f64,
}

impl StepTimes {
    /// Makes one step and waits for the device after every phase.
    ///
    /// # Panics
    /// As [`Engine::pass`].
    pub fn measure(engine: &mut Engine) -> Self {
        let start = Instant::now();
        engine.train_batch(engine.state.step);
        engine.sync();
        let fed = Instant::now();
        let pass = clock::waiting(|| engine.pass());
        engine.sync();
        let passed = Instant::now();
        let backward_ms = 1e3 * pass.backward_s;
        engine.advance(pass);
        engine.sync();
        let ms = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1e3;
        Self {
            data_ms: ms(start, fed),
            forward_ms: ms(fed, passed) - backward_ms,
            backward_ms,
            optimizer_ms: ms(passed, Instant::now()),
        }
    }

    /// All phases together.
    pub fn total_ms(&self) -> f64 {
        self.data_ms + self.forward_ms + self.backward_ms + self.optimizer_ms
    }
}
