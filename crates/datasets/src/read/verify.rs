//! Looking through a data set for faults.
use std::path::{Path, PathBuf};

use super::{Fault, Located, ReadError, cifar, content, idx, image_folder, locate};
use crate::manifest::{Checksum, FileEntry, Manifest, Part};

/// What was found about one file of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The file, as the manifest names it.
    pub path: String,
    /// Where it lies; `None` if it is missing.
    pub place: Option<PathBuf>,
    /// Whether its content was held against a checksum; otherwise against size, headers, counts and labels alone.
    pub by_checksum: bool,
    /// What is wrong with it.
    pub fault: Option<Fault>,
}

/// Checks every file of a data set below the data folder `dir`, going on after a fault.
///
/// # Errors
/// If there is nothing of the data set to check.
pub fn verify(manifest: &Manifest, dir: &Path) -> Result<Vec<Checked>, ReadError> {
    let located = locate(manifest, dir)?;
    let checked = |(file, place): &(&FileEntry, Option<PathBuf>)| {
        let fault = match place {
            None => Some(Fault::new(located.root.join(&file.path), "is missing")),
            Some(place) => located.check(file, place).err(),
        };
        let by_checksum = file.sha256 != Checksum::Unknown;
        Checked { path: file.path.clone(), place: place.clone(), by_checksum, fault }
    };
    Ok(located.files.iter().map(checked).collect())
}

impl Located<'_> {
    /// Whether a file is what the manifest says.
    fn check(&self, file: &FileEntry, place: &Path) -> Result<(), Fault> {
        let manifest = self.manifest;
        let [_, height, width] = manifest.shape;
        if file.part == Part::Folders {
            return image_folder::read(place, manifest).map(drop);
        }
        let bytes = content::read(place, file)?;
        let classes = manifest.classes.len();
        match file.part {
            Part::TrainImages => idx::images(place, bytes, manifest.train, [height, width]).map(drop),
            Part::TestImages => idx::images(place, bytes, manifest.test, [height, width]).map(drop),
            Part::TrainLabels => idx::labels(place, bytes, manifest.train, classes).map(drop),
            Part::TestLabels => idx::labels(place, bytes, manifest.test, classes).map(drop),
            Part::Train | Part::Test => cifar::read(place, &bytes, self.record(), classes).map(drop),
            Part::Folders => Ok(()),
        }
    }
}
