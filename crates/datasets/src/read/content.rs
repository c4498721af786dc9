//! The plain content of a file that may be gzip-compressed.
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::GzDecoder;

use super::Fault;
use crate::manifest::{Checksum, FileEntry};

/// No file of a data set is larger than this, whatever it says about itself: 2 GiB.
pub(super) const MAX_BYTES: u64 = 1 << 31;

/// The first bytes of a gzip stream (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The plain content of the file at `path`, which must be what the manifest says of `entry`: its size and its checksum,
/// where they are known.
///
/// # Errors
/// If the file cannot be read, is damaged, or is not that file.
pub fn read(path: &Path, entry: &FileEntry) -> Result<Vec<u8>, Fault> {
    let bytes = plain(path, entry.bytes)?;
    check_size(path, bytes.len() as u64, entry.bytes)?;
    if entry.sha256 != Checksum::Unknown {
        let found = Checksum::of(&bytes);
        if !entry.sha256.admits(&found) {
            return Err(Fault::new(
                path,
                format!("is another file: the SHA-256 of its content is {found}, expected {}", entry.sha256),
            ));
        }
    }
    Ok(bytes)
}

fn plain(path: &Path, expected: Option<u64>) -> Result<Vec<u8>, Fault> {
    let io = |error: std::io::Error| Fault::io(path, &error);
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let start = reader.fill_buf().map_err(io)?;
    let is_gzip = start.starts_with(&GZIP);
    let named_gzip = path.extension().is_some_and(|extension| extension == "gz");
    if named_gzip && !is_gzip {
        let found: Vec<String> = start.iter().take(2).map(|byte| format!("{byte:02x}")).collect();
        return Err(Fault::at(path, 0, format!("is no gzip file: begins with [{}], not [1f 8b]", found.join(" "))));
    }
    if is_gzip && !named_gzip {
        return Err(Fault::at(path, 0, "begins as a gzip file does; name it so, with the ending .gz"));
    }
    // One byte more than there may be shows that there is more, and a file that swells without end stops here.
    let limit = expected.unwrap_or(MAX_BYTES) + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(expected.unwrap_or(0).min(MAX_BYTES)).unwrap_or(0) + 1);
    if !is_gzip {
        reader.take(limit).read_to_end(&mut bytes).map_err(io)?;
        return Ok(bytes);
    }
    let mut decoder = GzDecoder::new(reader);
    let decoded = (&mut decoder).take(limit).read_to_end(&mut bytes);
    decoded.map_err(|error| Fault::at(path, bytes.len(), format!("the gzip stream is damaged: {error}")))?;
    if (bytes.len() as u64) < limit {
        let mut rest = decoder.into_inner();
        if !rest.fill_buf().map_err(io)?.is_empty() {
            return Err(Fault::new(path, "has more bytes after the end of its gzip stream"));
        }
    }
    Ok(bytes)
}

/// # Errors
/// If the content has another size.
fn check_size(path: &Path, found: u64, expected: Option<u64>) -> Result<(), Fault> {
    match expected {
        Some(expected) if found < expected => {
            let message = format!("ends here, after {found} of {expected} bytes");
            Err(Fault { offset: Some(found), ..Fault::new(path, message) })
        }
        Some(expected) if found > expected => {
            let message = format!("goes on after the {expected} bytes it should have");
            Err(Fault { offset: Some(expected), ..Fault::new(path, message) })
        }
        None if found > MAX_BYTES => Err(Fault::new(path, format!("has more than {MAX_BYTES} bytes"))),
        _ => Ok(()),
    }
}
