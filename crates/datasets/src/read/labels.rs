//! Labels as they stand in files.
use std::path::Path;

use super::Fault;

/// Whether each label is a class; `place` is the byte at which label i stands.
///
/// # Errors
/// If one is none of the `classes`.
pub fn check_labels(
    file: &Path,
    mut labels: impl Iterator<Item = u8>,
    classes: usize,
    place: impl Fn(usize) -> usize,
) -> Result<(), Fault> {
    let mut i = 0;
    match labels.find(|&label| {
        i += 1;
        usize::from(label) >= classes
    }) {
        None => Ok(()),
        Some(label) => {
            let message = format!("label {label} of image {} is none of the {classes} classes", i - 1);
            Err(Fault::at(file, place(i - 1), message))
        }
    }
}
