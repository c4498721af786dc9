//! What a forward pass knows about its surroundings.
use kiln_stream::{Draws, Stream};

/// The context of one forward pass, handed down from the network to its attention, maps and heads.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// Whether this pass belongs to a training step (dropout and noise are active).
    pub training: bool,
    /// The training step this pass belongs to; the stream number of every draw.
    pub step: u64,
    stream: Stream,
}

impl Ctx {
    /// The context of training step `step` in the run with this seed.
    pub fn train(seed: u64, step: u64) -> Self {
        Self { training: true, step, stream: Stream::new(seed, "forward") }
    }

    /// The context of an evaluation: nothing is drawn unless a map is stochastic by definition.
    pub fn eval(seed: u64, step: u64) -> Self {
        Self { training: false, ..Self::train(seed, step) }
    }

    /// The context of a part, such as `attention`: the same step, streams of its own.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        Self { stream: self.stream.child(name), ..self.clone() }
    }

    /// This part's draws of this step. Equal calls give equal draws.
    pub fn draws(&self) -> Draws {
        self.stream.at(self.step)
    }
}
