//! From backend tensors to a kernel's arguments.
use burn::{
    backend::{TensorMetadata, cubecl::dtype_to_storage_type},
    tensor::{DType, Shape},
};
use burn_cubecl::{
    CubeBackend, kernel::into_contiguous, ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor,
};

use super::{
    CubeRow,
    cubecl::{
        ir::{ElemType, IntKind},
        prelude::{AddressType, BufferArg, CubeDim, InputScalar, SequenceArg},
        server::CubeCountSelection,
    },
    forward::row_map,
    vjp::row_map_vjp,
};
use crate::kernel::{AtInfinity, RowKeep, RowKernel, RowParams};

/// Units of a cube: enough to hide latency, and what every device offers.
const UNITS: u32 = 256;

/// Which entries are kept, for the compiler of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kept {
    All,
    Prefix,
    Mask,
}

/// What a kernel is compiled for, beside the map and the element types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Layout {
    /// Units side by side on a row: a power of two.
    pub(super) lanes: u32,
    /// Rows of a cube.
    pub(super) rows: u32,
    pub(super) kept: Kept,
    pub(super) params: u32,
    pub(super) constants: u32,
    pub(super) is_log: bool,
    pub(super) one_hot: bool,
}

impl Layout {
    pub(super) fn units(self) -> u32 {
        self.lanes * self.rows
    }
}

/// The forward pass of a map.
pub(super) struct Forward {
    pub(super) scores: CubeTensor,
    pub(super) rows: Rows,
}

/// The backward pass of a map.
pub(super) struct Vjp {
    pub(super) scores: CubeTensor,
    pub(super) weights: CubeTensor,
    pub(super) g: CubeTensor,
    pub(super) rows: Rows,
}

/// What both passes are told about the rows.
pub(super) struct Rows {
    shape: [usize; 2],
    params: Option<CubeTensor>,
    keep: Option<CubeTensor>,
    constants: Vec<f64>,
    layout: Layout,
    dtypes: [ElemType; 3],
    compute: DType,
}

impl Rows {
    /// # Panics
    /// If a shape or a dtype does not fit.
    pub(super) fn new(
        scores: &CubeTensor,
        row_params: RowParams<CubeBackend>,
        keep: RowKeep<CubeBackend>,
        kernel: &dyn RowKernel,
        constants: &[f64],
    ) -> Self {
        let (shape, dtype) = (scores.shape(), scores.dtype());
        let [rows, n] = [shape[0], shape[1]];
        let p = kernel.n_params();
        let compute = match dtype {
            DType::F64 => DType::F64,
            DType::F32 | DType::F16 | DType::BF16 => DType::F32,
            other => panic!("row operations take f32, f64, f16 or bf16, not {other:?}"),
        };
        let params = match row_params {
            RowParams::None => None,
            RowParams::Rows(params) => Some(into_contiguous(params)),
        };
        assert_eq!(params.is_some(), p > 0, "this kernel takes {p} parameters per row");
        if let Some(params) = &params {
            assert_eq!(params.dtype(), dtype, "row parameters are stored as the scores are");
            assert_eq!(params.shape().num_elements(), rows * p, "row parameters are [rows, {p}]");
        }
        let (kept, keep) = match keep {
            RowKeep::All => (Kept::All, None),
            RowKeep::Prefix(count) => {
                assert_eq!(count.shape().num_elements(), rows, "one count of kept entries per row");
                (Kept::Prefix, Some(into_contiguous(count)))
            }
            RowKeep::Mask(mask) => {
                assert_eq!(mask.shape().num_elements(), rows * n, "one mask entry per score");
                (Kept::Mask, Some(into_contiguous(mask)))
            }
        };
        let keep_type = keep.as_ref().map_or(ElemType::Int(IntKind::I32), |keep| dtype_to_storage_type(keep.dtype()));
        let hardware = &scores.client.properties().hardware;
        let units = UNITS.min(hardware.max_units_per_cube).min(hardware.max_cube_dim.0);
        let lanes = u32::try_from(n.next_power_of_two()).unwrap_or(units).min(1 << units.ilog2());
        let layout = Layout {
            lanes,
            rows: (units / lanes).min(hardware.max_cube_dim.1),
            kept,
            params: p as u32,
            constants: constants.len() as u32,
            is_log: kernel.is_log(),
            one_hot: kernel.at_infinity() == AtInfinity::OneHot,
        };
        let dtypes = [dtype_to_storage_type(dtype), dtype_to_storage_type(compute), keep_type];
        Self { shape: [rows, n], params, keep, constants: constants.to_vec(), layout, dtypes, compute }
    }

    /// A tensor like the scores, not yet written.
    fn empty(&self, scores: &CubeTensor, shape: [usize; 2]) -> CubeTensor {
        empty_device_contiguous_dtype(scores.client.clone(), scores.device.clone(), Shape::new(shape), scores.dtype)
    }

    fn scalar(&self, value: f64) -> InputScalar {
        InputScalar::new(value, dtype_to_storage_type(self.compute))
    }

    fn constants(&self) -> SequenceArg<InputScalar> {
        let mut constants = SequenceArg::new();
        self.constants.iter().for_each(|&constant| constants.push(self.scalar(constant)));
        constants
    }

    fn cubes(&self, scores: &CubeTensor) -> CubeCountSelection {
        let cubes = self.shape[0].div_ceil(self.layout.rows as usize);
        let cubes = u32::try_from(cubes).expect("row operations take less than 2^32 rows on this device");
        CubeCountSelection::new(&scores.client, cubes)
    }

    fn dim(&self) -> CubeDim {
        CubeDim::new_2d(self.layout.lanes, self.layout.rows)
    }

    /// Wide enough for every tensor: none is larger than the scores, unless a row has more parameters than entries.
    fn address(&self, scores: &CubeTensor) -> AddressType {
        let tensors = [Some(scores), self.params.as_ref(), self.keep.as_ref()];
        tensors.into_iter().flatten().map(CubeTensor::required_address_type).max().unwrap_or_default()
    }
}

fn buffer(tensor: &Option<CubeTensor>) -> Option<BufferArg> {
    tensor.clone().map(CubeTensor::into_buffer_arg)
}

/// The results of a map with the cube code `M`.
pub(super) fn forward<M: CubeRow>(Forward { scores, rows }: Forward) -> CubeTensor {
    let [count, n] = rows.shape;
    let scores = into_contiguous(scores);
    let weights = rows.empty(&scores, rows.shape);
    if count * n == 0 {
        return weights;
    }
    // SAFETY: all tensors are contiguous and of the shapes that `Rows::new` checked; the kernel reads at
    // row < rows, entry < n, parameter < P and writes the same places of rows that exist. Its loops end after n steps.
    unsafe {
        row_map::launch_unchecked::<M>(
            &weights.client,
            rows.cubes(&scores).cube_count(),
            rows.dim(),
            rows.address(&scores),
            scores.into_buffer_arg(),
            buffer(&rows.params).into(),
            buffer(&rows.keep).into(),
            weights.clone().into_buffer_arg(),
            count,
            n,
            rows.constants(),
            rows.scalar(f64::NAN),
            rows.scalar(f64::NEG_INFINITY),
            rows.layout,
            rows.dtypes,
        );
    }
    weights
}

/// The gradients of a map with the cube code `M`, at the scores and at the row parameters if there are any.
pub(super) fn vjp<M: CubeRow>(Vjp { scores, weights, g, rows }: Vjp) -> (CubeTensor, Option<CubeTensor>) {
    let [count, n] = rows.shape;
    let [scores, weights, g] = [scores, weights, g].map(into_contiguous);
    let p = rows.layout.params as usize;
    let dx = rows.empty(&scores, rows.shape);
    let dparams = (p > 0).then(|| {
        if n > 0 {
            rows.empty(&scores, [count, p])
        } else {
            burn_cubecl::ops::numeric::zeros(scores.device.clone(), Shape::new([count, p]), scores.dtype)
        }
    });
    if count * n == 0 {
        return (dx, dparams);
    }
    // SAFETY: as in `forward`; weights and gradient have the shape of the scores, `dparams` is `[rows, P]`.
    unsafe {
        row_map_vjp::launch_unchecked::<M>(
            &dx.client,
            rows.cubes(&scores).cube_count(),
            rows.dim(),
            rows.address(&scores),
            scores.into_buffer_arg(),
            weights.into_buffer_arg(),
            g.into_buffer_arg(),
            buffer(&rows.params).into(),
            buffer(&rows.keep).into(),
            dx.clone().into_buffer_arg(),
            buffer(&dparams).into(),
            count,
            n,
            rows.constants(),
            rows.scalar(f64::NAN),
            rows.scalar(f64::NEG_INFINITY),
            rows.layout,
            rows.dtypes,
        );
    }
    (dx, dparams)
}
