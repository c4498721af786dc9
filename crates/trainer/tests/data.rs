//! `kiln data` against a server on this machine.
mod common;
#[path = "../../fetch/tests/server/mod.rs"]
mod server;

use std::{fs, io::Write, path::Path, process::Stdio, time::Duration};

use common::kiln;
use kiln_datasets::manifest::Checksum;
use server::{Answer, Server, Small};

const IMAGES: &str = "train-images-idx3-ubyte.gz";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A served data set that calls itself `mnist`, and a folder with its manifest.
fn served() -> (Server, tempfile::TempDir) {
    let small = |mirrors: &[&str]| Small::new(mirrors, |bytes| Checksum::of(bytes).to_string(), gzip);
    let server = Server::start(small(&[]).archives);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mnist.toml"), small(&[&server.url]).manifest).unwrap();
    (server, folder)
}

fn data(folder: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = kiln(folder);
    command.arg("data").args(arguments).env("KILN_DATA_DIR", folder.join("data"));
    command
}

/// Exit code, standard output, standard error.
fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = data(folder, arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(!text(&output.stderr).contains("panicked"), "{arguments:?}: {}", text(&output.stderr));
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn mnist_is_fetched_verified_and_found() {
    let (server, folder) = served();
    let own = ["--manifest", "mnist.toml"];
    let (code, _, stderr) = run(folder.path(), &[&["path", "mnist"], &own[..]].concat());
    assert!(code == Some(2) && stderr.contains("run kiln data fetch mnist"), "{stderr}");

    server.script(IMAGES, [Answer::Cut(100)]);
    let (code, stdout, stderr) = run(folder.path(), &[&["fetch", "mnist"], &own[..]].concat());
    let place = folder.path().join("data/mnist");
    assert_eq!((code, stdout.trim()), (Some(0), place.to_str().unwrap()), "{stderr}");
    assert!(stderr.contains("mnist is fetched and checked"), "{stderr}");
    assert_eq!(server.asked(IMAGES), [0, 100]);
    let (code, _, stderr) = run(folder.path(), &[&["fetch", "mnist"], &own[..]].concat());
    assert!(code == Some(0) && stderr.contains("is here already"), "{stderr}");
    assert_eq!(run(folder.path(), &[&["path", "mnist"], &own[..]].concat()).1.trim(), place.to_str().unwrap());

    let (code, stdout, stderr) = run(folder.path(), &[&["verify", "mnist"], &own[..]].concat());
    assert_eq!((code, stdout.matches("sound").count()), (Some(0), 4), "{stdout}{stderr}");
    fs::write(place.join("t10k-labels-idx1-ubyte"), [0; 9]).unwrap();
    let (code, stdout, stderr) = run(folder.path(), &[&["verify", "mnist", "--json"], &own[..]].concat());
    let files: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let fault = files[3]["fault"].as_str().unwrap();
    assert!(fault.ends_with("mnist/t10k-labels-idx1-ubyte: byte 9: ends here, after 9 of 11 bytes"), "{fault}");
    assert!(code == Some(1) && stderr.contains("1 of 4 files have a fault"), "{stderr}");
    assert_eq!(run(folder.path(), &[&["fetch", "mnist", "-q"], &own[..]].concat()).0, Some(0));
    assert_eq!(run(folder.path(), &[&["verify"], &own[..]].concat()).0, Some(0));
}

#[test]
fn what_cannot_be_had_is_said_mirror_by_mirror() {
    let (server, folder) = served();
    server.script(IMAGES, [Answer::Other(vec![7; 1 << 20])]);
    let fetch = ["fetch", "mnist", "--manifest", "mnist.toml"];
    let (code, _, stderr) = run(folder.path(), &fetch);
    assert!(code == Some(1) && stderr.contains(&format!("cannot fetch mnist: {IMAGES} could not be had")), "{stderr}");
    assert!(stderr.contains(&format!("{}/{IMAGES}: sends more than the", server.url)), "{stderr}");
    assert!(!folder.path().join("data/mnist").exists());

    // Another mirror is tried first.
    let empty = Server::start([]);
    let mirror = ["--mirror", &empty.url];
    assert_eq!(run(folder.path(), &[&fetch[..], &mirror].concat()).0, Some(0));
    assert_eq!(empty.asked(IMAGES), [0]);

    let (code, _, stderr) = run(folder.path(), &["fetch", "minst"]);
    assert!(
        code == Some(2) && stderr.contains("no data set \"minst\" is fetched; did you mean \"mnist\"? known: mnist,"),
        "{stderr}"
    );
    fs::write(folder.path().join("bad.toml"), "name = 3").unwrap();
    let (code, _, stderr) = run(folder.path(), &["list", "--manifest", "bad.toml"]);
    assert!(code == Some(2) && stderr.contains("bad.toml: "), "{stderr}");
}

#[test]
fn two_processes_do_not_clash() {
    let (server, folder) = served();
    server.script(IMAGES, [Answer::Late(Duration::from_millis(1500))]);
    let start = || {
        let mut command = data(folder.path(), &["fetch", "mnist", "--manifest", "mnist.toml"]);
        command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    };
    let processes = [start(), start()];
    let said: Vec<String> = processes
        .into_iter()
        .map(|process| {
            let output = process.wait_with_output().unwrap();
            assert!(output.status.success());
            String::from_utf8_lossy(&output.stderr).into_owned()
        })
        .collect();
    let one = |text: &str| said.iter().filter(|said| said.contains(text)).count() == 1;
    assert!(one("is here already") && one("is fetched and checked"), "{said:?}");
    assert_eq!(server.asked(IMAGES), [0]);
}

#[test]
fn every_manifest_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, _) = run(folder.path(), &["list"]);
    assert_eq!(code, Some(0));
    for name in ["mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100", "cifar100_coarse"] {
        assert!(stdout.lines().any(|line| line.trim().starts_with(name)), "{stdout}");
    }
    let (code, stdout, _) = run(folder.path(), &["list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert!(code == Some(0) && list[0]["download_bytes"] == 11_594_722 && list[0]["folder"].is_null(), "{stdout}");
    let (code, _, stderr) = run(folder.path(), &["verify"]);
    assert!(code == Some(2) && stderr.contains("there is no data set in"), "{stderr}");
}

/// The published files behind new wrappings: fetched, and found sound by their checksums.
#[test]
fn the_real_mnist_is_fetched_from_a_local_server() {
    let strict = std::env::var_os("KILN_TEST_STRICT").is_some_and(|value| value == "1");
    let real = kiln_datasets::data_dir().join("mnist");
    let names =
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];
    let files: Option<Vec<_>> = names.iter().map(|name| fs::read(real.join(format!("{name}.gz"))).ok()).collect();
    let Some(files) = files else {
        assert!(!strict || std::env::var_os("KILN_DATA_DIR").is_none(), "{} holds no MNIST", real.display());
        eprintln!("skipped: {} holds no compressed MNIST", real.display());
        return;
    };
    let archives: Vec<_> = names.iter().map(|name| format!("{name}.gz")).zip(files).collect();
    let server = Server::start(archives.clone());
    let mut manifest = fs::read_to_string(common::root().join("datasets/mnist.toml")).unwrap();
    manifest.truncate(manifest.find("[[archive]]").unwrap());
    for (name, bytes) in &archives {
        manifest += &format!(
            "[[archive]]\nname = \"{name}\"\npack = \"gzip\"\nbytes = {}\nsha256 = \"{}\"\nmirrors = [\"{}/{name}\"]\n",
            bytes.len(),
            Checksum::of(bytes),
            server.url
        );
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("own.toml"), manifest).unwrap();
    server.script(IMAGES, [Answer::Cut(1 << 20), Answer::Cut(1 << 20)]);
    let (code, _, stderr) = run(folder.path(), &["fetch", "mnist", "--manifest", "own.toml", "-q"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(server.asked(IMAGES), [0, 1 << 20, 2 << 20]);
    // By the manifest inside the binary.
    let (code, stdout, stderr) = run(folder.path(), &["verify", "mnist"]);
    assert_eq!((code, stdout.matches("checksum and content").count()), (Some(0), 4), "{stdout}{stderr}");
}
