//! The list of corruptions: fixed changes of test images, at five strengths, that shift them away from the training images.
use std::fmt::Debug;

use kiln_registry::registry;
use kiln_stream::Draws;
use serde::{Deserialize, Deserializer, de::Error};

mod blur;
mod contrast;
mod noise;
mod rotation;

pub use blur::BlurConfig;
pub use contrast::ContrastConfig;
pub use noise::NoiseConfig;
pub use rotation::RotationConfig;

registry! {
    /// A corruption, by name.
    config CorruptionConfig("corruption"): dyn Corrupt;
    "noise" => Noise(NoiseConfig),
    "blur" => Blur(BlurConfig),
    "rotation" => Rotation(RotationConfig),
    "contrast" => Contrast(ContrastConfig),
}

/// A change of a test image. Its evaluation sets are named after it and the strength: `noise_3`.
///
/// The kinds follow Hendrycks and Dietterich 2019 (arXiv:1903.12261). Their numbers depend on the size of the images; the ones
/// here are chosen for images of about 30 pixels.
pub trait Corrupt: Debug + Send + Sync {
    /// The strengths that are evaluated, each from 1 to 5.
    fn strengths(&self) -> &[u8];

    /// Changes one image of `[channels, height, width]` in place, the more the higher the strength, from 1 to 5.
    fn apply(&self, image: &mut [u8], shape: [usize; 3], strength: u8, draws: &mut Draws);
}

/// All of them.
const STRENGTHS: [u8; 5] = [1, 2, 3, 4, 5];

/// The number that belongs to a strength.
///
/// # Panics
/// If it is not from 1 to 5.
fn of_strength(table: [f64; 5], strength: u8) -> f64 {
    table[usize::from(strength) - 1]
}

/// Reads a list of strengths.
fn strengths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let strengths = Vec::<u8>::deserialize(deserializer)?;
    let rising = strengths.is_sorted_by(|a, b| a < b);
    if strengths.is_empty() || !rising || strengths.iter().any(|strength| !STRENGTHS.contains(strength)) {
        return Err(D::Error::custom(format!("{strengths:?} is out of range; expected rising numbers from 1 to 5")));
    }
    Ok(strengths)
}

/// A value as a byte, cut at black and white.
fn byte(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use kiln_registry::Tagged;
    use kiln_stream::Stream;

    use super::*;

    fn all() -> impl Iterator<Item = CorruptionConfig> {
        CorruptionConfig::NAMES.iter().map(|name| serde_json::from_str(&format!("{name:?}")).unwrap())
    }

    #[test]
    fn each_moves_images_further_with_its_strength() {
        let shape = [3, 28, 28];
        // A slope, which turning moves the further the more it turns, with fine stripes, which blurring takes away.
        let image: Vec<u8> = (0..3 * 784).map(|i| (30 + 6 * (i % 28) + 20 * (i % 2)) as u8).collect();
        for corruption in all() {
            let name = corruption.name();
            let distance = |strength| {
                let mut changed = image.clone();
                corruption.apply(&mut changed, shape, strength, &mut Stream::new(1, "test").at(0));
                let square = |(a, b): (&u8, &u8)| (f64::from(*a) - f64::from(*b)).powi(2);
                changed.iter().zip(&image).map(square).sum::<f64>()
            };
            assert_eq!(corruption.strengths(), STRENGTHS);
            let distances = STRENGTHS.map(distance);
            assert!(distances[0] > 0.0 && distances.is_sorted_by(|a, b| a < b), "{name}: {distances:?}");
        }
    }

    #[test]
    fn strengths_are_checked_where_they_are_written() {
        let read = |text: &str| serde_json::from_str::<CorruptionConfig>(text).map_err(|error| error.to_string());
        assert_eq!(read(r#"{ "name": "blur", "strengths": [1, 5] }"#).unwrap().strengths(), [1, 5]);
        for list in ["[]", "[0]", "[6]", "[2, 2]", "[3, 1]"] {
            let message = read(&format!(r#"{{ "name": "blur", "strengths": {list} }}"#)).unwrap_err();
            assert!(message.contains("is out of range; expected rising numbers from 1 to 5"), "{message}");
        }
    }
}
