//! Downloads that go on where they were cut.
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use kiln_datasets::manifest::{Archive, Checksum};
use sha2::{Digest, Sha256};

use crate::{
    FetchError, Progress,
    http::{self, Failure},
};

/// How long a download is tried.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Attempts at one mirror, one after another, that bring nothing before the next mirror is tried.
    pub attempts: u32,
    /// The pause after the first of them; it doubles with each.
    pub pause: Duration,
    /// The longest wait for a connection, an answer, or more bytes.
    pub timeout: Duration,
}

impl Default for Patience {
    /// Four attempts over some four seconds outlast a restart of a server; half a minute without a byte is a dead connection.
    fn default() -> Self {
        Self { attempts: 4, pause: Duration::from_millis(500), timeout: Duration::from_secs(30) }
    }
}

/// The archive in `work`, downloaded whole and checked.
///
/// # Errors
/// If no mirror gives it.
pub fn download(
    archive: &Archive,
    mirrors: &[String],
    work: &Path,
    patience: Patience,
    progress: &mut dyn Progress,
) -> Result<PathBuf, FetchError> {
    let whole = work.join(&archive.name);
    if whole.exists() && check(archive, &whole).is_ok() {
        return Ok(whole);
    }
    let part = work.join(format!("{}.part", archive.name));
    let own = mirrors.iter().map(|mirror| format!("{}/{}", mirror.trim_end_matches('/'), archive.name));
    let urls: Vec<String> = own.chain(archive.mirrors.iter().cloned()).collect();
    let mut reasons = Vec::new();
    for url in urls {
        progress.begin(&archive.name, archive.bytes, length(&part));
        let had = from_mirror(archive, &url, &part, patience, progress);
        progress.end();
        match had {
            Ok(()) => {
                fs::rename(&part, &whole).map_err(FetchError::io(&whole))?;
                return Ok(whole);
            }
            Err(reason) => {
                progress.say(&format!("{url}: {reason}"));
                reasons.push(format!("{url}: {reason}"));
            }
        }
    }
    Err(FetchError::Download { archive: archive.name.clone(), reasons })
}

/// The archive in a folder on this machine, checked.
///
/// # Errors
/// If it is not there or is another file.
pub fn local(archive: &Archive, from: &Path) -> Result<PathBuf, FetchError> {
    let path = from.join(&archive.name);
    check(archive, &path).map_err(|what| FetchError::Archive { archive: path.clone(), what })?;
    Ok(path)
}

/// Tries one mirror until it has given the archive, or as long as there is hope.
fn from_mirror(
    archive: &Archive,
    url: &str,
    part: &Path,
    patience: Patience,
    progress: &mut dyn Progress,
) -> Result<(), String> {
    let mut idle = 0;
    // A part of another file, from another mirror or another day, spoils what is appended to it: then once more from the start.
    let mut resumed = length(part) > 0;
    loop {
        let before = length(part);
        match attempt(archive, url, part, patience.timeout, progress) {
            Ok(()) => match check(archive, part) {
                Ok(()) => return Ok(()),
                Err(what) => {
                    let _ = fs::remove_file(part);
                    if !resumed {
                        return Err(what);
                    }
                    resumed = false;
                }
            },
            Err(Failure::Useless(reason)) => return Err(reason),
            Err(Failure::Again(reason)) => {
                idle = if length(part) > before { 0 } else { idle + 1 };
                if idle >= patience.attempts {
                    return Err(format!("{reason}, {idle} times in a row"));
                }
                thread::sleep(patience.pause * (1 << idle.min(6)));
            }
        }
    }
}

/// Asks for what is missing of the archive and appends it to `part`.
fn attempt(
    archive: &Archive,
    url: &str,
    part: &Path,
    timeout: Duration,
    progress: &mut dyn Progress,
) -> Result<(), Failure> {
    let disk = |error: io::Error| Failure::Useless(format!("{}: {error}", part.display()));
    let mut have = length(part);
    if have > archive.bytes {
        fs::remove_file(part).map_err(disk)?;
        have = 0;
    }
    if have == archive.bytes {
        return Ok(());
    }
    // An archive that a server calls encoded is to arrive as it is.
    let mut headers = vec![("Accept-Encoding", "identity".to_owned())];
    if have > 0 {
        headers.push(("Range", format!("bytes={have}-")));
    }
    let mut response = http::get(url, &headers, timeout)?;
    match response.status {
        200 => have = 0,
        206 => {
            let range = response.header("content-range").unwrap_or_default();
            if !range.starts_with(&format!("bytes {have}-")) {
                fs::remove_file(part).map_err(disk)?;
                return Err(Failure::Again(format!("answers byte {have} with the range \"{range}\"")));
            }
        }
        416 => {
            fs::remove_file(part).map_err(disk)?;
            return Err(Failure::Again(format!("has no byte {have}")));
        }
        status @ (408 | 425 | 429 | 500..) => return Err(Failure::Again(format!("answers {status}"))),
        status => return Err(Failure::Useless(format!("answers {status}"))),
    }
    if let Some(rest) = response.header("content-length").and_then(|length| length.parse::<u64>().ok())
        && have.saturating_add(rest) != archive.bytes
    {
        let offered = have.saturating_add(rest);
        return Err(Failure::Useless(format!("offers {offered} bytes; expected {}", archive.bytes)));
    }
    let mut file = File::options().create(true).append(true).open(part).map_err(disk)?;
    file.set_len(have).map_err(disk)?;
    progress.at(have);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = match response.body.read(&mut buffer) {
            Ok(0) if have < archive.bytes => {
                return Err(Failure::Again(format!("ended after {have} of {} bytes", archive.bytes)));
            }
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Err(Failure::Again(format!("cut after {have} of {} bytes: {error}", archive.bytes))),
        };
        have += count as u64;
        if have > archive.bytes {
            drop(file);
            fs::remove_file(part).map_err(disk)?;
            return Err(Failure::Useless(format!("sends more than the {} bytes it should", archive.bytes)));
        }
        file.write_all(&buffer[..count]).map_err(disk)?;
        progress.at(have);
    }
    file.sync_all().map_err(disk)
}

/// Bytes of a file; 0 if there is none.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Whether a file has the size and the checksum of the archive.
fn check(archive: &Archive, path: &Path) -> Result<(), String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let found = file.metadata().map_err(|error| error.to_string())?.len();
    if found != archive.bytes {
        return Err(format!("has {found} bytes; expected {}", archive.bytes));
    }
    if archive.sha256 == Checksum::Unknown {
        return Ok(());
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(|error| error.to_string())? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    let found = Checksum::from_digest(hash.finalize().as_slice());
    if !archive.sha256.admits(&found) {
        return Err(format!("is another file: its SHA-256 is {found}, expected {}", archive.sha256));
    }
    Ok(())
}
