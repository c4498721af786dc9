//! A finite data set that is held whole.
use crate::{Batch, BatchSource, Group, Input, Order, Partition, Spec, Split, Target};

/// All rows of a data set in memory, with the split of each.
#[derive(Clone, Debug)]
pub struct InMemory {
    spec: Spec,
    input: Input,
    target: Target,
    partition: Partition,
    val_groups: Vec<Group>,
    test_groups: Vec<Group>,
    discrete_log: Option<Vec<usize>>,
}

impl InMemory {
    /// Rows as described by `spec`, split by `partition`.
    ///
    /// # Panics
    /// If input and target differ in their number of rows.
    pub fn new(spec: Spec, input: Input, target: Target, partition: Partition) -> Self {
        assert_eq!(input.rows(), target.rows(), "each input row needs one target");
        Self { spec, input, target, partition, val_groups: Vec::new(), test_groups: Vec::new(), discrete_log: None }
    }

    /// Groups the rows of both evaluation splits by `groups`, which receives each split's rows.
    #[must_use]
    pub fn with_groups(mut self, groups: impl Fn(&[usize]) -> Vec<Group>) -> Self {
        self.val_groups = groups(self.partition.rows(Split::Val));
        self.test_groups = groups(self.partition.rows(Split::Test));
        self
    }

    /// Publishes the order of [`BatchSource::discrete_log`].
    #[must_use]
    pub fn with_discrete_log(mut self, order: Vec<usize>) -> Self {
        self.discrete_log = Some(order);
        self
    }
}

impl BatchSource for InMemory {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn len(&self, split: Split) -> Option<usize> {
        Some(self.partition.rows(split).len())
    }

    fn batch(&self, split: Split, order: &Order, step: u64) -> Batch {
        let rows = self.partition.rows(split);
        let chosen: Vec<usize> = order.rows(rows.len(), step).into_iter().map(|position| rows[position]).collect();
        Batch { input: self.input.gather(&chosen), target: self.target.gather(&chosen), rows: chosen.len() }
    }

    fn groups(&self, split: Split) -> &[Group] {
        match split {
            Split::Train | Split::Length(_) | Split::Shifted { .. } => &[],
            Split::Val => &self.val_groups,
            Split::Test => &self.test_groups,
        }
    }

    fn discrete_log(&self) -> Option<&[usize]> {
        self.discrete_log.as_deref()
    }
}
