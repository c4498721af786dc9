//! Legal ranges of numbers, checked while the value's position in the file is still known.
//!
//! Use with `#[serde(deserialize_with = "range::positive")]`; say the same to the schema with
//! `#[schemars(range(…))]`. Each message names the legal range.
use serde::{
    Deserialize, Deserializer,
    de::{Error, IntoDeserializer},
};

fn check<'de, D: Deserializer<'de>, T: Deserialize<'de> + PartialOrd + Copy + std::fmt::Display>(
    deserializer: D,
    legal: impl Fn(T) -> bool,
    range: &str,
) -> Result<T, D::Error> {
    let value = T::deserialize(deserializer)?;
    if legal(value) { Ok(value) } else { Err(D::Error::custom(format!("{value} is out of range; expected {range}"))) }
}

/// A finite number.
///
/// # Errors
/// If the value is not a number, infinite or NaN.
pub fn finite<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    check(d, |x: f64| x.is_finite(), "a finite number")
}

/// A finite number above 0.
///
/// # Errors
/// If the value is not a number or out of range.
pub fn positive<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    check(d, |x: f64| x > 0.0 && x.is_finite(), "a number above 0")
}

/// A finite number of at least 0.
///
/// # Errors
/// If the value is not a number or out of range.
pub fn non_negative<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    check(d, |x: f64| x >= 0.0 && x.is_finite(), "a number of at least 0")
}

/// A finite number above 0, or none.
///
/// # Errors
/// If the value is there and is not a number or out of range.
pub fn positive_if_given<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    Option::<f64>::deserialize(d)?.map(|x| positive(x.into_deserializer())).transpose()
}

/// A finite number of at least 0, or none.
///
/// # Errors
/// If the value is there and is not a number or out of range.
pub fn non_negative_if_given<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    Option::<f64>::deserialize(d)?.map(|x| non_negative(x.into_deserializer())).transpose()
}

/// A number in [0, 1).
///
/// # Errors
/// If the value is not a number or out of range.
pub fn below_one<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    check(d, |x: f64| (0.0..1.0).contains(&x), "a number in [0, 1)")
}

/// A number in (0, 1), both ends excluded.
///
/// # Errors
/// If the value is not a number or out of range.
pub fn open_unit<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    check(d, |x: f64| x > 0.0 && x < 1.0, "a number above 0 and below 1")
}

/// A pair of numbers in [0, 1), as for Adam's decay rates.
///
/// # Errors
/// If the value is not a pair of numbers or one is out of range.
pub fn pair_below_one<'de, D: Deserializer<'de>>(d: D) -> Result<[f64; 2], D::Error> {
    let pair = <[f64; 2]>::deserialize(d)?;
    match pair.iter().find(|x| !(0.0..1.0).contains(*x)) {
        None => Ok(pair),
        Some(x) => Err(D::Error::custom(format!("{x} is out of range; expected two numbers in [0, 1)"))),
    }
}

/// A whole number of at least 1.
///
/// # Errors
/// If the value is not a whole number or out of range.
pub fn at_least_one<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    check(d, |x: usize| x >= 1, "a whole number of at least 1")
}

/// A whole number of at least 1, 64 bits wide.
///
/// # Errors
/// If the value is not a whole number or out of range.
pub fn at_least_one_u64<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    check(d, |x: u64| x >= 1, "a whole number of at least 1")
}

/// A whole number of at least 2.
///
/// # Errors
/// If the value is not a whole number or out of range.
pub fn at_least_two<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    check(d, |x: usize| x >= 2, "a whole number of at least 2")
}
