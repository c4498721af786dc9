//! Noise.
use kiln_registry::Entry;
use kiln_stream::Draws;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Corrupt, STRENGTHS, byte, of_strength, strengths};

const DEVIATIONS: [f64; 5] = [0.04, 0.08, 0.12, 0.18, 0.26];

/// Parameters of noise: to each value a normal one is added, with a standard deviation of 0.04, 0.08, 0.12, 0.18 or 0.26 on the
/// scale on which black is 0 and white 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseConfig {
    /// Which strengths are evaluated, rising, from 1 to 5.
    #[serde(deserialize_with = "strengths")]
    pub strengths: Vec<u8>,
}

impl Default for NoiseConfig {
    /// Each is a set of its own.
    fn default() -> Self {
        Self { strengths: STRENGTHS.to_vec() }
    }
}

impl Entry for NoiseConfig {
    const SUMMARY: &'static str = "adds normal noise to every value";
    const PAPER: &'static str = "Hendrycks and Dietterich 2019, arXiv:1903.12261";
}

impl Corrupt for NoiseConfig {
    fn strengths(&self) -> &[u8] {
        &self.strengths
    }

    fn apply(&self, image: &mut [u8], _: [usize; 3], strength: u8, draws: &mut Draws) {
        let deviation = 255.0 * of_strength(DEVIATIONS, strength);
        for value in image {
            *value = byte(f64::from(*value) + deviation * draws.normal());
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_stream::Stream;

    use super::*;

    #[test]
    fn the_noise_has_the_spread_it_says() {
        for (strength, deviation) in [(1, 10.2), (3, 30.6)] {
            let mut image = vec![128; 10_000];
            NoiseConfig::default().apply(&mut image, [1, 100, 100], strength, &mut Stream::new(0, "test").at(0));
            let error = |byte: &u8| f64::from(*byte) - 128.0;
            let mean = image.iter().map(error).sum::<f64>() / 1e4;
            let spread = (image.iter().map(|byte| error(byte).powi(2)).sum::<f64>() / 1e4).sqrt();
            // Five standard errors of mean and spread: 5 σ / 100 and 5 σ / √20000.
            assert!(mean.abs() < 0.05 * deviation && (spread - deviation).abs() < 0.04 * deviation, "{mean} {spread}");
        }
    }
}
