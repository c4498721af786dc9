//! Files that appear whole or not at all.
use std::{fs::File, io::Write, path::Path};

use anyhow::Context;

/// Writes `bytes` to a temporary file beside `path`, syncs it and renames it into place.
///
/// # Errors
/// If the folder cannot be written; an earlier file at `path` is then untouched.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
    write_with(path, |file| Ok(file.write_all(bytes.as_ref())?))
}

/// As [`write`], for a file too large for the memory: `fill` writes it.
///
/// # Errors
/// If the folder cannot be written or `fill` fails; an earlier file at `path` is then untouched.
pub fn write_with(path: &Path, fill: impl FnOnce(&mut File) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let folder = folder_of(path);
    let attempt = || -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new().prefix(".kiln-").suffix(".tmp").tempfile_in(folder)?;
        fill(file.as_file_mut())?;
        file.as_file().sync_all()?;
        // A temporary file is private to its owner; results are meant to be read by others.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path).map_err(|error| error.error)?;
        sync_folder(folder);
        Ok(())
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}

/// The folder a file stands in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a rename in `folder` durable where the platform can.
pub fn sync_folder(folder: &Path) {
    // Opening a folder as a file is refused on some platforms; the rename itself is still atomic there.
    if let Ok(handle) = File::open(folder) {
        let _ = handle.sync_all();
    }
}

/// The hexadecimal SHA-256 of some bytes.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes.as_ref()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_names_the_file_and_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.txt");
        write(&file, "first").unwrap();
        write(&file, "second").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "second");
        // A file where a folder should be.
        let error = write(&file.join("b.txt"), "x").unwrap_err().to_string();
        assert!(error.contains("cannot write") && error.contains("b.txt"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn sha256_of_abc() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
