//! Random crops of a padded image.
use kiln_registry::{Entry, range};
use kiln_stream::Draws;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Augment, Canvas};

/// What a padded image has outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// Black.
    #[default]
    Black,
    /// The image again as in a mirror at the middle of its outermost pixels.
    Reflect,
}

/// Parameters of the crop: the image is padded on all sides, and a window of its old size is cut out at a place that is
/// uniform among the `(2 · padding + 1)²` whole ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CropConfig {
    /// Pixels on each side, at least 1 and less than the image has.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub padding: usize,
    /// What they show.
    pub fill: Fill,
}

impl Default for CropConfig {
    /// Four black pixels, as is usual for images of 32 by 32.
    fn default() -> Self {
        Self { padding: 4, fill: Fill::Black }
    }
}

impl Entry for CropConfig {
    const SUMMARY: &'static str = "cuts a window of the old size out of the padded image";
    const PAPER: &'static str = "He et al. 2015, arXiv:1512.03385";
}

impl Augment for CropConfig {
    fn check(&self, [_, height, width]: [usize; 3]) -> Result<(), String> {
        if self.padding >= height.min(width) {
            let padding = self.padding;
            return Err(format!(
                "crop: padding = {padding} is not less than the {width} by {height} pixels of an image"
            ));
        }
        Ok(())
    }

    fn apply(&self, image: &mut [u8], canvas: &Canvas, draws: &mut Draws) {
        let [channels, height, width] = canvas.shape;
        let mut offset = || draws.below(2 * self.padding + 1) as isize - self.padding as isize;
        let (across, down) = (offset(), offset());
        let old = image.to_vec();
        let place = |at: usize, offset: isize, size: usize| -> Option<usize> {
            let at = at as isize + offset;
            let last = size as isize - 1;
            let inside = (0..=last).contains(&at);
            match self.fill {
                Fill::Black => inside.then_some(at as usize),
                // One reflection is enough, since less than the image is added.
                Fill::Reflect => Some((last - (last - at.abs()).abs()) as usize),
            }
        };
        for channel in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    let from = place(y, down, height).zip(place(x, across, width));
                    image[(channel * height + y) * width + x] =
                        from.map_or(0, |(y, x)| old[(channel * height + y) * width + x]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use kiln_stream::Stream;

    use super::*;

    /// How often each outcome comes in 900 crops of a row of three pixels.
    fn outcomes(fill: Fill) -> HashMap<Vec<u8>, usize> {
        let canvas = Canvas { shape: [1, 3, 3], mean: vec![0] };
        let mut outcomes = HashMap::new();
        for step in 0..900 {
            let mut image: Vec<u8> = (1..=9).collect();
            CropConfig { padding: 1, fill }.apply(&mut image, &canvas, &mut Stream::new(0, "test").at(step));
            *outcomes.entry(image).or_default() += 1;
        }
        outcomes
    }

    #[test]
    fn every_window_is_as_likely_as_any_other() {
        for (fill, corner) in [(Fill::Black, [0, 0, 0, 0, 1, 2, 0, 4, 5]), (Fill::Reflect, [5, 4, 5, 2, 1, 2, 5, 4, 5])]
        {
            let outcomes = outcomes(fill);
            // Nine windows; five standard deviations of a ninth of 900 are 47.
            assert!(outcomes.len() == 9 && outcomes.values().all(|count| count.abs_diff(100) < 47), "{outcomes:?}");
            assert!(outcomes.contains_key(&corner[..]), "{fill:?}: {outcomes:?}");
            assert!(outcomes.contains_key(&(1..=9).collect::<Vec<u8>>()));
        }
    }

    #[test]
    fn too_much_padding_is_refused() {
        let message = CropConfig { padding: 5, fill: Fill::Black }.check([3, 5, 9]).unwrap_err();
        assert_eq!(message, "crop: padding = 5 is not less than the 9 by 5 pixels of an image");
    }
}
