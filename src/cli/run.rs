//! `run`: any scenario file.

use std::{io::Write, path::Path};

use super::{
    Exit, UsageError,
    args::{Format, OwnTable, Run},
    runner::{self, Job},
    truth,
};
use crate::{
    plan::Plan,
    scenario::{Scenario, ScenarioFile},
    target::TableSource,
};

pub(super) fn run(arguments: &Run) -> anyhow::Result<Exit> {
    // All files are read before the first one runs: a mistake in the last must not cost the first.
    let mut jobs = Vec::new();
    for path in &arguments.scenarios {
        let file = read(path)?;
        let mut scenario = file.scenario.clone();
        scenario.seed = arguments.common.seed.or(scenario.seed);
        own_table(&mut scenario, &arguments.table);
        let mut plan = resolve(&file, &scenario)?;
        let is_named_here = arguments.table.ddl.is_some();
        let folder = path.parent().filter(|_| !is_named_here).unwrap_or(Path::new(""));
        read_ddl(&mut plan, folder)?;
        locate_csv(&mut plan, path.parent().filter(|_| arguments.table.csv.is_none()));
        let command = format!("run {}", path.display());
        let (url, source) = (scenario.target.url, Some(file.source));
        jobs.push(Job { plan, command, url, time_limit: None, source, search: None });
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

/// What the command line says of the table wins over the scenario.
pub(super) fn own_table(scenario: &mut Scenario, arguments: &OwnTable) {
    let table = &mut scenario.table;
    match (&arguments.ddl, &arguments.table) {
        (Some(file), name) => {
            (table.ddl, table.like) = (Some(file.display().to_string()), None);
            table.name.clone_from(name);
        }
        (None, Some(name)) if table.ddl.is_some() && !name.contains('.') => {
            table.name = Some(name.clone());
        }
        (None, Some(name)) => {
            (table.ddl, table.like, table.name) = (None, Some(name.clone()), None);
        }
        (None, None) => (),
    }
    if let Some(file) = &arguments.csv {
        scenario.rows.csv = Some(file.display().to_string());
    }
    if arguments.without_foreign_keys {
        table.without_foreign_keys = Some(true);
    }
    if arguments.without_triggers {
        table.without_triggers = Some(true);
    }
}

/// Reads the file that the plan's table is made from.
pub(super) fn read_ddl(plan: &mut Plan, folder: &Path) -> anyhow::Result<()> {
    if let TableSource::Ddl { file, text } = &mut plan.table.source {
        let read = std::fs::read_to_string(folder.join(&*file));
        *text = read.map_err(|error| UsageError(format!("cannot read {file}: {error}")))?;
    }
    Ok(())
}

/// Finds the file that the plan's rows are read from: beside the scenario that names it.
pub(super) fn locate_csv(plan: &mut Plan, folder: Option<&Path>) {
    if let Some(csv) = &mut plan.table.csv {
        csv.path = folder.unwrap_or(Path::new("")).join(&csv.file);
    }
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
    let mut out = anstream::stdout();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(plan)?)?,
        Format::Text => crate::report::text::write_plan(plan, &mut out)?,
    }
    Ok(())
}
