//! `run`: any scenario file.

use std::{
    io::{self, Write},
    path::Path,
};

use super::{
    Exit, UsageError,
    args::{Format, Run},
    runner::{self, Job},
    truth,
};
use crate::{
    plan::Plan,
    scenario::{Scenario, ScenarioFile},
};

pub(super) fn run(arguments: &Run) -> anyhow::Result<Exit> {
    // All files are read before the first one runs: a mistake in the last must not cost the first.
    let mut jobs = Vec::new();
    for path in &arguments.scenarios {
        let file = read(path)?;
        let mut scenario = file.scenario.clone();
        scenario.seed = arguments.common.seed.or(scenario.seed);
        let plan = resolve(&file, &scenario)?;
        let command = format!("run {}", path.display());
        let url = scenario.target.url;
        jobs.push(Job { plan, command, url, time_limit: None, search: None });
    }
    if arguments.check {
        for job in &jobs {
            show_plan(&job.plan, arguments.common.format)?;
        }
        return Ok(Exit::Done);
    }
    if arguments.sim_truth {
        for job in &jobs {
            truth::show(&job.plan, arguments.common.format)?;
        }
        return Ok(Exit::Done);
    }
    let mut worst = Exit::Done;
    for job in jobs {
        let exit = match runner::run(job, &arguments.common) {
            Ok(exit) => exit,
            // As within a run: that a table is not what the server confirmed outweighs an error.
            Err(error) if worst == Exit::Invalid => {
                super::complain(&error);
                return Ok(worst);
            }
            Err(error) => return Err(error),
        };
        if matches!(exit, Exit::Interrupted | Exit::Terminated) {
            return Ok(exit);
        }
        worst = worst.max(exit);
    }
    Ok(worst)
}

pub(super) fn read(path: &Path) -> anyhow::Result<ScenarioFile> {
    Scenario::read(path).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        UsageError(format!("{error}{}", cause.unwrap_or_default())).into()
    })
}

/// A range error reads like one of the file's reader: file, line, column, key, what was expected.
pub(super) fn resolve(file: &ScenarioFile, scenario: &Scenario) -> anyhow::Result<Plan> {
    Plan::resolve(scenario).map_err(|error| {
        UsageError(file.source.fault(&error.key, &error.problem).to_string()).into()
    })
}

fn show_plan(plan: &Plan, format: Format) -> anyhow::Result<()> {
    let mut out = io::stdout();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(plan)?)?,
        Format::Text => crate::report::text::write_plan(plan, &mut out)?,
    }
    Ok(())
}
