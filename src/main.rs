//! Parses the command line, runs the command, and turns its outcome into an exit code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use meta_migration::cli::{self, Cli};
use meta_migration::commands;
use meta_migration::exit::{Exit, Failure};
use meta_migration::report::console::Console;

fn main() -> ExitCode {
    let cli = match cli::parse_from(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and errors go nowhere else if the terminal is gone.
            let _ = error.print();
            return cli::exit_of(&error).into();
        }
    };
    let console = Console::set_up(cli.common.verbose);
    let outcome = catch_unwind(AssertUnwindSafe(|| run(&cli, &console)));
    let exit = match outcome {
        Ok(Ok(exit)) => exit,
        Ok(Err(failure)) => {
            console.fail(&failure.to_string());
            failure.exit
        }
        Err(_) => {
            console.fail("this is a defect of meta-migration: please report it with the lines above");
            Exit::Unexpected
        }
    };
    exit.into()
}

fn run(cli: &Cli, console: &Console) -> Result<Exit, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::Error::new(error).context("cannot start the runtime"))?
        .block_on(commands::execute(cli, console))
}
