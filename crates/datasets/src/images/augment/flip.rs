//! Mirror images.
use kiln_registry::{Entry, range};
use kiln_stream::Draws;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Augment, Canvas};

/// Parameters of the flip: left and right change places. Not for digits and letters, which it makes into others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FlipConfig {
    /// How likely it is.
    #[serde(deserialize_with = "range::open_unit")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: f64,
}

impl Default for FlipConfig {
    /// Both ways are equally likely.
    fn default() -> Self {
        Self { probability: 0.5 }
    }
}

impl Entry for FlipConfig {
    const SUMMARY: &'static str = "exchanges left and right in half of the images";
}

impl Augment for FlipConfig {
    fn check(&self, _: [usize; 3]) -> Result<(), String> {
        Ok(())
    }

    fn apply(&self, image: &mut [u8], canvas: &Canvas, draws: &mut Draws) {
        if draws.uniform() < self.probability {
            image.chunks_exact_mut(canvas.shape[2]).for_each(<[u8]>::reverse);
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_stream::Stream;

    use super::*;

    #[test]
    fn rows_are_mirrored_as_often_as_asked() {
        let canvas = Canvas { shape: [2, 1, 3], mean: vec![0, 0] };
        let flipped = (0..1000).filter(|step| {
            let mut image = vec![1, 2, 3, 4, 5, 6];
            FlipConfig { probability: 0.2 }.apply(&mut image, &canvas, &mut Stream::new(0, "test").at(*step));
            assert!(image == [1, 2, 3, 4, 5, 6] || image == [3, 2, 1, 6, 5, 4], "{image:?}");
            image[0] == 3
        });
        // Five standard deviations of a fifth of 1000 are 63.
        assert!(flipped.count().abs_diff(200) < 63);
    }
}
