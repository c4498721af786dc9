//! Cutting rows into tasks. The cuts depend on the shape alone, never on the number of threads.
use std::ops::Range;

use rayon::prelude::*;

/// Values that one block of rows holds: with their results they stay in the first-level cache.
const BLOCK: usize = 4096;
/// Blocks per task: enough work to be worth handing to another thread.
const BLOCKS: usize = 4;

/// The number of rows, and how they are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tasks {
    rows: usize,
    block: usize,
}

impl Tasks {
    /// Cuts `rows` rows of `n` values.
    pub(crate) fn new(rows: usize, n: usize) -> Self {
        Self { rows, block: (BLOCK / n.max(1)).max(1) }
    }

    /// The largest number of rows in a block.
    pub(crate) fn block(&self) -> usize {
        self.block.min(self.rows)
    }

    /// Cuts a buffer of `width` values per row into one piece per task.
    pub(crate) fn split<'a, T>(&self, mut buffer: &'a mut [T], width: usize) -> Vec<&'a mut [T]> {
        debug_assert_eq!(buffer.len(), self.rows * width);
        let mut pieces = Vec::with_capacity(self.rows.div_ceil(self.block * BLOCKS));
        let mut left = self.rows;
        while left > 0 {
            let rows = left.min(self.block * BLOCKS);
            let (piece, rest) = buffer.split_at_mut(rows * width);
            pieces.push(piece);
            buffer = rest;
            left -= rows;
        }
        pieces
    }

    /// Calls `work` with the rows of each task and its piece of the output.
    pub(crate) fn run<O: Send>(&self, pieces: Vec<O>, work: impl Fn(Range<usize>, O) + Sync) {
        let per_task = self.block * BLOCKS;
        let range = |task: usize| task * per_task..((task + 1) * per_task).min(self.rows);
        if pieces.len() <= 1 {
            pieces.into_iter().enumerate().for_each(|(task, piece)| work(range(task), piece));
        } else {
            pieces.into_par_iter().enumerate().for_each(|(task, piece)| work(range(task), piece));
        }
    }

    /// The blocks of one task: their rows, counted from the start of the task and of the tensor.
    pub(crate) fn blocks(&self, rows: Range<usize>) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + use<> {
        let block = self.block;
        (0..rows.len()).step_by(block).map(move |at| {
            let end = (at + block).min(rows.len());
            (at..end, rows.start + at..rows.start + end)
        })
    }
}

/// The values of some rows in a buffer of `width` values per row.
pub(crate) fn of(rows: &Range<usize>, width: usize) -> Range<usize> {
    rows.start * width..rows.end * width
}
