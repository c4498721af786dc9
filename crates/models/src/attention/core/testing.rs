//! What the tests of all cores share.
use burn::tensor::{Bool, DType, Tensor, TensorData};
use kiln_activations::{Ctx, Init, normalizer::NormalizerConfig};
use serde_json::Value;

use super::{Around, Core, CoreConfig, CoreInit, Heads};
use crate::{
    attention::{Pattern, Scope, Side, State},
    position::{Place, Position, PositionConfig, Positional, Rotation},
    testing::{assert_close, device, normal, randomised, values},
};

/// Sizes of a pass, all different primes.
pub(super) const ROWS: usize = 2;
pub(super) const HEADS: usize = 3;
pub(super) const LENGTH: usize = 11;
pub(super) const D: usize = 5;
pub(super) const E: usize = 7;
pub(super) const D_MODEL: usize = 13;

/// The config that JSON says.
pub(super) fn config(value: Value) -> CoreConfig {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{value}: {error}"))
}

/// A core for `n_heads` heads with queries of `d` and values of `e` entries, parameters drawn at random.
pub(super) fn build(config: &CoreConfig, [n_heads, d, e]: [usize; 3], dtype: DType) -> Core {
    let init = Init::new(5, &device(), dtype);
    let normalizer = NormalizerConfig::default();
    let place = CoreInit {
        init: &init,
        d_model: D_MODEL,
        n_heads,
        d_head: d,
        d_value: e,
        length: 64,
        normalizer: &normalizer,
        dropout: 0.0,
    };
    randomised(config.init(&place))
}

/// Leaves and surroundings of one pass.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub heads: Heads,
    pub x: Tensor<3>,
    pub scope: Scope,
    pub rotation: Option<Rotation>,
}

impl Pass {
    /// Random heads and inputs.
    pub fn random(scope: Scope, length: usize, dtype: DType) -> Self {
        let heads = Heads {
            q: normal([ROWS, HEADS, length, D], dtype, "q"),
            k: normal([ROWS, HEADS, length, D], dtype, "k"),
            v: normal([ROWS, HEADS, length, E], dtype, "v"),
        };
        Self { heads, x: normal([ROWS, length, D_MODEL], dtype, "x").detach(), scope, rotation: None }
    }

    pub fn forward(&self, core: &Core, ctx: &Ctx) -> Tensor<4> {
        let position = unaware();
        core.forward(self.heads.clone(), &self.around(&*position), ctx)
    }

    pub fn extend(&self, core: &Core, state: State, ctx: &Ctx) -> (Tensor<4>, State) {
        let position = unaware();
        core.extend(self.heads.clone(), state, &self.around(&*position), ctx)
    }

    fn around<'a>(&'a self, position: &'a dyn Positional) -> Around<'a> {
        Around { scope: &self.scope, rotation: self.rotation.as_ref(), position, x: &self.x }
    }

    /// Some of the tokens, as a call of their own.
    pub fn part(&self, start: usize, length: usize) -> Self {
        let part = |x: &Tensor<4>| x.clone().narrow(2, start, length);
        Self {
            heads: Heads { q: part(&self.heads.q), k: part(&self.heads.k), v: part(&self.heads.v) },
            x: self.x.clone().narrow(1, start, length),
            scope: Scope::of(self.scope.pattern, self.scope.keys.narrow(start, length)),
            rotation: None,
        }
    }

    /// Output and gradients at queries, keys and values of `Σ g o`.
    pub fn gradients(&self, core: &Core, g: &Tensor<4>) -> [Vec<f64>; 4] {
        let o = self.forward(core, &Ctx::eval(0, 0));
        let gradients = (o.clone() * g.clone()).sum().backward();
        let at = |x: &Tensor<4>| values(&x.grad(&gradients).expect("a leaf"));
        [values(&o), at(&self.heads.q), at(&self.heads.k), at(&self.heads.v)]
    }
}

/// No position scheme.
fn unaware() -> Position {
    let init = Init::new(0, &device(), DType::F64);
    let place = Place { length: 64, d_model: D_MODEL, n_heads: HEADS, d_head: D, std: 1.0, init: &init };
    PositionConfig::default().init(&place)
}

/// The whole of a row, or the keys up to each query.
pub(super) fn pattern(causal: bool) -> Pattern {
    if causal { Pattern::Causal } else { Pattern::Full }
}

/// `length` tokens of which row 0 has two of padding on the left and row 1 three on the right.
pub(super) fn padded(pattern: Pattern, length: usize) -> Scope {
    let kept = |row: usize, t: usize| if row == 0 { t >= 2 } else { t + 3 < length };
    let kept: Vec<bool> = (0..ROWS * length).map(|i| kept(i / length, i % length)).collect();
    Scope::of(pattern, Side::padded(mask(kept, length)))
}

pub(super) fn mask(kept: Vec<bool>, length: usize) -> Tensor<2, Bool> {
    let rows = kept.len() / length;
    Tensor::from_data(TensorData::new(kept, [rows, length]), &device())
}

/// The worked example: one row, one head, four tokens of two entries.
pub(super) fn example(scope: Scope) -> Pass {
    let tensor = |values: [[f64; 2]; 4]| {
        let values: Vec<f64> = values.into_iter().flatten().collect();
        Tensor::<4>::from_data(TensorData::new(values, [1, 1, 4, 2]), (&device(), DType::F64)).require_grad()
    };
    let heads = Heads {
        q: tensor([[1.0, 0.5], [-0.3, 0.8], [0.6, -1.2], [0.2, 0.4]]),
        k: tensor([[0.4, -0.6], [1.1, 0.3], [-0.5, 0.7], [0.9, -0.2]]),
        v: tensor([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0], [-1.0, 0.5]]),
    };
    Pass { heads, x: normal([1, 4, D_MODEL], DType::F64, "x").detach(), scope, rotation: None }
}

/// The example's scope without padding.
pub(super) fn straight(causal: bool, length: usize) -> Scope {
    Scope::whole(pattern(causal), length, &device())
}

/// The example's gradient at the output.
pub(super) fn upstream() -> Tensor<4> {
    let values = vec![1.0, 0.0, 0.5, -0.5, 0.0, 1.0, 1.0, 1.0];
    Tensor::from_data(TensorData::new(values, [1, 1, 4, 2]), (&device(), DType::F64))
}

/// Compares output, dQ, dK and dV of the example, as far as they are given, with numbers that were computed elsewhere.
#[track_caller]
pub(super) fn assert_example(label: &str, core: &CoreConfig, causal: bool, expected: &[[[f64; 2]; 4]]) {
    let core = build(core, [1, 2, 2], DType::F64);
    let found = example(straight(causal, 4)).gradients(&core, &upstream());
    for ((found, expected), name) in found.iter().zip(expected).zip(["O", "dQ", "dK", "dV"]) {
        let expected: Vec<f64> = expected.iter().flatten().copied().collect();
        assert_close(&format!("{label} {name}"), found, &expected, 2e-9);
    }
}

/// The core of a config that a causal layer may or may not have.
pub(super) fn fits(config: &CoreConfig, causal: bool) -> bool {
    config.check(D, causal).is_ok() && (!causal || config.properties().causal)
}
