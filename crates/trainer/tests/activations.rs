//! `kiln check`, `kiln apply` and `kiln bench activations` as a person meets them.
mod common;

use common::{fails, ok, run};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn apply_prints_weights_logs_gradient_and_sum() {
    let printed = ok(folder().path(), &["apply", "softmax", "1", "2", "-1.5"]);
    for part in ["weight", "log weight", "gradient", "0.263", "0.71", "sum of the weights: 1"] {
        assert!(printed.contains(part), "{part} is missing in: {printed}");
    }
    // The gradient of the first weight: y_0 (1 − y_0).
    let rows = json(&ok(folder().path(), &["apply", "softmax", "0,0", "--json"]));
    assert_eq!(rows[0]["weights"], serde_json::json!([0.5, 0.5]));
    assert_eq!(rows[0]["upstream"], serde_json::json!([1.0, 0.0]));
    assert_eq!(rows[0]["gradient"], serde_json::json!([0.25, -0.25]));
}

#[test]
fn apply_takes_parameters_an_upstream_gradient_and_the_log_form() {
    let weights = |arguments: &[&str]| json(&ok(folder().path(), arguments))[0]["weights"].clone();
    let sparsemax = weights(&["apply", "sparsemax", "0.5", "1", "-1", "--json"]);
    assert_eq!(weights(&["apply", "entmax", "--set", "alpha=2", "0.5", "1", "-1", "--json"]), sparsemax);
    assert_ne!(weights(&["apply", "entmax", "0.5", "1", "-1", "--json"]), sparsemax);

    let rows = json(&ok(folder().path(), &["apply", "softmax", "0", "0", "--upstream", "0,2", "--log", "--json"]));
    assert_eq!(rows[0]["gradient"], serde_json::json!([-1.0, 1.0]));
    let half = json(&ok(folder().path(), &["apply", "softmax", "0.1", "0.2", "--dtype", "f16", "--json"]));
    assert_eq!(half[0]["scores"][0], serde_json::json!(0.0999755859375));
    let removed = json(&ok(folder().path(), &["apply", "softmax", "--json", "--", "-inf", "3"]));
    assert_eq!(removed[0]["weights"], serde_json::json!([0.0, 1.0]));
}

#[test]
fn apply_reads_rows_from_a_file() {
    let folder = folder();
    std::fs::write(folder.path().join("scores.csv"), "a,b,c\n1,1,-inf\n\n0,0\n").unwrap();
    let rows = json(&ok(folder.path(), &["apply", "softmax", "--csv", "scores.csv", "--json"]));
    assert_eq!(rows[0]["weights"], serde_json::json!([0.5, 0.5, 0.0]));
    assert_eq!(rows[1]["weights"], serde_json::json!([0.5, 0.5]));
    assert!(ok(folder.path(), &["apply", "softmax", "--csv", "scores.csv"]).contains("row 1"));
}

#[test]
fn apply_names_what_does_not_fit() {
    let folder = folder();
    std::fs::write(folder.path().join("bad.csv"), "1,2\n3,four\n").unwrap();
    for (arguments, parts) in [
        (vec!["apply", "sofmax", "1"], vec!["sofmax", "did you mean \"softmax\"?"]),
        (vec!["apply", "entmax", "1", "--set", "alhpa=2"], vec!["alhpa", "did you mean \"alpha\"?", "allowed: alpha"]),
        (vec!["apply", "entmax", "1", "--set", "alpha=0.5"], vec!["0.5 is out of range"]),
        (vec!["apply", "softmax", "1", "2x"], vec!["number 2", "\"2x\" is not a number"]),
        (vec!["apply", "softmax", ","], vec!["no scores"]),
        (vec!["apply", "softmax", "--csv", "bad.csv"], vec!["bad.csv: line 2, field 2: \"four\" is not a number"]),
        (vec!["apply", "softmax", "--csv", "none.csv"], vec!["none.csv"]),
        (vec!["apply", "softmax", "1", "2", "--upstream", "1"], vec!["--upstream has 1 numbers", "2 scores"]),
        (vec!["apply", "sparsemax", "1", "--log"], vec!["sparsemax has no log form", "softmax"]),
        (vec!["apply", "softmax", "1", "--plot", "x.svg", "--moving", "3"], vec!["--moving 3", "the last one is 0"]),
        (vec!["apply", "softmax", "1", "--dtype", "f8"], vec!["f64, f32, f16, bf16"]),
        (vec!["apply", "softmax", "1", "--device", "gpu"], vec!["unknown device \"gpu\""]),
    ] {
        let message = fails(folder.path(), &arguments, 2);
        for part in parts {
            assert!(message.contains(part), "{arguments:?}: {part} is missing in: {message}");
        }
    }
}

#[test]
fn apply_draws_a_curve() {
    let folder = folder();
    ok(folder.path(), &["apply", "sparsemax", "0", "0.5", "-1", "--plot", "curve.svg"]);
    let svg = std::fs::read_to_string(folder.path().join("curve.svg")).unwrap();
    for part in ["<svg", "sparsemax", "score 0, moving", "score 1 = 0.5", "as given"] {
        assert!(svg.contains(part), "{part} is missing in the plot");
    }
}

#[test]
fn check_passes_and_prints_a_table() {
    let printed = ok(folder().path(), &["check", "softmax", "ce_exact", "cross_entropy(s*max)", "--dtype", "f32,bf16"]);
    for part in ["softmax", "cross_entropy(stablemax)", "ce_exact", "bf16", "gradient", "error (ulp)", "pass"] {
        assert!(printed.contains(part), "{part} is missing in: {printed}");
    }
    assert!(!printed.contains("FAIL"), "{printed}");
    let findings = json(&ok(folder().path(), &["check", "sparse*", "--json"]));
    assert!(findings.as_array().unwrap().iter().all(|finding| finding["problem"].is_null()), "{findings}");
    assert_eq!(findings[0]["quantity"], "weights");
}

#[test]
fn check_names_what_it_does_not_know() {
    let message = fails(folder().path(), &["check", "sofmax"], 2);
    assert!(message.contains("nothing is named \"sofmax\"; known: softmax,"), "{message}");
    assert!(fails(folder().path(), &["check", "--dtype", "f8"], 2).contains("f64, f32, f16, bf16"));
    assert!(fails(folder().path(), &["check", "--device", "cuda:0"], 2).contains("--features cuda"));
}

#[test]
fn bench_measures_against_a_copy() {
    let arguments = ["bench", "activations", "s*max", "--sizes", "3x64,2x5", "--repeats", "2", "--threads", "1"];
    let output = run(folder().path(), &[&arguments[..], &["--json"]].concat());
    let report = json(&String::from_utf8(output.stdout).unwrap());
    assert_eq!((&report["threads"], &report["dtype"]), (&serde_json::json!(1), &serde_json::json!("f32")));
    assert_eq!(report["sizes"].as_array().unwrap().len(), 2);
    let entry = &report["sizes"][0]["entries"][0];
    assert_eq!(entry["name"], "softmax");
    for pass in ["forward", "forward_backward"] {
        assert!(entry[pass]["gb_s"].as_f64().unwrap() > 0.0, "{entry}");
    }
    let printed = ok(folder().path(), &arguments);
    assert!(printed.contains("[3, 64]") && printed.contains("stablemax"), "{printed}");
    assert!(fails(folder().path(), &["bench", "activations", "--sizes", "64"], 2).contains("such as 8192x1024"));
    assert!(fails(folder().path(), &["bench", "activations", "nomax"], 2).contains("nothing is named \"nomax\""));
}
