//! What measures of attention and of hidden values write into a run's log, and whom they refuse.
mod common;

use std::path::Path;

use common::{fails, ok, only_run};

/// A decoder of two layers with three heads each on a text of bigrams, in `folder/text.toml`.
fn text(folder: &Path, measures: &str) {
    let config = format!(
        "[data]\nname = \"bigram_back_copy\"\nsymbols = 7\ntriggers = 2\ntrain_lengths = [11, 11]\ntest_lengths = [13]\n\
         rows = 5\n[model]\nname = \"decoder\"\nd_model = 12\nd_ff = 8\nn_layers = 2\npositions = \"learned\"\n\
         [model.attention]\nn_heads = 3\n[loss]\nname = \"cross_entropy\"\n[optim]\nname = \"adamw\"\nlr = 1e-3\n\
         [train]\nsteps = 2\nbatch_size = 4\n[eval]\nmeasures = {measures}\n"
    );
    std::fs::write(folder.join("text.toml"), config).unwrap();
}

#[test]
fn sinks_and_outliers_of_every_layer_stand_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    text(folder.path(), r#"["outliers", { name = "sink_rate", group = "bigram", from = 2 }]"#);
    ok(folder.path(), &["train", "text.toml", "-q"]);
    let log = std::fs::read_to_string(only_run(&folder.path().join("runs")).join("metrics.jsonl")).unwrap();
    let row: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let value = |metric: &str| row[metric].as_f64().unwrap_or_else(|| panic!("no {metric} in {row}"));
    for i in 0..2 {
        assert!(value(&format!("n13_block{i}_largest")) > 0.0 && value(&format!("n13_block{i}_kurtosis")) >= 1.0);
        // Softmax weights of an untrained network are near 1 over the number of keys, of which a query has up to 13.
        let weight = value(&format!("n13_layer{i}_sink_weight"));
        assert!((1.0 / 26.0..0.5).contains(&weight), "{weight}");
        assert_eq!(value(&format!("n13_layer{i}_sink_rate")), 0.0, "no untrained head rests on the first token");
    }
    assert_eq!(value("n13_sink_rate"), 0.0);
    assert!(row.get("n13_layer2_sink_rate").is_none() && row.get("n13_block2_largest").is_none());
}

#[test]
fn a_sink_rate_that_cannot_be_measured_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    text(folder.path(), r#"[{ name = "sink_rate", group = "bigrm" }]"#);
    let message = fails(folder.path(), &["train", "text.toml"], 2);
    let expected = "the data has no group \"bigrm\"; expected one of back_copy, bigram; did you mean \"bigram\"?";
    assert!(message.contains(expected), "{message}");
    let set = |assignment: &str| fails(folder.path(), &["train", "text.toml", "--set", assignment], 2);
    let message = set("eval.measures=[{ name = \"sink_rate\", threshold = -1 }]");
    assert!(message.contains("threshold") && message.contains("at least 0"), "{message}");

    common::tiny(folder.path(), "[train]\nsteps = 3\n");
    let sinks = r#"eval.measures=["sink_rate"]"#;
    let message = fails(folder.path(), &["train", "tiny.toml", "--set", sinks], 2);
    assert!(message.contains("the network has no attention whose weights could be read"), "{message}");
}

#[test]
fn calibration_reads_the_probabilities_of_the_loss() {
    let trained = |loss: &str| {
        let folder = tempfile::tempdir().unwrap();
        common::tiny(folder.path(), "[train]\nsteps = 2\n[eval]\nmeasures = [\"calibration\"]\n");
        ok(folder.path(), &["train", "tiny.toml", "-q", "--set", loss]);
        let log = std::fs::read_to_string(only_run(&folder.path().join("runs")).join("metrics.jsonl")).unwrap();
        serde_json::from_str::<serde_json::Value>(log.lines().next().unwrap()).unwrap()
    };
    let row = trained("loss={ name = \"cross_entropy\", dtype = \"f64\" }");
    let value = |metric: &str| row[metric].as_f64().unwrap_or_else(|| panic!("no {metric} in {row}"));
    // Through softmax minus the logarithm of the target's probability is the loss itself.
    assert!((value("test_nll") - value("test_loss")).abs() < 1e-9, "{row}");
    assert_eq!(value("test_excluded"), 0.0);
    let (confidence, ece) = (value("test_confidence"), value("test_ece"));
    assert!((0.0..=1.0).contains(&confidence) && ece <= value("test_mce") && value("test_brier") <= 2.0, "{row}");
    // An untrained network is about as often right as it is sure, so neither is far from chance.
    assert!((ece - (confidence - value("test_accuracy")).abs()).abs() < 0.05, "{row}");

    let folder = tempfile::tempdir().unwrap();
    common::tiny(folder.path(), "[train]\nsteps = 2\n[eval]\nmeasures = [\"calibration\"]\n");
    let message = fails(folder.path(), &["train", "tiny.toml", "--set", "loss={ name = \"mse\" }"], 2);
    let expected = "calibration: the loss \"mse\" reads scores that are no probabilities; leave the measure out, or choose one \
                    of: cross_entropy, ce_exact, fenchel_young, label_smoothing, comp_sum, relu_nll";
    assert!(message.contains(expected), "{message}");
}
