//! From data values to fractions of the frame, and the ticks along the way.

use super::{Axis, Scale};

/// Values further out are drawn here, so that no difference of two values overflows.
const FAR: f64 = 1e300;

/// Fractions further out are drawn here; the line to them leaves the frame at the same place to within a pixel.
const FAR_OUTSIDE: f64 = 1e6;

/// Below this the axis counts as zero: subnormal steps would not divide.
const NEAR_ZERO: f64 = 1e-290;

/// One axis with its ends fixed. The ends are decimal logarithms on a log axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ruler {
    scale: Scale,
    low: f64,
    high: f64,
}

/// A mark on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    /// 0 at the low end, 1 at the high end.
    pub fraction: f64,
    /// The number beside it.
    pub label: String,
}

impl Ruler {
    /// The axis' own range, else that of the values with `margin` (a share of the length) on both sides.
    pub fn fit(axis: &Axis, values: impl Iterator<Item = f64>, margin: f64) -> Self {
        let scale = axis.scale;
        if let Some((a, b)) = axis.range {
            let (a, b) = (coordinate(scale, a), coordinate(scale, b));
            if a.is_finite() && b.is_finite() {
                return Self::widened(scale, a.min(b), a.max(b));
            }
        }
        let bounds =
            values.map(|v| coordinate(scale, v)).filter(|v| v.is_finite()).fold(None, |bounds, v| match bounds {
                None => Some((v, v)),
                Some((low, high)) => Some((v.min(low), v.max(high))),
            });
        let Some((low, high)) = bounds else {
            return match scale {
                Scale::Linear => Self { scale, low: 0.0, high: 1.0 },
                Scale::Log => Self { scale, low: -1.0, high: 0.0 },
            };
        };
        let pad = margin * (high - low);
        Self::widened(scale, low - pad, high + pad)
    }

    /// Opens an interval that has no length, or less than rounding can divide.
    fn widened(scale: Scale, low: f64, high: f64) -> Self {
        let size = low.abs().max(high.abs());
        if high - low > 1e-9 * size && size > NEAR_ZERO {
            return Self { scale, low, high };
        }
        let middle = low / 2.0 + high / 2.0;
        let pad = match scale {
            Scale::Log => 0.5,
            Scale::Linear if size <= NEAR_ZERO => 1.0,
            Scale::Linear => 0.1 * size,
        };
        Self { scale, low: middle - pad, high: middle + pad }
    }

    /// Where a value stands: 0 at the low end, 1 at the high end, NaN for a value without a place.
    pub fn fraction(&self, value: f64) -> f64 {
        self.at(coordinate(self.scale, value))
    }

    fn at(&self, coordinate: f64) -> f64 {
        ((coordinate - self.low) / (self.high - self.low)).clamp(-FAR_OUTSIDE, FAR_OUTSIDE)
    }

    /// About `target` ticks at round numbers.
    pub fn ticks(&self, target: usize) -> Vec<Tick> {
        match self.scale {
            Scale::Linear => linear(self.low, self.high, target, |v| self.at(v)),
            Scale::Log => self.log_ticks(target),
        }
    }

    fn log_ticks(&self, target: usize) -> Vec<Tick> {
        let (first, last) = ((self.low - 1e-9).ceil() as i32, (self.high + 1e-9).floor() as i32);
        if last - first >= 1 {
            let stride = (last - first + 1).unsigned_abs().div_ceil(target.max(2) as u32) as i32;
            // Multiples of the stride, so that 1 is a tick whenever it is in range.
            let start = first + (-first).rem_euclid(stride);
            return (start..=last)
                .step_by(stride as usize)
                .map(|power| Tick { fraction: self.at(f64::from(power)), label: power_of_ten(power) })
                .collect();
        }
        // Less than two powers of ten in sight: a few round numbers, spaced as on a linear axis, serve better.
        linear(10f64.powf(self.low), 10f64.powf(self.high), target, |v| self.at(v.log10()))
            .into_iter()
            .filter(|tick| tick.fraction.is_finite())
            .collect()
    }
}

/// The value as it is laid out: itself or its decimal logarithm; NaN where it has no place.
fn coordinate(scale: Scale, value: f64) -> f64 {
    match scale {
        _ if !value.is_finite() => f64::NAN,
        Scale::Linear => value.clamp(-FAR, FAR),
        Scale::Log if value > 0.0 => value.log10(),
        Scale::Log => f64::NAN,
    }
}

/// Ticks at multiples of 1, 2 or 5 times a power of ten.
fn linear(low: f64, high: f64, target: usize, fraction: impl Fn(f64) -> f64) -> Vec<Tick> {
    let rough = (high - low) / target.max(1) as f64;
    if !(rough.is_finite() && rough > 0.0) {
        return Vec::new();
    }
    let power = 10f64.powf(rough.log10().floor());
    // The round number nearest to the rough step, by ratio.
    let step = power * [(1.5, 1.0), (3.5, 2.0), (7.5, 5.0)].iter().find(|m| rough < m.0 * power).map_or(10.0, |m| m.1);
    let first = (low / step - 1e-9).ceil();
    let last = (high / step + 1e-9).floor();
    if last < first {
        // A short axis can fall between two multiples.
        return linear(low, high, 4 * target.max(1), fraction);
    }
    let count = (last - first).min(64.0) as usize;
    // `+ 0.0` turns a negative zero into zero.
    let values: Vec<f64> = (0..=count).map(|i| (first + i as f64) * step + 0.0).collect();
    let labels = labels(&values, step);
    values.into_iter().map(&fraction).zip(labels).map(|(fraction, label)| Tick { fraction, label }).collect()
}

/// One form for all numbers of an axis: plain, with k or M, or scientific.
fn labels(values: &[f64], step: f64) -> Vec<String> {
    let largest = values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let order = |v: f64| (v.abs().log10() + 1e-9).floor();
    let (unit, suffix) = match largest {
        m if m >= 1e6 => (1e6, "M"),
        m if m >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let label = |&v: &f64| {
        if v == 0.0 {
            return "0".to_owned();
        }
        if !(1e-3..1e9).contains(&largest) {
            return format!("{v:.*e}", (order(v) - order(step)).max(0.0) as usize);
        }
        format!("{:.*}{suffix}", (-order(step / unit)).max(0.0) as usize, v / unit)
    };
    values.iter().map(label).map(|text| text.replace('-', "−")).collect()
}

fn power_of_ten(power: i32) -> String {
    let superscript = |c: char| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '0' => '⁰',
        digit => char::from_u32('⁰' as u32 + digit as u32 - '0' as u32).unwrap_or(digit),
    };
    match power {
        0 => "1".to_owned(),
        1 => "10".to_owned(),
        _ => format!("10{}", power.to_string().chars().map(superscript).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(axis: &Axis, values: &[f64], margin: f64) -> Vec<String> {
        Ruler::fit(axis, values.iter().copied(), margin).ticks(5).into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn round_numbers() {
        let axis = Axis::default();
        assert_eq!(words(&axis, &[0.0, 1.0], 0.05), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(words(&axis, &[0.0, 80_000.0], 0.0), ["0", "20k", "40k", "60k", "80k"]);
        assert_eq!(words(&axis, &[-2.0, 2.0], 0.0), ["−2", "−1", "0", "1", "2"]);
        assert_eq!(words(&axis, &[0.0, 4e12], 0.0), ["0", "1e12", "2e12", "3e12", "4e12"]);
        assert_eq!(words(&axis, &[1e-5, 3e-5], 0.0), ["1.0e−5", "1.5e−5", "2.0e−5", "2.5e−5", "3.0e−5"]);
    }

    #[test]
    fn powers_of_ten_and_less_than_two_of_them() {
        let log = Axis::default().log();
        assert_eq!(words(&log, &[1e-3, 0.0, -1.0, 1e2], 0.0), ["10⁻²", "1", "10²"]);
        assert_eq!(words(&log, &[1e-12, 1.0], 0.0), ["10⁻¹²", "10⁻⁹", "10⁻⁶", "10⁻³", "1"]);
        assert!(words(&log, &[20.0, 80.0], 0.0).contains(&"40".to_owned()));
        assert_eq!(words(&log, &[0.0, -3.0], 0.0), ["10⁻¹", "1"]);
    }

    #[test]
    fn a_range_in_either_order_and_a_range_that_cannot_be() {
        let values = || [0.0, 10.0].into_iter();
        let ruler = Ruler::fit(&Axis::default().range(4.0, 2.0), values(), 0.0);
        assert_eq!((ruler.fraction(2.0), ruler.fraction(4.0)), (0.0, 1.0));
        let ruler = Ruler::fit(&Axis::default().range(f64::NAN, 2.0), values(), 0.0);
        assert_eq!(ruler.fraction(10.0), 1.0);
        let ruler = Ruler::fit(&Axis::default().log().range(0.0, 2.0), [1.0, 100.0].into_iter(), 0.0);
        assert_eq!(ruler.fraction(10.0), 0.5);
    }

    proptest! {
        #[test]
        fn ticks_lie_in_the_frame_and_rise(
            a in prop::num::f64::ANY, b in prop::num::f64::ANY, log: bool, target in 1_usize..12
        ) {
            let axis = if log { Axis::default().log() } else { Axis::default() };
            let ruler = Ruler::fit(&axis, [a, b].into_iter(), 0.05);
            let ticks = ruler.ticks(target);
            prop_assert!(ticks.len() <= 65, "{ticks:?}");
            prop_assert!(ticks.iter().all(|t| t.fraction > -1e-6 && t.fraction < 1.0 + 1e-6), "{ticks:?}");
            prop_assert!(ticks.windows(2).all(|w| w[0].fraction < w[1].fraction), "{ticks:?}");
            if !log {
                prop_assert!(!ticks.is_empty());
            }
        }
    }
}
