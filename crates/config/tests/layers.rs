//! Files, their bases, and assignments on top.
mod common;

use common::{Config, Entmax, GOOD, Model, Normalizer, Shelf};
use kiln_config::{Document, Files};

fn load(shelf: &Shelf, path: &str) -> Result<Document, String> {
    Document::load(path, shelf).map_err(|error| error.headline())
}

/// The document `layer` over `base`, as one line of TOML per leaf.
fn merged(base: &str, layer: &str) -> Vec<String> {
    let shelf = Shelf::new([("base.toml", base), ("x.toml", &format!("extends = \"base.toml\"\n{layer}"))]);
    let leaves = load(&shelf, "x.toml").unwrap().leaves();
    leaves.into_iter().map(|leaf| format!("{} = {}", leaf.path, leaf.value)).collect()
}

#[test]
fn layers_merge_key_by_key() {
    let base = "seed = 1\n[optim]\nlr = 0.1\nbetas = [0.9, 0.99]\n";
    assert_eq!(
        merged(base, "note = true\n[optim]\nbetas = [0.5]"),
        ["seed = 1", "optim.lr = 0.1", "optim.betas = [0.5]", "note = true"]
    );
}

#[test]
fn a_changed_name_replaces_its_table() {
    let base = "[model]\nname = \"mlp\"\nbias = true\nin.a = 1";
    assert_eq!(merged(base, "model.name = \"cnn\""), ["model.name = \"cnn\""]);
    assert_eq!(merged(base, "model.name = 3"), ["model.name = 3"]);
    let kept = ["model.name = \"mlp\"", "model.bias = false", "model.in.a = 1"];
    assert_eq!(merged(base, "model.name = \"mlp\"\nmodel.bias = false"), kept);
    assert_eq!(merged(base, "model.bias = false"), kept);
    // A name that is merely new, and the top level, change nothing else.
    assert_eq!(merged("run.dir = \"d\"", "run.name = \"n\""), ["run.dir = \"d\"", "run.name = \"n\""]);
    assert_eq!(merged("name = \"a\"\nb = 1", "name = \"c\""), ["name = \"c\"", "b = 1"]);
}

#[test]
fn bare_names_and_tables() {
    assert_eq!(merged("n = { name = \"entmax\", alpha = 2 }", "n = \"softmax\""), ["n = \"softmax\""]);
    assert_eq!(merged("n = \"softmax\"", "n = { name = \"clip\", c = 1 }"), ["n.name = \"clip\"", "n.c = 1"]);
    assert_eq!(merged("n = \"entmax\"", "n.alpha = 2"), ["n.name = \"entmax\"", "n.alpha = 2"]);
    assert_eq!(merged("n = 5", "n.alpha = 2"), ["n.alpha = 2"]);
    assert_eq!(merged("n.alpha = 2", "n = 5"), ["n = 5"]);
}

#[test]
fn each_value_knows_its_origin() {
    let layer = "extends = \"../base.toml\"\n[optim]\nlr = 0.5\n";
    let shelf = Shelf::new([("configs/a/x.toml", layer), ("configs/base.toml", GOOD)]);
    let mut document = load(&shelf, "configs/a/x.toml").unwrap();
    document.set("model.attention.normalizer.alpha = 4").unwrap();
    let origin = |path: &str| document.origin(path).map(|origin| origin.to_string());
    assert_eq!(origin("optim.lr").as_deref(), Some("configs/a/x.toml:3"));
    assert_eq!(origin("optim.betas[1]").as_deref(), Some("configs/base.toml:12"));
    assert_eq!(origin("optim").as_deref(), Some("configs/base.toml:10"));
    let alpha = "model.attention.normalizer.alpha";
    assert_eq!(origin(alpha).as_deref(), Some("--set model.attention.normalizer.alpha = 4"));
    assert_eq!(origin("model.attention.normalizer.name").as_deref(), Some("configs/base.toml:8"));
    for absent in ["optim.momentum", "seed.x", "optim.betas[2]", "", "a b"] {
        assert_eq!(origin(absent), None, "{absent:?}");
    }
    assert_eq!(document.value(alpha), Some(toml::Value::Integer(4)));
    let config: Config = document.deserialize().unwrap();
    let Model::Transformer(model) = config.model else { panic!() };
    assert_eq!(model.attention.normalizer, Normalizer::Entmax(Entmax { alpha: 4.0 }));
}

#[test]
fn errors_name_the_file_they_lie_in() {
    let x = "extends = \"base.toml\"\n[optim]\nlr = \"fast\"";
    let headline = |shelf: &Shelf| load(shelf, "x.toml").unwrap().deserialize::<Config>().unwrap_err().headline();
    let shelf = Shelf::new([("x.toml", x), ("base.toml", GOOD)]);
    assert_eq!(headline(&shelf), "x.toml:3:6: optim.lr: expected a number, found string \"fast\"");
    let shelf = Shelf::new([("x.toml", "extends = \"base.toml\"\nseed = 1"), ("base.toml", "[model]\nname = 3")]);
    assert_eq!(headline(&shelf), "base.toml:2:8: model.name: expected a string, found integer 3");
    let shelf = Shelf::new([("x.toml", "extends = \"base.toml\""), ("base.toml", "seed = 3")]);
    assert_eq!(headline(&shelf), "x.toml: missing key \"model\" at the top level");
}

#[test]
fn bases_that_cannot_be() {
    let cases = [
        ("extends = \"gone.toml\"", "", "x.toml:1:11: extends: cannot read gone.toml: no such file"),
        ("extends = \"./x.toml\"", "", "x.toml:1:11: extends: a file cannot extend itself"),
        ("extends = 3", "", "x.toml:1:11: extends: expected the path of one file in quotes, found integer 3"),
        ("extends = [\"a\"]", "", "x.toml:1:11: extends: expected the path of one file in quotes, found an array"),
        ("extends = \"b.toml\"", "a = ", "b.toml:1:5: not valid TOML: expected a value; text stands in quotes"),
        ("extends = \"b.toml\"", "# nothing\n", "b.toml: the file is empty; expected at least one key"),
        ("extends = \"b.toml\"", "extends = \"x.toml\"", "b.toml:1:1: extends: this file and x.toml extend each other"),
        (
            "extends = \"b.toml\"",
            "a = 1\nextends = \"c.toml\"",
            "b.toml:2:1: extends: this file is the base of x.toml and cannot extend another; one base, one layer",
        ),
    ];
    for (x, base, message) in cases {
        let shelf = Shelf::new([("x.toml", x), ("b.toml", base)]);
        assert_eq!(load(&shelf, "x.toml").unwrap_err(), message);
    }
}

#[test]
fn files_that_cannot_be() {
    let shelf = Shelf::new([("empty.toml", ""), ("comment.toml", "# later\n"), ("bom.toml", "\u{feff}seed = \"x\"")]);
    let message = |path: &str| load(&shelf, path).unwrap_err();
    assert_eq!(message("gone.toml"), "cannot read gone.toml: no such file");
    assert_eq!(message("empty.toml"), "empty.toml: the file is empty; expected at least one key");
    assert_eq!(message("comment.toml"), "comment.toml: the file is empty; expected at least one key");
    // A byte order mark is no error and moves no column.
    let error = load(&shelf, "bom.toml").unwrap().deserialize_at::<u64>("seed").unwrap_err();
    assert_eq!(error.headline(), "bom.toml:1:8: seed: expected a whole number of at least 0, found string \"x\"");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("latin1.toml");
    std::fs::write(&file, b"a = 1\nb = \"\xe9\"\n").unwrap();
    let refused = Document::load(&file, &Files).unwrap_err().headline();
    let (file, folder) = (file.display(), folder.path().display());
    assert_eq!(refused, format!("cannot read {file}: line 2 is not UTF-8; save the file as UTF-8"));
    let refused = Document::load(folder.to_string(), &Files).unwrap_err().headline();
    assert_eq!(refused, format!("cannot read {folder}: it is a folder, not a file"));
}

#[test]
fn assignments_read_toml_and_bare_words() {
    let mut document = Document::parse("x.toml", "[optim]\nlr = 1\n").unwrap();
    let values = [
        ("optim.lr=3e-4", "optim.lr", "0.0003"),
        ("run.device=cuda:0", "run.device", "\"cuda:0\""),
        ("run.dir = /tmp/a b#c", "run.dir", "\"/tmp/a b#c\""),
        ("run.note=a=b", "run.note", "\"a=b\""),
        ("run.note='a=b'", "run.note", "\"a=b\""),
        ("model.widths=[1, 2]", "model.widths", "[1, 2]"),
        ("model.bias=true", "model.bias", "true"),
        ("loss={ name = \"ce\", k = 2 }", "loss.k", "2"),
        ("loss.k=3", "loss.k", "3"),
        ("loss.name=other", "loss", "{ name = \"other\" }"),
        ("set.\"a=b\"=1", "set.\"a=b\"", "1"),
        ("set.\"a=b\"=word", "set.\"a=b\"", "\"word\""),
    ];
    for (assignment, path, value) in values {
        document.set(assignment).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(document.value(path).expect(path).to_string(), value, "{assignment}");
        assert_eq!(document.origin(path).unwrap().source, format!("--set {assignment}"));
    }
}

#[test]
fn assignments_that_fit_no_schema_point_into_themselves() {
    let mut document = Document::parse("x.toml", GOOD).unwrap();
    document.set("optim.lr = fast").unwrap();
    let error = document.deserialize::<Config>().unwrap_err().to_string();
    let lines: Vec<_> = error.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        [
            "--set optim.lr = fast: optim.lr: expected a number, found string \"fast\"",
            " |",
            " | --set optim.lr = fast",
            " |                  ^^^^",
        ]
    );
    let mut document = Document::parse("x.toml", GOOD).unwrap();
    document.set("optim.mometum=0.9").unwrap();
    let error = document.deserialize::<Config>().unwrap_err();
    assert!(error.headline().starts_with("--set optim.mometum=0.9: unknown key \"mometum\" in [optim]; allowed: lr"));
    assert!(error.to_string().trim_end().ends_with("\n |             ^^^^^^^"), "{error}");
}

#[test]
fn assignments_that_are_none() {
    let mut document = Document::parse("x.toml", GOOD).unwrap();
    let before = document.to_table();
    let cases = [
        ("optim.lr", "--set optim.lr: expected key.path=value"),
        ("", "--set : expected key.path=value"),
        ("optim.lr=", "--set optim.lr=: expected a value after ="),
        ("a=1\nb=2", "--set a=1\nb=2: an assignment is one line"),
        (
            "optim.transforms[0].norm=2",
            "--set optim.transforms[0].norm=2: an element of an array cannot be set by itself",
        ),
        (
            "optim.transforms.0.norm=2",
            "--set optim.transforms.0.norm=2: optim.transforms: is an array, whose elements cannot be set by themselves",
        ),
        ("extends=b.toml", "--set extends=b.toml: `extends` can only stand in a file"),
        ("optim.betas=[0.9", "--set optim.betas=[0.9: not valid TOML: unclosed array, expected `]`"),
        ("optim..lr=3", "--set optim..lr=3: not valid TOML: "),
        ("=3", "--set =3: not valid TOML: "),
    ];
    for (assignment, message) in cases {
        let headline = document.set(assignment).unwrap_err().headline();
        assert!(headline.starts_with(message), "{headline}\n{message}");
    }
    assert_eq!(document.to_table(), before, "a refused assignment leaves no trace");
}

#[test]
fn the_merged_config_is_toml_again() {
    let mut document = Document::parse("x.toml", GOOD).unwrap();
    document.set("model.dropout=0.5").unwrap();
    let again = Document::parse("again.toml", &document.to_toml_string()).unwrap();
    assert_eq!(again.to_table(), document.to_table());
    assert_eq!(again.deserialize::<Config>().unwrap(), document.deserialize::<Config>().unwrap());
}

#[test]
fn every_layer_remembers_what_it_said() {
    let layer = "extends = \"base.toml\"\noptim.lr = 0.5\n";
    let shelf = Shelf::new([("x.toml", layer), ("base.toml", "[optim]\nname = \"sgd\"\nlr = 1\nbeta = 2\n")]);
    let mut document = load(&shelf, "x.toml").unwrap();
    document.set("optim={ name = \"adam\", lr = 3 }").unwrap();
    let history = |path: &str| -> Vec<String> {
        document.history(path).iter().map(|leaf| format!("{} in {}", leaf.value, leaf.origin)).collect()
    };
    let set = "--set optim={ name = \"adam\", lr = 3 }";
    assert_eq!(history("optim.lr"), ["1 in base.toml:3", "0.5 in x.toml:2", &format!("3 in {set}")]);
    // The new name took the table with it.
    assert_eq!((history("optim.beta"), document.origin("optim.beta")), (vec!["2 in base.toml:4".to_owned()], None));
    assert!(history("").is_empty() && history("optim.x").is_empty());
    assert_eq!(document.layers(), ["base.toml", "x.toml", set]);
}
