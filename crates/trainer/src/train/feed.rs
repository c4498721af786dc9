//! From a data source's host rows to tensors on the device.
use std::{collections::HashMap, sync::Arc};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use kiln_activations::loss::Target;
use kiln_datasets::{self as data, BatchSource, Matrix, Order, Split};
use kiln_models::{Ask, Input, InputSpec, Io};

/// A batch on the device.
#[derive(Clone, Debug)]
pub struct DeviceBatch {
    /// What the model receives.
    pub input: Input,
    /// Where its answers are read.
    pub ask: Ask,
    /// What the loss receives.
    pub target: Target,
    /// The right class of each row, on the host.
    pub classes: Vec<usize>,
}

/// The batches of one run. Constant ones are uploaded once.
#[derive(Debug)]
pub struct Feed {
    source: Box<dyn BatchSource>,
    order: Order,
    device: Device,
    dtype: DType,
    constant: Option<Arc<DeviceBatch>>,
    sets: HashMap<Split, Arc<DeviceBatch>>,
}

impl Feed {
    /// Batches of `batch_size` rows, reshuffled each epoch, or the whole training set at every step.
    pub fn new(
        source: Box<dyn BatchSource>,
        seed: u64,
        batch_size: Option<usize>,
        device: &Device,
        dtype: DType,
    ) -> Self {
        let order = match batch_size {
            None => Order::Full,
            Some(size) => Order::Shuffled { size, drop_last: false, seed },
        };
        Self { source, order, device: device.clone(), dtype, constant: None, sets: HashMap::new() }
    }

    /// The training batch of a step.
    pub fn train(&mut self, step: u64) -> Arc<DeviceBatch> {
        if let Some(batch) = &self.constant {
            return batch.clone();
        }
        let batch = Arc::new(self.upload(self.source.batch(Split::Train, &self.order, step)));
        if self.order.is_constant() {
            self.constant = Some(batch.clone());
        }
        batch
    }

    /// A whole evaluation set.
    pub fn eval(&mut self, set: Split) -> Arc<DeviceBatch> {
        if let Some(batch) = self.sets.get(&set) {
            return batch.clone();
        }
        let batch = Arc::new(self.upload(self.source.batch(set, &Order::Full, 0)));
        self.sets.insert(set, batch.clone());
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
        let data::Target::Classes(classes) = batch.target else { unreachable!("a target kind without tensors") };
        DeviceBatch {
            input,
            ask: Ask::row(),
            target: Target::Classes(Tensor::from_data(TensorData::new(classes.clone(), [classes.len()]), &self.device)),
            classes: classes.iter().map(|&class| class as usize).collect(),
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
        data::InputSpec::Floats { width } => InputSpec::Floats { width },
        data::InputSpec::Items { features } => InputSpec::Items { features },
        data::InputSpec::Image { channels, height, width } => InputSpec::Image { channels, height, width },
    };
    Io { input, outputs: spec.classes }
}
