//! Long documents: a few pairs of neighbours tell the class, far from each other and from the ends.
use kiln_registry::{Entry, range};
use kiln_stream::{Draws, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Dataset, MAX_VALUES};
use crate::{
    Asks, BatchSource, DataError, Input, InputSpec, Invalid, Matrix, Spec, Target,
    drawn::{self, Drawn, Recipe},
    lengths::Lengths,
    scatter::scatter,
};

/// Parameters of the long documents.
///
/// Each class c has a bigram `(u_c, w_c)`, drawn once, all symbols of all bigrams different. A document of class c is
/// `length` tokens with `copies` of its bigram at random places that do not overlap; the rest is uniform among
/// `symbols`, drawn again wherever one of the bigrams would appear. So a document holds its own bigram exactly `copies`
/// times and no other. With the bigrams (3, 7) and (5, 1), the document `0 3 7 5 2 3 7 6` of 2 copies is of class 0.
///
/// The copies also raise the counts of their two symbols, and whoever does nothing but count is right in about 70 % of the
/// documents with the default values. With `decoys`, a document holds both symbols of every *other* class `copies` times as well,
/// never as a bigram: counts say nothing then, and only neighbours tell the class.
///
/// There are `documents` training documents. The evaluation sets have `rows` documents each: `val`, which chooses, has
/// the training length, and each of `test_lengths` has a set of its own, `n512`, …, with as many copies in documents of
/// that length. Chance is 1 / `classes`.
///
/// The task stands in for the long documents of Pappagari et al. 2019 (arXiv:1910.10781).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LongDocumentsConfig {
    /// Number of symbols, at least two for each class.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub symbols: usize,
    /// Number of classes, at least 2.
    #[serde(deserialize_with = "range::at_least_two")]
    #[schemars(range(min = 2))]
    pub classes: usize,
    /// How often a document holds the bigram of its class.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub copies: usize,
    /// Whether the symbols of the other classes are planted too, apart from each other.
    pub decoys: bool,
    /// Training documents.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub documents: usize,
    /// Tokens of a training document.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub length: usize,
    /// Tokens per document of each test set.
    pub test_lengths: Vec<usize>,
    /// Documents of each evaluation set.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub rows: usize,
    /// Number of the draw: another one gives other bigrams and documents under the same seed.
    pub draw: u64,
}

impl Default for LongDocumentsConfig {
    fn default() -> Self {
        Self {
            symbols: 64,
            classes: 4,
            copies: 3,
            decoys: false,
            documents: 2000,
            length: 512,
            test_lengths: vec![512, 1024],
            rows: 500,
            draw: 0,
        }
    }
}

impl Entry for LongDocumentsConfig {
    const SUMMARY: &'static str = "documents of noise that hold the bigram of their class a few times";
    const PAPER: &'static str =
        "Pappagari et al. 2019, Hierarchical Transformers for Long Document Classification, arXiv:1910.10781";
}

impl LongDocumentsConfig {
    fn lengths(&self) -> Lengths {
        Lengths::constant(self.length, &self.test_lengths, "tokens")
    }

    /// Tokens of a document that are planted.
    fn planted(&self) -> usize {
        let classes = if self.decoys { self.classes } else { 1 };
        self.copies.saturating_mul(classes).saturating_mul(2)
    }
}

impl Dataset for LongDocumentsConfig {
    fn check(&self) -> Result<(), Invalid> {
        let Self { symbols, classes, copies, documents, length, .. } = *self;
        if classes < 2 {
            let message = format!("classes = {classes} leaves nothing to tell apart; expected at least 2");
            return Err(Invalid::new("classes", message));
        }
        if symbols / 2 < classes {
            return Err(Invalid::new(
                "symbols",
                format!(
                    "symbols = {symbols} are too few for {classes} bigrams without a common symbol; expected at least \
                     {}",
                    classes.saturating_mul(2)
                ),
            ));
        }
        if copies == 0 {
            return Err(Invalid::new("copies", "copies = 0 tells nothing of the class; expected at least 1"));
        }
        let lengths = self.lengths();
        match self.decoys {
            false => {
                lengths.at_least(self.planted(), format_args!("copies = {copies} bigrams take two tokens each"))?
            }
            // Decoys need noise to stand in that makes no bigram of them.
            true => lengths.at_least(
                self.planted().saturating_mul(2),
                format_args!("copies = {copies} of {classes} bigrams, most of them torn apart, should be half of them"),
            )?,
        }
        lengths.check([512, 512])?;
        if length.saturating_mul(documents) > MAX_VALUES {
            let message = format!(
                "documents = {documents} of {length} tokens are more than fit; expected at most {}",
                MAX_VALUES / length
            );
            return Err(Invalid::new("documents", message));
        }
        lengths.check_rows(self.rows, 1)
    }

    fn spec(&self) -> Spec {
        Spec {
            input: InputSpec::Tokens { vocabulary: self.symbols, length: self.lengths().longest() },
            asks: Asks::Class { classes: self.classes },
        }
    }

    fn open(&self, seed: u64) -> Result<Box<dyn BatchSource>, DataError> {
        self.check()?;
        let stream = drawn::stream(seed, "long_documents", self.draw);
        let documents = Documents::new(self, &stream);
        let source = Drawn::new(self.spec(), self.lengths(), self.rows, stream, documents);
        Ok(Box::new(source.with_training_rows(self.documents)))
    }
}

/// The bigrams, and how a document is made of them.
#[derive(Debug)]
struct Documents {
    symbols: usize,
    copies: usize,
    decoys: bool,
    /// `(u_c, w_c)` of each class.
    bigrams: Vec<(usize, usize)>,
    /// The symbol that must not follow each symbol in the noise.
    barred: Vec<Option<usize>>,
}

impl Documents {
    fn new(config: &LongDocumentsConfig, stream: &Stream) -> Self {
        let symbols = stream.child("bigrams").at(0).distinct(2 * config.classes, config.symbols);
        let bigrams: Vec<(usize, usize)> = symbols.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let mut barred = vec![None; config.symbols];
        for &(u, w) in &bigrams {
            barred[u] = Some(w);
        }
        Self { symbols: config.symbols, copies: config.copies, decoys: config.decoys, bigrams, barred }
    }
}

impl Documents {
    /// A document of noise around the bigram of `class`.
    fn plain(&self, class: usize, length: usize, draws: &mut Draws) -> Vec<usize> {
        let (u, w) = self.bigrams[class];
        let mut planted = scatter(draws, self.copies, 2, length).into_iter().peekable();
        let mut document: Vec<usize> = Vec::with_capacity(length);
        while document.len() < length {
            if planted.next_if_eq(&document.len()).is_some() {
                document.extend([u, w]);
                continue;
            }
            // No symbol stands in two bigrams, so noise beside a planted one never makes another.
            let symbol = draws.below(self.symbols);
            if Some(symbol) != self.barred_after(&document) {
                document.push(symbol);
            }
        }
        document
    }

    /// The same with the symbols of the other classes in the place of some of the noise.
    fn with_decoys(&self, class: usize, length: usize, draws: &mut Draws) -> Vec<usize> {
        let mut document = self.plain(class, length, draws);
        let (u, w) = self.bigrams[class];
        let mut free = vec![true; length];
        for i in (1..length).filter(|&i| (document[i - 1], document[i]) == (u, w)) {
            (free[i - 1], free[i]) = (false, false);
        }
        let others = self.bigrams.iter().enumerate().filter(|(other, _)| *other != class);
        for &decoy in others.flat_map(|(_, (u, w))| [u, w]) {
            let mut left = self.copies;
            while left > 0 {
                let place = draws.below(length);
                let before = self.barred_after(&document[..place]) == Some(decoy);
                let behind = self.barred[decoy].is_some_and(|next| document.get(place + 1) == Some(&next));
                if free[place] && !before && !behind {
                    (document[place], free[place]) = (decoy, false);
                    left -= 1;
                }
            }
        }
        document
    }

    /// The symbol that would end a bigram.
    fn barred_after(&self, document: &[usize]) -> Option<usize> {
        document.last().and_then(|&before| self.barred[before])
    }
}

impl Recipe for Documents {
    fn rows(&self, draws: &mut Draws, length: usize, rows: usize) -> (Input, Target) {
        let mut ids = Vec::with_capacity(rows * length);
        let mut classes = Vec::with_capacity(rows);
        for _ in 0..rows {
            let class = draws.below(self.bigrams.len());
            let document = match self.decoys {
                false => self.plain(class, length, draws),
                true => self.with_decoys(class, length, draws),
            };
            ids.extend(document.into_iter().map(|id| id as i32));
            classes.push(class as i32);
        }
        (Input::Tokens(Matrix::new(ids, length)), Target::Classes(classes))
    }
}

#[cfg(test)]
mod tests;
