//! Measures that look at what networks record while an evaluation set passes through them.
use std::cell::OnceCell;

use kiln_activations::Record;
use kiln_analyses::Matrix;
use kiln_datasets::{BatchSource, Split};

use crate::{
    run::metrics::Row,
    train::{engine::host, feed::DeviceBatch},
};

/// Looks at the records of one evaluation set, piece after piece, and keeps no more than it needs: the weights of a whole set
/// of long rows would not fit into memory.
pub trait Watcher {
    /// The name of the records it wants to see.
    fn wants(&self) -> &'static str;

    /// Looks at one record.
    fn see(&mut self, seen: &Seen);

    /// Adds what it found to the row.
    fn report(&self, set: Split, row: &mut Row);
}

/// The evaluation set that is about to pass.
pub struct Set<'a> {
    /// The data.
    pub source: &'a dyn BatchSource,
    /// Which set of it.
    pub split: Split,
    /// The whole set on its device.
    pub batch: &'a DeviceBatch,
}

/// One record of some rows of the set; its values are read to the host once for all who look.
pub struct Seen<'a> {
    /// The record.
    pub record: &'a Record,
    /// The number of its first row in the set.
    pub first_row: usize,
    values: OnceCell<Vec<f64>>,
    kept: OnceCell<Option<Vec<bool>>>,
}

impl<'a> Seen<'a> {
    /// A record of the rows from `first_row` on.
    pub fn new(record: &'a Record, first_row: usize) -> Self {
        Self { record, first_row, values: OnceCell::new(), kept: OnceCell::new() }
    }

    /// The values, as rows over the last axis.
    pub fn rows(&self) -> Matrix<'_> {
        let [_, columns] = self.record.rows.dims();
        Matrix::new(&self.values.get_or_init(|| host(&self.record.rows))[..], columns)
    }

    /// Which of the values take part; `None` where all do.
    pub fn kept(&self) -> Option<&[bool]> {
        let read = || {
            let mask = self.record.keep.mask(self.record.rows.dims(), &self.record.rows.device())?;
            Some(mask.to_data().iter::<bool>().collect())
        };
        self.kept.get_or_init(read).as_deref()
    }
}

/// One accumulator per part of the network, in the order in which the parts recorded first.
#[derive(Debug)]
pub struct PerPart<T>(Vec<(String, T)>);

impl<T> Default for PerPart<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> PerPart<T> {
    /// That of the part with this path.
    pub fn of(&mut self, path: &str) -> &mut T {
        let i = self.0.iter().position(|(known, _)| known == path).unwrap_or_else(|| {
            self.0.push((path.into(), T::default()));
            self.0.len() - 1
        });
        &mut self.0[i].1
    }

    /// Each in turn.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }
}
