//! Where configs and studies are found: as named, then upward from the working directory, then in the
//! copies inside the binary.
use std::{
    io,
    path::{Path, PathBuf},
};

/// The shipped files, by their path from the top of the source tree.
static EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Finds `path`: itself, or the same relative path from the nearest parent folder that has it. A path that
/// only exists inside the binary, or nowhere, comes back as it is.
pub fn find(path: &Path) -> PathBuf {
    if path.is_absolute() || path.exists() {
        return path.to_owned();
    }
    let Ok(here) = std::env::current_dir() else { return path.to_owned() };
    here.ancestors()
        .skip(1)
        .map(|folder| folder.join(path))
        .find(|candidate| candidate.is_file())
        .unwrap_or(path.into())
}

/// The file `name` beside `file`, if there is one, else the same path for [`find`].
pub fn beside(file: &Path, name: &str) -> PathBuf {
    let beside = file.parent().unwrap_or(Path::new("")).join(name);
    if beside.is_file() || embedded(&beside).is_some() { beside } else { name.into() }
}

/// Reads a file found by [`find`], or the copy inside the binary.
///
/// # Errors
/// If the file exists and cannot be read, or exists in neither place.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => embedded(path).map(Vec::from).ok_or(error),
        result => result,
    }
}

/// The copy inside the binary, if this is one of the shipped files.
pub fn embedded(path: &Path) -> Option<&'static str> {
    let wanted = normal(path);
    EMBEDDED.iter().find(|(name, _)| *name == wanted).map(|(_, text)| *text)
}

/// Shipped paths below `folder`, for suggestions and tests.
pub fn shipped(folder: &str) -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().map(|(name, _)| *name).filter(move |name| name.starts_with(folder))
}

/// Where the shipped sweeps are; the other configs are experiments.
pub const SWEEPS: &str = "configs/ablations/";

/// Shipped experiments below `folder`.
pub fn shipped_experiments(folder: &str) -> impl Iterator<Item = &'static str> {
    shipped(folder).filter(|name| !name.starts_with(SWEEPS))
}

/// Names of the shipped files in the folder of `path`.
pub fn shipped_beside(path: &Path) -> impl Iterator<Item = String> {
    let folder = path.parent().map(normal).unwrap_or_default();
    EMBEDDED.iter().filter_map(move |(name, _)| {
        let (beside, name) = name.rsplit_once('/')?;
        (beside == folder).then(|| name.to_owned())
    })
}

/// The path with `.` and `..` resolved in the text and forward slashes.
fn normal(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => drop(parts.pop()),
            other => parts.push(other.as_os_str().to_string_lossy().into_owned()),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_configs_are_inside() {
        assert!(embedded(Path::new("./configs/grokking/../grokking/stablemax.toml")).is_some());
        assert!(embedded(Path::new("configs/none.toml")).is_none());
    }
}
