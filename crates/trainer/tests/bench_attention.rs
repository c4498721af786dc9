//! `kiln bench attention` and `kiln bench step` as a person meets them.
mod common;

use common::{fails, ok, root};
use serde_json::{Value, json};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

const TINY: [&str; 8] = ["--width", "8", "--heads", "2", "--repeats", "1", "--threads", "1"];

#[test]
fn each_layer_meets_each_length_in_order() {
    let arguments =
        [&["bench", "attention", "attn", "linear*", "--lengths", "6,3,6", "--batch", "2"][..], &TINY].concat();
    let report = object(&ok(folder().path(), &[&arguments[..], &["--json"]].concat()));
    assert_eq!((&report["threads"], &report["width"], &report["causal"]), (&json!(1), &json!(8), &json!(false)));
    let entries = report["entries"].as_array().unwrap();
    assert_eq!(entries.iter().map(|entry| &entry["name"]).collect::<Vec<_>>(), ["attn", "linear_attn"]);
    for entry in entries {
        let rows = entry["lengths"].as_array().unwrap();
        assert_eq!(rows.iter().map(|row| &row["length"]).collect::<Vec<_>>(), [3, 6]);
        for row in rows {
            assert!(row["forward"]["median_ms"].as_f64().unwrap() > 0.0, "{row}");
            assert!(row["forward_backward"]["median_ms"].as_f64().unwrap() > 0.0, "{row}");
            if cfg!(target_os = "linux") {
                let bytes = |pass: &str| row["memory"][pass].as_u64().unwrap();
                assert!(bytes("forward_bytes") <= bytes("forward_backward_bytes"), "{row}");
            }
        }
    }
    let printed = ok(folder().path(), &[&arguments[..], &["--feed-forward", "16"]].concat());
    for part in ["linear_attn", "fwd + bwd ms", "MiB", "resident memory"] {
        assert!(printed.contains(part), "{part} is missing in: {printed}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn memory_is_that_of_the_layer() {
    // Weights of a map without a kernel for the whole: 4 heads · 2048² scores of 4 bytes are 64 MiB, and a backward pass has
    // more than one of them. The linear form has matrices of features.
    let peak = |preset: &str| {
        let arguments =
            ["bench", "attention", preset, "--lengths", "2048", "--width", "16", "--repeats", "1", "--json"];
        let report = object(&ok(folder().path(), &arguments));
        report["entries"][0]["lengths"][0]["memory"]["forward_backward_bytes"].as_u64().unwrap() >> 20
    };
    let (squared, linear) = (peak("swat"), peak("linear_attn"));
    assert!(squared > 128 && linear < 64, "{squared} MiB, {linear} MiB");
}

#[test]
fn what_does_not_fit_is_left_out_with_a_reason_or_refused() {
    let both = [&["bench", "attention", "attn", "soft", "--lengths", "3", "--causal", "--json"][..], &TINY].concat();
    let report = object(&ok(folder().path(), &both));
    assert!(report["entries"][0]["lengths"][0]["forward"].is_object(), "{report}");
    let reason = report["entries"][1]["lengths"][0]["skipped"].as_str().unwrap();
    assert!(reason.contains("no causal form"), "{reason}");

    // A hundred million tokens: more than any machine has memory for, and known without trying.
    let huge = ["bench", "attention", "attn", "--lengths", "100000000", "--width", "8", "--heads", "1"];
    for (arguments, parts) in [
        (vec!["bench", "attention", "soft", "--causal"], vec!["nothing of this can be measured", "no causal form"]),
        (vec!["bench", "attention", "atn"], vec!["nothing is named \"atn\"", "did you mean \"attn\"?"]),
        (vec!["bench", "attention", "--lengths", "128,0"], vec!["--lengths", "at least 1"]),
        (vec!["bench", "attention", "--width", "130"], vec!["--width 130", "--heads 4", "--width 128 or 132"]),
        (vec!["bench", "attention", "--width", "3"], vec!["--width 3", "try --width 4"]),
        (vec!["bench", "attention", "--dtype", "f8"], vec!["f64, f32, f16, bf16"]),
        (vec!["bench", "attention", "attn", "--values"], vec!["--values", "1 presets and 3 lengths", "--lengths 16"]),
        (huge.to_vec(), vec!["may take", "by the square of the length"]),
    ] {
        if cfg!(not(target_os = "linux")) && arguments == huge {
            continue;
        }
        let message = fails(folder().path(), &arguments, 2);
        for part in parts {
            assert!(message.contains(part), "{arguments:?}: {part} is missing in: {message}");
        }
    }
}

#[test]
fn values_are_those_of_one_pass() {
    let arguments = ["bench", "attention", "attn", "--lengths", "5", "--width", "6", "--heads", "3", "--values"];
    let values = object(&ok(folder().path(), &arguments));
    assert_eq!(values["output"]["shape"], json!([1, 5, 6]));
    assert_eq!(values["gradients"]["query.weight"]["shape"], json!([6, 6]));
    assert_eq!(values, object(&ok(folder().path(), &arguments)), "the same every time");
}

#[test]
fn a_step_is_timed_or_shows_its_values() {
    let config = root().join("configs/benchmarks/decoder_step.toml");
    let mut arguments = vec!["bench", "step", config.to_str().unwrap(), "--steps", "1", "--warmup", "0"];
    for set in [
        "model.d_model=8",
        "model.d_ff=8",
        "data.train_lengths=[6, 6]",
        "data.test_lengths=[6]",
        "data.rows=2",
        "train.batch_size=3",
    ] {
        arguments.extend(["--set", set]);
    }
    let timed = object(&ok(folder().path(), &[&arguments[..], &["--json"]].concat()));
    assert_eq!(timed["steps"], 1);
    assert!(timed["median_ms"].as_f64().unwrap() > 0.0);
    let values = object(&ok(folder().path(), &[&arguments[..], &["--values"]].concat()));
    assert_eq!((&values["input"]["kind"], &values["input"]["shape"]), (&json!("tokens"), &json!([3, 6])));
    assert_eq!(values["classes"].as_array().unwrap().len(), 18);
    assert_eq!(values["places"]["values"][17], 17);
    // 64 classes, hardly told apart by first weights as small as these.
    assert!((values["loss"].as_f64().unwrap() - 64f64.ln()).abs() < 0.1, "{}", values["loss"]);
    assert_eq!(values["gradients"]["blocks.1.feed_forward.up.weight"]["shape"], json!([8, 8]));
}
