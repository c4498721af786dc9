//! Blur.
use kiln_registry::Entry;
use kiln_stream::Draws;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Corrupt, STRENGTHS, byte, of_strength, strengths};

const DEVIATIONS: [f64; 5] = [0.5, 0.75, 1.0, 1.5, 2.0];

/// Parameters of the blur: each channel is folded with a normal density of standard deviation 0.5, 0.75, 1, 1.5 or 2 pixels,
/// cut off at three of them; beyond the border the outermost pixels go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlurConfig {
    /// Which strengths are evaluated, rising, from 1 to 5.
    #[serde(deserialize_with = "strengths")]
    pub strengths: Vec<u8>,
}

impl Default for BlurConfig {
    /// Each is a set of its own.
    fn default() -> Self {
        Self { strengths: STRENGTHS.to_vec() }
    }
}

impl Entry for BlurConfig {
    const SUMMARY: &'static str = "blurs the image with a normal kernel";
    const PAPER: &'static str = "Hendrycks and Dietterich 2019, arXiv:1903.12261";
}

impl Corrupt for BlurConfig {
    fn strengths(&self) -> &[u8] {
        &self.strengths
    }

    fn apply(&self, image: &mut [u8], [_, height, width]: [usize; 3], strength: u8, _: &mut Draws) {
        let deviation = of_strength(DEVIATIONS, strength);
        let reach = (3.0 * deviation).ceil() as isize;
        let density = |offset: isize| libm::exp(-0.5 * (offset as f64 / deviation) * (offset as f64 / deviation));
        let mut kernel: Vec<f64> = (-reach..=reach).map(density).collect();
        let sum: f64 = kernel.iter().sum();
        kernel.iter_mut().for_each(|weight| *weight /= sum);
        let fold = |line: &dyn Fn(usize) -> f64, length: usize, at: usize| -> f64 {
            let place = |i: usize| (at as isize + i as isize - reach).clamp(0, length as isize - 1) as usize;
            kernel.iter().enumerate().map(|(i, weight)| weight * line(place(i))).sum()
        };
        for plane in image.chunks_exact_mut(height * width) {
            // The density is a product: rows first, then columns, rounded once at the end.
            let row = |y: usize| {
                let plane = &*plane;
                move |x: usize| f64::from(plane[y * width + x])
            };
            let across: Vec<f64> = (0..height * width).map(|i| fold(&row(i / width), width, i % width)).collect();
            for (i, value) in plane.iter_mut().enumerate() {
                *value = byte(fold(&|y| across[y * width + i % width], height, i / width));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_stream::Stream;

    use super::*;

    #[test]
    fn a_point_becomes_the_kernel_and_an_even_image_stays() {
        let blur = |image: &mut [u8], strength| {
            BlurConfig::default().apply(image, [1, 9, 9], strength, &mut Stream::new(0, "test").at(0));
        };
        let mut even = vec![77; 81];
        blur(&mut even, 5);
        assert_eq!(even, [77; 81]);
        let mut point = vec![0; 81];
        point[40] = 255;
        blur(&mut point, 3);
        // 255 (e^(−d²/2) / Σ)² with Σ = 1 + 2 (0.606531 + 0.135335 + 0.011109) = 2.505949.
        assert_eq!((point[40], point[41], point[42], point[50]), (41, 25, 5, 15));
        assert_eq!((point[41], point[39]), (point[49], point[31]));
    }
}
