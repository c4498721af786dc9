//! Where data lies on this machine.
use std::{env, path::PathBuf};

/// The folder that data sets lie in: `KILN_DATA_DIR`, else `kiln/data` in the user's cache folder, else
/// `.kiln-data` here.
pub fn data_dir() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("KILN_DATA_DIR").unwrap_or_else(|| {
        let cache = if cfg!(windows) {
            set("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            set("HOME").map(|home| home.join("Library/Caches"))
        } else {
            set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))
        };
        cache.map_or_else(|| ".kiln-data".into(), |cache| cache.join("kiln").join("data"))
    })
}
