//! The commands: arguments in, one small file per command.

mod hold_cluster;

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use crate::cluster;

/// Runs the command line.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((name, rest)) if name == cluster::guardian::SUBCOMMAND => {
            cluster::guardian::run(rest.to_vec()).map_err(anyhow::Error::from)
        }
        Some((name, rest)) if name == hold_cluster::SUBCOMMAND => hold_cluster::run(rest),
        _ => Ok(()),
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    // Whoever would read this may be gone; the exit code says the same.
    drop(writeln!(io::stderr(), "batchpilot: {error:#}"));
    ExitCode::FAILURE
}
