//! What was asked for on a command line that cannot be understood: how to say so, at least.

use std::env;
use std::ffi::{OsStr, OsString};

use clap::ValueEnum;

use crate::terminal::console::{LogFormat, OutputFormat};

/// All commands by name.
const COMMANDS: [&str; 12] = [
    "backup",
    "run",
    "upgrade",
    "repair",
    "rollback",
    "plan",
    "status",
    "verify",
    "check-files",
    "inspect",
    "completions",
    "man",
];

/// What can be made out of a command line, whatever is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The command; empty where none is recognized.
    pub command: &'static str,
    /// How results are given out.
    pub output: OutputFormat,
    /// How log lines are written.
    pub log_format: LogFormat,
}

impl Asked {
    /// Looks for it among the arguments, the program's name first, and in the environment.
    pub fn of(args: impl IntoIterator<Item = OsString>) -> Self {
        let args: Vec<String> = args.into_iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
        let command = args.iter().find_map(|arg| COMMANDS.into_iter().find(|name| name == arg));
        Self {
            command: command.unwrap_or_default(),
            output: choice(&args, "--output", "META_MIGRATION_OUTPUT"),
            log_format: choice(&args, "--log-format", "META_MIGRATION_LOG_FORMAT"),
        }
    }
}

/// The value of a flag, or else of its variable; the default where neither has one that is known.
fn choice<T: ValueEnum + Default>(args: &[String], flag: &str, variable: &str) -> T {
    let typed = args.iter().enumerate().find_map(|(at, arg)| match arg.strip_prefix(flag) {
        Some("") => args.get(at + 1).map(String::as_str),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    let from_environment = env::var_os(variable);
    let value = typed.or_else(|| from_environment.as_deref().and_then(OsStr::to_str));
    value.and_then(|value| T::from_str(value, false).ok()).unwrap_or_default()
}

/// The message of the argument parser in one piece, without colours.
pub fn text_of(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.trim().strip_prefix("error: ").unwrap_or(&text);
    let text = text.split("\n\nFor more information").next().unwrap_or(text);
    text.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn asked(line: &str) -> Asked {
        Asked::of(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn all_commands_are_known() {
        let declaration = Cli::command();
        let declared: Vec<_> = declaration.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(declared, COMMANDS);
    }

    #[test]
    fn what_was_asked_for_is_found_whatever_is_wrong() {
        let (text, json) = (OutputFormat::Text, OutputFormat::Json);
        for (line, command, output) in [
            ("x --nonsense run --output json", "run", json),
            ("x plan --output=json --nonsense", "plan", json),
            ("x nonsense --output", "", text),
            ("x --output xml status", "status", text),
            ("x", "", text),
        ] {
            let asked = asked(line);
            assert_eq!((asked.command, asked.output), (command, output), "{line}");
        }
        assert_eq!(asked("x --log-format json --nonsense").log_format, LogFormat::Json);
    }
}
