//! `kiln eval --export` read back by other means than it was written with.
mod common;

use std::{collections::BTreeMap, path::Path};

use common::{fails, ok, only_run, tiny};
use serde_json::Value;

/// An array of a file: its shape and its numbers.
#[derive(Clone, Debug, PartialEq)]
struct Array {
    shape: Vec<usize>,
    values: Vec<f64>,
}

type Arrays = BTreeMap<String, Array>;

fn numbers(kind: &str, bytes: &[u8]) -> Vec<f64> {
    match kind {
        "<f4" | "F32" => bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect(),
        "<f8" | "F64" => bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        "<i8" | "I64" => bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
        kind => panic!("numbers of kind {kind}"),
    }
}

/// The text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = &text[text.find(before).unwrap() + before.len()..];
    &rest[..rest.find(after).unwrap()]
}

/// Reads a zip of stored `.npy` files, from its first byte to its last.
fn read_npz(path: &Path) -> Arrays {
    let file = std::fs::read(path).unwrap();
    let word = |at: usize| u16::from_le_bytes([file[at], file[at + 1]]) as usize;
    let long = |at: usize| word(at) + (word(at + 2) << 16);
    let (mut at, mut arrays) = (0, Arrays::new());
    while file[at..].starts_with(b"PK\x03\x04") {
        assert_eq!((word(at + 6) & 8, word(at + 8)), (0, 0), "sizes stand in front, nothing is compressed");
        let (name, extra) = (word(at + 26), word(at + 28));
        // Sizes of 64 bits stand in the extra field, as in files of NumPy.
        let sizes = at + 30 + name;
        assert_eq!((long(at + 22), word(sizes), word(sizes + 2)), (0xffff_ffff, 1, 16));
        let size = long(sizes + 4) + (long(sizes + 8) << 32);
        let start = at + 30 + name + extra;
        let name = std::str::from_utf8(&file[at + 30..at + 30 + name]).unwrap();
        let npy = &file[start..start + size];
        assert!(npy.starts_with(b"\x93NUMPY\x01\x00"), "{name}");
        let header = 10 + u16::from_le_bytes([npy[8], npy[9]]) as usize;
        assert_eq!(header % 64, 0);
        let text = std::str::from_utf8(&npy[10..header]).unwrap();
        assert!(text.contains("'fortran_order': False"));
        let shape = between(text, "'shape': (", ")").split(',').filter(|n| !n.trim().is_empty());
        let shape: Vec<usize> = shape.map(|n| n.trim().parse().unwrap()).collect();
        let values = numbers(between(text, "'descr': '", "'"), &npy[header..]);
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
        arrays.insert(name.strip_suffix(".npy").unwrap().to_owned(), Array { shape, values });
        at = start + size;
    }
    assert!(file[at..].starts_with(b"PK\x01\x02"), "the directory follows the files");
    arrays
}

fn read_safetensors(path: &Path) -> Arrays {
    let file = std::fs::read(path).unwrap();
    let data = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: BTreeMap<String, Value> = serde_json::from_slice(&file[8..data]).unwrap();
    let (mut arrays, mut end) = (Arrays::new(), 0);
    for (name, entry) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let place: [usize; 2] = serde_json::from_value(entry["data_offsets"].clone()).unwrap();
        let values = numbers(entry["dtype"].as_str().unwrap(), &file[data + place[0]..data + place[1]]);
        let shape: Vec<usize> = serde_json::from_value(entry["shape"].clone()).unwrap();
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
        end = end.max(place[1]);
        arrays.insert(name, Array { shape, values });
    }
    assert_eq!(data + end, file.len());
    arrays
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{i}: {found} is not {expected}");
    }
}

/// The metric `name` of the only evaluation of a run.
fn metric(run: &str, name: &str) -> f64 {
    let summary = only_run(&Path::new(run).join("eval")).join("summary.json");
    let summary: Value = serde_json::from_slice(&std::fs::read(summary).unwrap()).unwrap();
    summary["metrics"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {summary}"))
}

/// Share of rows whose largest logit is the target's.
fn accuracy(logits: &Array, targets: &Array) -> f64 {
    let rows = logits.values.chunks(logits.shape[1]).zip(&targets.values);
    let right = rows.filter(|(row, target)| row.iter().all(|logit| *logit <= row[**target as usize])).count();
    right as f64 / targets.values.len() as f64
}

const ROWS: usize = 41;
const LENGTH: usize = 13;
const HEADS: usize = 2;
const KINDS: usize = 5;

/// A causal decoder of two layers that looks for a needle, trained three steps.
fn decoder(folder: &Path) -> String {
    let text = format!(
        r#"data = {{ name = "needle", symbols = 4, kinds = {KINDS}, train_lengths = [6, 9], test_lengths = [7, {LENGTH}], rows = {ROWS} }}
loss = "cross_entropy"
optim = {{ name = "adamw", lr = 1e-2 }}
train = {{ steps = 3, batch_size = 8 }}
eval = {{ every = 3 }}
[model]
name = "decoder"
d_model = 6
d_ff = 11
n_layers = 2
positions = "none"
attention = {{ n_heads = {HEADS}, d_head = 4, position = "rope" }}
"#
    );
    std::fs::write(folder.join("decoder.toml"), text).unwrap();
    ok(folder, &["train", "decoder.toml", "-q"]);
    only_run(&folder.join("runs")).to_str().unwrap().to_owned()
}

#[test]
fn attention_is_what_the_network_attends_with() {
    let folder = tempfile::tempdir().unwrap();
    let run = decoder(folder.path());
    let file = |name: &str| folder.path().join(name);
    let set = format!("n{LENGTH}");
    let arguments = ["eval", &run, "--export", "x/attention.npz", "--export", "x/scores.safetensors", "--split", &set];
    ok(folder.path(), &arguments);
    let attention = read_npz(&file("x/attention.npz"));
    let scores = read_safetensors(&file("x/scores.safetensors"));
    assert_eq!(attention.keys().collect::<Vec<_>>(), ["attention/blocks.0", "attention/blocks.1", "targets"]);
    assert_eq!(scores.keys().collect::<Vec<_>>(), ["scores/blocks.0", "scores/blocks.1", "targets"]);
    assert_eq!(attention["targets"], scores["targets"]);
    assert_eq!(attention["targets"].shape, [ROWS]);
    // One answer per row: the last block computes the last position alone.
    for (block, queries) in [(0, LENGTH), (1, 1)] {
        let weights = &attention[&format!("attention/blocks.{block}")];
        let scores = &scores[&format!("scores/blocks.{block}")];
        assert_eq!(weights.shape, [ROWS, HEADS, queries, LENGTH]);
        assert_eq!(scores.shape, weights.shape);
        for (i, (row, scores)) in weights.values.chunks(LENGTH).zip(scores.values.chunks(LENGTH)).enumerate() {
            let live = LENGTH - queries + i % queries + 1;
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{row:?}");
            assert!(row[live..].iter().all(|weight| *weight == 0.0), "a look ahead: {row:?}");
            assert!(scores[live..].iter().all(|score| *score == f64::NEG_INFINITY), "{scores:?}");
            let total: f64 = scores.iter().map(|score| score.exp()).sum();
            assert_close(row, &scores.iter().map(|score| score.exp() / total).collect::<Vec<_>>(), 1e-5);
        }
    }
}

#[test]
fn logits_are_those_that_were_judged_and_follow_from_features_and_weights() {
    let folder = tempfile::tempdir().unwrap();
    let run = decoder(folder.path());
    let file = |name: &str| folder.path().join(name);
    for set in [7, LENGTH] {
        let set = format!("n{set}");
        let what = "logits,features,inputs,block,embeddings";
        ok(folder.path(), &["eval", &run, "--export", "all.npz", "--what", what, "--split", &set]);
        let arrays = read_npz(&file("all.npz"));
        let (logits, targets) = (&arrays["logits"], &arrays["targets"]);
        assert_eq!((logits.shape.as_slice(), targets.shape.as_slice()), (&[ROWS, KINDS][..], &[ROWS][..]));
        assert_eq!(accuracy(logits, targets), metric(&run, &format!("{set}_accuracy")));
        // The needle stands in the row that was given: the one token that is neither filler nor question.
        let inputs = &arrays["inputs"];
        for (row, target) in inputs.values.chunks(inputs.shape[1]).zip(&targets.values) {
            let needle = row.iter().find(|token| (4..4 + KINDS).contains(&(**token as usize))).unwrap();
            assert_eq!(needle - 4.0, *target);
        }
        assert_eq!(arrays["block/blocks.1"].shape, [ROWS, 1, 6]);

        ok(folder.path(), &["eval", &run, "--export", "weights.safetensors"]);
        let weights = read_safetensors(&file("weights.safetensors"));
        let embedding = &weights["embedding.weight"];
        assert_eq!(&arrays["embeddings/inputs"], embedding);
        let (features, classes) = (&arrays["features"], &arrays["embeddings/classes"]);
        assert_eq!((features.shape.as_slice(), classes.shape.as_slice()), (&[ROWS, 6][..], &[KINDS, 6][..]));
        let bias = weights.get("output.bias").map_or(vec![0.0; KINDS], |bias| bias.values.clone());
        let product = features.values.chunks(6).flat_map(|x| {
            classes
                .values
                .chunks(6)
                .zip(&bias)
                .map(|(class, bias)| x.iter().zip(class).map(|(x, w)| x * w).sum::<f64>() + bias)
        });
        assert_close(&logits.values, &product.collect::<Vec<_>>(), 1e-5);
    }
}

#[test]
fn rows_are_limited_and_may_be_those_of_training() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), "[train]\nsteps = 3\n[eval]\nevery = 3\n");
    ok(folder.path(), &["train", "tiny.toml", "-q", "--set", "model.dtype=f64"]);
    let run = only_run(&folder.path().join("runs"));
    let run = run.to_str().unwrap();
    let export = |more: &[&str]| {
        let arguments = [&["eval", run, "--export", "x.safetensors", "--what", "logits,inputs,block"], more].concat();
        ok(folder.path(), &arguments);
        read_safetensors(&folder.path().join("x.safetensors"))
    };
    let (all, some, train) = (export(&[]), export(&["--limit", "7"]), export(&["--split", "train"]));
    assert_eq!((all["logits"].shape.as_slice(), train["logits"].shape.as_slice()), (&[106, 23][..], &[423, 23][..]));
    for (name, array) in &some {
        assert_eq!(array.shape[0], 7, "{name}");
        let width: usize = array.shape[1..].iter().product();
        // In f64 no product of matrices rounds visibly by its size.
        assert_close(&array.values, &all[name].values[..7 * width], 1e-12);
    }
    assert_eq!(some.keys().collect::<Vec<_>>(), ["block/layers.0", "block/layers.1", "inputs", "logits", "targets"]);
    // The indices of two one-hots, and the sum they ask for.
    for (pair, target) in train["inputs"].values.chunks(2).zip(&train["targets"].values) {
        assert_eq!((pair[0] + pair[1] - 23.0) % 23.0, *target);
    }
    // More rows than there are is all of them.
    assert_eq!(export(&["--limit", "5000"]), all);
}

#[test]
fn what_cannot_be_exported_is_refused_before_a_file_is_there() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), "[train]\nsteps = 1\n[eval]\nevery = 1\n");
    ok(folder.path(), &["train", "tiny.toml", "-q"]);
    let run = only_run(&folder.path().join("runs"));
    let run = run.to_str().unwrap();
    for (arguments, parts) in [
        (
            &["--export", "attention.npz"][..],
            &[
                "\"mlp\" records no attention: nothing in it makes such weights",
                "what can be exported of it: block, features",
            ][..],
        ),
        (&["--export", "x.npz", "--what", "logits,scores"], &["records no scores", "block, features, logits"]),
        (&["--export", "x.npz", "--what", "atention"], &["cannot export \"atention\"", "did you mean \"attention\"?"]),
        (&["--export", "logit.npz"], &["\"logit\" does not say what", "did you mean \"logits\"?", "--what"]),
        (&["--export", "logits.txt"], &["logits.txt", ".npz or .safetensors"]),
        (&["--export", "weights.npz"], &["weights are exported alone, as a .safetensors file"]),
        (&["--export", "a.npz", "--export", "b.npz", "--what", "logits"], &["--what says what one file holds"]),
        (&["--export", "logits.npz", "--split", "tset"], &["no set \"tset\"", "did you mean \"test\"?", "test, train"]),
        (&["--export", "logits.npz", "--limit", "0"], &["--limit 0 exports no row"]),
        (&["--export", "logits.npz", "--limit", "few"], &["few"]),
        (&["--what", "logits"], &["--export"]),
        (&["--export", "tiny.toml/logits.npz"], &["cannot write tiny.toml/logits.npz"]),
    ] {
        // A place that cannot be written fails the command; the rest is the user's slip.
        let code = if arguments[1].starts_with("tiny.toml") { 1 } else { 2 };
        let error = fails(folder.path(), &[&["eval", run], arguments].concat(), code);
        for part in parts {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
    }
    let left: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "runs" && name != "tiny.toml")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_export_of_many_gigabytes_wants_a_number_of_rows() {
    let folder = tempfile::tempdir().unwrap();
    let run = decoder(folder.path());
    let arguments = ["eval", &run, "--set", "data.test_lengths=[1100]", "--set", "data.rows=500", "--split", "n1100"];
    let error = fails(folder.path(), &[&arguments[..], &["--export", "attention.npz"]].concat(), 2);
    // 4 bytes for each of 500 rows, 2 heads and 1100 queries (1 in the last block) by 1100 keys
    for part in ["attention of the 500 rows of n1100 would take 4.51 GiB", "with --limit (500 for all)"] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    assert!(!folder.path().join("attention.npz").exists());
}
