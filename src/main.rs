//! Parses the command line, runs the command, and turns its outcome into an exit code.
#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic where the output cannot be written")]

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use meta_migration::cli::{self, Asked, Command};
use meta_migration::commands;
use meta_migration::exit::Exit;
use meta_migration::outcome::failed::FailureOutcome;
#[cfg(target_env = "gnu")]
use meta_migration::packed::CHUNK;
use meta_migration::terminal::console::{Console, LogFormat, OutputFormat, Volume};
use meta_migration::terminal::output;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Has glibc map each chunk of keys and values for itself, and give it back as soon as it is let go. By default it keeps in its heap
/// whatever is as large as something that was freed before, and a fifth of the memory went to the holes in there.
#[cfg(target_env = "gnu")]
#[allow(
    unsafe_code,
    reason = "there is no other way to tell glibc, except for variables of whoever starts the program"
)]
fn give_back_chunks() {
    let chunk = libc::c_int::try_from(CHUNK).unwrap_or(libc::c_int::MAX);
    // SAFETY: sets a number, while there is no other thread yet.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, chunk) };
}

fn main() -> ExitCode {
    #[cfg(target_env = "gnu")]
    give_back_chunks();
    let cli = match cli::parse_from(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error).into(),
    };
    if let Some(document) = cli.command.as_ref().and_then(Command::document) {
        let mut to = output::product();
        let mut write = |text: Vec<u8>| to.write_all(&text).and_then(|()| to.flush());
        return match document.and_then(|text| write(text).context("cannot write to standard output")) {
            Ok(()) => Exit::Done.into(),
            Err(error) => {
                output::to_stderr(format!("error: {error:#}\n").as_bytes());
                Exit::NothingWritten.into()
            }
        };
    }
    if cli.is_bare() {
        return said_nothing(cli.common.output, cli.common.log_format).into();
    }
    let console = Console::set_up(cli.volume(), cli.common.output, cli.common.log_format);
    match commands::execute(&cli, &console) {
        Ok(exit) => exit.into(),
        Err(failure) => fail(&console, &failure).into(),
    }
}

fn fail(console: &Console, failure: &FailureOutcome) -> Exit {
    console.fail(&failure.lines());
    console.object(failure);
    failure.exit()
}

/// Help and the version are texts. Bad usage is a failure like any other: an object and a line in the log's format for whoever asked
/// for them.
fn not_understood(error: &clap::Error) -> Exit {
    let exit = cli::exit_of(error);
    let asked = Asked::of(std::env::args_os());
    if exit == Exit::Done || asked.log_format == LogFormat::Text {
        // Help and errors go nowhere else if the terminal is gone.
        let _ = error.print();
    }
    if exit != Exit::Done {
        bad_usage(asked.command, cli::text_of(error), asked.output, asked.log_format);
    }
    exit
}

/// Who does not know a command yet is shown the way in.
fn said_nothing(output: OutputFormat, log_format: LogFormat) -> Exit {
    if log_format == LogFormat::Text {
        output::to_stderr(format!("error: {}\n", cli::WAY_IN).as_bytes());
    }
    bad_usage("", cli::WAY_IN.to_owned(), output, log_format);
    Exit::NothingWritten
}

fn bad_usage(command: &'static str, error: String, output: OutputFormat, log_format: LogFormat) {
    let console = Console::set_up(Volume::Normal, output, log_format);
    let failure = FailureOutcome::of_usage(command, error);
    if log_format == LogFormat::Json {
        console.fail(&failure.error);
    }
    console.object(&failure);
}
