//! `tune`: finds the best setting, and says how sure that is.

use std::{path::Path, time::Duration};

use super::{
    Exit, UsageError,
    args::Tune,
    run::{locate_csv, read, read_ddl, resolve},
    runner::{self, Job, Search},
};
use crate::{
    controller::Policy,
    plan::{Plan, PlanError},
    scenario::{self, Scenario},
};

/// Time for the search of one cell, and of each of several.
const SEARCH: Duration = Duration::from_secs(20);
const SEARCH_OF_SEVERAL: Duration = Duration::from_secs(10);
/// Least time in which any controller says anything.
const SEARCH_MIN: Duration = Duration::from_secs(1);
/// A controller that rests for so long has found what it sought.
const REST: Duration = Duration::from_secs(5);
/// Length of a block after the search, in seconds: the machine's mood changes within some seconds, and
/// many short blocks in turn all have their share of it.
const CONTEST_BLOCK_S: f64 = 1.0;

pub(super) fn run(arguments: &Tune) -> anyhow::Result<Exit> {
    let (plan, command, url, source) = match &arguments.scenario {
        None => {
            let mut scenario = of_flags(arguments);
            steer(&mut scenario, arguments)?;
            let plan = Plan::resolve(&scenario).map_err(|error| in_flags(&error))?;
            (plan, "tune".to_owned(), None, None)
        }
        Some(path) => {
            let file = read(path)?;
            let mut scenario = file.scenario.clone();
            choose_cells(&mut scenario);
            steer(&mut scenario, arguments)?;
            if let Err(error) = Plan::resolve(&scenario)
                && is_of_a_flag(&error, arguments)
            {
                return Err(in_flags(&error).into());
            }
            let mut plan = resolve(&file, &scenario)?;
            read_ddl(&mut plan, path.parent().unwrap_or(Path::new("")))?;
            locate_csv(&mut plan, path.parent());
            let command = format!("tune {}", path.display());
            (plan, command, scenario.target.url, Some(file.source))
        }
    };
    let time = arguments.search.unwrap_or(match plan.cells.len() {
        1 => SEARCH,
        several => SEARCH_OF_SEVERAL * u32::try_from(several).unwrap_or(u32::MAX),
    });
    if time < SEARCH_MIN {
        let problem = "--search: no controller can say anything in less than 1 s";
        return Err(UsageError(problem.to_owned()).into());
    }
    let search = Search {
        time,
        rest: REST,
        contest: (CONTEST_BLOCK_S, arguments.repetitions),
        follow: arguments.follow,
    };
    let plan = plan.into_search();
    let job = Job { plan, command, url, time_limit: None, source, search: Some(search) };
    runner::run(job, &arguments.common)
}

/// A scenario of the strategies that were named.
fn of_flags(arguments: &Tune) -> Scenario {
    let named: Vec<&str> = match arguments.strategy.as_slice() {
        [] => vec!["multi_row"],
        named if named.iter().any(|it| it == "all") => {
            vec!["multi_row", "unnest", "copy_text", "copy_binary", "pipelined", "single_row"]
        }
        named => named.iter().map(String::as_str).collect(),
    };
    let mut cells: Vec<scenario::Cell> = Vec::new();
    for name in &named {
        let strategy = serde_json::from_value(serde_json::Value::from(*name));
        let strategy = strategy.expect("clap knows the names");
        let label = if named.len() == 1 { "search".to_owned() } else { format!("search {name}") };
        if cells.iter().all(|cell| cell.strategy != strategy) {
            cells.push(scenario::Cell::new(label, strategy));
        }
    }
    Scenario {
        name: "tune".to_owned(),
        title: Some(format!("The best setting for {}", named.join(", "))),
        cells,
        ..Scenario::default()
    }
}

/// Leaves the cells that are to be tuned: those with a controller, or else all.
fn choose_cells(scenario: &mut Scenario) {
    if scenario.cells.iter().any(|cell| cell.controller.is_some()) {
        scenario.cells.retain(|cell| cell.controller.is_some());
    }
    // A claim is about a setting, and here none is given.
    scenario.claims.clear();
}

/// Gives each cell the controller that the flags ask for, in place of a setting of its own.
fn steer(scenario: &mut Scenario, arguments: &Tune) -> anyhow::Result<()> {
    scenario.seed = arguments.common.seed.or(scenario.seed);
    let workers = arguments.workers.map(|(least, most)| Some([narrow(least)?, narrow(most)?]));
    let Some(workers) = workers.map_or(Some(None), |it| it.map(Some)) else {
        return Err(UsageError("--workers: expected at most 10,000".to_owned()).into());
    };
    for cell in &mut scenario.cells {
        (cell.batch_rows, cell.workers, cell.stop) = (None, None, None);
        let own = cell.controller.unwrap_or_default();
        let is_single = cell.strategy == scenario::Strategy::SingleRow;
        // Of several strategies, that of single rows has no batch to move.
        let batch_rows = arguments.batch_rows.filter(|_| !is_single);
        cell.controller = Some(scenario::Controller {
            policy: arguments.policy.map(policy).or(own.policy),
            batch_rows: batch_rows.map(|(least, most)| [least, most]).or(own.batch_rows),
            workers: workers.or(own.workers),
            p99_limit_ms: arguments.slo.map(|it| it.as_secs_f64() * 1e3).or(own.p99_limit_ms),
            variance: own.variance,
        });
    }
    Ok(())
}

fn narrow(count: u64) -> Option<u32> {
    u32::try_from(count).ok()
}

fn policy(policy: Policy) -> scenario::Policy {
    let name = serde_json::Value::from(policy.name());
    serde_json::from_value(name).expect("both have the same names")
}

/// Whether what is wrong with a scenario was given on the command line.
fn is_of_a_flag(error: &PlanError, arguments: &Tune) -> bool {
    let given = [
        ("batch_rows", arguments.batch_rows.is_some()),
        ("workers", arguments.workers.is_some()),
        ("p99_limit_ms", arguments.slo.is_some()),
    ];
    given.iter().any(|(key, is_given)| *is_given && error.key.ends_with(key))
}

/// Says what is wrong in terms of the command line.
fn in_flags(error: &PlanError) -> UsageError {
    let flags =
        [("batch_rows", "--batch-rows"), ("workers", "--workers"), ("p99_limit_ms", "--slo")];
    let flag = flags.iter().find(|(key, _)| error.key.ends_with(key));
    UsageError(format!("{}: {}", flag.map_or(error.key.as_str(), |it| it.1), error.problem))
}
