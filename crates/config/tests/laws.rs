//! Laws of merging, and inputs that nobody would write.
mod common;

use std::collections::BTreeMap;

use common::{Config, GOOD, Shelf};
use kiln_config::Document;
use proptest::prelude::*;
use toml::{Table, Value};

/// Tables of few keys, `name` among them, so that layers meet.
fn tables() -> impl Strategy<Value = Table> {
    let scalar = prop_oneof![
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Boolean),
        (-1e9..1e9).prop_map(Value::Float),
        "[ab]{0,2}".prop_map(Value::String),
    ];
    let value = scalar.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            table_of(inner).prop_map(Value::Table),
        ]
    });
    table_of(value)
}

fn table_of(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Table> {
    prop::collection::btree_map("name|a|b|c d", value, 0..4).prop_map(|table| table.into_iter().collect())
}

/// `layer` over `base`, which holds an `anchor` besides, since a file may not be empty.
fn layered(base: &Table, layer: &Table) -> Document {
    let mut base = base.clone();
    base.insert("anchor".into(), Value::Integer(1));
    let shelf =
        Shelf::new([("base.toml", &base.to_string()), ("x.toml", &format!("extends = \"base.toml\"\n{layer}"))]);
    Document::load("x.toml", &shelf).expect("two good files")
}

fn leaves(document: &Document) -> BTreeMap<String, String> {
    document.leaves().into_iter().map(|leaf| (leaf.path, leaf.value.to_string())).collect()
}

fn alone(table: &Table) -> Document {
    Document::parse("alone.toml", &table.to_string()).expect("TOML")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn an_empty_layer_changes_nothing(mut base in tables()) {
        let merged = layered(&base, &Table::new()).to_table();
        base.insert("anchor".into(), Value::Integer(1));
        prop_assert_eq!(merged, base);
    }

    #[test]
    fn the_later_layer_wins(base in tables(), layer in tables()) {
        let (merged, base, layer) = (leaves(&layered(&base, &layer)), leaves(&alone(&base)), leaves(&alone(&layer)));
        for (path, value) in &layer {
            prop_assert_eq!(merged.get(path), Some(value), "{} of the layer", path);
        }
        for (path, value) in merged.iter().filter(|(path, _)| *path != "anchor" && !layer.contains_key(*path)) {
            // What the layer does not say is the base's, or the base's bare name spelled out.
            let spelled_out = path.strip_suffix(".name").and_then(|choice| base.get(choice));
            prop_assert_eq!(base.get(path).or(spelled_out), Some(value), "{} of the base", path);
        }
    }

    #[test]
    fn laying_a_layer_twice_is_laying_it_once(base in tables(), layer in tables()) {
        let once = layered(&base, &layer).to_table();
        prop_assert_eq!(layered(&once, &layer).to_table(), once);
    }

    #[test]
    fn every_leaf_is_found_at_its_path(base in tables(), layer in tables()) {
        let document = layered(&base, &layer);
        for leaf in document.leaves() {
            prop_assert_eq!(document.value(&leaf.path), Some(leaf.value));
            prop_assert_eq!(document.origin(&leaf.path), Some(leaf.origin));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        try_everything(&text);
    }

    #[test]
    fn nothing_like_toml_makes_it_panic(text in "[\\[\\]{}=.,#\"'\\\\\nnamex0-9eé\u{feff}\r\t \u{0}-]{0,40}") {
        try_everything(&text);
    }

    #[test]
    fn no_broken_config_makes_it_panic(at in 0..GOOD.len(), removed in 0usize..6, inserted in "[\\[\\]{}=.,\"\n0-9aß-]{0,3}") {
        let end = (at + removed).min(GOOD.len());
        try_everything(&format!("{}{inserted}{}", &GOOD[..at], &GOOD[end..]));
    }
}

/// Every way into the crate; what fails must also render.
fn try_everything(text: &str) {
    let read = Document::parse("x.toml", text).and_then(|document| {
        for path in [text, "name", "a.b[0]"] {
            document.error_at(path, "message", Some("help")).to_string();
        }
        document.deserialize::<Config>()
    });
    let assigned = Document::parse("x.toml", GOOD).and_then(|mut document| {
        document.set(text)?;
        document.set(&format!("optim.lr={text}"))?;
        document.deserialize::<Config>()
    });
    for error in [read.err(), assigned.err()].into_iter().flatten() {
        assert!(error.render(true).starts_with(&error.headline()));
        assert!(!error.to_string().is_empty());
    }
}
