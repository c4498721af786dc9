//! Convolutions as products of matrices: for every filter size, stride and dtype.
//!
//! The pixels under each place of the filter are one column of a matrix, which is made and used image by image.
use std::mem::MaybeUninit;

use super::geometry::Geometry;
use crate::kernel::{
    host::{Real, fresh_parts, summed_parts},
    product::{Matrix, product},
};

/// The columns of one image: `[taps, places]`.
fn fill<R: Real>(columns: &mut [R], image: &[R], g: &Geometry) {
    let ([height, width], places) = (g.image, g.map[0] * g.map[1]);
    for (tap, row) in columns.chunks_exact_mut(places).enumerate() {
        let (c, a, e) = (tap / (g.kernel * g.kernel), tap / g.kernel % g.kernel, tap % g.kernel);
        let plane = &image[c * height * width..][..height * width];
        for (i, line) in row.chunks_exact_mut(g.map[1]).enumerate() {
            let y = (i * g.stride + a).wrapping_sub(g.padding);
            for (j, value) in line.iter_mut().enumerate() {
                let x = (j * g.stride + e).wrapping_sub(g.padding);
                // What lies before the image wraps around to the far end.
                *value = if y < height && x < width { plane[y * width + x] } else { R::ZERO };
            }
        }
    }
}

/// Adds columns back to the pixels they came from.
fn scatter<R: Real>(image: &mut [R], columns: &[R], g: &Geometry) {
    let ([height, width], places) = (g.image, g.map[0] * g.map[1]);
    for (tap, row) in columns.chunks_exact(places).enumerate() {
        let (c, a, e) = (tap / (g.kernel * g.kernel), tap / g.kernel % g.kernel, tap % g.kernel);
        let plane = &mut image[c * height * width..][..height * width];
        for (i, line) in row.chunks_exact(g.map[1]).enumerate() {
            let y = (i * g.stride + a).wrapping_sub(g.padding);
            for (j, value) in line.iter().enumerate() {
                let x = (j * g.stride + e).wrapping_sub(g.padding);
                if y < height && x < width {
                    plane[y * width + x] += *value;
                }
            }
        }
    }
}

/// Writes a product into values that are there already.
fn product_into<R: Real>(out: &mut [R], a: &Matrix<R>, b: &Matrix<R>, sizes: [usize; 3]) {
    // SAFETY: `MaybeUninit<R>` has the layout of `R`, and `product` leaves every value initialised.
    product(unsafe { &mut *(std::ptr::from_mut(out) as *mut [MaybeUninit<R>]) }, a, b, sizes);
}

/// The filtered images, `[rows, outputs, places]`.
pub(super) fn forward<R: Real>(x: &[R], weight: &[R], bias: Option<&[R]>, g: &Geometry, rows: usize) -> Vec<R> {
    let (taps, places) = (g.taps(), g.map[0] * g.map[1]);
    // SAFETY: `product` initialises all of a row's map.
    unsafe {
        fresh_parts(
            rows,
            g.map_len(),
            g.work(),
            || vec![R::ZERO; taps * places],
            |columns, row, map| {
                fill(columns, &x[row * g.image_len()..][..g.image_len()], g);
                let sizes = [g.outputs, taps, places];
                product(map, &Matrix::rows(weight, taps), &Matrix::rows(columns, places), sizes);
                // SAFETY: initialised by the line above; `MaybeUninit<R>` has the layout of `R`.
                let map = &mut *(std::ptr::from_mut(map) as *mut [R]);
                for (plane, bias) in map.chunks_exact_mut(places).zip(bias.into_iter().flatten()) {
                    plane.iter_mut().for_each(|value| *value += *bias);
                }
            },
        )
    }
}

/// The gradient at the images, `[rows, inputs, height, width]`, from that at the output.
pub(super) fn input_gradient<R: Real>(grad: &[R], weight: &[R], g: &Geometry, rows: usize) -> Vec<R> {
    let (taps, places) = (g.taps(), g.map[0] * g.map[1]);
    // SAFETY: an image is set to 0 before anything is added to it.
    unsafe {
        fresh_parts(
            rows,
            g.image_len(),
            g.work(),
            || vec![R::ZERO; taps * places],
            |columns, row, image| {
                let grad = Matrix::rows(&grad[row * g.map_len()..][..g.map_len()], places);
                product_into(columns, &Matrix::transposed(weight, taps), &grad, [taps, g.outputs, places]);
                image.fill(MaybeUninit::new(R::ZERO));
                // SAFETY: initialised by the line above; `MaybeUninit<R>` has the layout of `R`.
                scatter(&mut *(std::ptr::from_mut(image) as *mut [R]), columns, g);
            },
        )
    }
}

/// The gradient at the filters, `[outputs, taps]`.
pub(super) fn weight_gradient<R: Real>(x: &[R], grad: &[R], g: &Geometry, rows: usize) -> Vec<R> {
    let (taps, places) = (g.taps(), g.map[0] * g.map[1]);
    summed_parts(rows, g.work(), |range| {
        let mut sum = vec![R::ZERO; g.outputs * taps];
        let mut term = sum.clone();
        let mut columns = vec![R::ZERO; taps * places];
        for row in range {
            fill(&mut columns, &x[row * g.image_len()..][..g.image_len()], g);
            let grad = Matrix::rows(&grad[row * g.map_len()..][..g.map_len()], places);
            let columns = Matrix::transposed(&columns, places);
            product_into(&mut term, &grad, &columns, [g.outputs, places, taps]);
            sum.iter_mut().zip(&term).for_each(|(sum, term)| *sum += *term);
        }
        sum
    })
}
