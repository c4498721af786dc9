//! The template engine, with escaping for HTML and for Markdown.

use std::borrow::Cow;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, escape_formatter};
use serde::Serialize;

const TEMPLATES: [(&str, &str); 8] = [
    ("style.css", include_str!("../../templates/style.css")),
    ("page.html", include_str!("../../templates/page.html")),
    ("run.html", include_str!("../../templates/run.html")),
    ("study.html", include_str!("../../templates/study.html")),
    ("study.md", include_str!("../../templates/study.md")),
    ("comparison.css", include_str!("../../templates/comparison.css")),
    ("comparison.html", include_str!("../../templates/comparison.html")),
    ("comparison.md", include_str!("../../templates/comparison.md")),
];

static TEMPLATE_SET: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the delimiters are the default ones"));
    environment.set_auto_escape_callback(|name| match name.rsplit_once('.') {
        Some((_, "md")) => AutoEscape::Custom(Cow::Borrowed("markdown")),
        Some((_, "html")) => AutoEscape::Html,
        _ => AutoEscape::None,
    });
    environment.set_formatter(|out, state, value| match state.auto_escape() {
        AutoEscape::Custom(_) => match value.as_str() {
            Some(text) if !value.is_safe() => Ok(out.write_str(&markdown(text))?),
            _ => Ok(write!(out, "{value}")?),
        },
        _ => escape_formatter(out, state, value),
    });
    environment.add_filter("code", |text: Cow<'_, str>| Value::from_safe_string(markdown_code(&text)));
    environment.add_filter("target", |text: Cow<'_, str>| Value::from_safe_string(markdown_target(&text)));
    for (name, source) in TEMPLATES {
        environment.add_template(name, source).unwrap_or_else(|error| panic!("template {name}: {error:#}"));
    }
    environment
});

/// Fills a template of this crate.
///
/// # Panics
/// Only on a slip in the templates themselves, which are part of the crate.
pub(super) fn render(template: &str, context: impl Serialize) -> String {
    TEMPLATE_SET
        .get_template(template)
        .and_then(|template| template.render(Value::from(Serde(context))))
        .unwrap_or_else(|error| panic!("template {template}: {error:#}"))
}

/// Plain text inside Markdown, also inside a table cell: nothing in it is read as markup.
fn markdown(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric());
    let mut out = String::with_capacity(text.len());
    for (i, &c) in chars.iter().enumerate() {
        let (previous, next) = (i.checked_sub(1).and_then(|i| chars.get(i)), chars.get(i + 1));
        match c {
            '\n' | '\r' => out.push(' '),
            '>' | '#' if i > 0 => out.push(c),
            '&' if !next.is_some_and(|c| c.is_alphanumeric() || *c == '#') => out.push(c),
            // Names such as test_accuracy stay readable: an underscore inside a word is no markup.
            '_' if word(previous) && word(next) => out.push('_'),
            '\\' | '|' | '*' | '_' | '`' | '[' | ']' | '<' | '>' | '&' | '~' | '#' | '$' => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

/// A code span that is also valid inside a table cell.
fn markdown_code(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ").replace('|', "\\|");
    if text.trim().is_empty() {
        return String::new();
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    if longest > 0 { format!("{fence} {text} {fence}") } else { format!("{fence}{text}{fence}") }
}

/// A relative path or an address as the target of a link: what could end the link is percent-encoded.
fn markdown_target(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b' ' | b'(' | b')' | b'<' | b'>' | b'\\' | b'|' | 0x00..=0x1F | 0x7F.. => format!("%{byte:02X}"),
            _ => char::from(byte).to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_text_is_text() {
        assert_eq!(markdown("a | b\n<script>*x*_y_"), "a \\| b \\<script>\\*x\\*\\_y\\_");
        assert_eq!(markdown("test_accuracy ≥ 0.95"), "test_accuracy ≥ 0.95");
        assert_eq!(markdown("# a # b & c &lt; > 0"), "\\# a # b & c \\&lt; > 0");
    }

    #[test]
    fn code_spans_survive_bars_and_backticks() {
        assert_eq!(markdown_code("|PX − P64|"), "`\\|PX − P64\\|`");
        assert_eq!(markdown_code("a `b` c"), "`` a `b` c ``");
        assert_eq!(markdown_code("  "), "");
    }

    #[test]
    fn paths_stay_one_link() {
        assert_eq!(markdown_target("figures/a b)(ü.svg"), "figures/a%20b%29%28%C3%BC.svg");
    }
}
