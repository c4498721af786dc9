//! Comparisons: equal to an independent computation, equal to each other in all forms, self-contained, escaped, and whole
//! when parts are missing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use kiln_reports::*;
use proptest::prelude::*;

#[allow(dead_code, reason = "each test file uses its part of the planted data")]
mod planted;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(golden(name)).unwrap()
}

fn golden_report() -> ComparisonReport {
    serde_json::from_str(&read("comparison.json")).unwrap()
}

/// The metrics' headings and tables of a Markdown comparison, as the script prints them.
fn tables(markdown: &str) -> String {
    let mut text = String::new();
    for section in markdown.split("\n## ").skip(1).filter(|section| section.contains("\n| variant | mean ± sd |")) {
        let (heading, rest) = section.split_once("\n\n").unwrap();
        let table = rest.split("\n\n").next().unwrap();
        text += &format!("## {heading}\n\n{table}\n\n");
    }
    text
}

/// Fails if opening the page would make a browser load or run anything.
fn assert_loads_nothing(html: &str) {
    for loader in ["<script", "<link", "<img", "<iframe", "<object", "src=", "@import", "url(", "srcset", "<base"] {
        assert!(!html.contains(loader), "the page contains {loader}");
    }
    for (at, _) in html.match_indices("http") {
        assert!(html[..at].ends_with("xmlns=\""), "an address that is no namespace: {:?}", &html[at..at + 30]);
    }
}

#[test]
fn the_tables_equal_those_of_an_independent_script() {
    let (found, expected) = (tables(&comparison_markdown(&golden_report())), read("comparison.md"));
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, expected);
}

/// The committed tables are what the script prints.
#[test]
fn the_script_prints_what_is_committed() {
    let run = Command::new("python3").arg(golden("comparison.py")).arg(golden("comparison.json")).output();
    let output = match run {
        Ok(output) => output,
        Err(error) => {
            let strict = std::env::var_os("KILN_TEST_STRICT").is_some_and(|value| value == "1");
            assert!(!strict, "python3 cannot be run: {error}");
            eprintln!("skipped: python3 cannot be run: {error}");
            return;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), read("comparison.md"));
}

/// The fields of a CSV line without quotes.
fn fields(line: &str) -> Vec<&str> {
    line.split(',').collect()
}

#[test]
fn all_forms_print_the_same_digits() {
    let report = golden_report();
    let (html, latex) = (comparison_html(&report), comparison_latex(&report));
    let markdown = comparison_markdown(&report);
    let summary = comparison_csv_summary(&report);
    let columns: Vec<&str> = fields(summary.lines().next().unwrap());
    let mut rows = summary.lines().skip(1).map(fields);
    let html_rows: Vec<&str> = html.lines().filter(|line| line.contains("<td class=\"number\">")).collect();
    let latex_rows = latex.lines().filter(|line| line.ends_with("\\\\") && line.matches('&').count() == 6).skip(1);
    let markdown_rows = markdown.lines().filter(|line| line.starts_with("| **") && line.matches('|').count() == 8);
    let html_rows = html_rows.into_iter().filter(|line| line.contains("versus"));

    let mut count = 0;
    for ((html, latex), markdown) in html_rows.zip(latex_rows).zip(markdown_rows) {
        let row: BTreeMap<&str, &str> = columns.iter().copied().zip(rows.next().unwrap()).collect();
        let latex = latex.replace(" \\times 10^{", "e").replace("}$", "$").replace("},", ",").replace("}]", "]");
        let latex = latex.replace("} \\pm", " \\pm").replace("\\mathrm{NaN", "NaN").replace("\\mathbf{", "");
        let interval = |low: &str, high: &str| match (row[low], row[high]) {
            ("", "") => None,
            (low, high) => Some(format!("[{low}, {high}]")),
        };
        let texts = [
            Some(row["mean"].to_owned()),
            Some(row["sd"].to_owned()),
            interval("low", "high"),
            Some(row["difference"].to_owned()),
            interval("difference_low", "difference_high"),
            Some(row["p_holm"].to_owned()),
        ];
        for text in texts.into_iter().flatten() {
            for (form, line) in [("HTML", html), ("LaTeX", &latex), ("Markdown", markdown)] {
                assert!(line.contains(&text), "{form} lacks {text:?}:\n{line}");
            }
        }
        count += 1;
    }
    assert_eq!(count, 7 * 5);
    assert!(rows.next().is_none());
}

#[test]
fn the_csv_of_seeds_holds_every_value_and_every_gap() {
    let report = golden_report();
    let text = comparison_csv_seeds(&report);
    assert_eq!(text.lines().count(), 1 + 7 * 5 * 5);
    let value = |metric: &str, variant: &str, seed: &str| {
        let line = text.lines().map(fields).find(|f| f[0] == metric && f[2] == variant && f[3] == seed);
        line.unwrap()[4].to_owned()
    };
    assert_eq!(value("test_accuracy", "softmax", "0"), "0.9078");
    assert_eq!(value("test_accuracy", "softmax", "3"), "");
    assert_eq!(value("grok_step", "sparsemax", "2"), "inf");
    assert_eq!(value("test_loss", "sparsemax", "1"), "NaN");
    for (variant, seed, run) in report.variants.iter().flat_map(|v| v.runs.iter().map(|(s, run)| (&v.name, s, run))) {
        for (metric, expected) in &run.end {
            let read: f64 = value(metric, variant, &seed.to_string()).parse().unwrap();
            assert!(read == *expected || (read.is_nan() && expected.is_nan()), "{metric} {variant} {seed}: {read}");
        }
    }
}

#[test]
fn a_page_shows_all_its_parts_and_loads_nothing() {
    let html = comparison_html(&planted::comparison::report());
    assert_loads_nothing(&html);
    let parts = [
        "<title>Output normalizers on modular addition</title>",
        "4 variants · seeds 0, 1, 2, 3 · baseline softmax",
        "<strong>entmax, seed 1 failed</strong>: the loss became NaN at step 340",
        "<strong>stablemax, seed 3 missing</strong>",
        "<th><code>loss.normalizer.alpha</code></th>",
        "<code>1.5</code>",
        "test_accuracy (%) <span class=\"direction\">larger is better</span>",
        "3 of 4",
        "4, 1 not finite",
        "p is corrected for 2 comparisons",
        "paired by seed",
        "Student t intervals",
        "2 to 3 comparisons",
        "softmax: 2; stablemax: 2",
        "band: lowest to highest seed",
    ];
    for part in parts {
        assert!(html.contains(part), "{part} is missing");
    }
    assert!(!html.contains("optim.weight_decay"), "all variants agree on it");
    assert_eq!(html.matches("<svg").count(), 2);
    let markdown = comparison_markdown(&planted::comparison::report());
    assert!(markdown.contains("](figures/test_accuracy.svg)") && !markdown.contains("grok_step.svg"));
    assert!(!markdown.contains("\n\n\n") && !markdown.contains("<svg"));
    for pair in markdown.lines().collect::<Vec<_>>().windows(2).filter(|pair| pair[1].starts_with("|---")) {
        let bars = |line: &str| line.replace("\\|", "").matches('|').count();
        assert_eq!(bars(pair[0]), bars(pair[1]), "{pair:?}");
    }
}

#[test]
fn without_a_baseline_nothing_is_compared() {
    let mut report = golden_report();
    report.baseline = String::new();
    assert!(!comparison_html(&report).contains("Holm") && !comparison_markdown(&report).contains("difference"));
    assert!(comparison_latex(&report).contains("\\begin{tabular}{lrrr}\n"));
    report.baseline = "nobody".into();
    assert!(comparison_html(&report).contains("The baseline nobody is not among the variants"));
}

#[test]
fn empty_parts_leave_no_heading() {
    let empty = ComparisonReport { title: "empty".into(), ..ComparisonReport::default() };
    let (html, markdown) = (comparison_html(&empty), comparison_markdown(&empty));
    assert!(!html.contains("<h2") && !html.contains("<thead"), "{html}");
    assert_eq!(markdown.trim(), "# empty");
    assert!(comparison_figures(&empty).is_empty());
    assert_eq!(comparison_csv_seeds(&empty).lines().count(), 1);
    assert_eq!(comparison_csv_summary(&empty).lines().count(), 1);
}

#[test]
fn hostile_text_stays_text() {
    let evil = "<script>alert('1')</script> & a_b 50 % | x, \"q\" [l](x)\nhttps://x.example";
    let mut report = planted::comparison::report();
    (report.title, report.question, report.notes) = (evil.into(), evil.into(), vec![evil.into()]);
    (report.baseline, report.variants[0].name) = (evil.into(), evil.into());
    report.variants[1].settings[0] = (evil.into(), evil.into());
    report.metrics[0].name = evil.into();
    report.metrics[1].unit = evil.into();
    for run in report.variants[2].runs.values_mut() {
        run.state = RunState::Failed(evil.into());
        run.environment.push((evil.into(), evil.into()));
        run.end.insert(evil.into(), 0.5);
        run.curves.insert(evil.into(), vec![(0.0, 1.0)]);
    }
    let html = comparison_html(&report);
    assert!(!html.contains("<script") && !html.contains("src=") && html.contains("&lt;script&gt;"));

    let markdown = comparison_markdown(&report);
    for text in markdown.split('`').step_by(2) {
        assert!(!text.replace("\\<", "").contains("<script") && !text.contains(" [l](x)"), "{text}");
    }
    let first_rows = markdown.lines().filter(|line| line.contains("a_b") && line.contains(" (baseline)"));
    for line in first_rows {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 8, "{line}");
    }

    let latex = comparison_latex(&report);
    for line in latex.lines().filter(|line| !line.starts_with('%')) {
        let plain = line.replace("\\_", "").replace("\\%", "").replace("\\&", "");
        assert!(!plain.contains(['_', '%', '<', '>', '|', '"']), "{line}");
        assert!(matches!(plain.matches('&').count(), 0 | 6), "{line}");
    }

    // A reader of RFC 4180 finds the text as it was, and as many fields in every record.
    for (text, columns) in [(comparison_csv_seeds(&report), 5), (comparison_csv_summary(&report), 21)] {
        let records = records(&text);
        assert!(records.iter().all(|record| record.len() == columns), "{records:?}");
        assert!(records.iter().flatten().any(|field| field == evil));
    }
}

/// A small reader of CSV.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut record, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
            }
            c => field.push(c),
        }
    }
    records
}

#[test]
fn a_report_survives_json() {
    let report = planted::comparison::report();
    let text = serde_json::to_string(&report).unwrap();
    assert!(text.contains("\"grok_step\":\"inf\""), "JSON has no infinity");
    assert_eq!(serde_json::from_str::<ComparisonReport>(&text).unwrap(), report);
    let error = serde_json::from_str::<SeedRun>("{\"end\": {\"loss\": \"many\"}}").unwrap_err().to_string();
    assert!(error.starts_with("\"many\" is not a number"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_numbers_make_a_report(
        values in prop::collection::vec(prop::collection::btree_map(0u64..4, prop::num::f64::ANY, 0..4), 0..4),
        percent in any::<bool>(),
    ) {
        let variants = values.iter().enumerate().map(|(i, seeds)| Variant {
            name: format!("v{i}"),
            runs: seeds.iter().map(|(&seed, &value)| (seed, SeedRun {
                end: BTreeMap::from([("m".into(), value)]),
                curves: BTreeMap::from([("m".into(), vec![(0.0, value), (value, 1.0)])]),
                ..SeedRun::default()
            })).collect(),
            ..Variant::default()
        });
        let format = if percent { MetricFormat::Percent } else { MetricFormat::Plain };
        let mut report = ComparisonReport {
            baseline: "v0".into(),
            variants: variants.collect(),
            metrics: vec![ComparedMetric { name: "m".into(), format, ..ComparedMetric::default() }],
            ..ComparisonReport::default()
        };
        for band in [BandKind::Range, BandKind::Interval] {
            report.band = band;
            for (_, figure) in comparison_figures(&report) {
                svg_to_png(&figure.to_svg(), 1.0).unwrap();
            }
        }
        comparison_html(&report);
        let rows = report.variants.len();
        prop_assert_eq!(records(&comparison_csv_summary(&report)).len(), 1 + rows);
        prop_assert_eq!(comparison_latex(&report).lines().filter(|line| line.starts_with('v')).count(), 1 + rows);
        let text = serde_json::to_string(&report).unwrap();
        prop_assert!(serde_json::from_str::<ComparisonReport>(&text).is_ok());
    }
}
