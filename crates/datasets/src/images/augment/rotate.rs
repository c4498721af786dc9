//! Small rotations.
use kiln_registry::Entry;
use kiln_stream::Draws;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{Augment, Canvas};
use crate::images::resample::turn;

/// Parameters of the rotation: the image turns about its centre by an angle that is uniform on `[−degrees, degrees)`.
/// Values between pixels are interpolated linearly, and what comes in from outside is black.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotateConfig {
    /// The largest angle, above 0 and at most 180.
    #[serde(deserialize_with = "degrees")]
    #[schemars(range(min = 0.0, max = 180.0))]
    pub degrees: f64,
}

fn degrees<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let degrees = f64::deserialize(deserializer)?;
    if degrees > 0.0 && degrees <= 180.0 {
        return Ok(degrees);
    }
    Err(D::Error::custom(format!("{degrees} is out of range; expected degrees above 0, at most 180")))
}

impl Default for RotateConfig {
    /// Ten degrees leave a digit upright.
    fn default() -> Self {
        Self { degrees: 10.0 }
    }
}

impl Entry for RotateConfig {
    const SUMMARY: &'static str = "turns the image by a random small angle";
}

impl Augment for RotateConfig {
    fn check(&self, _: [usize; 3]) -> Result<(), String> {
        Ok(())
    }

    fn apply(&self, image: &mut [u8], canvas: &Canvas, draws: &mut Draws) {
        turn(image, canvas.shape, (self.degrees * (2.0 * draws.uniform() - 1.0)).to_radians());
    }
}

#[cfg(test)]
mod tests {
    use kiln_stream::Stream;

    use super::*;

    #[test]
    fn a_point_turns_about_the_centre_within_the_bounds() {
        let canvas = Canvas { shape: [1, 21, 21], mean: vec![0] };
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for step in 0..200 {
            let mut image = vec![0; 441];
            image[10 * 21 + 18] = 255;
            RotateConfig { degrees: 20.0 }.apply(&mut image, &canvas, &mut Stream::new(0, "test").at(step));
            let weight: f64 = image.iter().map(|byte| f64::from(*byte)).sum();
            let mean = |at: fn(usize) -> usize| {
                image.iter().enumerate().map(|(i, b)| at(i) as f64 * f64::from(*b)).sum::<f64>() / weight - 10.0
            };
            let angle = mean(|i| i / 21).atan2(mean(|i| i % 21)).to_degrees();
            (least, most) = (least.min(angle), most.max(angle));
        }
        // Interpolation moves the centre of weight by less than a tenth of a pixel, which is a degree here.
        assert!((-21.0..-18.0).contains(&least) && (18.0..21.0).contains(&most), "{least} {most}");
    }

    #[test]
    fn angles_beyond_a_half_turn_are_refused() {
        let read = |text: &str| serde_json::from_str::<RotateConfig>(text).map_err(|error| error.to_string());
        assert!(read(r#"{ "degrees": 180.0 }"#).is_ok());
        assert!(read(r#"{ "degrees": 0.0 }"#).unwrap_err().contains("expected degrees above 0, at most 180"));
        assert!(read(r#"{ "degrees": 181.0 }"#).is_err());
    }
}
