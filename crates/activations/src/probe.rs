//! What a forward pass leaves behind for measures, such as its attention weights.
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Tensor;

use crate::Keep;

/// Collects what the parts of a network record during forward passes that carry it (see
/// [`Ctx::with_probe`](crate::Ctx::with_probe) and [`Ctx::record`](crate::Ctx::record)).
///
/// Clones share what they collect. A pass without a probe computes nothing for it.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use kiln_activations::{Ctx, Keep, Probe};
///
/// let probe = Probe::default();
/// let ctx = Ctx::eval(0, 0).with_probe(&probe).child("blocks").child("0");
/// ctx.record("attention", &Keep::All, || Tensor::<3>::ones([2, 3, 5], &Device::flex()));
/// let records = probe.take();
/// assert_eq!((records[0].path.as_str(), records[0].name.as_str()), ("blocks.0", "attention"));
/// assert_eq!((records[0].rows.dims(), records[0].shape.as_slice()), ([6, 5], &[2, 3, 5][..]));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Probe {
    records: Arc<Mutex<Vec<Record>>>,
    names: Option<Arc<[String]>>,
}

/// One recorded tensor.
#[derive(Clone, Debug)]
pub struct Record {
    /// The part that recorded it, from the network's root: `blocks.0`.
    pub path: String,
    /// What it is: `attention` for the weights that a normalizer gave, `scores` for what it was given, `features` for what
    /// the head reads, `block` for what a block gave.
    pub name: String,
    /// The values, detached, as rows over the last axis: `[rows, n]`.
    pub rows: Tensor<2>,
    /// Which of them take part.
    pub keep: Keep,
    /// The shape before it was cut into rows, such as `[batch, heads, queries, keys]`.
    pub shape: Vec<usize>,
}

impl Probe {
    /// A probe that takes nothing but records of these names.
    pub fn of(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { names: Some(names.into_iter().map(Into::into).collect()), ..Self::default() }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted == name))
    }

    /// Everything recorded since the last call, in order.
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add<const D: usize>(&self, path: &str, name: &str, keep: &Keep, tensor: Tensor<D>) {
        let shape = tensor.dims();
        let (n, rows) = (shape[D - 1], shape[..D - 1].iter().product());
        let record = Record {
            path: path.into(),
            name: name.into(),
            rows: tensor.detach().reshape([rows, n]),
            keep: keep.clone(),
            shape: shape.to_vec(),
        };
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }
}
