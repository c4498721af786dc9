//! The contract between a data set and the loop.
use std::fmt::Debug;

use crate::{Batch, Order, Spec, Split};

/// Answers of an evaluation set that are also judged apart; the metric is `<split>_<name>_accuracy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Such as `swap_seen`.
    pub name: String,
    /// Their numbers among all answers of the set, row after row as [`Order::Full`] reads it: the row where there is one
    /// answer per row, `row · answers + i` for answer i of several. May be empty.
    pub answers: Vec<usize>,
}

/// A source of batches. Nothing in it changes while it is used.
pub trait BatchSource: Debug + Send + Sync {
    /// The form of the rows.
    fn spec(&self) -> &Spec;

    /// Rows of a split; 0 if there is no such split, `None` if it never ends.
    fn len(&self, split: Split) -> Option<usize>;

    /// The batch of a step: a pure function of the arguments and of the seed the source was opened with.
    fn batch(&self, split: Split, order: &Order, step: u64) -> Batch;

    /// Whether every step sees the same batch, so that it may be kept.
    fn repeats(&self, split: Split, order: &Order) -> bool {
        let _ = split;
        order.is_constant()
    }

    /// Threads that are worth having to make batches ahead of their use; 0 where handing them over costs more than making
    /// them.
    fn workers(&self) -> usize {
        0
    }

    /// Splits that are evaluated, in the order in which they are logged.
    fn eval_sets(&self) -> Vec<Split> {
        [Split::Val, Split::Test].into_iter().filter(|&split| self.len(split) != Some(0)).collect()
    }

    /// Groups of answers of a split; none unless the data set has a reason to tell them apart.
    fn groups(&self, split: Split) -> &[Group] {
        let _ = split;
        &[]
    }

    /// For data made of the multiplicative group mod p: its elements 1, g, g², … by discrete logarithm to the
    /// smallest primitive root g. Rows of an embedding taken in this order turn products into sums.
    fn discrete_log(&self) -> Option<&[usize]> {
        None
    }
}
