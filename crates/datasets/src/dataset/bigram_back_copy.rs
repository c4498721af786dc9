//! Bigrams with back-copy: a language of one rule, broken by triggers.
use kiln_registry::{Entry, range};
use kiln_stream::{Draws, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Dataset;
use crate::{
    Asks, BatchSource, DataError, Group, Input, InputSpec, Invalid, Matrix, Spec, Target,
    drawn::{self, Drawn, Recipe},
    lengths::Lengths,
};

/// Parameters of bigrams with back-copy.
///
/// A text begins with a begin sign (id `symbols`) and a uniform symbol that is no trigger. After a trigger (the ids
/// below `triggers`) comes the symbol that stands before it once more; after any other symbol comes a draw from that
/// symbol's row of transition probabilities. So a network has to know the bigrams, and at a trigger to look two places back:
/// heads that have nothing to do at all other places are those that attend to the begin sign.
/// The rows are drawn once: from the Dirichlet distribution of `concentration`, then every trigger's probability is
/// raised by `boost` and the row divided by its sum. Two triggers never follow each other.
///
/// A row of T tokens, the begin sign among them, is asked at every place for the next token; the last answer is the
/// token that would follow. With 64 symbols and the triggers 0, 1, 2 the text `64 40 17 1 17 33` is a row of T = 5 tokens
/// with the classes 40, 17, 1, 17, 33, and the fourth is a back-copy.
///
/// Training rows never end: each batch draws its own T uniformly from `train_lengths`, the same for all of its rows.
/// Every batch is a function of the seed and the step alone. Evaluation sets are fixed: `val` has the longest training
/// length, and each of `test_lengths` has a set of its own, `n64`, `n128`, …. Each set is also judged in two groups:
/// `back_copy`, the answers at triggers, and `bigram`, those at any other symbol but the begin sign. Only the back-copies
/// can all be right; the loss cannot fall below the entropy of the transitions.
///
/// The task is that of Guo et al. 2024 (arXiv:2410.13835), with transitions that are drawn instead of counted in a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BigramBackCopyConfig {
    /// Number of symbols, triggers among them.
    #[serde(deserialize_with = "range::at_least_two")]
    #[schemars(range(min = 2))]
    pub symbols: usize,
    /// Number of triggers, fewer than the symbols.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub triggers: usize,
    /// Concentration of the transition rows: the smaller, the fewer symbols follow a symbol.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub concentration: f64,
    /// What is added to each trigger's probability before the row is divided by its sum.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub boost: f64,
    /// Fewest and most tokens of a training row.
    pub train_lengths: [usize; 2],
    /// Tokens per row of each test set.
    pub test_lengths: Vec<usize>,
    /// Rows of each evaluation set.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub rows: usize,
    /// Number of the draw: another one gives other transitions, batches and evaluation sets under the same seed.
    pub draw: u64,
}

impl Default for BigramBackCopyConfig {
    /// 200 rows hold at least 12800 questions.
    fn default() -> Self {
        Self {
            symbols: 64,
            triggers: 3,
            concentration: 0.1,
            boost: 0.05,
            train_lengths: [64, 64],
            test_lengths: vec![64, 128, 256, 512],
            rows: 200,
            draw: 0,
        }
    }
}

impl Entry for BigramBackCopyConfig {
    const SUMMARY: &'static str = "text of drawn bigrams in which a trigger repeats the symbol before it; next token";
    const PAPER: &'static str = "Guo et al. 2024, Active-Dormant Attention Heads, arXiv:2410.13835";
}

impl BigramBackCopyConfig {
    fn lengths(&self) -> Lengths {
        Lengths::new(self.train_lengths, &self.test_lengths, "tokens")
    }
}

impl Dataset for BigramBackCopyConfig {
    fn check(&self) -> Result<(), Invalid> {
        let Self { symbols, triggers, concentration, boost, .. } = *self;
        if triggers == 0 || triggers >= symbols {
            return Err(Invalid::new(
                "triggers",
                format!("triggers = {triggers} of {symbols} symbols; expected at least 1, and fewer than the symbols"),
            ));
        }
        if !(concentration > 0.0 && concentration.is_finite()) {
            let message = format!("concentration = {concentration} is out of range; expected a number above 0");
            return Err(Invalid::new("concentration", message));
        }
        if !(boost >= 0.0 && boost.is_finite()) {
            let message = format!("boost = {boost} is out of range; expected a number of at least 0");
            return Err(Invalid::new("boost", message));
        }
        self.lengths().check([64, 64])?;
        self.lengths().check_rows(self.rows, symbols)
    }

    fn spec(&self) -> Spec {
        let vocabulary = self.symbols.saturating_add(1);
        Spec {
            input: InputSpec::Tokens { vocabulary, length: self.lengths().longest() },
            asks: Asks::Tokens { classes: self.symbols },
        }
    }

    fn open(&self, seed: u64) -> Result<Box<dyn BatchSource>, DataError> {
        self.check()?;
        let stream = drawn::stream(seed, "bigram_back_copy", self.draw);
        let language = Language::new(self, &stream);
        Ok(Box::new(Drawn::new(self.spec(), self.lengths(), self.rows, stream, language)))
    }
}

/// The transitions, and how a text is made of them.
#[derive(Debug)]
struct Language {
    symbols: usize,
    triggers: usize,
    /// Probability that the next symbol is at most this one: `[symbols, symbols]`, a row per present symbol.
    cumulative: Vec<Vec<f64>>,
}

impl Language {
    fn new(config: &BigramBackCopyConfig, stream: &Stream) -> Self {
        let mut draws = stream.child("transitions").at(0);
        let row = |_| {
            let mut row = draws.dirichlet(config.concentration, config.symbols);
            row[..config.triggers].iter_mut().for_each(|share| *share += config.boost);
            let total: f64 = row.iter().sum();
            let mut sum = 0.0;
            row.iter()
                .map(|share| {
                    sum += share / total;
                    sum
                })
                .collect()
        };
        let cumulative = (0..config.symbols).map(row).collect();
        Self { symbols: config.symbols, triggers: config.triggers, cumulative }
    }

    /// A draw from the transitions of `symbol`.
    fn after(&self, symbol: usize, draws: &mut Draws) -> usize {
        let at = draws.uniform();
        // Rounding may leave the last sum a little below 1.
        self.cumulative[symbol].partition_point(|&sum| sum <= at).min(self.symbols - 1)
    }

    /// Begin sign and `length` tokens.
    fn text(&self, draws: &mut Draws, length: usize) -> Vec<usize> {
        let mut text = vec![self.symbols, self.triggers + draws.below(self.symbols - self.triggers)];
        while text.len() <= length {
            let [before, last] = text[text.len() - 2..] else { unreachable!("a text begins with two tokens") };
            text.push(if last < self.triggers { before } else { self.after(last, draws) });
        }
        text
    }
}

impl Recipe for Language {
    fn rows(&self, draws: &mut Draws, length: usize, rows: usize) -> (Input, Target) {
        let mut ids = Vec::with_capacity(rows * length);
        let mut classes = Vec::with_capacity(rows * length);
        for _ in 0..rows {
            let text: Vec<i32> = self.text(draws, length).into_iter().map(|id| id as i32).collect();
            ids.extend(&text[..length]);
            classes.extend(&text[1..]);
        }
        (Input::Tokens(Matrix::new(ids, length)), Target::tokens(0..length, classes))
    }

    fn groups(&self, input: &Input) -> Vec<Group> {
        let Input::Tokens(ids) = input else { unreachable!("a text is tokens") };
        let (triggers, begin) = (self.triggers as i32, self.symbols as i32);
        let group = |name: &str, holds: &dyn Fn(i32) -> bool| Group {
            name: name.into(),
            // Every token is asked, so answers are numbered as tokens are.
            answers: (0..ids.values().len()).filter(|&token| holds(ids.values()[token])).collect(),
        };
        vec![group("back_copy", &|id| id < triggers), group("bigram", &|id| id >= triggers && id != begin)]
    }
}

#[cfg(test)]
mod tests;
