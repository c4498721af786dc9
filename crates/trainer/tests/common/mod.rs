//! Driving the real binary from tests.
#![allow(dead_code)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The top of the source tree.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A `kiln` command that starts in `folder`, without the colours and settings of the caller.
pub fn kiln(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.current_dir(folder).env("NO_COLOR", "1").env_remove("RUST_BACKTRACE");
    command
}

/// Runs `kiln` with these arguments.
pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    kiln(folder).args(arguments).output().unwrap()
}

/// Runs `kiln`, which must succeed, and returns its standard output.
pub fn ok(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "kiln {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `kiln`, which must end with this exit code, and returns its standard error.
pub fn fails(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "kiln {arguments:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "kiln {arguments:?} panicked: {stderr}");
    stderr
}

/// The only run folder below `dir`.
pub fn only_run(dir: &Path) -> PathBuf {
    let mut runs: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.pop().unwrap()
}

/// A small experiment that trains in a second: addition mod 23, all in `folder/tiny.toml`.
pub fn tiny(folder: &Path, train: &str) -> PathBuf {
    let path = folder.join("tiny.toml");
    let text = format!(
        r#"[data]
name = "modular"
op = "add"
p = 23
fraction = 0.8
[model]
name = "mlp"
widths = [32, 32]
[loss]
name = "cross_entropy"
[optim]
name = "adamw"
lr = 3e-3
betas = [0.9, 0.99]
eps = 1e-25
weight_decay = 0.0
transforms = [{{ name = "perp_grad" }}]
{train}
"#
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// A run's weights: tensors by name with type, shape and place, and their bytes. The file's free-form metadata
/// comes in any order and is left out.
pub fn weights(folder: &Path, run: &Path) -> (serde_json::Value, Vec<u8>) {
    let file = folder.join("weights.safetensors");
    ok(folder, &["eval", run.to_str().unwrap(), "--export", file.to_str().unwrap(), "-q"]);
    let bytes = std::fs::read(file).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut tensors: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    tensors.as_object_mut().unwrap().remove("__metadata__");
    (tensors, bytes[8 + header..].to_vec())
}
