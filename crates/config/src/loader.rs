//! Where files come from, and what can be wrong with them before their text is looked at.
use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use crate::wording;

/// Reads a config file's bytes; the file system, or copies held elsewhere.
pub trait Loader {
    /// The bytes at `path`.
    ///
    /// # Errors
    /// `NotFound` where there is no such file; anything else that keeps it from being read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Names of the files in the folder of `path`, to suggest one where `path` is not there; nothing if unknown.
    fn names_beside(&self, path: &Path) -> Vec<String> {
        let _ = path;
        Vec::new()
    }
}

/// The file system; relative paths start at the working directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

impl Loader for Files {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn names_beside(&self, path: &Path) -> Vec<String> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        // The order of a folder is chance.
        names.sort();
        names
    }
}

/// The text of the file, without a byte order mark, or the sentence that says why there is none.
pub(crate) fn read_text(path: &Path, loader: &dyn Loader) -> Result<String, String> {
    let bytes = loader.read(path).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => missing(path, loader),
            io::ErrorKind::IsADirectory => "it is a folder, not a file".into(),
            io::ErrorKind::PermissionDenied => "permission denied".into(),
            _ => error.to_string(),
        };
        format!("cannot read {}: {reason}", path.display())
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|&&byte| byte == b'\n').count() + 1;
        format!("cannot read {}: line {line} is not UTF-8; save the file as UTF-8", path.display())
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// That there is no such file, and which name beside it was likely meant.
fn missing(path: &Path, loader: &dyn Loader) -> String {
    let names = loader.names_beside(path);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let wrong = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match wording::nearest(wrong, &names) {
        Some(near) => format!("no such file; did you mean {}?", path.with_file_name(near).display()),
        None => "no such file".into(),
    }
}

/// `path`, seen from the folder of `file`, with `.` and `..` resolved by name.
pub(crate) fn beside(file: &Path, path: &str) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut plain = PathBuf::new();
    for component in folder.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_in_a_file_name_finds_the_file_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["stablemax.toml", "softmax.toml", "notes.md"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let says = |name: &str| read_text(&folder.path().join(name), &Files).unwrap_err();
        let near = folder.path().join("stablemax.toml");
        assert!(says("stablmax.toml").ends_with(&format!("no such file; did you mean {}?", near.display())));
        assert!(says("parity.json").ends_with("parity.json: no such file"), "{}", says("parity.json"));
        assert!(says("gone/x.toml").ends_with("x.toml: no such file"));
    }

    #[test]
    fn a_base_stands_beside_its_file() {
        let seen = |file: &str, path: &str| beside(Path::new(file), path).display().to_string();
        assert_eq!(seen("configs/grokking/x.toml", "base.toml"), "configs/grokking/base.toml");
        assert_eq!(seen("configs/grokking/x.toml", "../parity/./base.toml"), "configs/parity/base.toml");
        assert_eq!(seen("x.toml", "../base.toml"), "../base.toml");
        assert_eq!(seen("configs/x.toml", "/etc/base.toml"), "/etc/base.toml");
    }
}
