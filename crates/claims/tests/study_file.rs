//! What a study file may say, and the plan that follows from it.
mod support;

use kiln_claims::{Scale, Study};
use support::{HEAD, study};

const CLAIM: &str = r#"
[[claims]]
id = "G"
statement = "s"
scale = "quick"
conditions = [{ kind = "direction", expr = "end(A.test) > end(C.test)" }]
"#;

#[track_caller]
fn invalid(rest: &str, message: &str) {
    let study: Study = toml::from_str(&format!("{HEAD}{rest}")).unwrap();
    assert_eq!(study.check().unwrap_err().to_string(), message);
}

#[track_caller]
fn unreadable(rest: &str, part: &str) {
    let error = toml::from_str::<Study>(&format!("{HEAD}{rest}")).unwrap_err().to_string();
    assert!(error.contains(part), "{error}");
}

/// `CLAIM` with one part exchanged.
fn with(from: &str, to: &str) -> String {
    assert!(CLAIM.contains(from));
    CLAIM.replace(from, to)
}

#[test]
fn unknown_keys_and_bad_expressions_are_refused_while_reading() {
    unreadable(&with("statement", "statment"), "unknown field `statment`");
    unreadable(
        &with("end(A.test) > end(C.test)", "endd(A.test) > 1"),
        "unknown function \"endd\"; did you mean \"end\"?",
    );
    unreadable(&with("quick", "quik"), "unknown variant `quik`");
    unreadable("[runs.B]\nsummary = \"\"\nconfig = \"\"\nscales = []\nset = 3", "expected a map");
    unreadable("[scales.huge]\nseeds = [1]\nbudget = \"\"", "unknown field `huge`");
}

#[test]
fn claims_must_fit_their_runs() {
    invalid(
        &with("end(A.test)", "end(a.test)"),
        "claims.0.conditions.0.expr: column 5: unknown run \"a\"; did you mean \"A\"? known: A, C\n  \
         end(a.test) > end(C.test)\n      ^",
    );
    let paper = "\n[scales.paper]\nseeds = [42]\nbudget = \"\"";
    invalid(
        &format!("{}{paper}", with("quick", "paper")),
        "claims.0.conditions.0.expr: column 5: run A is not made at scale paper; add the scale to it or read another \
         run\n  end(A.test) > end(C.test)\n      ^",
    );
    invalid(&with("quick", "paper"), "claims.0.scale: scale paper is not declared under [scales]");
    invalid(
        &with("end(A.test) > end(C.test)", "1 < 2"),
        "claims.0.conditions.0.expr: 1 < 2 reads no run, so no run could decide it",
    );
    invalid(&format!("{CLAIM}{CLAIM}"), "claims.1.id: claim \"G\" stands twice at scale quick");
}

#[test]
fn claims_must_be_refutable_and_consistent() {
    invalid(
        &with("direction", "threshold"),
        "claims.0.conditions: nothing could refute this claim; expected at least one condition of kind \"direction\"",
    );
    invalid(&with("scale =", "not_run = \"\"\nscale ="), "claims.0.not_run: expected the reason");
    invalid(
        &with("scale =", "kind = \"exact\"\non_mean = true\nscale ="),
        "claims.0.on_mean: an exact claim is judged on every seed; drop on_mean or choose another kind",
    );
    invalid(
        &with("> end(C.test)", "> 1").replace("scale =", "kind = \"order\"\nscale ="),
        "claims.0.kind: an order is between runs; expected a condition that reads two or more",
    );
    invalid(&with("scale =", "margin = 0.1\nscale ="), "claims.0.kind: margin and baseline belong to kind \"within\"");
    invalid(
        &with("> end(C.test)", "> margin"),
        "claims.0.conditions.0.expr: the word `margin` has no value here; it belongs to kind \"within\"",
    );
    let within = |keys: &str| with("scale =", &format!("kind = \"within\"\n{keys}\nscale ="));
    invalid(&within(""), "claims.0.margin: a claim of kind \"within\" needs a margin above 0");
    invalid(
        &within("margin = 0.1"),
        "claims.0.baseline: a claim of kind \"within\" needs a baseline, whose spread over seeds says whether the margin \
         can be resolved",
    );
    invalid(
        &within("margin = 0.1\nbaseline = \"end(C.test)\""),
        "claims.0.conditions: no condition uses the margin; expected for example abs(at(A.test_accuracy, 500) - \
         at(B.test_accuracy, 500)) <= margin",
    );
    invalid(
        &within("margin = 0.1\nbaseline = \"end(D.test)\"").replace("> end(C.test)", "> margin"),
        "claims.0.baseline: column 5: unknown run \"D\"; known: A, C\n  end(D.test)\n      ^",
    );
}

#[test]
fn runs_and_scales_must_fit() {
    let run =
        |name: &str, keys: &str| format!("[runs.{name}]\nsummary = \"\"\nconfig = \"\"\nscales = [\"quick\"]\n{keys}");
    invalid(
        &run("\"B-1\"", ""),
        "runs.B-1: \"B-1\" is no name of a run; expected a letter, then letters, digits or underscores",
    );
    invalid(&run("B", "needs = [\"X\"]"), "runs.B.needs: unknown run \"X\"; known: A, B, C");
    invalid(
        &format!("{}\n{}", run("B", "needs = [\"D\"]"), run("D", "needs = [\"B\"]")),
        "runs.B.needs: these runs wait for each other: B, D",
    );
    invalid(
        &run("B", "needs = [\"C\"]").replace("[\"quick\"]", "[\"quick\", \"glance\"]"),
        "runs.B.needs: run C is not made at scale glance, where B needs it",
    );
    invalid(
        &run("B", "[runs.B.per_scale.glance]\nsteps = 3"),
        "runs.B.per_scale.glance: the run is not made at scale glance; add it to scales or drop this table",
    );
    invalid(
        &run("B", "set = { \"train.steps\" = 3 }"),
        "runs.B.set: train.steps is set by the study itself: seeds stand under [scales], steps in the run",
    );
    invalid(
        &run("B", "set = { \"optim..lr\" = 3 }"),
        "runs.B.set: \"optim..lr\" is no key; expected one such as optim.lr",
    );
    let head = |from: &str, to: &str| {
        toml::from_str::<Study>(&HEAD.replace(from, to)).unwrap().check().unwrap_err().to_string()
    };
    assert_eq!(head("[2, 3, 4]", "[2, 2]"), "scales.quick.seeds: expected one seed or more, each once");
    assert_eq!(
        head("shows = \"quick\"", "shows = \"glance\""),
        "scales.glance.shows: scale glance has no claims to show; expected a declared scale that judges its own"
    );
}

const PLANNED: &str = r#"
[runs.B]
summary = "starts from D"
config = "configs/b.toml"
scales = ["quick", "glance"]
steps = 100
needs = ["D"]
set = { "optim.lr" = 3e-3, "loss" = { name = "ce_exact", dtype = "f32" }, "model.widths" = [8, 8] }
[runs.B.per_scale.glance]
steps = 10
set = { "optim.lr" = 1.0 }
[runs.D]
summary = "only needed"
config = "configs/d.toml"
scales = ["quick", "glance"]
[runs.E]
summary = "only read by a claim that is not run"
config = "configs/e.toml"
scales = ["quick"]
[[claims]]
id = "H"
statement = "s"
scale = "quick"
not_run = "long"
conditions = [{ kind = "direction", expr = "end(A.test) < end(E.test)" }]
"#;

#[test]
fn a_plan_has_every_seed_after_what_it_needs() {
    let study = study(&format!("{PLANNED}{CLAIM}"));
    let plan = study.plan(Scale::Quick);
    let names: Vec<(&str, u64)> = plan.iter().map(|run| (run.name.as_str(), run.seed)).collect();
    let expected = ["A", "C", "D", "B"].into_iter().flat_map(|name| [2, 3, 4].map(|seed| (name, seed)));
    assert_eq!(names, expected.collect::<Vec<_>>());
    let last = plan.last().unwrap();
    assert_eq!(last.needs, ["D"]);
    assert_eq!(
        last.assignments(),
        [
            "optim.lr=0.003",
            r#"loss={ "name" = "ce_exact", "dtype" = "f32" }"#,
            "model.widths=[8, 8]",
            "train.steps=100",
        ]
    );
    let glance = study.plan(Scale::Glance);
    assert_eq!(glance.iter().map(|run| run.name.as_str()).collect::<Vec<_>>(), ["A", "D", "B"]);
    assert_eq!(glance[2].assignments()[3..], ["optim.lr=1.0", "train.steps=10"]);
    assert!(study.plan(Scale::Paper).is_empty());
}

#[test]
fn assignments_are_toml() {
    let mut rest = PLANNED.replace("3e-3", "1e-25");
    rest.push_str(CLAIM);
    let plan = study(&rest).plan(Scale::Quick);
    for assignment in plan.iter().flat_map(|run| run.assignments()) {
        let table: toml::Table = toml::from_str(&assignment).unwrap();
        assert_eq!(table.len(), 1);
    }
    let last: toml::Table = toml::from_str(&plan.last().unwrap().assignments()[0]).unwrap();
    assert_eq!(last["optim"]["lr"].as_float(), Some(1e-25));
}

#[test]
fn scales_by_name() {
    assert_eq!("paper".parse(), Ok(Scale::Paper));
    assert_eq!(
        "glanse".parse::<Scale>(),
        Err("unknown scale \"glanse\"; did you mean \"glance\"? known: glance, quick, paper".into())
    );
}

#[test]
fn a_study_survives_a_round_trip_and_has_a_schema() {
    let study = study(&format!("{PLANNED}{CLAIM}"));
    let json = serde_json::to_string(&study).unwrap();
    assert_eq!(serde_json::from_str::<Study>(&json).unwrap(), study);
    let schema = serde_json::to_value(schemars::schema_for!(Study)).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["runs"].is_object());
}
