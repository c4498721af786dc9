//! Attention, positions, patterns, heads and losses in all pairs: each pair trains two steps in some config, or is refused with a
//! reason before any data is touched.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use kiln_activations::loss::LossConfig;
use kiln_models::{
    attention::{AttentionConfig, PatternConfig, PresetConfig},
    head::HeadConfig,
    position::{PositionConfig, Stage},
};
use kiln_registry::Tagged;
use kiln_trainer::{
    config,
    run::summary::Status,
    train::{Session, Start, progress::Mode},
};
use serde_json::{Value, json};

/// A choice that a config makes: its place among the factors, and which of the factor's levels it takes.
type Choice = (usize, usize);

const FACTORS: [&str; 5] = ["attention", "position", "pattern", "head", "loss"];

/// Networks and data that a combination may stand in, tried in this order.
const PLACES: [[&str; 2]; 3] = [["decoder", "needle"], ["transformer", "needle"], ["decoder", "copying"]];

fn levels(factor: usize) -> Vec<&'static str> {
    match factor {
        0 => PresetConfig::NAMES.to_vec(),
        1 => PositionConfig::NAMES.to_vec(),
        2 => PatternConfig::NAMES.to_vec(),
        3 => HeadConfig::NAMES.to_vec(),
        _ => LossConfig::NAMES.to_vec(),
    }
}

/// The level that goes with everything, where there is one.
fn plain(factor: usize, place: usize) -> usize {
    let name = match factor {
        0 => "attn",
        1 => "none",
        2 if place == 1 => "full",
        2 => "causal",
        3 => "linear",
        _ => "cross_entropy",
    };
    levels(factor).iter().position(|level| *level == name).unwrap()
}

/// The config of a combination, as a file would write it: slots of the preset with another pattern and position.
fn experiment(choice: [usize; 5], place: usize) -> Value {
    let name = |factor: usize| levels(factor)[choice[factor]];
    let [network, data] = PLACES[place];
    let mut attention: AttentionConfig = serde_json::from_value(json!({ "name": name(0), "n_heads": 2 })).unwrap();
    (attention.d_head, attention.d_value) = (Some(4), Some(3));
    let pattern = match name(2) {
        "window" => json!({ "name": "window", "width": 3 }),
        "local" => json!({ "name": "local", "radius": 2 }),
        "prefix" => json!({ "name": "prefix", "length": 2 }),
        "document" => json!({ "name": "document", "separator": 1 }),
        plain => json!(plain),
    };
    attention.pattern = Some(serde_json::from_value(pattern).unwrap());
    let position: PositionConfig = serde_json::from_value(json!(name(1))).unwrap();
    let at_embedding = position.stage() == Stage::Embedding;
    let positions = if at_embedding { name(1) } else { "none" };
    if !at_embedding {
        attention.position = position;
    }
    // The one loss that only goes with a setting of a head, not with its default.
    let head = match (name(3), name(4)) {
        ("normalised", "psl") => json!({ "name": "normalised", "s": 0.5 }),
        (head, _) => json!(head),
    };
    let mut model = json!({
        "name": network, "d_model": 8, "d_ff": 5, "n_layers": 1, "positions": positions, "head": head,
    });
    model["attention"] = serde_json::to_value(&attention).unwrap();
    let data = match data {
        "needle" => {
            json!({ "name": "needle", "symbols": 4, "kinds": 11, "train_lengths": [6, 7], "test_lengths": [9], "rows": 2 })
        }
        _ => json!({ "name": "copying", "symbols": 11, "train_lengths": [2, 3], "test_lengths": [4], "rows": 2 }),
    };
    json!({
        "data": data, "model": model, "loss": name(4), "optim": { "name": "adamw", "lr": 1e-3 },
        "train": { "steps": 2, "batch_size": 3 }, "eval": { "every": 2 },
    })
}

fn write(folder: &Path, value: &Value) -> std::path::PathBuf {
    let path = folder.join("pair.toml");
    let mut value = value.clone();
    value["run"] = json!({ "dir": folder.join("runs") });
    std::fs::write(&path, toml::to_string(&value).unwrap()).unwrap();
    path
}

/// Why the combination is refused; `None` if it is not.
fn refusal(folder: &Path, choice: [usize; 5], place: usize) -> Option<String> {
    let path = write(folder, &experiment(choice, place));
    let resolved = config::load(&path, &[]).and_then(|loaded| config::resolve(&loaded));
    resolved.err().map(|error| error.to_string())
}

/// Two choices in surroundings that go with everything; a head or a loss that goes with few others stands with each of those.
fn surroundings(pair: [Choice; 2], place: usize) -> impl Iterator<Item = [usize; 5]> {
    let mut choice: [usize; 5] = std::array::from_fn(|factor| plain(factor, place));
    for (factor, level) in pair {
        choice[factor] = level;
    }
    let fixed = |factor: usize| pair.iter().any(|(fixed, _)| *fixed == factor);
    let partner = match (fixed(3), fixed(4)) {
        (true, false) => Some(4),
        (false, true) => Some(3),
        _ => None,
    };
    let others = partner.into_iter().flat_map(move |factor| {
        (0..levels(factor).len()).map(move |level| {
            let mut choice = choice;
            choice[factor] = level;
            choice
        })
    });
    std::iter::once(choice).chain(others)
}

fn all_pairs() -> Vec<[Choice; 2]> {
    let mut pairs = Vec::new();
    for a in 0..FACTORS.len() {
        for b in a + 1..FACTORS.len() {
            let (first, second) = (levels(a).len(), levels(b).len());
            pairs.extend((0..first).flat_map(|i| (0..second).map(move |j| [(a, i), (b, j)])));
        }
    }
    pairs
}

fn pairs_of(choice: &[usize; 5]) -> impl Iterator<Item = [Choice; 2]> {
    (0..FACTORS.len()).flat_map(move |a| (a + 1..FACTORS.len()).map(move |b| [(a, choice[a]), (b, choice[b])]))
}

fn describe(pair: &[Choice; 2]) -> String {
    pair.map(|(factor, level)| format!("{} {}", FACTORS[factor], levels(factor)[level])).join(" × ")
}

/// Pairs, the first place they may stand in, and what stands around them there.
type Legal = BTreeMap<[Choice; 2], (usize, [usize; 5])>;

/// Pairs and why each place refuses them.
type Refused = BTreeMap<[Choice; 2], Vec<String>>;

/// Each pair with the first place it may stand in, or with every refusal.
fn judged(folder: &Path) -> (Legal, Refused) {
    let (mut legal, mut refused) = (Legal::new(), Refused::new());
    for pair in all_pairs() {
        let mut reasons = Vec::new();
        for place in 0..PLACES.len() {
            let fits = surroundings(pair, place).find(|choice| refusal(folder, *choice, place).is_none());
            if let Some(choice) = fits {
                legal.insert(pair, (place, choice));
                break;
            }
            let choice = surroundings(pair, place).next().expect("there is always one");
            reasons.extend(refusal(folder, choice, place));
        }
        if reasons.len() == PLACES.len() {
            refused.insert(pair, reasons);
        }
    }
    (legal, refused)
}

#[test]
fn every_pair_trains_or_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (legal, refused) = judged(folder.path());
    assert!(!folder.path().join("runs").exists(), "a refusal touched the disk");
    for (pair, reasons) in &refused {
        for reason in reasons {
            let short = reason.lines().next().unwrap_or_default();
            assert!(reason.contains("pair.toml:"), "{}: no place in: {reason}", describe(pair));
            assert!(short.len() > 40 && !reason.contains("panicked"), "{}: no reason in: {reason}", describe(pair));
        }
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for [(a, _), (b, _)] in refused.keys() {
        *counts.entry(format!("{} × {}", FACTORS[*a], FACTORS[*b])).or_default() += 1;
    }
    for (pair, reasons) in &refused {
        println!("{}: {}", describe(pair), reasons[0].lines().next().unwrap_or_default());
    }
    // A pair that stops being refused, or starts to be, is looked at by somebody. The loss `distillation` needs a teacher, so
    // it goes with nothing here.
    let expected = [
        ("attention × loss", 17),
        ("attention × pattern", 35),
        ("attention × position", 30),
        ("head × loss", 60),
        ("pattern × loss", 6),
        ("position × loss", 8),
    ];
    assert_eq!(counts, expected.map(|(pair, count)| (pair.to_owned(), count)).into());

    // Greedy: each config covers as many pairs as it can that no other has covered.
    let mut open: BTreeSet<[Choice; 2]> = legal.keys().copied().collect();
    let mut runs = 0;
    while let Some(pair) = open.first().copied() {
        let (place, mut choice) = legal[&pair];
        for factor in 0..FACTORS.len() {
            if pair.iter().any(|(fixed, _)| *fixed == factor) {
                continue;
            }
            let with = |level: usize| {
                let mut choice = choice;
                choice[factor] = level;
                choice
            };
            let news = |level: &usize| pairs_of(&with(*level)).filter(|pair| open.contains(pair)).count();
            let mut candidates: Vec<usize> = (0..levels(factor).len()).collect();
            candidates.sort_by_key(|level| std::cmp::Reverse(news(level)));
            let fits = |level: &usize| refusal(folder.path(), with(*level), place).is_none();
            if let Some(level) = candidates.into_iter().find(fits) {
                choice = with(level);
            }
        }
        let path = write(folder.path(), &experiment(choice, place));
        let text = std::fs::read_to_string(&path).unwrap();
        let loaded = config::load(&path, &[]).unwrap();
        let Start::New(session) = Session::start(&loaded, true).unwrap_or_else(|error| panic!("{error}\n{text}"))
        else {
            panic!("not a new run")
        };
        let summary = session.run(Mode::Silent).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(summary.status, Status::Finished, "{text}");
        for pair in pairs_of(&choice) {
            open.remove(&pair);
        }
        runs += 1;
    }
    println!("{runs} configs trained two steps");
}
