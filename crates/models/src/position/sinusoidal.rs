//! Sinusoidal absolute positions.
use burn::{
    module::{Module, Param},
    tensor::{Int, Tensor, TensorData},
};
use kiln_registry::Entry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, PositionSetting, Positional, Stage};
use crate::attention::Side;

/// Base of the wavelengths.
const BASE: f64 = 10_000.0;

/// Parameters of [`Sinusoidal`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SinusoidalConfig {
    /// Whether the waves have a learned factor, which starts at 1.
    pub learn_scale: bool,
}

impl Entry for SinusoidalConfig {
    const SUMMARY: &'static str = "sines and cosines of the place at many wavelengths, added to the token's vector";
    const PAPER: &'static str = "Vaswani et al. 2017, arXiv:1706.03762";
}

impl SinusoidalConfig {
    /// The scheme.
    pub fn init(&self, place: &Place<'_>) -> Sinusoidal {
        Sinusoidal { scale: self.learn_scale.then(|| place.init.constant([1], 1.0)) }
    }
}

impl PositionSetting for SinusoidalConfig {
    fn stage(&self) -> Stage {
        Stage::Embedding
    }
}

/// Waves of the place p.
/// ```text
/// P_p[2c] = sin(p / 10000^(2c/d)),   P_p[2c + 1] = cos(p / 10000^(2c/d)),   y_p = x_p + s P_p
/// ```
#[derive(Module, Debug)]
pub struct Sinusoidal {
    /// s, if learned: `[1]`.
    pub scale: Option<Param<Tensor<1>>>,
}

/// The waves at some places: `[rows, length]` to `[rows, length, width]`, in f32 and then in the given kind.
pub(crate) fn waves(places: &Tensor<2, Int>, width: usize, like: &Tensor<3>) -> Tensor<3> {
    let [rows, length] = places.dims();
    let wave = |channel: usize| BASE.powf(-((channel / 2 * 2) as f64) / width as f64);
    // A cosine is a sine a quarter turn later.
    let phase = |channel: usize| if channel.is_multiple_of(2) { 0.0 } else { std::f64::consts::FRAC_PI_2 };
    let row = |f: &dyn Fn(usize) -> f64| {
        let values: Vec<f64> = (0..width).map(f).collect();
        Tensor::<3>::from_data(TensorData::new(values, [1, 1, width]), (&places.device(), burn::tensor::DType::F64))
    };
    let places = places.clone().float().cast(burn::tensor::DType::F64).reshape([rows, length, 1]);
    (places * row(&wave) + row(&phase)).sin().cast(like.dtype())
}

impl Positional for Sinusoidal {
    fn place(&self, x: Tensor<3>, side: &Side) -> Tensor<3> {
        let [_, _, width] = x.dims();
        let waves = waves(&side.places, width, &x);
        match &self.scale {
            Some(scale) => x + waves * scale.val().reshape([1, 1, 1]),
            None => x + waves,
        }
    }
}
