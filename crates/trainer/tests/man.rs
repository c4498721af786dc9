//! `kiln man`: manual pages.
mod common;

use std::process::{Command, Stdio};

use common::{fails, ok};

#[test]
fn pages_of_kiln_and_its_verbs() {
    let folder = tempfile::tempdir().unwrap();
    let main = ok(folder.path(), &["man"]);
    assert!(main.contains(".TH kiln 1") && main.contains("kiln\\-train(1)") && main.contains("Exit codes"), "{main}");
    let step = ok(folder.path(), &["man", "bench", "step"]);
    assert!(step.contains(".TH kiln-bench-step 1") && step.contains("warmup"), "{step}");
    assert!(fails(folder.path(), &["man", "trian"], 2).contains("did you mean \"train\"?"));
    assert!(fails(folder.path(), &["man", "complete"], 2).contains("unknown verb"));
    assert!(fails(folder.path(), &["man", "train", "now"], 2).contains("no verbs of its own"));
    assert!(fails(folder.path(), &["man", "train", "--dir", "x"], 2).contains("--dir"));
}

#[test]
fn all_pages_are_written_and_typeset() {
    let folder = tempfile::tempdir().unwrap();
    ok(folder.path(), &["man", "--dir", "pages", "-q"]);
    let dir = folder.path().join("pages");
    for page in ["kiln.1", "kiln-train.1", "kiln-runs-prune.1", "kiln-explain.1"] {
        assert!(dir.join(page).is_file(), "{page}");
    }
    let pages: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(pages.len() > 20 && !dir.join("kiln-complete.1").exists());
    std::fs::write(folder.path().join("file"), "").unwrap();
    assert!(fails(folder.path(), &["man", "--dir", "file"], 2).contains("file"));
    for page in pages {
        let typeset = Command::new("groff")
            .args(["-K", "utf8", "-man", "-Tutf8", "-ww"])
            .arg(&page)
            .stdin(Stdio::null())
            .output();
        match typeset {
            Ok(typeset) => {
                let errors = String::from_utf8_lossy(&typeset.stderr);
                assert!(typeset.status.success() && errors.is_empty(), "{}: {errors}", page.display());
            }
            Err(error) => return eprintln!("skipped: groff cannot be run: {error}"),
        }
    }
}
