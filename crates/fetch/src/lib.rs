//! Fetching data sets: download, check, unpack, put in place.
//!
//! [`fetch`] brings the archives of a [`Manifest`] into a data folder. A download that was cut goes on where it stopped, over
//! several mirrors; an archive is unpacked only if its size and checksum are right; what comes out is read as training would
//! read it before it appears in the folder; and one process at a time works on a data set.
#![forbid(unsafe_code)]

mod download;
mod http;
mod lock;
mod unpack;

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use kiln_datasets::{
    manifest::{Archive, Manifest, Pack},
    read::{self, Checked},
};

pub use download::Patience;
pub use lock::Lock;

/// What a caller is told while something is fetched.
pub trait Progress {
    /// A download of `total` bytes begins, of which `done` are there.
    fn begin(&mut self, name: &str, total: u64, done: u64) {
        let _ = (name, total, done);
    }
    /// So many bytes of it are there now.
    fn at(&mut self, done: u64) {
        let _ = done;
    }
    /// The download is over, one way or the other.
    fn end(&mut self) {}
    /// Something worth a line.
    fn say(&mut self, line: &str) {
        let _ = line;
    }
}

/// Says nothing.
impl Progress for () {}

/// How to fetch.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Addresses of folders that hold the archives, tried before the manifest's mirrors.
    pub mirrors: Vec<String>,
    /// A folder on this machine that holds the archives; then nothing is downloaded.
    pub from: Option<PathBuf>,
    /// How long to try.
    pub patience: Patience,
}

/// What fetching did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The data set was there already, without a fault.
    AlreadyThere,
    /// It was fetched.
    Fetched,
}

/// Why a data set was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The data folder cannot be written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// No mirror gave the archive.
    #[error("{archive} could not be had:{}", reasons.iter().map(|reason| format!("\n  {reason}")).collect::<String>())]
    Download {
        /// The archive's name.
        archive: String,
        /// What went wrong at each mirror, beginning with its address.
        reasons: Vec<String>,
    },
    /// The archive is not what a data set may come in.
    #[error("{}: {what}", archive.display())]
    Archive {
        /// The archive.
        archive: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// What came out of the archives is not the data set.
    #[error("the archives hold another content than the manifest says:{}", list(faults))]
    Content {
        /// The faults.
        faults: Vec<read::Fault>,
    },
}

fn list(faults: &[read::Fault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

impl FetchError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |error| Self::Io { path, error }
    }
}

/// Brings a data set into the data folder `dir`, unless it is there without a fault. Files that have a fault are replaced.
///
/// # Errors
/// If the archives cannot be had, are not what the manifest says, or the folder cannot be written. What was downloaded of an
/// archive stays, so that the next call goes on there.
pub fn fetch(
    manifest: &Manifest,
    dir: &Path,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Outcome, FetchError> {
    let check = || read::verify(manifest, dir).unwrap_or_default();
    let all_sound = |checked: &[Checked]| !checked.is_empty() && checked.iter().all(|file| file.fault.is_none());
    // Before anything is written: a shared folder may be read-only.
    if all_sound(&check()) {
        return Ok(Outcome::AlreadyThere);
    }
    fs::create_dir_all(dir).map_err(FetchError::io(dir))?;
    let name = manifest.folder();
    let _lock = Lock::acquire(dir, name, || progress.say(&format!("another process is at {name}; waiting for it")))?;

    // Once more after the wait, because the other process may have fetched it.
    let checked = check();
    if all_sound(&checked) {
        return Ok(Outcome::AlreadyThere);
    }
    let sound: HashSet<String> =
        checked.into_iter().filter(|file| file.fault.is_none()).map(|file| file.path).collect();
    let work = dir.join(format!(".fetch-{name}"));
    let new = work.join("new");
    if new.exists() {
        fs::remove_dir_all(&new).map_err(FetchError::io(&new))?;
    }
    let target = new.join(name);
    fs::create_dir_all(&target).map_err(FetchError::io(&target))?;

    // An archive of one file that is sound already is not needed.
    let needed = |archive: &&Archive| archive.pack != Pack::Gzip || !sound.contains(unpack::plain_name(&archive.name));
    for archive in manifest.archives.iter().filter(needed) {
        let packed = match &options.from {
            Some(from) => download::local(archive, from)?,
            None => download::download(archive, &options.mirrors, &work, options.patience, progress)?,
        };
        progress.say(&format!("unpacking {}", archive.name));
        unpack::unpack(archive, &packed, &manifest.forms[0], &target)?;
    }
    let unpacked: Vec<Checked> = read::verify(manifest, &new).unwrap_or_default();
    let unpacked: Vec<Checked> = unpacked.into_iter().filter(|file| !sound.contains(&file.path)).collect();
    let faults: Vec<_> = unpacked.iter().filter_map(|file| file.fault.clone()).collect();
    if !faults.is_empty() {
        let _ = fs::remove_dir_all(&work);
        return Err(FetchError::Content { faults });
    }
    settle(&target, &dir.join(name), &unpacked)?;
    fs::remove_dir_all(&work).map_err(FetchError::io(&work))?;
    Ok(Outcome::Fetched)
}

/// Moves what was unpacked to its place: the whole folder at once where there was none, else file by file.
fn settle(from: &Path, to: &Path, files: &[Checked]) -> Result<(), FetchError> {
    if !to.exists() {
        return fs::rename(from, to).map_err(FetchError::io(to));
    }
    for file in files {
        let place = to.join(&file.path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(FetchError::io(parent))?;
        }
        fs::rename(from.join(&file.path), &place).map_err(FetchError::io(&place))?;
    }
    Ok(())
}
