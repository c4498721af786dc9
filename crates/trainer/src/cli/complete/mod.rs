//! Shell completions: the scripts, and the hidden verb that they ask.
//!
//! The scripts know nothing of Kiln: they hand the words of the line to `kiln complete` and show what it answers, so every
//! shell completes the same, and what depends on files, registries and the config on the line is always current.
use clap::{Args, CommandFactory, ValueEnum};

use super::{Cli, print};
use crate::Result;

mod candidates;
mod keys;
mod line;
mod paths;

/// One thing that may stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The whole word. One that ends with `/`, `.` or `=` goes on.
    pub value: String,
    /// What it is; may be empty.
    pub help: String,
}

impl Candidate {
    fn new(value: impl Into<String>, help: &str) -> Self {
        // The first sentence, on one line, without what separates the two for the scripts.
        let first = help.lines().next().unwrap_or_default();
        let first = first.split_once(". ").map_or(first, |(sentence, _)| sentence).trim_end_matches('.');
        Self { value: value.into(), help: first.replace('\t', " ") }
    }
}

/// Print the completion script of a shell.
#[derive(Debug, Args)]
#[command(after_help = "bash: source <(kiln completions bash), in ~/.bashrc.\n\
zsh:  source <(kiln completions zsh), in ~/.zshrc after compinit; or write it to a file _kiln in a folder of fpath.\n\
fish: kiln completions fish > ~/.config/fish/completions/kiln.fish")]
pub struct Completions {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    /// Prints.
    ///
    /// # Errors
    /// Never.
    pub fn run(self) -> Result<()> {
        let script = match self.shell {
            Shell::Bash => include_str!("scripts/kiln.bash"),
            Shell::Zsh => include_str!("scripts/kiln.zsh"),
            Shell::Fish => include_str!("scripts/kiln.fish"),
        };
        print(script.trim_end());
        Ok(())
    }
}

/// Answer a completion script: a line per candidate, the word and after a tab what it is.
#[derive(Debug, Args)]
pub struct Complete {
    /// The line up to the cursor, for a shell that does not hand out its words whole.
    #[arg(long, value_name = "LINE", conflicts_with = "words")]
    line: Option<String>,
    /// The words after the program's name; the last one is to be completed and may be empty.
    #[arg(last = true)]
    words: Vec<String>,
}

impl Complete {
    /// Prints the candidates.
    ///
    /// # Errors
    /// Never: a line that makes no sense has no candidates.
    pub fn run(self) -> Result<()> {
        let words = match &self.line {
            Some(line) => line::split(line).into_iter().skip(1).collect(),
            None => self.words,
        };
        let (last, before) = match words.split_last() {
            Some((last, before)) => (last.as_str(), before),
            None => ("", &[][..]),
        };
        let mut command = Cli::command();
        command.build();
        for candidate in candidates::of(&command, before, last) {
            print(format_args!("{}\t{}", candidate.value, candidate.help));
        }
        Ok(())
    }
}
