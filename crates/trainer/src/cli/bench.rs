//! `kiln bench`.
use clap::{Args, Subcommand};

use super::Global;
use crate::Result;

mod activations;
mod attention;
mod step;

/// Measure speed and memory.
#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    verb: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// One training step of a config: median and minimum, and where the time goes.
    Step(step::Step),
    /// Throughput of the maps, beside that of a copy of as many bytes.
    Activations(activations::Activations),
    /// Time and memory of one attention layer over the sequence length.
    Attention(attention::Attention),
}

impl Bench {
    /// Measures and prints.
    ///
    /// # Errors
    /// If what is to be measured is not what Kiln can do.
    pub fn run(self, global: &Global) -> Result<()> {
        match self.verb {
            Kind::Step(verb) => verb.run(global),
            Kind::Activations(verb) => verb.run(global),
            Kind::Attention(verb) => verb.run(global),
        }
    }
}
