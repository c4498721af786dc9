//! Where a head stands.
use kiln_activations::Init;

use crate::block::{Draw, Linear};

/// The place of a head in its network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Site {
    /// Width of the features.
    pub features: usize,
    /// Number of logits.
    pub outputs: usize,
    /// Whether a dense head has a bias here.
    pub bias: bool,
    /// How the network draws the first values of dense layers.
    pub draw: Draw,
}

impl Site {
    /// The dense layer of this place, drawn under `init`.
    pub fn linear(&self, init: &Init) -> Linear {
        Linear::new(init, [self.features, self.outputs], self.bias, self.draw)
    }
}
