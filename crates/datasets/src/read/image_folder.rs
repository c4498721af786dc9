//! Folders of PNG and JPEG files, on disk or inside a zip file.
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    thread,
};

use super::{
    Fault, Labelled,
    picture::{self, Format},
    zip::Zip,
};
use crate::{Matrix, manifest::Manifest};

/// Files of one image are not larger than this: 16 MiB.
const MAX_IMAGE_BYTES: u64 = 1 << 24;
/// No data set has more files than this.
const MAX_FILES: usize = 1 << 21;
/// The folder of each split.
const SPLITS: [&str; 2] = ["train", "test"];

/// Where the files lie.
enum Place {
    Folder(PathBuf),
    Zip(PathBuf, Zip),
}

/// A file of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// 0 to train, 1 to test.
    split: usize,
    class: u8,
    /// Below the folder or inside the zip file.
    path: String,
    /// Its number in the zip file.
    number: usize,
}

/// Training and test images of a folder or a zip file: `train/CLASS/NAME.png` and so on, in the order of class and name.
///
/// # Errors
/// If a file is no image of the manifest's shape, a folder is no class, or images are missing or too many.
pub fn read(path: &Path, manifest: &Manifest) -> Result<[Labelled; 2], Fault> {
    let place = Place::open(path)?;
    let mut entries = place.entries(manifest)?;
    entries.sort_unstable();
    for (split, expected) in [manifest.train, manifest.test].into_iter().enumerate() {
        let found = entries.iter().filter(|entry| entry.split == split).count();
        if found != expected {
            let folder = SPLITS[split];
            return Err(Fault::new(path, format!("{folder}/ holds {found} images; expected {expected}")));
        }
        let classes = 0..manifest.classes.len();
        let count =
            |class: &usize| entries.iter().filter(|e| e.split == split && usize::from(e.class) == *class).count();
        if let Some(class) = classes.clone().find(|class| count(class) == 0) {
            let folder = format!("{}/{}", SPLITS[split], manifest.classes[class]);
            return Err(Fault::new(path, format!("{folder}/ holds no image")));
        }
    }
    let images = decode(&place, &entries, manifest.shape)?;
    let (train, test) = entries.split_at(manifest.train);
    let size: usize = manifest.shape.iter().product();
    let mut train_images = images;
    let test_images = train_images.split_off(manifest.train * size);
    let labelled = |images: Vec<u8>, entries: &[Entry]| Labelled {
        images: Matrix::new(images, size),
        labels: entries.iter().map(|entry| entry.class).collect(),
    };
    Ok([labelled(train_images, train), labelled(test_images, test)])
}

/// Decodes all images, a share of them on each processor.
fn decode(place: &Place, entries: &[Entry], shape: [usize; 3]) -> Result<Vec<u8>, Fault> {
    let size: usize = shape.iter().product();
    let mut bytes = vec![0; entries.len() * size];
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let share = entries.len().div_ceil(workers).max(1);
    thread::scope(|scope| {
        let handles: Vec<_> = entries
            .chunks(share)
            .zip(bytes.chunks_mut(share * size))
            .map(|(entries, bytes)| {
                scope.spawn(move || {
                    entries.iter().zip(bytes.chunks_exact_mut(size)).try_for_each(|(entry, image)| {
                        let file = place.file(entry)?;
                        picture::decode(&place.path().join(&entry.path), &file, shape, image)
                    })
                })
            })
            .collect();
        handles
            .into_iter()
            .try_for_each(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    Ok(bytes)
}

impl Place {
    fn open(path: &Path) -> Result<Self, Fault> {
        if path.is_dir() { Ok(Self::Folder(path.to_owned())) } else { Ok(Self::Zip(path.to_owned(), Zip::open(path)?)) }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Zip(path, _) => path,
        }
    }

    /// Every image file with its split and class.
    fn entries(&self, manifest: &Manifest) -> Result<Vec<Entry>, Fault> {
        let paths = self.paths()?;
        let top = self.path();
        if paths.len() > MAX_FILES {
            return Err(Fault::new(top, format!("holds {} files; expected at most {MAX_FILES}", paths.len())));
        }
        paths.into_iter().map(|(number, path)| entry(top, path, number, manifest)).collect()
    }

    /// The numbers and paths of all files, `/` between names.
    fn paths(&self) -> Result<Vec<(usize, String)>, Fault> {
        match self {
            Self::Folder(top) => {
                let mut paths = Vec::new();
                for split in SPLITS {
                    walk(top, split, 2, &mut paths)?;
                }
                Ok(paths.into_iter().enumerate().collect())
            }
            Self::Zip(path, zip) => {
                let files = zip.entries().iter().enumerate().filter(|(_, entry)| !entry.is_folder());
                let file = |(number, entry): (usize, &super::zip::Entry)| {
                    if entry.size > MAX_IMAGE_BYTES {
                        let message = format!("has {} bytes; expected at most {MAX_IMAGE_BYTES}", entry.size);
                        return Err(Fault::new(path.join(&entry.name), message));
                    }
                    Ok((number, entry.name.clone()))
                };
                files.map(file).collect()
            }
        }
    }

    /// The content of a file.
    fn file(&self, entry: &Entry) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Folder(top) => {
                let full = top.join(&entry.path);
                let io = |error: std::io::Error| Fault::io(&full, &error);
                let mut bytes = Vec::new();
                let file = fs::File::open(&full).map_err(io)?;
                file.take(MAX_IMAGE_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
                if bytes.len() as u64 > MAX_IMAGE_BYTES {
                    return Err(Fault::new(&full, format!("has more than {MAX_IMAGE_BYTES} bytes")));
                }
                Ok(bytes)
            }
            Self::Zip(path, zip) => zip.content(path, &zip.entries()[entry.number]),
        }
    }
}

/// All files below `top/path`, folders to the given depth.
fn walk(top: &Path, path: &str, depth: usize, files: &mut Vec<String>) -> Result<(), Fault> {
    let folder = top.join(path);
    let io = |error: std::io::Error| Fault::io(&folder, &error);
    for entry in fs::read_dir(&folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let below = format!("{path}/{name}");
        if entry.file_type().map_err(io)?.is_dir() && depth > 0 {
            walk(top, &below, depth - 1, files)?;
        } else {
            files.push(below);
        }
    }
    Ok(())
}

fn entry(top: &Path, path: String, number: usize, manifest: &Manifest) -> Result<Entry, Fault> {
    let refuse = |what: String| Err(Fault::new(top.join(&path), what));
    let names: Vec<&str> = path.split('/').collect();
    let &[split, class, name] = names.as_slice() else {
        return refuse("stands in no folder of a class; expected train/CLASS/FILE or test/CLASS/FILE".into());
    };
    let Some(split) = SPLITS.iter().position(|known| *known == split) else {
        return refuse(format!("stands in \"{split}\"; expected train or test"));
    };
    let Some(class) = manifest.classes.iter().position(|known| known == class) else {
        return refuse(format!("\"{class}\" is no class; known: {}", manifest.classes.join(", ")));
    };
    if Format::of_name(name).is_none() {
        return refuse("is no image by its name; expected .png, .jpg or .jpeg".into());
    }
    Ok(Entry { split, class: class as u8, path, number })
}
