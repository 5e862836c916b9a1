//! Shell completions and man pages, from the same declaration as the command line.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use clap::CommandFactory;

use super::{Cli, Command, ManOptions, declaration, manual};

impl Command {
    /// Shell completions or man pages, if that is what was asked for: they come from the declaration alone. What is returned goes to
    /// standard output.
    ///
    /// # Errors
    /// There is no such page, or a file cannot be written.
    pub fn document(&self) -> Option<Result<Vec<u8>>> {
        match self {
            Self::Completions { shell } => {
                let mut declaration = Cli::command();
                let name = declaration.get_name().to_owned();
                let mut text = Vec::new();
                clap_complete::generate(*shell, &mut declaration, name, &mut text);
                Some(Ok(text))
            }
            Self::Man(options) => Some(man(options)),
            _ => None,
        }
    }
}

/// A page with the name of its file, without `.1`.
struct ManPage {
    /// The command; empty for the tool itself.
    command: String,
    file: String,
    text: Vec<u8>,
}

fn man(options: &ManOptions) -> Result<Vec<u8>> {
    let pages = pages().context("cannot make the man pages")?;
    if let Some(folder) = &options.dir {
        pages.iter().try_for_each(|page| write(folder, page))?;
        return Ok(Vec::new());
    }
    let Some(command) = &options.command else { return Ok(pages.into_iter().flat_map(|page| page.text).collect()) };
    let names: Vec<_> = pages.iter().map(|page| page.command.clone()).filter(|name| !name.is_empty()).collect();
    let page = pages.into_iter().find(|page| page.command == *command);
    Ok(page.ok_or_else(|| anyhow!("there is no command {command:?}, only {}", names.join(", ")))?.text)
}

fn write(folder: &Path, page: &ManPage) -> Result<()> {
    let path = folder.join(format!("{}.1", page.file));
    fs::write(&path, &page.text).with_context(|| format!("cannot write {}", path.display()))
}

/// The page of the tool, followed by those of its commands.
fn pages() -> io::Result<Vec<ManPage>> {
    let mut declaration = declaration();
    // Now each command has the flags of all.
    declaration.build();
    let commands: Vec<_> =
        declaration.get_subcommands().filter(|command| command.get_name() != "help").cloned().collect();
    let mut pages = vec![page("", declaration)?];
    for command in commands {
        let name = command.get_name().to_owned();
        pages.push(page(&name, command)?);
    }
    Ok(pages)
}

fn page(name: &str, command: clap::Command) -> io::Result<ManPage> {
    let dash = if name.is_empty() { "" } else { "-" };
    let file = format!("meta-migration{dash}{name}");
    let typed = format!("meta-migration {name}");
    // The examples have a section of their own.
    let command = command.display_name(&file).bin_name(typed.trim()).after_help(None::<&str>);
    let sections = manual::sections(name, &command);
    let man = clap_mangen::Man::new(command);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if name.is_empty() {
        man.render_subcommands_section(&mut text)?;
    }
    text.extend(sections.render().into_bytes());
    if name.is_empty() {
        man.render_version_section(&mut text)?;
    }
    Ok(ManPage { command: name.to_owned(), file, text })
}
