//! One value per row from one value per unit.
use super::{
    Fold,
    cubecl::{self, prelude::*},
    launch::Layout,
};

/// Folds the values of a row's units, pairwise and in the same order every time; each unit gets the result.
///
/// `room` holds a value per unit of the cube. All units of the cube must come here together.
#[cube]
pub(super) fn fold<C: Float>(value: C, room: &mut Shared<[C]>, #[comptime] how: Fold, #[comptime] layout: Layout) -> C {
    let lanes = comptime!(layout.lanes as usize);
    let lane = UNIT_POS_X as usize;
    let base = UNIT_POS_Y as usize * lanes;
    // The result of the fold before this one has been read by everyone.
    sync_cube();
    room[base + lane] = value;
    sync_cube();
    #[unroll]
    for step in 0..comptime!(layout.lanes.trailing_zeros()) {
        let width = comptime!(lanes >> (step + 1));
        if lane < width {
            let near = room[base + lane];
            let far = room[base + lane + width];
            room[base + lane] = match comptime!(how) {
                Fold::Max => max(near, far),
                Fold::Sum => near + far,
            };
        }
        sync_cube();
    }
    room[base]
}
