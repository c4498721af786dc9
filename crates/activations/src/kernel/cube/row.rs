//! What a map computes on one row of a CubeCL device.
#![allow(missing_docs, reason = "CubeCL's macros put items without a comment beside the written ones")]

use super::cubecl::{self, prelude::*};

/// How the values of a row's entries become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fold {
    /// Their largest.
    Max,
    /// Their sum.
    Sum,
}

/// Which passes over a row the kernels make for a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// How [`CubeRow::first`] is folded; `None` leaves [`RowFacts::first`] at 0.
    pub first: Option<Fold>,
    /// Whether [`CubeRow::second`] is summed, otherwise [`RowFacts::second`] stays 0.
    pub second: bool,
    /// How many sums the backward pass needs before it can give an entry its gradient: up to 2.
    pub back: u32,
    /// Whether the backward pass needs the first and second fold once more, or `x`, `y` and `g` are enough for it.
    pub replay: bool,
}

/// What is known about a whole row.
#[derive(CubeType)]
pub struct RowFacts<C: Float> {
    /// How many entries take part.
    pub kept: C,
    /// The fold of [`CubeRow::first`].
    pub first: C,
    /// The sum of [`CubeRow::second`].
    pub second: C,
    /// The row's parameters, and behind them the map's constants ([`super::CubeMap::with`]).
    pub params: Sequence<C>,
    /// The sums of [`CubeRow::back`]; 0 in the forward pass.
    pub back: Sequence<C>,
}

/// One entry in the backward pass.
#[derive(CubeType, Clone, Copy)]
pub struct Entry<C: Float> {
    /// The score.
    pub x: C,
    /// What the forward pass made of it.
    pub y: C,
    /// The gradient that arrives there.
    pub g: C,
}

/// The cube code of a map: what each entry adds to the sums of its row, and what the sums make of it.
///
/// The kernels remove masked entries and scores of −∞ first and settle rows with NaN or +∞ by themselves, so only
/// finite scores arrive here. Functions that the [plan](CubeRow::PLAN) leaves out are not called.
#[cube]
pub trait CubeRow: 'static + Send + Sync {
    /// The passes this map needs.
    const PLAN: Plan;

    /// The value of an entry in the first fold.
    fn first<C: Float>(x: C, row: &RowFacts<C>) -> C;

    /// The value of an entry in the second fold, a sum; [`RowFacts::first`] is known.
    fn second<C: Float>(x: C, row: &RowFacts<C>) -> C;

    /// The result at an entry.
    fn weight<C: Float>(x: C, row: &RowFacts<C>) -> C;

    /// The value of an entry in a sum of the backward pass.
    fn back<C: Float>(entry: Entry<C>, row: &RowFacts<C>, #[comptime] which: u32) -> C;

    /// The gradient at an entry's score.
    fn gradient<C: Float>(entry: Entry<C>, row: &RowFacts<C>) -> C;

    /// What an entry adds to the gradient of the row's parameter `which`.
    fn param_gradient<C: Float>(entry: Entry<C>, row: &RowFacts<C>, #[comptime] which: u32) -> C;
}
