//! Locks on files: held by a process, and let go when it ends, however it ends. So a lock is never stale, and the files
//! may stay where they are.
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::Path,
};

use anyhow::Context;

use crate::atomic;

/// A lock that is held while this value lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

fn open(path: &Path) -> anyhow::Result<File> {
    let folder = atomic::folder_of(path);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).with_context(|| format!("cannot write {}", path.display()))
}

/// Takes the lock if nobody holds it. On a file system without locks everybody gets it: one process at a time then has
/// to be the user's care.
///
/// # Errors
/// If the file cannot be made.
pub fn claim(path: &Path) -> anyhow::Result<Option<Lock>> {
    let file = open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(None),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(Lock { _file: file })),
    }
}

/// Takes the lock, once whoever holds it lets go.
///
/// # Errors
/// If the file cannot be made.
pub fn wait(path: &Path) -> anyhow::Result<Lock> {
    let file = open(path)?;
    // As above for file systems without locks.
    let _ = file.lock();
    Ok(Lock { _file: file })
}

/// Takes a share of the lock, which keeps others from holding it alone; waits for one who does.
///
/// # Errors
/// If the file cannot be made.
pub fn share(path: &Path) -> anyhow::Result<Lock> {
    let file = open(path)?;
    let _ = file.lock_shared();
    Ok(Lock { _file: file })
}

/// Whether somebody holds the lock alone. Makes no file.
pub fn is_held(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_or_shared_by_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks/a.lock");
        assert!(!is_held(&path) && !path.exists());
        let held = claim(&path).unwrap();
        assert!(held.is_some() && is_held(&path) && claim(&path).unwrap().is_none());
        drop(held);
        let shares = (share(&path).unwrap(), share(&path).unwrap());
        assert!(!is_held(&path) && claim(&path).unwrap().is_none());
        drop(shares);
        drop(wait(&path).unwrap());
        assert!(claim(&path).unwrap().is_some());
    }
}
