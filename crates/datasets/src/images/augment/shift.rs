//! Random moves by fractions of a pixel.
use kiln_registry::{Entry, range};
use kiln_stream::Draws;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Augment, Canvas};
use crate::images::resample::resample;

/// Parameters of the shift: the image moves by `(u, v)`, both uniform on `[−pixels, pixels)`. Values between pixels are
/// interpolated linearly, and what comes in from outside is black.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShiftConfig {
    /// The largest move along each axis; less than the size of the image.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub pixels: f64,
}

impl Default for ShiftConfig {
    /// Two pixels are the margin that centred digits of 28 pixels have to spare.
    fn default() -> Self {
        Self { pixels: 2.0 }
    }
}

impl Entry for ShiftConfig {
    const SUMMARY: &'static str = "moves the image by a random fraction of a few pixels";
}

impl Augment for ShiftConfig {
    fn check(&self, [_, height, width]: [usize; 3]) -> Result<(), String> {
        if self.pixels >= height.min(width) as f64 {
            let pixels = self.pixels;
            return Err(format!("shift: pixels = {pixels} moves images of {width} by {height} out of sight; use less"));
        }
        Ok(())
    }

    fn apply(&self, image: &mut [u8], canvas: &Canvas, draws: &mut Draws) {
        let mut offset = || self.pixels * (2.0 * draws.uniform() - 1.0);
        let (across, down) = (offset(), offset());
        resample(image, canvas.shape, |x, y| (x - across, y - down));
    }
}

#[cfg(test)]
mod tests {
    use kiln_stream::Stream;

    use super::*;

    #[test]
    fn a_point_moves_within_the_bounds_and_keeps_its_weight() {
        let canvas = Canvas { shape: [1, 9, 9], mean: vec![0] };
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for step in 0..200 {
            let mut image = vec![0; 81];
            image[4 * 9 + 4] = 200;
            ShiftConfig { pixels: 2.0 }.apply(&mut image, &canvas, &mut Stream::new(0, "test").at(step));
            let weight: f64 = image.iter().map(|byte| f64::from(*byte)).sum();
            // Each of the four pixels is rounded once.
            assert!((weight - 200.0).abs() <= 2.0, "{weight}");
            let x = image.iter().enumerate().map(|(i, byte)| (i % 9) as f64 * f64::from(*byte)).sum::<f64>() / weight;
            (least, most) = (least.min(x), most.max(x));
        }
        assert!((2.0..2.3).contains(&least) && (5.7..6.0).contains(&most), "{least} {most}");
    }

    #[test]
    fn a_shift_out_of_sight_is_refused() {
        let message = ShiftConfig { pixels: 6.0 }.check([1, 6, 9]).unwrap_err();
        assert_eq!(message, "shift: pixels = 6 moves images of 9 by 6 out of sight; use less");
    }
}
