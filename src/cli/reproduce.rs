//! `reproduce`: the documented table here.

use std::time::Duration;

use super::{
    Exit,
    args::Reproduce,
    runner::{self, Job},
};
use crate::{
    plan::Plan,
    scenario::{Scenario, Stop},
};

const SCENARIO: &str = include_str!("../../scenarios/reproduce.toml");
/// The documented number of rows.
const ROWS: u64 = 100_000;
/// No repetition starts that would not end within this time: reports take the rest of 3 minutes.
const TIME_LIMIT: Duration = Duration::from_secs(150);

pub(super) fn run(arguments: &Reproduce) -> anyhow::Result<Exit> {
    let mut scenario = Scenario::parse(SCENARIO, "scenarios/reproduce.toml")?.scenario;
    scenario.seed = arguments.common.seed.or(scenario.seed);
    scenario.repetitions = arguments.repetitions.or(scenario.repetitions);
    let mut command = "reproduce".to_owned();
    if arguments.full {
        command.push_str(" --full");
        scenario.stop = Some(Stop { rows: Some(ROWS), seconds: None, warm_up_seconds: None });
    }
    let is_bounded = !arguments.full && arguments.repetitions.is_none();
    let time_limit = is_bounded.then_some(TIME_LIMIT);
    let plan = Plan::resolve(&scenario)?;
    let job = Job { plan, command, url: None, time_limit, source: None, search: None };
    runner::run(job, &arguments.common)
}
