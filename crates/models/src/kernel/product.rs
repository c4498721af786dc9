//! Products of matrices.
use std::mem::MaybeUninit;

use rayon::prelude::*;

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

    /// Its columns from `first` on.
    fn beyond_column(&self, first: usize) -> Self {
        Self { values: &self.values[first * self.column_stride..], ..*self }
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
    unsafe { multiply(out.as_mut_ptr().cast::<R>(), n, false, a, b, sizes) };
}

/// As [`product`], over values that are there.
pub(super) fn overwrite<R: Real>(out: &mut [R], a: &Matrix<R>, b: &Matrix<R>, sizes @ [m, k, n]: [usize; 3]) {
    assert!(out.len() == m * n && a.covers(m, k) && b.covers(k, n), "a product reaches outside its slices");
    if k == 0 {
        out.fill(R::ZERO);
        return;
    }
    // SAFETY: the assertion above keeps every address inside the slices, and `out` is borrowed exclusively.
    unsafe { multiply(out.as_mut_ptr(), n, false, a, b, sizes) };
}

/// `out += a b` on this thread, for `a: [m, k]`, `b: [k, n]` and row-major `out: [m, n]`.
pub(super) fn accumulate<R: Real>(out: &mut [R], a: &Matrix<R>, b: &Matrix<R>, sizes @ [m, k, n]: [usize; 3]) {
    assert!(out.len() == m * n && a.covers(m, k) && b.covers(k, n), "a product reaches outside its slices");
    if k == 0 {
        return;
    }
    // SAFETY: the assertion above keeps every address inside the slices, and `out` is borrowed exclusively.
    unsafe { multiply(out.as_mut_ptr(), n, true, a, b, sizes) };
}

/// `a b`, row-major, for few rows `a: [m, k]` and many columns `b: [k, n]`: each part of the columns is one task if
/// `spreads`, and packs only its own part of the large factor.
pub(super) fn product_by_columns<R: Real>(
    a: &Matrix<R>,
    b: &Matrix<R>,
    [m, k, n]: [usize; 3],
    parts: usize,
    spreads: bool,
) -> Vec<R> {
    assert!(a.covers(m, k) && b.covers(k, n), "a product reaches outside its slices");
    if k == 0 {
        return vec![R::ZERO; m * n];
    }
    let mut values: Vec<R> = Vec::with_capacity(m * n);
    let width = n.div_ceil(parts).next_multiple_of(COLUMNS).max(1);
    let out = Shared(values.as_mut_ptr());
    let part = |i: usize| {
        let first = i * width;
        let sizes = [m, k, width.min(n - first)];
        // SAFETY: the part's columns lie within the m n reserved values, and no other part writes them; the assertion above
        // keeps the factors inside their slices.
        unsafe { multiply(out.at(first), n, false, a, &b.beyond_column(first), sizes) };
    };
    if spreads {
        (0..n.div_ceil(width)).into_par_iter().for_each(part);
    } else {
        (0..n.div_ceil(width)).for_each(part);
    }
    // SAFETY: with k above 0 the parts have written every one of the m n reserved values.
    unsafe { values.set_len(m * n) };
    values
}

/// Columns that the parts of [`product_by_columns`] are a multiple of: a cache line of `f32`, so that no two parts write one.
const COLUMNS: usize = 16;

/// Memory that several threads write, each in a place of its own.
struct Shared<R>(*mut R);

// SAFETY: the pointer is only handed out by `at`, whose callers keep their places apart.
unsafe impl<R: Send> Sync for Shared<R> {}

impl<R> Shared<R> {
    /// The address of value `i`.
    ///
    /// # Safety
    /// It must lie within the memory.
    unsafe fn at(&self, i: usize) -> *mut R {
        // SAFETY: the caller keeps within the memory.
        unsafe { self.0.add(i) }
    }
}

/// `out = a b`, or `out += a b` if `adds`, on this thread; the rows of `out` begin `row_stride` values apart.
///
/// # Safety
/// `a` must cover `[m, k]`, `b` `[k, n]`, and `out` must be valid for the m rows of n values, which nobody else uses; they are
/// read, and so must be initialised, only if `adds`. With `k` above 0 all of them are written.
unsafe fn multiply<R: Real>(
    out: *mut R,
    row_stride: usize,
    adds: bool,
    a: &Matrix<R>,
    b: &Matrix<R>,
    [m, k, n]: [usize; 3],
) {
    let of_out = if adds { R::ONE } else { R::ZERO };
    // SAFETY: the addresses are those that the caller vouches for; with `read_dst = false` no value of `out` is read.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            row_stride as isize,
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
