//! Maps that are positive numerators over their sum, and the logarithms of those maps.
#![allow(missing_docs, reason = "CubeCL's macros put items without a comment beside the written ones")]

use std::marker::PhantomData;

use super::{
    CubeRow, Entry, Fold, Plan, RowFacts,
    cubecl::{self, prelude::*},
};

/// A map y = f(x) / Σ f(x) with f > 0, by its numerator; [`Ratio`] and [`LogRatio`] follow from it.
/// ```text
/// y_i = f_i / S:            dx_i = λ_i y_i (g_i − ⟨y, g⟩),       dp = Σ μ_i y_i (g_i − ⟨y, g⟩)
/// y_i = ln f_i − ln S:      dx_i = λ_i (g_i − exp(y_i) Σ g),     dp = Σ μ_i (g_i − exp(y_i) Σ g)
/// λ = ∂ ln f/∂x,  μ = ∂ ln f/∂p
/// ```
#[cube]
pub trait CubeRatio: 'static + Send + Sync {
    /// Whether the numerators are taken relative to the row's largest score m, the `shift`, which must not change
    /// the map; otherwise `shift` is 0.
    const SHIFTED: bool;

    /// f(x), up to a factor that all entries of the row share.
    fn numerator<C: Float>(x: C, shift: C, params: &Sequence<C>) -> C;

    /// The logarithm of [`CubeRatio::numerator`], computed without it.
    fn log_numerator<C: Float>(x: C, shift: C, params: &Sequence<C>) -> C;

    /// λ = ∂ ln f/∂x.
    fn slope<C: Float>(x: C, params: &Sequence<C>) -> C;

    /// μ = ∂ ln f/∂p for the parameter `which`, up to a summand that all entries of the row share.
    fn param_slope<C: Float>(x: C, params: &Sequence<C>, #[comptime] which: u32) -> C;
}

/// The weights of a [`CubeRatio`].
pub struct Ratio<M>(PhantomData<M>);

/// The logarithms of the weights of a [`CubeRatio`].
pub struct LogRatio<M>(PhantomData<M>);

const fn plan(shifted: bool) -> Plan {
    let first = if shifted { Some(Fold::Max) } else { None };
    Plan { first, second: true, back: 1, replay: false }
}

#[cube]
impl<M: CubeRatio> CubeRow for Ratio<M> {
    const PLAN: Plan = plan(M::SHIFTED);

    fn first<C: Float>(x: C, _row: &RowFacts<C>) -> C {
        x
    }

    fn second<C: Float>(x: C, row: &RowFacts<C>) -> C {
        M::numerator::<C>(x, row.first, &row.params)
    }

    fn weight<C: Float>(x: C, row: &RowFacts<C>) -> C {
        M::numerator::<C>(x, row.first, &row.params) / row.second
    }

    fn back<C: Float>(entry: Entry<C>, _row: &RowFacts<C>, #[comptime] _which: u32) -> C {
        entry.y * entry.g
    }

    fn gradient<C: Float>(entry: Entry<C>, row: &RowFacts<C>) -> C {
        M::slope::<C>(entry.x, &row.params) * entry.y * (entry.g - row.back[0])
    }

    fn param_gradient<C: Float>(entry: Entry<C>, row: &RowFacts<C>, #[comptime] which: u32) -> C {
        M::param_slope::<C>(entry.x, &row.params, which) * entry.y * (entry.g - row.back[0])
    }
}

#[cube]
impl<M: CubeRatio> CubeRow for LogRatio<M> {
    const PLAN: Plan = plan(M::SHIFTED);

    fn first<C: Float>(x: C, _row: &RowFacts<C>) -> C {
        x
    }

    fn second<C: Float>(x: C, row: &RowFacts<C>) -> C {
        M::numerator::<C>(x, row.first, &row.params)
    }

    fn weight<C: Float>(x: C, row: &RowFacts<C>) -> C {
        M::log_numerator::<C>(x, row.first, &row.params) - row.second.ln()
    }

    fn back<C: Float>(entry: Entry<C>, _row: &RowFacts<C>, #[comptime] _which: u32) -> C {
        entry.g
    }

    fn gradient<C: Float>(entry: Entry<C>, row: &RowFacts<C>) -> C {
        M::slope::<C>(entry.x, &row.params) * (entry.g - entry.y.exp() * row.back[0])
    }

    fn param_gradient<C: Float>(entry: Entry<C>, row: &RowFacts<C>, #[comptime] which: u32) -> C {
        M::param_slope::<C>(entry.x, &row.params, which) * (entry.g - entry.y.exp() * row.back[0])
    }
}
