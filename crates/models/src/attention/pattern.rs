//! Patterns: which places see which.
use burn::tensor::{Bool, Int, Tensor};
use kiln_registry::{Entry, range, registry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

registry! {
    /// A pattern of attention, by name.
    config PatternConfig("pattern");
    "full" => Full(FullConfig),
    "causal" => Causal(CausalConfig),
    "window" => Window(WindowConfig),
    "local" => Local(LocalConfig),
    "prefix" => Prefix(PrefixConfig),
    "document" => Document(DocumentConfig),
}

/// Parameters of the full pattern: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FullConfig {}

impl Entry for FullConfig {
    const SUMMARY: &'static str = "every token sees every token";
}

/// Parameters of the causal pattern: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CausalConfig {}

impl Entry for CausalConfig {
    const SUMMARY: &'static str = "a token sees itself and those before it";
}

/// Parameters of the sliding window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowConfig {
    /// Keys a token sees, its own included.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub width: usize,
    /// First tokens that everybody after them sees as well; 0 as in plain windows.
    #[serde(default)]
    pub sinks: usize,
}

impl Entry for WindowConfig {
    const SUMMARY: &'static str =
        "a token sees itself and the last few before it, and the sequence's first ones if asked";
    const PAPER: &'static str =
        "Beltagy et al. 2020, arXiv:2004.05150; with first tokens: Xiao et al. 2023, arXiv:2309.17453";
}

/// Parameters of the window to both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalConfig {
    /// How far a token sees to either side.
    pub radius: usize,
}

impl Entry for LocalConfig {
    const SUMMARY: &'static str = "a token sees its neighbours to both sides";
    const PAPER: &'static str = "Beltagy et al. 2020, arXiv:2004.05150";
}

/// Parameters of the prefix pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrefixConfig {
    /// Tokens of the prefix.
    pub length: usize,
}

impl Entry for PrefixConfig {
    const SUMMARY: &'static str = "causal, but the first tokens see each other and are seen by all";
    const PAPER: &'static str = "Raffel et al. 2020, arXiv:1910.10683";
}

/// Parameters of the document pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentConfig {
    /// The token id that begins a document.
    pub separator: usize,
    /// Whether a token sees later ones of its document.
    #[serde(default)]
    pub both_ways: bool,
}

impl Entry for DocumentConfig {
    const SUMMARY: &'static str = "a token sees those of its own document, packed into one row with others";
}

impl PatternConfig {
    /// The pattern of a network that may not look ahead, or may.
    pub fn whole(causal: bool) -> Self {
        if causal { Self::Causal(CausalConfig {}) } else { Self::Full(FullConfig {}) }
    }

    /// The pattern.
    pub fn pattern(&self) -> Pattern {
        match self {
            Self::Full(_) => Pattern::Full,
            Self::Causal(_) => Pattern::Causal,
            Self::Window(WindowConfig { width, sinks }) => Pattern::Window { width: *width, sinks: *sinks },
            Self::Local(LocalConfig { radius }) => Pattern::Local { radius: *radius },
            Self::Prefix(PrefixConfig { length }) => Pattern::Prefix { length: *length },
            Self::Document(DocumentConfig { both_ways: false, .. }) => Pattern::Causal,
            Self::Document(DocumentConfig { both_ways: true, .. }) => Pattern::Full,
        }
    }

    /// The token id that begins a document, if documents are told apart.
    pub fn separator(&self) -> Option<usize> {
        match self {
            Self::Document(config) => Some(config.separator),
            _ => None,
        }
    }

    /// Whether no token sees a later one.
    pub fn is_causal(&self) -> bool {
        matches!(self.pattern(), Pattern::Causal | Pattern::Window { .. })
    }
}

/// Which places see which: a query at place i sees a key at place j
/// ```text
/// full:    always                        window:  0 ≤ i − j < width, or j < sinks and j ≤ i
/// causal:  j ≤ i                         local:   |i − j| ≤ radius
/// prefix:  j ≤ i, or j < length
/// ```
/// Documents and padding hide keys beside that; see [`Scope`](super::Scope).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Every place sees every place.
    Full,
    /// Itself and all before.
    Causal,
    /// Itself, the last before it, and the first of all.
    Window {
        /// Keys seen, the own one included.
        width: usize,
        /// First places that are always seen.
        sinks: usize,
    },
    /// Neighbours on both sides.
    Local {
        /// How far.
        radius: usize,
    },
    /// Causal after a prefix whose places all are seen.
    Prefix {
        /// Places in the prefix.
        length: usize,
    },
}

impl Pattern {
    /// The pattern on places of queries and keys, `true` = seen; `None` if nothing is hidden.
    pub fn sees<const D: usize>(self, q: Tensor<D, Int>, k: Tensor<D, Int>) -> Option<Tensor<D, Bool>> {
        let before = |q: &Tensor<D, Int>, k: &Tensor<D, Int>| k.clone().lower_equal(q.clone());
        Some(match self {
            Self::Full => return None,
            Self::Causal => before(&q, &k),
            Self::Window { width, sinks } => {
                let near = (q.clone() - k.clone()).lower_elem(width as i64);
                let seen = if sinks == 0 { near } else { near.bool_or(k.clone().lower_elem(sinks as i64)) };
                seen.bool_and(before(&q, &k))
            }
            Self::Local { radius } => (q - k).abs().lower_equal_elem(radius as i64),
            Self::Prefix { length } => before(&q, &k).bool_or(k.lower_elem(length as i64)),
        })
    }
}
