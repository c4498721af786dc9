//! The forward kernel.
use super::{
    CubeRow, RowFacts,
    cubecl::{self, prelude::*},
    launch::Layout,
    math::is_inf,
    scan::{FINITE, INFINITE, first_fold, place, read_params, second_fold, settle, takes_part},
};

/// `y` of the scores `x`, both `[rows, n]`; `params` is `[rows, P]`, `keep` `[rows]` or `[rows, n]`.
///
/// NaN and −∞ arrive as arguments, since a shader may not spell them out.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(super) fn row_map<M: CubeRow, S: Float, C: Float, K: Int>(
    x: &[S],
    params: ComptimeOption<&[S]>,
    keep: ComptimeOption<&[K]>,
    y: &mut [S],
    rows: usize,
    n: usize,
    constants: Sequence<InputScalar>,
    nan: InputScalar,
    lowest: InputScalar,
    #[comptime] layout: Layout,
    #[define(S, C, K)] _dtypes: [ElemType; 3],
) {
    let mut room = Shared::<[C]>::new_slice(comptime!(layout.units() as usize));
    let at = place(rows, n, layout);
    let nan = nan.get::<C>();
    let lowest = lowest.get::<C>();

    let (kind, kept) = settle::<S, C, K>(x, &keep, &mut room, &at, layout);
    let mut row = RowFacts::<C> {
        kept,
        first: C::new(0.0_f32),
        second: C::new(0.0_f32),
        params: read_params::<S, C>(&params, &constants, at.row, layout),
        back: Sequence::<C>::new(),
    };
    let infinite = kind == INFINITE;
    if comptime!(M::PLAN.first.is_some()) {
        row.first = first_fold::<M, S, C, K>(x, &keep, &mut room, &row, lowest, &at, layout);
    }
    if comptime!(M::PLAN.second || layout.one_hot) {
        row.second = second_fold::<M, S, C, K>(x, &keep, &mut room, &row, infinite, &at, layout);
    }

    let removed = if comptime!(layout.is_log) { lowest } else { C::new(0.0_f32) };
    let mut col = at.lane;
    while col < n {
        let x = C::cast_from(x[at.row * n + col]);
        let mut out = removed;
        if takes_part::<C, K>(x, &keep, &at, col, layout.kept) {
            if kind == FINITE {
                out = M::weight::<C>(x, &row);
            } else if comptime!(layout.one_hot) && infinite {
                if is_inf::<C>(x) {
                    out = if comptime!(layout.is_log) {
                        C::new(0.0_f32) - row.second.ln()
                    } else {
                        C::new(1.0_f32) / row.second
                    };
                }
            } else {
                out = nan;
            }
        }
        if at.exists {
            y[at.row * n + col] = S::cast_from(out);
        }
        col += comptime!(layout.lanes as usize);
    }
}
