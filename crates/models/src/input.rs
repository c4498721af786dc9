//! What goes into a network, as tensors and as a description.
use std::{fmt, ops::Range};

use burn::tensor::{Int, Tensor};

/// A batch of inputs on the device; the first axis is the row of the batch.
#[derive(Clone, Debug)]
pub enum Input {
    /// Sums of one-hot vectors, kept as the hot indices: `[rows, hot]`. The pair (a, b) of two
    /// concatenated one-hots of width p is `[a, p + b]`. An index that occurs twice counts twice.
    OneHot(Tensor<2, Int>),
    /// Token ids: `[rows, length]`.
    Tokens(Tensor<2, Int>),
    /// Tokens that are each the sum of several embeddings, such as a key's and a value's.
    TokenSums {
        /// Ids, token after token: `[rows, length · parts]`.
        ids: Tensor<2, Int>,
        /// Ids per token.
        parts: usize,
    },
    /// Feature vectors: `[rows, width]`.
    Floats(Tensor<2>),
    /// Sets of items, a feature vector each: `[rows, items, features]`.
    Items(Tensor<3>),
    /// Images: `[rows, channels, height, width]`.
    Image(Tensor<4>),
}

impl Input {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::OneHot(indices) | Self::Tokens(indices) | Self::TokenSums { ids: indices, .. } => indices.dims()[0],
            Self::Floats(values) => values.dims()[0],
            Self::Items(values) => values.dims()[0],
            Self::Image(values) => values.dims()[0],
        }
    }

    /// Tokens or items per row; 1 where a row is one vector or one image.
    pub fn length(&self) -> usize {
        match self {
            Self::OneHot(_) | Self::Floats(_) | Self::Image(_) => 1,
            Self::Tokens(tokens) => tokens.dims()[1],
            Self::TokenSums { ids, parts } => ids.dims()[1] / parts,
            Self::Items(values) => values.dims()[1],
        }
    }

    /// Some of the rows, in their order.
    ///
    /// # Panics
    /// If one of them does not exist.
    #[must_use]
    pub fn rows_in(&self, rows: Range<usize>) -> Self {
        let (start, length) = (rows.start, rows.len());
        match self {
            Self::OneHot(indices) => Self::OneHot(indices.clone().narrow(0, start, length)),
            Self::Tokens(tokens) => Self::Tokens(tokens.clone().narrow(0, start, length)),
            Self::TokenSums { ids, parts } => {
                Self::TokenSums { ids: ids.clone().narrow(0, start, length), parts: *parts }
            }
            Self::Floats(values) => Self::Floats(values.clone().narrow(0, start, length)),
            Self::Items(values) => Self::Items(values.clone().narrow(0, start, length)),
            Self::Image(values) => Self::Image(values.clone().narrow(0, start, length)),
        }
    }

    /// Feature vectors, or the values of images one after another: `[rows, width]`; `None` for other inputs.
    pub(crate) fn flat(&self) -> Option<Tensor<2>> {
        match self {
            Self::Floats(values) => Some(values.clone()),
            Self::Image(values) => {
                let [rows, channels, height, width] = values.dims();
                Some(values.clone().reshape([rows, channels * height * width]))
            }
            Self::OneHot(_) | Self::Tokens(_) | Self::TokenSums { .. } | Self::Items(_) => None,
        }
    }

    /// What the input is, in a few words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::OneHot(_) => "one-hot rows",
            Self::Tokens(_) => "tokens",
            Self::TokenSums { .. } => "sums of tokens",
            Self::Floats(_) => "feature vectors",
            Self::Items(_) => "sets of items",
            Self::Image(_) => "images",
        }
    }
}

/// What a data set gives, before any batch of it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputSpec {
    /// Sums of `hot` one-hot vectors of `width` entries.
    OneHot {
        /// Length of the (never materialised) one-hot vector.
        width: usize,
        /// Indices per row.
        hot: usize,
    },
    /// Sequences of token ids.
    Tokens {
        /// Number of different ids.
        vocabulary: usize,
        /// Tokens per row; of the longest rows, where batches differ.
        length: usize,
    },
    /// Sequences of tokens that are each the sum of several embeddings.
    TokenSums {
        /// Number of different ids.
        vocabulary: usize,
        /// Ids per token.
        parts: usize,
        /// Tokens per row; of the longest rows, where batches differ.
        length: usize,
    },
    /// Feature vectors.
    Floats {
        /// Features per row.
        width: usize,
    },
    /// Sets of any number of items.
    Items {
        /// Features per item.
        features: usize,
    },
    /// Images.
    Image {
        /// Values per pixel.
        channels: usize,
        /// Rows of pixels.
        height: usize,
        /// Columns of pixels.
        width: usize,
    },
}

impl InputSpec {
    /// Width of [`Input::flat`].
    pub(crate) fn flat(&self) -> Option<usize> {
        match *self {
            Self::Floats { width } => Some(width),
            Self::Image { channels, height, width } => Some(channels * height * width),
            Self::OneHot { .. } | Self::Tokens { .. } | Self::TokenSums { .. } | Self::Items { .. } => None,
        }
    }
}

impl fmt::Display for InputSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::OneHot { width, hot } => write!(f, "one-hot rows ({hot} hot of {width})"),
            Self::Tokens { vocabulary, length } => write!(f, "tokens ({length} of a vocabulary of {vocabulary})"),
            Self::TokenSums { vocabulary, parts, length } => {
                write!(f, "sums of tokens ({length}, each of {parts} of a vocabulary of {vocabulary})")
            }
            Self::Floats { width } => write!(f, "feature vectors (of {width})"),
            Self::Items { features } => write!(f, "sets of items (of {features} features)"),
            Self::Image { channels, height, width } => write!(f, "images (of {channels} x {height} x {width} values)"),
        }
    }
}

/// The two ends of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Io {
    /// What goes in.
    pub input: InputSpec,
    /// Numbers per answer: a logit per class, or the values that are asked for.
    pub outputs: usize,
}
