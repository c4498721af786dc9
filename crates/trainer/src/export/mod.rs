//! What `kiln eval --export` writes: weights, or what a network computes on its way for the rows of a set, as arrays.
//!
//! | name | arrays, by name | shape |
//! |---|---|---|
//! | `attention` | `attention/blocks.0` … | `[rows, heads, queries, keys]`; masked entries are 0 |
//! | `scores` | `scores/blocks.0` … | the same, before the map; masked entries are −∞ |
//! | `block` | `block/blocks.0`, `block/layers.0` … | what each block or hidden layer gives, rows first |
//! | `features` | `features` | `[answers, width]`: what the head reads |
//! | `logits` | `logits` | `[answers, outputs]` |
//! | `embeddings` | `embeddings/inputs`, `embeddings/classes` | a vector per token or one-hot index; one per class |
//! | `inputs` | `inputs` | what the network was given |
//! | `targets` | `targets` | `[answers]` classes, or values; comes with everything that has rows |
//! | `weights` | the parameters, by their names | alone, in a .safetensors file |
//!
//! What follows the slash is the part of the network, as in the names of its weights. An array has a row per answer, place
//! after place, where a row of the set is asked at several places. A last block that computes the last position only has one
//! query. Arrays are f64 for a network in f64 and f32 for every other; classes and tokens are i64.
mod arrays;
mod npz;
mod safetensors;
mod watch;

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use kiln_config::nearest;

pub use arrays::{Array, Arrays, Kind};
pub use watch::{Rows, watch};

use crate::{Result, atomic, error::Sort};

/// Something that can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The weights that attention mixes values by.
    Attention,
    /// What a normalizer was given.
    Scores,
    /// What each block gives.
    Block,
    /// What the head reads.
    Features,
    /// What the head gives.
    Logits,
    /// The vectors that stand for inputs and classes.
    Embeddings,
    /// What the network was given.
    Inputs,
    /// The right answers.
    Targets,
    /// The parameters.
    Weights,
}

impl What {
    /// Everything.
    pub const ALL: [Self; 9] = [
        Self::Attention,
        Self::Scores,
        Self::Block,
        Self::Features,
        Self::Logits,
        Self::Embeddings,
        Self::Inputs,
        Self::Targets,
        Self::Weights,
    ];

    /// Its name on the command line, in files and, for what a probe sees, in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Scores => "scores",
            Self::Block => "block",
            Self::Features => "features",
            Self::Logits => "logits",
            Self::Embeddings => "embeddings",
            Self::Inputs => "inputs",
            Self::Targets => "targets",
            Self::Weights => "weights",
        }
    }

    /// The names of all.
    pub fn names() -> [&'static str; 9] {
        Self::ALL.map(Self::name)
    }

    /// Whether a probe sees it.
    pub fn is_watched(self) -> bool {
        matches!(self, Self::Attention | Self::Scores | Self::Block | Self::Features | Self::Logits)
    }

    /// Whether it has rows, one or more per row of the set.
    pub fn has_rows(self) -> bool {
        self.is_watched() || matches!(self, Self::Inputs | Self::Targets)
    }

    /// What a name means.
    ///
    /// # Errors
    /// If it means nothing: the nearest name, and all of them.
    pub fn read(name: &str) -> Result<Self> {
        Self::named(name).ok_or_else(|| anyhow!("cannot export {name:?}; {}", choices(name))).input()
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.name() == name)
    }
}

/// The names, the nearest one first.
fn choices(name: &str) -> String {
    let near = nearest(name, &What::names()).map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
    format!("{near}expected one of: {}", What::names().join(", "))
}

/// How a file stores arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// NumPy's zip of arrays.
    Npz,
    /// The format of Hugging Face.
    Safetensors,
}

/// One file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Where.
    pub path: PathBuf,
    /// How, by its extension.
    pub format: Format,
    /// What it holds.
    pub what: Vec<What>,
}

impl Export {
    /// The file at `path`, which holds what `names` says, or what the file's own name says if they are none.
    ///
    /// # Errors
    /// If the extension is of no known format, a name has no meaning, or weights are to share their file.
    pub fn new(path: &Path, names: &[String]) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let format = match extension {
            "npz" => Format::Npz,
            "safetensors" => Format::Safetensors,
            _ => {
                let message = format!("{}: cannot tell the format; name the file .npz or .safetensors", path.display());
                return Err(anyhow!(message)).input();
            }
        };
        let mut what = Vec::new();
        if names.is_empty() {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let named = What::named(stem).ok_or_else(|| {
                anyhow!(
                    "{}: {stem:?} does not say what to export; name the file after it or add --what; {}",
                    path.display(),
                    choices(stem)
                )
            });
            what.push(named.input()?);
        }
        for name in names {
            let named = What::read(name)?;
            if !what.contains(&named) {
                what.push(named);
            }
        }
        if what.contains(&What::Weights) && (what.len() > 1 || format == Format::Npz) {
            let message = format!(
                "{}: weights are exported alone, as a .safetensors file, such as weights.safetensors",
                path.display()
            );
            return Err(anyhow!(message)).input();
        }
        if what.iter().any(|what| what.has_rows()) && !what.contains(&What::Targets) {
            what.push(What::Targets);
        }
        Ok(Self { path: path.to_owned(), format, what })
    }

    /// Writes those of the arrays that the file holds: whole or not at all. Returns their number.
    ///
    /// # Errors
    /// If the file cannot be written; an earlier one is then untouched.
    pub fn write(&self, arrays: &Arrays) -> Result<usize> {
        let chosen: Vec<&Array> = arrays.of(&self.what).collect();
        let write = |file: &mut std::fs::File| match self.format {
            Format::Npz => npz::write(file, &chosen),
            Format::Safetensors => safetensors::write(file, &chosen),
        };
        atomic::write_with(&self.path, write).failed()?;
        Ok(chosen.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, names: &[&str]) -> Result<Vec<What>, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Export::new(Path::new(path), &names).map(|export| export.what).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_holds_what_it_is_called_or_what_is_said() {
        for what in What::ALL {
            let found = read(&format!("out/{}.safetensors", what.name()), &[]).unwrap();
            assert_eq!(found[0], what);
            assert_eq!(found.contains(&What::Targets), what.has_rows(), "{what:?}");
        }
        assert_eq!(read("x.npz", &["logits", "block", "logits"]), Ok(vec![What::Logits, What::Block, What::Targets]));
        assert_eq!(read("weights.npz", &["embeddings"]), Ok(vec![What::Embeddings]));
    }

    #[test]
    fn what_cannot_be_exported_is_refused() {
        for (path, names, parts) in [
            ("logits.csv", &[][..], &["logits.csv", ".npz or .safetensors"][..]),
            ("logits", &[], &["cannot tell the format"]),
            ("atention.npz", &[], &["\"atention\" does not say what", "did you mean \"attention\"?", "--what"]),
            (
                "x.npz",
                &["logit"],
                &["cannot export \"logit\"", "did you mean \"logits\"?", "expected one of: attention"],
            ),
            ("x.npz", &["weights"], &["weights are exported alone", "weights.safetensors"]),
            ("x.safetensors", &["weights", "logits"], &["weights are exported alone"]),
        ] {
            let error = read(path, names).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{part} is missing in: {error}");
            }
        }
    }
}
