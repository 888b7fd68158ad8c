//! `compare`: stored records side by side.

use std::{
    io::{self, Write},
    path::Path,
};

use super::{
    Exit, NotComparable,
    args::{Compare, Format},
};
use crate::{
    record::{self, Record, RecordError},
    report,
    verdict::compare::{Comparison, Options, Outcome},
};

pub(super) fn run(arguments: &Compare) -> anyhow::Result<Exit> {
    let (last, earlier) = arguments.records.split_last().expect("clap asks for two at least");
    let named = |path: &Path| path.display().to_string();
    // What is not there was named by mistake. What is there and damaged ends no later comparison.
    if let Some(path) = arguments.records.iter().find(|path| !path.exists()) {
        return Err(anyhow::anyhow!("{}: No such file or directory", named(path)));
    }
    let last = (named(last), read(last)?);
    let earlier: Vec<(String, Result<Record, String>)> = earlier
        .iter()
        .map(|path| (named(path), read(path).map_err(|error| format!("{error:#}"))))
        .collect();
    let options = Options { session_noise: arguments.session_noise, ..Options::default() };
    let comparison = Comparison::of(&earlier, &last, &options);
    super::unless_nobody_reads(print(&comparison, arguments))?;
    Ok(match comparison.outcome {
        Outcome::Invalid => Exit::Invalid,
        Outcome::NotComparable => Exit::NotComparable,
        Outcome::Fail if arguments.gate => Exit::Regression,
        Outcome::Inconclusive if arguments.strict => Exit::Inconclusive,
        _ => Exit::Done,
    })
}

fn print(comparison: &Comparison, arguments: &Compare) -> anyhow::Result<()> {
    match arguments.format {
        Format::Json => writeln!(io::stdout(), "{}", serde_json::to_string_pretty(comparison)?)?,
        Format::Text => {
            let role = if arguments.gate {
                report::compare::Role::Gate
            } else {
                report::compare::Role::Advice
            };
            report::compare::write(comparison, role, &mut anstream::stdout())?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Record> {
    if record::is_check(path) {
        let problem = format!("{} is a check, which compares two arms itself", path.display());
        return Err(NotComparable(problem).into());
    }
    match record::read(path) {
        Ok(record) => Ok(record),
        Err(error @ RecordError::Version { .. }) => Err(NotComparable(error.to_string()).into()),
        Err(error) => Err(error.into()),
    }
}
