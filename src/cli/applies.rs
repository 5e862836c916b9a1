//! Which of the flags that all commands take mean something for which command: help and man pages show those alone.
//!
//! The others are taken all the same, and do nothing: one set of flags can be kept for all commands.

use clap::{Arg, Command};

/// Commands that look at neither etcd nor a configuration.
const OFFLINE: [&str; 3] = ["inspect", "completions", "man"];

/// Hides in each command what means nothing there.
pub(super) fn narrowed(declaration: Command) -> Command {
    let common: Vec<Arg> = declaration.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    declaration.mut_subcommands(|command| {
        let idle = common.iter().filter(|arg| !applies(command.get_name(), arg.get_id().as_str()));
        let hidden: Vec<Arg> = idle.map(|arg| arg.clone().hide(true)).collect();
        command.args(hidden)
    })
}

/// Whether a flag of all commands, by its ID, means something for a command.
pub(super) fn applies(command: &str, flag: &str) -> bool {
    let among = |commands: &[&str]| commands.contains(&command);
    match flag {
        "output" | "log_format" | "details" | "verbose" | "quiet" => !among(&["completions", "man"]),
        "wait_for_sessions" => among(&["backup", "run", "upgrade", "repair", "rollback"]),
        "max_txn_ops" | "max_request_bytes" => among(&["plan", "run", "upgrade", "repair", "rollback"]),
        storage if storage.starts_with("storage_") => among(&["check-files", "rollback"]),
        "source_version" => among(&["plan", "backup", "run", "upgrade", "repair", "rollback"]),
        "target_version" => among(&["plan", "run", "upgrade", "repair", "verify"]),
        "backup_file" => !among(&["completions", "man"]),
        _ => !OFFLINE.contains(&command),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::{Cli, parse_from};

    fn help_of(command: &str) -> String {
        let error = parse_from(["meta-migration", command, "--help"].map(Into::into)).unwrap_err();
        error.render().to_string()
    }

    #[test]
    fn help_shows_the_flags_of_that_command_alone() {
        for (command, has, has_not) in [
            ("inspect", &["--list", "--backup-file", "--output"][..], &["--endpoints", "--config", "--tls"][..]),
            ("status", &["--endpoints", "--backup-file"], &["--target-version", "--max-txn-ops", "--wait-for"]),
            (
                "run",
                &["--endpoints", "--target-version", "--max-txn-ops", "--wait-for-sessions"],
                &["--storage-address"],
            ),
            ("upgrade", &["--endpoints", "--source-version", "--target-version", "--wait-for-sessions"], &[]),
            ("check-files", &["--endpoints", "--backup-file", "--storage-address"], &["--target-version"]),
            ("completions", &[], &["--endpoints", "--output", "--backup-file"]),
        ] {
            let help = help_of(command);
            has.iter().for_each(|flag| assert!(help.contains(flag), "{command} {flag}: {help}"));
            has_not.iter().for_each(|flag| assert!(!help.contains(flag), "{command} {flag}: {help}"));
        }
    }

    #[test]
    fn every_flag_means_something_somewhere_and_is_under_a_heading() {
        let declaration = Cli::command();
        let commands: Vec<_> = declaration.get_subcommands().map(Command::get_name).collect();
        for flag in declaration.get_arguments().filter(|arg| arg.is_global_set()) {
            assert!(commands.iter().any(|command| applies(command, flag.get_id().as_str())), "{flag}");
            assert!(flag.get_help_heading().is_some(), "{flag}");
        }
    }

    #[test]
    fn what_means_nothing_is_taken_all_the_same() {
        for line in ["x inspect f --endpoints a:1", "x --root-path r inspect f", "x status --target-version 2.2.0"] {
            parse_from(line.split_whitespace().map(Into::into)).unwrap();
        }
    }
}
