//! Reading data sets of images from a folder.
//!
//! A data set is found by its manifest: of the forms its content may have, the first of which a file is there is read.
//! Every file is held against the manifest before a row of it is used.
use std::path::{Path, PathBuf};

use crate::{
    Matrix,
    manifest::{FileEntry, Form, Format, Manifest, Part},
};

pub mod cifar;
mod content;
mod fault;
#[cfg(test)]
mod fault_table;
pub mod idx;
mod image_folder;
mod labels;
mod picture;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verify;
pub mod zip;

pub use fault::Fault;
pub use verify::{Checked, verify};

/// Images with the label of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// One image per row: channel after channel, row of pixels after row.
    pub images: Matrix<u8>,
    /// The class of each.
    pub labels: Vec<u8>,
}

/// Why a data set cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nothing of it, or not all of it, is in the folder.
    #[error(
        "{title} is not there: no {file} in {}; run kiln data fetch {name}, or set KILN_DATA_DIR to a folder that has \
         it", folder.display()
    )]
    Missing {
        /// The data set.
        name: String,
        /// The data set, as in a text.
        title: String,
        /// What was looked for.
        file: String,
        /// Where.
        folder: PathBuf,
    },
    /// A file is not what it should be.
    #[error("{0}")]
    Fault(#[from] Fault),
}

/// A form of a data set's content as it was found.
#[derive(Clone, Debug)]
pub struct Located<'a> {
    /// The data set.
    pub manifest: &'a Manifest,
    /// The form.
    pub form: &'a Form,
    /// Where its paths begin.
    pub root: PathBuf,
    /// Each file with the place where it lies; `None` if it is missing.
    pub files: Vec<(&'a FileEntry, Option<PathBuf>)>,
}

/// Finds the content of a data set below the data folder `dir`.
///
/// # Errors
/// If there is none of it.
pub fn locate<'a>(manifest: &'a Manifest, dir: &Path) -> Result<Located<'a>, ReadError> {
    let own = dir.join(manifest.folder());
    for form in &manifest.forms {
        // The four files of MNIST and its relatives have the same names: only a folder of their own tells them apart.
        let roots = if form.format == Format::Idx { vec![own.clone()] } else { vec![own.clone(), dir.to_owned()] };
        for root in roots {
            let files: Vec<_> = form.files.iter().map(|file| (file, place(&root, file))).collect();
            if files.iter().any(|(_, place)| place.is_some()) {
                return Ok(Located { manifest, form, root, files });
            }
        }
    }
    Err(missing(manifest, &manifest.forms[0].files[0], own))
}

fn missing(manifest: &Manifest, file: &FileEntry, folder: PathBuf) -> ReadError {
    let (name, title) = (manifest.folder().to_owned(), manifest.title.clone());
    ReadError::Missing { name, title, file: file.path.clone(), folder }
}

/// Where a file lies, plain or compressed.
fn place(root: &Path, file: &FileEntry) -> Option<PathBuf> {
    let plain = root.join(&file.path);
    if file.part == Part::Folders {
        return plain.exists().then_some(plain);
    }
    let compressed = root.join(format!("{}.gz", file.path));
    [plain, compressed].into_iter().find(|path| path.is_file())
}

/// Training and test images of a data set below the data folder `dir`.
///
/// # Errors
/// If the data set is not there or a file is not what it should be.
pub fn read(manifest: &Manifest, dir: &Path) -> Result<[Labelled; 2], ReadError> {
    let located = locate(manifest, dir)?;
    if let Some((file, _)) = located.files.iter().find(|(_, place)| place.is_none()) {
        return Err(missing(manifest, file, located.root));
    }
    match located.form.format {
        Format::Idx => {
            let part = |images, labels, count| -> Result<Labelled, Fault> {
                let images = located.content(images)?.remove(0);
                let labels = located.content(labels)?.remove(0);
                located.idx(images, labels, count)
            };
            Ok([
                part(Part::TrainImages, Part::TrainLabels, manifest.train)?,
                part(Part::TestImages, Part::TestLabels, manifest.test)?,
            ])
        }
        Format::Cifar => {
            Ok([located.records(Part::Train, manifest.train)?, located.records(Part::Test, manifest.test)?])
        }
        Format::ImageFolder => {
            let path = located.files[0].1.as_deref().expect("every file is there");
            Ok(image_folder::read(path, manifest)?)
        }
    }
}

impl Located<'_> {
    /// The files of a part that are there, with their plain contents.
    fn content(&self, part: Part) -> Result<Vec<(PathBuf, Vec<u8>)>, Fault> {
        let of_part = self.files.iter().filter(|(file, _)| file.part == part);
        let there = of_part.filter_map(|(file, place)| Some((file, place.clone()?)));
        there.map(|(file, place)| content::read(&place, file).map(|bytes| (place, bytes))).collect()
    }

    fn idx(&self, images: (PathBuf, Vec<u8>), labels: (PathBuf, Vec<u8>), count: usize) -> Result<Labelled, Fault> {
        let [_, height, width] = self.manifest.shape;
        let images = idx::images(&images.0, images.1, count, [height, width])?;
        let labels = idx::labels(&labels.0, labels.1, count, self.manifest.classes.len())?;
        Ok(Labelled { images: Matrix::new(images, height * width), labels })
    }

    /// How a record of a CIFAR file is built.
    fn record(&self) -> cifar::Record {
        let Form { label_bytes, label_at, .. } = *self.form;
        cifar::Record { label_bytes, label_at, image: self.manifest.shape.iter().product() }
    }

    fn records(&self, part: Part, count: usize) -> Result<Labelled, Fault> {
        let record = self.record();
        let image = record.image;
        let (mut images, mut labels) = (Vec::with_capacity(count * image), Vec::with_capacity(count));
        for (path, bytes) in self.content(part)? {
            let read = cifar::read(&path, &bytes, record, self.manifest.classes.len())?;
            images.extend_from_slice(read.images.values());
            labels.extend_from_slice(&read.labels);
        }
        if labels.len() != count {
            return Err(Fault::new(&self.root, format!("holds {} images of a part of {count}", labels.len())));
        }
        Ok(Labelled { images: Matrix::new(images, image), labels })
    }
}
