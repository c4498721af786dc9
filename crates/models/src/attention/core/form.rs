//! In which order a causal sum is computed.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The form of a causal sum; all give the same values up to rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The cheaper one for the length at hand.
    #[default]
    Auto,
    /// All pairs of tokens: work and memory grow with the square of the length.
    Quadratic,
    /// Chunk by chunk: work and memory grow with the length.
    Chunked,
}

impl Form {
    /// Tokens per chunk for a sequence of `length`, with `f` features and values of `e` entries.
    ///
    /// Products per token: `length (f + e)` in one piece, `chunk (f + e) + 2 f e` in chunks.
    pub fn chunk(self, chunk: usize, length: usize, [f, e]: [usize; 2]) -> usize {
        match self {
            Self::Quadratic => length,
            Self::Chunked => chunk,
            Self::Auto if length * (f + e) <= chunk * (f + e) + 2 * f * e => length,
            Self::Auto => chunk,
        }
    }

    /// Whether a sum over all keys goes through all pairs: `length (f + e)` products per token against `2 f e`.
    pub fn is_quadratic(self, length: usize, [f, e]: [usize; 2]) -> bool {
        match self {
            Self::Quadratic => true,
            Self::Chunked => false,
            Self::Auto => length * (f + e) <= 2 * f * e,
        }
    }
}
