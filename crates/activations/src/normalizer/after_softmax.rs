//! What maps that work on the weights of softmax have in common.
use burn::tensor::Tensor;
use num_traits::Float;
use serde::{Deserialize, Deserializer, de::Error};

use super::SoftmaxRow;
use crate::kernel::{Real, RowMap, lanes};

/// Carries the gradient g at the weights p of softmax back to the scores, in place of p: `p (g − ⟨p, g⟩)`.
#[inline(always)]
pub(super) fn to_scores<T: Real>(p: &mut [T], g: &[T]) {
    let mean = lanes::wide_sum_of([p, g], |[p, g]| p * g);
    for (p, &g) in p.iter_mut().zip(g) {
        *p = *p * (g - mean);
    }
}

/// The straight-through gradient at the scores: that of softmax, whatever was done to its weights afterwards.
#[inline(always)]
pub(super) fn straight_through<T: Real>(x: &[T], g: &[T], dx: &mut [T]) {
    SoftmaxRow.forward(x, &[], dx);
    to_scores(dx, g);
}

/// `y` whose gradient passes to `smooth` instead.
pub(super) fn composed_straight_through(smooth: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
    smooth.clone() + (y - smooth).detach()
}

/// The nearest whole number, ties to even, of `0 ≤ x < 1/(2 eps)`: branch-free and the same on every CPU.
#[inline(always)]
pub(super) fn round_even<T: Real>(x: T) -> T {
    let magic = T::of(1.5) / <T as Float>::epsilon();
    (x + magic) - magic
}

/// The bits of a quantiser: 1 to 16, so that its levels are few against the digits of `f32`.
pub(super) fn bits<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    match u32::deserialize(d)? {
        bits @ 1..=16 => Ok(bits),
        bits => Err(D::Error::custom(format!("{bits} is out of range; expected a whole number from 1 to 16"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::LogSqrt2QuantConfig, round_even};

    #[test]
    fn bits_out_of_range_are_refused() {
        for bits in [0, 17] {
            let refused = toml::from_str::<LogSqrt2QuantConfig>(&format!("bits = {bits}")).unwrap_err().to_string();
            assert!(refused.contains("out of range; expected a whole number from 1 to 16"), "{refused}");
        }
    }

    #[test]
    fn rounding_is_to_even() {
        for (x, want) in [(0.0, 0.0), (0.49, 0.0), (0.5, 0.0), (0.51, 1.0), (1.5, 2.0), (2.5, 2.0), (65534.5, 65534.0)]
        {
            assert_eq!(round_even::<f64>(x), want);
            assert_eq!(round_even::<f32>(x as f32), want as f32);
        }
    }
}
