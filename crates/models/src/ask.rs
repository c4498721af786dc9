//! What is asked of a network.
use burn::tensor::{Int, Tensor};
use kiln_activations::loss::Target;

/// What is asked of a network about a batch.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Where its answers are read.
    pub at: At,
    /// The right answers, while training: a head with a margin moves the logit of the right class, one that samples
    /// classes keeps it. `None` while evaluating.
    pub target: Option<Target>,
}

impl Ask {
    /// One answer per row, and no help.
    pub fn row() -> Self {
        Self::default()
    }

    /// An answer at each of the places, and no help.
    pub fn places(places: Tensor<1, Int>) -> Self {
        Self { at: At::Places(places), target: None }
    }

    /// For a network that has one answer per row and none at places.
    ///
    /// # Panics
    /// If places are asked for.
    pub(crate) fn expect_rows(&self, network: &str) {
        assert!(matches!(self.at, At::Row), "{network} answers once per row, not at places");
    }

    /// The same question by a teacher who says the answers.
    #[must_use]
    pub fn knowing(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }
}

/// Where a network's answers are read.
#[derive(Clone, Debug, Default)]
#[expect(clippy::large_enum_variant, reason = "there is one per batch")]
pub enum At {
    /// One answer per row of the batch.
    #[default]
    Row,
    /// An answer at each of these places of the flattened batch: token t of a row r of `length` tokens is place
    /// `r · length + t`; `[answers]`.
    Places(Tensor<1, Int>),
}
