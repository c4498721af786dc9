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
/// times and no other, and nothing but neighbours tells more than the symbols' counts do. With the bigrams (3, 7) and
/// (5, 1), the document `0 3 7 5 2 3 7 6` of 2 copies is of class 0.
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
        lengths.at_least(copies.saturating_mul(2), format_args!("copies = {copies} bigrams take two tokens each"))?;
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
        Self { symbols: config.symbols, copies: config.copies, bigrams, barred }
    }
}

impl Recipe for Documents {
    fn rows(&self, draws: &mut Draws, length: usize, rows: usize) -> (Input, Target) {
        let mut ids = Vec::with_capacity(rows * length);
        let mut classes = Vec::with_capacity(rows);
        for _ in 0..rows {
            let class = draws.below(self.bigrams.len());
            let (u, w) = self.bigrams[class];
            let mut planted = scatter(draws, self.copies, 2, length).into_iter().peekable();
            let mut document: Vec<usize> = Vec::with_capacity(length);
            while document.len() < length {
                if planted.next_if_eq(&document.len()).is_some() {
                    document.extend([u, w]);
                    continue;
                }
                // No symbol stands in two bigrams, so noise beside a planted one never makes another.
                let barred = document.last().and_then(|&before| self.barred[before]);
                let symbol = draws.below(self.symbols);
                if Some(symbol) != barred {
                    document.push(symbol);
                }
            }
            ids.extend(document.into_iter().map(|id| id as i32));
            classes.push(class as i32);
        }
        (Input::Tokens(Matrix::new(ids, length)), Target::Classes(classes))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        Order, Split,
        testing::{check_source, classes, ids, sets},
    };

    fn small() -> LongDocumentsConfig {
        LongDocumentsConfig { documents: 40, rows: 20, ..Default::default() }
    }

    #[test]
    fn a_document_holds_the_bigram_of_its_class_and_no_other() {
        let config = LongDocumentsConfig { symbols: 9, length: 40, test_lengths: vec![80], documents: 200, ..small() };
        let source = config.open(3).unwrap();
        let batches = sets(&*source);
        // The bigrams, told from the rows: those that every document of a class holds three times.
        let count = |row: &[i32]| {
            let mut counts: HashMap<(i32, i32), usize> = HashMap::new();
            row.windows(2).for_each(|pair| *counts.entry((pair[0], pair[1])).or_default() += 1);
            counts
        };
        let rows: Vec<_> = batches.iter().flat_map(|batch| ids(batch).map(count).zip(classes(batch))).collect();
        let bigram = |class: i32| {
            let of_class = || rows.iter().filter(|(_, c)| **c == class);
            let all: Vec<(i32, i32)> = (0..81)
                .map(|code| (code / 9, code % 9))
                .filter(|pair| of_class().all(|(counts, _)| counts.get(pair) == Some(&3)))
                .collect();
            assert_eq!(all.len(), 1, "class {class}: {all:?}");
            all[0]
        };
        let bigrams: Vec<(i32, i32)> = (0..4).map(bigram).collect();
        for (counts, class) in &rows {
            for (other, pair) in bigrams.iter().enumerate() {
                let expected = if other as i32 == **class { 3 } else { 0 };
                assert_eq!(counts.get(pair).copied().unwrap_or(0), expected);
            }
        }
    }

    #[test]
    fn a_batch_depends_on_seed_draw_split_and_step_alone() {
        let source = check_source(|seed, draw| LongDocumentsConfig { draw, ..small() }.open(seed).unwrap());
        assert_eq!(source.lengths, [("val", 512), ("n512", 512), ("n1024", 1024)].map(|(s, n)| (s.into(), n)));
        assert_eq!(source.train_lengths, [512].into());
    }

    #[test]
    fn training_documents_are_a_set_that_ends() {
        let source = small().open(0).unwrap();
        assert_eq!([Split::Train, Split::Val, Split::Test].map(|s| source.len(s)), [Some(40), Some(20), Some(0)]);
        let whole = source.batch(Split::Train, &Order::Full, 0);
        let second = source.batch(Split::Train, &Order::Sequential { size: 15 }, 2);
        assert_eq!(second, whole.gather(&(30..40).collect::<Vec<_>>()));
    }

    #[test]
    fn the_rows_never_change() {
        // Pinned: a change of these numbers changes every recorded run.
        let batch = small().open(2).unwrap().batch(Split::Train, &Order::Full, 0);
        assert_eq!(
            (ids(&batch).next().unwrap()[..8].to_vec(), classes(&batch)[0]),
            (vec![7, 1, 8, 34, 53, 29, 1, 10], 2)
        );
    }

    #[test]
    fn impossible_parameters_are_refused() {
        let message = |config: LongDocumentsConfig| config.check().unwrap_err().to_string();
        assert_eq!(
            message(LongDocumentsConfig { symbols: 7, ..small() }),
            "symbols: symbols = 7 are too few for 4 bigrams without a common symbol; expected at least 8"
        );
        assert_eq!(
            message(LongDocumentsConfig { length: 5, ..small() }),
            "length: 5 tokens are too few: copies = 3 bigrams take two tokens each; expected at least 6"
        );
        assert_eq!(
            message(LongDocumentsConfig { copies: 0, ..small() }),
            "copies: copies = 0 tells nothing of the class; expected at least 1"
        );
        assert_eq!(
            message(LongDocumentsConfig { classes: 1, ..small() }),
            "classes: classes = 1 leaves nothing to tell apart; expected at least 2"
        );
        assert_eq!(
            message(LongDocumentsConfig { documents: 1 << 30, ..small() }),
            "documents: documents = 1073741824 of 512 tokens are more than fit; expected at most 524288"
        );
        assert!(message(LongDocumentsConfig { test_lengths: vec![512, 512], ..small() }).contains("stands twice"));
        assert!(message(LongDocumentsConfig { rows: 1 << 30, ..small() }).contains("of 1024 tokens are more than fit"));
    }
}
