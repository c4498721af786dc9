//! The text of each kind of message: a changed word or a caret that moved is a failure.
mod common;

use common::{Clip, Config, Entmax, GOOD, Model, Normalizer, PerpGrad, Stop, Transform, complaint};
use kiln_config::Document;

/// Compares whole renderings; `expected` starts with a newline for the sake of the reader.
#[track_caller]
fn says(actual: &str, expected: &str) {
    let trimmed: Vec<_> = actual.lines().map(str::trim_end).collect();
    let expected: Vec<_> = expected.trim_matches('\n').lines().map(str::trim_end).collect();
    assert_eq!(trimmed, expected, "\n--- came:\n{actual}\n");
}

#[test]
fn a_good_config_reads_with_registries_everywhere() {
    let config: Config = Document::parse("x.toml", GOOD).unwrap().deserialize().unwrap();
    let Model::Transformer(model) = config.model else { panic!("{:?}", config.model) };
    assert_eq!(model.dropout, Some(0.0), "a whole number serves as a number");
    assert_eq!(model.attention.normalizer, Normalizer::Entmax(Entmax { alpha: 2.0 }), "the name may stand second");
    let clip = Transform::Clip(Clip { norm: 1.0 });
    assert_eq!(config.optim.transforms, [Transform::PerpGrad(PerpGrad {}), clip]);
}

#[test]
fn unknown_keys() {
    says(
        &complaint("alpha = 2", "alhpa = 2"),
        r#"
x.toml:8:16: unknown key "alhpa" in [model.attention.normalizer]; did you mean "alpha"? allowed: alpha
  |
8 | normalizer = { alhpa = 2, name = "entmax" }
  |                ^^^^^
"#,
    );
    says(
        &complaint("lr = 3e-3", "lr = 3e-3\nmomentum = 0.9"),
        r#"
x.toml:12:1: unknown key "momentum" in [optim]; allowed: lr, betas, transforms, state_dtype
   |
12 | momentum = 0.9
   | ^^^^^^^^
"#,
    );
    says(
        &complaint("seed = 3", "sede = 3"),
        r#"
x.toml:1:1: unknown key "sede" at the top level; did you mean "seed"? allowed: seed, model, optim, stop
  |
1 | sede = 3
  | ^^^^
"#,
    );
    says(
        &complaint("\"perp_grad\"", "{ name = \"perp_grad\", norm = 1 }"),
        r#"
x.toml:13:37: unknown key "norm" in [optim.transforms[0]]; it takes no parameters
   |
13 | transforms = [{ name = "perp_grad", norm = 1 }, { name = "clip", norm = 1 }]
   |                                     ^^^^
"#,
    );
}

#[test]
fn unknown_names() {
    says(
        &complaint("\"entmax\"", "\"netmax\""),
        r#"
x.toml:8:34: unknown normalizer "netmax" in [model.attention]; did you mean "entmax"? known: softmax, entmax
  |
8 | normalizer = { alpha = 2, name = "netmax" }
  |                                  ^^^^^^^^
"#,
    );
    says(
        &complaint("{ alpha = 2, name = \"entmax\" }", "\"sofmax\""),
        r#"
x.toml:8:14: unknown normalizer "sofmax" in [model.attention]; did you mean "softmax"? known: softmax, entmax
  |
8 | normalizer = "sofmax"
  |              ^^^^^^^^
"#,
    );
    says(
        &complaint("\"transformer\"", "\"lstm\""),
        r#"
x.toml:5:8: unknown model "lstm"; known: mlp, transformer
  |
5 | name = "lstm"
  |        ^^^^^^
"#,
    );
    says(
        &complaint("name = \"clip\"", "name = \"clap\""),
        r#"
x.toml:13:37: unknown transforms[1] "clap" in [optim]; did you mean "clip"? known: clip, perp_grad
   |
13 | transforms = ["perp_grad", { name = "clap", norm = 1 }]
   |                                     ^^^^^^
"#,
    );
    says(
        &complaint("\"f32\"", "\"f33\""),
        r#"
x.toml:14:15: unknown state_dtype "f33" in [optim]; did you mean "f32"? known: f16, f32
   |
14 | state_dtype = "f33"
   |               ^^^^^
"#,
    );
}

#[test]
fn wrong_types() {
    says(
        &complaint("alpha = 2", "alpha = \"2\""),
        r#"
x.toml:8:24: model.attention.normalizer.alpha: expected a number, found string "2"
  |
8 | normalizer = { alpha = "2", name = "entmax" }
  |                        ^^^
"#,
    );
    says(
        &complaint("n_heads = 4", "n_heads = 4.0"),
        r#"
x.toml:7:11: model.attention.n_heads: expected a whole number of at least 0, found float 4.0
  |
7 | n_heads = 4.0
  |           ^^^
  |
  = help: write 4, without point and exponent
"#,
    );
    says(
        &complaint("n_heads = 4", "n_heads = -4"),
        r#"
x.toml:7:11: model.attention.n_heads: expected a whole number of at least 0, found integer -4
  |
7 | n_heads = -4
  |           ^^
"#,
    );
    says(
        &complaint("[0.9, 0.99]", "[0.9, true]"),
        r#"
x.toml:12:15: optim.betas[1]: expected a number, found boolean true
   |
12 | betas = [0.9, true]
   |               ^^^^
"#,
    );
    says(
        &complaint("[0.9, 0.99]", "[0.9,\n  0.99, 0.999]"),
        r#"
x.toml:12:9: optim.betas: expected an array of 2 values, found 3 of them
   |
12 | betas = [0.9,
   |         ^^^^^
"#,
    );
    says(
        &complaint("transforms = [\"perp_grad\", { name = \"clip\", norm = 1 }]", "transforms = \"clip\""),
        r#"
x.toml:13:14: optim.transforms: expected an array, found string "clip"
   |
13 | transforms = "clip"
   |              ^^^^^^
"#,
    );
    says(
        &complaint("{ alpha = 2, name = \"entmax\" }", "1.5"),
        r#"
x.toml:8:14: model.attention.normalizer: expected the name of a normalizer, or a table with its `name` and parameters, found float 1.5
  |
8 | normalizer = 1.5
  |              ^^^
"#,
    );
    says(
        &complaint("state_dtype = \"f32\"", "state_dtype = 32"),
        r#"
x.toml:14:15: optim.state_dtype: expected one of: f16, f32, found integer 32
   |
14 | state_dtype = 32
   |               ^^
"#,
    );
}

#[test]
fn a_struct_takes_no_array_by_position() {
    let document = Document::parse("x.toml", "model = { name = \"mlp\", widths = [1] }\noptim = [0.1]\n").unwrap();
    let message = document.deserialize::<Config>().unwrap_err();
    assert_eq!(message.headline(), "x.toml:2:9: optim: expected a table, found an array");
}

#[test]
fn missing_keys_point_at_the_table() {
    says(
        &complaint("lr = 3e-3\n", ""),
        r#"
x.toml:10:1: missing key "lr" in [optim]
   |
10 | [optim]
   | ^^^^^^^
"#,
    );
    says(
        &complaint("norm = 1", ""),
        r#"
x.toml:13:28: missing key "norm" in [optim.transforms[1]]
   |
13 | transforms = ["perp_grad", { name = "clip",  }]
   |                            ^^^^^^^^^^^^^^^^^^^
"#,
    );
    says(
        &complaint("\"perp_grad\"", "\"clip\""),
        r#"
x.toml:13:15: missing key "norm" in [optim.transforms[0]]
   |
13 | transforms = ["clip", { name = "clip", norm = 1 }]
   |               ^^^^^^
"#,
    );
    says(
        &complaint("name = \"transformer\"", ""),
        r#"
x.toml:3:1: missing key "name" in [model]
  |
3 | [model]
  | ^^^^^^^
"#,
    );
    let document = Document::parse("x.toml", "seed = 1").unwrap();
    says(&document.deserialize::<Config>().unwrap_err().to_string(), "x.toml: missing key \"model\" at the top level");
}

#[test]
fn range_checks_point_at_the_value() {
    says(
        &complaint("lr = 3e-3", "lr = -1"),
        r#"
x.toml:11:6: optim.lr: -1 is out of range; expected a number above 0
   |
11 | lr = -1
   |      ^^
"#,
    );
    says(
        &complaint("[0.9, 0.99]", "[0.9, 1.0]"),
        r#"
x.toml:12:9: optim.betas: 1 is out of range; expected two numbers in [0, 1)
   |
12 | betas = [0.9, 1.0]
   |         ^^^^^^^^^^
"#,
    );
}

#[test]
fn enums_in_serdes_own_form() {
    let stop = |text: &str| {
        let document = Document::parse("x.toml", text).unwrap();
        document.deserialize_at::<Stop>("stop").map_err(|error| error.headline())
    };
    assert_eq!(stop("stop = \"never\""), Ok(Stop::Never));
    assert_eq!(stop("stop.after = 7"), Ok(Stop::After(7)));
    assert_eq!(stop("[stop.reached]\nmetric = \"m\"\nvalue = 1"), Ok(Stop::Reached { metric: "m".into(), value: 1.0 }));
    let refused = [
        ("stop.after = 300", "x.toml:1:14: stop.after: expected a whole number from 0 to 255, found integer 300"),
        ("stop.afer = 3", r#"x.toml:1:6: unknown stop "afer"; did you mean "after"? known: never, after, reached"#),
        ("stop.never = 1", "x.toml:1:14: stop.never: expected the bare name, without a value, found integer 1"),
        ("stop.reached = 1", "x.toml:1:16: stop.reached: expected a table, found integer 1"),
        (
            "[stop.reached]\nmetric = \"m\"\nvlue = 1",
            r#"x.toml:3:1: unknown key "vlue" in [stop.reached]; did you mean "value"? allowed: metric, value"#,
        ),
        ("stop = 1", "x.toml:1:8: stop: expected one of: never, after, reached, found integer 1"),
        ("go = 1", "x.toml: stop (default): is missing"),
    ];
    for (text, message) in refused {
        assert_eq!(stop(text), Err(message.to_owned()));
    }
}

#[test]
fn checks_between_values_find_their_line() {
    let document = Document::parse("x.toml", GOOD).unwrap();
    let message = "d_model = 130 is not a multiple of n_heads = 4";
    says(
        &document.error_at("model.attention.n_heads", message, Some("try 128 or 132")).to_string(),
        r#"
x.toml:7:11: model.attention.n_heads: d_model = 130 is not a multiple of n_heads = 4
  |
7 | n_heads = 4
  |           ^
  |
  = help: try 128 or 132
"#,
    );
    says(
        &document.error_at("model.attention.d_head", "too small", None).to_string(),
        r#"
x.toml:6:1: model.attention.d_head (default): too small
  |
6 | [model.attention]
  | ^^^^^^^^^^^^^^^^^
"#,
    );
    says(
        &document.error_at("optim.transforms[1].norm", "too small", None).to_string(),
        r#"
x.toml:13:52: optim.transforms[1].norm: too small
   |
13 | transforms = ["perp_grad", { name = "clip", norm = 1 }]
   |                                                    ^
"#,
    );
    let nowhere = document.error_at("train.steps", "cannot be 0", Some("set it"));
    says(&nowhere.to_string(), "x.toml: train.steps (default): cannot be 0\nhelp: set it");
}

#[test]
fn colour_comes_only_when_asked_for() {
    let document = Document::parse("x.toml", GOOD).unwrap();
    let error = document.error_at("seed", "odd", None);
    assert!(!error.render(false).contains('\u{1b}'));
    assert!(error.render(true).contains('\u{1b}'));
    assert!(error.render(true).starts_with(&error.headline()));
    assert_eq!(error.origin().unwrap().to_string(), "x.toml:1");
}

#[test]
fn columns_count_characters() {
    let document = Document::parse("x.toml", "note = { \"größe\" = 1, seed = \"ß\" }").unwrap();
    let error = document.deserialize_at::<std::collections::BTreeMap<String, u64>>("note").unwrap_err();
    assert_eq!(error.headline(), "x.toml:1:30: note.seed: expected a whole number of at least 0, found string \"ß\"");
}

#[test]
fn syntax_errors() {
    let cases = [
        ("[optim]\nlr = \n", "x.toml:2:6: not valid TOML: expected a value; text stands in quotes"),
        ("a = foo", "x.toml:1:5: not valid TOML: expected a value; text stands in quotes"),
        ("a = 1\na = 2", "x.toml:2:1: not valid TOML: duplicate key"),
        ("a = 1\r\n[b", "x.toml:2:3: not valid TOML: unclosed table, expected `]`"),
        (
            "a = 99999999999999999999",
            "x.toml:1:5: 99999999999999999999 does not fit 64 bits; \
             expected -9223372036854775808 to 9223372036854775807",
        ),
        ("a = 1e999", "x.toml:1:5: 1e999 does not fit a 64-bit float; the largest is 1.7976931348623157e308"),
        ("extends = \"y.toml\"", "x.toml:1:1: extends: this text stands alone; it cannot extend a file"),
    ];
    for (text, message) in cases {
        assert_eq!(Document::parse("x.toml", text).unwrap_err().headline(), message);
    }
    assert_eq!(Document::parse("x", "a = inf").unwrap().deserialize_at::<f64>("a").unwrap(), f64::INFINITY);
    assert_eq!(Document::parse("x", "a = 0x_").unwrap_err().origin().unwrap().line, Some(1));
}
