//! Batches made ahead of their use by worker threads, handed out in order.
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};

use crate::{Batch, BatchSource, Order, Split};

/// Batches of one split in the order of the steps, made by a number of threads while the caller does something else.
///
/// A batch is a pure function of its step, so the number of workers decides when it is made and nothing else. Workers run
/// ahead by [`AHEAD`](Self::AHEAD) batches for each of them and then wait; a step that is not the next one begins anew there,
/// as a resumed run does.
pub struct Prefetcher {
    source: Arc<dyn BatchSource>,
    split: Split,
    order: Order,
    workers: usize,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// A batch was made.
    made: Condvar,
    /// There is room for another batch, or nothing more is wanted.
    room: Condvar,
}

/// A batch, or the panic of the worker that was to make it.
type Made = thread::Result<Batch>;

#[derive(Default)]
struct State {
    /// The step that is handed out next.
    wanted: u64,
    /// The step that is made next.
    next: u64,
    /// Batches before this step may be made.
    end: u64,
    /// What was made for another sequence of steps is thrown away.
    sequence: u64,
    ready: BTreeMap<u64, Made>,
    stop: bool,
}

impl Prefetcher {
    /// Batches that each worker may be ahead.
    pub const AHEAD: u64 = 2;

    /// The batches of a split, made by so many threads; by the caller itself if there are none. The threads start with the
    /// first batch that is asked for.
    pub fn new(source: Arc<dyn BatchSource>, split: Split, order: Order, workers: usize) -> Self {
        Self { source, split, order, workers, shared: Arc::default(), threads: Vec::new() }
    }

    /// The source of the batches.
    pub fn source(&self) -> &dyn BatchSource {
        &*self.source
    }

    /// In which order the rows come.
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// The batch of a step.
    ///
    /// # Panics
    /// If making it panics, in whichever thread.
    pub fn batch(&mut self, step: u64) -> Batch {
        if self.workers == 0 {
            return self.source.batch(self.split, &self.order, step);
        }
        self.start();
        let mut state = self.shared.lock();
        if step != state.wanted || state.end == 0 {
            state.sequence += 1;
            state.ready.clear();
            (state.wanted, state.next) = (step, step);
        }
        state.end = step.saturating_add(1 + Self::AHEAD * self.workers as u64);
        self.shared.room.notify_all();
        let made = loop {
            match state.ready.remove(&step) {
                Some(made) => break made,
                None => state = self.shared.made.wait(state).unwrap_or_else(|poison| poison.into_inner()),
            }
        };
        state.wanted = step + 1;
        drop(state);
        made.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn start(&mut self) {
        while self.threads.len() < self.workers {
            let (shared, source) = (self.shared.clone(), self.source.clone());
            let (split, order) = (self.split, self.order.clone());
            let work = move || shared.work(|step| source.batch(split, &order, step));
            self.threads.push(thread::Builder::new().name("kiln-data".into()).spawn(work).expect("a thread starts"));
        }
    }
}

impl Shared {
    /// The state; nothing is left half done in it, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    /// Makes batches until nothing more is wanted.
    fn work(&self, make: impl Fn(u64) -> Batch) {
        let mut state = self.lock();
        while !state.stop {
            if state.next >= state.end {
                state = self.room.wait(state).unwrap_or_else(|poison| poison.into_inner());
                continue;
            }
            let (step, sequence) = (state.next, state.sequence);
            state.next += 1;
            drop(state);
            let made = catch_unwind(AssertUnwindSafe(|| make(step)));
            state = self.lock();
            if state.sequence == sequence {
                state.ready.insert(step, made);
                self.made.notify_all();
            }
        }
    }
}

impl Drop for Prefetcher {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.room.notify_all();
        for thread in self.threads.drain(..) {
            // A worker's panic was handed over with its batch.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Prefetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Prefetcher")
            .field("source", &self.source)
            .field("split", &self.split)
            .field("order", &self.order)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::{
        Asks, Dataset, GratingsConfig, Input, InputSpec, Matrix, ModularConfig, NeedleConfig, Spec, Target,
        images::{ImagesConfig, augment::AugmentConfig},
        read::testing::{tiny_cifar, write_tiny_cifar},
    };

    /// Images with every augmentation, rows that never end, and rows in memory.
    fn sources() -> Vec<Arc<dyn BatchSource>> {
        let dir = tempfile::tempdir().unwrap();
        write_tiny_cifar(dir.path());
        let augment: Vec<AugmentConfig> = serde_json::from_str(
            r#"[{ "name": "shift", "pixels": 1.5 }, { "name": "crop", "padding": 1 }, "flip", "rotate",
                { "name": "cutout", "size": 1 }]"#,
        )
        .unwrap();
        let images = ImagesConfig { augment, val_fraction: 0.2, ..Default::default() };
        vec![
            images.open(&tiny_cifar(), dir.path(), 3).unwrap().into(),
            NeedleConfig::default().open(3).unwrap().into(),
            ModularConfig { p: 11, ..Default::default() }.open(3).unwrap().into(),
            GratingsConfig { samples: 40, size: 8, ..Default::default() }.open(3).unwrap().into(),
        ]
    }

    #[test]
    fn batches_do_not_depend_on_workers_nor_on_where_a_run_is_resumed() {
        for source in sources() {
            let order = Order::Shuffled { size: 3, drop_last: false, seed: 5 };
            let plain: Vec<Batch> = (0..40).map(|step| source.batch(Split::Train, &order, step)).collect();
            for workers in [0, 1, 2, 4] {
                for start in [0, 1, 23] {
                    let mut prefetcher = Prefetcher::new(source.clone(), Split::Train, order.clone(), workers);
                    for step in start..40 {
                        let batch = prefetcher.batch(step);
                        assert!(batch == plain[step as usize], "{source:?}: step {step}, {workers} workers");
                    }
                    // Back again, as an evaluation of an old checkpoint would.
                    assert!(prefetcher.batch(7) == plain[7] && prefetcher.batch(8) == plain[8]);
                }
            }
        }
    }

    /// Rows that hold their step; the earlier of each pair of steps takes longer.
    #[derive(Debug)]
    struct Uneven {
        spec: Spec,
        made: AtomicU64,
        broken: u64,
    }

    impl Uneven {
        fn new(broken: u64) -> Arc<Self> {
            let spec = Spec { input: InputSpec::Floats { width: 1 }, asks: Asks::Class { classes: 1 } };
            Arc::new(Self { spec, made: AtomicU64::new(0), broken })
        }
    }

    impl BatchSource for Uneven {
        fn spec(&self) -> &Spec {
            &self.spec
        }

        fn len(&self, _: Split) -> Option<usize> {
            None
        }

        fn batch(&self, _: Split, _: &Order, step: u64) -> Batch {
            thread::sleep(Duration::from_millis(3 * (1 - step % 2)));
            self.made.fetch_max(step + 1, Ordering::SeqCst);
            assert!(step != self.broken, "step {step} is broken");
            let input = Input::Floats(Matrix::new(vec![step as f32], 1));
            Batch { input, target: Target::Classes(vec![0]), rows: 1 }
        }
    }

    #[test]
    fn workers_run_ahead_but_not_far() {
        let source = Uneven::new(u64::MAX);
        let mut prefetcher = Prefetcher::new(source.clone(), Split::Train, Order::Full, 2);
        assert_eq!(source.made.load(Ordering::SeqCst), 0, "nothing is made before it is wanted");
        for step in 0..10 {
            let Input::Floats(values) = prefetcher.batch(step).input else { panic!("no floats") };
            assert_eq!(values.values(), [step as f32]);
        }
        thread::sleep(Duration::from_millis(100));
        assert_eq!(source.made.load(Ordering::SeqCst), 10 + 2 * Prefetcher::AHEAD);
    }

    #[test]
    fn a_panic_reaches_the_step_it_belongs_to_and_no_other() {
        let mut prefetcher = Prefetcher::new(Uneven::new(4), Split::Train, Order::Full, 3);
        (0..4).for_each(|step| drop(prefetcher.batch(step)));
        let panic = catch_unwind(AssertUnwindSafe(|| prefetcher.batch(4))).unwrap_err();
        assert_eq!(panic.downcast_ref::<String>().unwrap(), "step 4 is broken");
        assert_eq!(prefetcher.batch(5).rows, 1);
    }
}
