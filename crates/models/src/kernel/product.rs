//! Products of matrices on one thread.
use std::mem::MaybeUninit;

use super::host::Real;

/// A strided matrix inside a slice.
pub(super) struct Matrix<'a, R> {
    values: &'a [R],
    row_stride: usize,
    column_stride: usize,
}

impl<'a, R> Matrix<'a, R> {
    /// Rows of `width` values, one after the other.
    pub(super) fn rows(values: &'a [R], width: usize) -> Self {
        Self { values, row_stride: width, column_stride: 1 }
    }

    /// The transpose of such rows.
    pub(super) fn transposed(values: &'a [R], width: usize) -> Self {
        Self { values, row_stride: 1, column_stride: width }
    }

    fn covers(&self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.row_stride + (columns - 1) * self.column_stride < self.values.len()
    }
}

/// `out = a b` on this thread, for `a: [m, k]`, `b: [k, n]` and row-major `out: [m, n]`; every value of `out`
/// is initialised.
pub(super) fn product<R: Real>(out: &mut [MaybeUninit<R>], a: &Matrix<R>, b: &Matrix<R>, [m, k, n]: [usize; 3]) {
    assert!(out.len() == m * n && a.covers(m, k) && b.covers(k, n), "a product reaches outside its slices");
    if k == 0 {
        out.fill(MaybeUninit::new(R::ZERO));
        return;
    }
    // SAFETY: the assertion above keeps every address inside the slices, `out` is borrowed exclusively, and
    // with `read_dst = false` the product writes each of its values without reading it.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr().cast::<R>(),
            1,
            n as isize,
            false,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            R::ZERO,
            R::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// `out += a b` on this thread, for `a: [m, k]`, `b: [k, n]` and row-major `out: [m, n]`.
pub(super) fn accumulate<R: Real>(out: &mut [R], a: &Matrix<R>, b: &Matrix<R>, [m, k, n]: [usize; 3]) {
    assert!(out.len() == m * n && a.covers(m, k) && b.covers(k, n), "a product reaches outside its slices");
    if k == 0 {
        return;
    }
    // SAFETY: the assertion above keeps every address inside the slices, and `out` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            true,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            R::ONE,
            R::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
