//! Manifests: what a fetched data set consists of and where it comes from.
use std::{collections::HashSet, path::Path, sync::OnceLock};

use serde::Deserialize;

mod checksum;

pub use checksum::Checksum;

/// The text of every manifest; the files stand in `datasets/` at the top of the source tree.
const TEXTS: [(&str, &str); 6] = [
    ("mnist", include_str!("../../../../datasets/mnist.toml")),
    ("fashion_mnist", include_str!("../../../../datasets/fashion_mnist.toml")),
    ("kmnist", include_str!("../../../../datasets/kmnist.toml")),
    ("cifar10", include_str!("../../../../datasets/cifar10.toml")),
    ("cifar100", include_str!("../../../../datasets/cifar100.toml")),
    ("cifar100_coarse", include_str!("../../../../datasets/cifar100_coarse.toml")),
];

/// A data set of images that is fetched: its form, its files and its sources.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// As in a config: `mnist`.
    pub name: String,
    /// As in a text: `MNIST`.
    pub title: String,
    /// What the images show, in one line.
    pub about: String,
    /// Who is to be cited.
    pub citation: String,
    /// Under which terms the data may be used, as far as its makers say.
    pub licence: String,
    /// Where its makers describe it.
    pub homepage: String,
    /// `[channels, height, width]` of every image.
    pub shape: [usize; 3],
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
    /// Names of the classes in the order of their labels.
    pub classes: Vec<String>,
    /// Mean of each channel over the training images, on the scale of 0 to 1.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel over the training images, on the same scale.
    pub std: Vec<f32>,
    /// The subfolder of the data folder; the name, if left out.
    folder: Option<String>,
    /// How the content may lie in the folder; the first one that is there is read.
    #[serde(rename = "form")]
    pub forms: Vec<Form>,
    /// What is downloaded.
    #[serde(rename = "archive", default)]
    pub archives: Vec<Archive>,
}

/// One way in which the content may lie in the folder.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// How the files are read.
    pub format: Format,
    /// Of [`Format::Cifar`]: bytes of labels before each image.
    #[serde(default)]
    pub label_bytes: usize,
    /// Of [`Format::Cifar`]: which of them is the label.
    #[serde(default)]
    pub label_at: usize,
    /// The files.
    #[serde(rename = "file")]
    pub files: Vec<FileEntry>,
}

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The files of MNIST and its relatives: a header with dimensions, then bytes.
    Idx,
    /// Records of label bytes and image bytes, channel after channel.
    Cifar,
    /// `train/CLASS/…` and `test/CLASS/…` with PNG or JPEG files, as a folder or as a zip file.
    ImageFolder,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Images to train on, without their labels.
    TrainImages,
    /// The labels of [`TrainImages`](Self::TrainImages).
    TrainLabels,
    /// Images to test on, without their labels.
    TestImages,
    /// The labels of [`TestImages`](Self::TestImages).
    TestLabels,
    /// Images to train on, with their labels.
    Train,
    /// Images to test on, with their labels.
    Test,
    /// Everything, in folders.
    Folders,
}

/// A file of a form.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Below the data set's folder, `/` between names.
    pub path: String,
    /// What it holds.
    pub part: Part,
    /// Bytes of the plain content; where left out, any number.
    pub bytes: Option<u64>,
    /// Of the plain content.
    pub sha256: Checksum,
}

/// A file that is downloaded.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Its file name.
    pub name: String,
    /// How its content is wrapped.
    pub pack: Pack,
    /// Its size.
    pub bytes: u64,
    /// Of the archive as it is downloaded.
    pub sha256: Checksum,
    /// Its addresses, in the order in which they are tried.
    pub mirrors: Vec<String>,
}

/// How an archive wraps its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pack {
    /// One file, compressed; its name is the archive's without `.gz`.
    Gzip,
    /// A compressed tape archive.
    TarGz,
    /// A zip file.
    Zip,
}

impl Manifest {
    /// Every manifest, in the order of the list of data sets.
    pub fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<Manifest>> = OnceLock::new();
        ALL.get_or_init(|| {
            let read = |(name, text): &(&str, &str)| {
                Self::parse(text).unwrap_or_else(|error| panic!("datasets/{name}.toml: {error}"))
            };
            TEXTS.iter().map(read).collect()
        })
    }

    /// The manifest of a data set.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::all().iter().find(|manifest| manifest.name == name)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// If the text is no TOML, a key is unknown or missing, or the values do not go together.
    pub fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The subfolder of the data folder that its files lie in.
    pub fn folder(&self) -> &str {
        self.folder.as_deref().unwrap_or(&self.name)
    }

    fn check(&self) -> Result<(), String> {
        let distinct = |names: Vec<&str>| names.iter().collect::<HashSet<_>>().len() == names.len();
        let channels = self.shape[0];
        if self.shape.contains(&0) || self.train == 0 || self.test == 0 {
            return Err("shape, train and test must be at least 1".into());
        }
        if !(1..=256).contains(&self.classes.len()) || !distinct(self.classes.iter().map(String::as_str).collect()) {
            return Err("classes must be 1 to 256 different names".into());
        }
        if self.mean.len() != channels || self.std.len() != channels || self.std.iter().any(|std| *std <= 0.0) {
            return Err(format!("mean and std need {channels} numbers each, those of std above 0"));
        }
        if self.forms.is_empty() {
            return Err("there is no [[form]]".into());
        }
        for form in &self.forms {
            if form.files.is_empty() || !distinct(form.files.iter().map(|file| file.path.as_str()).collect()) {
                return Err("each form needs files of different paths".into());
            }
            if let Some(file) = form.files.iter().find(|file| !is_inside(&file.path)) {
                return Err(format!("\"{}\" leads out of the data set's folder", file.path));
            }
            if form.format == Format::Cifar && form.label_at >= form.label_bytes {
                return Err(format!("label_at = {} is not below label_bytes = {}", form.label_at, form.label_bytes));
            }
            let parts: &[Part] = match form.format {
                Format::Idx => &[Part::TrainImages, Part::TrainLabels, Part::TestImages, Part::TestLabels],
                Format::Cifar => &[Part::Train, Part::Test],
                Format::ImageFolder => &[Part::Folders],
            };
            let held: Vec<Part> = form.files.iter().map(|file| file.part).collect();
            if parts.iter().any(|part| !held.contains(part)) || held.iter().any(|part| !parts.contains(part)) {
                return Err(format!("a form of format {:?} needs files of parts {parts:?} and no others", form.format));
            }
        }
        for archive in &self.archives {
            if archive.mirrors.is_empty() || !is_inside(&archive.name) || archive.name.contains('/') {
                return Err(format!("archive \"{}\" needs a plain file name and a mirror", archive.name));
            }
        }
        Ok(())
    }
}

/// Whether a path with `/` between names stays below where it starts, on every platform.
pub fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\\', ':', '\0'])
        && path.split('/').all(|name| !matches!(name, "" | "." | ".."))
        && Path::new(path).is_relative()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_reads_and_bears_its_name() {
        let names: Vec<_> = Manifest::all().iter().map(|manifest| manifest.name.as_str()).collect();
        assert_eq!(names, TEXTS.map(|(name, _)| name));
        for manifest in Manifest::all() {
            for text in [&manifest.title, &manifest.about, &manifest.citation, &manifest.licence] {
                assert!(!text.is_empty(), "{}", manifest.name);
            }
            assert!(!manifest.archives.is_empty(), "{}", manifest.name);
        }
        assert!(Manifest::named("imagenet").is_none());
    }

    #[test]
    fn sizes_agree_with_counts_and_shapes() {
        for manifest in Manifest::all() {
            let image: usize = manifest.shape.iter().product();
            let form = &manifest.forms[0];
            let bytes = |part: Part| -> u64 {
                form.files.iter().filter(|file| file.part == part).filter_map(|file| file.bytes).sum()
            };
            match form.format {
                Format::Idx => {
                    // Headers: 4 bytes and 4 for each dimension.
                    assert_eq!(bytes(Part::TrainImages), (16 + manifest.train * image) as u64, "{}", manifest.name);
                    assert_eq!(bytes(Part::TestImages), (16 + manifest.test * image) as u64, "{}", manifest.name);
                    assert_eq!(bytes(Part::TrainLabels), (8 + manifest.train) as u64, "{}", manifest.name);
                    assert_eq!(bytes(Part::TestLabels), (8 + manifest.test) as u64, "{}", manifest.name);
                }
                Format::Cifar => {
                    let record = image + form.label_bytes;
                    assert_eq!(bytes(Part::Train), (manifest.train * record) as u64, "{}", manifest.name);
                    assert_eq!(bytes(Part::Test), (manifest.test * record) as u64, "{}", manifest.name);
                }
                Format::ImageFolder => panic!("{}: the published form comes first", manifest.name),
            }
        }
    }

    #[test]
    fn impossible_manifests_are_refused() {
        let text = TEXTS[0].1;
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            Manifest::parse(&text.replacen(from, to, 1)).unwrap_err()
        };
        for (from, to, message) in [
            ("train = 60000", "train = 0", "must be at least 1"),
            ("\"1\", \"2\"", "\"1\", \"1\"", "classes must be 1 to 256 different names"),
            ("mean = [0.1307]", "mean = [0.1, 0.2]", "mean and std need 1 numbers each"),
            ("std = [0.3081]", "std = [0.0]", "those of std above 0"),
            ("path = \"train-images", "path = \"../train-images", "leads out of the data set's folder"),
            ("part = \"train_labels\"", "part = \"train\"", "needs files of parts"),
            ("format = \"idx\"", "format = \"cifar\"", "label_at = 0 is not below label_bytes = 0"),
            ("name = \"train-images-idx3-ubyte.gz\"", "name = \"a/b\"", "needs a plain file name"),
            ("title", "tilte", "unknown field `tilte`"),
            ("sha256 = \"b", "sha256 = \"B", "is no SHA-256"),
        ] {
            let found = refused(from, to);
            assert!(found.contains(message), "{from} → {to}: {found}");
        }
    }

    #[test]
    fn paths_that_lead_outside() {
        for path in ["a", "a/b.bin", "..a/b", "a.b"] {
            assert!(is_inside(path), "{path}");
        }
        for path in ["", "/a", "../a", "a/../b", "a//b", "./a", "a/", "C:\\a", "a\\..\\b", "c:a", "a\0b"] {
            assert!(!is_inside(path), "{path}");
        }
    }
}
