//! Length-scaled softplus attention with re-weighting.
use std::sync::Arc;

use burn::{
    module::Module,
    tensor::{Tensor, activation::relu},
};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{
    Laws, LengthScaledSoftplus, Normalize, Rows, composed,
    lssa::{ComposedGrowth, Scaled, at_least_two},
};
use crate::{
    Ctx, Init,
    kernel::{
        AtInfinity, Real, RowKernel, RowMap, VjpRow,
        lanes::{self, LANES},
    },
};

/// Parameters of [`Lssar`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LssarConfig {
    /// Width d of a head, for the factor `c = ln d · ln n`; 64, the usual one.
    #[serde(deserialize_with = "at_least_two")]
    #[schemars(range(min = 2))]
    pub d_head: usize,
    /// A constant factor of the scores instead.
    #[serde(deserialize_with = "range::positive_if_given")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub c: Option<f64>,
    /// The power of the second stage; 15 as in the paper.
    #[serde(deserialize_with = "power")]
    #[schemars(range(min = 1))]
    pub p: u32,
    /// The offset O. Without one it is 1, so that only entries above the mean stay, and 0 in rows of up to three.
    #[serde(deserialize_with = "range::non_negative_if_given")]
    #[schemars(range(min = 0))]
    pub offset: Option<f64>,
    /// Added to the sum that the first stage divides by; 0 as in [`super::LssaConfig`].
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0))]
    pub eps: f64,
}

impl Default for LssarConfig {
    fn default() -> Self {
        Self { d_head: 64, c: None, p: 15, offset: None, eps: 0.0 }
    }
}

impl Entry for LssarConfig {
    const SUMMARY: &'static str = "lssa sharpened by a power of what lies above the row's mean";
    const PAPER: &'static str = "Gao & Spratling 2025, Softplus Attention with Re-weighting Boosts Length Extrapolation \
                                 in Large Language Models, arXiv:2501.13428";
}

impl LssarConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> Lssar {
        let growth = LengthScaledSoftplus { d_head: self.d_head, c: self.c, eps: self.eps };
        Lssar { row: LssarRow { growth, p: self.p, offset: self.offset } }
    }
}

fn power<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    match u32::deserialize(d)? {
        0 => Err(D::Error::custom("0 is out of range; expected a whole number of at least 1")),
        p => Ok(p),
    }
}

/// Length-scaled softplus attention with re-weighting: [`super::Lssa`], then a power of what exceeds an offset.
/// ```text
/// y_i = r_i^p / Σ_j r_j^p,   r_i = [n a_i − O]₊,   a = lssa(x),   O = 0 if n ≤ 3, else 1
/// ```
/// n a has mean 1, so only entries above the mean of the softplus stay. **A row of equal scores (n > 3) is dead**: all its
/// weights and gradients are 0, and the model needs another path around the map.
///
/// # Numerics
/// r is formed from differences to the row's largest u, so that rounding lifts no entry of a row of equal scores above
/// the offset, and divided by its largest value before the power, which would overflow. The power multiplies relative
/// errors by p and is taken in `f64`. A score of +∞ takes all the weight; several share it evenly.
/// # References
/// Gao & Spratling 2025, arXiv:2501.13428. Published code adds 1e-8 to Σ r^p, which takes nearly flat rows their
/// weight; here nothing is added.
#[derive(Module, Debug)]
pub struct Lssar {
    #[module(skip)]
    row: LssarRow,
}

impl Normalize for Lssar {
    fn laws(&self) -> Laws {
        let LssarRow { growth, offset, .. } = self.row;
        let dies = offset != Some(0.0);
        Laws {
            sums_to_one: !dies,
            shift_invariant: false,
            can_be_zero: true,
            row_can_be_zero: dies,
            needs_n: growth.c.is_none() || offset.is_none(),
            ..Laws::SOFTMAX
        }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(self.row)
    }

    fn composed(&self, rows: &Rows<'_>, _: &Ctx) -> Tensor<2> {
        let LssarRow { growth, p, offset } = self.row;
        let (count, removed) = (rows.count(), rows.removed());
        let offset = match offset {
            Some(offset) => count.zeros_like() + offset,
            None => count.clone().greater_elem(3.0).float().cast(count.dtype()),
        };
        // As in the kernel: what a row has above its mean is formed from differences to a base.
        let ComposedGrowth { u, above, base, eps } = growth.composed(rows);
        let mean = (above.clone().sum_dim(1) + eps) / count.clamp_min(1.0);
        let surplus = above - offset.clone() * mean + (offset.clone().neg() + 1.0) * base;
        let whole = offset.equal_elem(0.0).expand(u.dims());
        let r = composed::fill(relu(surplus.mask_where(whole, u)), removed, 0.0);
        let top = r.clone().detach().max_dim(1);
        let dead = top.clone().equal_elem(0.0);
        let power = (r / top.mask_fill(dead, 1.0)).powi_scalar(p);
        power.clone() / composed::sum_or_one(power)
    }
}

/// The row maths of [`Lssar`]. The weights do not change with the unit of u, so r may be any multiple of
/// d = u − O (Σ u + eps)/n:
/// ```text
/// y = s^p / Z,   s = [d]₊ / max d,   Z = Σ s^p
/// dd_i = p (g_i − ⟨y, g⟩) s_i^(p−1) / (Z max d),   dx = u′ (dd − O mean dd)
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LssarRow {
    /// u.
    pub growth: LengthScaledSoftplus,
    /// The power.
    pub p: u32,
    /// The offset O, if it does not follow from n.
    pub offset: Option<f64>,
}

impl LssarRow {
    #[inline(always)]
    fn offset<T: Real>(&self, n: usize) -> T {
        T::of(self.offset.unwrap_or(if n > 3 { 1.0 } else { 0.0 }))
    }

    /// Writes [d]₊ and returns max d; `None` for a dead row, whose `s` is unspecified.
    #[inline(always)]
    fn surplus<T: Real>(&self, x: &[T], scaled: Scaled<T>, s: &mut [T]) -> Option<T> {
        let (n, offset) = (T::of(x.len() as f64), self.offset::<T>(x.len()));
        let mut shift = T::zero();
        if offset > T::zero() {
            // Differences to the largest u are exact where it matters, and 0 in a row of equal scores.
            for (s, &x) in s.iter_mut().zip(x) {
                *s = scaled.above_base(x);
            }
            let pivot = lanes::max(s);
            for s in s.iter_mut() {
                *s = *s - pivot;
            }
            shift = offset * (lanes::wide_sum_of([&*s], |[s]| s) + scaled.eps) / n
                - (T::one() - offset) * (pivot + scaled.base());
        } else {
            for (s, &x) in s.iter_mut().zip(x) {
                *s = scaled.u(x);
            }
        }
        let top = lanes::max(s) - shift;
        if top <= T::min_positive_value() {
            return None;
        }
        for s in s.iter_mut() {
            let d = *s - shift;
            *s = if d > T::zero() { d } else { T::zero() };
        }
        Some(top)
    }
}

impl RowMap for LssarRow {
    const SHORT_IN_F64: bool = true;
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let scaled = self.growth.scaled(x.len(), lanes::max(x));
        let Some(top) = self.surplus(x, scaled, y) else {
            return y.fill(T::zero());
        };
        raise(y, top, self.p);
        let share = T::one() / lanes::row_sum(y);
        for y in y.iter_mut() {
            *y = *y * share;
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let scaled = self.growth.scaled(row.x.len(), lanes::max(row.x));
        let Some(top) = self.surplus(row.x, scaled, dx) else {
            return dx.fill(T::zero());
        };
        raise(dx, top, self.p - 1);
        // Where s = 1 the weight is 1/Z.
        let scale = T::of(self.p.into()) * lanes::max(row.y) / top;
        let mean_g: T = lanes::wide_sum_of([row.y, row.g], |[y, g]| y * g);
        for (dx, &g) in dx.iter_mut().zip(row.g) {
            *dx = *dx * ((g - mean_g) * scale);
        }
        let lost = self.offset::<T>(row.x.len()) * lanes::wide_sum_of([&*dx], |[dx]| dx) / T::of(row.x.len() as f64);
        for (dx, &x) in dx.iter_mut().zip(row.x) {
            *dx = scaled.slope(x) * (*dx - lost);
        }
    }
}

/// Replaces every x ≥ 0 by (x/unit)^p, in `f64`, since the power multiplies what a quotient has lost; 0 stays 0 also at
/// p = 0.
#[inline(always)]
fn raise<T: Real>(x: &mut [T], unit: T, p: u32) {
    let mut chunks = x.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        raise_all::<T, LANES>(chunk.try_into().expect("a whole chunk"), unit, p);
    }
    for x in chunks.into_remainder() {
        raise_all(std::array::from_mut(x), unit, p);
    }
}

/// By repeated squaring, all at once.
#[inline(always)]
fn raise_all<T: Real, const N: usize>(x: &mut [T; N], unit: T, p: u32) {
    let unit = unit.wide();
    let mut base = x.map(|x| x.wide() / unit);
    let mut power = base.map(|base| if base > 0.0 { 1.0 } else { 0.0 });
    let mut left = p;
    while left > 0 {
        if left & 1 == 1 {
            for (power, &base) in power.iter_mut().zip(&base) {
                *power *= base;
            }
        }
        for base in &mut base {
            *base *= *base;
        }
        left >>= 1;
    }
    *x = power.map(T::of);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;

    #[test]
    fn powers_are_products() {
        let x: Vec<f64> = (0..37).map(|i| f64::from(i) / 36.0).collect();
        for p in [0, 1, 2, 3, 14, 15] {
            let mut got = x.clone();
            raise(&mut got, 2.0, p);
            let want: Vec<f64> = x.iter().map(|x| if *x > 0.0 { (x / 2.0).powi(p as i32) } else { 0.0 }).collect();
            assert_close(&format!("power {p}"), &got, &want, 1e-14, 0.0);
        }
    }

    /// Weights of one row in single precision.
    fn weights(row: LssarRow, x: &[f32]) -> Vec<f32> {
        let mut y = vec![f32::NAN; x.len()];
        row.forward(x, &[], &mut y);
        y
    }

    #[test]
    fn rounding_revives_no_dead_row() {
        for n in [4usize, 7, 63, 100, 1023] {
            for score in [-100.0, -3.3, 0.0, 0.1, 0.7, 123.4f32] {
                let row = LssarConfig::default().init(&Init::sample()).row;
                assert!(weights(row, &vec![score; n]).iter().all(|y| *y == 0.0), "{n} scores of {score}");
            }
        }
    }

    #[test]
    fn short_rows_have_no_offset() {
        let row = LssarConfig::default().init(&Init::sample()).row;
        assert_eq!(weights(row, &[0.3]), [1.0]);
        assert_eq!(weights(row, &[0.3, 0.3]), [0.5, 0.5]);
        assert_eq!(weights(row, &[0.0, 0.0, -50.0]), [0.5, 0.5, 0.0]);
    }
}
