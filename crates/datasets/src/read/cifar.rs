//! CIFAR files: records of labels and image.
use std::path::Path;

use super::{Fault, Labelled, labels::check_labels};
use crate::Matrix;

/// How a record is built: `label_bytes` labels, of which number `label_at` counts, then `channels · height · width`
/// bytes, channel after channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Labels before each image.
    pub label_bytes: usize,
    /// Which of them is the class.
    pub label_at: usize,
    /// Bytes of an image.
    pub image: usize,
}

/// The images of a file with their labels, each label below `classes`.
///
/// # Errors
/// If the file does not consist of whole records or a label is none of the classes.
pub fn read(file: &Path, bytes: &[u8], record: Record, classes: usize) -> Result<Labelled, Fault> {
    let Record { label_bytes, label_at, image } = record;
    let length = label_bytes + image;
    let (count, rest) = (bytes.len() / length, bytes.len() % length);
    if rest > 0 {
        let message = format!("ends within record {count}, after {rest} of its {length} bytes");
        return Err(Fault::at(file, bytes.len(), message));
    }
    let records = || bytes.chunks_exact(length);
    check_labels(file, records().map(|record| record[label_at]), classes, |i| i * length + label_at)?;
    let mut images = Vec::with_capacity(count * image);
    records().for_each(|record| images.extend_from_slice(&record[label_bytes..]));
    let labels = records().map(|record| record[label_at]).collect();
    Ok(Labelled { images: Matrix::new(images, image), labels })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record = Record { label_bytes: 2, label_at: 1, image: 3 };

    #[test]
    fn records_are_taken_apart() {
        let read = read(Path::new("x"), &[9, 0, 1, 2, 3, 8, 1, 4, 5, 6], RECORD, 2).unwrap();
        assert_eq!((read.labels, read.images.values()), (vec![0, 1], &[1, 2, 3, 4, 5, 6][..]));
        let coarse = Record { label_at: 0, ..RECORD };
        assert_eq!(super::read(Path::new("x"), &[1, 7, 1, 2, 3], coarse, 2).unwrap().labels, [1]);
    }

    #[test]
    fn cut_records_and_strange_labels_are_refused() {
        let message = |bytes: &[u8]| read(Path::new("x"), bytes, RECORD, 2).unwrap_err().to_string();
        assert_eq!(message(&[9, 0, 1, 2, 3, 8, 1]), "x: byte 7: ends within record 1, after 2 of its 5 bytes");
        assert_eq!(message(&[9, 0, 1, 2, 3, 8, 2, 4, 5, 6]), "x: byte 6: label 2 of image 1 is none of the 2 classes");
    }
}
