//! What a forward pass knows about its surroundings.
use burn::tensor::Tensor;
use kiln_stream::{Draws, Stream};

use crate::{Keep, LossTerms, Probe};

/// The context of one forward pass, handed down from the network to its attention, maps and heads.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// Whether this pass belongs to a training step (dropout and noise are active).
    pub training: bool,
    /// The training step this pass belongs to; the stream number of every draw.
    pub step: u64,
    stream: Stream,
    probe: Option<Probe>,
    terms: Option<LossTerms>,
}

impl Ctx {
    /// The context of training step `step` in the run with this seed.
    pub fn train(seed: u64, step: u64) -> Self {
        Self { training: true, step, stream: Stream::new(seed, "forward"), probe: None, terms: None }
    }

    /// The context of an evaluation: nothing is drawn unless a map is stochastic by definition.
    pub fn eval(seed: u64, step: u64) -> Self {
        Self { training: false, ..Self::train(seed, step) }
    }

    /// The same pass with a probe, which keeps what the parts [`record`](Self::record).
    #[must_use]
    pub fn with_probe(self, probe: &Probe) -> Self {
        Self { probe: Some(probe.clone()), ..self }
    }

    /// The same pass with somebody who adds what the parts [`add`](Self::add_loss) to the loss.
    #[must_use]
    pub fn with_loss_terms(self, terms: &LossTerms) -> Self {
        Self { terms: Some(terms.clone()), ..self }
    }

    /// Adds a term (`[1]`) to the training loss, such as a head's penalty. Outside of training the term is not even made.
    pub fn add_loss(&self, name: &str, value: impl FnOnce() -> Tensor<1>) {
        if let (Some(terms), true) = (&self.terms, self.training) {
            terms.add(name, value());
        }
    }

    /// Hands a tensor to the probe, if there is one that wants it; else the tensor is not even made. `keep` says which entries
    /// of its rows over the last axis take part.
    pub fn record<const D: usize>(&self, name: &str, keep: &Keep, tensor: impl FnOnce() -> Tensor<D>) {
        if let Some(probe) = self.probe.as_ref().filter(|_| self.wants(name)) {
            probe.add(self.stream.path(), name, keep, tensor());
        }
    }

    /// Whether a probe waits for what is recorded under this name.
    pub fn wants(&self, name: &str) -> bool {
        self.probe.as_ref().is_some_and(|probe| probe.wants(name))
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_pass_without_a_probe_makes_nothing() {
        Ctx::eval(0, 0).record::<2>("attention", &Keep::All, || panic!("nobody asked for it"));
    }

    #[test]
    fn records_are_taken_once_detached_and_under_their_part() {
        let device = Device::flex().autodiff();
        let probe = Probe::default();
        let ctx = Ctx::train(3, 5).with_probe(&probe);
        let tensor = Tensor::<4>::ones([2, 1, 3, 4], &device).require_grad();
        for part in ["a", "b"] {
            ctx.child("blocks").child(part).record("attention", &Keep::All, || tensor.clone() * 2.0);
        }
        let records = probe.take();
        let paths: Vec<&str> = records.iter().map(|record| record.path.as_str()).collect();
        assert_eq!(paths, ["blocks.a", "blocks.b"]);
        assert!(!records[0].rows.is_require_grad());
        assert_eq!((records[0].rows.dims(), records[0].shape.clone()), ([6, 4], vec![2, 1, 3, 4]));
        assert!(probe.take().is_empty());
        // Being watched changes no draw.
        assert_eq!(ctx.child("x").draws().word(), Ctx::train(3, 5).child("x").draws().word());
    }
}
