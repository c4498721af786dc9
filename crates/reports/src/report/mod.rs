//! Whole pages: templates filled with what the trainer measured.

pub mod comparison;
mod markup;
pub mod run;
pub mod study;

use serde::Serialize;

use crate::Plot;

/// A picture as the templates take it.
#[derive(Serialize)]
struct Drawing<'a> {
    svg: String,
    caption: &'a str,
    /// Small multiples take the whole width of the page.
    wide: bool,
}

impl<'a> Drawing<'a> {
    fn of(plot: &Plot, caption: &'a str) -> Self {
        Self { svg: plot.to_svg(), caption, wide: matches!(plot, Plot::Grid(_)) }
    }
}

/// A number for reading: four significant digits, no trailing zeros, scientific below 1e-3 and from 1e6 on.
///
/// ```
/// use kiln_reports::number;
///
/// assert_eq!(number(0.99640), "0.9964");
/// assert_eq!(number(2500.0), "2500");
/// assert_eq!(number(8.42220623e-9), "8.422e-9");
/// assert_eq!(number(f64::NAN), "NaN");
/// ```
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { value.to_string().replace("inf", "∞") };
    }
    if !(1e-3..1e6).contains(&size) {
        let text = format!("{value:.3e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", trimmed(mantissa));
    }
    if value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    let decimals = (3.0 - size.log10().floor()).max(0.0) as usize;
    trimmed(&format!("{value:.decimals$}")).to_owned()
}

fn trimmed(decimal: &str) -> &str {
    if decimal.contains('.') { decimal.trim_end_matches('0').trim_end_matches('.') } else { decimal }
}

/// A length of time for reading, from seconds.
fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".to_owned();
    }
    let whole = seconds.round() as u64;
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=119 => format!("{whole} s"),
        120..=7199 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_four_digits() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (0.287_64, "0.2876"),
            (-12.5, "-12.5"),
            (123.456, "123.5"),
            (123_456.7, "123457"),
            (1_000_000.0, "1e6"),
            (0.000_5, "5e-4"),
            (f64::INFINITY, "∞"),
            (f64::NEG_INFINITY, "-∞"),
            (1e308, "1e308"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn durations() {
        let cases = [
            (0.25, "0.2 s"),
            (43.4, "43 s"),
            (119.6, "2 min 00 s"),
            (3661.0, "61 min 01 s"),
            (7300.0, "2 h 01 min"),
            (f64::NAN, "–"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }
}
