//! The parameters of every fetched data set of images.
use std::path::Path;

use kiln_registry::range;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    augment::{AugmentConfig, Canvas},
    corrupt::CorruptionConfig,
    source::ImageSource,
    subset::Subset,
};
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
    /// Random changes of the training images, one after another; drawn anew for each row of each step.
    pub augment: Vec<AugmentConfig>,
    /// Further evaluation sets: the test images with each of these corruptions at each of its strengths, such as `noise_3`.
    pub corruptions: Vec<CorruptionConfig>,
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
        for (i, corruption) in self.corruptions.iter().enumerate() {
            let name = corruption.name();
            if self.corruptions[..i].iter().any(|other| other.name() == name) {
                let message = format!("\"{name}\" stands twice; its metrics would have one name");
                return Err(Invalid::new("corruptions", message));
            }
        }
        let augment = self.augment.iter().try_for_each(|augment| augment.check(manifest.shape));
        augment.map_err(|message| Invalid::new("augment", message))
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
        let source = ImageSource::new(self.spec(manifest), manifest.shape, &scale, &subset, [train, test]);
        let mean = manifest.mean.iter().map(|mean| (255.0 * mean).round() as u8).collect();
        let source = source.with_augmentations(&self.augment, Canvas { shape: manifest.shape, mean }, &stream);
        Ok(Box::new(source.with_corruptions(&self.corruptions, &stream)))
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
    fn training_images_alone_are_augmented_and_anew_at_each_step() {
        let augment: Vec<AugmentConfig> = serde_json::from_str(r#"[{ "name": "cutout", "size": 1 }, "flip"]"#).unwrap();
        let plain = ImagesConfig { val_fraction: 0.34, ..Default::default() };
        let (changed, plain) = (open(&ImagesConfig { augment, ..plain.clone() }, 0), open(&plain, 0));
        for split in [Split::Val, Split::Test] {
            assert_eq!(changed.batch(split, &Order::Full, 3), plain.batch(split, &Order::Full, 3), "{split}");
            assert!(changed.repeats(split, &Order::Full));
        }
        let train = |step| changed.batch(Split::Train, &Order::Full, step);
        assert!(!changed.repeats(Split::Train, &Order::Full) && plain.repeats(Split::Train, &Order::Full));
        assert_eq!(train(3), train(3));
        assert!(train(3).input != train(4).input && train(3).target == train(4).target);
        // Of each image one pixel shows the mean, 0.5 or 128.
        let Input::Image(images) = train(5).input else { panic!("no images") };
        let hidden = |row: usize| images.pixels().row(row).iter().filter(|byte| **byte == 128).count();
        assert!((0..4).all(|row| hidden(row) == 1));
        let places: std::collections::HashSet<_> =
            (0..4).map(|row| images.pixels().row(row).iter().position(|byte| *byte == 128)).collect();
        assert!(places.len() > 1, "every row draws for itself");
    }

    #[test]
    fn corrupted_test_images_are_sets_of_their_own() {
        let text = r#"["noise", { "name": "contrast", "strengths": [2, 5] }]"#;
        let source = open(&ImagesConfig { corruptions: serde_json::from_str(text).unwrap(), ..Default::default() }, 0);
        let sets = source.eval_sets();
        let names: Vec<_> = sets.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["test", "noise_1", "noise_2", "noise_3", "noise_4", "noise_5", "contrast_2", "contrast_5"]);
        let whole: Vec<_> = sets.iter().map(|set| source.batch(*set, &Order::Full, 0)).collect();
        for (set, batch) in sets.iter().zip(&whole) {
            assert_eq!((source.len(*set), &batch.target), (Some(3), &whole[0].target), "{set}");
            // Read in parts, each row is the same.
            let order = Order::Sequential { size: 2 };
            assert_eq!(source.batch(*set, &order, 1), batch.gather(&[2]), "{set}");
        }
        assert!((1..6).all(|i| whole[i].input != whole[i - 1].input));
        // The tiny images are even, so that less contrast changes nothing.
        assert_eq!(whole[6].input, whole[0].input);
        assert_eq!(source.len(Split::Shifted { kind: "contrast", strength: 3 }), Some(0));
        assert_eq!(source.batch(Split::Shifted { kind: "blur", strength: 1 }, &Order::Full, 0).rows, 0);
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
            (
                ImagesConfig {
                    augment: serde_json::from_str(r#"["flip", { "name": "crop", "padding": 2 }]"#).unwrap(),
                    ..Default::default()
                },
                "augment: crop: padding = 2 is not less than the 3 by 2 pixels of an image",
            ),
            (
                ImagesConfig {
                    corruptions: serde_json::from_str(r#"["blur", { "name": "blur", "strengths": [1] }]"#).unwrap(),
                    ..Default::default()
                },
                "corruptions: \"blur\" stands twice; its metrics would have one name",
            ),
        ] {
            assert_eq!(message(config), expected);
        }
    }
}
