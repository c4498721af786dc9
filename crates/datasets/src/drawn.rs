//! Rows that are drawn when they are asked for.
use std::{fmt::Debug, sync::OnceLock};

use kiln_stream::{Draws, Stream};

use crate::{Batch, BatchSource, Group, Input, Order, Spec, Split, Target, lengths::Lengths};

/// How the rows of a drawn data set are made.
pub(crate) trait Recipe: Debug + Send + Sync {
    /// `rows` rows of one length.
    fn rows(&self, draws: &mut Draws, length: usize, rows: usize) -> (Input, Target);

    /// Answers of an evaluation set that are judged apart, told from its input.
    fn groups(&self, input: &Input) -> Vec<Group> {
        let _ = input;
        Vec::new()
    }
}

/// The stream of a data set's draw: another seed or another `draw` gives other rows.
pub(crate) fn stream(seed: u64, name: &str, draw: u64) -> Stream {
    Stream::new(seed, "data").child(name).child(&draw.to_string())
}

/// A source whose rows follow from a stream and a step.
///
/// Training rows never end, unless [`with_training_rows`](Self::with_training_rows) says how many there are: each batch
/// draws its own length uniformly from the training range and then its rows. Evaluation sets are fixed: `val` has the
/// longest training length, and for each test length there is a set of its own.
#[derive(Debug)]
pub(crate) struct Drawn<R> {
    spec: Spec,
    lengths: Lengths,
    rows: usize,
    stream: Stream,
    recipe: R,
    train: Option<Batch>,
    groups: OnceLock<Vec<(Split, Vec<Group>)>>,
}

impl<R: Recipe> Drawn<R> {
    /// Evaluation sets of `rows` rows each, and training rows without end.
    pub fn new(spec: Spec, lengths: Lengths, rows: usize, stream: Stream, recipe: R) -> Self {
        Self { spec, lengths, rows, stream, recipe, train: None, groups: OnceLock::new() }
    }

    /// A training set of so many rows, of one length, held in memory.
    #[must_use]
    pub fn with_training_rows(mut self, rows: usize) -> Self {
        self.train = Some(self.draw(Split::Train, rows, 0));
        self
    }

    /// The first `rows` rows of step `step` of a split: its length, if it has several, then the rows.
    fn draw(&self, split: Split, rows: usize, step: u64) -> Batch {
        let [shortest, longest] = self.lengths.train;
        let mut draws = self.stream.child(&split.to_string()).at(step);
        let length = match split {
            Split::Train => shortest + draws.below(longest - shortest + 1),
            Split::Length(n) => n,
            Split::Val | Split::Test | Split::Shifted { .. } => longest,
        };
        let (input, target) = self.recipe.rows(&mut draws, length, rows);
        Batch { input, target, rows }
    }
}

impl<R: Recipe> BatchSource for Drawn<R> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn len(&self, split: Split) -> Option<usize> {
        match split {
            Split::Train => self.train.as_ref().map(|train| train.rows),
            Split::Val => Some(self.rows),
            Split::Test | Split::Shifted { .. } => Some(0),
            Split::Length(n) => Some(if self.lengths.test.contains(&n) { self.rows } else { 0 }),
        }
    }

    fn batch(&self, split: Split, order: &Order, step: u64) -> Batch {
        match (self.len(split), &self.train) {
            (None, _) => self.draw(split, order.batch_size().expect("a split that never ends comes in batches"), step),
            (Some(len), Some(train)) if split == Split::Train => train.gather(&order.rows(len, step)),
            (Some(len), _) => self.draw(split, len, 0).gather(&order.rows(len, step)),
        }
    }

    fn eval_sets(&self) -> Vec<Split> {
        std::iter::once(Split::Val).chain(self.lengths.test.iter().map(|&n| Split::Length(n))).collect()
    }

    fn groups(&self, split: Split) -> &[Group] {
        // Most runs never ask.
        let groups = self.groups.get_or_init(|| {
            let of = |set| (set, self.recipe.groups(&self.draw(set, self.rows, 0).input));
            self.eval_sets().into_iter().map(of).collect()
        });
        groups.iter().find(|(set, _)| *set == split).map_or(&[], |(_, groups)| groups)
    }
}
