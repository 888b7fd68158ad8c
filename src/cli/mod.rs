//! The commands: arguments in, exit code out; one small file per command.

mod args;
mod check;
mod checker;
#[cfg(test)]
mod ci_files;
mod compare;
mod progress;
mod replay;
mod replay_record;
mod report;
mod reproduce;
mod run;
mod runner;
mod server;
mod signals;
mod steering;
mod truth;
mod tune;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser};

use self::args::{Cli, Command};
use crate::cluster;

/// The program's version, and the commit it was built from if that is known.
const VERSION: &str = env!("BATCHPILOT_VERSION");

/// How a command ended, other than by an error; the worst last.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Exit {
    Done,
    Inconclusive,
    ClaimRefuted,
    Regression,
    NotComparable,
    Invalid,
    Interrupted,
    Terminated,
}

impl Exit {
    /// Exit codes of design section 7; 128 + signal as shells have it.
    fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::ClaimRefuted | Exit::Regression => 10,
            Exit::Inconclusive => 11,
            Exit::NotComparable => 12,
            Exit::Invalid => 13,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }
}

/// Something that cannot run as asked: exit code 2, where other errors have 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

/// Things that cannot be compared: exit code 12.
#[derive(Debug, thiserror::Error)]
#[error("not comparable: {0}")]
struct NotComparable(String);

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Whoever would read this may be gone; the exit code says the same.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match dispatch(cli.command) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(code_of(&error))
        }
    }
}

fn code_of(error: &anyhow::Error) -> u8 {
    match error {
        error if error.is::<UsageError>() => 2,
        error if error.is::<NotComparable>() => 12,
        _ => 1,
    }
}

fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Reproduce(arguments) => reproduce::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Tune(arguments) => tune::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Schema => {
            let schema = serde_json::to_string_pretty(&crate::scenario::schema())?;
            writeln!(io::stdout(), "{schema}")?;
            Ok(Exit::Done)
        }
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "batchpilot", &mut text);
            io::stdout().write_all(&text)?;
            Ok(Exit::Done)
        }
        Command::Man => {
            clap_mangen::Man::new(Cli::command()).render(&mut io::stdout())?;
            Ok(Exit::Done)
        }
        Command::GuardCluster { arguments } => {
            cluster::guardian::run(arguments)?;
            Ok(Exit::Done)
        }
    }
}

/// Of two results the first error; the second is said here, so that it is not lost.
fn both<T>(outcome: anyhow::Result<T>, next: anyhow::Result<()>) -> anyhow::Result<T> {
    match (outcome, next) {
        (Ok(value), next) => next.map(|()| value),
        (Err(why), next) => {
            next.unwrap_or_else(|other| complain(&other));
            Err(why)
        }
    }
}

fn complain(error: &anyhow::Error) {
    // Whoever would read this may be gone; the exit code says the same.
    drop(writeln!(io::stderr(), "batchpilot: {error:#}"));
}

/// Says what ends nothing, and what whoever started the command should know at once.
fn warn(warning: &str) {
    // Whoever would read this may be gone; the record says the same.
    drop(writeln!(io::stderr(), "batchpilot: note: {warning}"));
}

/// Lets a verdict stand whose reader went away: `check … | head -1` must not pass what failed.
fn unless_nobody_reads(printed: anyhow::Result<()>) -> anyhow::Result<()> {
    match printed {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        printed => printed,
    }
}

/// `batchpilot … | head` is no error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
