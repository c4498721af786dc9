//! Embeds what a binary needs to work away from its source tree: the shipped configs, studies and data
//! manifests, and the hash of the code that was compiled.
use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

fn main() -> io::Result<()> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("../..").canonicalize()?;
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());

    let mut shipped = Vec::new();
    for folder in ["configs", "experiments", "datasets"].iter().filter(|folder| root.join(folder).is_dir()) {
        println!("cargo:rerun-if-changed={}", root.join(folder).display());
        files(&root.join(folder), &mut shipped)?;
    }
    shipped.retain(|path| {
        path.extension().is_some_and(|e| e == "toml") && !path.components().any(|c| c.as_os_str() == "records")
    });
    shipped.sort();
    let entries: String = shipped
        .iter()
        .map(|path| format!("({:?}, include_str!({:?})),\n", slashes(path.strip_prefix(&root).unwrap()), path))
        .collect();
    fs::write(out.join("embedded.rs"), format!("&[\n{entries}]"))?;

    println!("cargo:rustc-env=KILN_CODE_HASH={}", code_hash(&root)?);
    println!("cargo:rustc-env=KILN_PROFILE={}", env::var("PROFILE").unwrap());
    Ok(())
}

/// SHA-256 over `Cargo.lock` and every crate's manifest and sources, names included.
fn code_hash(root: &Path) -> io::Result<String> {
    let mut parts = vec![root.join("Cargo.lock")];
    for krate in fs::read_dir(root.join("crates"))? {
        let krate = krate?.path();
        println!("cargo:rerun-if-changed={}", krate.join("src").display());
        println!("cargo:rerun-if-changed={}", krate.join("Cargo.toml").display());
        files(&krate.join("src"), &mut parts)?;
        parts.push(krate.join("Cargo.toml"));
    }
    println!("cargo:rerun-if-changed={}", root.join("Cargo.lock").display());
    parts.sort();
    let mut hash = Sha256::new();
    for path in parts.iter().filter(|path| path.is_file()) {
        let content = fs::read(path)?;
        hash.update(slashes(path.strip_prefix(root).unwrap()));
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files(&path, into)? } else { into.push(path) }
    }
    Ok(())
}

fn slashes(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}
