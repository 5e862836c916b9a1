//! Parses the command line, runs the command, and turns its outcome into an exit code.
#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic where the output cannot be written")]

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use meta_migration::cli::{self, Cli, Command};
use meta_migration::commands;
use meta_migration::exit::{Exit, Failure};
use meta_migration::outcome::FailureOutcome;
use meta_migration::terminal::console::Console;
use meta_migration::terminal::output;

fn main() -> ExitCode {
    let cli = match cli::parse_from(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and errors go nowhere else if the terminal is gone.
            let _ = error.print();
            return cli::exit_of(&error).into();
        }
    };
    if let Some(document) = cli.command.as_ref().and_then(Command::document) {
        let mut to = output::product();
        return match document.and_then(|text| to.write_all(&text).and_then(|()| to.flush())) {
            Ok(()) => Exit::Done.into(),
            Err(error) => {
                output::to_stderr(format!("error: cannot write to standard output: {error}\n").as_bytes());
                Exit::NothingWritten.into()
            }
        };
    }
    let console = Console::set_up(cli.common.verbose, cli.common.output, cli.common.log_format);
    let outcome = catch_unwind(AssertUnwindSafe(|| run(&cli, &console)));
    let (exit, what) = match outcome {
        Ok(Ok(exit)) => return exit.into(),
        Ok(Err(failure)) => (failure.exit, failure.to_string()),
        Err(_) => {
            let defect = "this is a defect of meta-migration: please report it with the lines above";
            (Exit::Unexpected, defect.to_owned())
        }
    };
    console.fail(&what);
    console.object(&FailureOutcome::new(cli.name(), exit, what));
    exit.into()
}

fn run(cli: &Cli, console: &Console) -> Result<Exit, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::Error::new(error).context("cannot start the runtime"))?
        .block_on(commands::execute(cli, console))
}
