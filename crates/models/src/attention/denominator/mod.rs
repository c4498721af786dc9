//! Denominators: what the sum of weighted values is divided by.
//!
//! A denominator is an entry of the registry below. It gets the sum of the weighted values, the sum of the weights and their
//! number, and need not use them all.
use std::fmt::Debug;

use burn::tensor::Tensor;
use kiln_activations::Ctx;
use kiln_registry::registry;

use super::{core::CoreInit, features::Scaled};

mod clamp_min_1;
mod detached_sum;
mod gate;
mod l2;
mod none;
mod rms;
mod sum;
#[cfg(test)]
mod tests;

pub use clamp_min_1::{ClampMin1, ClampMin1Config};
pub use detached_sum::{DetachedSum, DetachedSumConfig};
pub use gate::{Gate, GateConfig};
pub use l2::{L2, L2Config};
pub use none::{Undivided, UndividedConfig};
pub use rms::{Rms, RmsConfig};
pub use sum::{Sum, SumConfig};

registry! {
    /// A denominator, by name.
    config DenominatorConfig("denominator"): dyn DenominatorSetting;
    module Denominator: dyn Divide, init(&CoreInit<'_>);
    "sum" => Sum(SumConfig),
    "detached_sum" => DetachedSum(DetachedSumConfig),
    "clamp_min_1" => ClampMin1(ClampMin1Config),
    "gate" => Gate(GateConfig),
    "rms" => Rms(RmsConfig),
    "l2" => L2(L2Config),
    "none" => Undivided(UndividedConfig),
}

impl Default for DenominatorConfig {
    /// The sum of the weights.
    fn default() -> Self {
        Self::Sum(SumConfig::default())
    }
}

/// What a denominator promises at its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenominatorLaws {
    /// Whether the sum of the weights is used.
    pub uses_sum: bool,
    /// Whether a factor common to all weights of a query cancels, so that weights may be shifted into range.
    pub scale_free: bool,
}

/// What the parameters of a denominator must answer before it is built.
pub trait DenominatorSetting {
    /// What the denominator promises.
    fn laws(&self) -> DenominatorLaws;
}

/// What a denominator works on.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// Sum of the weighted values: `[rows, heads, queries, d_value]`.
    pub numerator: Tensor<4>,
    /// Sum of the weights: `[rows, heads, queries, 1]`; `None` where [`DenominatorLaws::uses_sum`] is not set.
    pub sum: Option<Tensor<4>>,
    /// Number of keys a query sees, at least 1: `[rows or 1, 1, queries, 1]`; `None` where sums are not to be divided by it.
    pub count: Option<Tensor<4>>,
    /// The layer's input at the queries: `[rows, queries, d_model]`.
    pub x: &'a Tensor<3>,
}

impl<'a> Parts<'a> {
    /// Numerator and sum that share a factor, which is left out where the denominator cancels it.
    pub fn new(
        numerator: Scaled,
        sum: Option<Scaled>,
        count: Option<Tensor<4>>,
        x: &'a Tensor<3>,
        laws: DenominatorLaws,
    ) -> Self {
        let resolve = |part: Scaled| if laws.scale_free { part.values } else { part.unscaled() };
        Self { numerator: resolve(numerator), sum: sum.map(resolve), count, x }
    }

    /// The sum of the weights.
    fn sum(&self) -> Tensor<4> {
        self.sum.clone().expect("a denominator that uses the sum gets it")
    }

    /// The mean of the weighted values.
    fn mean(self) -> Tensor<4> {
        match self.count {
            None => self.numerator,
            Some(count) => self.numerator / count,
        }
    }
}

/// The contract of a denominator.
pub trait Divide: Debug {
    /// What the denominator promises.
    fn laws(&self) -> DenominatorLaws;

    /// The mixed values: `[rows, heads, queries, d_value]`; zeros for a query that sees no key.
    fn divide(&self, parts: Parts<'_>, ctx: &Ctx) -> Tensor<4>;
}
