//! What moves a cell's batch rows and workers: policy, bounds and limit, checked and clipped.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BATCH_ROWS_MAX, PlanError, WORKERS_MAX, in_range};
use crate::{
    controller::{Bounds, Controller, Goal, Policy, Signal, Variance, VarianceRule},
    scenario,
    strategy::Strategy,
};

/// Rows and workers at most, where a scenario does not say.
const BATCH_ROWS_DEFAULT: u64 = 65_535;
const WORKERS_DEFAULT: u32 = 64;
/// Least and most limit of p99, in milliseconds.
const LIMIT_MS: (f64, f64) = (0.001, 3_600_000.0);

/// What moves a cell's batch rows and workers.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct ControlPlan {
    /// How it decides.
    pub policy: Policy,
    /// Where it may go.
    pub bounds: Bounds,
    /// Most that the 99th percentile of the service latency may be, in milliseconds.
    pub p99_limit_ms: Option<f64>,
    /// The rule of [`Policy::Variance`]; `None` for all others.
    pub variance: Option<VarianceRule>,
    /// Whether it searches for a setting, and what is inserted until then does not count.
    #[serde(default)]
    pub is_search: bool,
}

impl ControlPlan {
    /// What the controller is to reach.
    pub fn goal(&self, seed: u64) -> Goal {
        let p99_limit = self.p99_limit_ms.map(|ms| Duration::from_secs_f64(ms / 1e3));
        Goal { bounds: self.bounds, p99_limit, seed, is_search: self.is_search }
    }

    /// Makes the controller.
    pub fn controller(&self, seed: u64) -> Box<dyn Controller> {
        match self.variance {
            Some(rule) => Box::new(Variance::new(rule, &self.bounds)),
            None => self.policy.build(&self.goal(seed)),
        }
    }

    /// Holds batches to what an operation can carry; says so, if that changes them.
    pub(super) fn fit(
        self,
        key: &str,
        carrier: (Strategy, usize),
        notes: &mut Vec<String>,
    ) -> Result<ControlPlan, PlanError> {
        let batch_rows = clip(key, self.bounds.batch_rows(), carrier, notes)?;
        let bounds = Bounds::new(batch_rows, self.bounds.workers()).expect("both were checked");
        Ok(ControlPlan { bounds, ..self })
    }

    /// Takes the most workers down to `most`; `None` if even the least are more.
    pub(super) fn with_workers_at_most(self, most: u32) -> Option<ControlPlan> {
        let (low, high) = self.bounds.workers();
        let bounds = Bounds::new(self.bounds.batch_rows(), (low, high.min(most)))?;
        Some(ControlPlan { bounds, ..self })
    }
}

/// Resolves the controller of a cell. What carries its batches is the strategy, with the columns of a
/// row as far as they are known; `pool_size_max` is what the scenario says of its pool.
pub(super) fn resolve(
    key: &str,
    cell: &scenario::Cell,
    carrier: (Strategy, Option<usize>),
    pool_size_max: Option<u32>,
    notes: &mut Vec<String>,
) -> Result<Option<ControlPlan>, PlanError> {
    let Some(controller) = cell.controller else { return Ok(None) };
    check_cell(key, cell)?;
    let key = format!("{key}.controller");
    let policy = policy(controller.policy.unwrap_or_default());
    let knows_limit = !matches!(policy, Policy::Fixed | Policy::Variance);
    if let Some(limit_ms) = controller.p99_limit_ms {
        if !(LIMIT_MS.0..=LIMIT_MS.1).contains(&limit_ms) {
            let problem = format!("{limit_ms} ms is out of range; expected 0.001 to 3,600,000");
            return Err(PlanError::new(format!("{key}.p99_limit_ms"), problem));
        }
        if !knows_limit {
            let problem = format!("`{}` knows no limit; use `pilot`", policy.name());
            return Err(PlanError::new(format!("{key}.p99_limit_ms"), problem));
        }
    }
    let rule = match (policy, controller.variance) {
        (Policy::Variance, rule) => Some(variance(&key, rule.unwrap_or_default())?),
        (_, None) => None,
        (_, Some(_)) => {
            let problem = "only the policy `variance` has this rule; remove the key";
            return Err(PlanError::new(format!("{key}.variance"), problem));
        }
    };
    let batch_rows = batch_rows(&key, controller.batch_rows, carrier, notes)?;
    let workers = workers(&key, controller.workers, pool_size_max)?;
    let bounds = Bounds::new(batch_rows, workers).expect("both were checked");
    let p99_limit_ms = controller.p99_limit_ms;
    Ok(Some(ControlPlan { policy, bounds, p99_limit_ms, variance: rule, is_search: false }))
}

/// What a cell cannot have together with a controller.
fn check_cell(key: &str, cell: &scenario::Cell) -> Result<(), PlanError> {
    let moved = |name: &str| {
        let problem = format!("the controller moves it; give bounds in controller.{name}");
        PlanError::new(format!("{key}.{name}"), problem)
    };
    if cell.batch_rows.is_some() {
        return Err(moved("batch_rows"));
    }
    if cell.workers.is_some() {
        return Err(moved("workers"));
    }
    if cell.pace.is_some() {
        let problem = "a controller seeks the most rows/s, and an open loop has the rate it was \
                       given; remove one of the two";
        return Err(PlanError::new(format!("{key}.pace"), problem));
    }
    match cell.transaction.unwrap_or_default() {
        scenario::Transaction::Autocommit
        | scenario::Transaction::Explicit
        | scenario::Transaction::Every(0 | 1) => Ok(()),
        scenario::Transaction::Every(_) | scenario::Transaction::Whole => {
            let problem = "a transaction of several operations would hold several settings; \
                           expected `autocommit` or `explicit` with a controller";
            Err(PlanError::new(format!("{key}.transaction"), problem))
        }
    }
}

fn policy(policy: scenario::Policy) -> Policy {
    match policy {
        scenario::Policy::Fixed => Policy::Fixed,
        scenario::Policy::Variance => Policy::Variance,
        scenario::Policy::Aimd => Policy::Aimd,
        scenario::Policy::Gradient => Policy::Gradient,
        scenario::Policy::Climb => Policy::Climb,
        scenario::Policy::Pilot => Policy::Pilot,
    }
}

fn batch_rows(
    key: &str,
    bounds: Option<[u64; 2]>,
    (strategy, columns): (Strategy, Option<usize>),
    notes: &mut Vec<String>,
) -> Result<(u64, u64), PlanError> {
    let Some([low, high]) = bounds else {
        let most = strategy.batch_rows_max(columns.unwrap_or(1));
        return Ok((1, most.min(BATCH_ROWS_DEFAULT)));
    };
    check_ends(&format!("{key}.batch_rows"), low, high, BATCH_ROWS_MAX)?;
    match columns {
        Some(columns) => clip(key, (low, high), (strategy, columns), notes),
        // Those of the user's own table are known once it is made; `ControlPlan::fit` clips then.
        None => Ok((low, high)),
    }
}

fn clip(
    key: &str,
    (low, high): (u64, u64),
    (strategy, columns): (Strategy, usize),
    notes: &mut Vec<String>,
) -> Result<(u64, u64), PlanError> {
    let key = format!("{key}.batch_rows");
    let most = strategy.batch_rows_max(columns);
    let carries = match strategy {
        Strategy::MultiRow => format!(
            "multi_row carries at most {most} rows: 65,535 parameters a statement, {columns} a row"
        ),
        _ => format!("{} carries at most {most} rows", strategy.name()),
    };
    if most < low {
        return Err(PlanError::new(key, format!("nothing is within the bounds: {carries}")));
    }
    if most < high {
        notes.push(format!("{key} clipped to [{low}, {most}]: {carries}"));
    }
    Ok((low, high.min(most)))
}

fn workers(
    key: &str,
    bounds: Option<[u32; 2]>,
    pool_size_max: Option<u32>,
) -> Result<(u32, u32), PlanError> {
    let key = format!("{key}.workers");
    let most = pool_size_max.unwrap_or(WORKERS_MAX);
    let Some([low, high]) = bounds else { return Ok((1, most.min(WORKERS_DEFAULT))) };
    check_ends(&key, low.into(), high.into(), WORKERS_MAX.into())?;
    if most < high {
        let problem = format!("{high} workers need as many sessions; pool.size_max is {most}");
        return Err(PlanError::new(key, problem));
    }
    Ok((low, high))
}

fn check_ends(key: &str, low: u64, high: u64, most: u64) -> Result<(), PlanError> {
    in_range(key, low, 1, most)?;
    in_range(key, high, 1, most)?;
    if low <= high {
        return Ok(());
    }
    let problem = format!("nothing is at least {low} and at most {high}; expected [least, most]");
    Err(PlanError::new(key, problem))
}

fn variance(key: &str, rule: scenario::Variance) -> Result<VarianceRule, PlanError> {
    let key = |name: &str| format!("{key}.variance.{name}");
    let default = VarianceRule::default();
    let batch_rows_min = rule.batch_rows_min.unwrap_or(default.batch_rows_min);
    let batch_rows_max = rule.batch_rows_max.unwrap_or(default.batch_rows_max.max(batch_rows_min));
    in_range(&key("batch_rows_min"), batch_rows_min, 1, BATCH_ROWS_MAX)?;
    in_range(&key("batch_rows_max"), batch_rows_max, batch_rows_min, BATCH_ROWS_MAX)?;
    let (low, high) = (rule.low.unwrap_or(default.low), rule.high.unwrap_or(default.high));
    for (name, value) in [("low", low), ("high", high)] {
        if !(0.0..=100.0).contains(&value) {
            let problem = format!("{value} is out of range; expected a share from 0 to 100");
            return Err(PlanError::new(key(name), problem));
        }
    }
    if high < low {
        let problem = format!("{high} is below `low` ({low}): no deviation would be left alone");
        return Err(PlanError::new(key("high"), problem));
    }
    let mut start = default.start;
    start.batch_rows = start.batch_rows.clamp(batch_rows_min, batch_rows_max);
    let signal = match rule.signal.unwrap_or_default() {
        scenario::Signal::Rate => Signal::Rate,
        scenario::Signal::Latency => Signal::Latency,
    };
    Ok(VarianceRule { signal, start, batch_rows_min, batch_rows_max, low, high })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        controller::Setting,
        plan::{CellPlan, OnError, Plan, Stop},
        scenario::Scenario,
    };

    /// A scenario of one cell with a controller: keys at the top, of the cell, of the controller.
    fn resolve(top: &str, cell: &str, controller: &str) -> Result<Plan, PlanError> {
        let strategy = if cell.contains("strategy") { "" } else { "strategy = 'multi_row'\n" };
        let text = format!(
            "name = 'test'\n{top}\n[[cells]]\nname = 'cell'\n{strategy}{cell}\n\
             [cells.controller]\n{controller}\n"
        );
        let file = Scenario::parse(&text, "test.toml").unwrap_or_else(|error| panic!("{error}"));
        Plan::resolve(&file.scenario)
    }

    fn cell(cell: &str, controller: &str) -> (CellPlan, ControlPlan) {
        let cell = resolve("", cell, controller).unwrap().cells.remove(0);
        (cell.clone(), cell.controller.unwrap())
    }

    #[test]
    fn what_cannot_be_controlled_is_said_with_its_key() {
        let out = "is out of range";
        for (top, cell, controller, key, problem) in [
            ("", "batch_rows = 5", "", "batch_rows", "give bounds in controller.batch_rows"),
            ("", "workers = 5", "", "workers", "give bounds in controller.workers"),
            ("", "pace.rate = 5", "", "pace", "the rate it was given"),
            ("", "transaction = 'whole'", "", "transaction", "expected `autocommit`"),
            ("", "transaction = { every = 2 }", "", "transaction", "several settings"),
            ("", "", "batch_rows = [0, 5]", "controller.batch_rows", out),
            ("", "", "batch_rows = [1, 1000001]", "controller.batch_rows", out),
            ("", "", "batch_rows = [6, 5]", "controller.batch_rows", "at least 6 and at most 5"),
            (
                "",
                "",
                "batch_rows = [16384, 20000]",
                "controller.batch_rows",
                "nothing is within the bounds: multi_row carries at most 16383 rows: 65,535",
            ),
            (
                "",
                "strategy = 'single_row'",
                "batch_rows = [2, 9]",
                "controller.batch_rows",
                "single_row carries at most 1 rows",
            ),
            ("", "", "workers = [0, 5]", "controller.workers", out),
            ("", "", "workers = [1, 10001]", "controller.workers", out),
            ("pool.size_max = 3", "", "workers = [1, 4]", "controller.workers", "size_max is 3"),
            ("", "", "p99_limit_ms = 0.0", "controller.p99_limit_ms", "0 ms is out of range"),
            ("", "", "p99_limit_ms = nan", "controller.p99_limit_ms", out),
            (
                "",
                "",
                "policy = 'variance'\np99_limit_ms = 5",
                "controller.p99_limit_ms",
                "`variance` knows no limit; use `pilot`",
            ),
            ("", "", "variance = {}", "controller.variance", "only the policy `variance`"),
            (
                "",
                "",
                "policy = 'variance'\nvariance = { low = 0.2 }",
                "controller.variance.high",
                "0.15 is below `low` (0.2)",
            ),
            (
                "",
                "",
                "policy = 'variance'\nvariance = { batch_rows_min = 9, batch_rows_max = 8 }",
                "controller.variance.batch_rows_max",
                "expected 9 to",
            ),
            (
                "",
                "",
                "policy = 'variance'\nvariance = { high = inf }",
                "controller.variance.high",
                "a share from 0 to 100",
            ),
        ] {
            let error = resolve(top, cell, controller).expect_err(controller);
            assert_eq!(error.key, format!("cells[0].{key}"), "{error}");
            assert!(error.problem.contains(problem), "{error}");
        }
    }

    #[test]
    fn defaults_are_as_wide_as_the_strategy_and_the_pool() {
        let (plan, controller) = cell("", "");
        assert_eq!((controller.policy, controller.p99_limit_ms), (Policy::Pilot, None));
        assert_eq!(controller.bounds.batch_rows(), (1, 16_383));
        assert_eq!(controller.bounds.workers(), (1, 64));
        // The pilot's survey begins with 16 rows and 4 workers; sessions are opened as they come.
        assert_eq!(plan.setting(), Setting { batch_rows: 16, workers: 4 });
        assert_eq!((plan.pool.size_max, plan.pool.idle_min), (64, 4));
        assert_eq!(plan.on_error, OnError::Collect);
        assert_eq!(plan.stop, Stop { rows: None, seconds: Some(20.0) });

        let (_, controller) = cell("strategy = 'copy_binary'\npool.size_max = 7", "");
        assert_eq!(controller.bounds.batch_rows(), (1, 65_535));
        assert_eq!(controller.bounds.workers(), (1, 7));
        let (_, controller) = cell("strategy = 'single_row'", "");
        assert_eq!(controller.bounds.batch_rows(), (1, 1));
    }

    #[test]
    fn bounds_beyond_the_parameter_limit_are_clipped_and_that_is_said() {
        let plan = resolve("", "", "batch_rows = [100, 65535]\nworkers = [3, 3]").unwrap();
        let bounds = plan.cells[0].controller.unwrap().bounds;
        assert_eq!((bounds.batch_rows(), bounds.workers()), ((100, 16_383), (3, 3)));
        assert_eq!(plan.notes.len(), 1);
        assert!(plan.notes[0].contains("clipped to [100, 16383]"), "{:?}", plan.notes);
        assert_eq!(plan.cells[0].workers, 3);
    }

    #[test]
    fn workers_are_clipped_to_the_sessions_that_are_free() {
        let mut plan = resolve("", "", "workers = [2, 64]").unwrap();
        plan.clip_workers(64).unwrap();
        assert!(plan.notes.is_empty());
        plan.clip_workers(3).unwrap();
        let cell = &plan.cells[0];
        assert_eq!(cell.controller.unwrap().bounds.workers(), (2, 3));
        assert_eq!((cell.workers, cell.pool.size_max, cell.pool.idle_min), (3, 3, 3));
        assert!(plan.notes[0].contains("3 sessions free"), "{:?}", plan.notes);
        let error = plan.clip_workers(1).unwrap_err();
        assert_eq!(error.key, "cells[0].controller.workers");
    }

    #[test]
    fn the_articles_rule_is_as_it_was_given() {
        let given = "signal = 'rate'\nbatch_rows_min = 100\nlow = 0.01\nhigh = 0.5";
        let keys =
            format!("policy = 'variance'\nworkers = [2, 2]\n[cells.controller.variance]\n{given}");
        let (plan, controller) = cell("", &keys);
        let rule = controller.variance.unwrap();
        assert_eq!(
            (rule.signal, rule.batch_rows_min, rule.batch_rows_max),
            (Signal::Rate, 100, 512)
        );
        assert_eq!(plan.setting(), Setting { batch_rows: 100, workers: 2 });
    }
}
