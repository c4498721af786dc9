//! The end of a network that has a plain output layer under a name of its own.
use burn::tensor::Tensor;
use kiln_activations::{Ctx, Init};

use super::{Head, HeadConfig, Site, answer};
use crate::{Ask, block::Linear, kernel::Epilogue};

/// Either of the two ends of such a network: its output layer, which is the linear head, or another head. Networks that were
/// there before the heads keep the name of their layer, so that weights and first values stay what they were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends<'a> {
    /// The network's own layer.
    pub(crate) output: Option<&'a Linear>,
    /// The head in its place.
    pub(crate) head: Option<&'a Head>,
}

impl Ends<'_> {
    /// As [`Head::answer`].
    ///
    /// # Panics
    /// If there is neither end.
    pub(crate) fn answer(&self, features: Tensor<2>, ask: &Ask, ctx: &Ctx) -> Tensor<2> {
        answer(self.head, features, ask, ctx, |features| self.output().forward(features, Epilogue::None))
    }

    /// The vectors that stand for the outputs.
    ///
    /// # Panics
    /// If there is neither end.
    pub(crate) fn unembedding(&self) -> Option<Tensor<2>> {
        match self.head {
            Some(head) => head.unembedding(),
            None => Some(self.output().weight.val().transpose()),
        }
    }

    fn output(&self) -> &Linear {
        self.output.expect("a network without another head has an output layer")
    }
}

impl HeadConfig {
    /// The ends of a network whose output layer is called `name`: exactly one of the two.
    pub(crate) fn ends(&self, site: &Site, init: &Init, name: &str) -> (Option<Linear>, Option<Head>) {
        (self.is_linear().then(|| site.linear(&init.child(name))), self.beside_plain(site, init))
    }
}
