//! Runs a map over the rows of plain slices: conversion, removal, special rows, threads.
use std::mem::MaybeUninit;

use super::{
    AtInfinity, MapRows, MapVjpRows, Precision, Real, RowKernel, RowKernelOf,
    fresh::{self, Fresh},
    isa::{self, Job},
    kept::{Kept, Kind, gather, scatter, settle},
    lanes,
    storage::Stored,
    tasks::{Tasks, of},
};

/// A map over rows of `n` entries, for one scalar.
pub(crate) struct MapDriver<'a, T: Real> {
    kernel: &'a dyn RowKernelOf<T>,
    n: usize,
    n_params: usize,
    removed: T,
    is_log: bool,
    at_infinity: AtInfinity,
    kept: Kept<'a>,
}

impl<'a, T: Real> MapDriver<'a, T> {
    /// `kernel` and `facts` are the same object, once for the scalar and once for what does not depend on it.
    pub(crate) fn new(kernel: &'a dyn RowKernelOf<T>, facts: &dyn RowKernel, n: usize, kept: Kept<'a>) -> Self {
        let is_log = facts.is_log();
        let removed = if is_log { T::neg_infinity() } else { T::zero() };
        Self { kernel, n, n_params: facts.n_params(), removed, is_log, at_infinity: facts.at_infinity(), kept }
    }

    /// `y` of scores `x`, both `[rows, n]`; `params` is `[rows, P]`.
    pub(crate) fn forward<S: Stored<P>, P: Precision<T = T>>(&self, x: &[S], params: &[S]) -> Vec<S> {
        let (n, p) = (self.n, self.n_params);
        if n == 0 {
            return Vec::new();
        }
        let mut y = Fresh::new(x.len());
        let (streamed, tasks) = (y.streamed(), Tasks::new(x.len() / n, n));
        tasks.run(tasks.split(y.places(), n), |rows, y| {
            let room = |width: usize| vec![T::zero(); tasks.block() * width];
            let (mut x_room, mut y_room, mut params_room) = (room(n), room(n), room(p));
            let mut stored_room = vec![S::default(); tasks.block() * n];
            let mut spare = Spare::new(n);
            for (here, there) in tasks.blocks(rows) {
                let x = S::load(&x[of(&there, n)], &mut x_room);
                let params = S::load(&params[of(&there, p)], &mut params_room);
                let block = &mut y_room[..here.len() * n];
                self.forward_block(there.start, MapRows { n, x, params, y: &mut *block }, &mut spare);
                fresh::write(S::stored(block, &mut stored_room), &mut y[of(&here, n)], streamed);
            }
        });
        // SAFETY: the tasks partition the rows, and the blocks of a task partition its rows; each was written.
        unsafe { y.written() }
    }

    fn forward_block(&self, first_row: usize, rows: MapRows<'_, T>, spare: &mut Spare<T>) {
        let (n, p) = (self.n, self.n_params);
        if matches!(self.kept, Kept::All) && isa::run(AllFinite(rows.x)) {
            return self.kernel.forward_rows(rows);
        }
        for (row, (x, y)) in rows.x.chunks_exact(n).zip(rows.y.chunks_exact_mut(n)).enumerate() {
            if let Some(live) = self.leading(first_row + row, x) {
                let (y, rest) = y.split_at_mut(live);
                rest.fill(self.removed);
                self.kernel.forward_rows(MapRows { n: live, x: &x[..live], params: &rows.params[row * p..][..p], y });
                continue;
            }
            let kind = settle(x, self.kept, first_row + row, &mut spare.places);
            let places = &spare.places;
            y.fill(self.removed);
            match kind {
                Kind::Empty => {}
                Kind::Finite => {
                    let x = gather(x, places, &mut spare.x);
                    let (n, params, out) = (places.len(), &rows.params[row * p..][..p], &mut spare.y[..places.len()]);
                    self.kernel.forward_rows(MapRows { n, x, params, y: &mut *out });
                    scatter(out, places, y);
                }
                Kind::Infinite(count) if self.at_infinity == AtInfinity::OneHot => {
                    let share = T::of(1.0 / count as f64);
                    let share = if self.is_log { share.ln_exact() } else { share };
                    places.iter().filter(|&&place| x[place] == T::infinity()).for_each(|&place| y[place] = share);
                }
                Kind::Infinite(_) | Kind::Nan => places.iter().for_each(|&place| y[place] = T::nan()),
            }
        }
    }

    /// The number of entries of a row that are kept, if they are the first ones, there is one, and all are finite: such a row
    /// is computed where it stands.
    fn leading(&self, row: usize, x: &[T]) -> Option<usize> {
        let live = match self.kept {
            Kept::All => x.len(),
            Kept::Prefix(count) => count[row].min(x.len()),
            Kept::Mask(_) => return None,
        };
        (live > 0 && isa::run(AllFinite(&x[..live]))).then_some(live)
    }

    /// `dx = gᵀ ∂y/∂x` (`[rows, n]`) and `dparams = gᵀ ∂y/∂params` (`[rows, P]`).
    pub(crate) fn vjp<S: Stored<P>, P: Precision<T = T>>(&self, from: VjpSlices<'_, S>) -> (Vec<S>, Vec<S>) {
        let (n, p) = (self.n, self.n_params);
        if n == 0 {
            return (Vec::new(), vec![S::default(); from.params.len()]);
        }
        let mut dx = Fresh::new(from.x.len());
        let mut dparams = vec![S::default(); from.params.len()];
        let (streamed, tasks) = (dx.streamed(), Tasks::new(from.x.len() / n, n));
        let pieces = tasks.split(dx.places(), n).into_iter().zip(tasks.split(&mut dparams, p)).collect();
        tasks.run(pieces, |rows, (dx, dparams): (&mut [MaybeUninit<S>], &mut [S])| {
            let room = |width: usize| vec![T::zero(); tasks.block() * width];
            let (mut x_room, mut y_room, mut g_room, mut dx_room) = (room(n), room(n), room(n), room(n));
            let (mut params_room, mut dparams_room) = (room(p), room(p));
            let mut stored_room = vec![S::default(); tasks.block() * n];
            let mut spare = Spare::new(n);
            for (here, there) in tasks.blocks(rows) {
                let x = S::load(&from.x[of(&there, n)], &mut x_room);
                let params = S::load(&from.params[of(&there, p)], &mut params_room);
                let y = if size_of::<S>() < size_of::<T>() {
                    // A gradient of results rounded to half would lose what the arithmetic has; they are computed again.
                    let y = &mut y_room[..here.len() * n];
                    self.forward_block(there.start, MapRows { n, x, params, y: &mut *y }, &mut spare);
                    &*y
                } else {
                    S::load(&from.y[of(&there, n)], &mut y_room)
                };
                let g = S::load(&from.g[of(&there, n)], &mut g_room);
                let block = &mut dx_room[..here.len() * n];
                S::fill(&mut dparams[of(&here, p)], &mut dparams_room, |dparams| {
                    let rows = MapVjpRows { n, x, y, params, g, dx: &mut *block, dparams };
                    self.vjp_block(there.start, rows, &mut spare);
                });
                fresh::write(S::stored(block, &mut stored_room), &mut dx[of(&here, n)], streamed);
            }
        });
        // SAFETY: the tasks partition the rows, and the blocks of a task partition its rows; each was written.
        (unsafe { dx.written() }, dparams)
    }

    fn vjp_block(&self, first_row: usize, rows: MapVjpRows<'_, T>, spare: &mut Spare<T>) {
        let (n, p) = (self.n, self.n_params);
        if matches!(self.kept, Kept::All) && isa::run(AllFinite(rows.x)) {
            return self.kernel.vjp_rows(rows);
        }
        for (row, (x, dx)) in rows.x.chunks_exact(n).zip(rows.dx.chunks_exact_mut(n)).enumerate() {
            if let Some(live) = self.leading(first_row + row, x) {
                let (dx, rest) = dx.split_at_mut(live);
                rest.fill(T::zero());
                self.kernel.vjp_rows(MapVjpRows {
                    n: live,
                    x: &x[..live],
                    y: &rows.y[row * n..][..live],
                    params: &rows.params[row * p..][..p],
                    g: &rows.g[row * n..][..live],
                    dx,
                    dparams: &mut rows.dparams[row * p..][..p],
                });
                continue;
            }
            let kind = settle(x, self.kept, first_row + row, &mut spare.places);
            let places = &spare.places;
            let dparams = &mut rows.dparams[row * p..][..p];
            dx.fill(T::zero());
            dparams.fill(T::zero());
            match kind {
                Kind::Empty => {}
                Kind::Finite => {
                    let out = &mut spare.dx[..places.len()];
                    self.kernel.vjp_rows(MapVjpRows {
                        n: places.len(),
                        x: gather(x, places, &mut spare.x),
                        y: gather(&rows.y[row * n..][..n], places, &mut spare.y),
                        params: &rows.params[row * p..][..p],
                        g: gather(&rows.g[row * n..][..n], places, &mut spare.g),
                        dx: &mut *out,
                        dparams,
                    });
                    scatter(out, places, dx);
                }
                // The limit is constant around the row.
                Kind::Infinite(_) if self.at_infinity == AtInfinity::OneHot => {}
                Kind::Infinite(_) | Kind::Nan => {
                    places.iter().for_each(|&place| dx[place] = T::nan());
                    dparams.fill(T::nan());
                }
            }
        }
    }
}

/// A map without row parameters on blocks of rows of changing lengths.
#[derive(Debug)]
pub(crate) struct BlockDriver<'a, T: Real> {
    kernel: &'a dyn RowKernelOf<T>,
    removed: T,
    is_log: bool,
    at_infinity: AtInfinity,
    most: usize,
    spare: Spare<T>,
}

impl<'a, T: Real> BlockDriver<'a, T> {
    /// For rows of at most `most` entries; `kernel` and `facts` as in [`MapDriver::new`].
    pub(crate) fn new(kernel: &'a dyn RowKernelOf<T>, facts: &dyn RowKernel, most: usize) -> Self {
        let MapDriver { removed, is_log, at_infinity, .. } = MapDriver::new(kernel, facts, most, Kept::All);
        Self { kernel, removed, is_log, at_infinity, most, spare: Spare::new(most) }
    }

    pub(crate) fn forward(&mut self, n: usize, kept: Kept<'_>, rows: MapRows<'_, T>) {
        self.rows(n, kept).forward_block(0, rows, &mut self.spare);
    }

    pub(crate) fn vjp(&mut self, n: usize, kept: Kept<'_>, rows: MapVjpRows<'_, T>) {
        self.rows(n, kept).vjp_block(0, rows, &mut self.spare);
    }

    fn rows<'b>(&self, n: usize, kept: Kept<'b>) -> MapDriver<'b, T>
    where
        'a: 'b,
    {
        assert!(n <= self.most, "there is room for rows of {} entries, not {n}", self.most);
        let Self { kernel, removed, is_log, at_infinity, .. } = *self;
        MapDriver { kernel, n, n_params: 0, removed, is_log, at_infinity, kept }
    }
}

/// What a map's backward pass starts from, as stored: `[rows, n]` each, `params` `[rows, P]`.
#[derive(Clone, Copy)]
pub(crate) struct VjpSlices<'a, S> {
    pub(crate) x: &'a [S],
    pub(crate) y: &'a [S],
    pub(crate) params: &'a [S],
    pub(crate) g: &'a [S],
}

/// Room for one compacted row.
#[derive(Debug)]
struct Spare<T> {
    places: Vec<usize>,
    x: Vec<T>,
    y: Vec<T>,
    g: Vec<T>,
    dx: Vec<T>,
}

impl<T: Real> Spare<T> {
    fn new(n: usize) -> Self {
        let room = || vec![T::zero(); n];
        Self { places: Vec::with_capacity(n), x: room(), y: room(), g: room(), dx: room() }
    }
}

/// Whether a block needs no special care.
pub(crate) struct AllFinite<'a, T>(pub(crate) &'a [T]);

impl<T: Real> Job for AllFinite<'_, T> {
    type Out = bool;
    #[inline(always)]
    fn run(self) -> bool {
        lanes::all_finite(self.0)
    }
}
