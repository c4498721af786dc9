//! How many digits a number deserves: the one place where the numbers of a comparison become text.
//!
//! # The rule
//! A mean with its standard error decides for everything printed beside it (deviation, interval, single seeds):
//!
//! 1. Digits go down to the second significant digit of the standard error, but at least to the third significant
//!    digit of the mean or of the standard error, whichever is larger, and never beyond its tenth. Without an error (one
//!    value), or with an error of 0, they go to the fourth significant digit of the mean.
//! 2. A mean (or error, if larger) of at least 0.001 and below 10⁶ makes plain decimals; any other makes powers of ten, each
//!    number with its own exponent and digits down to the same place.
//! 3. Numbers are rounded to 12 significant digits first, so that the rounding of sums decides no tie.
//!
//! So 0.99640 ± 0.00121 over three seeds, whose standard error is 0.00070.

use super::super::number;

/// Significant digits that count; what lies behind is rounding.
const TRUSTED: usize = 12;

/// Most significant digits of a number with a power of ten; a value has no more.
const MOST: i32 = 17;

/// The digits of numbers that belong together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Digits {
    /// Plain decimals, so many after the point.
    Fixed(usize),
    /// With a power of ten; the last digit stands for this power.
    Scientific(i32),
    /// There is no finite mean to go by: four significant digits each.
    Free,
}

impl Digits {
    /// The digits that a mean with this standard error warrants.
    pub fn of(mean: Option<f64>, error: Option<f64>) -> Self {
        let Some(mean) = mean.filter(|mean| mean.is_finite()) else { return Digits::Free };
        let error = error.filter(|error| error.is_finite() && *error > 0.0);
        let size = mean.abs().max(error.unwrap_or(0.0));
        if size == 0.0 {
            return Digits::Fixed(3);
        }
        let largest = exponent(size);
        let last = match error {
            Some(error) => (exponent(error) - 1).min(largest - 2).max(largest - 9),
            None => largest - 3,
        };
        if (-3..6).contains(&largest) {
            Digits::Fixed(last.min(0).unsigned_abs() as usize)
        } else {
            Digits::Scientific(last)
        }
    }

    /// The number as text; `NaN`, `∞` and `-∞` for those that are not finite.
    pub fn text(self, value: f64) -> String {
        if !value.is_finite() || self == Digits::Free {
            return number(value);
        }
        let value = trusted(value);
        let text = match self {
            _ if value == 0.0 && matches!(self, Digits::Scientific(_)) => "0".to_owned(),
            Digits::Fixed(decimals) => format!("{value:.decimals$}"),
            Digits::Scientific(last) => {
                let decimals = (exponent(value) - last).clamp(0, MOST - 1) as usize;
                format!("{value:.decimals$e}")
            }
            Digits::Free => number(value),
        };
        // What rounds to nothing has no sign.
        if text.bytes().all(|c| matches!(c, b'-' | b'0' | b'.')) { text.replace('-', "") } else { text }
    }

    /// The number with its sign, as differences are written.
    pub fn signed(self, value: f64) -> String {
        let text = self.text(value);
        let positive = value > 0.0 && text.bytes().any(|c| (b'1'..=b'9').contains(&c)) || value == f64::INFINITY;
        if positive { format!("+{text}") } else { text }
    }
}

/// A p value as text: three decimals from 0.01 on, below that two significant digits.
pub(super) fn probability(p: f64) -> String {
    let p = trusted(p);
    match p {
        _ if p.is_nan() => number(p),
        0.0 => "0".to_owned(),
        0.01.. => format!("{p:.3}"),
        0.001.. => format!("{p:.4}"),
        _ => format!("{p:.1e}"),
    }
}

/// The value rounded to the digits that are not rounding themselves.
fn trusted(value: f64) -> f64 {
    format!("{value:.*e}", TRUSTED - 1).parse().unwrap_or(value)
}

/// Power of ten of the first digit, of the value rounded to six digits, so that 0.0009999999 counts as 0.001.
fn exponent(value: f64) -> i32 {
    let text = format!("{value:.5e}");
    text.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_standard_error_decides() {
        let cases = [
            (0.9964, Some(0.0007), "0.99640"),
            (0.24, Some(0.06), "0.240"),
            (0.24, Some(0.6), "0.240"),
            (123.456, Some(8.0), "123.5"),
            (123.456, Some(80.0), "123"),
            (123.456, Some(0.08), "123.456"),
            (123_456.7, Some(5000.0), "123457"),
            (0.5, Some(0.0), "0.5000"),
            (0.5, None, "0.5000"),
            (2500.0, None, "2500"),
            (12.5, None, "12.50"),
            (8.42220623e-9, Some(1.2e-10), "8.42e-9"),
            (8.42220623e-9, Some(1.2e-11), "8.422e-9"),
            (1.25e7, None, "1.250e7"),
            (0.0, Some(0.02), "0.0000"),
            (0.0, None, "0.000"),
            (-1e-9, Some(0.02), "0.0000"),
            (0.999, Some(1e-15), "0.9990000000"),
            // 0.001 minus rounding is 0.001.
            (0.5, Some(0.001 - 1e-12), "0.5000"),
        ];
        for (mean, error, text) in cases {
            assert_eq!(Digits::of(Some(mean), error).text(mean), text, "{mean} {error:?}");
        }
    }

    #[test]
    fn what_stands_beside_it_has_the_same_place() {
        let digits = Digits::of(Some(8.42e-9), Some(1.2e-10));
        assert_eq!(
            [2.1e-10, 9.99e-9, -1.234e-8, 0.0].map(|x| digits.text(x)),
            ["2.1e-10", "9.99e-9", "-1.234e-8", "0"]
        );
        assert_eq!(Digits::Fixed(2).signed(0.126), "+0.13");
        assert_eq!(Digits::Fixed(2).signed(0.001), "0.00");
        assert_eq!(Digits::Fixed(2).signed(-0.126), "-0.13");
        assert_eq!(Digits::Fixed(2).signed(f64::INFINITY), "+∞");
    }

    #[test]
    fn numbers_that_are_not_finite() {
        for digits in [Digits::Fixed(3), Digits::Scientific(-9), Digits::Free] {
            assert_eq!([f64::NAN, f64::NEG_INFINITY].map(|x| digits.text(x)), ["NaN", "-∞"]);
        }
        assert_eq!(Digits::of(Some(f64::NAN), None), Digits::Free);
        assert_eq!(Digits::of(None, None).text(0.25), "0.25");
        assert_eq!(Digits::of(Some(0.25), Some(f64::INFINITY)).text(0.25), "0.2500");
    }

    #[test]
    fn rounding_of_sums_decides_no_tie() {
        // Both stand for 0.9125, one a little below.
        let (below, above) = (0.9125 - 1.1e-16, 0.9125 + 1.1e-16);
        assert_eq!(Digits::Fixed(3).text(below), Digits::Fixed(3).text(above));
    }

    #[test]
    fn probabilities() {
        let cases = [
            (1.0, "1.000"),
            (0.35, "0.350"),
            (0.0104, "0.010"),
            (0.00999, "0.0100"),
            (0.0012, "0.0012"),
            (0.000_123, "1.2e-4"),
            (0.0, "0"),
            (f64::NAN, "NaN"),
        ];
        for (p, text) in cases {
            assert_eq!(probability(p), text);
        }
    }

    proptest! {
        #[test]
        fn any_numbers_have_a_text(mean in prop::num::f64::ANY, error in prop::num::f64::ANY, x in prop::num::f64::ANY) {
            let digits = Digits::of(Some(mean), Some(error));
            prop_assert!(!digits.text(x).is_empty() && digits.signed(x).len() < 400);
            prop_assert!(!probability(x).is_empty());
        }

        /// The text is the number, to within half of its last digit.
        #[test]
        fn text_is_close(mean in -1e3f64..1e3, error in 1e-4f64..10.0) {
            let read: f64 = Digits::of(Some(mean), Some(error)).text(mean).parse().unwrap();
            prop_assert!((read - mean).abs() <= 0.06 * error.max(mean.abs() / 100.0), "{} {}", read, mean);
        }
    }
}
