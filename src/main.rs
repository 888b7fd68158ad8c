//! Starts batchpilot: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    batchpilot::cli::main()
}
