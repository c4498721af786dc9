//! Gratings: striped images, told apart by the direction of their stripes.
use std::f64::consts::{PI, TAU};

use kiln_registry::{Entry, range};
use kiln_stream::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Dataset, MAX_VALUES};
use crate::{
    Asks, BatchSource, DataError, Fractions, Images, InMemory, Input, InputSpec, Invalid, Matrix, Partition, Spec,
    Target,
};

/// Parameters of gratings.
///
/// A row is a square image of a plane wave; its class k, of which there are equally many of each, is the wave's
/// direction `θ = π k / classes`:
/// ```text
/// v(channel, i, j) = 1/2 + g/4 · cos(2π cycles (j cos θ + i sin θ) / size + φ) + noise · ε
/// ```
/// with a phase φ that is uniform in each image, a contrast g uniform on [1/2, 1) in each channel, and a standard
/// normal ε in each value; v is cut to [0, 1] and rounded to a byte, and a model receives it with mean 1/2 and
/// standard deviation 1/4 taken out. With 4 classes the stripes of class 0 stand upright and those of class 2 lie.
///
/// Because of the phase each pixel has the same mean in every class, so a linear classifier stays at chance,
/// `1 / classes`, while two convolutions solve it: a data set that needs no download and takes seconds to learn. The
/// split is described at [`Fractions`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GratingsConfig {
    /// Height and width in pixels.
    #[serde(deserialize_with = "range::at_least_two")]
    #[schemars(range(min = 2))]
    pub size: usize,
    /// Values per pixel; the stripes of all channels lie alike.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub channels: usize,
    /// Number of directions.
    #[serde(deserialize_with = "range::at_least_two")]
    #[schemars(range(min = 2))]
    pub classes: usize,
    /// Periods of the wave along the image; at most half a period per pixel.
    #[serde(deserialize_with = "range::positive")]
    #[schemars(range(min = 0.0))]
    pub cycles: f64,
    /// Standard deviation of the noise, on the scale on which black is 0 and white 1.
    #[serde(deserialize_with = "range::non_negative")]
    #[schemars(range(min = 0.0))]
    pub noise: f64,
    /// Number of rows, of all splits together.
    #[serde(deserialize_with = "range::at_least_one")]
    #[schemars(range(min = 1))]
    pub samples: usize,
    /// Share of the rows in the training part.
    #[serde(deserialize_with = "range::open_unit")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub fraction: f64,
    /// Share of the training part that validates instead.
    #[serde(deserialize_with = "range::below_one")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub val_fraction: f64,
}

impl Default for GratingsConfig {
    /// Small enough that a convolutional network learns it in seconds, noisy enough that it needs more than a few rows.
    fn default() -> Self {
        Self {
            size: 16,
            channels: 1,
            classes: 8,
            cycles: 3.0,
            noise: 0.15,
            samples: 2000,
            fraction: 0.8,
            val_fraction: 0.0,
        }
    }
}

impl Entry for GratingsConfig {
    const SUMMARY: &'static str = "striped images with noise; the class is the direction of the stripes";
}

impl GratingsConfig {
    fn fractions(&self) -> Fractions {
        Fractions { train: self.fraction, val: self.val_fraction }
    }

    /// The bytes of image `i`.
    fn image(&self, i: usize, stream: &Stream, bytes: &mut Vec<u8>) {
        let mut draws = stream.at(i as u64);
        let angle = PI * self.class(i) as f64 / self.classes as f64;
        let (across, down) = (libm::cos(angle), libm::sin(angle));
        let phase = TAU * draws.uniform();
        for _ in 0..self.channels {
            let contrast = 0.5 + 0.5 * draws.uniform();
            for y in 0..self.size {
                for x in 0..self.size {
                    let along = (x as f64 * across + y as f64 * down) / self.size as f64;
                    let wave = libm::cos(TAU * self.cycles * along + phase);
                    let value = 0.5 + 0.25 * contrast * wave + self.noise * draws.normal();
                    bytes.push((255.0 * value.clamp(0.0, 1.0)).round() as u8);
                }
            }
        }
    }

    fn class(&self, i: usize) -> usize {
        i % self.classes
    }
}

impl Dataset for GratingsConfig {
    fn check(&self) -> Result<(), Invalid> {
        let Self { size, channels, classes, cycles, samples, .. } = *self;
        let values = size.saturating_mul(size).saturating_mul(channels);
        if values.saturating_mul(samples) > MAX_VALUES {
            return Err(Invalid::new(
                "samples",
                format!(
                    "samples = {samples} images of {values} values are more than fit; expected at most {} images, or \
                     smaller ones",
                    MAX_VALUES / values
                ),
            ));
        }
        if classes > samples {
            return Err(Invalid::new(
                "classes",
                format!("classes = {classes} have no image each among samples = {samples}; expected at most {samples}"),
            ));
        }
        if cycles > size as f64 / 2.0 {
            return Err(Invalid::new(
                "cycles",
                format!(
                    "cycles = {cycles} on {size} pixels is more than half a period per pixel, which looks like another \
                     wave; expected at most {}",
                    size as f64 / 2.0
                ),
            ));
        }
        self.fractions().check(samples)
    }

    fn spec(&self) -> Spec {
        let input = InputSpec::Image { channels: self.channels, height: self.size, width: self.size };
        Spec { input, asks: Asks::Class { classes: self.classes } }
    }

    fn open(&self, seed: u64) -> Result<Box<dyn BatchSource>, DataError> {
        self.check()?;
        let stream = Stream::new(seed, "data").child("gratings");
        let shape = [self.channels, self.size, self.size];
        let mut bytes = Vec::with_capacity(self.samples * shape.iter().product::<usize>());
        (0..self.samples).for_each(|i| self.image(i, &stream, &mut bytes));
        let pixels = Matrix::new(bytes, shape.iter().product());
        let images = Images::new(pixels, shape, vec![0.5; self.channels], vec![0.25; self.channels]);
        Ok(Box::new(InMemory::new(
            self.spec(),
            Input::Image(images),
            Target::Classes((0..self.samples).map(|i| self.class(i) as i32).collect()),
            Partition::seeded(self.samples, self.fractions(), seed),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Order, Split};

    /// Every row of the training split with its class.
    fn rows(config: &GratingsConfig, seed: u64) -> Vec<(Vec<f32>, usize)> {
        let batch = config.open(seed).unwrap().batch(Split::Train, &Order::Full, 0);
        let Input::Image(images) = &batch.input else { panic!("not images") };
        let Target::Classes(classes) = &batch.target else { panic!("not classes") };
        let values = images.values();
        let rows = values.chunks(values.len() / batch.rows).map(<[f32]>::to_vec);
        rows.zip(classes.iter().map(|class| *class as usize)).collect()
    }

    /// How strongly an image without noise swings along a direction: the power of its wave vector.
    fn power(config: &GratingsConfig, image: &[f32], class: usize) -> f64 {
        let angle = PI * class as f64 / config.classes as f64;
        let size = config.size;
        let (mut re, mut im) = (0.0, 0.0);
        for (i, value) in image[..size * size].iter().enumerate() {
            let along = ((i % size) as f64 * angle.cos() + (i / size) as f64 * angle.sin()) / size as f64;
            re += f64::from(*value) * (TAU * config.cycles * along).cos();
            im += f64::from(*value) * (TAU * config.cycles * along).sin();
        }
        re * re + im * im
    }

    #[test]
    fn the_class_is_the_direction_of_the_wave() {
        let config = GratingsConfig { channels: 2, noise: 0.0, samples: 160, ..Default::default() };
        for (image, class) in rows(&config, 3) {
            let strongest = (0..8).max_by(|a, b| power(&config, &image, *a).total_cmp(&power(&config, &image, *b)));
            assert_eq!(strongest, Some(class));
        }
    }

    #[test]
    fn classes_are_equally_many_and_splits_have_their_sizes() {
        let config = GratingsConfig { samples: 800, val_fraction: 0.25, ..Default::default() };
        let source = config.open(1).unwrap();
        let sizes = [Split::Train, Split::Val, Split::Test].map(|split| source.len(split).unwrap());
        assert_eq!(sizes, [480, 160, 160]);
        assert_eq!(source.spec().input, InputSpec::Image { channels: 1, height: 16, width: 16 });
        let mut counts = [0; 8];
        for split in [Split::Train, Split::Val, Split::Test] {
            let batch = source.batch(split, &Order::Full, 0);
            let Target::Classes(classes) = &batch.target else { panic!("not classes") };
            classes.iter().for_each(|class| counts[*class as usize] += 1);
        }
        assert_eq!(counts, [100; 8]);
    }

    #[test]
    fn no_pixel_alone_tells_the_class() {
        let config = GratingsConfig { samples: 4000, noise: 0.1, ..Default::default() };
        let rows = rows(&config, 0);
        // The mean of a pixel over the 400 images of a class: five standard errors of a spread near 1/2.
        for class in 0..8 {
            let of: Vec<&Vec<f32>> = rows.iter().filter(|row| row.1 == class).map(|row| &row.0).collect();
            let mean = of.iter().map(|image| f64::from(image[37])).sum::<f64>() / of.len() as f64;
            assert!(mean.abs() < 5.0 * 0.7 / (of.len() as f64).sqrt(), "class {class}: {mean}");
        }
    }

    #[test]
    fn the_seed_decides_the_images() {
        let config = GratingsConfig { samples: 16, ..Default::default() };
        assert_eq!(rows(&config, 1), rows(&config, 1));
        assert_ne!(rows(&config, 1), rows(&config, 2));
    }

    #[test]
    fn impossible_parameters_are_refused() {
        let message = |config: GratingsConfig| config.check().unwrap_err().to_string();
        assert_eq!(
            message(GratingsConfig { cycles: 9.0, ..Default::default() }),
            "cycles: cycles = 9 on 16 pixels is more than half a period per pixel, which looks like another wave; \
             expected at most 8"
        );
        assert_eq!(
            message(GratingsConfig { classes: 50, samples: 40, ..Default::default() }),
            "classes: classes = 50 have no image each among samples = 40; expected at most 40"
        );
        assert_eq!(
            message(GratingsConfig { samples: 1 << 40, ..Default::default() }),
            "samples: samples = 1099511627776 images of 256 values are more than fit; expected at most 1048576 images, \
             or smaller ones"
        );
        assert!(GratingsConfig { size: usize::MAX, ..Default::default() }.check().is_err());
        assert!(
            message(GratingsConfig { samples: 1, classes: 1, ..Default::default() }).contains("expected at least 2")
        );
    }
}
