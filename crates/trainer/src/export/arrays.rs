//! Arrays that grow row by row on the disk, so that a large export needs little memory.
use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::What;

/// How the numbers of an array are stored, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers of a network in f32 or a narrower format.
    F32,
    /// Numbers of a network in f64.
    F64,
    /// Classes, tokens, indices.
    I64,
}

impl Kind {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

/// One array.
#[derive(Debug)]
pub struct Array {
    /// Its name in the file.
    pub name: String,
    /// What it is part of.
    pub what: What,
    /// How its numbers are stored.
    pub kind: Kind,
    /// Its shape; the first axis grows.
    pub shape: Vec<usize>,
    spool: BufWriter<File>,
}

impl Array {
    /// Number of bytes.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().map(|&n| n as u64).product::<u64>() * self.kind.bytes() as u64
    }

    /// Copies its numbers to `out`, row-major.
    ///
    /// # Errors
    /// If either side fails.
    pub fn copy_to(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let mut file = self.spool.get_ref();
        file.seek(SeekFrom::Start(0))?;
        let copied = io::copy(&mut file, out)?;
        anyhow::ensure!(copied == self.bytes(), "{}: {copied} bytes are not its shape's {}", self.name, self.bytes());
        Ok(())
    }
}

/// The arrays of an export, in the order in which they were begun. Their numbers stand in nameless files in one folder.
#[derive(Debug)]
pub struct Arrays {
    folder: PathBuf,
    arrays: Vec<Array>,
}

impl Arrays {
    /// None yet; numbers are kept in `folder`, which should be on the disk that the export goes to.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), arrays: Vec::new() }
    }

    /// Adds rows to the array `name`, which begins with its first rows.
    ///
    /// # Errors
    /// If the disk is full, or the rows are not like those before.
    pub fn add(
        &mut self,
        what: What,
        name: &str,
        kind: Kind,
        shape: &[usize],
        numbers: impl Iterator<Item = Number>,
    ) -> anyhow::Result<()> {
        let array = match self.arrays.iter().position(|array| array.name == name) {
            Some(i) => {
                let array = &mut self.arrays[i];
                anyhow::ensure!(
                    array.shape[1..] == shape[1..] && array.kind == kind,
                    "{name}: rows of shape {:?} after rows of shape {:?}",
                    &shape[1..],
                    &array.shape[1..]
                );
                array.shape[0] += shape[0];
                array
            }
            None => {
                let spool = tempfile::tempfile_in(&self.folder)
                    .with_context(|| format!("cannot write in {}", self.folder.display()))?;
                let (name, shape, spool) = (name.to_owned(), shape.to_vec(), BufWriter::new(spool));
                self.arrays.push(Array { name, what, kind, shape, spool });
                self.arrays.last_mut().expect("it was just added")
            }
        };
        for number in numbers {
            match (number, kind) {
                (Number::Float(value), Kind::F32) => array.spool.write_all(&(value as f32).to_le_bytes()),
                (Number::Float(value), _) => array.spool.write_all(&value.to_le_bytes()),
                (Number::Int(value), _) => array.spool.write_all(&value.to_le_bytes()),
            }?;
        }
        array.spool.flush()?;
        Ok(())
    }

    /// Those that belong to something.
    pub fn of<'a>(&'a self, what: &'a [What]) -> impl Iterator<Item = &'a Array> {
        self.arrays.iter().filter(|array| what.contains(&array.what))
    }
}

/// A number on its way to a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Exact for every float format up to f64.
    Float(f64),
    /// A class, token or index.
    Int(i64),
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Three arrays of all kinds, one of them in two pieces.
    pub fn some(folder: &Path) -> Arrays {
        let mut arrays = Arrays::new(folder);
        let floats = |values: &'static [f64]| values.iter().map(|&value| Number::Float(value));
        arrays.add(What::Block, "block/a", Kind::F32, &[1, 2], floats(&[0.5, -0.0])).unwrap();
        arrays.add(What::Targets, "targets", Kind::I64, &[3], [7, -1, 1 << 40].map(Number::Int).into_iter()).unwrap();
        arrays.add(What::Logits, "logits", Kind::F64, &[1, 1], floats(&[0.1])).unwrap();
        arrays.add(What::Block, "block/a", Kind::F32, &[2, 2], floats(&[1.0, f64::NEG_INFINITY, 3.0, 1e-45])).unwrap();
        arrays
    }

    #[test]
    fn rows_come_one_after_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut arrays = some(folder.path());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the files have no name");
        let block = arrays.of(&[What::Block]).next().unwrap();
        assert_eq!((block.shape.as_slice(), block.bytes()), (&[3, 2][..], 24));
        let mut bytes = Vec::new();
        block.copy_to(&mut bytes).unwrap();
        let values: Vec<f32> = bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(values, [0.5, -0.0, 1.0, f32::NEG_INFINITY, 3.0, 1e-45]);
        let error = arrays.add(What::Block, "block/a", Kind::F32, &[1, 3], std::iter::empty()).unwrap_err();
        assert_eq!(error.to_string(), "block/a: rows of shape [3] after rows of shape [2]");
        // A promise of more numbers than came is found when they are copied.
        arrays.add(What::Logits, "logits", Kind::F64, &[1, 1], std::iter::empty()).unwrap();
        let error = arrays.of(&[What::Logits]).next().unwrap().copy_to(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("8 bytes are not its shape's 16"), "{error}");
    }
}
