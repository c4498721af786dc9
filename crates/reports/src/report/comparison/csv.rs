//! The comparison as CSV (RFC 4180, lines end in `\n`), for other programs.

use super::ComparisonReport;
use super::table::{Ends, Table, Versus};

/// Every single value, a line each: metric, unit, variant, seed, value.
///
/// Values are as the runs gave them, with all their digits, so fractions stay fractions even where they are shown as per
/// cent. NaN and infinities are `NaN`, `inf`, `-inf`; a run without the metric leaves the field empty.
pub fn comparison_csv_seeds(report: &ComparisonReport) -> String {
    let mut text = String::from("metric,unit,variant,seed,value\n");
    for metric in &report.metrics {
        for variant in &report.variants {
            for (seed, run) in &variant.runs {
                let value = run.end.get(&metric.name).map_or_else(String::new, |value| format!("{value:?}"));
                line(&mut text, &[&metric.name, &metric.unit, &variant.name, &seed.to_string(), &value]);
            }
        }
    }
    text
}

/// The table, a line per metric and variant, with the digits of the page. What does not exist is an empty field.
///
/// Beside what the page shows there are the standard deviation of the differences, the p value before its correction, and
/// how many seeds could not be paired.
pub fn comparison_csv_summary(report: &ComparisonReport) -> String {
    let mut text = String::from(
        "metric,unit,variant,baseline,seeds,planned,not_finite,mean,sd,low,high,pairs,only_variant,only_baseline,\
         difference,difference_sd,difference_low,difference_high,p,p_holm,comparisons\n",
    );
    for table in Table::all(report) {
        for row in &table.rows {
            let versus = row.versus.as_ref();
            let count = |of: fn(&Versus) -> usize| versus.map(|versus| of(versus).to_string());
            let fields = [
                Some(table.metric.name.clone()),
                Some(table.metric.unit().to_owned()),
                Some(row.variant.to_owned()),
                table.compared.then(|| report.baseline.clone()),
                Some(row.count.to_string()),
                Some(row.planned.to_string()),
                Some(row.non_finite.to_string()),
                row.mean.clone(),
                row.deviation.clone(),
                low(row.interval.as_ref()),
                high(row.interval.as_ref()),
                count(|versus| versus.pairs),
                count(|versus| versus.only_variant),
                count(|versus| versus.only_baseline),
                // The sign of a positive number is for readers.
                versus
                    .and_then(|versus| versus.difference.as_deref())
                    .map(|text| text.trim_start_matches('+').to_owned()),
                versus.and_then(|versus| versus.deviation.clone()),
                low(versus.and_then(|versus| versus.interval.as_ref())),
                high(versus.and_then(|versus| versus.interval.as_ref())),
                versus.and_then(|versus| versus.p.clone()),
                versus.and_then(|versus| versus.corrected.clone()),
                table.compared.then(|| table.comparisons.to_string()),
            ];
            // A sign for readers where programs expect a word.
            let fields = fields.map(|field| field.unwrap_or_default().replace('∞', "inf"));
            line(&mut text, &fields.each_ref().map(String::as_str));
        }
    }
    text
}

fn low(interval: Option<&Ends>) -> Option<String> {
    interval.map(|ends| ends.low.clone())
}

fn high(interval: Option<&Ends>) -> Option<String> {
    interval.map(|ends| ends.high.clone())
}

fn line(text: &mut String, fields: &[&str]) {
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        if field.contains([',', '"', '\n', '\r']) {
            text.push_str(&format!("\"{}\"", field.replace('"', "\"\"")));
        } else {
            text.push_str(field);
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let mut text = String::new();
        line(&mut text, &["a", "b,c", "d \"e\"", "f\ng", ""]);
        assert_eq!(text, "a,\"b,c\",\"d \"\"e\"\"\",\"f\ng\",\n");
    }
}
