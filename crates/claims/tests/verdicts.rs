//! Verdicts can fail: planted runs for every word and every flag.
mod support;

use std::collections::BTreeSet;

use kiln_claims::{Claim, Flag, Provenance, Value, Verdict, Word, judge, observe, standard_error};
use support::{Planted, study, untouched};

const SEEDS: [u64; 3] = [2, 3, 4];

const CLAIM: &str = r#"
[[claims]]
id = "G"
statement = "the treatment helps"
scale = "quick"
conditions = [
    { kind = "precondition", expr = "first(C.train >= 0.99) <= 100" },
    { kind = "direction", expr = "end(A.test) - end(C.test) > 0" },
    { kind = "threshold", expr = "end(A.test) - end(C.test) >= 0.4", headline = true, published = "0.5" },
]
"#;

fn claim(text: &str) -> Claim {
    study(text).claims.remove(0)
}

/// `A` ends at `a`, `C` at `c`; `C` fits its training set at step 100.
fn runs(a: [f64; 3], c: [f64; 3]) -> Planted {
    SEEDS.iter().zip(a.into_iter().zip(c)).fold(Planted::default(), |records, (seed, (a, c))| {
        records.log("A", *seed, "test", &[(0, 0.0), (100, a)]).log("C", *seed, "test", &[(0, 0.0), (100, c)]).log(
            "C",
            *seed,
            "train",
            &[(0, 0.0), (100, 1.0)],
        )
    })
}

fn verdict(records: &Planted) -> Verdict {
    judge(&claim(CLAIM), &SEEDS, records, &untouched())
}

#[test]
fn reproduced_when_everything_holds_on_every_seed() {
    let verdict = verdict(&runs([0.9, 0.8, 0.95], [0.1, 0.2, 0.3]));
    assert_eq!((verdict.word, verdict.reason.as_str(), verdict.n), (Word::Reproduced, "", 3));
    assert!(verdict.flags.is_empty() && verdict.rows.iter().all(|row| row.holds));
    let headline = verdict.headline().unwrap();
    assert_eq!((headline.measured.as_str(), headline.threshold.as_str()), ("end(A.test) - end(C.test)", ">= 0.4"));
    assert_eq!(headline.published.as_deref(), Some("0.5"));
    let values: Vec<Value> = headline.seeds.iter().map(|seed| seed.values.as_ref().unwrap().value).collect();
    assert_eq!(values, [Value::Number(0.9 - 0.1), Value::Number(0.8 - 0.2), Value::Number(0.95 - 0.3)]);
    assert_eq!(headline.seeds[0].values.as_ref().unwrap().bounds, [Value::Number(0.4)]);
}

#[test]
fn a_control_that_never_trained_makes_it_void() {
    let records = runs([0.9; 3], [0.1; 3]).log("C", 3, "train", &[(0, 0.0), (100, 0.2)]);
    let verdict = verdict(&records);
    assert_eq!(verdict.word, Word::Void);
    assert_eq!(verdict.reason, "precondition fails on seed 3 (never): first(C.train >= 0.99) <= 100");
}

#[test]
fn a_missed_threshold_makes_it_partly() {
    let verdict = verdict(&runs([0.9, 0.45, 0.9], [0.1; 3]));
    assert_eq!(verdict.word, Word::Partly);
    assert!(verdict.reason.starts_with("threshold fails on seed 3 (0.35): end(A.test)"), "{}", verdict.reason);
}

#[test]
fn a_reversed_direction_on_one_seed_makes_it_not_reproduced() {
    let verdict = verdict(&runs([0.9, 0.9, 0.1], [0.1, 0.1, 0.3]));
    assert_eq!(verdict.word, Word::NotReproduced);
    assert!(verdict.reason.starts_with("direction fails on seed 4 (-0.2)"), "{}", verdict.reason);
}

#[test]
fn an_event_that_never_happens_fails() {
    let text = CLAIM.replace("end(A.test) - end(C.test) > 0", "first(A.test >= 0.5) <= 100");
    let verdict = judge(&claim(&text), &SEEDS, &runs([0.9, 0.9, 0.4], [0.0; 3]), &untouched());
    assert_eq!(verdict.word, Word::NotReproduced);
    assert!(verdict.reason.starts_with("direction fails on seed 4 (never)"), "{}", verdict.reason);
}

#[test]
fn what_is_missing_is_not_run_and_never_a_pass() {
    let good = || runs([0.9; 3], [0.1; 3]);
    let interrupted = verdict(&good().interrupted("A", 4));
    assert_eq!((interrupted.word, interrupted.reason.as_str()), (Word::NotRun, "run A, seed 4, is not finished"));
    let no_row = CLAIM.replace("end(A.test) - end(C.test) > 0", "at(A.test, 60) > 0");
    let no_row = judge(&claim(&no_row), &SEEDS, &good(), &untouched());
    assert_eq!(no_row.word, Word::NotRun);
    assert_eq!(no_row.reason, "A.test, seed 2, has no row at step 60; the nearest are 0 and 100");
    // Not even where the rest has failed.
    let failed = verdict(&runs([0.0; 3], [0.5; 3]).interrupted("C", 2));
    assert_eq!(failed.word, Word::NotRun);
    assert_eq!(judge(&claim(CLAIM), &[], &good(), &untouched()).word, Word::NotRun);
    let declared = CLAIM.replace("scale = \"quick\"", "scale = \"quick\"\nnot_run = \"80 minutes\"");
    let declared = judge(&claim(&declared), &SEEDS, &good(), &untouched());
    assert_eq!((declared.word, declared.reason.as_str()), (Word::NotRun, "80 minutes"));
    // Its thresholds are still shown.
    assert_eq!(declared.rows[2].threshold, ">= 0.4");
    assert!(declared.rows.iter().all(|row| row.seeds.is_empty() && !row.holds));
}

#[test]
fn the_mean_counts_where_the_claim_says_so() {
    let (a, c) = ([0.9, 0.9, 0.2], [0.1, 0.1, 0.3]);
    assert_eq!(verdict(&runs(a, c)).word, Word::NotReproduced);
    let on_mean = CLAIM.replace("scale = \"quick\"", "scale = \"quick\"\non_mean = true");
    let verdict = judge(&claim(&on_mean), &SEEDS, &runs(a, c), &untouched());
    assert_eq!(verdict.word, Word::Reproduced);
    let Value::Number(mean) = verdict.rows[2].mean.as_ref().unwrap().value else { panic!("no mean") };
    assert!((mean - 0.5).abs() < 1e-12);
    // A control must have trained on every seed all the same, and a `never` has no mean.
    let untrained = runs(a, c).log("C", 2, "train", &[(0, 0.0), (100, 0.0)]);
    assert_eq!(judge(&claim(&on_mean), &SEEDS, &untrained, &untouched()).word, Word::Void);
    let never = on_mean.replace("end(A.test) - end(C.test) > 0", "first(A.test >= 0.5) <= 100");
    let never = judge(&claim(&never), &SEEDS, &runs(a, c), &untouched());
    assert_eq!((never.word, never.rows[1].mean.as_ref().unwrap().value), (Word::NotReproduced, Value::Never));
}

const WITHIN: &str = r#"
[[claims]]
id = "W"
statement = "both end alike"
scale = "quick"
kind = "within"
margin = 0.08
baseline = "end(C.test)"
conditions = [
    { kind = "direction", expr = "end(A.test) > 0" },
    { kind = "threshold", expr = "abs(end(A.test) - end(C.test)) <= margin" },
]
"#;

#[test]
fn a_margin_below_the_noise_decides_nothing() {
    let judged = |a, c| judge(&claim(WITHIN), &SEEDS, &runs(a, c), &untouched());
    assert_eq!(judged([0.55; 3], [0.5, 0.52, 0.54]).word, Word::Reproduced);
    assert_eq!(judged([0.7; 3], [0.5, 0.52, 0.54]).word, Word::Partly);
    // Sample deviation 0.1, standard error 0.1/√3 = 0.0577, twice that above 0.08.
    let noisy = judged([0.5, 0.6, 0.7], [0.5, 0.6, 0.7]);
    assert_eq!(noisy.word, Word::Undecidable);
    assert_eq!(noisy.reason, "the margin 0.08 is below two standard errors of end(C.test): 2 × 0.0577");
    // Noise hides no failed direction; one seed says nothing about noise.
    assert_eq!(judged([0.5, 0.6, 0.0], [0.5, 0.6, 0.7]).word, Word::NotReproduced);
    let one = judge(&claim(WITHIN), &[2], &runs([0.5; 3], [0.5; 3]), &untouched());
    assert_eq!((one.word, one.reason.as_str()), (Word::Undecidable, "the spread of end(C.test) is unknown with n = 1"));
}

#[test]
fn standard_error_by_hand() {
    // Deviations −1, 0, 1: variance 2/2 = 1, over 3 values.
    assert!((standard_error(&[1.0, 2.0, 3.0]).unwrap() - (1.0f64 / 3.0).sqrt()).abs() < 1e-15);
    assert_eq!(standard_error(&[1.0]), None);
}

#[test]
fn flags_stand_beside_the_word() {
    let judged = |provenance: &Provenance| judge(&claim(CLAIM), &SEEDS, &runs([0.9; 3], [0.1; 3]), provenance);
    assert_eq!(judged(&untouched()).to_string(), "reproduced");
    let edited = Provenance { claim: "c2".into(), ..untouched() };
    assert_eq!(judged(&edited).to_string(), "reproduced, changed after the run");
    let late = Provenance { claim_at_run: vec![Some("c1".into()), None], ..untouched() };
    assert_eq!(judged(&late).flags, [Flag::ChangedAfterRun]);
    let mixed = Provenance { code_of_run: vec!["k1".into(), "k2".into()], ..untouched() };
    assert_eq!(judged(&mixed).to_string(), "reproduced, mixed code versions");
    let both = Provenance { claim: "c2".into(), ..mixed };
    assert_eq!(judged(&both).to_string(), "reproduced, changed after the run, mixed code versions");
}

#[test]
fn the_judged_text_changes_with_what_decides_and_with_nothing_else() {
    let text = |from: &str, to: &str| claim(&CLAIM.replace(from, to)).judged_text(&SEEDS);
    let original = text("", "");
    assert_eq!(
        original,
        concat!(
            r#"{"id":"G","scale":"quick","seeds":[2,3,4],"kind":"superior","margin":null,"baseline":null,"#,
            r#""on_mean":false,"conditions":[["precondition","first(C.train >= 0.99) <= 100"],"#,
            r#"["direction","end(A.test) - end(C.test) > 0"],["threshold","end(A.test) - end(C.test) >= 0.4"]]}"#,
        )
    );
    for (from, to) in [
        ("the treatment helps", "treatment helps"),
        ("published = \"0.5\"", "published = \"0.6\""),
        ("end(A.test) - end(C.test) >= 0.4", "(end(A.test))-end( C.test ) >= 0.40"),
    ] {
        assert_eq!(text(from, to), original);
    }
    for (from, to) in [
        (">= 0.4", ">= 0.35"),
        ("kind = \"threshold\"", "kind = \"direction\""),
        ("scale = \"quick\"", "scale = \"quick\"\non_mean = true"),
        ("id = \"G\"", "id = \"H\""),
    ] {
        assert_ne!(text(from, to), original);
    }
    assert_ne!(claim(CLAIM).judged_text(&[2, 3]), original);
}

#[test]
fn a_glance_shows_what_its_runs_decide_and_gives_no_word() {
    let text =
        CLAIM.replace("conditions = [", "conditions = [\n{ kind = \"threshold\", expr = \"end(A.test) >= 0.95\" },");
    let rows = observe(&claim(&text), &BTreeSet::from(["A"]), &[2], &runs([0.9; 3], [0.1; 3]));
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].expr.as_str(), rows[0].holds), ("end(A.test) >= 0.95", false));
    assert_eq!(rows[0].seeds[0].values.as_ref().unwrap().value, Value::Number(0.9));
}

#[test]
fn verdicts_serialise_with_their_words() {
    let json = serde_json::to_value(verdict(&runs([0.9; 3], [0.1; 3]).log("C", 2, "train", &[(0, f64::NAN)]))).unwrap();
    assert_eq!(json["word"], "void");
    assert_eq!(json["rows"][0]["seeds"][0]["values"]["value"], "never");
    assert_eq!(serde_json::to_value(Word::NotReproduced).unwrap(), "not reproduced");
    assert_eq!(serde_json::to_value(Flag::ChangedAfterRun).unwrap(), "changed after the run");
    assert_eq!(serde_json::to_value(Value::Number(f64::INFINITY)).unwrap(), "inf");
}
