//! `kiln man`.
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

use super::{Cli, Global};
use crate::{Result, atomic, error::Sort};

/// Print a manual page, of kiln or of one of its verbs: kiln man | man -l -
#[derive(Debug, Args)]
pub struct Manual {
    /// The verb, such as train or bench step; kiln itself if left out.
    #[arg(conflicts_with = "dir")]
    verb: Vec<String>,
    /// Write the pages of kiln and of every verb into this folder: kiln.1, kiln-train.1 …
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Manual {
    /// Prints or writes.
    ///
    /// # Errors
    /// If there is no such verb, or the folder cannot be written.
    pub fn run(self, global: &Global) -> Result<()> {
        let mut command = Cli::command();
        // Names of pages: kiln-bench-step.
        command.build();
        let Some(dir) = self.dir else {
            let mut verb = &command;
            for word in &self.verb {
                verb = verb
                    .find_subcommand(word)
                    .filter(|verb| !verb.is_hide_set())
                    .ok_or_else(|| unknown(verb, word))
                    .input()?;
            }
            use std::io::Write;
            // A reader that went away is no error.
            let _ = std::io::stdout().write_all(&page(verb).failed()?);
            return Ok(());
        };
        let mut written = 0;
        for verb in tree(&command) {
            let name = format!("{}.1", verb.get_display_name().unwrap_or(verb.get_name()));
            atomic::write(&dir.join(name), page(verb).failed()?).input()?;
            written += 1;
        }
        global.say(format_args!("{written} pages in {}", dir.display()));
        Ok(())
    }
}

fn unknown(verb: &Command, word: &str) -> anyhow::Error {
    let known: Vec<&str> = verb.get_subcommands().filter(|verb| !verb.is_hide_set()).map(Command::get_name).collect();
    let near = kiln_config::nearest(word, &known).map(|near| format!("did you mean \"{near}\"? ")).unwrap_or_default();
    let name = verb.get_display_name().unwrap_or(verb.get_name());
    match known.is_empty() {
        true => anyhow!("{name} has no verbs of its own, but \"{word}\" came"),
        false => anyhow!("unknown verb \"{word}\" of {name}; {near}known: {}", known.join(", ")),
    }
}

/// The command and all below it that have a page.
fn tree(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help");
    std::iter::once(command).chain(below.flat_map(tree)).collect()
}

fn page(command: &Command) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(command.clone()).manual("Kiln").render(&mut text).context("cannot write a manual page")?;
    Ok(text)
}
