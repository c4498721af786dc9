//! Squares that hide a part of the image.
use kiln_registry::{Entry, range};
use kiln_stream::Draws;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Augment, Canvas};

/// Parameters of cutout: a square takes the mean of each channel. Its centre is a pixel drawn uniformly, so that a part of
/// it may lie outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CutoutConfig {
    /// Side of the square in pixels.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub size: usize,
}

impl Default for CutoutConfig {
    /// DeVries and Taylor's choice for ten classes of images of 32 by 32.
    fn default() -> Self {
        Self { size: 16 }
    }
}

impl Entry for CutoutConfig {
    const SUMMARY: &'static str = "hides a random square";
    const PAPER: &'static str = "DeVries and Taylor 2017, arXiv:1708.04552";
}

impl Augment for CutoutConfig {
    fn check(&self, [_, height, width]: [usize; 3]) -> Result<(), String> {
        // From 2 max − 1 on, every square hides everything.
        let most = 2 * height.max(width) - 2;
        if self.size > most.max(1) {
            let size = self.size;
            return Err(format!(
                "cutout: a square of size = {size} hides images of {width} by {height} whole; use at most {most}"
            ));
        }
        Ok(())
    }

    fn apply(&self, image: &mut [u8], canvas: &Canvas, draws: &mut Draws) {
        let [_, height, width] = canvas.shape;
        let mut span = |length: usize| {
            let first = draws.below(length) as isize - (self.size / 2) as isize;
            let clip = |at: isize| at.clamp(0, length as isize) as usize;
            clip(first)..clip(first + self.size as isize)
        };
        let (rows, columns) = (span(height), span(width));
        for (plane, mean) in image.chunks_exact_mut(height * width).zip(&canvas.mean) {
            for y in rows.clone() {
                plane[y * width..][columns.clone()].fill(*mean);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_stream::Stream;

    use super::*;

    #[test]
    fn a_square_is_hidden_and_clipped_at_the_border() {
        let canvas = Canvas { shape: [2, 5, 5], mean: vec![7, 9] };
        let mut sizes = std::collections::BTreeSet::new();
        for step in 0..200 {
            let mut image = vec![0; 50];
            CutoutConfig { size: 3 }.apply(&mut image, &canvas, &mut Stream::new(0, "test").at(step));
            let hidden = |plane: &[u8], mean| plane.iter().filter(|byte| **byte == mean).count();
            assert_eq!(hidden(&image[..25], 7), hidden(&image[25..], 9));
            sizes.insert(hidden(&image[..25], 7));
        }
        // Whole, cut at an edge, cut at a corner.
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [4, 6, 9]);
    }

    #[test]
    fn a_square_that_hides_everything_is_refused() {
        assert!(CutoutConfig { size: 10 }.check([1, 6, 4]).is_ok());
        let message = CutoutConfig { size: 11 }.check([1, 6, 4]).unwrap_err();
        assert_eq!(message, "cutout: a square of size = 11 hides images of 4 by 6 whole; use at most 10");
    }
}
