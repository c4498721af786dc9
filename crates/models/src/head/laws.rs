//! What a head promises.
use kiln_activations::loss::Scores;

/// What a head promises at its parameters. The checks of a config and the shared tests go by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Laws {
    /// What its numbers are.
    pub scores: Scores,
    /// Whether training moves or leaves out logits by the right class of a row, so that there must be one.
    pub needs_classes: bool,
    /// Whether, while training, a row's logits or the terms the head adds to the loss depend on the other rows of the batch.
    pub batch_coupled: bool,
    /// Whether the gradient is that of what is computed; otherwise something in it counts as a constant.
    pub exact_gradient: bool,
}

impl Laws {
    /// Those of a dense layer.
    pub const LINEAR: Self =
        Self { scores: Scores::LOGITS, needs_classes: false, batch_coupled: false, exact_gradient: true };

    /// Those of cosines times a scale.
    pub const fn cosines(scale: f64) -> Self {
        Self { scores: Scores::Logits { bound: Some(scale) }, ..Self::LINEAR }
    }
}
