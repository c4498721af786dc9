//! What the terminal can show: colours and width.
//!
//! Colours are off when `NO_COLOR` is set, on when `CLICOLOR_FORCE` is, and else on where a person reads along in a
//! terminal. `COLUMNS` says how wide tables are; else the terminal does, and 140 columns where there is none.
use std::{ffi::OsStr, io::IsTerminal};

use comfy_table::{Cell, ContentArrangement, LineStyle, Table, presets};

/// How wide tables are where no terminal says it.
const WIDTH: u16 = 140;

/// Narrower than this a table is no longer one.
const NARROWEST: u16 = 20;

/// Whether a stream wants colours.
pub fn colour(stream: &impl IsTerminal) -> bool {
    let variable = |name: &str| std::env::var_os(name);
    decide(
        variable("NO_COLOR").as_deref(),
        variable("CLICOLOR_FORCE").as_deref(),
        variable("TERM").as_deref(),
        stream.is_terminal(),
    )
}

fn decide(no_color: Option<&OsStr>, force: Option<&OsStr>, term: Option<&OsStr>, is_terminal: bool) -> bool {
    if no_color.is_some_and(|value| !value.is_empty()) {
        return false;
    }
    if force.is_some_and(|value| !value.is_empty() && value != "0") {
        return true;
    }
    is_terminal && term.is_none_or(|term| term != "dumb")
}

/// Text on stdout, in colour where that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Paint(bool);

impl Paint {
    /// For stdout.
    pub fn stdout() -> Self {
        Self(colour(&std::io::stdout()))
    }

    /// What the eye should find first.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// What is as it should be.
    pub fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// What is not.
    pub fn bad(self, text: &str) -> String {
        self.wrap("31", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The width that `COLUMNS` asks for.
fn columns() -> Option<u16> {
    let columns = std::env::var("COLUMNS").ok()?.trim().parse::<u16>().ok()?;
    (columns > 0).then(|| columns.max(NARROWEST))
}

/// A table in the house style: a line below the header, none between rows, no wider than the terminal.
pub fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let style = presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());
    let mut table = fitted();
    table.load_style(style).set_header(header.into_iter().collect::<Vec<_>>());
    table
}

/// Names and what is to be said of them, without lines.
pub fn list<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = fitted();
    table.load_style(presets::NOTHING);
    for (name, text) in rows {
        table.add_row([Cell::new(name), Cell::new(text)]);
    }
    // Blanks fill the last column.
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn fitted() -> Table {
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    match columns() {
        Some(columns) => drop(table.set_width(columns)),
        None if !table.is_tty() => drop(table.set_width(WIDTH)),
        None => {}
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_outrank_the_terminal_and_no_color_all() {
        let some = |text: &'static str| Some(OsStr::new(text));
        for (no_color, force, term, is_terminal, expected) in [
            (None, None, None, false, false),
            (None, None, some("xterm"), true, true),
            (None, None, some("dumb"), true, false),
            (some("1"), None, None, true, false),
            (some(""), None, None, true, true),
            (None, some("1"), None, false, true),
            (None, some("0"), None, false, false),
            (some("1"), some("1"), None, true, false),
        ] {
            assert_eq!(decide(no_color, force, term, is_terminal), expected, "{no_color:?} {force:?} {term:?}");
        }
    }
}
