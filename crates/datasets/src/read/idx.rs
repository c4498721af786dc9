//! IDX files: what MNIST and its relatives come in.
use std::path::Path;

use super::{Fault, labels::check_labels};

/// The code of unsigned bytes, the only type that images and labels come in.
const UNSIGNED_BYTE: u8 = 0x08;

/// The dimensions of an IDX file of bytes and where its values begin.
///
/// ```text
/// 0 0 type rank   size_1 … size_rank   values
/// 1 1 1    1      4 each, big-endian   size_1 · … · size_rank
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The size of each dimension.
    pub dims: Vec<usize>,
    /// Bytes before the first value.
    pub length: usize,
}

/// Reads the header of a whole file of unsigned bytes and holds the file's size against it.
///
/// # Errors
/// If the file is no IDX file of unsigned bytes, or has another size than its header says.
pub fn header(file: &Path, bytes: &[u8]) -> Result<Header, Fault> {
    let Some(&[zero, naught, kind, rank]) = bytes.first_chunk() else {
        return Err(Fault::at(file, bytes.len(), "ends within the header of an IDX file"));
    };
    if (zero, naught) != (0, 0) {
        let found = format!("{zero:02x} {naught:02x} {kind:02x} {rank:02x}");
        return Err(Fault::at(file, 0, format!("is no IDX file: begins with [{found}], expected [00 00 08 …]")));
    }
    if kind != UNSIGNED_BYTE {
        let name = match kind {
            0x09 => " (signed bytes)",
            0x0b => " (16-bit integers)",
            0x0c => " (32-bit integers)",
            0x0d => " (32-bit floats)",
            0x0e => " (64-bit floats)",
            _ => "",
        };
        return Err(Fault::at(file, 2, format!("values of type {kind:#04x}{name}; expected 0x08, unsigned bytes")));
    }
    let length = 4 + 4 * usize::from(rank);
    let Some(sizes) = bytes.get(4..length) else {
        return Err(Fault::at(file, bytes.len(), format!("ends within the header of {rank} dimensions")));
    };
    let dims: Vec<usize> =
        sizes.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    let values = dims.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    let Some(expected) = values.and_then(|values| values.checked_add(length)) else {
        return Err(Fault::at(file, 4, format!("dimensions {dims:?} hold more values than there can be")));
    };
    if bytes.len() < expected {
        return Err(Fault::at(
            file,
            bytes.len(),
            format!("ends here; dimensions {dims:?} after a header of {length} need {expected} bytes"),
        ));
    }
    if bytes.len() > expected {
        return Err(Fault::at(file, expected, format!("goes on after the values of dimensions {dims:?}")));
    }
    Ok(Header { dims, length })
}

/// The bytes of `count` grey images of `height` by `width`, one after another.
///
/// # Errors
/// If the file is none of such images.
pub fn images(file: &Path, mut bytes: Vec<u8>, count: usize, [height, width]: [usize; 2]) -> Result<Vec<u8>, Fault> {
    let Header { dims, length } = header(file, &bytes)?;
    check_dims(file, &dims, &[count, height, width], "images")?;
    bytes.drain(..length);
    Ok(bytes)
}

/// The labels of `count` images, each below `classes`.
///
/// # Errors
/// If the file is none of such labels.
pub fn labels(file: &Path, mut bytes: Vec<u8>, count: usize, classes: usize) -> Result<Vec<u8>, Fault> {
    let Header { dims, length } = header(file, &bytes)?;
    check_dims(file, &dims, &[count], "labels")?;
    bytes.drain(..length);
    check_labels(file, bytes.iter().copied(), classes, |i| length + i)?;
    Ok(bytes)
}

fn check_dims(file: &Path, found: &[usize], expected: &[usize], what: &str) -> Result<(), Fault> {
    if found.len() != expected.len() {
        let message = format!("has dimensions {found:?}, which are no {what}; expected {expected:?}");
        return Err(Fault::at(file, 3, message));
    }
    match (0..found.len()).find(|&i| found[i] != expected[i]) {
        None => Ok(()),
        Some(i) => {
            Err(Fault::at(file, 4 + 4 * i, format!("has {what} of dimensions {found:?}; expected {expected:?}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::read::testing::idx;

    #[test]
    fn a_file_written_by_hand_is_read() {
        let file = idx(&[2, 2, 3], &(1..=12).collect::<Vec<u8>>());
        assert_eq!(file[..16], [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3]);
        assert_eq!(images(Path::new("x"), file, 2, [2, 3]).unwrap(), (1..=12).collect::<Vec<u8>>());
        assert_eq!(labels(Path::new("y"), idx(&[3], &[2, 0, 1]), 3, 3).unwrap(), [2, 0, 1]);
    }

    #[test]
    fn files_that_are_something_else_are_refused_by_name_and_offset() {
        let images = |bytes: Vec<u8>| images(Path::new("a/x"), bytes, 2, [2, 3]).unwrap_err().to_string();
        let good = || idx(&[2, 2, 3], &[7; 12]);
        let with = |at: usize, byte: u8| {
            let mut bytes = good();
            bytes[at] = byte;
            bytes
        };
        for (bytes, message) in [
            (vec![], "a/x: byte 0: ends within the header of an IDX file"),
            (with(0, 0x89), "a/x: byte 0: is no IDX file: begins with [89 00 08 03], expected [00 00 08 …]"),
            (with(2, 0x0d), "a/x: byte 2: values of type 0x0d (32-bit floats); expected 0x08, unsigned bytes"),
            (with(2, 0x01), "a/x: byte 2: values of type 0x01; expected 0x08, unsigned bytes"),
            (good()[..9].to_vec(), "a/x: byte 9: ends within the header of 3 dimensions"),
            (good()[..27].to_vec(), "a/x: byte 27: ends here; dimensions [2, 2, 3] after a header of 16 need 28 bytes"),
            ([good(), vec![0]].concat(), "a/x: byte 28: goes on after the values of dimensions [2, 2, 3]"),
            (idx(&[12], &[7; 12]), "a/x: byte 3: has dimensions [12], which are no images; expected [2, 2, 3]"),
            (idx(&[2, 3, 2], &[7; 12]), "a/x: byte 8: has images of dimensions [2, 3, 2]; expected [2, 2, 3]"),
            (idx(&[1, 2, 3], &[7; 6]), "a/x: byte 4: has images of dimensions [1, 2, 3]; expected [2, 2, 3]"),
        ] {
            assert_eq!(images(bytes), message);
        }
        let mut huge = vec![0, 0, 8, 3];
        huge.extend([0xff; 12]);
        assert!(images(huge).contains("hold more values than there can be"));
        let message = labels(Path::new("y"), idx(&[3], &[2, 3, 1]), 3, 3).unwrap_err().to_string();
        assert_eq!(message, "y: byte 9: label 3 of image 1 is none of the 3 classes");
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..80), small in any::<bool>()) {
            let mut bytes = bytes;
            if small && bytes.len() >= 4 {
                bytes[..3].copy_from_slice(&[0, 0, 8]);
                bytes[3] %= 5;
            }
            if let Ok(Header { dims, length }) = header(Path::new("x"), &bytes) {
                prop_assert_eq!(length + dims.iter().product::<usize>(), bytes.len());
            }
        }

        #[test]
        fn what_is_written_is_read_back(dims in proptest::collection::vec(1usize..5, 1..4), byte: u8) {
            let values = vec![byte; dims.iter().product()];
            let file = idx(&dims, &values);
            let header = header(Path::new("x"), &file).unwrap();
            prop_assert_eq!(&file[header.length..], &values[..]);
            prop_assert_eq!(header.dims, dims);
            // Any cut is seen.
            for end in 0..file.len() {
                prop_assert!(super::header(Path::new("x"), &file[..end]).is_err());
            }
        }
    }
}
