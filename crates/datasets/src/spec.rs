//! What a data set promises about its rows, known before any data is read.
use serde::Serialize;

/// The form of one input row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum InputSpec {
    /// A vector of zeros with some ones, kept as the places of the ones.
    OneHot {
        /// Length of the vector.
        width: usize,
        /// Ones per row.
        hot: usize,
    },
    /// A sequence of token ids.
    Tokens {
        /// Ids lie in `0..vocabulary`.
        vocabulary: usize,
        /// Tokens per row; of the longest rows, where batches differ.
        length: usize,
    },
    /// A sequence of tokens, each the sum of the embeddings of several ids.
    TokenSums {
        /// Ids lie in `0..vocabulary`.
        vocabulary: usize,
        /// Ids per token.
        parts: usize,
        /// Tokens per row; of the longest rows, where batches differ.
        length: usize,
    },
    /// A vector of real numbers.
    Floats {
        /// Length of the vector.
        width: usize,
    },
    /// A set of items, each a vector of real numbers; rows of different batches may hold different numbers of items.
    Items {
        /// Numbers per item.
        features: usize,
    },
    /// An image, values of mean 0 and standard deviation 1 or near it.
    Image {
        /// Values per pixel.
        channels: usize,
        /// Rows of pixels.
        height: usize,
        /// Columns of pixels.
        width: usize,
    },
}

/// What is asked about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Asks {
    /// One class per row.
    Class {
        /// Classes lie in `0..classes`.
        classes: usize,
    },
    /// A class at some places of each row, such as the next token at every one.
    Tokens {
        /// Classes lie in `0..classes`.
        classes: usize,
    },
    /// Real numbers, one vector per row.
    Values {
        /// Length of the vector.
        width: usize,
    },
}

impl Asks {
    /// Numbers in an answer: a logit per class, or the values themselves.
    pub fn outputs(self) -> usize {
        match self {
            Self::Class { classes } | Self::Tokens { classes } => classes,
            Self::Values { width } => width,
        }
    }

    /// Number of classes; `None` where the answers are real numbers.
    pub fn classes(self) -> Option<usize> {
        match self {
            Self::Class { classes } | Self::Tokens { classes } => Some(classes),
            Self::Values { .. } => None,
        }
    }
}

/// The form of a data set's rows; models and losses are checked against it before data is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// What a model receives.
    pub input: InputSpec,
    /// What it should answer.
    pub asks: Asks,
}
