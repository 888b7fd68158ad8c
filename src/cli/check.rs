//! `check`: whether head inserts more slowly than base.

mod arms;
mod calibrate;
mod git;
mod outputs;

use std::{
    io::{self, Write},
    path::Path,
};

use super::{
    Exit, UsageError,
    args::{Check, Format},
    checker::{self, Checked, Columns, Job},
};
use crate::{
    gate::Conclusion,
    record::{CheckRecord, Directory},
    verdict::CheckVerdict,
};

pub(super) fn run(arguments: &Check) -> anyhow::Result<Exit> {
    let measured = job(arguments).and_then(|job| match arguments.calibrate {
        None => checker::run(job, &arguments.common),
        // Its checks have no files but their own.
        Some(checks) => calibrate::run(&job, checks, arguments).map(Err),
    });
    match measured {
        Ok(Ok(checked)) => conclude(checked, arguments),
        Ok(Err(exit)) => {
            let command = arms::command(arguments);
            complain_of(outputs::write_stopped(exit, &command, &arguments.outputs));
            Ok(exit)
        }
        Err(error) => {
            let command = arms::command(arguments);
            complain_of(outputs::write_not_run(&error, &command, &arguments.outputs));
            Err(error)
        }
    }
}

/// That a file cannot be written either says less than why the check did not run.
fn complain_of(written: anyhow::Result<()>) {
    written.unwrap_or_else(|unwritten| super::complain(&unwritten));
}

fn job(arguments: &Check) -> anyhow::Result<Job> {
    let (comparison, sides) = arms::resolve(arguments)?;
    let options = arguments.gate.options();
    // Each cell is one more chance to fail; that the constants make a rule is known before a server
    // is touched.
    options
        .rule(sides.base.plan.cells.len())
        .map_err(|error| UsageError(format!("constants of the gate: {error}")))?;
    let command = arms::command(arguments);
    let columns = if arguments.common_columns { Columns::Common } else { Columns::Same };
    Ok(Job { command, comparison, sides, options, columns })
}

/// Says what a check that measured something found.
fn conclude(checked: Checked, arguments: &Check) -> anyhow::Result<Exit> {
    let verdict = CheckVerdict::of(&checked.record);
    // Files first: who reads the text may go away, and CI still wants its answer.
    outputs::write(&checked.record, &verdict, &arguments.outputs)?;
    super::unless_nobody_reads(report(
        &checked.record,
        &verdict,
        &checked.path,
        format(arguments),
    ))?;
    match checked.error {
        // That a table is not what the server confirmed outweighs why the check ended.
        Some(error) if checked.record.cells.iter().any(|it| 0 < it.evidence.tables_wrong) => {
            super::complain(&error);
            return Ok(Exit::Invalid);
        }
        Some(error) => return Err(error),
        None => (),
    }
    Ok(checked.told.unwrap_or_else(|| exit(verdict.conclusion, arguments.common.strict)))
}

/// Draws the report of a check, and prints its verdict.
pub(super) fn report(
    record: &CheckRecord,
    verdict: &CheckVerdict,
    path: &Path,
    format: Format,
) -> anyhow::Result<()> {
    for (name, bytes) in crate::report::files_of_check(record, verdict) {
        Directory::replace_in(path, name, &bytes)?;
    }
    match format {
        Format::Json => crate::report::check::write_json(record, verdict, &mut io::stdout())?,
        Format::Text => {
            let mut out = anstream::stdout();
            crate::report::check::write(record, verdict, &mut out)?;
            writeln!(out, "\nReport: {}", path.join("report.html").display())?;
        }
    }
    Ok(())
}

fn format(arguments: &Check) -> Format {
    if arguments.json { Format::Json } else { arguments.common.format }
}

pub(super) fn exit(conclusion: Conclusion, strict: bool) -> Exit {
    match conclusion {
        Conclusion::Invalid => Exit::Invalid,
        Conclusion::Fail => Exit::Regression,
        Conclusion::Inconclusive if strict => Exit::Inconclusive,
        Conclusion::Inconclusive | Conclusion::Pass => Exit::Done,
    }
}
