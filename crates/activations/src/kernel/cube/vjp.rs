//! The backward kernel.
use super::{
    CubeRow, Entry, Fold, RowFacts,
    cubecl::{self, prelude::*},
    fold::fold,
    launch::Layout,
    scan::{FINITE, INFINITE, NAN, first_fold, place, read_params, second_fold, settle, takes_part},
};

/// `dx = gᵀ ∂y/∂x` (`[rows, n]`) and `dparams = gᵀ ∂y/∂params` (`[rows, P]`).
#[cube(launch_unchecked, address_type = "dynamic")]
pub(super) fn row_map_vjp<M: CubeRow, S: Float, C: Float, K: Int>(
    x: &[S],
    y: &[S],
    g: &[S],
    params: ComptimeOption<&[S]>,
    keep: ComptimeOption<&[K]>,
    dx: &mut [S],
    dparams: ComptimeOption<&mut [S]>,
    rows: usize,
    n: usize,
    constants: Sequence<InputScalar>,
    nan: InputScalar,
    lowest: InputScalar,
    #[comptime] layout: Layout,
    #[define(S, C, K)] _dtypes: [ElemType; 3],
) {
    let lanes = comptime!(layout.lanes as usize);
    let mut room = Shared::<[C]>::new_slice(comptime!(layout.units() as usize));
    let at = place(rows, n, layout);
    let nan = nan.get::<C>();

    let (kind, kept) = settle::<S, C, K>(x, &keep, &mut room, &at, layout);
    let finite = kind == FINITE;
    let mut is_nan = kind == NAN;
    if comptime!(!layout.one_hot) {
        is_nan = is_nan || kind == INFINITE;
    }
    let mut row = RowFacts::<C> {
        kept,
        first: C::new(0.0_f32),
        second: C::new(0.0_f32),
        params: read_params::<S, C>(&params, &constants, at.row, layout),
        back: Sequence::<C>::new(),
    };
    if comptime!(M::PLAN.replay) {
        if comptime!(M::PLAN.first.is_some()) {
            row.first = first_fold::<M, S, C, K>(x, &keep, &mut room, &row, lowest.get::<C>(), &at, layout);
        }
        if comptime!(M::PLAN.second) {
            row.second = second_fold::<M, S, C, K>(x, &keep, &mut room, &row, false.runtime(), &at, layout);
        }
    }
    #[unroll]
    for which in 0..comptime!(M::PLAN.back) {
        let mut value = C::new(0.0_f32);
        let mut col = at.lane;
        while col < n {
            let here = at.row * n + col;
            let entry = Entry::<C> { x: C::cast_from(x[here]), y: C::cast_from(y[here]), g: C::cast_from(g[here]) };
            if takes_part::<C, K>(entry.x, &keep, &at, col, layout.kept) {
                value += M::back::<C>(entry, &row, which);
            }
            col += lanes;
        }
        row.back.push(fold::<C>(value, &mut room, Fold::Sum, layout));
    }

    let mut col = at.lane;
    while col < n {
        let here = at.row * n + col;
        let entry = Entry::<C> { x: C::cast_from(x[here]), y: C::cast_from(y[here]), g: C::cast_from(g[here]) };
        // Removed entries and the constant limit of a row with +∞ have no gradient.
        let mut out = C::new(0.0_f32);
        if takes_part::<C, K>(entry.x, &keep, &at, col, layout.kept) {
            if finite {
                out = M::gradient::<C>(entry, &row);
            }
            if is_nan {
                out = nan;
            }
        }
        if at.exists {
            dx[here] = S::cast_from(out);
        }
        col += lanes;
    }

    #[comptime]
    if let ComptimeOption::Some(dparams) = dparams {
        #[unroll]
        for which in 0..comptime!(layout.params) {
            let mut value = C::new(0.0_f32);
            let mut col = at.lane;
            while col < n {
                let here = at.row * n + col;
                let entry = Entry::<C> { x: C::cast_from(x[here]), y: C::cast_from(y[here]), g: C::cast_from(g[here]) };
                if finite && takes_part::<C, K>(entry.x, &keep, &at, col, layout.kept) {
                    value += M::param_gradient::<C>(entry, &row, which);
                }
                col += lanes;
            }
            let mut out = fold::<C>(value, &mut room, Fold::Sum, layout);
            if is_nan {
                out = nan;
            }
            if at.exists && at.lane == 0 {
                dparams[at.row * comptime!(layout.params as usize) + comptime!(which as usize)] = S::cast_from(out);
            }
        }
    }
}
