//! What the tests of drawn data sets share.
use std::collections::BTreeSet;

use crate::{Asks, Batch, BatchSource, Input, InputSpec, Order, Split, Target};

pub(crate) fn order(size: usize) -> Order {
    Order::Shuffled { size, drop_last: false, seed: 0 }
}

/// Some training batches and every evaluation set.
pub(crate) fn sets(source: &dyn BatchSource) -> Vec<Batch> {
    let train = (0..20).map(|step| source.batch(Split::Train, &order(7), step));
    train.chain(source.eval_sets().into_iter().map(|set| source.batch(set, &Order::Full, 0))).collect()
}

/// The ids of each row.
pub(crate) fn ids(batch: &Batch) -> impl Iterator<Item = &[i32]> {
    let (Input::Tokens(ids) | Input::TokenSums { ids, .. }) = &batch.input else { panic!("no tokens") };
    (0..ids.rows()).map(|row| ids.row(row))
}

/// The class of each row.
pub(crate) fn classes(batch: &Batch) -> &[i32] {
    let Target::Classes(classes) = &batch.target else { panic!("no class per row") };
    classes
}

/// Of each row the asked places with their classes.
pub(crate) fn answers(batch: &Batch) -> impl Iterator<Item = Vec<(usize, i32)>> {
    let Target::Tokens { places, classes } = &batch.target else { panic!("no classes of tokens") };
    let answer = |(&place, &class): (&i32, &i32)| (place as usize, class);
    (0..places.rows()).map(move |row| places.row(row).iter().zip(classes.row(row)).map(answer).collect())
}

/// What [`check_source`] has seen.
pub(crate) struct Seen {
    /// Tokens or items per row of each evaluation set, by its name.
    pub lengths: Vec<(String, usize)>,
    /// Tokens or items per row of training batches.
    pub train_lengths: BTreeSet<usize>,
}

/// The contract of a drawn source, opened by `(seed, draw)`: a batch is a pure function of its place, seed and draw make
/// other batches, every set has rows of its own, and the spec bounds what comes.
#[track_caller]
pub(crate) fn check_source(open: impl Fn(u64, u64) -> Box<dyn BatchSource>) -> Seen {
    let (source, same) = (open(1, 0), open(1, 0));
    let train = |source: &dyn BatchSource, step| source.batch(Split::Train, &order(4), step);
    let full = |source: &dyn BatchSource, set| source.batch(set, &Order::Full, 0);

    let forwards: Vec<Batch> = (0..5).map(|step| train(&*source, step)).collect();
    let mut backwards: Vec<Batch> = (0..5).rev().map(|step| train(&*same, step)).collect();
    backwards.reverse();
    assert_eq!(forwards, backwards, "a batch depends on what was asked before");
    for other in [open(2, 0), open(1, 1)] {
        assert_ne!(forwards[0], train(&*other, 0), "another seed or draw, the same batch");
        assert_ne!(full(&*source, Split::Val), full(&*other, Split::Val), "another seed or draw, the same set");
    }

    let sets = source.eval_sets();
    let mut seen = Seen { lengths: Vec::new(), train_lengths: BTreeSet::new() };
    for &set in &sets {
        let whole = full(&*source, set);
        let rows = source.len(set).unwrap();
        assert_eq!((whole.rows, whole.input.rows(), whole.target.rows()), (rows, rows, rows));
        let order = Order::Sequential { size: rows.div_ceil(3) };
        let part = source.batch(set, &order, 1);
        assert_eq!(part, whole.gather(&order.rows(rows, 1)), "a part of {set} is not that part of the whole");
        // Equal lengths, other rows: the set that chooses is not the one that judges.
        assert!(sets.iter().all(|&other| other == set || full(&*source, other) != whole), "{set} stands twice");
        seen.lengths.push((set.to_string(), bounded(&*source, &whole)));
    }
    for step in 0..400 {
        let batch = source.batch(Split::Train, &order(2), step);
        assert_eq!(batch.rows, 2);
        seen.train_lengths.insert(bounded(&*source, &batch));
    }
    seen
}

/// Asserts that the spec bounds a batch, and returns its length.
#[track_caller]
fn bounded(source: &dyn BatchSource, batch: &Batch) -> usize {
    let spec = source.spec();
    let length = match (&batch.input, &spec.input) {
        (Input::Tokens(ids), InputSpec::Tokens { vocabulary, length }) => {
            assert!(ids.columns() <= *length && below(ids.values(), *vocabulary));
            ids.columns()
        }
        (Input::TokenSums { ids, parts }, InputSpec::TokenSums { vocabulary, parts: promised, length }) => {
            assert!(parts == promised && ids.columns() <= length * parts && below(ids.values(), *vocabulary));
            ids.columns() / parts
        }
        (Input::Items { values, features }, InputSpec::Items { features: promised }) => {
            assert!(features == promised && values.values().iter().all(|x| x.is_finite()));
            values.columns() / features
        }
        (input, spec) => panic!("{spec:?} promises no {input:?}"),
    };
    match (&batch.target, spec.asks) {
        (Target::Classes(classes), Asks::Class { classes: count }) => assert!(below(classes, count)),
        (Target::Tokens { places, classes }, Asks::Tokens { classes: count }) => {
            assert!(below(places.values(), length) && below(classes.values(), count));
        }
        (Target::Values(values), Asks::Values { width }) => {
            assert!(values.columns() == width && values.values().iter().all(|x| x.is_finite()));
        }
        (target, asks) => panic!("{asks:?} promises no {target:?}"),
    }
    length
}

fn below(values: &[i32], limit: usize) -> bool {
    values.iter().all(|&value| (0..limit as i32).contains(&value))
}
