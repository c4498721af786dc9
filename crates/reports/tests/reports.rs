//! Pages: self-contained, escaped, complete, and whole when parts are missing.

use kiln_reports::{
    Claim, Condition, ConditionKind, Reading, RunReport, SeedValue, StudyReport, Verdict, run_report, study_report,
};

#[allow(dead_code, reason = "each test file uses its part of the planted data")]
mod planted;

/// Fails if opening the page would make a browser load or run anything.
fn assert_loads_nothing(html: &str) {
    for loader in ["<script", "<link", "<img", "<iframe", "<object", "src=", "@import", "url(", "srcset", "<base"] {
        assert!(!html.contains(loader), "the page contains {loader}");
    }
    let addresses = html.match_indices("http").map(|(at, _)| &html[at.saturating_sub(9)..at]);
    for before in addresses {
        let harmless = before.ends_with("<a href=\"") || before.ends_with("xmlns=\"");
        assert!(harmless, "an address after {before:?} is neither a link to follow nor a namespace");
    }
}

/// The cells of the first table row that contains `needle`.
fn row<'a>(markdown: &'a str, needle: &str) -> Vec<&'a str> {
    let line = markdown.lines().find(|line| line.starts_with('|') && line.contains(needle));
    let line = line.unwrap_or_else(|| panic!("no row contains {needle:?} in\n{markdown}"));
    line.trim_matches('|').split(" | ").map(str::trim).collect()
}

#[test]
fn pages_load_nothing() {
    assert_loads_nothing(&run_report(&planted::run()));
    assert_loads_nothing(&study_report(&planted::study()).html);
}

#[test]
fn a_run_page_shows_all_its_parts() {
    let html = run_report(&planted::run());
    let parts = [
        "<title>grokking&#x2f;stablemax</title>",
        "class=\"pill good\">finished<",
        "0.9964",
        "best 0.998 at step 2350",
        "<td class=\"number\">8.42e-9</td>",
        "<td class=\"number\">NaN</td>",
        "loss.dtype = &quot;f64&quot; would resolve it",
        "kiln train --resume runs&#x2f;a3 --set train.steps=5000",
        "normalizer = { name = &quot;stablemax&quot; }",
        "avx512f avx2 fma",
    ];
    for part in parts {
        assert!(html.contains(part), "{part} is missing");
    }
    assert_eq!(html.matches("<svg").count(), 3);
}

#[test]
fn empty_parts_leave_no_heading() {
    let html = run_report(&RunReport { title: "empty".into(), ..RunReport::default() });
    assert!(!html.contains("<h2"), "{html}");
    let text = study_report(&StudyReport { title: "empty".into(), ..StudyReport::default() });
    assert!(!text.markdown.contains("## "), "{}", text.markdown);
    assert!(!text.html.contains("<h3") && !text.html.contains("<thead"));
}

#[test]
fn hostile_text_stays_text() {
    let evil = "<script>alert('1')</script> | **b** [l](x)";
    let mut run = planted::run();
    (run.title, run.status, run.config) = (evil.into(), evil.into(), evil.into());
    run.environment[0] = (evil.into(), evil.into());
    run.headlines[0].label = evil.into();
    assert_loads_nothing(&run_report(&run));

    let mut study = planted::study();
    (study.title, study.question, study.scale_note) = (evil.into(), evil.into(), evil.into());
    study.paper.url = "javascript:alert(1)".into();
    study.claims[0].statement = evil.into();
    study.claims[0].conditions[0].expression = evil.into();
    study.figures[0].caption = evil.into();
    study.runs[0].differences = vec![evil.into()];
    study.runs[0].end[0].name = evil.into();
    let text = study_report(&study);
    assert_loads_nothing(&text.html);
    assert!(!text.html.contains("javascript:") && !text.markdown.contains("javascript:"));
    let outside_code = text.markdown.split('`').step_by(2);
    for text in outside_code {
        assert!(!text.replace("\\<", "").contains("<script"), "{text}");
        assert!(!text.contains("| **b**") && !text.contains(" [l](x)"), "{text}");
    }
    assert_eq!(row(&text.markdown, "**G1**").len(), 5, "a bar in a cell does not open another");
}

#[test]
fn the_markdown_has_a_row_for_every_claim_condition_and_run() {
    let text = study_report(&planted::study()).markdown;
    assert!(text.starts_with("# Grokking at the edge of numerical stability\n"));
    assert!(text.contains("**8 reproduced · 2 partly · 1 not reproduced · 1 void · 1 undecidable · 2 not run**"));
    assert!(text.contains("arXiv:2501.04697](https://arxiv.org/abs/2501.04697)"));
    assert!(text.contains("![What happens underneath.](figures/diagnostics.svg)"));
    assert!(text.contains("([PNG](figures/accuracy.png))"));

    assert_eq!(row(&text, "**G2**")[3], "✓ reproduced");
    assert_eq!(row(&text, "**G4c**")[3], "◐ partly, *changed after the run*, *mixed code versions*");
    assert_eq!(row(&text, "**G4a**")[4], "has no quick form; --scale paper runs it (about 16 min per run)");
    assert_eq!(row(&text, "**G6**")[4], "\\|PX − P64\\| = 0.02 ± 0.03");
    assert_eq!(
        row(&text, "`at(A1.test_accuracy, 2500)`"),
        ["threshold", "`at(A1.test_accuracy, 2500)`", "≤ 0.5", "\\< 0.01", "0.97 ✗", "0.18", "0.29", "✗"]
    );
    let parity = row(&text, "first(S1.train_accuracy");
    assert_eq!(parity[3..], ["60", "never ✗", "– ✗", "✗"]);
    assert_eq!(row(&text, "**A5**")[3..6], ["1500", "2 min 04 s", "1 / 1 / 1"]);

    let table_breaks = text.lines().collect::<Vec<_>>();
    for pair in table_breaks.windows(2).filter(|pair| pair[1].starts_with("|---") && pair[0].starts_with('|')) {
        let bars = |line: &str| line.replace("\\|", "").matches('|').count();
        assert_eq!(bars(pair[0]), bars(pair[1]), "{pair:?}");
    }
    assert!(!text.contains("\n\n\n"), "no double blank lines");
}

#[test]
fn the_html_says_the_same_as_the_markdown() {
    let html = study_report(&planted::study()).html;
    for part in ["8 reproduced", "changed after the run", "mixed code versions", "never", "2 min 04 s", "35 000"] {
        assert!(html.contains(part), "{part} is missing");
    }
    assert!(html.contains("class=\"pill bad\">✗ not reproduced<"));
    assert!(html.contains("class=\"number bad held\">0.97<"));
    assert_eq!(html.matches("<section class=\"claim\"").count(), 15);
    for claim in 1..=15 {
        assert!(html.contains(&format!("href=\"#claim-{claim}\"")) && html.contains(&format!("id=\"claim-{claim}\"")));
    }
}

#[test]
fn a_glance_gives_no_verdict() {
    let text = study_report(&planted::glance());
    assert_eq!(row(&text.markdown, "**G1**")[3], "– n = 1, no verdict");
    assert_eq!(text.html.matches("– n = 1, no verdict").count(), 6);
    assert!(text.markdown.contains("**3 without a verdict (n = 1)**"));
    assert!(!text.html.contains("seed 3"), "only the seed that was run has a column");
    for verdict in Verdict::ALL.iter().filter(|verdict| **verdict != Verdict::NoVerdict) {
        assert!(!text.markdown.contains(&format!("{} {verdict}", verdict.mark())));
    }
}

#[test]
fn seeds_that_differ_between_conditions_keep_their_columns() {
    let condition = |expression: &str, seeds: &[u64]| Condition {
        kind: ConditionKind::Threshold,
        expression: expression.into(),
        required: "≥ 0".into(),
        published: None,
        values: seeds
            .iter()
            .map(|&seed| SeedValue { seed, value: Reading::Number(seed as f64), holds: None })
            .collect(),
        mean: None,
        holds: None,
    };
    let mut study = planted::study();
    study.claims =
        vec![Claim { conditions: vec![condition("a", &[4, 2]), condition("b", &[3])], ..study.claims.swap_remove(0) }];
    let text = study_report(&study).markdown;
    assert_eq!(row(&text, "`a`")[3..], ["2", "", "4", "–"]);
    assert_eq!(row(&text, "`b`")[3..], ["", "3", "", "–"]);
}

#[test]
fn a_report_survives_json() {
    let study = planted::study();
    let text = serde_json::to_string(&study).unwrap();
    assert_eq!(serde_json::from_str::<StudyReport>(&text).unwrap(), study);
}
