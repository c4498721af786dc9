//! Contrast.
use kiln_registry::Entry;
use kiln_stream::Draws;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Corrupt, STRENGTHS, byte, of_strength, strengths};

const FACTORS: [f64; 5] = [0.75, 0.5, 0.4, 0.3, 0.15];

/// Parameters of lower contrast: the distance of each value from the mean of its channel in this image is multiplied by 0.75,
/// 0.5, 0.4, 0.3 or 0.15.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContrastConfig {
    /// Which strengths are evaluated, rising, from 1 to 5.
    #[serde(deserialize_with = "strengths")]
    pub strengths: Vec<u8>,
}

impl Default for ContrastConfig {
    /// Each is a set of its own.
    fn default() -> Self {
        Self { strengths: STRENGTHS.to_vec() }
    }
}

impl Entry for ContrastConfig {
    const SUMMARY: &'static str = "draws all values towards the image's mean";
    const PAPER: &'static str = "Hendrycks and Dietterich 2019, arXiv:1903.12261";
}

impl Corrupt for ContrastConfig {
    fn strengths(&self) -> &[u8] {
        &self.strengths
    }

    fn apply(&self, image: &mut [u8], [_, height, width]: [usize; 3], strength: u8, _: &mut Draws) {
        let factor = of_strength(FACTORS, strength);
        for plane in image.chunks_exact_mut(height * width) {
            let mean = plane.iter().map(|value| f64::from(*value)).sum::<f64>() / plane.len() as f64;
            for value in plane {
                *value = byte(mean + factor * (f64::from(*value) - mean));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_stream::Stream;

    use super::*;

    #[test]
    fn each_channel_is_drawn_to_its_own_mean() {
        let mut image = vec![0, 40, 80, 120, 200, 200, 240, 240];
        ContrastConfig::default().apply(&mut image, [2, 2, 2], 2, &mut Stream::new(0, "test").at(0));
        assert_eq!(image, [30, 50, 70, 90, 210, 210, 230, 230]);
    }
}
