//! The rows of a check.
use std::fmt;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use kiln_stream::Stream;
use serde::Serialize;

use super::{Setting, ulp::round};
use crate::Keep;

/// What is special about the rows of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Normal scores with deviation 2.
    Plain,
    /// About a quarter of the entries removed, one row empty, NaN and ∞ behind the mask.
    Mask,
    /// A prefix of each row kept, none of one row.
    Prefix,
    /// Rows with +∞ (one, several), NaN, −∞, and only −∞.
    Special,
    /// Scores of about 1e4.
    Huge,
    /// Scores of about 1e-5.
    Tiny,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Plain, Self::Mask, Self::Prefix, Self::Special, Self::Huge, Self::Tiny];

    fn scale(self) -> f64 {
        match self {
            Self::Huge => 1e4,
            Self::Tiny => 1e-5,
            _ => 2.0,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Mask => "mask",
            Self::Prefix => "prefix",
            Self::Special => "special",
            Self::Huge => "huge",
            Self::Tiny => "tiny",
        })
    }
}

enum Kept {
    All,
    Prefix(Vec<i32>),
    Mask(Vec<bool>),
}

/// Rows of scores, which of them take part, and the gradient that arrives at their results; all numbers of the dtype.
pub(super) struct Case {
    pub(super) rows: usize,
    pub(super) n: usize,
    pub(super) kind: Kind,
    pub(super) scores: Vec<f64>,
    pub(super) upstream: Vec<f64>,
    kept: Kept,
}

impl Case {
    /// Every case of a setting, of these kinds.
    pub(super) fn all<'a>(setting: &'a Setting, kinds: &'a [Kind]) -> impl Iterator<Item = Self> + 'a {
        setting.shapes.iter().flat_map(|shape| kinds.iter().map(|kind| Self::new(*shape, *kind, setting.dtype)))
    }

    fn new([rows, n]: [usize; 2], kind: Kind, dtype: DType) -> Self {
        let mut draws = Stream::new(n as u64, "check").at(kind as u64);
        let mut normal = |scale: f64| (0..rows * n).map(|_| round(draws.normal() * scale, dtype)).collect::<Vec<f64>>();
        let (mut scores, upstream) = (normal(kind.scale()), normal(1.0));
        let kept = match kind {
            Kind::Mask => {
                let bits: Vec<bool> = (0..rows * n).map(|i| i / n != 1 && (i * 7 + i / 3) % 4 != 0).collect();
                // What is removed is not looked at.
                for (i, score) in scores.iter_mut().enumerate().filter(|(i, _)| !bits[*i]) {
                    *score = [f64::NAN, f64::INFINITY, 1e3][i % 3];
                }
                Kept::Mask(bits)
            }
            Kind::Prefix => {
                Kept::Prefix((0..rows).map(|row| if row == 1 { 0 } else { ((row * n) / rows + 1) as i32 }).collect())
            }
            _ => Kept::All,
        };
        if kind == Kind::Special {
            for (row, scores) in scores.chunks_mut(n).enumerate() {
                spoil(row, scores);
            }
        }
        Self { rows, n, kind, scores, upstream, kept }
    }

    /// Which entries take part, on `device`.
    pub(super) fn keep(&self, device: &Device) -> Keep {
        match &self.kept {
            Kept::All => Keep::All,
            Kept::Prefix(count) => {
                Keep::Prefix(Tensor::<1, Int>::from_data(TensorData::new(count.clone(), [self.rows]), device))
            }
            Kept::Mask(bits) => {
                Keep::Mask(Tensor::from_data(TensorData::new(bits.clone(), [self.rows, self.n]), device))
            }
        }
    }

    /// Whether an entry takes part, its score apart.
    pub(super) fn keeps(&self, place: usize) -> bool {
        match &self.kept {
            Kept::All => true,
            Kept::Prefix(count) => ((place % self.n) as i32) < count[place / self.n],
            Kept::Mask(bits) => bits[place],
        }
    }
}

/// Puts what is special into one row.
fn spoil(row: usize, scores: &mut [f64]) {
    let n = scores.len();
    let (first, middle, last) = (0, n / 2, n - 1);
    match row % 6 {
        0 => scores[middle] = f64::INFINITY,
        1 => scores[last] = f64::NAN,
        2 => scores[middle] = f64::NEG_INFINITY,
        3 => scores.fill(f64::NEG_INFINITY),
        4 => {
            scores[middle] = f64::NEG_INFINITY;
            scores[first] = f64::INFINITY;
            scores[last] = f64::INFINITY;
        }
        _ => {
            scores[middle] = f64::INFINITY;
            scores[last] = f64::NAN;
        }
    }
}
