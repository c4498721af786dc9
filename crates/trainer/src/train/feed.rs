//! From a data source's host rows to tensors on the device.
use std::{collections::HashMap, ops::Range, sync::Arc};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use kiln_activations::loss::{Target, TargetKind};
use kiln_datasets::{self as data, BatchSource, Matrix, Order, Prefetcher, Split};
use kiln_models::{Ask, At, Input, InputSpec, Io};

/// A batch on the device.
#[derive(Clone, Debug)]
pub struct DeviceBatch {
    /// What the model receives.
    pub input: Input,
    /// Where its answers are read.
    pub ask: Ask,
    /// What the loss receives: row after row, and within a row place after place.
    pub target: Target,
    /// The right class of each answer, on the host; `None` where the answers are real numbers.
    pub classes: Option<Vec<usize>>,
    /// Answers per row.
    pub answers: usize,
}

impl DeviceBatch {
    /// Some of the rows: what the model receives, and where its answers about them are read.
    ///
    /// # Panics
    /// If one of them does not exist.
    pub fn part(&self, rows: Range<usize>) -> (Input, Ask) {
        if rows == (0..self.input.rows()) {
            return (self.input.clone(), self.ask.clone());
        }
        let ask = match &self.ask.at {
            At::Row => self.ask.clone(),
            At::Places(places) => {
                let part = places.clone().narrow(0, rows.start * self.answers, rows.len() * self.answers);
                Ask::places(part.sub_scalar((rows.start * self.input.length()) as i64))
            }
        };
        (self.input.rows_in(rows), ask)
    }
}

/// The batches of one run. Constant ones are uploaded once.
#[derive(Debug)]
pub struct Feed {
    source: Arc<dyn BatchSource>,
    train: Prefetcher,
    device: Device,
    dtype: DType,
    /// The last training batch with its step: a logged step asks twice.
    last: Option<(u64, Arc<DeviceBatch>)>,
    /// The step whose batch every step gets.
    held: Option<u64>,
    sets: HashMap<Split, Arc<DeviceBatch>>,
}

impl Feed {
    /// Batches of `batch_size` rows, reshuffled each epoch, or the whole training set at every step; made by so many
    /// `workers` ahead of their use, as many as the source thinks good if left out.
    pub fn new(
        source: Box<dyn BatchSource>,
        seed: u64,
        batch_size: Option<usize>,
        workers: Option<usize>,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let order = match batch_size {
            None => Order::Full,
            Some(size) => Order::Shuffled { size, drop_last: false, seed },
        };
        let source: Arc<dyn BatchSource> = source.into();
        let repeats = source.repeats(Split::Train, &order);
        let workers = if repeats { 0 } else { workers.unwrap_or_else(|| source.workers()) };
        let train = Prefetcher::new(source.clone(), Split::Train, order, workers);
        Self { source, train, device: device.clone(), dtype, last: None, held: None, sets: HashMap::new() }
    }

    /// From now on every step gets the training batch of this one.
    pub fn hold(&mut self, step: u64) {
        self.held = Some(step);
    }

    /// The training batch of a step.
    pub fn train(&mut self, step: u64) -> Arc<DeviceBatch> {
        let step = self.held.unwrap_or(step);
        let repeats = self.source.repeats(Split::Train, self.train.order());
        if let Some((last, batch)) = &self.last
            && (*last == step || repeats)
        {
            return batch.clone();
        }
        let batch = self.train.batch(step);
        let batch = Arc::new(self.upload(batch));
        self.last = Some((step, batch.clone()));
        batch
    }

    /// A whole evaluation set.
    pub fn eval(&mut self, set: Split) -> Arc<DeviceBatch> {
        if let Some(batch) = self.sets.get(&set) {
            return batch.clone();
        }
        let batch = Arc::new(self.upload(self.source.batch(set, &Order::Full, 0)));
        // There may be twenty shifted sets as large as the test set; they are made again rather than kept.
        if !matches!(set, Split::Shifted { .. }) {
            self.sets.insert(set, batch.clone());
        }
        batch
    }

    /// The data source.
    pub fn source(&self) -> &dyn BatchSource {
        &*self.source
    }

    fn upload(&self, batch: data::Batch) -> DeviceBatch {
        // The model and the data sets know nothing of each other; this is where they meet.
        let input = match batch.input {
            data::Input::OneHot(indices) => Input::OneHot(self.ints(&indices)),
            data::Input::Tokens(tokens) => Input::Tokens(self.ints(&tokens)),
            data::Input::TokenSums { ids, parts } => Input::TokenSums { ids: self.ints(&ids), parts },
            data::Input::Floats(values) => {
                let shape = [values.rows(), values.columns()];
                let values = TensorData::new(values.values().to_vec(), shape);
                Input::Floats(Tensor::from_data(values, (&self.device, self.dtype)))
            }
            data::Input::Items { values, features } => {
                let shape = [values.rows(), values.columns() / features, features];
                let values = TensorData::new(values.values().to_vec(), shape);
                Input::Items(Tensor::from_data(values, (&self.device, self.dtype)))
            }
            data::Input::Image(images) => {
                let [channels, height, width] = images.shape();
                let values = TensorData::new(images.values(), [images.rows(), channels, height, width]);
                Input::Image(Tensor::from_data(values, (&self.device, self.dtype)))
            }
            other => unreachable!("an input kind without tensors: {other:?}"),
        };
        let answers = batch.target.answers();
        let (ask, classes) = match batch.target {
            data::Target::Classes(classes) => (Ask::row(), classes),
            data::Target::Values(values) => {
                let data = TensorData::new(values.values().to_vec(), [values.rows(), values.columns()]);
                let target = Target::Values(Tensor::from_data(data, (&self.device, self.dtype)));
                return DeviceBatch { input, ask: Ask::row(), target, classes: None, answers };
            }
            data::Target::Tokens { places, classes } => {
                let length = input.length() as i64;
                let of_row =
                    |row: usize| places.row(row).iter().map(move |&place| row as i64 * length + i64::from(place));
                let flat: Vec<i64> = (0..places.rows()).flat_map(of_row).collect();
                let flat = TensorData::new(flat, [places.values().len()]);
                (Ask::places(Tensor::from_data(flat, &self.device)), classes.values().to_vec())
            }
            other => unreachable!("a target kind without tensors: {other:?}"),
        };
        DeviceBatch {
            input,
            ask,
            target: Target::Classes(Tensor::from_data(TensorData::new(classes.clone(), [classes.len()]), &self.device)),
            classes: Some(classes.iter().map(|&class| class as usize).collect()),
            answers,
        }
    }

    fn ints(&self, values: &Matrix<i32>) -> Tensor<2, Int> {
        Tensor::from_data(TensorData::new(values.values().to_vec(), [values.rows(), values.columns()]), &self.device)
    }
}

/// The two ends of a network for this data.
pub fn io(spec: &data::Spec) -> Io {
    let input = match spec.input {
        data::InputSpec::OneHot { width, hot } => InputSpec::OneHot { width, hot },
        data::InputSpec::Tokens { vocabulary, length } => InputSpec::Tokens { vocabulary, length },
        data::InputSpec::TokenSums { vocabulary, parts, length } => InputSpec::TokenSums { vocabulary, parts, length },
        data::InputSpec::Floats { width } => InputSpec::Floats { width },
        data::InputSpec::Items { features } => InputSpec::Items { features },
        data::InputSpec::Image { channels, height, width } => InputSpec::Image { channels, height, width },
    };
    Io { input, outputs: spec.asks.outputs() }
}

/// What the answers are compared with.
pub fn target(spec: &data::Spec) -> TargetKind {
    match spec.asks {
        data::Asks::Class { .. } | data::Asks::Tokens { .. } => TargetKind::Classes,
        data::Asks::Values { .. } => TargetKind::Values,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;
    use kiln_datasets::{CopyingConfig, Dataset, NeedleConfig, PairRecallConfig};

    use super::*;

    fn feed(data: &dyn Dataset) -> Feed {
        Feed::new(data.open(3).unwrap(), 3, Some(4), None, &Device::flex(), DType::F32)
    }

    fn numbers<const D: usize>(tensor: &Tensor<D, Int>) -> Vec<i64> {
        tensor.to_data().iter::<i64>().collect()
    }

    fn places(ask: &Ask) -> Vec<i64> {
        let At::Places(places) = &ask.at else { panic!("not at places") };
        numbers(places)
    }

    fn classes(batch: &DeviceBatch) -> Vec<i64> {
        numbers(batch.target.classes())
    }

    #[test]
    #[cfg(feature = "flex")]
    fn places_are_counted_through_the_batch_and_through_each_part_of_it() {
        let mut feed = feed(&CopyingConfig { rows: 5, test_lengths: vec![3], ..Default::default() });
        let batch = feed.eval(Split::Length(3));
        assert_eq!((batch.input.rows(), batch.input.length(), batch.answers), (5, 6, 3));
        // Answers 3, 4 and 5 of each row of six tokens.
        let expected = [3, 4, 5, 9, 10, 11, 15, 16, 17, 21, 22, 23, 27, 28, 29];
        assert_eq!(places(&batch.ask), expected);
        let Input::Tokens(tokens) = &batch.input else { panic!("no tokens") };
        let tokens = numbers(tokens);
        let copied: Vec<i64> = (0..5).flat_map(|row| tokens[6 * row..6 * row + 3].to_vec()).collect();
        assert_eq!(classes(&batch), copied);
        let host: Vec<i64> = batch.classes.iter().flatten().map(|&class| class as i64).collect();
        assert_eq!(host, copied);

        let (input, ask) = batch.part(2..4);
        assert_eq!(places(&ask), expected[..6]);
        let Input::Tokens(part) = &input else { panic!("no tokens") };
        assert_eq!(numbers(part), tokens[12..24]);
        assert_eq!(places(&batch.part(0..5).1), expected);
    }

    #[test]
    #[cfg(feature = "flex")]
    fn sums_of_tokens_and_one_class_per_row() {
        let mut pairs = feed(&PairRecallConfig { train_lengths: [2, 2], ..Default::default() });
        let batch = pairs.train(0);
        let Input::TokenSums { ids, parts: 2 } = &batch.input else { panic!("no sums of tokens") };
        assert_eq!((ids.dims(), batch.input.length(), batch.answers), ([4, 8], 4, 2));
        assert_eq!(places(&batch.ask), [2, 3, 6, 7, 10, 11, 14, 15]);
        let mut needle = feed(&NeedleConfig::default());
        let batch = needle.train(0);
        assert!(matches!(batch.ask.at, At::Row) && batch.answers == 1);
        assert_eq!(classes(&batch).len(), 4);
    }
}
