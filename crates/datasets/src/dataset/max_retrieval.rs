//! Max retrieval: find the item of the highest priority among n, and say what it is.
use kiln_registry::{Entry, range};
use kiln_stream::Draws;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Dataset;
use crate::{
    Asks, BatchSource, DataError, Input, InputSpec, Invalid, Matrix, Spec, Target,
    drawn::{self, Drawn, Recipe},
    lengths::Lengths,
};

/// Parameters of max retrieval.
///
/// A row is a set of n items. An item has a class c, uniform among `classes`, and a priority r, uniform on [0, 1); its
/// features are the one-hot vector of c followed by r. The row's class is that of the item with the largest r (the
/// first of equals). With three classes the items (c 2, r 0.3), (c 0, r 0.9) are the features
/// `[0, 0, 1, 0.3], [1, 0, 0, 0.9]` of a row of class 0.
///
/// Training rows never end: each batch draws its own n uniformly from `train_lengths`, the same n for all of its rows,
/// and then its items. Every batch is a function of the seed and the step alone. Evaluation sets are fixed: `val` has
/// n = the longest training length, and for each of `test_lengths` there is a set of its own, `n16`, `n64`, …, whose
/// metrics are `n64_accuracy` and the like. Chance is 1 / `classes`.
///
/// The defaults are the length-generalization task of Veličković et al. 2024 (arXiv:2410.01104) in a size that
/// trains in seconds: lengths up to 16 are seen, 1024 is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MaxRetrievalConfig {
    /// Number of item classes.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub classes: usize,
    /// Fewest and most items of a training row.
    pub train_lengths: [usize; 2],
    /// Items per row of each test set.
    pub test_lengths: Vec<usize>,
    /// Rows of each evaluation set. 2000 rows give an accuracy to 0.011 (one standard error) at worst.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub rows: usize,
    /// Number of the draw: another one gives other batches and other evaluation sets under the same seed, and so the
    /// same initial weights. What two draws differ by is the noise that any other difference is held against.
    pub draw: u64,
}

impl Default for MaxRetrievalConfig {
    fn default() -> Self {
        Self { classes: 10, train_lengths: [5, 16], test_lengths: vec![16, 64, 256, 1024], rows: 2000, draw: 0 }
    }
}

impl Entry for MaxRetrievalConfig {
    const SUMMARY: &'static str = "sets of items with a priority each; the class is that of the item with the highest";
    const PAPER: &'static str =
        "Veličković et al. 2024, softmax is not enough (for sharp out-of-distribution), arXiv:2410.01104";
}

impl MaxRetrievalConfig {
    /// Numbers per item.
    fn features(&self) -> usize {
        self.classes + 1
    }

    fn lengths(&self) -> Lengths {
        Lengths::new(self.train_lengths, &self.test_lengths, "items")
    }
}

impl Dataset for MaxRetrievalConfig {
    fn check(&self) -> Result<(), Invalid> {
        if self.classes < 2 {
            return Err(Invalid::new("classes", "classes = 1 leaves nothing to retrieve; expected at least 2"));
        }
        self.lengths().check([5, 16])?;
        self.lengths().check_rows(self.rows, self.features())
    }

    fn spec(&self) -> Spec {
        Spec { input: InputSpec::Items { features: self.features() }, asks: Asks::Class { classes: self.classes } }
    }

    fn open(&self, seed: u64) -> Result<Box<dyn BatchSource>, DataError> {
        self.check()?;
        let stream = drawn::stream(seed, "max_retrieval", self.draw);
        Ok(Box::new(Drawn::new(self.spec(), self.lengths(), self.rows, stream, self.clone())))
    }
}

impl Recipe for MaxRetrievalConfig {
    fn rows(&self, draws: &mut Draws, length: usize, rows: usize) -> (Input, Target) {
        let (classes, features) = (self.classes, self.features());
        let mut values = vec![0.0; rows * length * features];
        let mut targets = Vec::with_capacity(rows);
        for row in values.chunks_exact_mut(length * features) {
            let (mut highest, mut target) = (f32::NEG_INFINITY, 0);
            for item in row.chunks_exact_mut(features) {
                let class = draws.below(classes);
                // As the model will see it, so that the label follows from the features.
                let priority = draws.uniform() as f32;
                item[class] = 1.0;
                item[classes] = priority;
                if priority > highest {
                    (highest, target) = (priority, class as i32);
                }
            }
            targets.push(target);
        }
        (Input::Items { values: Matrix::new(values, length * features), features }, Target::Classes(targets))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{Batch, Order, Split};

    fn order(size: usize) -> Order {
        Order::Shuffled { size, drop_last: false, seed: 0 }
    }

    /// Items of each row as (class, priority), and the row's class.
    fn items(batch: &Batch) -> Vec<(Vec<(usize, f32)>, i32)> {
        let Input::Items { values, features } = &batch.input else { panic!("not items") };
        let Target::Classes(targets) = &batch.target else { panic!("not classes") };
        let item = |item: &[f32]| {
            let (priority, one_hot) = item.split_last().unwrap();
            assert_eq!(one_hot.iter().sum::<f32>(), 1.0);
            (one_hot.iter().position(|&x| x == 1.0).unwrap(), *priority)
        };
        (0..values.rows()).map(|i| (values.row(i).chunks(*features).map(item).collect(), targets[i])).collect()
    }

    #[test]
    fn the_class_is_that_of_the_highest_priority() {
        let source = MaxRetrievalConfig { rows: 50, ..Default::default() }.open(3).unwrap();
        let mut batches: Vec<Batch> = (0..20).map(|step| source.batch(Split::Train, &order(7), step)).collect();
        batches.extend(source.eval_sets().into_iter().map(|set| source.batch(set, &Order::Full, 0)));
        for (items, target) in batches.iter().flat_map(items) {
            let highest = items.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            assert_eq!(highest.0 as i32, target);
            assert!(items.iter().all(|&(class, r)| class < 10 && (0.0..=1.0).contains(&r)));
        }
    }

    #[test]
    fn lengths_are_those_that_were_asked_for() {
        let source = MaxRetrievalConfig { rows: 3, ..Default::default() }.open(0).unwrap();
        assert_eq!(
            *source.spec(),
            Spec { input: InputSpec::Items { features: 11 }, asks: Asks::Class { classes: 10 } }
        );
        let length = |batch: &Batch| items(batch)[0].0.len();
        let seen: HashSet<usize> = (0..300).map(|step| length(&source.batch(Split::Train, &order(2), step))).collect();
        assert_eq!(seen, (5..=16).collect());
        let names: Vec<String> = source.eval_sets().iter().map(Split::to_string).collect();
        assert_eq!(names, ["val", "n16", "n64", "n256", "n1024"]);
        let lengths = source.eval_sets().into_iter().map(|set| length(&source.batch(set, &Order::Full, 0)));
        assert_eq!(lengths.collect::<Vec<_>>(), [16, 16, 64, 256, 1024]);
        let len = |split| source.len(split);
        assert_eq!([Split::Train, Split::Test, Split::Length(32)].map(len), [None, Some(0), Some(0)]);
        assert_eq!(len(Split::Length(64)), Some(3));
    }

    #[test]
    fn a_batch_depends_on_seed_draw_split_and_step_alone() {
        let open = |seed, draw| MaxRetrievalConfig { draw, rows: 40, ..Default::default() }.open(seed).unwrap();
        let (source, same) = (open(1, 0), open(1, 0));
        let forwards: Vec<Batch> = (0..5).map(|step| source.batch(Split::Train, &order(4), step)).collect();
        let mut backwards: Vec<Batch> = (0..5).rev().map(|step| same.batch(Split::Train, &order(4), step)).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards);
        for other in [open(2, 0), open(1, 1)] {
            assert_ne!(forwards[0], other.batch(Split::Train, &order(4), 0));
            assert_ne!(source.batch(Split::Val, &Order::Full, 0), other.batch(Split::Val, &Order::Full, 0));
        }
        // Equal lengths, other rows: the set that chooses is not the one that judges.
        assert_ne!(source.batch(Split::Val, &Order::Full, 0), source.batch(Split::Length(16), &Order::Full, 0));
        let part = source.batch(Split::Length(64), &Order::Sequential { size: 15 }, 2);
        assert_eq!(items(&part), items(&source.batch(Split::Length(64), &Order::Full, 9))[30..]);
    }

    #[test]
    fn the_rows_never_change() {
        // Pinned: a change of these numbers changes every recorded run.
        let source = MaxRetrievalConfig::default().open(2).unwrap();
        let rows = items(&source.batch(Split::Train, &order(2), 7));
        let first: Vec<String> = rows[0].0.iter().take(3).map(|(class, r)| format!("{class} {r:.4}")).collect();
        assert_eq!((first.join(", "), rows[0].0.len(), rows[0].1, rows[1].1), (PINNED.into(), 13, 0, 0));
    }
    const PINNED: &str = "8 0.8226, 7 0.7920, 6 0.1420";

    #[test]
    fn impossible_parameters_are_refused() {
        let message = |config: MaxRetrievalConfig| config.check().unwrap_err().to_string();
        let base = MaxRetrievalConfig::default();
        assert_eq!(
            message(MaxRetrievalConfig { train_lengths: [16, 5], ..base.clone() }),
            "train_lengths: train_lengths = [16, 5] is no range of lengths; expected the fewest and the most items of \
             a row, such as [5, 16]"
        );
        assert_eq!(
            message(MaxRetrievalConfig { test_lengths: vec![16, 64, 16], ..base.clone() }),
            "test_lengths: test length 16 stands twice; its metrics would have one name"
        );
        assert_eq!(
            message(MaxRetrievalConfig { test_lengths: vec![0], ..base.clone() }),
            "test_lengths: test length 0 is 0; expected whole numbers of at least 1"
        );
        assert_eq!(
            message(MaxRetrievalConfig { rows: 1 << 30, ..base.clone() }),
            "rows: rows = 1073741824 of 1024 items are more than fit; expected at most 23831 rows, or shorter ones"
        );
        assert_eq!(
            message(MaxRetrievalConfig { classes: 1, ..base }),
            "classes: classes = 1 leaves nothing to retrieve; expected at least 2"
        );
    }
}
