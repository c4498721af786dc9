//! Clipped softmax.
use std::{fmt, sync::Arc};

use burn::{module::Module, tensor::Tensor};
use kiln_registry::{Entry, range};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{Laws, Normalize, Rows, Softmax, SoftmaxRow, composed};
use crate::{
    Ctx, Init,
    kernel::{AtInfinity, Real, RowKernel, RowMap, VjpRow, lanes},
};

/// Parameters of [`ClippedSoftmax`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClippedSoftmaxConfig {
    /// The lower end of the stretched range, 0 or less; −0.025, the authors' choice for rows of 128.
    pub gamma: Gamma,
    /// The upper end of the stretched range, 1 or more; 1, so that only small weights are clipped.
    #[serde(deserialize_with = "at_least_one")]
    #[schemars(range(min = 1))]
    pub zeta: f64,
}

impl Default for ClippedSoftmaxConfig {
    fn default() -> Self {
        Self { gamma: Gamma::Constant(-0.025), zeta: 1.0 }
    }
}

/// The lower end γ of the range: a number, or `{ alpha, length }` for −alpha/length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Gamma {
    /// γ itself, 0 or less.
    Constant(f64),
    /// −alpha over a length.
    PerLength(PerLength),
}

/// γ = −alpha/length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerLength {
    /// The share of a uniform weight that is subtracted; the authors recommend about 2 to 4.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0))]
    pub alpha: f64,
    /// The length, such as that of the training sequences; without one it is the number of kept entries of each row.
    #[serde(default, deserialize_with = "length", skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
}

fn at_least_one<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    let zeta = range::finite(d)?;
    if zeta >= 1.0 {
        Ok(zeta)
    } else {
        Err(D::Error::custom(format!("{zeta} is out of range; expected a number of at least 1")))
    }
}

fn length<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    Option::<usize>::deserialize(d)?.map(|n| range::at_least_one(n.into_deserializer())).transpose()
}

impl<'de> Deserialize<'de> for Gamma {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrTable;

        impl<'de> Visitor<'de> for NumberOrTable {
            type Value = Gamma;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number of at most 0, or {{ alpha = …, length = … }} for -alpha/length")
            }
            fn visit_f64<E: Error>(self, gamma: f64) -> Result<Gamma, E> {
                if gamma <= 0.0 && gamma.is_finite() {
                    Ok(Gamma::Constant(gamma))
                } else {
                    Err(E::custom(format!("{gamma} is out of range; expected {}", &self as &dyn serde::de::Expected)))
                }
            }
            fn visit_i64<E: Error>(self, gamma: i64) -> Result<Gamma, E> {
                self.visit_f64(gamma as f64)
            }
            fn visit_u64<E: Error>(self, gamma: u64) -> Result<Gamma, E> {
                self.visit_f64(gamma as f64)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Gamma, A::Error> {
                PerLength::deserialize(MapAccessDeserializer::new(map)).map(Gamma::PerLength)
            }
        }
        deserializer.deserialize_any(NumberOrTable)
    }
}

impl Gamma {
    /// γ of a row of n kept entries.
    #[inline(always)]
    fn of(self, n: usize) -> f64 {
        match self {
            Self::Constant(gamma) => gamma,
            Self::PerLength(PerLength { alpha, length }) => -alpha / length.unwrap_or(n) as f64,
        }
    }
}

impl Entry for ClippedSoftmaxConfig {
    const SUMMARY: &'static str = "softmax stretched beyond [0, 1] and clipped, so that small weights are exactly 0";
    const PAPER: &'static str = "Bondarenko et al. 2023, Quantizable Transformers: Removing Outliers by Helping Attention \
                                 Heads Do Nothing, arXiv:2306.12929";
}

impl ClippedSoftmaxConfig {
    /// The map.
    pub fn init(&self, _: &Init) -> ClippedSoftmax {
        ClippedSoftmax { config: *self }
    }
}

/// Clipped softmax: softmax stretched to [γ, ζ] and clipped to [0, 1].
/// ```text
/// y = min(max((ζ − γ) s + γ, 0), 1),   s = softmax(x),   γ ≤ 0,   ζ ≥ 1
/// ```
/// Weights with `s < −γ/(ζ − γ)` are exactly 0 and get no gradient of their own, so a head can do nothing without
/// growing its scores. The weights are not normalized again.
///
/// # Numerics
/// A score of +∞ takes all the weight; several share it evenly.
/// # References
/// Bondarenko et al. 2023, arXiv:2306.12929. Their decoder uses γ = −alpha/T, T the longest sequence.
#[derive(Module, Debug)]
pub struct ClippedSoftmax {
    #[module(skip)]
    config: ClippedSoftmaxConfig,
}

impl Normalize for ClippedSoftmax {
    fn laws(&self) -> Laws {
        let ClippedSoftmaxConfig { gamma, zeta } = self.config;
        let clips = gamma.of(1) < 0.0;
        // A uniform row is clipped to 0 once 1/n < −γ/(ζ − γ). With γ = −alpha/n that is alpha (n − 1) > ζ n.
        let (row_can_be_zero, needs_n) = match gamma {
            Gamma::PerLength(PerLength { alpha, length: None }) => (alpha > zeta, true),
            _ => (clips, false),
        };
        Laws { sums_to_one: !clips && zeta == 1.0, can_be_zero: clips, row_can_be_zero, needs_n, ..Laws::SOFTMAX }
    }

    fn kernel(&self, _: &Ctx) -> Arc<dyn RowKernel> {
        Arc::new(ClippedSoftmaxRow { gamma: self.config.gamma, zeta: self.config.zeta })
    }

    fn composed(&self, rows: &Rows<'_>, ctx: &Ctx) -> Tensor<2> {
        let softmax = Softmax::default().composed(rows, ctx);
        let gamma = match self.config.gamma {
            Gamma::PerLength(PerLength { alpha, length: None }) => rows.count().clamp_min(1.0).recip() * -alpha,
            gamma => softmax.zeros_like() + gamma.of(1),
        };
        let stretched = softmax * (gamma.clone().neg() + self.config.zeta) + gamma;
        composed::fill(stretched.clamp(0.0, 1.0), rows.removed(), 0.0)
    }
}

/// y = clip((ζ − γ) s + γ);  dx = s (g′ − ⟨s, g′⟩) with g′ = (ζ − γ) g where nothing was clipped, else 0.
#[derive(Clone, Copy, Debug)]
pub struct ClippedSoftmaxRow {
    /// The lower end γ.
    pub gamma: Gamma,
    /// The upper end ζ.
    pub zeta: f64,
}

impl ClippedSoftmaxRow {
    /// γ and ζ − γ.
    #[inline(always)]
    fn range<T: Real>(&self, n: usize) -> (T, T) {
        let gamma = self.gamma.of(n);
        (T::of(gamma), T::of(self.zeta - gamma))
    }
}

impl RowMap for ClippedSoftmaxRow {
    const AT_INFINITY: AtInfinity = AtInfinity::OneHot;

    #[inline(always)]
    fn forward<T: Real>(&self, x: &[T], _: &[T], y: &mut [T]) {
        let (gamma, width) = self.range(x.len());
        SoftmaxRow.forward(x, &[], y);
        for y in y.iter_mut() {
            let stretched = y.mul_add(width, gamma);
            let above = if stretched > T::zero() { stretched } else { T::zero() };
            *y = if above < T::one() { above } else { T::one() };
        }
    }

    #[inline(always)]
    fn vjp<T: Real>(&self, row: VjpRow<'_, T>, dx: &mut [T], _: &mut [T]) {
        let (gamma, width) = self.range::<T>(row.x.len());
        SoftmaxRow.forward(row.x, &[], dx);
        let passed = |s: T, g: T| {
            let stretched = s.mul_add(width, gamma);
            if stretched >= T::zero() && stretched <= T::one() { g * width } else { T::zero() }
        };
        let mean = lanes::lane_sum_of([dx, row.g], |[s, g]| s * passed(s, g));
        for (dx, &g) in dx.iter_mut().zip(row.g) {
            *dx = *dx * (passed(*dx, g) - mean);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;
    use burn::tensor::DType;

    fn config(text: &str) -> Result<ClippedSoftmaxConfig, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
    }

    #[test]
    fn the_forms_of_gamma() {
        assert_eq!(config("gamma = -0.1").unwrap().gamma, Gamma::Constant(-0.1));
        assert_eq!(config("gamma = 0").unwrap().gamma, Gamma::Constant(0.0));
        let gamma = config("gamma = { alpha = 12, length = 512 }").unwrap().gamma;
        assert_eq!((gamma.of(7), gamma.of(100)), (-12.0 / 512.0, -12.0 / 512.0));
        let gamma = config("gamma = { alpha = 4 }").unwrap().gamma;
        assert_eq!((gamma.of(8), gamma.of(100)), (-0.5, -0.04));
        for (text, want) in [
            ("gamma = 0.1", "0.1 is out of range; expected a number of at most 0"),
            ("gamma = -inf", "-inf is out of range"),
            ("gamma = { alpha = 4, len = 8 }", "unknown field `len`"),
            ("gamma = { length = 8 }", "missing field `alpha`"),
            ("gamma = { alpha = 4, length = 0 }", "expected a whole number of at least 1"),
            ("gamma = \"small\"", "a number of at most 0, or { alpha = …, length = … }"),
            ("zeta = 0.9", "0.9 is out of range; expected a number of at least 1"),
        ] {
            let refused = config(text).unwrap_err();
            assert!(refused.contains(want), "{text}: {refused}");
        }
    }

    #[test]
    fn a_config_survives_writing() {
        for text in ["gamma = -0.1", "gamma = { alpha = 4.0 }", "gamma = { alpha = 12.0, length = 512 }\nzeta = 1.1"] {
            let config = config(text).unwrap();
            let written = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<ClippedSoftmaxConfig>(&written).unwrap(), config, "{written}");
        }
    }

    #[test]
    fn laws_depend_on_the_range() {
        let laws = |text: &str| config(text).unwrap().init(&Init::new(0, &device(), DType::F32)).laws();
        assert!(laws("gamma = 0.0").sums_to_one && !laws("gamma = 0.0").row_can_be_zero);
        assert!(!laws("gamma = -0.1").sums_to_one && laws("gamma = -0.1").row_can_be_zero);
        assert!(!laws("gamma = { alpha = 0.5 }").row_can_be_zero && laws("gamma = { alpha = 4.0 }").row_can_be_zero);
        assert!(laws("gamma = { alpha = 4.0 }").needs_n && !laws("gamma = { alpha = 4.0, length = 9 }").needs_n);
    }
}
