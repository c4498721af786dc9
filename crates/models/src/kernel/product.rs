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

    /// Lines that begin `row_stride` values apart, of entries `column_stride` apart.
    pub(super) fn strided(values: &'a [R], row_stride: usize, column_stride: usize) -> Self {
        Self { values, row_stride, column_stride }
    }

    /// Its transpose.
    pub(super) fn transpose(&self) -> Self {
        Self { values: self.values, row_stride: self.column_stride, column_stride: self.row_stride }
    }

    fn covers(&self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.row_stride + (columns - 1) * self.column_stride < self.values.len()
    }
}

/// `out = a b` on this thread, for `a: [m, k]`, `b: [k, n]` and row-major `out: [m, n]`; every value of `out`
/// is initialised.
pub(super) fn product<R: Real>(
    out: &mut [MaybeUninit<R>],
    a: &Matrix<R>,
    b: &Matrix<R>,
    sizes @ [m, k, n]: [usize; 3],
) {
    assert!(out.len() == m * n && a.covers(m, k) && b.covers(k, n), "a product reaches outside its slices");
    if k == 0 {
        out.fill(MaybeUninit::new(R::ZERO));
        return;
    }
    // SAFETY: the assertion above keeps every address inside the slices, and `out` is borrowed exclusively and not read.
    unsafe { multiply(out.as_mut_ptr().cast::<R>(), false, a, b, sizes) };
}

/// As [`product`], over values that are there.
pub(super) fn overwrite<R: Real>(out: &mut [R], a: &Matrix<R>, b: &Matrix<R>, sizes @ [m, k, n]: [usize; 3]) {
    assert!(out.len() == m * n && a.covers(m, k) && b.covers(k, n), "a product reaches outside its slices");
    if k == 0 {
        out.fill(R::ZERO);
        return;
    }
    // SAFETY: the assertion above keeps every address inside the slices, and `out` is borrowed exclusively.
    unsafe { multiply(out.as_mut_ptr(), false, a, b, sizes) };
}

/// `out += a b` on this thread, for `a: [m, k]`, `b: [k, n]` and row-major `out: [m, n]`.
pub(super) fn accumulate<R: Real>(out: &mut [R], a: &Matrix<R>, b: &Matrix<R>, sizes @ [m, k, n]: [usize; 3]) {
    assert!(out.len() == m * n && a.covers(m, k) && b.covers(k, n), "a product reaches outside its slices");
    if k == 0 {
        return;
    }
    // SAFETY: the assertion above keeps every address inside the slices, and `out` is borrowed exclusively.
    unsafe { multiply(out.as_mut_ptr(), true, a, b, sizes) };
}

/// `out = a b`, or `out += a b` if `adds`, on this thread.
///
/// # Safety
/// `a` must cover `[m, k]`, `b` `[k, n]`, and `out` must be valid for m n values that nobody else uses; they are read, and so
/// must be initialised, only if `adds`. With `k` above 0 all of them are written.
unsafe fn multiply<R: Real>(out: *mut R, adds: bool, a: &Matrix<R>, b: &Matrix<R>, [m, k, n]: [usize; 3]) {
    let of_out = if adds { R::ONE } else { R::ZERO };
    // SAFETY: the addresses are those that the caller vouches for; with `read_dst = false` no value of `out` is read.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            n as isize,
            adds,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            of_out,
            R::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
