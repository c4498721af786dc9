//! Archives taken apart, within bounds.
use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::Path,
};

use flate2::read::GzDecoder;
use kiln_datasets::{
    manifest::{Archive, Form, Pack, is_inside},
    read::zip::Zip,
};
use tar::EntryType;

use crate::FetchError;

/// No archive of a data set holds more than this: 4 GiB.
const MAX_BYTES: u64 = 1 << 32;
/// Nor more entries.
const MAX_ENTRIES: usize = 1 << 17;
/// Zeros deflate to a 1032nd of their size; what swells more is made to fill the disk.
const MAX_RATIO: u64 = 1100;

/// The name of the one file in a gzip archive.
pub fn plain_name(archive: &str) -> &str {
    archive.strip_suffix(".gz").unwrap_or(archive)
}

/// Unpacks those files of an archive that the form names into the folder `target`.
///
/// # Errors
/// If the archive is damaged, holds anything but files and folders that stay inside, or is larger than any data set.
pub fn unpack(archive: &Archive, packed: &Path, form: &Form, target: &Path) -> Result<(), FetchError> {
    let refuse = |what: String| FetchError::Archive { archive: packed.to_owned(), what };
    let open = || File::open(packed).map(BufReader::new).map_err(FetchError::io(packed));
    let wanted = |path: &str| form.files.iter().any(|file| file.path == path);
    let most = MAX_BYTES.min(archive.bytes.saturating_mul(MAX_RATIO));
    match archive.pack {
        Pack::Gzip => {
            let name = plain_name(&archive.name);
            let written = write(&mut GzDecoder::new(open()?), target, name, most);
            let bytes = written?.map_err(|error| refuse(format!("is damaged: {error}")))?;
            if bytes > most { Err(refuse(format!("swells to more than {most} bytes"))) } else { Ok(()) }
        }
        Pack::TarGz => {
            // The bound holds for headers and padding too.
            let mut archive = tar::Archive::new(GzDecoder::new(open()?).take(most));
            let damaged = |error: io::Error| refuse(format!("is damaged: {error}"));
            let mut total = 0u64;
            for (count, entry) in archive.entries().map_err(damaged)?.enumerate() {
                let mut entry = entry.map_err(damaged)?;
                let path = String::from_utf8(entry.path_bytes().into_owned())
                    .map_err(|_| refuse(format!("the name of entry {count} is not UTF-8")))?;
                let path = path.trim_start_matches("./").trim_end_matches('/');
                total = total.saturating_add(entry.size());
                if count >= MAX_ENTRIES {
                    return Err(refuse(format!("holds more than {MAX_ENTRIES} entries")));
                }
                if total > most {
                    return Err(refuse(format!("swells to more than {most} bytes at {path}")));
                }
                match entry.header().entry_type() {
                    EntryType::XGlobalHeader => continue,
                    EntryType::Regular | EntryType::Continuous | EntryType::Directory => {}
                    EntryType::Link | EntryType::Symlink => {
                        return Err(refuse(format!("{path} is a link, which no data set needs")));
                    }
                    other => return Err(refuse(format!("{path} is neither a file nor a folder, but {other:?}"))),
                }
                if !path.is_empty() && !is_inside(path) {
                    return Err(refuse(format!("\"{path}\" leads out of the archive")));
                }
                if entry.header().entry_type().is_file() && wanted(path) {
                    write(&mut entry, target, path, most)?.map_err(damaged)?;
                }
            }
            // The tape ends before its compressed stream does, and the stream's own checksum stands at the end.
            io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
            Ok(())
        }
        Pack::Zip => {
            let zip = Zip::open(packed).map_err(|fault| refuse(fault.what))?;
            let total = zip.entries().iter().fold(0u64, |total, entry| total.saturating_add(entry.size));
            if zip.entries().len() > MAX_ENTRIES || total > most {
                return Err(refuse(format!("holds {} entries of {total} bytes", zip.entries().len())));
            }
            for entry in zip.entries().iter().filter(|entry| wanted(&entry.name)) {
                let content = zip.content(packed, entry).map_err(|fault| refuse(fault.to_string()))?;
                write(&mut content.as_slice(), target, &entry.name, most)?
                    .map_err(|error| refuse(error.to_string()))?;
            }
            Ok(())
        }
    }
}

/// Writes at most one byte more than `most` to `target/path`: how many it was, or the fault of the archive it is read from.
///
/// # Errors
/// If the disk does not take it.
fn write(content: &mut dyn Read, target: &Path, path: &str, most: u64) -> Result<Result<u64, io::Error>, FetchError> {
    let place = target.join(path);
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(FetchError::io(parent))?;
    }
    let mut file = BufWriter::new(File::create(&place).map_err(FetchError::io(&place))?);
    let mut content = content.take(most.saturating_add(1));
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Ok(Err(error)),
        };
        file.write_all(&buffer[..count]).map_err(FetchError::io(&place))?;
        bytes += count as u64;
    }
    let file = file.into_inner().map_err(|error| FetchError::io(&place)(error.into_error()))?;
    file.sync_all().map_err(FetchError::io(&place))?;
    Ok(Ok(bytes))
}
