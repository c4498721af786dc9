//! Which rows of a split a step sees.
use kiln_stream::Stream;

/// How a split is cut into batches: a pure map from a step to rows.
///
/// One pass over the split is an *epoch*; steps count on through the epochs. The last batch of an epoch
/// holds what is left and may be short, so that every epoch sees every row once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Every row at every step, always in the split's own order.
    Full,
    /// `size` rows after another in the split's own order; how evaluation sets are read.
    Sequential {
        /// Rows per batch, at least 1.
        size: usize,
    },
    /// `size` rows after another in an order that is drawn anew for each epoch.
    Shuffled {
        /// Rows per batch, at least 1.
        size: usize,
        /// Whether the short last batch is left out. A split smaller than one batch is used all the same.
        drop_last: bool,
        /// The run's seed; the order is that of the stream `(seed, "order")` at the epoch.
        seed: u64,
    },
}

impl Order {
    /// Whether every step sees the same rows in the same order, so that the batch may be kept.
    pub fn is_constant(&self) -> bool {
        matches!(self, Self::Full)
    }

    /// Rows of a batch that is not cut short; `None` for the whole split.
    pub fn batch_size(&self) -> Option<usize> {
        match *self {
            Self::Full => None,
            Self::Sequential { size } | Self::Shuffled { size, .. } => Some(size),
        }
    }

    /// Steps per epoch of a split of `len` rows; at least 1, also for an empty split.
    ///
    /// # Panics
    /// If the batch size is 0.
    pub fn steps_per_epoch(&self, len: usize) -> u64 {
        let steps = match *self {
            Self::Full => 1,
            Self::Shuffled { size, drop_last: true, .. } => len / nonzero(size),
            Self::Sequential { size } | Self::Shuffled { size, .. } => len.div_ceil(nonzero(size)),
        };
        steps.max(1) as u64
    }

    /// Positions within a split of `len` rows that step `step` sees.
    ///
    /// A shuffled order is drawn again at each call, which is what makes it a pure function; that takes some
    /// nanoseconds per row of the split.
    ///
    /// # Panics
    /// If the batch size is 0.
    pub fn rows(&self, len: usize, step: u64) -> Vec<usize> {
        let steps = self.steps_per_epoch(len);
        let (epoch, batch) = (step / steps, (step % steps) as usize);
        match *self {
            Self::Full => (0..len).collect(),
            Self::Sequential { size } => (batch * size..len.min((batch + 1) * size)).collect(),
            Self::Shuffled { size, seed, .. } => {
                let order = Stream::new(seed, "order").at(epoch).permutation(len);
                order[batch * size..len.min((batch + 1) * size)].to_vec()
            }
        }
    }
}

fn nonzero(size: usize) -> usize {
    assert!(size > 0, "a batch needs at least one row");
    size
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sequential_batches_run_through_the_split_and_start_again() {
        let order = Order::Sequential { size: 2 };
        let batches: Vec<_> = (0..4).map(|step| order.rows(5, step)).collect();
        assert_eq!(batches, [vec![0, 1], vec![2, 3], vec![4], vec![0, 1]]);
    }

    #[test]
    fn drop_last_leaves_the_short_batch_out_unless_it_is_the_only_one() {
        let order = Order::Shuffled { size: 4, drop_last: true, seed: 3 };
        assert_eq!(order.steps_per_epoch(11), 2);
        assert!((0..6).all(|step| order.rows(11, step).len() == 4));
        assert_eq!((order.steps_per_epoch(3), order.rows(3, 7).len()), (1, 3));
    }

    #[test]
    fn only_the_full_order_is_constant() {
        let shuffled = Order::Shuffled { size: 9, drop_last: false, seed: 3 };
        assert!(Order::Full.is_constant() && !shuffled.is_constant());
        assert_eq!(Order::Full.rows(3, 0), Order::Full.rows(3, 9));
        // A batch as large as the split still draws its order anew.
        assert_ne!(shuffled.rows(9, 0), shuffled.rows(9, 1));
    }

    #[test]
    fn an_empty_split_gives_empty_batches() {
        for order in
            [Order::Full, Order::Sequential { size: 3 }, Order::Shuffled { size: 3, drop_last: false, seed: 0 }]
        {
            assert_eq!((order.steps_per_epoch(0), order.rows(0, 5)), (1, vec![]));
        }
    }

    proptest! {
        #[test]
        fn each_epoch_sees_each_row_once(len in 1usize..60, size in 1usize..70, epoch in 0u64..5, seed: u64) {
            let order = Order::Shuffled { size, drop_last: false, seed };
            let steps = order.steps_per_epoch(len);
            // Last step first: the order of the calls does not matter.
            let mut seen: Vec<usize> =
                (epoch * steps..(epoch + 1) * steps).rev().flat_map(|step| order.rows(len, step)).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..len).collect::<Vec<_>>());
        }

        #[test]
        fn seed_and_epoch_change_the_order(len in 20usize..60, seed in 0u64..1000) {
            let order = |seed| Order::Shuffled { size: len, drop_last: false, seed };
            prop_assert_ne!(order(seed).rows(len, 0), order(seed + 1).rows(len, 0));
            prop_assert_ne!(order(seed).rows(len, 0), order(seed).rows(len, 1));
        }
    }
}
