//! The passes over a row that the forward and the backward kernel share.
use super::{
    CubeRow, Fold, RowFacts,
    cubecl::{self, prelude::*},
    fold::fold,
    launch::{Kept, Layout},
    math::{is_inf, is_nan},
};

/// What kinds of row there are, by the gravest entry; 0 if nothing is kept. All kept scores are finite.
pub(super) const FINITE: u32 = 1;
/// Some are +∞, none is NaN.
pub(super) const INFINITE: u32 = 2;
/// At least one is NaN.
pub(super) const NAN: u32 = 3;

/// Where a unit stands: its row, and the entries it looks at.
#[derive(CubeType)]
pub(super) struct Place {
    /// The row; units beyond the last row repeat it without writing.
    pub(super) row: usize,
    /// Whether this unit's row exists.
    pub(super) exists: bool,
    /// The first entry of this unit; the others follow in steps of the layout's lanes.
    pub(super) lane: usize,
    /// Entries per row.
    pub(super) n: usize,
}

#[cube]
pub(super) fn place(rows: usize, n: usize, #[comptime] layout: Layout) -> Place {
    let row = CUBE_POS * comptime!(layout.rows as usize) + UNIT_POS_Y as usize;
    let exists = row < rows;
    Place { row: select(exists, row, rows - 1), exists, lane: UNIT_POS_X as usize, n }
}

/// Whether an entry takes part: it is kept, and its score is not −∞.
#[cube]
pub(super) fn takes_part<C: Float, K: Int>(
    x: C,
    keep: &ComptimeOption<&[K]>,
    at: &Place,
    col: usize,
    #[comptime] kept: Kept,
) -> bool {
    let mut takes_part = !(is_inf::<C>(x) && x < C::new(0.0_f32));
    #[comptime]
    if let ComptimeOption::Some(keep) = keep {
        takes_part = takes_part
            && match comptime!(kept) {
                Kept::All => true.runtime(),
                Kept::Prefix => K::cast_from(col) < keep[at.row],
                Kept::Mask => keep[at.row * at.n + col] != K::new(0),
            };
    }
    takes_part
}

/// The row's parameters and the map's constants in registers.
#[cube]
pub(super) fn read_params<S: Float, C: Float>(
    params: &ComptimeOption<&[S]>,
    constants: &Sequence<InputScalar>,
    row: usize,
    #[comptime] layout: Layout,
) -> Sequence<C> {
    let count = comptime!(layout.params as usize);
    let mut read = Sequence::<C>::new();
    #[comptime]
    if let ComptimeOption::Some(params) = params {
        #[unroll]
        for which in 0..count {
            read.push(C::cast_from(params[row * count + which]));
        }
    }
    #[unroll]
    for which in 0..comptime!(layout.constants as usize) {
        read.push(constants[which].get::<C>());
    }
    read
}

/// What kind of row it is, and how many entries take part.
#[cube]
pub(super) fn settle<S: Float, C: Float, K: Int>(
    x: &[S],
    keep: &ComptimeOption<&[K]>,
    room: &mut Shared<[C]>,
    at: &Place,
    #[comptime] layout: Layout,
) -> (u32, C) {
    let mut kind = C::new(0.0_f32);
    let mut count = C::new(0.0_f32);
    let mut col = at.lane;
    while col < at.n {
        let x = C::cast_from(x[at.row * at.n + col]);
        if takes_part::<C, K>(x, keep, at, col, layout.kept) {
            let mut here = C::new(FINITE as f32);
            if is_inf::<C>(x) {
                here = C::new(INFINITE as f32);
            }
            if is_nan::<C>(x) {
                here = C::new(NAN as f32);
            }
            kind = max(kind, here);
            count += C::new(1.0_f32);
        }
        col += comptime!(layout.lanes as usize);
    }
    let kind = fold::<C>(kind, room, Fold::Max, layout);
    let count = fold::<C>(count, room, Fold::Sum, layout);
    (u32::cast_from(kind), count)
}

/// The first fold of a row, for a map that has one.
#[cube]
pub(super) fn first_fold<M: CubeRow, S: Float, C: Float, K: Int>(
    x: &[S],
    keep: &ComptimeOption<&[K]>,
    room: &mut Shared<[C]>,
    row: &RowFacts<C>,
    lowest: C,
    at: &Place,
    #[comptime] layout: Layout,
) -> C {
    let how = comptime!(M::PLAN.first.unwrap_or(Fold::Sum));
    let mut value = C::new(0.0_f32);
    if comptime!(how == Fold::Max) {
        value = lowest;
    }
    let mut col = at.lane;
    while col < at.n {
        let x = C::cast_from(x[at.row * at.n + col]);
        if takes_part::<C, K>(x, keep, at, col, layout.kept) {
            let here = M::first::<C>(x, row);
            value = match comptime!(how) {
                Fold::Max => max(value, here),
                Fold::Sum => value + here,
            };
        }
        col += comptime!(layout.lanes as usize);
    }
    fold::<C>(value, room, how, layout)
}

/// The second fold of a row; in a row with scores of +∞ their number instead.
#[cube]
pub(super) fn second_fold<M: CubeRow, S: Float, C: Float, K: Int>(
    x: &[S],
    keep: &ComptimeOption<&[K]>,
    room: &mut Shared<[C]>,
    row: &RowFacts<C>,
    infinite: bool,
    at: &Place,
    #[comptime] layout: Layout,
) -> C {
    let mut value = C::new(0.0_f32);
    let mut col = at.lane;
    while col < at.n {
        let x = C::cast_from(x[at.row * at.n + col]);
        if takes_part::<C, K>(x, keep, at, col, layout.kept) {
            if infinite {
                if is_inf::<C>(x) {
                    value += C::new(1.0_f32);
                }
            } else if comptime!(M::PLAN.second) {
                value += M::second::<C>(x, row);
            }
        }
        col += comptime!(layout.lanes as usize);
    }
    fold::<C>(value, room, Fold::Sum, layout)
}
