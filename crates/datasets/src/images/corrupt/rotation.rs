//! Rotation.
use kiln_registry::Entry;
use kiln_stream::Draws;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Corrupt, STRENGTHS, of_strength, strengths};
use crate::images::resample::turn;

const DEGREES: [f64; 5] = [10.0, 20.0, 30.0, 40.0, 50.0];

/// Parameters of the rotation: by 10, 20, 30, 40 or 50 degrees about the centre, to the left or to the right with equal
/// probability; what comes in from outside is black.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotationConfig {
    /// Which strengths are evaluated, rising, from 1 to 5.
    #[serde(deserialize_with = "strengths")]
    pub strengths: Vec<u8>,
}

impl Default for RotationConfig {
    /// Each is a set of its own.
    fn default() -> Self {
        Self { strengths: STRENGTHS.to_vec() }
    }
}

impl Entry for RotationConfig {
    const SUMMARY: &'static str = "turns the image";
    const PAPER: &'static str = "Hendrycks and Dietterich 2019, arXiv:1903.12261";
}

impl Corrupt for RotationConfig {
    fn strengths(&self) -> &[u8] {
        &self.strengths
    }

    fn apply(&self, image: &mut [u8], shape: [usize; 3], strength: u8, draws: &mut Draws) {
        let degrees = of_strength(DEGREES, strength);
        let sign = if draws.below(2) == 0 { 1.0 } else { -1.0 };
        turn(image, shape, sign * degrees.to_radians());
    }
}

#[cfg(test)]
mod tests {
    use kiln_stream::Stream;

    use super::*;

    #[test]
    fn both_directions_occur_and_no_others() {
        let image: Vec<u8> = (0..225).map(|i| if i % 15 > 9 && i / 15 == 7 { 255 } else { 0 }).collect();
        let turned = |step| {
            let mut turned = image.clone();
            RotationConfig::default().apply(&mut turned, [1, 15, 15], 3, &mut Stream::new(0, "test").at(step));
            turned
        };
        let outcomes: std::collections::HashSet<_> = (0..40).map(turned).collect();
        assert_eq!(outcomes.len(), 2);
        let mirrored: Vec<Vec<u8>> =
            outcomes.iter().map(|image| image.chunks(15).rev().flatten().copied().collect()).collect();
        assert!(mirrored.iter().all(|image| outcomes.contains(image)), "left is the mirror image of right");
    }
}
