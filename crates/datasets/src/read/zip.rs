//! Zip files: the list of their entries and the content of each.
//!
//! Only what data sets come in is read: entries that are stored or deflated, below 4 GiB, neither encrypted nor spread over
//! several files. The format is that of PKWARE's APPNOTE.TXT 6.3: local headers with their data, then the central directory,
//! then its end record.
use std::{fs, io::Read, path::Path, sync::Arc};

use flate2::{Crc, read::DeflateDecoder};

use super::{Fault, content::MAX_BYTES};
use crate::manifest::is_inside;

const END: &[u8; 4] = b"PK\x05\x06";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const LOCAL: &[u8; 4] = b"PK\x03\x04";
/// Bytes of the end record without its comment.
const END_LENGTH: usize = 22;
/// A comment's length is given by 16 bits.
const MAX_COMMENT: usize = u16::MAX as usize;
/// The file type bits of Unix modes, and a link's and a plain file's.
const TYPE_MASK: u32 = 0o170_000;
const TYPE_LINK: u32 = 0o120_000;
const TYPE_FILE: u32 = 0o100_000;
/// The system number of Unix in `version made by`.
const UNIX: u8 = 3;
/// Zeros deflate to a 1032nd of their size; what claims to be packed tighter is made to fill memory.
const MAX_RATIO: u64 = 1100;

/// A zip file in memory. Clones share its bytes.
#[derive(Clone)]
pub struct Zip {
    bytes: Arc<[u8]>,
    entries: Arc<[Entry]>,
}

/// An entry as the central directory describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path, `/` between names; a folder's ends in `/`.
    pub name: String,
    /// Bytes of its content.
    pub size: u64,
    deflated: bool,
    packed: u64,
    crc: u32,
    /// Where its local header begins.
    header: usize,
}

impl Zip {
    /// Reads a file and its central directory.
    ///
    /// # Errors
    /// If the file cannot be read, is no whole zip file, or holds anything but plain files and folders that stay inside.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let io = |error: std::io::Error| Fault::io(path, &error);
        let length = fs::metadata(path).map_err(io)?.len();
        if length > MAX_BYTES {
            return Err(Fault::new(path, format!("has {length} bytes; expected at most {MAX_BYTES}")));
        }
        Self::parse(path, fs::read(path).map_err(io)?)
    }

    fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, Fault> {
        if !bytes.starts_with(LOCAL) && !bytes.starts_with(END) {
            return Err(Fault::at(path, 0, "is no zip file: does not begin with [50 4b 03 04]"));
        }
        let no_end =
            || Fault::at(path, bytes.len(), "ends before the end record of a zip file; a part of it is missing");
        let first = bytes.len().saturating_sub(END_LENGTH + MAX_COMMENT);
        let last = bytes.len().checked_sub(END_LENGTH).ok_or_else(no_end)?;
        let is_end = |at: &usize| {
            let comment = usize::from(u16_at(&bytes, at + 20));
            bytes[*at..].starts_with(END) && at + END_LENGTH + comment == bytes.len()
        };
        let end = (first..=last).rev().find(is_end).ok_or_else(no_end)?;
        let count = u16_at(&bytes, end + 10);
        if (u16_at(&bytes, end + 4), u16_at(&bytes, end + 8)) != (0, count) {
            return Err(Fault::at(path, end + 4, "is one of several files of an archive; expected a whole one"));
        }
        let (size, start) = (u32_at(&bytes, end + 12) as usize, u32_at(&bytes, end + 16) as usize);
        if count == u16::MAX || start == u32::MAX as usize {
            return Err(Fault::at(path, end, "is a zip file in the 64-bit form, which is not read"));
        }
        if start.checked_add(size) != Some(end) {
            return Err(Fault::at(path, end + 12, "the central directory is not where the end record says it is"));
        }
        let mut entries = Vec::with_capacity(usize::from(count));
        let mut at = start;
        for i in 0..count {
            let (entry, next) = Entry::parse(path, &bytes[..end], at, i)?;
            entries.push(entry);
            at = next;
        }
        if at != end {
            return Err(Fault::at(path, at, format!("the central directory goes on after its {count} entries")));
        }
        Ok(Self { bytes: bytes.into(), entries: entries.into() })
    }

    /// Every entry, in the order of the central directory.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The content of an entry of this file, which lies at `path`.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn content(&self, path: &Path, entry: &Entry) -> Result<Vec<u8>, Fault> {
        let file = path.join(&entry.name);
        let header = entry.header;
        let damaged = |what: &str| Fault::at(&file, header, format!("is damaged: {what}"));
        let fixed = self.bytes.get(header..header + 30).filter(|fixed| fixed.starts_with(LOCAL));
        let fixed = fixed.ok_or_else(|| damaged("there is no header at this byte of the archive"))?;
        let start = header + 30 + usize::from(u16_at(fixed, 26)) + usize::from(u16_at(fixed, 28));
        let packed = self.bytes.get(start..).and_then(|rest| rest.get(..entry.packed as usize));
        let packed = packed.ok_or_else(|| damaged("the archive ends within it"))?;
        let content = if entry.deflated {
            let mut content = Vec::with_capacity(entry.size as usize);
            let read = DeflateDecoder::new(packed).take(entry.size + 1).read_to_end(&mut content);
            read.map_err(|error| damaged(&error.to_string()))?;
            content
        } else {
            packed.to_vec()
        };
        if content.len() as u64 != entry.size {
            return Err(damaged(&format!("its content has another size than {} bytes", entry.size)));
        }
        let mut crc = Crc::new();
        crc.update(&content);
        if crc.sum() != entry.crc {
            return Err(damaged(&format!(
                "the checksum of its content is {:08x}, expected {:08x}",
                crc.sum(),
                entry.crc
            )));
        }
        Ok(content)
    }
}

impl Entry {
    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }

    /// The entry whose central header begins at byte `at`, and where the next one begins.
    fn parse(path: &Path, bytes: &[u8], at: usize, i: u16) -> Result<(Self, usize), Fault> {
        let header = bytes.get(at..).filter(|rest| rest.starts_with(CENTRAL) && rest.len() >= 46);
        let header = header.ok_or_else(|| Fault::at(path, at, format!("there is no central header of entry {i}")))?;
        let length = |at: usize| usize::from(u16_at(header, at));
        let name_end = 46 + length(28);
        let next = name_end + length(30) + length(32);
        if next > header.len() {
            return Err(Fault::at(path, at, format!("the central header of entry {i} ends beyond the directory")));
        }
        let name = std::str::from_utf8(&header[46..name_end])
            .map_err(|_| Fault::at(path, at + 46, format!("the name of entry {i} is not UTF-8")))?;
        let refuse = |what: &str| Err(Fault::at(path.join(name), at, what));
        let (made_by, flags, method) = (header[5], u16_at(header, 8), u16_at(header, 10));
        let kind = u32_at(header, 38) >> 16 & TYPE_MASK;
        if !is_inside(name.strip_suffix('/').unwrap_or(name)) {
            return refuse("leads out of the archive");
        }
        if made_by == UNIX && kind == TYPE_LINK {
            return refuse("is a link, which no data set needs");
        }
        if made_by == UNIX && !name.ends_with('/') && kind != 0 && kind != TYPE_FILE {
            return refuse("is neither a file nor a folder");
        }
        if flags & 1 != 0 {
            return refuse("is encrypted");
        }
        if method != 0 && method != 8 {
            return refuse(&format!("is packed by method {method}; expected 0, stored, or 8, deflated"));
        }
        let (packed, size) = (u64::from(u32_at(header, 20)), u64::from(u32_at(header, 24)));
        if method == 0 && packed != size {
            return refuse(&format!("is stored in {packed} bytes, but has {size}"));
        }
        if size > packed.saturating_mul(MAX_RATIO) {
            return refuse(&format!("would swell from {packed} to {size} bytes"));
        }
        let entry = Self {
            name: name.to_owned(),
            size,
            deflated: method == 8,
            packed,
            crc: u32_at(header, 16),
            header: u32_at(header, 42) as usize,
        };
        Ok((entry, at + next))
    }
}

/// # Panics
/// If the bytes end before.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::read::testing::{patched, zip};

    fn open(bytes: Vec<u8>) -> Result<Zip, String> {
        Zip::parse(Path::new("a.zip"), bytes).map_err(|fault| fault.to_string())
    }

    fn contents(zip: &Zip) -> Result<Vec<(String, Vec<u8>)>, String> {
        let content = |entry: &Entry| Ok((entry.name.clone(), zip.content(Path::new("a.zip"), entry)?));
        zip.entries().iter().map(content).collect::<Result<_, Fault>>().map_err(|fault| fault.to_string())
    }

    /// The first entry is deflated, the others are stored.
    fn small() -> Vec<u8> {
        zip(&[("a/b.txt", &[7; 300]), ("a/", &[]), ("c.txt", b"abcabc")])
    }

    #[test]
    fn entries_are_listed_and_unpacked() {
        let zip = open(small()).unwrap();
        let names: Vec<_> = zip.entries().iter().map(|entry| (entry.name.as_str(), entry.is_folder())).collect();
        assert_eq!(names, [("a/b.txt", false), ("a/", true), ("c.txt", false)]);
        let contents = contents(&zip).unwrap();
        assert_eq!((&contents[0].1, &contents[2].1[..]), (&vec![7; 300], &b"abcabc"[..]));
    }

    /// One stored entry `x` of the bytes `hi`, laid out by hand from APPNOTE.TXT, with a file's Unix mode.
    #[test]
    fn a_file_laid_out_by_hand_is_read() {
        let mut bytes = b"PK\x03\x04\x14\0\0\0\0\0\0\0!\0\xac*\x93\xd8\x02\0\0\0\x02\0\0\0\x01\0\0\0xhi".to_vec();
        let start = bytes.len() as u8;
        bytes.extend(b"PK\x01\x02\x14\x03\x14\0\0\0\0\0\0\0!\0\xac*\x93\xd8\x02\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x80\x01\0\0\0\0x");
        let size = bytes.len() as u8 - start;
        bytes.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        bytes.extend([size, 0, 0, 0, start, 0, 0, 0, 0, 0]);
        assert_eq!(contents(&open(bytes).unwrap()).unwrap(), [("x".to_owned(), b"hi".to_vec())]);
    }

    #[test]
    fn planted_faults_are_refused_by_name_and_place() {
        let good = small();
        let central = |i: usize| {
            let mut at = (0..good.len()).filter(|&at| good[at..].starts_with(CENTRAL));
            at.nth(i).unwrap()
        };
        let end = good.len() - END_LENGTH;
        let message = |bytes: Vec<u8>| open(bytes).and_then(|zip| contents(&zip).map(drop)).unwrap_err();
        let mode = |kind: u32| (kind << 16).to_le_bytes();
        for (bytes, expected) in [
            (b"hello".to_vec(), "a.zip: byte 0: is no zip file"),
            (good[..end].to_vec(), "ends before the end record"),
            (good[..good.len() - 1].to_vec(), "ends before the end record"),
            (patched(&good, end + 4, &[1]), "is one of several files"),
            (patched(&good, end + 16, &[0xff; 4]), "in the 64-bit form"),
            (patched(&good, end + 12, &[9]), "the central directory is not where the end record says"),
            (patched(&good, end + 8, &[2, 0, 2]), "the central directory goes on after its 2 entries"),
            (patched(&good, end + 8, &[4, 0, 4]), "there is no central header of entry 3"),
            (patched(&good, central(1), b"X"), "there is no central header of entry 1"),
            (patched(&good, central(2) + 28, &[99]), "the central header of entry 2 ends beyond the directory"),
            (patched(&good, central(0) + 46, &[0xff]), "the name of entry 0 is not UTF-8"),
            (patched(&good, central(0) + 46, b"/"), "leads out of the archive"),
            (patched(&good, central(0) + 5, &[UNIX]), ""),
            (patched(&patched(&good, central(0) + 5, &[UNIX]), central(0) + 38, &mode(TYPE_LINK)), "is a link"),
            (
                patched(&patched(&good, central(0) + 5, &[UNIX]), central(0) + 38, &mode(0o060_000)),
                "is neither a file nor",
            ),
            (patched(&good, central(0) + 8, &[1]), "is encrypted"),
            (patched(&good, central(0) + 10, &[12]), "is packed by method 12; expected 0, stored, or 8, deflated"),
            (patched(&good, central(1) + 24, &[5]), "is stored in 0 bytes, but has 5"),
            (patched(&good, central(0) + 24, &[0, 0, 0, 1]), "would swell from"),
            (patched(&good, central(0) + 24, &[9, 1]), "its content has another size than 265 bytes"),
            (patched(&good, central(0) + 16, &[1, 2, 3, 4]), "expected 04030201"),
            (patched(&good, central(0) + 42, &[5]), "there is no header at this byte of the archive"),
            (patched(&good, 40, &[0xff, 0xff]), "a.zip/a/b.txt: byte 0: is damaged"),
        ] {
            if expected.is_empty() {
                assert!(open(bytes).is_ok());
                continue;
            }
            let found = message(bytes);
            assert!(found.contains(expected), "{found}\nnot: {expected}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(
            noise in proptest::collection::vec((0usize..600, any::<u8>()), 0..12), end in 0usize..600, rest in any::<bool>(),
        ) {
            let mut bytes = small();
            for (at, byte) in noise {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            if !rest {
                bytes.truncate(end);
            }
            if let Ok(zip) = open(bytes) {
                let _ = contents(&zip);
            }
        }

        #[test]
        fn what_is_written_is_read_back(files in proptest::collection::vec(proptest::collection::vec(0u8..4, 0..200), 0..6)) {
            let named: Vec<_> = files.iter().enumerate().map(|(i, bytes)| (format!("d/{i}"), bytes.clone())).collect();
            let entries: Vec<_> = named.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
            prop_assert_eq!(contents(&open(zip(&entries)).unwrap()).unwrap(), named);
        }
    }
}
