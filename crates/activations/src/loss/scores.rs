//! What a network's head gives for each class.
use std::fmt;

/// What the numbers are that a network's head gives for each class. A head declares it, and a loss says whether it can
/// read them ([`Objective::check_scores`](super::Objective::check_scores)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scores {
    /// Logarithms of weights up to a constant per row.
    Logits {
        /// What their size never exceeds, where there is such a number: the scale of cosines.
        bound: Option<f64>,
    },
    /// Logarithms of probabilities: never above 0.
    LogWeights,
    /// One signed distance per class to that class's boundary: above 0 is inside.
    Margins,
    /// One Gumbel deviate per class, whose distribution function is the class's probability.
    Gumbel,
}

impl Scores {
    /// Logits of any size.
    pub const LOGITS: Self = Self::Logits { bound: None };
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logits { .. } => "logits",
            Self::LogWeights => "logarithms of probabilities",
            Self::Margins => "margins, one per class",
            Self::Gumbel => "Gumbel deviates, one per class",
        })
    }
}

impl Scores {
    /// Refuses everything but logits.
    ///
    /// # Errors
    /// If they are something else; `why` says what the loss does with them.
    pub(super) fn only_logits(self, why: &str) -> Result<(), String> {
        match self {
            Self::Logits { .. } => Ok(()),
            other => Err(format!("reads logits ({why}), and the head gives {other}")),
        }
    }
}
