//! From the file to the plan, and from one plan to the next.
use std::path::Path;

use serde_json::Value;

use crate::{
    common::{fails, ok, root, run},
    support::{finished, folder, place, runs, states, write},
};

/// `kiln sweep plan --json`.
fn plan(folder: &Path) -> Value {
    serde_json::from_str(&ok(folder, &["sweep", "plan", "s.toml", "--json", "--threads", "1"])).unwrap()
}

/// Names of the variants with their settings, `name: key=value …`.
fn variants(overview: &Value) -> Vec<String> {
    let line = |variant: &Value| {
        let settings = variant["settings"].as_object().unwrap().iter();
        let settings: Vec<String> = settings.map(|(key, value)| format!("{key}={}", value.as_str().unwrap())).collect();
        format!("{}: {}", variant["name"].as_str().unwrap(), settings.join(" "))
    };
    overview["variants"].as_array().unwrap().iter().map(line).collect()
}

const GRID: &str = "seeds = [2, 3]\nset = { \"train.steps\" = 4 }\nbaseline = \"softmax\"\n[grid]\nloss.normalizer = [\"softmax\", { name = \"temperature\", tau = 2.0 }]\n";

#[test]
fn a_grid_is_frozen_with_its_configs_and_nothing_is_trained() {
    let folder = folder(GRID);
    let overview = plan(folder.path());
    assert_eq!(
        variants(&overview),
        [
            "softmax: loss.normalizer=softmax",
            "temperature(tau=2.0): loss.normalizer=temperature loss.normalizer.tau=2.0",
        ]
    );
    assert_eq!((overview["baseline"].as_str(), overview["counts"]["missing"].as_u64()), (Some("softmax"), Some(4)));
    let runs = runs(&overview);
    assert_eq!(
        runs.keys().collect::<Vec<_>>(),
        ["softmax-2", "softmax-3", "temperature(tau=2.0)-2", "temperature(tau=2.0)-3"]
    );
    for (name, run) in &runs {
        let path = Path::new(run["folder"].as_str().unwrap());
        let stem = path.file_name().unwrap().to_str().unwrap();
        let (prefix, hash) = stem.rsplit_once('-').unwrap();
        assert!(hash.len() == 8 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{stem}");
        assert!(
            prefix.starts_with(if name.starts_with("soft") { "softmax-s" } else { "temperature-tau=2.0-s" }),
            "{stem}"
        );
        let config = place(folder.path()).join(format!("plan/{stem}.toml"));
        let printed = ok(folder.path(), &["config", config.to_str().unwrap()]);
        assert!(printed.contains("threads = 1") && printed.contains("steps = 4"), "{printed}");
    }
    assert!(!place(folder.path()).join("runs").exists());
    let again = run(folder.path(), &["sweep", "plan", "s.toml"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("planned before"));
}

#[test]
fn a_random_sweep_is_reproduced_by_its_seed() {
    let text = |seed: u64| {
        format!(
            "seeds = [2]\n[random]\nsamples = 4\nseed = {seed}\n\"optim.lr\" = {{ log_uniform = [1e-4, 1e-1] }}\nloss.normalizer = {{ choice = [\"softmax\", \"stablemax\"] }}\n"
        )
    };
    let planned = |seed| {
        let folder = folder(&text(seed));
        variants(&plan(folder.path()))
    };
    let first = planned(7);
    assert_eq!(first, planned(7));
    assert_ne!(first, planned(8));
    assert_eq!(first, PINNED);
}
const PINNED: [&str; 4] = [
    "r1: loss.normalizer=stablemax optim.lr=0.00914305",
    "r2: loss.normalizer=softmax optim.lr=0.0060423",
    "r3: loss.normalizer=stablemax optim.lr=0.000780104",
    "r4: loss.normalizer=stablemax optim.lr=0.000130885",
];

#[test]
fn a_list_says_what_differs_though_only_one_sets_it() {
    let folder =
        folder("seeds = [2]\n[[runs]]\nname = \"plain\"\n[[runs]]\nname = \"wide\"\nset.model.widths = [48, 48]\n");
    let expected = ["plain: model.widths=[32,32]", "wide: model.widths=[48,48]"];
    assert_eq!(variants(&plan(folder.path())), expected);
    let table = ok(folder.path(), &["sweep", "plan", "s.toml", "-q"]);
    assert!(table.contains("model.widths") && table.contains("[48,48]"), "{table}");
}

#[test]
fn shipped_sweeps_can_be_planned_away_from_the_source_tree() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut found = 0;
    for file in std::fs::read_dir(root().join("configs/ablations")).unwrap().flatten() {
        let name = format!("configs/ablations/{}", file.file_name().to_string_lossy());
        let text = std::fs::read_to_string(file.path()).unwrap();
        if text.contains("kiln data fetch") && std::env::var_os("KILN_DATA_DIR").is_none() {
            continue;
        }
        let overview: Value = serde_json::from_str(&ok(elsewhere.path(), &["sweep", "plan", &name, "--json"])).unwrap();
        assert!(overview["baseline"].is_string() && !overview["metrics"].as_array().unwrap().is_empty(), "{name}");
        found += 1;
    }
    assert!(found >= 1);
}

#[test]
fn an_edited_file_says_what_changed_and_a_new_plan_keeps_what_fits() {
    let text = |lr: &str, seeds: &str| {
        format!("seeds = {seeds}\n[[runs]]\nname = \"a\"\n[[runs]]\nname = \"b\"\nset = {{ \"optim.lr\" = {lr} }}\n")
    };
    let folder = folder(&text("1e-2", "[2, 3]"));
    ok(folder.path(), &["sweep", "run", "s.toml", "-q", "--threads", "1"]);
    let before = finished(folder.path());
    assert_eq!(before.len(), 4);
    let sweep = ["sweep", "run", "s.toml", "-q"];

    // One variant changes, one seed goes and one comes, one variant comes.
    write(
        folder.path(),
        &format!("{}[[runs]]\nname = \"c\"\nset = {{ \"optim.lr\" = 5e-3 }}\n", text("2e-2", "[3, 4]")),
    );
    let message = fails(folder.path(), &sweep, 2);
    for part in [
        "s.toml is not what the plan in runs/sweeps/s was made from",
        "seed 4 is new",
        "seed 2 is gone",
        "variant \"c\" is new",
        "b: optim.lr was 0.01, now 0.02",
        "--replan makes the plan anew; 1 of its 6 runs are there and kept",
    ] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    assert!(!message.contains("a: "), "{message}");
    assert_eq!(finished(folder.path()), before);
    ok(folder.path(), &[&sweep[..], &["--replan"]].concat());
    let after = finished(folder.path());
    // Four stay where they are, one of them in the plan; five are new.
    assert_eq!(after.len(), 4 + 5);
    assert!(before.iter().all(|(name, time)| after.get(name) == Some(time)), "a finished run was touched");
    assert!(states(folder.path()).iter().all(|state| state.ends_with("=done")));

    // An edit of the base is one of all runs.
    let base = folder.path().join("tiny.toml");
    let edited = std::fs::read_to_string(&base).unwrap().replace("steps = 6", "steps = 7");
    std::fs::write(&base, edited).unwrap();
    let message = fails(folder.path(), &sweep, 2);
    assert!(message.contains("all variants: train.steps was 6, now 7"), "{message}");
}

#[test]
fn headings_and_the_baseline_are_taken_over_without_a_new_plan() {
    let grid = "seeds = [2]\n[grid]\n\"optim.lr\" = [1e-3, 1e-2]\n";
    let folder = folder(grid);
    ok(folder.path(), &["sweep", "run", "s.toml", "-q"]);
    let before = finished(folder.path());
    write(
        folder.path(),
        &format!("question = \"Which?\"\nbaseline = \"lr=0.01\"\nlabels = {{ \"lr=0.01\" = \"fast\" }}\n{grid}"),
    );
    let overview = plan(folder.path());
    assert_eq!((overview["question"].as_str(), overview["baseline"].as_str()), (Some("Which?"), Some("lr=0.01")));
    assert_eq!(overview["variants"][1]["label"], "fast");
    assert_eq!((overview["counts"]["done"].as_u64(), finished(folder.path())), (Some(2), before));
}
