//! What a study claims, and how a claim is judged.
//!
//! A *study* is a file: runs to train, at several scales, and claims about them. This crate holds the pure part
//! of it: the file's schema ([`Study`]), the language in which conditions are written ([`Comparison`]), their
//! evaluation over logged series ([`Records`]) and the verdict ([`judge`]). It trains nothing, reads no file and
//! needs no tensor library.
//!
//! # The language of conditions
//! A condition compares numbers, e.g. `at(A3.test_accuracy, 2500) - at(A1.test_accuracy, 2500) >= 0.4`. It is
//! evaluated once per seed. Metrics keep their own units (accuracies and shares are fractions, steps are steps).
//!
//! | written | value |
//! |---|---|
//! | `first(RUN.metric >= 0.95)` | first logged step at which the comparison holds, `never` if there is none |
//! | `at(RUN.metric, step)` | value in the row logged at exactly that step, which may be an event itself |
//! | `end(RUN.metric)` | value in the last logged row |
//! | `max(…)`, `min(…)`, `mean(RUN.metric)` | over all logged rows |
//! | `slowest_rise(RUN.metric)` | smallest difference between neighbouring logged rows; above 0 = always rising |
//! | `…, 500 to 2000)` | `first`, `max`, `min`, `mean` and `slowest_rise` over these steps only, both ends included |
//! | `abs(x)`, `least(x, y, …)`, `greatest(x, y, …)` | arithmetic, beside `+ - * /` and parentheses |
//! | `margin` | the margin of a claim of kind `within` |
//! | `x <= y`, `<`, `>=`, `>`, `==`, chains `x < y < z` | the condition; a chain holds if every link does |
//! | `first(…) == never` | holds if the event never happens |
//!
//! `never` spreads through arithmetic, and a comparison that meets it fails, except against the word `never`
//! itself. So does a side that is not a finite number. A missing run, metric or row is not a failure but an
//! [`EvalError`]: the claim is then `not run`.
#![forbid(unsafe_code)]

mod check;
mod evaluate;
pub mod expr;
mod plan;
mod record;
mod study;
mod suggest;
mod verdict;

pub use check::Invalid;
pub use evaluate::{EvalError, Reading, Records, Value, read};
pub use expr::{Comparison, Expr, ExprError};
pub use plan::{PlannedRun, assignment};
pub use record::{Flag, Provenance};
pub use study::{
    Claim, ClaimKind, Condition, ConditionKind, PerScale, ProfileSpec, ReportSpec, RunSpec, Scale, ScaleOverrides,
    ScaleSpec, Study,
};
pub use verdict::{ConditionRow, SeedRow, SideValues, Verdict, Word, judge, observe, standard_error};
