//! Max pooling on the host: planes of an image, spread over the threads.
use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{DType, Shape};
use half::{bf16, f16};

use super::Window;
use crate::kernel::{
    Double, Precision, Real, Single,
    host::{Floats, HostBackend, tensor},
    isa::{self, Job},
    on_host::with_storage,
    storage::Stored,
    tasks::{Tasks, of},
};

/// What the backward pass of max pooling starts from.
#[derive(Debug, Clone)]
pub struct MaxPoolSaved<B: Backend> {
    /// The image.
    pub x: FloatTensor<B>,
    /// The largest value of each window.
    pub y: FloatTensor<B>,
    /// The windows.
    pub window: Window,
}

/// The planes of an image.
#[derive(Clone, Copy)]
struct Planes {
    window: Window,
    count: usize,
    size: [usize; 2],
    places: [usize; 2],
}

impl Planes {
    fn new(shape: &Shape, window: Window) -> Self {
        let size = [shape[2], shape[3]];
        Self { window, count: shape[0] * shape[1], size, places: size.map(|size| window.places(size)) }
    }

    fn cells(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn outputs(&self) -> usize {
        self.places[0] * self.places[1]
    }

    /// Whether the windows are the pairs of neighbours, which have loops without bounds.
    fn are_pairs(&self) -> bool {
        self.window == Window { kernel: 2, stride: 2, padding: 0 }
    }

    fn forward<S: Stored<P>, P: Precision>(&self, x: &[S], y: &mut [S]) {
        let (cells, outputs) = (self.cells(), self.outputs());
        let tasks = Tasks::new(self.count, cells);
        tasks.run(tasks.split(y, outputs), |planes, y| {
            let (mut x_room, mut y_room) = (vec![P::T::of(0.0); cells], vec![P::T::of(0.0); outputs]);
            for (at, y) in planes.zip(y.chunks_exact_mut(outputs)) {
                let x = S::load(&x[of(&(at..at + 1), cells)], &mut x_room);
                S::fill(y, &mut y_room, |y| isa::run(Forward { planes: *self, x, y }));
            }
        });
    }

    fn vjp<S: Stored<P>, P: Precision>(&self, x: &[S], y: &[S], g: &[S], dx: &mut [S]) {
        let (cells, outputs) = (self.cells(), self.outputs());
        if cells == 0 {
            return;
        }
        let tasks = Tasks::new(self.count, cells);
        tasks.run(tasks.split(dx, cells), |planes, dx| {
            let room = |n: usize| vec![P::T::of(0.0); n];
            let (mut x_room, mut y_room, mut g_room) = (room(cells), room(outputs), room(outputs));
            let mut dx_room = room(cells);
            for (at, dx) in planes.zip(dx.chunks_exact_mut(cells)) {
                let x = S::load(&x[of(&(at..at + 1), cells)], &mut x_room);
                let y = S::load(&y[of(&(at..at + 1), outputs)], &mut y_room);
                let g = S::load(&g[of(&(at..at + 1), outputs)], &mut g_room);
                S::fill(dx, &mut dx_room, |dx| isa::run(Vjp { planes: *self, x, y, g, dx }));
            }
        });
    }
}

/// The larger of two values, the first of equals; a NaN is larger than everything.
#[inline(always)]
fn larger<T: Real>(max: T, x: T) -> T {
    if x > max || x.is_nan() { x } else { max }
}

/// Whether a cell is the one that a window's value was taken from.
#[inline(always)]
fn taken<T: Real>(x: T, y: T) -> bool {
    x == y || (x.is_nan() && y.is_nan())
}

/// The largest values of one plane.
struct Forward<'a, T> {
    planes: Planes,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Job for Forward<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { planes: planes @ Planes { window, size: [height, width], places: [rows, columns], .. }, x, y } =
            self;
        if planes.are_pairs() {
            for (row, y) in y.chunks_exact_mut(columns).enumerate() {
                let (upper, lower) = x[2 * row * width..][..2 * width].split_at(width);
                let cells = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
                for (y, ([a, b], [c, d])) in y.iter_mut().zip(cells) {
                    *y = larger(larger(larger(*a, *b), *c), *d);
                }
            }
            return;
        }
        y.fill(T::neg_infinity());
        for i in 0..window.kernel {
            for row in window.inside(i, height, rows) {
                let x = &x[window.cell(row, i) * width..][..width];
                let y = &mut y[row * columns..][..columns];
                for j in 0..window.kernel {
                    for column in window.inside(j, width, columns) {
                        y[column] = larger(y[column], x[window.cell(column, j)]);
                    }
                }
            }
        }
    }
}

/// The gradient of one plane: each window's goes to the first of its largest cells.
struct Vjp<'a, T> {
    planes: Planes,
    x: &'a [T],
    y: &'a [T],
    g: &'a [T],
    dx: &'a mut [T],
}

impl<T: Real> Job for Vjp<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run(self) {
        let Self { planes: planes @ Planes { window, size: [height, width], places: [_, columns], .. }, x, y, g, dx } =
            self;
        dx.fill(T::of(0.0));
        if planes.are_pairs() {
            for (row, (y, g)) in y.chunks_exact(columns).zip(g.chunks_exact(columns)).enumerate() {
                let (upper, lower) = x[2 * row * width..][..2 * width].split_at(width);
                let (above, below) = dx[2 * row * width..][..2 * width].split_at_mut(width);
                let cells = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
                let slopes = above.as_chunks_mut::<2>().0.iter_mut().zip(below.as_chunks_mut::<2>().0);
                for ((y, g), (([a, b], [c, d]), (upper, lower))) in y.iter().zip(g).zip(cells.zip(slopes)) {
                    let first = taken(*a, *y);
                    let second = !first & taken(*b, *y);
                    let third = !first & !second & taken(*c, *y);
                    let fourth = !first & !second & !third & taken(*d, *y);
                    let slope = |chosen: bool| if chosen { *g } else { T::of(0.0) };
                    *upper = [slope(first), slope(second)];
                    *lower = [slope(third), slope(fourth)];
                }
            }
            return;
        }
        for (at, (y, g)) in y.iter().zip(g).enumerate() {
            let (row, column) = (at / columns, at % columns);
            let of_window = |place: usize, size: usize| {
                let start = place * window.stride;
                start.saturating_sub(window.padding)..(start + window.kernel).saturating_sub(window.padding).min(size)
            };
            let mut cells = of_window(row, height).flat_map(|i| of_window(column, width).map(move |j| i * width + j));
            if let Some(cell) = cells.find(|&cell| taken(x[cell], *y)) {
                dx[cell] = dx[cell] + *g;
            }
        }
    }
}

/// [`super::PoolOps::max_pool`].
pub(super) fn max_pool<B: HostBackend>(x: FloatTensor<B>, window: Window) -> FloatTensor<B> {
    let (shape, dtype, device) = (x.shape(), x.dtype(), x.device());
    let planes = Planes::new(&shape, window);
    let x = B::floats(x);
    with_storage!(dtype, S, P => {
        let mut y = vec![S::default(); planes.count * planes.outputs()];
        planes.forward::<S, P>(S::slice(&x), &mut y);
        tensor::<B, S>(y, [shape[0], shape[1], planes.places[0], planes.places[1]], &device)
    })
}

/// [`super::PoolVjps::max_pool_vjp`].
pub(super) fn max_pool_vjp<B: HostBackend>(saved: MaxPoolSaved<B>, g: FloatTensor<B>) -> FloatTensor<B> {
    let MaxPoolSaved { x, y, window } = saved;
    let (shape, dtype, device) = (x.shape(), x.dtype(), x.device());
    let planes = Planes::new(&shape, window);
    let (x, y, g) = (B::floats(x), B::floats(y), B::floats(g));
    with_storage!(dtype, S, P => {
        let mut dx = vec![S::default(); planes.count * planes.cells()];
        planes.vjp::<S, P>(S::slice(&x), S::slice(&y), S::slice(&g), &mut dx);
        tensor::<B, S>(dx, shape, &device)
    })
}
