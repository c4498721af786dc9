//! One process at a time.
use std::{
    fs::{File, TryLockError},
    path::Path,
};

use crate::FetchError;

/// The right to change a data set, as long as it lives. It ends with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody else has the right; `wait` is called first if somebody has.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn acquire(dir: &Path, name: &str, wait: impl FnOnce()) -> Result<Self, FetchError> {
        let path = dir.join(format!(".{name}.lock"));
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(FetchError::io(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                wait();
                file.lock().map_err(FetchError::io(&path))?;
            }
            Err(TryLockError::Error(error)) => return Err(FetchError::Io { path, error }),
        }
        Ok(Self { _file: file })
    }
}
