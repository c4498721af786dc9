//! Errors in units of the last place, and which of them pass.
use burn::tensor::DType;
use half::{bf16, f16};

use super::Problem;

/// Units of the last place that are always allowed.
pub const ULP: f64 = 4.0;

/// In `f64` the reference rounds as coarsely as what it judges, and the limits are this much wider; and wider by √n, since it adds
/// a row of n terms one after the other.
pub const F64_FACTOR: f64 = 4.0;

/// A difference of this share is not what a few units of the last place in the scores make of a smooth function.
const JUMP: f64 = 1e-3;

/// The largest error allowed in this dtype whatever the composed form's, as a share of the largest value in the row or of 1,
/// whichever is larger.
///
/// A gradient that cancels loses digits in every form; the cap is what a gradient may lose before it misleads training.
pub fn cap(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-10,
        DType::F32 | DType::Flex32 => 1e-3,
        DType::F16 => 5e-2,
        _ => 2e-1,
    }
}

/// `x` rounded to `dtype`.
pub(super) fn round(x: f64, dtype: DType) -> f64 {
    match dtype {
        DType::F32 | DType::Flex32 => f64::from(x as f32),
        DType::F16 => f16::from_f64(x).to_f64(),
        DType::BF16 => bf16::from_f64(x).to_f64(),
        _ => x,
    }
}

/// The spacing of numbers of `dtype` around `scale`.
fn spacing(scale: f64, dtype: DType) -> f64 {
    let (digits, smallest) = match dtype {
        DType::F32 | DType::Flex32 => (24, -126),
        DType::F16 => (11, -14),
        DType::BF16 => (8, -126),
        _ => (53, -1022),
    };
    let exponent = if scale > 0.0 { (scale.log2().floor() as i32).max(smallest) } else { smallest };
    // At f64's smallest numbers the spacing itself is a subnormal number.
    2f64.powi(exponent).max(f64::MIN_POSITIVE) * 2f64.powi(1 - digits)
}

/// What is expected of a tensor whose rows are `width` wide: values between `low` and `high`, which are the same number unless
/// the map is a step function that rounding can carry across a step.
#[derive(Clone, Debug)]
pub(super) struct Want {
    pub(super) low: Vec<f64>,
    pub(super) high: Vec<f64>,
    pub(super) width: usize,
    /// What the values of each row are differences of, in size: their rounding counts against it where it is larger than the
    /// values. Empty for none.
    pub(super) terms: Vec<f64>,
}

impl Want {
    pub(super) fn exactly(values: Vec<f64>, width: usize) -> Self {
        Self { low: values.clone(), high: values, width, terms: Vec::new() }
    }

    /// The same values, each row of them differences of terms of this size.
    pub(super) fn of_terms(mut self, terms: Vec<f64>) -> Self {
        self.terms = terms;
        self
    }

    /// Widens the bounds to take in `values` where they lie on the other side of a jump.
    pub(super) fn or_across_jumps(&mut self, values: &[f64]) {
        for ((low, high), &value) in self.low.iter_mut().zip(&mut self.high).zip(values) {
            if (value - *low).abs() > JUMP * value.abs().max(low.abs()) {
                *low = low.min(value);
                *high = high.max(value);
            }
        }
    }

    pub(super) fn set(&mut self, place: usize, value: f64) {
        (self.low[place], self.high[place]) = (value, value);
    }

    fn distance(&self, place: usize, got: f64) -> f64 {
        (self.low[place] - got).max(got - self.high[place]).max(0.0)
    }
}

/// The largest error of a tensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Worst {
    pub(super) ulp: f64,
    /// As a share of the largest value in the row, or of 1.
    pub(super) share: f64,
    pub(super) place: usize,
    /// Values per row.
    pub(super) width: usize,
    /// A NaN or an infinity stands where another value should, or the reverse.
    pub(super) pattern: bool,
    pub(super) got: f64,
    pub(super) want: f64,
}

/// The size of the largest finite value of each row.
pub(super) fn largest(values: &[f64], width: usize) -> Vec<f64> {
    values.chunks(width).map(|row| row.iter().map(|x| x.abs()).filter(|x| x.is_finite()).fold(0.0, f64::max)).collect()
}

/// Compares the rows that `counts` says.
pub(super) fn worst(got: &[f64], want: &Want, dtype: DType, counts: impl Fn(usize) -> bool) -> Worst {
    let mut worst =
        Worst { ulp: 0.0, share: 0.0, place: 0, width: want.width, pattern: false, got: got[0], want: want.low[0] };
    for (row, values) in got.chunks(want.width).enumerate().filter(|(row, _)| counts(*row)) {
        let places = row * want.width..row * want.width + values.len();
        let terms = want.terms.get(row).copied().unwrap_or(0.0);
        let scale = [&want.low, &want.high].map(|bound| largest(&bound[places.clone()], want.width)[0]);
        let scale = scale.into_iter().fold(terms, f64::max);
        let unit = spacing(scale, dtype);
        for place in places {
            let (got, low) = (got[place], want.low[place]);
            let stored = round(low, dtype);
            // Between the bounds of a jump everything is as it should be.
            let within = low < want.high[place] && want.distance(place, got) == 0.0;
            let (ulp, share, pattern) = if got.is_finite() && (stored.is_finite() || within) {
                let error = want.distance(place, got);
                (error / unit, error / scale.max(1.0), false)
            } else {
                let same = [low, want.high[place]].iter().any(|want| {
                    let stored = round(*want, dtype);
                    got == stored || (got.is_nan() && stored.is_nan())
                });
                // Just beyond the type's largest number either side may still be finite.
                let overflow = low.is_finite() && got.signum() == low.signum() && near_overflow(low, dtype);
                (0.0, 0.0, !same && !overflow)
            };
            if (pattern, ulp) > (worst.pattern, worst.ulp) {
                worst = Worst { ulp, share, place, pattern, got, want: low, ..worst };
            }
        }
    }
    worst
}

fn near_overflow(x: f64, dtype: DType) -> bool {
    !round(x * 1.01, dtype).is_finite()
}

/// What is wrong with an error, beside the composed form's.
pub(super) fn judge(error: Worst, composed: Option<f64>, dtype: DType, n: usize) -> Option<Problem> {
    if error.pattern {
        Some(Problem::Pattern)
    } else if error.ulp > limit(composed, dtype, n) {
        Some(Problem::Error)
    } else if error.share > cap(dtype) {
        Some(Problem::Cap)
    } else {
        None
    }
}

/// The largest error that passes, in units of the last place, in rows of n entries.
pub(super) fn limit(composed: Option<f64>, dtype: DType, n: usize) -> f64 {
    let own = ULP.max(2.0 * composed.unwrap_or(0.0));
    // In f64 the reference's own sums wander off by as many roundings as a row has, at random signs.
    if dtype == DType::F64 { F64_FACTOR * own + (n as f64).sqrt() } else { own }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_the_spacing_of_the_type() {
        assert_eq!(spacing(1.0, DType::F32), f64::from(f32::EPSILON));
        assert_eq!(spacing(1.99, DType::F64), f64::EPSILON);
        assert_eq!(spacing(0.5, DType::F16), 2f64.powi(-11));
        assert_eq!(spacing(3.0, DType::BF16), 2f64.powi(-6));
        assert_eq!(spacing(0.0, DType::F32), f64::from(f32::from_bits(1)));
        assert_eq!(spacing(1e-7, DType::F16), 2f64.powi(-24));
    }

    #[test]
    fn errors_count_against_the_largest_value_of_their_row() {
        let want = Want::exactly(vec![1.0, 0.25, 8.0, 0.25], 2);
        let got = [1.0, 0.25 + f64::from(f32::EPSILON), 8.0, 0.25 + f64::from(f32::EPSILON)];
        let found = worst(&got, &want, DType::F32, |_| true);
        assert_eq!((found.ulp, found.place, found.pattern), (1.0, 1, false));
        assert_eq!(worst(&got, &want, DType::F32, |row| row == 1).ulp, 0.125);
    }

    #[test]
    fn a_misplaced_nan_is_worse_than_any_error() {
        let want = Want::exactly(vec![f64::NAN, 1.0, f64::INFINITY, 1.0], 4);
        assert!(!worst(&[f64::NAN, 1.0, f64::INFINITY, 1.0], &want, DType::F32, |_| true).pattern);
        for (place, value) in [(0, 1.0), (1, f64::NAN), (2, f64::NEG_INFINITY), (3, f64::INFINITY)] {
            let mut got = [f64::NAN, 1.0, f64::INFINITY, 1.0];
            got[place] = value;
            let found = worst(&got, &want, DType::F32, |_| true);
            assert_eq!((found.pattern, found.place), (true, place));
            assert_eq!(judge(found, Some(1e9), DType::F32, 1), Some(Problem::Pattern));
        }
        // An overflow of the type is what the type makes of the value.
        let want = Want::exactly(vec![1e5], 1);
        assert!(!worst(&[f64::INFINITY], &want, DType::F16, |_| true).pattern);
    }

    #[test]
    fn what_cancels_counts_against_its_terms() {
        let want = Want::exactly(vec![0.0, 0.0], 2).of_terms(vec![1.0]);
        assert_eq!(worst(&[f64::from(f32::EPSILON), 0.0], &want, DType::F32, |_| true).ulp, 1.0);
    }

    #[test]
    fn twice_the_composed_form_passes_below_the_cap() {
        let error = |ulp, share| Worst { ulp, share, place: 0, width: 1, pattern: false, got: 0.0, want: 0.0 };
        assert_eq!(judge(error(4.0, 1e-7), None, DType::F32, 1), None);
        assert_eq!(judge(error(4.1, 1e-7), None, DType::F32, 1), Some(Problem::Error));
        assert_eq!(judge(error(9.0, 1e-7), Some(4.5), DType::F32, 1), None);
        assert_eq!(judge(error(9.0, 1e-7), Some(4.4), DType::F32, 1), Some(Problem::Error));
        assert_eq!(judge(error(9.0, 2e-3), Some(4.5), DType::F32, 1), Some(Problem::Cap));
        assert_eq!(judge(error(16.9, 1e-15), None, DType::F64, 1), None);
        assert_eq!(judge(error(17.1, 1e-15), None, DType::F64, 1), Some(Problem::Error));
    }

    #[test]
    fn a_step_function_may_stand_on_either_side() {
        let mut want = Want::exactly(vec![0.5, 0.25], 2);
        want.or_across_jumps(&[0.5, 0.5]);
        assert_eq!(worst(&[0.5, 0.5], &want, DType::F32, |_| true).ulp, 0.0);
        assert!(worst(&[0.25, 0.5], &want, DType::F32, |_| true).ulp > 1e6);
        // A smooth change of the reference does not widen anything.
        let mut want = Want::exactly(vec![0.5], 1);
        want.or_across_jumps(&[0.5 + 1e-6]);
        assert_eq!(want.high, [0.5]);
    }
}
