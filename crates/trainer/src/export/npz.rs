//! NumPy's format: a zip of `.npy` files, one for each array.
//!
//! The `.npy` header is version 1.0 of NumPy's `numpy.lib.format`. The zip is the plainest there is: files are stored as they
//! are, and every size is one of 64 bits (PKWARE's APPNOTE.TXT, 4.3 to 4.5), so that large and small exports are written alike.
use std::io::{BufWriter, Seek, SeekFrom, Write};

use super::{Array, Kind};

/// Version of the format that knows sizes of 64 bits.
const VERSION: u16 = 45;

/// What stands in place of a size that does not fit 32 bits; the size is in the extra field.
const ELSEWHERE: u32 = u32::MAX;

/// The first day of the format's calendar: an export depends on nothing but the arrays.
const DATE: u16 = 1 << 5 | 1;

/// A file inside the zip.
struct Member {
    name: String,
    crc: u32,
    size: u64,
    start: u64,
}

/// Writes arrays that `numpy.load` reads.
///
/// # Errors
/// If `out` fails.
pub fn write(out: &mut (impl Write + Seek), arrays: &[&Array]) -> anyhow::Result<()> {
    let mut out = BufWriter::new(out);
    let mut members = Vec::new();
    for array in arrays {
        let header = header(array.kind, &array.shape);
        let mut member = Member {
            name: format!("{}.npy", array.name),
            crc: 0,
            size: header.len() as u64 + array.bytes(),
            start: out.stream_position()?,
        };
        out.write_all(&member.local())?;
        let mut summed = Summed { out: &mut out, crc: crc32fast::Hasher::new() };
        summed.write_all(&header)?;
        array.copy_to(&mut summed)?;
        member.crc = summed.crc.finalize();
        // Now that the sum is known, the header gets it.
        let end = out.stream_position()?;
        out.seek(SeekFrom::Start(member.start))?;
        out.write_all(&member.local())?;
        out.seek(SeekFrom::Start(end))?;
        members.push(member);
    }
    let directory = out.stream_position()?;
    for member in &members {
        out.write_all(&member.central())?;
    }
    let end = out.stream_position()?;
    out.write_all(&ends(members.len() as u64, directory, end))?;
    out.flush()?;
    Ok(())
}

/// Passes bytes on and sums them up.
struct Summed<W> {
    out: W,
    crc: crc32fast::Hasher,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.crc.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

impl Member {
    /// The header in front of the file.
    fn local(&self) -> Vec<u8> {
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.extend(self.shared());
        bytes.extend(self.name.as_bytes());
        bytes.extend(extra(&[self.size, self.size]));
        bytes
    }

    /// The entry in the directory.
    fn central(&self) -> Vec<u8> {
        let mut bytes = b"PK\x01\x02".to_vec();
        bytes.extend(VERSION.to_le_bytes()); // made by
        bytes.extend(self.shared());
        // The extra field holds one size more than the shared part says: where the file starts.
        let length = bytes.len();
        bytes[length - 2..].copy_from_slice(&(4 + 3 * 8_u16).to_le_bytes());
        bytes.extend([0; 2 + 2 + 2 + 4]); // comment, disk, attributes of two kinds
        bytes.extend(ELSEWHERE.to_le_bytes());
        bytes.extend(self.name.as_bytes());
        bytes.extend(extra(&[self.size, self.size, self.start]));
        bytes
    }

    /// What both have, to the length of an extra field of two sizes.
    fn shared(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec(); // to be read by
        bytes.extend([0; 2 + 2 + 2]); // flags, stored as it is, midnight
        bytes.extend(DATE.to_le_bytes());
        bytes.extend(self.crc.to_le_bytes());
        bytes.extend(ELSEWHERE.to_le_bytes()); // stored size
        bytes.extend(ELSEWHERE.to_le_bytes()); // size
        bytes.extend((self.name.len() as u16).to_le_bytes());
        bytes.extend((4 + 2 * 8_u16).to_le_bytes());
        bytes
    }
}

/// The extra field of sizes of 64 bits.
fn extra(sizes: &[u64]) -> Vec<u8> {
    let mut bytes = 1_u16.to_le_bytes().to_vec();
    bytes.extend((sizes.len() as u16 * 8).to_le_bytes());
    bytes.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
    bytes
}

/// What closes the zip: where the directory of so many entries stands, in 64 bits, where that record is, and its old form.
fn ends(entries: u64, directory: u64, end: u64) -> Vec<u8> {
    let mut bytes = b"PK\x06\x06".to_vec();
    bytes.extend(44_u64.to_le_bytes()); // bytes of this record that follow
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend([0; 4 + 4]); // the only disk
    for number in [entries, entries, end - directory, directory] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(b"PK\x06\x07");
    bytes.extend([0; 4]); // its disk
    bytes.extend(end.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes()); // disks
    bytes.extend(b"PK\x05\x06");
    bytes.extend([0; 2 + 2]);
    bytes.extend([0xff; 2 + 2 + 4 + 4]); // all of it in the record above
    bytes.extend([0; 2]); // comment
    bytes
}

/// What stands before an array's numbers; the numbers begin at a multiple of 64 bytes.
fn header(kind: Kind, shape: &[usize]) -> Vec<u8> {
    const BEFORE: usize = 10; // magic, version and the length of the text
    let kind = match kind {
        Kind::F32 => "<f4",
        Kind::F64 => "<f8",
        Kind::I64 => "<i8",
    };
    let shape = match shape {
        // A Python tuple of one has a comma too.
        [n] => format!("{n},"),
        shape => shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
    };
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    let length = (BEFORE + text.len() + 1).next_multiple_of(64) - BEFORE;
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((length as u16).to_le_bytes());
    header.extend(format!("{text:<width$}\n", width = length - 1).as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::{super::arrays::tests::some, *};
    use crate::export::What;

    #[test]
    fn headers_are_those_of_numpy() {
        // As numpy 2 writes them for np.zeros((3,), 'f8') and np.zeros((2, 5), 'f4').
        let text = |kind, shape: &[usize]| {
            let header = header(kind, shape);
            assert_eq!((&header[..8], header.len() % 64), (&b"\x93NUMPY\x01\x00"[..], 0));
            assert_eq!(u16::from_le_bytes([header[8], header[9]]) as usize, header.len() - 10);
            assert_eq!(header.last(), Some(&b'\n'));
            String::from_utf8(header[10..].to_vec()).unwrap().trim_end().to_owned()
        };
        assert_eq!(text(Kind::F64, &[3]), "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }");
        assert_eq!(text(Kind::F32, &[2, 5]), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 5), }");
        assert_eq!(text(Kind::I64, &[]), "{'descr': '<i8', 'fortran_order': False, 'shape': (), }");
    }

    #[test]
    fn a_zip_holds_the_arrays_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let arrays = some(folder.path());
        let chosen: Vec<&Array> = arrays.of(&[What::Targets, What::Block]).collect();
        let mut file = Cursor::new(Vec::new());
        write(&mut file, &chosen).unwrap();
        let file = file.into_inner();
        let number = |at: usize, bytes: usize| {
            file[at..at + bytes].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)) as usize
        };
        // From the end to the directory, from there to the files.
        let end = file.len() - 22;
        assert_eq!((&file[end..end + 4], &file[end - 20..end - 16]), (&b"PK\x05\x06"[..], &b"PK\x06\x07"[..]));
        let record = number(end - 12, 8);
        assert_eq!((&file[record..record + 4], record + 56), (&b"PK\x06\x06"[..], end - 20));
        let (entries, size, mut at) = (number(record + 32, 8), number(record + 40, 8), number(record + 48, 8));
        assert_eq!((entries, at + size), (2, record));
        for (name, bytes) in [("block/a.npy", 24), ("targets.npy", 24)] {
            assert_eq!(&file[at..at + 4], b"PK\x01\x02");
            let length = number(at + 28, 2);
            assert_eq!(&file[at + 46..at + 46 + length], name.as_bytes());
            let extra = at + 46 + length;
            let (size, start) = (number(extra + 4, 8), number(extra + 20, 8));
            assert_eq!((number(extra, 2), number(extra + 2, 2), number(extra + 12, 8)), (1, 24, size));
            assert_eq!(&file[start..start + 4], b"PK\x03\x04");
            // Version to length of the name: once in front of the file, once in the directory.
            assert_eq!(file[start + 4..start + 28], file[at + 6..at + 30]);
            let content = start + 30 + length + 20;
            assert_eq!((size - bytes) % 64, 0, "the numbers stand behind a header");
            assert_eq!(number(at + 16, 4) as u32, crc32fast::hash(&file[content..content + size]));
            at = extra + 28;
        }
    }
}
