//! Shell completions and man pages, from the same declaration as the command line.

use std::io;

use clap::CommandFactory;

use super::{Cli, Command};

impl Command {
    /// Shell completions or the man page, if that is what was asked for: they come from the declaration alone.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn document(&self) -> Option<io::Result<Vec<u8>>> {
        let mut declaration = Cli::command();
        let name = declaration.get_name().to_owned();
        let mut text = Vec::new();
        match self {
            Self::Completions { shell } => clap_complete::generate(*shell, &mut declaration, name, &mut text),
            Self::Man => {
                if let Err(error) = man_pages(declaration, &mut text) {
                    return Some(Err(error));
                }
            }
            _ => return None,
        }
        Some(Ok(text))
    }
}

/// The page of the tool, followed by those of its commands.
fn man_pages(declaration: clap::Command, to: &mut Vec<u8>) -> io::Result<()> {
    let commands: Vec<_> = declaration.get_subcommands().cloned().collect();
    clap_mangen::Man::new(declaration).render(to)?;
    for command in commands {
        let name = format!("meta-migration-{}", command.get_name());
        let typed = format!("meta-migration {}", command.get_name());
        clap_mangen::Man::new(command.display_name(&name).bin_name(typed)).render(to)?;
    }
    Ok(())
}
