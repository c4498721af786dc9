//! The row operations on the host: tensors in, drivers over their slices, tensors out.
use std::sync::Arc;

use burn::{
    backend::{
        Backend, TensorMetadata,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::DType,
};
use half::{bf16, f16};

use super::{
    Double, Half, LossKernel, RowKeep, RowKernel, RowKernelOf, RowParams, Single,
    drive_loss::{LossDriver, LossSlices},
    drive_map::{MapDriver, VjpSlices},
    host::{Floats, HostBackend, HostTensor, tensor},
    kept::Kept,
    lanes,
    storage::Stored,
};
use crate::loss::LossDtype;

/// Runs `$body` with `$S` standing for the stored type and `$P` for the precision of its arithmetic.
macro_rules! with_storage {
    ($dtype:expr, $S:ident, $P:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $S = f32;
                type $P = Single;
                $body
            }
            DType::F64 => {
                type $S = f64;
                type $P = Double;
                $body
            }
            DType::F16 => {
                type $S = f16;
                type $P = Single;
                $body
            }
            DType::BF16 => {
                type $S = bf16;
                type $P = Single;
                $body
            }
            other => panic!("row operations take f32, f64, f16 or bf16, not {other:?}"),
        }
    };
}

pub(super) use with_storage;

/// As [`with_storage`], for the precision of a loss and the type it is stored in.
macro_rules! with_loss {
    ($dtype:expr, $L:ident, $P:ident => $body:expr) => {
        match $dtype {
            LossDtype::F16 => {
                type $L = f16;
                type $P = Half;
                $body
            }
            LossDtype::F32 => {
                type $L = f32;
                type $P = Single;
                $body
            }
            LossDtype::F64 => {
                type $L = f64;
                type $P = Double;
                $body
            }
        }
    };
}

/// The rows' removed entries, read to the host.
pub(super) enum HostKeep {
    All,
    Prefix(Vec<usize>),
    Mask(Vec<u8>),
}

impl HostKeep {
    pub(super) fn read<B: HostBackend>(keep: RowKeep<B>, rows: usize, n: usize) -> Self {
        match keep {
            RowKeep::All => Self::All,
            RowKeep::Prefix(count) => {
                // A negative count keeps nothing.
                let count: Vec<usize> = B::ints(count)
                    .places()
                    .into_iter()
                    .map(|count| if count == usize::MAX { 0 } else { count })
                    .collect();
                assert_eq!(count.len(), rows, "one count of kept entries per row");
                Self::Prefix(count)
            }
            RowKeep::Mask(mask) => {
                let mask = B::bools(mask).bytes();
                assert_eq!(mask.len(), rows * n, "one mask entry per score");
                Self::Mask(mask)
            }
        }
    }

    pub(super) fn view(&self) -> Kept<'_> {
        match self {
            Self::All => Kept::All,
            Self::Prefix(count) => Kept::Prefix(count),
            Self::Mask(mask) => Kept::Mask(mask),
        }
    }
}

fn params<B: HostBackend>(params: RowParams<B>, rows: usize, n_params: usize, dtype: DType) -> Option<HostTensor> {
    let params = match params {
        RowParams::None => None,
        RowParams::Rows(params) => {
            assert_eq!(params.dtype(), dtype, "row parameters are stored as the scores are");
            assert_eq!(params.shape().num_elements(), rows * n_params, "row parameters are [rows, {n_params}]");
            Some(B::floats(params))
        }
    };
    assert_eq!(params.is_some(), n_params > 0, "this kernel takes {n_params} parameters per row");
    params
}

/// The same map as an object for one scalar.
trait ForScalar<T: super::Real> {
    fn kernel(&self) -> &dyn RowKernelOf<T>;
}
impl ForScalar<f32> for Arc<dyn RowKernel> {
    fn kernel(&self) -> &dyn RowKernelOf<f32> {
        &**self
    }
}
impl ForScalar<f64> for Arc<dyn RowKernel> {
    fn kernel(&self) -> &dyn RowKernelOf<f64> {
        &**self
    }
}

/// [`super::RowOps::row_map`].
pub(crate) fn row_map<B: HostBackend>(
    scores: FloatTensor<B>,
    row_params: RowParams<B>,
    keep: RowKeep<B>,
    kernel: &Arc<dyn RowKernel>,
) -> FloatTensor<B> {
    let (shape, dtype, device) = (scores.shape(), scores.dtype(), scores.device());
    let (rows, n) = (shape[0], shape[1]);
    let keep = HostKeep::read(keep, rows, n);
    let row_params = params(row_params, rows, kernel.n_params(), dtype);
    let scores = B::floats(scores);
    with_storage!(dtype, S, P => {
        let row_params = row_params.as_ref().map_or(&[][..], S::slice);
        let y = MapDriver::new(kernel.kernel(), &**kernel, n, keep.view())
            .forward::<S, P>(S::slice(&scores), row_params);
        tensor::<B, S>(y, shape, &device)
    })
}

/// What the backward pass of [`row_map`] starts from.
#[derive(Debug, Clone)]
pub struct MapSaved<B: Backend> {
    /// The scores.
    pub scores: FloatTensor<B>,
    /// The result.
    pub weights: FloatTensor<B>,
    /// The row parameters.
    pub row_params: RowParams<B>,
    /// Which entries took part.
    pub keep: RowKeep<B>,
    /// The map.
    pub kernel: Arc<dyn RowKernel>,
}

/// The gradients at the scores and, where there are any, at the row parameters.
pub type RowGrads<B> = (FloatTensor<B>, Option<FloatTensor<B>>);

/// [`super::RowVjps::row_map_vjp`].
pub(crate) fn row_map_vjp<B: HostBackend>(saved: MapSaved<B>, g: FloatTensor<B>) -> RowGrads<B> {
    let MapSaved { scores, weights, row_params, keep, kernel } = saved;
    let (shape, dtype, device) = (scores.shape(), scores.dtype(), scores.device());
    let (rows, n, p) = (shape[0], shape[1], kernel.n_params());
    let keep = HostKeep::read(keep, rows, n);
    let row_params = params(row_params, rows, p, dtype);
    let (scores, weights, g) = (B::floats(scores), B::floats(weights), B::floats(g));
    with_storage!(dtype, S, P => {
        let from = VjpSlices {
            x: S::slice(&scores),
            y: S::slice(&weights),
            params: row_params.as_ref().map_or(&[][..], S::slice),
            g: S::slice(&g),
        };
        let (dx, dparams) = MapDriver::new(kernel.kernel(), &*kernel, n, keep.view()).vjp::<S, P>(from);
        let dparams = (p > 0).then(|| tensor::<B, S>(dparams, [rows, p], &device));
        (tensor::<B, S>(dx, shape, &device), dparams)
    })
}

/// What [`row_loss`] starts from, forward and backward.
#[derive(Debug, Clone)]
pub struct LossInput<B: Backend> {
    /// The logits.
    pub logits: FloatTensor<B>,
    /// The row parameters.
    pub row_params: RowParams<B>,
    /// The target of each row.
    pub target: IntTensor<B>,
    /// Which entries take part.
    pub keep: RowKeep<B>,
    /// The loss.
    pub kernel: Arc<dyn LossKernel>,
    /// Its precision.
    pub dtype: LossDtype,
}

/// A [`LossInput`] on the host.
struct HostLoss {
    logits: HostTensor,
    row_params: Option<HostTensor>,
    targets: Vec<usize>,
    keep: HostKeep,
    rows: usize,
    n: usize,
}

impl HostLoss {
    fn read<B: HostBackend>(input: LossInput<B>) -> Self {
        let (shape, dtype) = (input.logits.shape(), input.logits.dtype());
        let (rows, n) = (shape[0], shape[1]);
        let keep = HostKeep::read(input.keep, rows, n);
        let row_params = params(input.row_params, rows, input.kernel.n_params(), dtype);
        let targets = B::ints(input.target).places();
        assert_eq!(targets.len(), rows, "one target per row of logits");
        if let Some(row) = targets.iter().position(|&target| target >= n) {
            panic!("the target of row {row} is not a class: expected 0 to {}, as there are {n} logits", n.max(1) - 1);
        }
        Self { logits: B::floats(input.logits), row_params, targets, keep, rows, n }
    }

    fn slices<S: Floats>(&self) -> LossSlices<'_, S> {
        LossSlices {
            x: S::slice(&self.logits),
            params: self.row_params.as_ref().map_or(&[][..], S::slice),
            targets: &self.targets,
        }
    }
}

/// [`super::RowOps::row_loss`].
pub(crate) fn row_loss<B: HostBackend>(input: LossInput<B>) -> (FloatTensor<B>, FloatTensor<B>) {
    let (device, kernel, dtype) = (input.logits.device(), input.kernel.clone(), input.dtype);
    let input = HostLoss::read(input);
    with_loss!(dtype, L, P => {
        let (mut loss, mut row_sum) = (vec![L::default(); input.rows], vec![L::default(); input.rows]);
        let driver = LossDriver::<P>::new(&*kernel, &*kernel, input.n, input.keep.view());
        with_storage!(input.logits.dtype(), S, _P => driver.forward(input.slices::<S>(), &mut loss, &mut row_sum));
        (tensor::<B, L>(loss, [input.rows], &device), tensor::<B, L>(row_sum, [input.rows], &device))
    })
}

/// [`super::RowVjps::row_loss_vjp`].
pub(crate) fn row_loss_vjp<B: HostBackend>(
    input: LossInput<B>,
    row_sum: FloatTensor<B>,
    g: FloatTensor<B>,
) -> RowGrads<B> {
    let (device, kernel, dtype) = (input.logits.device(), input.kernel.clone(), input.dtype);
    let (p, row_sum, g) = (kernel.n_params(), B::floats(row_sum), B::floats(g));
    let input = HostLoss::read(input);
    let (rows, n) = (input.rows, input.n);
    with_loss!(dtype, L, P => {
        let driver = LossDriver::<P>::new(&*kernel, &*kernel, n, input.keep.view());
        with_storage!(input.logits.dtype(), S, _P => {
            let (mut dx, mut dparams) = (vec![S::default(); rows * n], vec![S::default(); rows * p]);
            driver.vjp(input.slices::<S>(), (L::slice(&row_sum), L::slice(&g)), &mut dx, &mut dparams);
            let dparams = (p > 0).then(|| tensor::<B, S>(dparams, [rows, p], &device));
            (tensor::<B, S>(dx, [rows, n], &device), dparams)
        })
    })
}

/// [`super::RowOps::row_mean`].
pub(crate) fn row_mean<B: HostBackend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let (dtype, device) = (x.dtype(), x.device());
    let x = B::floats(x);
    with_storage!(dtype, S, _P => {
        let x = S::slice(&x);
        let mut room = vec![0.0; x.len()];
        let mean = lanes::lane_sum(<S as Stored<Double>>::load(x, &mut room)) / x.len() as f64;
        let mut out = vec![S::default()];
        <S as Stored<Double>>::fill(&mut out, &mut room[..1], |out| out[0] = mean);
        tensor::<B, S>(out, [1], &device)
    })
}
