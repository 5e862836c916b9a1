//! Shell completions and man pages.

use std::process::Command;

use clap::CommandFactory;
use meta_migration::cli::Cli;

use crate::common::Tool;
use crate::common::tool::PROGRAM;
use crate::stdout;

fn document(args: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    let ended = Tool::configured("").spawn(command).wait().code(0);
    assert!(ended.get_output().stderr.is_empty(), "{args:?}");
    stdout(&ended)
}

fn commands() -> Vec<clap::Command> {
    let mut cli = Cli::command();
    cli.build();
    cli.get_subcommands().filter(|command| command.get_name() != "help").cloned().collect()
}

/// Spelt as in roff: a hyphen that is no minus has a backslash.
fn roff(text: &str) -> String {
    text.replace('-', "\\-")
}

#[test]
fn completions_know_every_command_and_every_flag() {
    for shell in ["bash", "zsh", "fish"] {
        let text = document(&["completions", shell]);
        for command in commands() {
            assert!(text.contains(command.get_name()), "{shell}: {}", command.get_name());
            for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
                // fish writes them without their dashes.
                assert!(text.contains(flag), "{shell}: {} --{flag}", command.get_name());
            }
        }
    }
}

#[test]
fn bash_and_zsh_take_their_completions() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("completions");
    std::fs::write(&file, document(&["completions", "bash"])).unwrap();
    let script = "source \"$1\" && complete -p meta-migration";
    let loaded = Command::new("bash").args(["-euc", script, "bash"]).arg(&file).output().unwrap();
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    assert!(document(&["completions", "zsh"]).starts_with("#compdef meta-migration\n"));
}

#[test]
fn the_man_pages_have_every_command_and_every_flag() {
    let text = document(&["man"]);
    assert_eq!(text.matches("\n.TH ").count(), 1 + commands().len(), "a page for the tool and for each command");
    for command in commands() {
        let name = format!("meta-migration-{}", command.get_name());
        let page =
            text.split("\n.TH ").find(|page| page.starts_with(&name)).unwrap_or_else(|| panic!("no page {name}"));
        for flag in command.get_arguments().filter(|arg| !arg.is_global_set()).filter_map(clap::Arg::get_long) {
            assert!(page.contains(&roff(&format!("--{flag}"))), "{name}: --{flag}");
        }
    }
    for flag in Cli::command().get_arguments().filter_map(clap::Arg::get_long) {
        assert!(text.contains(&roff(&format!("--{flag}"))), "--{flag}");
    }
}
