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
        /// Tokens per row.
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

/// The form of a data set's rows; models and losses are checked against it before data is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// What a model receives.
    pub input: InputSpec,
    /// Targets lie in `0..classes`.
    pub classes: usize,
}
