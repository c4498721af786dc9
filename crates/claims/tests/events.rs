//! Each event and each operation on a log whose answers can be read off.
mod support;

use kiln_claims::{Comparison, EvalError, Reading, Value};
use support::Planted;

const NAN: f64 = f64::NAN;

fn log() -> Planted {
    Planted::default()
        .log("A", 2, "acc", &[(0, 0.1), (50, 0.4), (100, 0.8), (150, 0.7), (200, 0.9)])
        .log("A", 2, "step_like", &[(0, 50.0), (200, 12.5)])
        .log("A", 2, "broken", &[(0, 1.0), (50, NAN), (100, 3.0)])
        .log("A", 2, "single", &[(0, 1.0)])
        .log("A", 2, "empty", &[])
        .log("A", 2, "huge", &[(0, f64::INFINITY)])
        .log("B", 2, "acc", &[(0, 0.0), (50, 0.1), (100, 0.2)])
        .log("U", 2, "acc", &[(0, 0.0)])
        .interrupted("U", 2)
}

fn evaluate(text: &str) -> Result<Reading, EvalError> {
    text.parse::<Comparison>().unwrap_or_else(|error| panic!("{error}")).evaluate(&log(), 2, Some(0.25))
}

#[track_caller]
fn value(text: &str) -> f64 {
    match evaluate(&format!("{text} >= 0")).unwrap().sides[0] {
        Value::Number(number) => number,
        Value::Never => panic!("{text} is never"),
    }
}

#[track_caller]
fn is_never(text: &str) {
    assert_eq!(evaluate(&format!("{text} >= 0")).unwrap().sides[0], Value::Never, "{text}");
}

#[track_caller]
fn holds(text: &str) -> bool {
    evaluate(text).unwrap().holds
}

#[track_caller]
fn problem(text: &str) -> String {
    evaluate(&format!("{text} >= 0")).unwrap_err().to_string()
}

#[test]
fn events_read_the_log() {
    assert_eq!(value("first(A.acc >= 0.8)"), 100.0);
    assert_eq!(value("first(A.acc > 0.8)"), 200.0);
    assert_eq!(value("first(A.acc >= 0.7, 101 to 200)"), 150.0);
    assert_eq!(value("first(A.acc < 0.4)"), 0.0);
    assert_eq!(value("first(A.acc >= end(B.acc) + 0.1)"), 50.0);
    assert_eq!(value("first(A.broken > 1)"), 100.0);
    assert_eq!(value("at(A.acc, 150)"), 0.7);
    assert_eq!(value("at(B.acc, first(A.acc >= 0.4))"), 0.1);
    assert_eq!(value("at(A.acc, at(A.step_like, 0))"), 0.4);
    assert_eq!(value("end(A.acc)"), 0.9);
    assert_eq!(value("max(A.acc)"), 0.9);
    assert_eq!(value("max(A.acc, 0 to 150)"), 0.8);
    assert_eq!(value("min(A.acc, 50 to 150)"), 0.4);
    assert_eq!(value("mean(A.acc, 50 to 150)"), (0.4 + 0.8 + 0.7) / 3.0);
    assert_eq!(value("slowest_rise(A.acc)"), 0.7 - 0.8);
    assert_eq!(value("slowest_rise(A.acc, 0 to 100)"), 0.4 - 0.1);
}

#[test]
fn arithmetic() {
    assert_eq!(value("1 + 2 * 3 - 8 / 4"), 5.0);
    assert_eq!(value("abs(end(B.acc) - 1)"), 0.8);
    assert_eq!(value("least(3, end(B.acc), 2)"), 0.2);
    assert_eq!(value("greatest(3, end(B.acc), 7)"), 7.0);
    assert_eq!(value("2 * margin"), 0.5);
    assert!(holds("0 < end(B.acc) < end(A.acc) <= 0.9"));
    assert!(!holds("0 < end(A.acc) < end(B.acc)"));
}

#[test]
fn never_spreads_and_fails() {
    is_never("first(A.acc > 1)");
    is_never("at(B.acc, first(A.acc > 1))");
    is_never("abs(-first(A.acc > 1)) * 0");
    is_never("least(1, first(A.acc > 1))");
    is_never("max(A.acc, 0 to first(A.acc > 1))");
    is_never("first(A.acc >= first(A.acc > 1))");
    for failing in [
        "first(A.acc > 1) <= 1000",
        "first(A.acc > 1) >= 0",
        "0 <= first(A.acc > 1)",
        "first(A.acc > 1) == first(A.acc > 2)",
        "first(A.acc > 0.5) == never",
        "first(A.acc > 0.5) - first(A.acc > 1) < 0",
    ] {
        assert!(!holds(failing), "{failing}");
    }
    assert!(holds("first(A.acc > 1) == never"));
    assert!(holds("never == 1 + first(A.acc > 1)"));
}

#[test]
fn what_is_not_a_finite_number_fails() {
    assert!(value("max(A.broken)").is_nan() && value("min(A.broken)").is_nan() && value("mean(A.broken)").is_nan());
    assert!(value("slowest_rise(A.broken)").is_nan() && value("greatest(1, at(A.broken, 50), 2)").is_nan());
    assert_eq!(value("max(A.broken, 100 to 100)"), 3.0);
    for failing in ["max(A.broken) >= 0", "max(A.broken) < 9", "end(A.huge) > 0", "1 / 0 > 5", "0 / 0 == 0 / 0"] {
        assert!(!holds(failing), "{failing}");
    }
}

#[test]
fn what_is_missing_is_an_error_and_no_failure() {
    assert_eq!(problem("at(A.acc, 120)"), "A.acc, seed 2, has no row at step 120; the nearest are 100 and 150");
    assert_eq!(problem("at(A.acc, 250)"), "A.acc, seed 2, has no row at step 250; the nearest are 200");
    assert_eq!(problem("at(A.empty, 0)"), "A.empty, seed 2, has no row at step 0; the nearest are none");
    assert_eq!(problem("at(A.acc, 0.5 * 25)"), "0.5 * 25 = 12.5 is no step; expected a whole number of at least 0");
    assert_eq!(problem("at(A.acc, -50)"), "-50 = -50 is no step; expected a whole number of at least 0");
    assert_eq!(problem("max(A.acc, 0 to 500)"), "A.acc, seed 2, is logged from step 0 to 200, not from 0 to 500");
    assert_eq!(problem("end(D.acc)"), "run D, seed 2, is not finished");
    assert_eq!(problem("end(U.acc)"), "run U, seed 2, is not finished");
    assert_eq!(problem("end(B.ac)"), "run B, seed 2, does not log \"ac\"; did you mean \"acc\"? known: acc",);
    assert_eq!(problem("end(A.empty)"), "A.empty, seed 2, has too few rows for end");
    assert_eq!(problem("max(A.acc, 10 to 20)"), "A.acc, seed 2, has too few rows for max");
    assert_eq!(problem("max(A.acc, 100 to 50)"), "A.acc, seed 2, has too few rows for max");
    assert_eq!(problem("slowest_rise(A.single)"), "A.single, seed 2, has too few rows for slowest_rise");
    // A missing row is found beside a `never`, too.
    assert_eq!(problem("first(A.acc > 1) + at(A.acc, 1)"), problem("at(A.acc, 1)"));
    let margin = "margin > 0".parse::<Comparison>().unwrap().evaluate(&log(), 2, None).unwrap_err();
    assert_eq!(margin, EvalError::NoMargin);
}
