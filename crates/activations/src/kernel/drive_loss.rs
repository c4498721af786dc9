//! Runs a row loss over plain slices: conversion, removal, special rows, threads.
use super::{
    LossKernel, LossKernelOf, NllOut, NllRows, NllVjpOut, Precision,
    drive_map::AllFinite,
    isa,
    kept::{Kept, Kind, gather, scatter, settle},
    storage::Stored,
    tasks::{Tasks, of},
};
use num_traits::{Float, Zero};

/// A row loss over rows of `n` logits, in one precision.
pub(crate) struct LossDriver<'a, P: Precision> {
    kernel: &'a dyn LossKernelOf<P>,
    n: usize,
    n_params: usize,
    kept: Kept<'a>,
}

/// What a row loss reads, as stored: logits `[rows, n]`, parameters `[rows, P]`, targets `[rows]`.
#[derive(Clone, Copy)]
pub(crate) struct LossSlices<'a, S> {
    pub(crate) x: &'a [S],
    pub(crate) params: &'a [S],
    pub(crate) targets: &'a [usize],
}

impl<'a, P: Precision> LossDriver<'a, P> {
    /// `kernel` and `facts` are the same object, once for the precision and once for what does not depend on it.
    pub(crate) fn new(kernel: &'a dyn LossKernelOf<P>, facts: &dyn LossKernel, n: usize, kept: Kept<'a>) -> Self {
        Self { kernel, n, n_params: facts.n_params(), kept }
    }

    /// The loss and the sum of each row.
    pub(crate) fn forward<S: Stored<P>, L: Stored<P>>(
        &self,
        from: LossSlices<'_, S>,
        loss: &mut [L],
        row_sum: &mut [L],
    ) {
        let (n, p) = (self.n, self.n_params);
        let tasks = Tasks::new(loss.len(), n);
        let pieces = tasks.split(loss, 1).into_iter().zip(tasks.split(row_sum, 1)).collect();
        tasks.run(pieces, |rows, (loss, row_sum): (&mut [L], &mut [L])| {
            let room = |width: usize| vec![P::T::zero(); tasks.block() * width];
            let (mut x_room, mut params_room) = (room(n), room(p));
            let (mut loss_room, mut sum_room) = (room(1), room(1));
            let mut spare = Spare::<P>::new(n);
            for (here, there) in tasks.blocks(rows) {
                let rows = NllRows {
                    n,
                    x: S::load(&from.x[of(&there, n)], &mut x_room),
                    params: S::load(&from.params[of(&there, p)], &mut params_room),
                    targets: &from.targets[there.clone()],
                };
                L::fill(&mut loss[here.clone()], &mut loss_room, |loss| {
                    L::fill(&mut row_sum[here], &mut sum_room, |row_sum| {
                        self.forward_block(there.start, rows, loss, row_sum, &mut spare);
                    });
                });
            }
        });
    }

    fn forward_block(
        &self,
        first_row: usize,
        rows: NllRows<'_, P::T>,
        loss: &mut [P::T],
        row_sum: &mut [P::T],
        spare: &mut Spare<P>,
    ) {
        let (n, p) = (self.n, self.n_params);
        if matches!(self.kept, Kept::All) && n > 0 && isa::run(AllFinite(rows.x)) {
            return self.kernel.forward_rows(rows, NllOut { loss, row_sum, scratch: &mut spare.out });
        }
        for (row, (loss, row_sum)) in loss.iter_mut().zip(row_sum).enumerate() {
            let x = &rows.x[row * n..][..n];
            let kind = settle(x, self.kept, first_row + row, &mut spare.places);
            let places = &spare.places;
            (*loss, *row_sum) = match kind {
                Kind::Empty => (P::T::infinity(), P::T::zero()),
                Kind::Infinite(_) | Kind::Nan => (P::T::nan(), P::T::nan()),
                Kind::Finite => {
                    let target = places.binary_search(&rows.targets[row]);
                    let compact = NllRows {
                        n: places.len(),
                        x: gather(x, places, &mut spare.x),
                        params: &rows.params[row * p..][..p],
                        targets: &[target.unwrap_or(0)],
                    };
                    let (mut value, mut sum) = ([P::T::zero()], [P::T::zero()]);
                    let scratch = &mut spare.out[..places.len()];
                    self.kernel.forward_rows(compact, NllOut { loss: &mut value, row_sum: &mut sum, scratch });
                    (if target.is_ok() { value[0] } else { P::T::infinity() }, sum[0])
                }
            };
        }
    }

    /// `dx = g ∂loss/∂x` (`[rows, n]`) and `dparams = g ∂loss/∂params` (`[rows, P]`), from the row sums of the forward
    /// pass and the gradients g at the losses.
    pub(crate) fn vjp<S: Stored<P>, L: Stored<P>>(
        &self,
        from: LossSlices<'_, S>,
        (row_sum, g): (&[L], &[L]),
        dx: &mut [S],
        dparams: &mut [S],
    ) {
        let (n, p) = (self.n, self.n_params);
        let tasks = Tasks::new(g.len(), n);
        let pieces = tasks.split(dx, n).into_iter().zip(tasks.split(dparams, p)).collect();
        tasks.run(pieces, |rows, (dx, dparams): (&mut [S], &mut [S])| {
            let room = |width: usize| vec![P::T::zero(); tasks.block() * width];
            let (mut x_room, mut params_room, mut sum_room, mut g_room) = (room(n), room(p), room(1), room(1));
            let (mut dx_room, mut dparams_room) = (room(n), room(p));
            let mut spare = Spare::<P>::new(n);
            for (here, there) in tasks.blocks(rows) {
                let rows = NllRows {
                    n,
                    x: S::load(&from.x[of(&there, n)], &mut x_room),
                    params: S::load(&from.params[of(&there, p)], &mut params_room),
                    targets: &from.targets[there.clone()],
                };
                let row_sum = L::load(&row_sum[there.clone()], &mut sum_room);
                let g = L::load(&g[there.clone()], &mut g_room);
                S::fill(&mut dx[of(&here, n)], &mut dx_room, |dx| {
                    S::fill(&mut dparams[of(&here, p)], &mut dparams_room, |dparams| {
                        self.vjp_block(there.start, rows, NllVjpOut { row_sum, g, dx, dparams }, &mut spare);
                    });
                });
            }
        });
    }

    fn vjp_block(&self, first_row: usize, rows: NllRows<'_, P::T>, out: NllVjpOut<'_, P::T>, spare: &mut Spare<P>) {
        let (n, p) = (self.n, self.n_params);
        if n == 0 {
            return;
        }
        if matches!(self.kept, Kept::All) && isa::run(AllFinite(rows.x)) {
            return self.kernel.vjp_rows(rows, out);
        }
        for (row, dx) in out.dx.chunks_exact_mut(n).enumerate() {
            let x = &rows.x[row * n..][..n];
            let kind = settle(x, self.kept, first_row + row, &mut spare.places);
            let places = &spare.places;
            let dparams = &mut out.dparams[row * p..][..p];
            dx.fill(P::T::zero());
            dparams.fill(P::T::zero());
            match (kind, places.binary_search(&rows.targets[row])) {
                (Kind::Empty, _) => {}
                (Kind::Finite, Ok(target)) => {
                    let compact = NllRows {
                        n: places.len(),
                        x: gather(x, places, &mut spare.x),
                        params: &rows.params[row * p..][..p],
                        targets: &[target],
                    };
                    let room = &mut spare.out[..places.len()];
                    let (row_sum, g) = (&out.row_sum[row..=row], &out.g[row..=row]);
                    self.kernel.vjp_rows(compact, NllVjpOut { row_sum, g, dx: &mut *room, dparams });
                    scatter(room, places, dx);
                }
                _ => {
                    places.iter().for_each(|&place| dx[place] = P::T::nan());
                    dparams.fill(P::T::nan());
                }
            }
        }
    }
}

/// Room for one compacted row.
struct Spare<P: Precision> {
    places: Vec<usize>,
    x: Vec<P::T>,
    out: Vec<P::T>,
}

impl<P: Precision> Spare<P> {
    fn new(n: usize) -> Self {
        let room = || vec![P::T::zero(); n];
        Self { places: Vec::with_capacity(n), x: room(), out: room() }
    }
}
