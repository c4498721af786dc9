//! What the network should have said.
use std::fmt;

use burn::tensor::{Int, Tensor};

use crate::normalizer::composed;

/// What the network should have said: one kind for a whole run. [`Objective::targets`](super::Objective::targets) names the
/// kinds a loss takes.
#[derive(Clone, Debug)]
pub enum Target {
    /// The class of each row (`[rows]`), from 0 to the number of logits − 1.
    Classes(Tensor<1, Int>),
    /// A distribution over the classes for each row (`[rows, classes]`), such as a teacher's: not negative, of sum 1.
    Soft(Tensor<2>),
    /// Which labels each row has (`[rows, classes]`), 1 or 0, any number of them; or how relevant each is, for a loss that
    /// weighs them.
    Labels(Tensor<2>),
    /// A number for each output of each row (`[rows, outputs]`).
    Values(Tensor<2>),
}

/// The kinds of [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// [`Target::Classes`]
    Classes,
    /// [`Target::Soft`]
    Soft,
    /// [`Target::Labels`]
    Labels,
    /// [`Target::Values`]
    Values,
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classes => "classes",
            Self::Soft => "distributions over classes",
            Self::Labels => "labels",
            Self::Values => "values",
        })
    }
}

impl Target {
    /// Its kind.
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Classes(_) => TargetKind::Classes,
            Self::Soft(_) => TargetKind::Soft,
            Self::Labels(_) => TargetKind::Labels,
            Self::Values(_) => TargetKind::Values,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.dims()[0],
            Self::Soft(rows) | Self::Labels(rows) | Self::Values(rows) => rows.dims()[0],
        }
    }

    /// The class of each row (`[rows]`).
    ///
    /// # Panics
    /// If the target is of another kind.
    pub fn classes(&self) -> &Tensor<1, Int> {
        match self {
            Self::Classes(classes) => classes,
            other => panic!("a loss of classes got {}", other.kind()),
        }
    }

    /// A number for each logit (`[rows, classes]`), in the dtype of the logits: a class as its one-hot row.
    ///
    /// # Panics
    /// If the target is of another shape than the logits.
    pub(super) fn matrix(&self, logits: &Tensor<2>) -> Tensor<2> {
        match self {
            Self::Classes(classes) => {
                logits.clone().detach().zeros_like().mask_fill(composed::is_class(classes, logits), 1.0)
            }
            Self::Soft(rows) | Self::Labels(rows) | Self::Values(rows) => {
                assert_eq!(rows.dims(), logits.dims(), "targets ({}) and logits have the same shape", self.kind());
                rows.clone().cast(logits.dtype())
            }
        }
    }

    /// The relevance of each label (`[rows, classes]`), in the dtype of the logits, over the number of the row's labels; a row
    /// without labels is 0.
    ///
    /// # Panics
    /// If the target is of another shape than the logits.
    pub(super) fn relevances(&self, logits: &Tensor<2>) -> Tensor<2> {
        let matrix = self.matrix(logits);
        let positive = matrix.clone().greater_elem(0.0);
        let count = matrix.clone().zeros_like().mask_fill(positive, 1.0).sum_dim(1);
        matrix / count.clamp_min(1.0)
    }

    /// The share of each class (`[rows, classes]`), in the dtype of the logits: a class is all of its row, each label of a row
    /// an equal part of it, and a row without labels is 0.
    ///
    /// # Panics
    /// If the target is of another shape than the logits.
    pub(super) fn shares(&self, logits: &Tensor<2>) -> Tensor<2> {
        let matrix = self.matrix(logits);
        match self {
            Self::Labels(_) => {
                let count = matrix.clone().sum_dim(1);
                let none = count.clone().equal_elem(0.0);
                matrix / count.mask_fill(none, 1.0)
            }
            _ => matrix,
        }
    }
}
