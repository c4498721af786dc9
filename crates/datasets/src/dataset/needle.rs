//! A needle in a haystack: find the one token that matters among many that do not.
use kiln_registry::{Entry, range};
use kiln_stream::Draws;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Dataset;
use crate::{
    Asks, BatchSource, DataError, Group, Input, InputSpec, Invalid, Matrix, Spec, Target,
    drawn::{self, Drawn, Recipe},
    lengths::Lengths,
    scatter::scatter,
};

/// Parameters of the needle.
///
/// A row of T tokens is T − 1 filler symbols, uniform among `symbols`, and the question `?`. One filler, at a uniform
/// place of 0 … T − 3, is replaced by the needle, a token of one of `kinds` kinds; the row's class is the kind. With
/// 32 symbols and 16 kinds, kind k is id 32 + k and `?` is id 48; `7 20 45 3 48` is a row of class 13.
///
/// With `names` = K there are K needles of two tokens, a name and a kind behind it, each name once, at places that do not
/// overlap and are uniform otherwise; the row ends with one of the names instead of `?` and its class is the kind behind
/// that name. Name i is id `symbols + kinds + i`. Such a row needs at least 2K + 2 tokens. With K = 2 the row
/// `7 48 45 49 32 3 48` asks for name 0, which is of kind 13.
///
/// Training rows never end: each batch draws its own T uniformly from `train_lengths`, the same for all of its rows.
/// Every batch is a function of the seed and the step alone. Evaluation sets are fixed: `val` has the longest training
/// length, and each of `test_lengths` has a set of its own, `n48`, `n192`, …. Chance is 1 / `kinds`. Each set is also
/// judged by where the asked needle begins, in place p: `first_half` (p < T/2), `last_quarter` (p ≥ 3T/4), `near15` (at
/// most 15 tokens before the last one) and `far31` (more than 31 before it), as far as the set has such rows.
///
/// The task is the passkey retrieval of Mohtashami & Jaggi 2023 (arXiv:2305.16300); with names, the multi-key needle of
/// Hsieh et al. 2024 (arXiv:2404.06654).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NeedleConfig {
    /// Number of filler symbols.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub symbols: usize,
    /// Kinds of needles, at least 2.
    #[serde(deserialize_with = "range::at_least_two")]
    #[schemars(range(min = 2))]
    pub kinds: usize,
    /// Number of names, and so of needles in a row; 0 is one needle without a name.
    pub names: usize,
    /// Fewest and most tokens of a training row.
    pub train_lengths: [usize; 2],
    /// Tokens per row of each test set.
    pub test_lengths: Vec<usize>,
    /// Rows of each evaluation set.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub rows: usize,
    /// Number of the draw: another one gives other batches and other evaluation sets under the same seed.
    pub draw: u64,
}

impl Default for NeedleConfig {
    /// 500 rows give an accuracy to 0.022 (one standard error) at worst; attention over 768 tokens is dear.
    fn default() -> Self {
        Self {
            symbols: 32,
            kinds: 16,
            names: 0,
            train_lengths: [16, 48],
            test_lengths: vec![48, 192, 768],
            rows: 500,
            draw: 0,
        }
    }
}

impl Entry for NeedleConfig {
    const SUMMARY: &'static str =
        "one token of many is a needle; its kind is asked at the end (names: of one of several)";
    const PAPER: &'static str = "Mohtashami & Jaggi 2023, Landmark Attention, arXiv:2305.16300";
}

impl NeedleConfig {
    fn lengths(&self) -> Lengths {
        Lengths::new(self.train_lengths, &self.test_lengths, "tokens")
    }
}

impl Dataset for NeedleConfig {
    fn check(&self) -> Result<(), Invalid> {
        let Self { symbols, kinds, names, .. } = *self;
        if symbols == 0 {
            return Err(Invalid::new("symbols", "symbols = 0 makes no haystack; expected at least 1"));
        }
        if kinds < 2 {
            let message = format!("kinds = {kinds} leaves nothing to find; expected at least 2");
            return Err(Invalid::new("kinds", message));
        }
        let lengths = self.lengths();
        lengths.check([16, 48])?;
        match names {
            0 => lengths.at_least(3, "a row holds a needle, a filler and the question")?,
            _ => lengths.at_least(
                names.saturating_mul(2).saturating_add(2),
                format_args!("names = {names} hides as many needles of two tokens, before a filler and the question"),
            )?,
        }
        lengths.check_rows(self.rows, 1)
    }

    fn spec(&self) -> Spec {
        let vocabulary = self.symbols.saturating_add(self.kinds).saturating_add(self.names.max(1));
        Spec {
            input: InputSpec::Tokens { vocabulary, length: self.lengths().longest() },
            asks: Asks::Class { classes: self.kinds },
        }
    }

    fn open(&self, seed: u64) -> Result<Box<dyn BatchSource>, DataError> {
        self.check()?;
        let stream = drawn::stream(seed, "needle", self.draw);
        Ok(Box::new(Drawn::new(self.spec(), self.lengths(), self.rows, stream, self.clone())))
    }
}

impl Recipe for NeedleConfig {
    fn rows(&self, draws: &mut Draws, length: usize, rows: usize) -> (Input, Target) {
        let Self { symbols, kinds, names, .. } = *self;
        let mut ids = Vec::with_capacity(rows * length);
        let mut classes = Vec::with_capacity(rows);
        for _ in 0..rows {
            let mut row: Vec<usize> = (0..length - 1).map(|_| draws.below(symbols)).collect();
            // The question; the first name is the same id.
            row.push(symbols + kinds);
            if names == 0 {
                let kind = draws.below(kinds);
                row[draws.below(length - 2)] = symbols + kind;
                classes.push(kind as i32);
            } else {
                let (places, order) = (scatter(draws, names, 2, length - 2), draws.permutation(names));
                let asked = draws.below(names);
                row[length - 1] += asked;
                for (place, name) in places.into_iter().zip(order) {
                    let kind = draws.below(kinds);
                    (row[place], row[place + 1]) = (symbols + kinds + name, symbols + kind);
                    if name == asked {
                        classes.push(kind as i32);
                    }
                }
            }
            ids.extend(row.into_iter().map(|id| id as i32));
        }
        (Input::Tokens(Matrix::new(ids, length)), Target::Classes(classes))
    }

    fn groups(&self, input: &Input) -> Vec<Group> {
        let Input::Tokens(ids) = input else { unreachable!("needles lie among tokens") };
        let length = ids.columns();
        let first_kind = self.symbols as i32;
        let places: Vec<usize> = (0..ids.rows())
            .filter_map(|i| {
                let row = ids.row(i);
                let asked = |id: i32| if self.names == 0 { id >= first_kind } else { id == row[length - 1] };
                row.iter().position(|&id| asked(id))
            })
            .collect();
        let group = |name: &str, holds: &dyn Fn(usize) -> bool| Group {
            name: name.into(),
            answers: (0..places.len()).filter(|&row| holds(places[row])).collect(),
        };
        let groups = [
            group("first_half", &|place| 2 * place < length),
            group("last_quarter", &|place| 4 * place >= 3 * length),
            group("near15", &|place| length - 1 - place <= 15),
            group("far31", &|place| length - 1 - place > 31),
        ];
        groups.into_iter().filter(|group| !group.answers.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests;
