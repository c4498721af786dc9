//! The parameters of every fetched data set of images.
use std::path::Path;

use kiln_registry::range;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{source::ImageSource, subset::Subset};
use crate::{Asks, BatchSource, DataError, InputSpec, Invalid, Spec, drawn, manifest::Manifest, read};

/// How bytes become the numbers that a model receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// Mean 0 and standard deviation 1 in each channel over the published training images.
    #[default]
    Channel,
    /// From −1, black, to 1, white.
    Symmetric,
    /// From 0, black, to 1, white.
    Unit,
}

impl Normalise {
    /// Mean and standard deviation to take out of each channel on the scale of 0 to 1.
    fn scale(self, manifest: &Manifest) -> (Vec<f32>, Vec<f32>) {
        let channels = manifest.shape[0];
        match self {
            Self::Channel => (manifest.mean.clone(), manifest.std.clone()),
            Self::Symmetric => (vec![0.5; channels], vec![0.5; channels]),
            Self::Unit => (vec![0.0; channels], vec![1.0; channels]),
        }
    }
}

/// Parameters of a data set of images that is fetched.
///
/// The published training images of the chosen classes are put into an order that is drawn from the run's seed and `draw`.
/// Its last `⌊val_fraction · n⌋` images validate, the others train. A long tail is cut from those that train, and `samples` of
/// what is left are used, the first ones. So neither changes the validation split. The published test images of the chosen
/// classes test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImagesConfig {
    /// Names of the classes to use, in the order in which they are numbered; all if empty.
    pub classes: Vec<String>,
    /// How many times the first class is as frequent as the last, at least 1; the classes between fall off geometrically
    /// (Cui et al. 2019, arXiv:1901.05555). Balanced as published if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0))]
    pub long_tail: Option<f64>,
    /// Number of training images; all if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub samples: Option<usize>,
    /// Number of test images; all if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub test_samples: Option<usize>,
    /// Share of the training images that validates instead.
    #[serde(deserialize_with = "range::below_one")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub val_fraction: f64,
    /// How bytes become the numbers that a model receives.
    pub normalise: Normalise,
    /// Another number chooses other images for the same seed.
    pub draw: u64,
}

impl ImagesConfig {
    /// # Errors
    /// If the parameters do not go together.
    pub fn check(&self, manifest: &Manifest) -> Result<(), Invalid> {
        for (i, class) in self.classes.iter().enumerate() {
            if !manifest.classes.contains(class) {
                let known = manifest.classes.join(", ");
                return Err(Invalid::new(
                    "classes",
                    format!("\"{class}\" is no class of {}; known: {known}", manifest.title),
                ));
            }
            if self.classes[..i].contains(class) {
                return Err(Invalid::new("classes", format!("\"{class}\" stands twice")));
            }
        }
        if self.classes.len() == 1 {
            let message = format!("one class, \"{}\", leaves nothing to tell apart; name two or more", self.classes[0]);
            return Err(Invalid::new("classes", message));
        }
        if let Some(ratio) = self.long_tail
            && !(ratio >= 1.0 && ratio.is_finite())
        {
            return Err(Invalid::new("long_tail", format!("{ratio} is out of range; expected a number of at least 1")));
        }
        for (key, samples, most) in
            [("samples", self.samples, manifest.train), ("test_samples", self.test_samples, manifest.test)]
        {
            if let Some(samples) = samples
                && !(1..=most).contains(&samples)
            {
                let message =
                    format!("{samples} is out of range; expected 1 to {most}, as many as {} has", manifest.title);
                return Err(Invalid::new(key, message));
            }
        }
        Ok(())
    }

    /// The form of the rows.
    pub fn spec(&self, manifest: &Manifest) -> Spec {
        let [channels, height, width] = manifest.shape;
        let classes = if self.classes.is_empty() { manifest.classes.len() } else { self.classes.len() };
        Spec { input: InputSpec::Image { channels, height, width }, asks: Asks::Class { classes } }
    }

    /// Reads the images below the data folder `dir` and chooses among them.
    ///
    /// # Errors
    /// If [`check`](Self::check) refuses the parameters, the data is not there or is damaged, or nothing is left of a split.
    pub fn open(&self, manifest: &Manifest, dir: &Path, seed: u64) -> Result<Box<dyn BatchSource>, DataError> {
        self.check(manifest)?;
        let [train, test] = read::read(manifest, dir)?;
        let stream = drawn::stream(seed, &manifest.name, self.draw);
        let subset = Subset::choose(self, manifest, &train.labels, &test.labels, &stream)?;
        let scale = self.normalise.scale(manifest);
        Ok(Box::new(ImageSource::new(self.spec(manifest), manifest.shape, &scale, &subset, [train, test])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Input, Order, Split, Target,
        read::testing::{tiny_idx, write_tiny_idx},
    };

    fn open(config: &ImagesConfig, seed: u64) -> Box<dyn BatchSource> {
        let dir = tempfile::tempdir().unwrap();
        write_tiny_idx(&dir.path().join("tiny"));
        config.open(&tiny_idx(), dir.path(), seed).unwrap()
    }

    #[test]
    fn images_keep_their_labels() {
        let config = ImagesConfig { normalise: Normalise::Unit, val_fraction: 0.34, ..Default::default() };
        let source = open(&config, 3);
        assert_eq!([Split::Train, Split::Val, Split::Test].map(|split| source.len(split)), [Some(4), Some(2), Some(3)]);
        assert_eq!(*source.spec(), config.spec(&tiny_idx()));
        assert_eq!(source.eval_sets(), [Split::Val, Split::Test]);
        for (split, base) in [(Split::Train, 0.0), (Split::Val, 0.0), (Split::Test, 100.0)] {
            let batch = source.batch(split, &Order::Full, 0);
            let (Input::Image(images), Target::Classes(classes)) = (&batch.input, &batch.target) else {
                panic!("no labelled images")
            };
            for (image, class) in images.values().chunks(6).zip(classes) {
                // Image i is filled with 10 i and has class i mod 3.
                let i = ((image[0] * 255.0 - base) / 10.0).round() as i32;
                assert_eq!(i % 3, *class, "{split}");
            }
        }
    }

    #[test]
    fn bytes_are_brought_to_the_scale_asked_for() {
        let last = |normalise| {
            let source = open(&ImagesConfig { normalise, ..Default::default() }, 0);
            let Input::Image(images) = source.batch(Split::Test, &Order::Full, 0).input else { panic!("no images") };
            images.values()[17]
        };
        // 120 / 255 = 0.470588; the tiny set's mean and standard deviation are 0.5.
        for (normalise, expected) in
            [(Normalise::Unit, 0.470_588), (Normalise::Symmetric, -0.058_824), (Normalise::Channel, -0.058_824)]
        {
            let found: f32 = last(normalise);
            assert!((found - expected).abs() < 1e-5, "{normalise:?}: {found}");
        }
    }

    #[test]
    fn seed_and_draw_choose_other_images() {
        let rows = |draw, seed| {
            let config = ImagesConfig { draw, samples: Some(3), ..Default::default() };
            open(&config, seed).batch(Split::Train, &Order::Full, 0)
        };
        assert_eq!(rows(0, 0), rows(0, 0));
        assert!((1..9).any(|seed| rows(0, seed) != rows(0, 0)) && (1..9).any(|draw| rows(draw, 0) != rows(0, 0)));
    }

    #[test]
    fn impossible_parameters_are_refused() {
        let message = |config: ImagesConfig| config.check(&tiny_idx()).unwrap_err().to_string();
        let names = |names: &[&str]| ImagesConfig {
            classes: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        for (config, expected) in [
            (names(&["cat", "dgo"]), "classes: \"dgo\" is no class of Tiny; known: cat, dog, eel"),
            (names(&["cat", "cat"]), "classes: \"cat\" stands twice"),
            (names(&["cat"]), "classes: one class, \"cat\", leaves nothing to tell apart; name two or more"),
            (
                ImagesConfig { long_tail: Some(0.5), ..Default::default() },
                "long_tail: 0.5 is out of range; expected a number of at least 1",
            ),
            (
                ImagesConfig { samples: Some(7), ..Default::default() },
                "samples: 7 is out of range; expected 1 to 6, as many as Tiny has",
            ),
            (
                ImagesConfig { test_samples: Some(0), ..Default::default() },
                "test_samples: 0 is out of range; expected 1 to 3, as many as Tiny has",
            ),
        ] {
            assert_eq!(message(config), expected);
        }
    }
}
