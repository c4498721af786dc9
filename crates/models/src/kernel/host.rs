//! CPU loops over rows, for `f32` and `f64`.
//!
//! Rows are cut into [`PARTS`] parts whose limits follow from the shape alone. A part is worked on by one
//! thread, and sums over rows are added part by part in order: the thread count moves no bit.
use std::{
    mem::MaybeUninit,
    ops::{AddAssign, Mul, Range, Sub},
};

use burn::{
    backend::{
        Bytes, DType, Shape, TensorMetadata,
        flex::{FlexTensor, Layout},
    },
    tensor::Element,
};
use rayon::prelude::*;

use super::{
    Epilogue,
    product::{Matrix, product, product_by_columns},
};

/// Parts that the rows of a pass are cut into: enough for a few threads, few enough that each product packs
/// its right factor seldom.
pub(super) const PARTS: usize = 8;

/// Parts of the weight gradient: each needs a partial sum of the weight's size.
const WEIGHT_PARTS: usize = 4;

/// Parts of rows that need scratch memory: enough for many threads, few enough that the scratch is made seldom.
const SCRATCH_PARTS: usize = 32;

/// Multiply-adds (or moved values) below which waking a second thread costs more than it brings.
const PARALLEL_WORK: usize = 1 << 16;

/// An element type with kernels.
pub(super) trait Real:
    Element + Copy + PartialOrd + AddAssign + Sub<Output = Self> + Mul<Output = Self> + Send + Sync + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// All values behind a tensor, however it walks through them.
    fn storage(tensor: &FlexTensor) -> &[Self];
    /// The values of a contiguous tensor.
    fn view(tensor: &FlexTensor) -> &[Self];
    /// The values of a contiguous tensor, copied first if the storage is shared.
    fn view_mut(tensor: &mut FlexTensor) -> &mut [Self];
    /// A tensor of these values, without a copy.
    fn tensor<const D: usize>(values: Vec<Self>, shape: [usize; D]) -> FlexTensor;
}

macro_rules! real {
    ($real:ty, $dtype:expr) => {
        impl Real for $real {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            fn storage(tensor: &FlexTensor) -> &[Self] {
                tensor.storage()
            }
            fn view(tensor: &FlexTensor) -> &[Self] {
                tensor.storage()
            }
            fn view_mut(tensor: &mut FlexTensor) -> &mut [Self] {
                tensor.storage_mut()
            }
            fn tensor<const D: usize>(values: Vec<Self>, shape: [usize; D]) -> FlexTensor {
                debug_assert_eq!(values.len(), shape.iter().product::<usize>());
                FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(Shape::from(shape)), $dtype)
            }
        }
    };
}
real!(f32, DType::F32);
real!(f64, DType::F64);

/// The tensor, contiguous, and sharing its storage with no copy that this call made.
pub(super) fn owned(tensor: FlexTensor) -> FlexTensor {
    let contiguous = tensor.to_contiguous();
    drop(tensor);
    contiguous
}

/// Rows of one part, at least 1.
pub(super) fn part(rows: usize, parts: usize) -> usize {
    rows.div_ceil(parts).max(1)
}

/// A new vector of `rows` rows of `width` values, written in parts of `part` rows by
/// `write(first row, values)`; the memory is not cleared first.
///
/// # Safety
/// `write` must initialise every value it is handed.
pub(super) unsafe fn fresh<R: Real>(
    rows: usize,
    width: usize,
    part: usize,
    work: usize,
    write: impl Fn(usize, &mut [MaybeUninit<R>]) + Sync,
) -> Vec<R> {
    // SAFETY: the caller's `write` initialises every value it is handed.
    let (values, _) = unsafe { fresh_with(rows, width, part, work, write) };
    values
}

/// As [`fresh`]; with the vector comes what `write` gave back for each part, in order.
///
/// # Safety
/// As there.
pub(super) unsafe fn fresh_with<R: Real, T: Send>(
    rows: usize,
    width: usize,
    part: usize,
    work: usize,
    write: impl Fn(usize, &mut [MaybeUninit<R>]) -> T + Sync,
) -> (Vec<R>, Vec<T>) {
    let len = rows * width;
    let mut values: Vec<R> = Vec::with_capacity(len);
    let mut given = Vec::new();
    if len > 0 {
        let spare = &mut values.spare_capacity_mut()[..len];
        if work < PARALLEL_WORK {
            given.extend(spare.chunks_mut(part * width).enumerate().map(|(i, chunk)| write(i * part, chunk)));
        } else {
            let parts = spare.par_chunks_mut(part * width).enumerate();
            given.par_extend(parts.map(|(i, chunk)| write(i * part, chunk)));
        }
    }
    // SAFETY: the parts cover all `len` values, and the caller's `write` initialises each of them.
    unsafe { values.set_len(len) };
    (values, given)
}

/// As [`fresh`], with a row at a time and scratch memory that each part makes once: `write(scratch, row, values)`. `work` is
/// that of one row.
///
/// # Safety
/// `write` must initialise every value it is handed.
pub(super) unsafe fn fresh_parts<R: Real, S>(
    rows: usize,
    width: usize,
    work: usize,
    scratch: impl Fn() -> S + Sync,
    write: impl Fn(&mut S, usize, &mut [MaybeUninit<R>]) + Sync,
) -> Vec<R> {
    // SAFETY: the rows of a part cover it, and the caller's `write` initialises each of them.
    unsafe {
        fresh(rows, width, part(rows, SCRATCH_PARTS), rows.saturating_mul(work), |first, out| {
            let mut scratch = scratch();
            for (i, row) in out.chunks_exact_mut(width).enumerate() {
                write(&mut scratch, first + i, row);
            }
        })
    }
}

/// The sum of what `sum` gives for each part of `0..rows`, added in order; `work` is that of one row.
pub(super) fn summed_parts<R: Real>(rows: usize, work: usize, sum: impl Fn(Range<usize>) -> Vec<R> + Sync) -> Vec<R> {
    let part = part(rows, PARTS);
    let range = |i: usize| i * part..((i + 1) * part).min(rows);
    // No rows are one empty part, so that the sum exists.
    let parts = rows.div_ceil(part).max(1);
    let partial: Vec<Vec<R>> = if rows.saturating_mul(work) < PARALLEL_WORK {
        (0..parts).map(|i| sum(range(i))).collect()
    } else {
        (0..parts).into_par_iter().map(|i| sum(range(i))).collect()
    };
    add_in_order(partial)
}

/// The sums over rows and pixels of `[rows, channels, pixels]`, in a fixed order.
pub(super) fn plane_sums<R: Real>(values: &[R], channels: usize, pixels: usize) -> Vec<R> {
    let rows = values.len() / (channels * pixels).max(1);
    summed_parts(rows, channels * pixels, |range| {
        let mut sums = vec![R::ZERO; channels];
        for row in range {
            let planes = values[row * channels * pixels..][..channels * pixels].chunks_exact(pixels);
            for (sum, plane) in sums.iter_mut().zip(planes) {
                let [total] = lanes([plane], |[value]| [value]);
                *sum += total;
            }
        }
        sums
    })
}

/// K sums of terms of slices of equal length, in eight lanes, which the compiler may keep in one vector.
#[inline(always)]
pub(super) fn lanes<R: Real, const S: usize, const K: usize>(
    slices: [&[R]; S],
    terms: impl Fn([R; S]) -> [R; K],
) -> [R; K] {
    const LANES: usize = 8;
    let mut sums = [[R::ZERO; LANES]; K];
    let mut add = |lane: usize, values: [R; S]| {
        for (sums, term) in sums.iter_mut().zip(terms(values)) {
            sums[lane] += term;
        }
    };
    let n = slices[0].len();
    let whole = n / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        let chunks: [&[R; LANES]; S] = slices.map(|slice| slice[at..at + LANES].try_into().expect("a whole chunk"));
        (0..LANES).for_each(|lane| add(lane, chunks.map(|chunk| chunk[lane])));
    }
    (whole..n).for_each(|at| add(at - whole, slices.map(|slice| slice[at])));
    sums.map(|lanes| {
        let mut sum = R::ZERO;
        lanes.into_iter().for_each(|lane| sum += lane);
        sum
    })
}

/// Adds the bias to rows of sums and applies the epilogue, in place.
pub(super) fn finish<R: Real>(sums: &mut [R], bias: Option<&[R]>, epilogue: Epilogue, outputs: usize) {
    if let Some(bias) = bias {
        for row in sums.chunks_exact_mut(outputs) {
            for (sum, b) in row.iter_mut().zip(bias) {
                *sum += *b;
            }
        }
    }
    if epilogue == Epilogue::Relu {
        for sum in sums {
            // Not `max`: a NaN fails the comparison and stays.
            *sum = if *sum <= R::ZERO { R::ZERO } else { *sum };
        }
    }
}

/// The gradient that passes the epilogue: all of it, or (ReLU) where the output is above 0.
#[inline(always)]
fn passed<R: Real>(grad: R, y: R) -> R {
    if y <= R::ZERO { R::ZERO } else { grad }
}

/// `epilogue(x W + b)`, `[rows, outputs]`.
pub(super) fn linear<R: Real>(
    x: &[R],
    weight: &[R],
    bias: Option<&[R]>,
    epilogue: Epilogue,
    [rows, inputs, outputs]: [usize; 3],
) -> Vec<R> {
    let weight = Matrix::rows(weight, outputs);
    if rows < outputs {
        let mut sums = wide_product(&Matrix::rows(x, inputs), &weight, [rows, inputs, outputs]);
        if sums.len() < PARALLEL_WORK {
            finish(&mut sums, bias, epilogue, outputs);
        } else {
            let parts = sums.par_chunks_mut(part(rows, PARTS) * outputs);
            parts.for_each(|sums| finish(sums, bias, epilogue, outputs));
        }
        return sums;
    }
    // SAFETY: `product` initialises all of its output.
    unsafe {
        fresh(rows, outputs, part(rows, PARTS), rows * inputs * outputs, |first, out| {
            let part = out.len() / outputs;
            product(out, &Matrix::rows(&x[first * inputs..], inputs), &weight, [part, inputs, outputs]);
            // SAFETY: initialised by the line above; `MaybeUninit<R>` has the layout of `R`.
            let sums = &mut *(std::ptr::from_mut(out) as *mut [R]);
            finish(sums, bias, epilogue, outputs);
        })
    }
}

/// Turns the gradient at the output into the gradient at the sum, in place (`y` is the output if ReLU was
/// applied), and sums it over the rows if the bias gradient is wanted.
pub(super) fn undo_epilogue<R: Real>(
    grad: &mut FlexTensor,
    y: Option<&[R]>,
    outputs: usize,
    bias_wanted: bool,
) -> Option<Vec<R>> {
    let rows = grad.shape()[0];
    let len = part(rows, PARTS) * outputs;
    if let Some(y) = y {
        let mask = |(grad, y): (&mut [R], &[R])| grad.iter_mut().zip(y).for_each(|(g, y)| *g = passed(*g, *y));
        let grad = R::view_mut(grad);
        if grad.len() < PARALLEL_WORK {
            mask((grad, y));
        } else {
            grad.par_chunks_mut(len).zip(y.par_chunks(len)).for_each(mask);
        }
    }
    bias_wanted.then(|| bias_gradient(R::view(grad), None, outputs))
}

/// The sum over rows of a gradient, masked by `y` as in [`undo_epilogue`] if that has not happened yet.
pub(super) fn bias_gradient<R: Real>(grad: &[R], y: Option<&[R]>, outputs: usize) -> Vec<R> {
    let rows = grad.len() / outputs;
    let part = part(rows, PARTS);
    let sum = |i: usize| {
        let range = (i * part).min(rows) * outputs..((i + 1) * part).min(rows) * outputs;
        let mut sum = vec![R::ZERO; outputs];
        add_rows(&mut sum, &grad[range.clone()], y.map(|y| &y[range]));
        sum
    };
    let partial: Vec<Vec<R>> = if grad.len() < PARALLEL_WORK {
        (0..PARTS).map(sum).collect()
    } else {
        (0..PARTS).into_par_iter().map(sum).collect()
    };
    add_in_order(partial)
}

/// Adds rows of gradients to `sum`.
pub(super) fn add_rows<R: Real>(sum: &mut [R], grad: &[R], y: Option<&[R]>) {
    let width = sum.len();
    match y {
        None => {
            for row in grad.chunks_exact(width) {
                sum.iter_mut().zip(row).for_each(|(sum, g)| *sum += *g);
            }
        }
        Some(y) => {
            for (row, y) in grad.chunks_exact(width).zip(y.chunks_exact(width)) {
                sum.iter_mut().zip(row).zip(y).for_each(|((sum, g), y)| *sum += passed(*g, *y));
            }
        }
    }
}

/// The sum of parts of equal length, one after the other.
pub(super) fn add_in_order<R: Real>(partial: Vec<Vec<R>>) -> Vec<R> {
    let mut partial = partial.into_iter();
    let mut total = partial.next().unwrap_or_default();
    for next in partial {
        total.iter_mut().zip(next).for_each(|(total, next)| *total += next);
    }
    total
}

/// `g Wᵀ`, `[rows, inputs]`.
pub(super) fn input_gradient<R: Real>(grad: &[R], weight: &[R], [rows, inputs, outputs]: [usize; 3]) -> Vec<R> {
    let transposed = Matrix::transposed(weight, outputs);
    if rows < inputs {
        return wide_product(&Matrix::rows(grad, outputs), &transposed, [rows, outputs, inputs]);
    }
    // SAFETY: `product` initialises all of its output.
    unsafe {
        fresh(rows, inputs, part(rows, PARTS), rows * inputs * outputs, |first, out| {
            let part = out.len() / inputs;
            product(out, &Matrix::rows(&grad[first * outputs..], outputs), &transposed, [part, outputs, inputs]);
        })
    }
}

/// `a b` of few rows and many columns, in parts of the columns.
fn wide_product<R: Real>(a: &Matrix<R>, b: &Matrix<R>, sizes: [usize; 3]) -> Vec<R> {
    product_by_columns(a, b, sizes, PARTS, sizes.iter().product::<usize>() >= PARALLEL_WORK)
}

/// `xᵀ g`, `[inputs, outputs]`. Where the inner dimension is the longest, each part of the rows gives a partial sum, since
/// parts of the result would each pack a long factor; otherwise the result is cut along its longer side, since each
/// partial sum would be as large as the result.
pub(super) fn weight_gradient<R: Real>(x: &[R], grad: &[R], [rows, inputs, outputs]: [usize; 3]) -> Vec<R> {
    let sizes = [inputs, rows, outputs];
    if rows <= inputs.max(outputs) {
        let grad = Matrix::rows(grad, outputs);
        if inputs < outputs {
            return wide_product(&Matrix::transposed(x, inputs), &grad, sizes);
        }
        // SAFETY: `product` initialises all of its output.
        return unsafe {
            fresh(inputs, outputs, part(inputs, PARTS), rows * inputs * outputs, |first, out| {
                let part = out.len() / outputs;
                product(
                    out,
                    &Matrix::transposed(x.get(first..).unwrap_or_default(), inputs),
                    &grad,
                    [part, rows, outputs],
                );
            })
        };
    }
    let part = part(rows, WEIGHT_PARTS);
    let partial = |i: usize| {
        let first = (i * part).min(rows);
        let rows = part.min(rows - first);
        let x = Matrix::transposed(&x[first * inputs..], inputs);
        let grad = Matrix::rows(&grad[first * outputs..], outputs);
        // SAFETY: `product` initialises all of its output.
        unsafe { fresh(inputs, outputs, inputs, 0, |_, out| product(out, &x, &grad, [inputs, rows, outputs])) }
    };
    let partial: Vec<Vec<R>> = if rows * inputs * outputs < PARALLEL_WORK {
        (0..WEIGHT_PARTS).map(partial).collect()
    } else {
        (0..WEIGHT_PARTS).into_par_iter().map(partial).collect()
    };
    add_in_order(partial)
}

/// Sums of table rows: `epilogue(Σ_k table[indices[row, k]] + b)`, `[rows, outputs]`.
pub(super) fn gather_sum<R: Real>(
    table: &[R],
    indices: &[usize],
    bias: Option<&[R]>,
    epilogue: Epilogue,
    [rows, hot, outputs]: [usize; 3],
) -> Vec<R> {
    let entry = |index: usize| &table[index * outputs..][..outputs];
    // SAFETY: each row is initialised by its first table row, or by zeros where it has none.
    unsafe {
        fresh(rows, outputs, part(rows, PARTS), rows * hot * outputs, |first, out| {
            for (i, row) in out.chunks_exact_mut(outputs).enumerate() {
                let indices = &indices[(first + i) * hot..][..hot];
                match indices.first() {
                    None => row.fill(MaybeUninit::new(R::ZERO)),
                    Some(index) => row.iter_mut().zip(entry(*index)).for_each(|(out, value)| {
                        out.write(*value);
                    }),
                }
                // SAFETY: initialised by the match above; `MaybeUninit<R>` has the layout of `R`.
                let row = &mut *(std::ptr::from_mut(row) as *mut [R]);
                for index in indices.iter().skip(1) {
                    row.iter_mut().zip(entry(*index)).for_each(|(out, value)| *out += *value);
                }
                finish(row, bias, epilogue, outputs);
            }
        })
    }
}

/// The gradient of the table: each of its rows sums the gradients of the batch rows that use it, in their
/// order. Table rows are independent, so there is nothing to lock.
pub(super) fn table_gradient<R: Real>(
    indices: &[usize],
    grad: &[R],
    y: Option<&[R]>,
    [entries, hot, outputs]: [usize; 3],
) -> Vec<R> {
    let users = Users::new(indices, hot, entries);
    // SAFETY: each row is filled with zeros first.
    unsafe {
        fresh(entries, outputs, 1, indices.len() * outputs, |entry, out| {
            out.fill(MaybeUninit::new(R::ZERO));
            // SAFETY: initialised by the line above; `MaybeUninit<R>` has the layout of `R`.
            let sum = &mut *(std::ptr::from_mut(out) as *mut [R]);
            for row in users.of(entry) {
                let range = row * outputs..(row + 1) * outputs;
                add_rows(sum, &grad[range.clone()], y.map(|y| &y[range]));
            }
        })
    }
}

/// For each table row, the batch rows that use it, ascending.
struct Users {
    starts: Vec<usize>,
    rows: Vec<usize>,
}

impl Users {
    fn new(indices: &[usize], hot: usize, entries: usize) -> Self {
        let mut starts = vec![0; entries + 1];
        for index in indices {
            starts[index + 1] += 1;
        }
        for i in 0..entries {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut rows = vec![0; indices.len()];
        for (i, index) in indices.iter().enumerate() {
            rows[next[*index]] = i / hot;
            next[*index] += 1;
        }
        Self { starts, rows }
    }

    fn of(&self, entry: usize) -> &[usize] {
        &self.rows[self.starts[entry]..self.starts[entry + 1]]
    }
}
