//! Every image experiment trains, and goes on where it stopped.
mod common;

use std::path::PathBuf;

use common::{kiln, ok, only_run, root, weights};

/// The configs of `configs/images`.
fn configs() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root().join("configs/images")).unwrap();
    let mut files: Vec<_> = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// The run after so many steps, `resumed` from half of them or not: weights and log.
fn trained(config: &str, steps: usize, resumed: bool) -> ((serde_json::Value, Vec<u8>), String) {
    let folder = tempfile::tempdir().unwrap();
    let first = if resumed { steps / 2 } else { steps };
    let train = |steps: usize, start: &[&str]| {
        let steps = format!("train.steps={steps}");
        let sets = ["--set", &steps, "--set", "eval.every=1", "--set", "data.samples=300", "-q"];
        ok(folder.path(), &[&["train"], start, &sets].concat());
    };
    train(first, &[config]);
    let run = only_run(&folder.path().join("runs"));
    if resumed {
        train(steps, &["--resume", run.to_str().unwrap()]);
    }
    (weights(folder.path(), &run), std::fs::read_to_string(run.join("metrics.jsonl")).unwrap())
}

#[test]
fn every_config_trains_and_a_stopped_run_ends_like_one_that_never_was() {
    for config in configs() {
        let config = config.to_str().unwrap();
        let (whole, resumed) = (trained(config, 2, false), trained(config, 2, true));
        assert_eq!(whole.1.lines().count(), 3, "{config}: rows of steps 0, 1 and 2");
        assert_eq!(whole.1, resumed.1, "{config}: the logs differ");
        assert!(whole.0 == resumed.0, "{config}: the weights differ");
    }
}

/// Files that have the form of Fashion-MNIST, below `folder`: 60 000 and 10 000 images of a square whose place tells the class.
fn fake_fashion(folder: &std::path::Path) {
    let folder = folder.join("fashion_mnist");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, count) in [("train", 60_000_u32), ("t10k", 10_000)] {
        let (mut images, mut labels) = (vec![0, 0, 8, 3], vec![0, 0, 8, 1]);
        [count, 28, 28].iter().for_each(|size| images.extend(size.to_be_bytes()));
        labels.extend(count.to_be_bytes());
        for i in 0..count {
            let class = i * 7 % 10;
            labels.push(class as u8);
            let pixel =
                |x: u32, y: u32| if x / 6 == class % 4 && y / 7 == class / 4 { 200 + (i % 50) as u8 } else { 0 };
            images.extend((0..28 * 28).map(|at| pixel(at % 28, at / 28)));
        }
        std::fs::write(folder.join(format!("{name}-images-idx3-ubyte")), images).unwrap();
        std::fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels).unwrap();
    }
}

/// The log of six steps on augmented images, made by the workers of the last entry; with two entries the run was stopped after
/// three steps and went on with other workers.
fn augmented(data: &std::path::Path, workers: &[usize]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let config = root().join("configs/images/gratings_cnn.toml").display().to_string();
    let runs = folder.path().join("runs");
    for (leg, count) in workers.iter().enumerate() {
        let steps = if leg + 1 < workers.len() { 3 } else { 6 };
        let mut arguments = vec!["train".to_owned(), "-q".into()];
        match leg {
            0 => arguments.push(config.clone()),
            _ => arguments.extend(["--resume".into(), only_run(&runs).display().to_string()]),
        }
        let sets = [
            "data.name=fashion_mnist",
            "data.samples=96",
            "data.test_samples=20",
            r#"data.augment=["shift", "crop", "flip", "rotate", "cutout"]"#,
            "train.batch_size=16",
            "eval.every=1",
            &format!("train.steps={steps}"),
            &format!("run.workers={count}"),
        ];
        // A resumed run knows its data.
        for set in sets.iter().skip(if leg == 0 { 0 } else { 5 }) {
            arguments.extend(["--set".to_owned(), (*set).to_owned()]);
        }
        let output = kiln(folder.path()).args(&arguments).env("KILN_DATA_DIR", data).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::read_to_string(only_run(&runs).join("metrics.jsonl")).unwrap()
}

#[test]
fn augmented_images_train_alike_with_any_number_of_workers_and_after_a_stop() {
    let data = tempfile::tempdir().unwrap();
    fake_fashion(data.path());
    let plain = augmented(data.path(), &[0]);
    assert_eq!(plain.lines().count(), 7, "rows of steps 0 to 6");
    for workers in [&[1][..], &[2], &[4], &[0, 2], &[4, 1]] {
        assert_eq!(augmented(data.path(), workers), plain, "{workers:?} workers");
    }
}

#[test]
fn missing_images_are_said_to_be_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let config = root().join("configs/images/gratings_cnn.toml").display().to_string();
    let output = kiln(folder.path())
        .args(["train", &config, "--set", "data.name=kmnist"])
        .env("KILN_DATA_DIR", folder.path())
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("KMNIST is not there") && message.contains("kiln data fetch kmnist"), "{message}");
}

#[test]
fn mixtures_and_workers_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = root().join("configs/images/gratings_mixup.toml").display().to_string();
    for (set, expected) in [
        ("run.workers=65", "65 threads to make batches; expected 0 to 64"),
        ("task.alpha=0.0", "0 is out of range; expected a number above 0"),
        ("model.head=cosface", "the head \"cosface\" must know each row's one class"),
    ] {
        let message = common::fails(folder.path(), &["train", &config, "--set", set], 2);
        assert!(message.contains(expected), "{set}: {message}");
    }
}
