//! The comparison as a LaTeX table.

use super::ComparisonReport;
use super::table::{Ends, Row, Table, Versus, reading};

/// The tables as one `tabular` in the manner of `booktabs` (which the document must load), a block per metric. How to
/// read it stands above it as comments, to be taken into the caption.
pub fn comparison_latex(report: &ComparisonReport) -> String {
    let tables = Table::all(report);
    let mut text = String::new();
    for sentence in reading(report, &tables) {
        text += &format!("% {}\n", sentence.replace(['\n', '\r'], " "));
    }
    let compared = tables.iter().any(|table| table.compared);
    let columns = if compared { 7 } else { 4 };
    text += &format!("\\begin{{tabular}}{{l{}}}\n\\toprule\n", "r".repeat(columns - 1));
    text += "variant & mean $\\pm$ sd & $n$ & 95\\,\\% interval";
    if compared {
        text += " & difference & 95\\,\\% interval & $p$ (Holm)";
    }
    text += " \\\\\n";
    for table in &tables {
        let direction = if table.direction.is_empty() { String::new() } else { format!(", {}", table.direction) };
        text += &format!(
            "\\midrule\n\\multicolumn{{{columns}}}{{l}}{{\\emph{{{}{direction}}}}} \\\\\n",
            escaped(&table.heading)
        );
        for row in &table.rows {
            text += &line(row, compared);
        }
    }
    text += "\\bottomrule\n\\end{tabular}\n";
    text
}

fn line(row: &Row<'_>, compared: bool) -> String {
    let mean = match (&row.mean, &row.deviation) {
        (Some(mean), Some(deviation)) => format!("${} \\pm {}$", number(mean), number(deviation)),
        (Some(mean), None) => format!("${}$", number(mean)),
        _ => "--".to_owned(),
    };
    let name = escaped(row.variant);
    let name = if row.is_baseline { format!("{name} (baseline)") } else { name };
    let mut text = format!("{name} & {mean} & {} & {}", escaped(&row.seeds()), interval(row.interval.as_ref()));
    if compared {
        let versus = row.versus.as_ref();
        let difference = versus.and_then(|versus| versus.difference.as_ref());
        let difference = difference.map_or_else(|| "--".to_owned(), |text| format!("${}$", number(text)));
        let pairs = row.pairs().map_or_else(String::new, |pairs| format!(" ({pairs})"));
        let ends = interval(versus.and_then(|versus| versus.interval.as_ref()));
        text += &format!(" & {difference}{pairs} & {ends} & {}", versus.map_or_else(|| "--".to_owned(), probability));
    }
    text + " \\\\\n"
}

fn interval(ends: Option<&Ends>) -> String {
    ends.map_or_else(|| "--".to_owned(), |ends| format!("$[{}, {}]$", number(&ends.low), number(&ends.high)))
}

fn probability(versus: &Versus) -> String {
    match &versus.corrected {
        Some(p) if versus.significant => format!("$\\mathbf{{{}}}$", number(p)),
        Some(p) => format!("${}$", number(p)),
        None => "--".to_owned(),
    }
}

/// A printed number inside mathematics.
fn number(text: &str) -> String {
    let text = text.replace('∞', "\\infty").replace("NaN", "\\mathrm{NaN}");
    match text.split_once('e') {
        Some((mantissa, power)) if power.parse::<i32>().is_ok() => format!("{mantissa} \\times 10^{{{power}}}"),
        _ => text,
    }
}

/// Plain text: nothing in it is read as a command.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out += "\\textbackslash{}",
            '~' => out += "\\textasciitilde{}",
            '^' => out += "\\textasciicircum{}",
            '<' => out += "\\textless{}",
            '>' => out += "\\textgreater{}",
            '|' => out += "\\textbar{}",
            '"' => out += "\\textquotedbl{}",
            // Two hyphens would join to a dash.
            '-' if out.ends_with('-') => out += "{}-",
            // A bracket after the end of a line would be read as its option.
            '[' => out += "{[}",
            '\n' | '\r' => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text() {
        assert_eq!(
            escaped("a_b & 50 % <x> {y} | \\z ~^#$"),
            "a\\_b \\& 50 \\% \\textless{}x\\textgreater{} \\{y\\} \\textbar{} \\textbackslash{}z \\textasciitilde{}\\textasciicircum{}\\#\\$"
        );
        assert_eq!(escaped("--set [a]\n\"b\""), "-{}-set {[}a] \\textquotedbl{}b\\textquotedbl{}");
    }

    #[test]
    fn numbers_are_mathematics() {
        assert_eq!(number("-8.42e-9"), "-8.42 \\times 10^{-9}");
        assert_eq!(number("0.993"), "0.993");
        assert_eq!((number("-∞"), number("NaN")), ("-\\infty".into(), "\\mathrm{NaN}".into()));
    }
}
