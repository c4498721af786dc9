//! The maths of SoftPool on one plane of an image.
use std::ops::Range;

use super::Window;
use crate::kernel::{Real, isa::Job};

/// SoftPool's parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftWindow {
    /// Where the windows lie.
    pub window: Window,
    /// Inverse temperature β of the weights, at least 0.
    pub beta: f64,
    /// Whether the backward pass takes the weights as constants.
    pub detach_weights: bool,
}

/// A plane of an image, and what is made of it.
#[derive(Clone, Copy)]
pub(super) struct Plane<'a, T> {
    pub(super) soft: SoftWindow,
    /// Height and width.
    pub(super) size: [usize; 2],
    pub(super) x: &'a [T],
    /// Which cells take part; all of them if `None`.
    pub(super) valid: Option<&'a [u8]>,
}

/// Outputs that are worked on together: their cells stay in the second-level cache, and the loops over them are long.
const STRIP: usize = 1024;

/// The cells of some windows: one row per cell of the window, one column per output.
pub(super) struct Strip<T> {
    /// The cells, later their distances to the maximum; −∞ where one takes no part.
    cells: Vec<T>,
    weights: Vec<T>,
    max: Vec<T>,
    sum: Vec<T>,
    /// Σ w (a − max) / Σ w.
    mean: Vec<T>,
    g: Vec<T>,
}

impl<T: Real> Strip<T> {
    pub(super) fn new(soft: &SoftWindow, columns: usize) -> Self {
        let width = rows_per_strip(columns) * columns;
        let room = |rows: usize| vec![T::zero(); rows * width];
        let cells = soft.window.kernel * soft.window.kernel;
        Self { cells: room(cells), weights: room(cells), max: room(1), sum: room(1), mean: room(1), g: room(1) }
    }
}

fn rows_per_strip(columns: usize) -> usize {
    (STRIP / columns.max(1)).max(1)
}

impl<T: Real> Plane<'_, T> {
    fn places(&self) -> [usize; 2] {
        self.size.map(|size| self.soft.window.places(size))
    }

    /// Calls `with` for every cell of the image that is the cell `offset` of the window of some output, with the output's
    /// place in the strip and the cell's in the plane.
    #[inline(always)]
    fn each(&self, [i, j]: [usize; 2], strip: &Range<usize>, mut with: impl FnMut(usize, usize)) {
        let (window, [rows, columns], [height, width]) = (self.soft.window, self.places(), self.size);
        let inside = window.inside(j, width, columns);
        let lines = window.inside(i, height, rows);
        for row in lines.start.max(strip.start)..lines.end.min(strip.end) {
            let (line, out) = (window.cell(row, i) * width, (row - strip.start) * columns);
            for column in inside.clone() {
                with(out + column, line + window.cell(column, j));
            }
        }
    }

    /// Fills the strip for these rows of outputs; returns the number of outputs.
    #[inline(always)]
    fn weigh(&self, rows: &Range<usize>, strip: &mut Strip<T>) -> usize {
        let (none, kernel) = (T::neg_infinity(), self.soft.window.kernel);
        let n = rows.len() * self.places()[1];
        let beta = T::of(self.soft.beta);
        let (max, sum, mean) = (&mut strip.max[..n], &mut strip.sum[..n], &mut strip.mean[..n]);
        max.fill(none);
        for r in 0..kernel * kernel {
            let cells = &mut strip.cells[r * n..][..n];
            cells.fill(none);
            self.each([r / kernel, r % kernel], rows, |out, cell| {
                let valid = self.valid.is_none_or(|valid| valid[cell] != 0);
                cells[out] = if valid { self.x[cell] } else { none };
            });
            for (max, &cell) in max.iter_mut().zip(&*cells) {
                *max = if cell > *max { cell } else { *max };
            }
        }
        for max in max.iter_mut() {
            *max = if *max == none { T::zero() } else { *max };
        }
        sum.fill(T::zero());
        mean.fill(T::zero());
        for r in 0..kernel * kernel {
            let (cells, weights) = (&mut strip.cells[r * n..][..n], &mut strip.weights[r * n..][..n]);
            for out in 0..n {
                let takes_part = cells[out] != none;
                let distance = cells[out] - max[out];
                let distance = if takes_part { distance } else { T::zero() };
                let weight = (beta * distance).exp_exact();
                let weight = if takes_part { weight } else { T::zero() };
                cells[out] = distance;
                weights[out] = weight;
                sum[out] = sum[out] + weight;
                mean[out] = weight.mul_add(distance, mean[out]);
            }
        }
        for out in 0..n {
            sum[out] = if sum[out] == T::zero() { T::one() } else { sum[out] };
            mean[out] = mean[out] / sum[out];
        }
        n
    }

    /// The strips of the plane, as ranges of rows of outputs.
    fn strips(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        let [rows, columns] = self.places();
        let step = rows_per_strip(columns);
        (0..rows).step_by(step).map(move |row| row..(row + step).min(rows))
    }
}

/// y = max + Σ w (a − max) / Σ w,  w = exp(β (a − max)).
pub(super) struct Forward<'a, T> {
    pub(super) plane: Plane<'a, T>,
    pub(super) strip: &'a mut Strip<T>,
    pub(super) y: &'a mut [T],
}

impl<T: Real> Job for Forward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let mut y = self.y;
        for rows in self.plane.strips() {
            let n = self.plane.weigh(&rows, self.strip);
            let (here, rest) = y.split_at_mut(n);
            for (out, y) in here.iter_mut().enumerate() {
                *y = self.strip.max[out] + self.strip.mean[out];
            }
            y = rest;
        }
    }
}

/// da = g w/Σw (1 + β (a − y)), or g w/Σw with detached weights, summed over the windows that hold a.
pub(super) struct Vjp<'a, T> {
    pub(super) plane: Plane<'a, T>,
    pub(super) strip: &'a mut Strip<T>,
    pub(super) g: &'a [T],
    pub(super) dx: &'a mut [T],
}

impl<T: Real> Job for Vjp<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let Self { plane, strip, mut g, dx } = self;
        let SoftWindow { window: Window { kernel, .. }, beta, detach_weights } = plane.soft;
        let beta = if detach_weights { T::zero() } else { T::of(beta) };
        dx.fill(T::zero());
        for rows in plane.strips() {
            let n = plane.weigh(&rows, strip);
            let (here, rest) = g.split_at(n);
            for (share, (&g, &sum)) in strip.g.iter_mut().zip(here.iter().zip(&strip.sum)) {
                *share = g / sum;
            }
            g = rest;
            for r in 0..kernel * kernel {
                let (distances, weights) = (&strip.cells[r * n..][..n], &mut strip.weights[r * n..][..n]);
                for out in 0..n {
                    let bend = beta.mul_add(distances[out] - strip.mean[out], T::one());
                    weights[out] = weights[out] * bend * strip.g[out];
                }
                plane.each([r / kernel, r % kernel], &rows, |out, cell| dx[cell] = dx[cell] + weights[out]);
            }
        }
    }
}
