//! The list of augmentations: random changes of training images that leave their class.
use std::fmt::Debug;

use kiln_registry::registry;
use kiln_stream::Draws;

mod crop;
mod cutout;
mod flip;
mod rotate;
mod shift;

pub use crop::{CropConfig, Fill};
pub use cutout::CutoutConfig;
pub use flip::FlipConfig;
pub use rotate::RotateConfig;
pub use shift::ShiftConfig;

registry! {
    /// An augmentation, by name.
    config AugmentConfig("augmentation"): dyn Augment;
    "shift" => Shift(ShiftConfig),
    "crop" => Crop(CropConfig),
    "flip" => Flip(FlipConfig),
    "rotate" => Rotate(RotateConfig),
    "cutout" => Cutout(CutoutConfig),
}

/// What an augmentation knows about the images.
#[derive(Clone, Debug, PartialEq)]
pub struct Canvas {
    /// `[channels, height, width]`
    pub shape: [usize; 3],
    /// The byte nearest to the mean of each channel: what a normalised image has 0 for.
    pub mean: Vec<u8>,
}

/// A random change of an image.
pub trait Augment: Debug + Send + Sync {
    /// Whether it goes with images of `[channels, height, width]`.
    ///
    /// # Errors
    /// If not; the message says what came and what was expected.
    fn check(&self, shape: [usize; 3]) -> Result<(), String>;

    /// Changes one image in place. The result depends on the image and on what is drawn, on nothing else.
    fn apply(&self, image: &mut [u8], canvas: &Canvas, draws: &mut Draws);
}

#[cfg(test)]
mod tests {
    use kiln_registry::Tagged;
    use kiln_stream::Stream;

    use super::*;

    fn all() -> impl Iterator<Item = AugmentConfig> {
        AugmentConfig::NAMES.iter().map(|name| serde_json::from_str(&format!("{name:?}")).unwrap())
    }

    #[test]
    fn each_changes_images_by_its_draws_alone() {
        let canvas = Canvas { shape: [3, 12, 16], mean: vec![125, 123, 114] };
        let image: Vec<u8> = (0..3 * 12 * 16).map(|i| (i * 37 % 251) as u8).collect();
        for augment in all() {
            augment.check(canvas.shape).unwrap();
            let changed = |step| {
                let mut changed = image.clone();
                augment.apply(&mut changed, &canvas, &mut Stream::new(1, "test").at(step));
                changed
            };
            let name = augment.name();
            assert!((0..9).any(|step| changed(step) != image), "{name} changes nothing");
            assert!((0..9).any(|step| changed(step) != changed(step + 1)), "{name} always does the same");
            assert_eq!(changed(5), changed(5), "{name}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for augment in all() {
            let text = serde_json::to_string(&augment).unwrap();
            assert_eq!(serde_json::from_str::<AugmentConfig>(&text).unwrap(), augment);
        }
    }
}
