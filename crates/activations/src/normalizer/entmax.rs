//! Entmax of any alpha.
use std::sync::Arc;

use burn::{
    module::{Module, Param},
    tensor::{Tensor, activation::sigmoid},
};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{
    Gradient, Heads, Laws, Normalize, Rows, Softmax, composed,
    series::second_order,
    threshold::{entmax_scale, entmax15_threshold, sparsemax_threshold, support_gradient},
};
use crate::{
    Ctx, Init,
    kernel::{AtInfinity, LossKernel, NllBack, NllRow, Precision, Real, RowKernel, RowMap, RowNll, VjpRow, lanes},
    loss::SumOrder,
};

/// Parameters of [`Entmax`].
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct EntmaxConfig {
    /// How sparse the weights are, from 1 (softmax) over 2 (sparsemax) up to 16.
    pub alpha: f64,
    /// Whether alpha is learned, one per head, as 1 + sigmoid(a): between 1 and 2, from the given value on.
    pub learn: bool,
}

impl Default for EntmaxConfig {
    /// The published value that is sparse and still smooth.
    fn default() -> Self {
        Self { alpha: 1.5, learn: false }
    }
}

impl<'de> Deserialize<'de> for EntmaxConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Raw {
            #[serde(deserialize_with = "alpha")]
            alpha: f64,
            learn: bool,
        }
        impl Default for Raw {
            fn default() -> Self {
                let EntmaxConfig { alpha, learn } = EntmaxConfig::default();
                Self { alpha, learn }
            }
        }
        let Raw { alpha, learn } = Raw::deserialize(deserializer)?;
        if learn && !(alpha > 1.0 && alpha < 2.0) {
            return Err(de::Error::custom(format!(
                "a learned alpha lies between 1 and 2, and {alpha} does not; choose another start, or learn = false"
            )));
        }
        Ok(Self { alpha, learn })
    }
}

/// 1 to 16: below 1 the weights are not defined by a threshold, above 16 they are one-hot to the last bit.
fn alpha<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let alpha = f64::deserialize(deserializer)?;
    if (1.0..=16.0).contains(&alpha) {
        return Ok(alpha);
    }
    Err(de::Error::custom(format!("{alpha} is out of range; expected a number in [1, 16]")))
}

impl Entry for EntmaxConfig {
    const SUMMARY: &'static str = "between softmax and sparsemax, and beyond: sparse weights with a curvature alpha";
    const PAPER: &'static str =
        "Peters, Niculae and Martins 2019, Sparse Sequence-to-Sequence Models, arXiv:1905.05702";
}

impl EntmaxConfig {
    /// The map.
    pub fn init(&self, init: &Init) -> Entmax {
        let raw = (self.alpha - 1.0).ln() - (2.0 - self.alpha).ln();
        Entmax { alpha: self.alpha, learned: self.learn.then(|| init.constant([init.heads], raw)) }
    }
}

/// Entmax: sparse weights of a curvature alpha.
/// ```text
/// y_i = [(α − 1) x_i − τ]₊^(1/(α − 1)),   Σ_i y_i = 1
/// ```
/// It maximises ⟨y, x⟩ + H(y), `H(y) = (1 − Σ y^α) / (α (α − 1))`. Alpha 1 is softmax, exactly, and alpha 2 sparsemax.
///
/// # Numerics
/// With c = −τ (scores shifted so that the largest is 0), `y_i ∝ exp(ln(1 + (α − 1) x_i / c) / (α − 1))`. This form has no
/// difference of near numbers at any alpha, so it stays accurate down to alpha 1 and up to 16. c is found by Newton's method
/// on its logarithm inside a bracket. A score of +∞ takes all the weight; several share it evenly.
/// # References
/// Peters, Niculae and Martins 2019, arXiv:1905.05702; the gradient in alpha: Correia, Niculae and Martins 2019,
/// arXiv:1909.00015. Their bisection starts from the same bracket.
#[derive(Module, Debug)]
pub struct Entmax {
    alpha: f64,
    /// a of 1 + sigmoid(a), `[heads]`.
    pub learned: Option<Param<Tensor<1>>>,
}

impl Normalize for Entmax {
    fn laws(&self) -> Laws {
        Laws { can_be_zero: self.alpha > 1.0, gradient: Gradient::Exact, ..Laws::SOFTMAX }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        match &self.learned {
            None => Arc::new(EntmaxRow::<0> { alpha: self.alpha }),
            Some(_) => Arc::new(EntmaxRow::<1> { alpha: self.alpha }),
        }
    }

    fn fenchel_young(&self, sum: SumOrder) -> Option<Arc<dyn LossKernel>> {
        Some(match &self.learned {
            None => Arc::new(EntmaxLoss::<0> { alpha: self.alpha, sum }),
            Some(_) => Arc::new(EntmaxLoss::<1> { alpha: self.alpha, sum }),
        })
    }

    fn row_params(&self, scores: &Tensor<2>, heads: Heads) -> Option<Tensor<2>> {
        let learned = self.learned.as_ref()?;
        Some(heads.column(sigmoid(learned.val()).add_scalar(1.0), scores))
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        if self.learned.is_none() && self.alpha < 1.0 + 1e-6 {
            return Softmax::default().composed(rows, ctx);
        }
        by_bisection(rows, self.alphas(rows))
    }

    /// Tsallis' entropy of order alpha, `Σ y (1 − y^ε) / (ε (1 + ε))` with ε = α − 1; Shannon's at alpha 1.
    fn entropy(&self, weights: Tensor<2>, rows: &Rows<'_>) -> Option<Tensor<2>> {
        if self.learned.is_none() && self.alpha < 1.0 + 1e-6 {
            return Some(composed::shannon(weights));
        }
        let alpha = self.alphas(rows);
        let order = alpha.clone() - 1.0;
        let nothing = weights.clone().detach().lower_equal_elem(0.0);
        let power = (weights.clone().mask_fill(nothing, 1.0).log() * order.clone()).exp();
        Some((weights * power.neg().add_scalar(1.0)).sum_dim(1) / (order * alpha))
    }
}

impl Entmax {
    /// The alpha of each row (`[rows, 1]`).
    fn alphas(&self, rows: &Rows<'_>) -> Tensor<2> {
        match &self.learned {
            Some(_) => rows.param(0),
            None => Tensor::full([rows.scores.dims()[0], 1], self.alpha, (&rows.scores.device(), rows.scores.dtype())),
        }
    }
}

/// The definition by halving the bracket of τ; the last step, a Newton step that is part of the graph, carries the exact
/// gradient of τ in the scores and in alpha.
fn by_bisection(rows: &Rows<'_>, alpha: Tensor<2>) -> Tensor<2> {
    let removed = rows.removed();
    // α − 1, kept away from 0: at the nearest alpha the map equals softmax to the last digits of f32.
    let order = (alpha - 1.0).clamp_min(1e-5);
    let shifted = composed::fill(rows.scores.clone() - composed::max(rows), removed.clone(), 0.0);
    let scaled = shifted * order.clone();
    let n = rows.count().clamp_min(1.0);
    let root = order.clone().recip();
    let powers = |threshold: Tensor<2>, scaled: Tensor<2>| {
        let above = (scaled - threshold).clamp_min(0.0);
        // ln 0 has no gradient worth keeping: the power is 0 there.
        let outside = above.clone().detach().lower_equal_elem(0.0).bool_or(removed.clone());
        let log = above.mask_fill(outside.clone(), 1.0).log();
        (log, outside)
    };
    let weights = |threshold: Tensor<2>, scaled: Tensor<2>, root: Tensor<2>| {
        let (log, outside) = powers(threshold, scaled);
        (log * root).exp().mask_fill(outside, 0.0)
    };
    let (mut low, mut high) =
        (Tensor::full(n.dims(), -1.0, (&n.device(), n.dtype())), (n.log() * order.clone().neg()).exp().neg().detach());
    for _ in 0..60 {
        let middle = (low.clone() + high.clone()) * 0.5;
        let sum = weights(middle.clone(), scaled.clone().detach(), root.clone().detach()).sum_dim(1);
        let too_low = sum.greater_equal_elem(1.0);
        low = low.mask_where(too_low.clone(), middle.clone());
        high = middle.mask_where(too_low, high);
    }
    // One Newton step at the root: its value is τ again, its gradient that of the implicit function.
    let unsolved = weights(low.clone(), scaled.clone(), root.clone()).sum_dim(1) - 1.0;
    let (log, outside) = powers(low.clone(), scaled.clone().detach());
    let slope = (log * (root.clone().detach() - 1.0)).exp().mask_fill(outside, 0.0).sum_dim(1) * root.clone().detach();
    let slope = slope.clone().mask_fill(slope.equal_elem(0.0), 1.0);
    let threshold = low + (unsolved.clone() - unsolved.detach()) / slope;
    let y = weights(threshold, scaled, root);
    y.clone() / composed::sum_or_one(y)
}

/// The curvatures that have a form without powers.
#[derive(Clone, Copy, PartialEq)]
enum Curve<T> {
    /// Alpha 1.
    Softmax,
    /// Alpha 1.5: squares.
    Square,
    /// Alpha 2: linear.
    Linear,
    /// Any other; ε = α − 1.
    Power(T),
}

impl<T: Real> Curve<T> {
    /// Below an ε of 1e-6 the map is softmax to less than the rounding of its weights in `f32`, and 1/ε² overwhelms `f64`.
    #[inline(always)]
    fn of(alpha: T) -> Self {
        let order = alpha - T::one();
        if order < T::of(1e-6) {
            Self::Softmax
        } else if order == T::of(0.5) {
            Self::Square
        } else if order == T::one() {
            Self::Linear
        } else {
            Self::Power(order)
        }
    }
}

/// The weights of one row.
#[inline(always)]
fn forward<T: Real>(curve: Curve<T>, x: &[T], y: &mut [T]) {
    let max = lanes::max(x);
    match curve {
        Curve::Softmax => {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (x - max).exp_exact();
            }
        }
        Curve::Linear => {
            let threshold = sparsemax_threshold(x, max, y);
            for (y, &x) in y.iter_mut().zip(x) {
                let above = (x - max) - threshold;
                *y = if above > T::zero() { above } else { T::zero() };
            }
        }
        Curve::Square => {
            let threshold = entmax15_threshold(x, max, y);
            for (y, &x) in y.iter_mut().zip(x) {
                let above = T::of(0.5) * (x - max) - threshold;
                let above = if above > T::zero() { above } else { T::zero() };
                *y = above * above;
            }
        }
        Curve::Power(order) => {
            let scale = order / entmax_scale(x, max, order, y);
            let root = T::one() / order;
            for (y, &x) in y.iter_mut().zip(x) {
                *y = power((x - max) * scale, root);
            }
        }
    }
    if curve != Curve::Linear {
        let scale = T::one() / lanes::lane_sum(y);
        for y in y.iter_mut() {
            *y = *y * scale;
        }
    }
}

/// (1 + r)₊^root, for r ≤ 0.
#[inline(always)]
pub(super) fn power<T: Real>(r: T, root: T) -> T {
    let inside = r > -T::one();
    let log = (if inside { r } else { T::zero() }).ln_1p_lane();
    let power = (root * log).exp_exact();
    if inside { power } else { T::zero() }
}

/// The map of [`Entmax`]; alpha is the row parameter where P = 1.
/// ```text
/// s = y^(2 − α) on the support,   dx = s (g − ⟨s, g⟩ / Σ s)
/// A_i = −ln²(y_i) φ((α − 1) ln y_i),   φ(t) = (e^−t − 1 + t)/t²
/// dα = ⟨g, y A⟩ − ⟨g, s⟩ ⟨y, A⟩ / Σ s
/// ```
/// A is the derivative of ln y in alpha at a fixed threshold; the second term moves the threshold. This form of Correia's
/// gradient has no difference of near numbers as alpha goes to 1.
#[derive(Clone, Copy, Debug)]
pub struct EntmaxRow<const P: usize> {
    alpha: f64,
}

impl<const P: usize> EntmaxRow<P> {
    #[inline(always)]
    fn alpha<T: Real>(&self, params: &[T]) -> T {
        if P == 1 { params[0] } else { T::of(self.alpha) }
    }
}

impl<const P: usize> RowMap for EntmaxRow<P> {
    const N_PARAMS: usize = P;
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], params: &[T], y: &mut [T]) {
        forward(Curve::of(self.alpha(params)), x, y);
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], dparams: &mut [T]) {
        let alpha = self.alpha(row.params);
        let zero = T::zero();
        if P == 1 {
            dparams[0] = alpha_gradient(alpha - T::one(), row);
        }
        match Curve::of(alpha) {
            Curve::Softmax => support_gradient(row, dx, |y| y),
            Curve::Square => support_gradient(row, dx, |y| y.sqrt()),
            Curve::Linear => support_gradient(row, dx, |y| if y > zero { T::one() } else { zero }),
            Curve::Power(order) => {
                // The slopes first: a power is worth computing once.
                for (dx, &y) in dx.iter_mut().zip(row.y) {
                    let slope = ((T::one() - order) * (if y > zero { y } else { T::one() }).ln_lane()).exp_exact();
                    *dx = if y > zero { slope } else { zero };
                }
                let [along, size] =
                    lanes::lane_sums_of_pairs(dx, row.g, |s, g| [if s > zero { s * g } else { zero }, s]);
                let mean = along / size;
                for (dx, &g) in dx.iter_mut().zip(row.g) {
                    *dx = if *dx > zero { *dx * (g - mean) } else { zero };
                }
            }
        }
    }
}

/// dα of one row; ε = α − 1.
#[inline(always)]
fn alpha_gradient<T: Real>(order: T, row: VjpRow<'_, T>) -> T {
    let zero = T::zero();
    // ⟨g, y A⟩, ⟨y, A⟩, ⟨g, s⟩, Σ s
    let [gya, ya, gs, s] = lanes::lane_sums_of_pairs(row.y, row.g, |y, g| {
        let inside = y > zero;
        let log = (if inside { y } else { T::one() }).ln_lane();
        let t = order * log;
        let exp_minus = (-t).exp_exact();
        let ya = -y * log * log * second_order(t, exp_minus);
        let s = y * exp_minus;
        if inside { [g * ya, ya, g * s, s] } else { [zero; 4] }
    });
    gya - gs * ya / s
}

/// The entmax loss: zero once the target leads by 1/(α − 1).
/// ```text
/// L = ⟨p − e_y, x⟩ + (1 − Σ p^α) / (α (α − 1)),   dx = g (p − e_y)
/// ```
/// At alpha 1 it is softmax cross entropy.
#[derive(Clone, Copy, Debug)]
pub struct EntmaxLoss<const P: usize> {
    alpha: f64,
    sum: SumOrder,
}

impl<const P: usize> EntmaxLoss<P> {
    #[inline(always)]
    fn weights<R: Precision>(&self, row: NllRow<'_, R::T>, weights: &mut [R::T]) -> R::T {
        let alpha = if P == 1 { row.params[0] } else { R::T::of(self.alpha) };
        forward(Curve::of(alpha), row.x, weights);
        for weight in weights.iter_mut() {
            *weight = R::round(*weight);
        }
        alpha
    }
}

/// (1 − p^ε) / ε, which is −ln p at ε = 0.
#[inline(always)]
fn surprise<T: Real>(p: T, order: T) -> T {
    let log = p.ln_lane();
    let t = order * log;
    // e^t − 1 = t + t² (e^t − 1 − t)/t², and φ of −t is that quotient.
    -(log + log * t * second_order(-t, t.exp_exact()))
}

impl<const P: usize> RowNll for EntmaxLoss<P> {
    const N_PARAMS: usize = P;

    #[inline(always)]
    fn forward<R: Precision>(&self, row: NllRow<'_, R::T>, scratch: &mut [R::T]) -> (R::T, R::T) {
        let (zero, one) = (R::T::of(0.0), R::T::of(1.0));
        let alpha = self.weights::<R>(row, scratch);
        let target = row.x[row.target];
        let (order, inverse) = (alpha - one, one / alpha);
        // ⟨p − e_y, x⟩ = Σ p (x − x_y) as p sums to 1, and (1 − Σ p^α)/(α ε) = Σ p (1 − p^ε)/(α ε).
        for (term, &x) in scratch.iter_mut().zip(row.x) {
            let p = *term;
            let inside = p > zero;
            let surprise = surprise(if inside { p } else { one }, order);
            let value = R::round(p * (R::round(x - target) + inverse * surprise));
            *term = if inside { value } else { zero };
        }
        (R::round(lanes::sum(scratch, self.sum)), one)
    }

    #[inline(always)]
    fn vjp<R: Precision>(&self, row: NllRow<'_, R::T>, back: NllBack<R::T>, dx: &mut [R::T], dparams: &mut [R::T]) {
        let one = R::T::of(1.0);
        let alpha = self.weights::<R>(row, dx);
        if P == 1 {
            dparams[0] = R::round(back.g * entropy_slope(alpha, dx));
        }
        dx[row.target] = dx[row.target] - one;
        for dx in dx.iter_mut() {
            *dx = R::round(*dx * back.g);
        }
    }
}

/// ∂H/∂α of H = (1 − Σ p^α)/(α (α − 1)) at fixed p. p is where the loss is largest, so this is its whole gradient in alpha.
/// ```text
/// H = Σ p h(ε)/α,   h(ε) = (1 − p^ε)/ε,   ∂H/∂α = Σ p (h′/α − h/α²)
/// ```
#[inline(always)]
fn entropy_slope<T: Real>(alpha: T, p: &[T]) -> T {
    let (zero, one) = (T::zero(), T::one());
    let order = alpha - one;
    let inverse = one / alpha;
    let [sum] = lanes::lane_sums(p, |p| {
        let inside = p > zero;
        let p = if inside { p } else { one };
        let log = p.ln_lane();
        let t = order * log;
        // d/dε ((1 − e^t)/ε) = −ln²p e^t (e^−t − 1 + t)/t².
        let slope = -(log * log) * t.exp_exact() * second_order(t, (-t).exp_exact());
        let value = p * inverse * (slope - inverse * surprise(p, order));
        [if inside { value } else { zero }]
    });
    sum
}
