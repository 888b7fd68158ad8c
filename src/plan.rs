//! What will run: every default filled, every range checked, order and seeds fixed.
//!
//! `Plan::resolve` is the only way from a [`Scenario`] to a [`Plan`]; past it nobody checks again.

mod control;
mod sim;
mod table;
mod tuning;

use std::collections::BTreeSet;

use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

pub use self::{
    control::ControlPlan,
    tuning::{Contender, Role, TuningPlan},
};
pub use crate::controller::Setting;
pub use crate::scenario::{Arrival, ClaimUnit, Connection, OnError};
use crate::{
    rows::CsvFacts,
    scenario::{self, Scenario},
    strategy::Strategy,
    target::{PoolSettings, TableSettings, sim::SimSettings},
};

/// Everything that one run will do.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Plan {
    /// Name of the scenario.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Seed of rows, order and arrivals.
    pub seed: u64,
    /// Blocks a cell.
    pub repetitions: u32,
    /// Length of a window, in milliseconds.
    pub window_ms: u64,
    /// Threads that run the workers.
    pub client_threads: u32,
    /// How a private PostgreSQL is reached.
    pub connection: Connection,
    /// The simulated server, if it is one: nothing is measured on a real one then.
    #[serde(default)]
    pub sim: Option<SimSettings>,
    /// The table.
    pub table: TableSettings,
    /// Most rows of a block, where UNIQUE columns of the table, or the user's file, have no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_max: Option<u64>,
    /// What the user's own file was found to hold, if rows are its lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvFacts>,
    /// The cells, in the order of the file.
    pub cells: Vec<CellPlan>,
    /// The blocks, in the order in which they run.
    pub blocks: Vec<BlockPlan>,
    /// Published numbers.
    pub claims: Vec<ClaimPlan>,
    /// What was clamped, in words.
    pub notes: Vec<String>,
    /// What a search for the best setting is made of, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<TuningPlan>,
}

/// One setting to measure.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CellPlan {
    /// Name, unique in the plan.
    pub name: String,
    /// How an operation carries its batch.
    pub strategy: Strategy,
    /// Rows an operation carries; where a controller moves them, those that it starts with.
    pub batch_rows: u64,
    /// Tasks that run operations at the same time; with a controller, at the start.
    pub workers: u32,
    /// Where transactions begin and end.
    pub transaction: Transaction,
    /// Whether ids are asked back.
    pub returning: bool,
    /// Whether statements are prepared before the clock starts.
    pub prepared: bool,
    /// What an error does to the rest of the block.
    pub on_error: OnError,
    /// Closed or open loop.
    pub pace: Pace,
    /// When a block ends.
    pub stop: Stop,
    /// Seconds at a block's beginning that do not count: new sessions and an empty table are slower.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warm_up_s: f64,
    /// The pool of sessions.
    pub pool: PoolSettings,
    /// What moves batch rows and workers, if anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<ControlPlan>,
}

/// Where transactions begin and end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transaction {
    /// One implicit transaction a statement.
    Autocommit,
    /// BEGIN … COMMIT around every so many operations of a worker.
    Every(u32),
    /// One transaction around all that a worker does in a block.
    Whole,
}

impl Transaction {
    /// Whether rows are confirmed before a block's end, so that a part of it can count alone.
    pub fn confirms_as_it_goes(self) -> bool {
        self != Transaction::Whole
    }
}

/// Closed or open loop.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// The next operation starts when a worker is free.
    Closed,
    /// Operations start when the schedule says.
    Open {
        /// Operations a second.
        rate: f64,
        /// How starts are spread.
        arrival: Arrival,
        /// Operations due and not started, beyond which the block is overloaded.
        queue_max: u64,
    },
}

/// When a block ends: whichever comes first.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Stop {
    /// Rows to insert, if bounded by rows.
    pub rows: Option<u64>,
    /// Seconds, if bounded by time.
    pub seconds: Option<f64>,
}

/// One repetition of a cell.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BlockPlan {
    /// Index into [`Plan::cells`].
    pub cell: usize,
    /// Which repetition, from 0.
    pub repetition: u32,
    /// Seed of the block's rows and arrivals. The same for all cells of a repetition: the same
    /// rows for every strategy.
    pub seed: u64,
}

/// A published number.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ClaimPlan {
    /// Index into [`Plan::cells`].
    pub cell: usize,
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: ClaimUnit,
    /// For a speed-up: the cell that it is relative to.
    pub baseline: Option<usize>,
    /// Who published it, and where.
    pub source: String,
}

/// Why a scenario cannot run.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct PlanError {
    /// Path of the key, such as `cells[2].batch_rows`.
    pub key: String,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl PlanError {
    fn new(key: impl Into<String>, problem: impl Into<String>) -> PlanError {
        PlanError { key: key.into(), problem: problem.into() }
    }
}

const REPETITIONS_MAX: u32 = 1_000;
const WORKERS_MAX: u32 = 10_000;
const BATCH_ROWS_MAX: u64 = 1_000_000;
const SECONDS_MAX: f64 = 7.0 * 86_400.0;
const ROWS_MAX: u64 = 1_000_000_000_000;
const RATE_MIN: f64 = 1e-3;
const RATE_MAX: f64 = 1e7;
const IN_FLIGHT_DEFAULT: u32 = 256;

impl Plan {
    /// Fills the defaults, checks the ranges, and fixes order and seeds.
    ///
    /// # Errors
    ///
    /// The first key whose value cannot run, with what was expected.
    pub fn resolve(scenario: &Scenario) -> Result<Plan, PlanError> {
        check_name("name", &scenario.name)?;
        let seed = scenario.seed.unwrap_or(1);
        let repetitions = scenario.repetitions.unwrap_or(5);
        in_range("repetitions", u64::from(repetitions), 1, u64::from(REPETITIONS_MAX))?;
        let window_ms = scenario.window_ms.unwrap_or(250);
        in_range("window_ms", window_ms, 10, 60_000)?;
        let client_threads = scenario.client_threads.unwrap_or(1);
        in_range("client_threads", u64::from(client_threads), 1, 1_024)?;
        let table = table::resolve(scenario)?;
        if scenario.cells.is_empty() {
            return Err(PlanError::new("cells", "no cell to measure; add at least one [[cells]]"));
        }
        let mut notes = Vec::new();
        let mut cells: Vec<CellPlan> = Vec::new();
        for (index, cell) in scenario.cells.iter().enumerate() {
            let key = format!("cells[{index}]");
            if cells.iter().any(|earlier| earlier.name == cell.name) {
                let problem = format!("there is a cell named `{}` already", cell.name);
                return Err(PlanError::new(format!("{key}.name"), problem));
            }
            cells.push(resolve_cell(&key, cell, scenario, &mut notes)?);
        }
        let claims = resolve_claims(scenario, &cells)?;
        Ok(Plan {
            name: scenario.name.clone(),
            title: scenario.title.clone().unwrap_or_else(|| scenario.name.clone()),
            seed,
            repetitions,
            window_ms,
            client_threads,
            connection: scenario.target.connection.unwrap_or_default(),
            sim: sim::resolve(scenario, seed)?,
            table,
            rows_max: None,
            csv: None,
            blocks: interleave(cells.len(), repetitions, seed),
            cells,
            claims,
            notes,
            tuning: None,
        })
    }
}

impl Plan {
    /// Returns the title, of a simulation with a word that says so: it stands above every number.
    pub fn heading(&self) -> String {
        match self.sim {
            Some(_) => format!("SIMULATED: {}", self.title),
            None => self.title.clone(),
        }
    }
}

impl CellPlan {
    /// Where it starts, and without a controller stays.
    pub fn setting(&self) -> Setting {
        Setting { batch_rows: self.batch_rows, workers: self.workers }
    }

    /// Returns how many sessions its workers keep open; with a controller, at the start.
    pub fn sessions(&self) -> u32 {
        self.workers.max(self.pool.idle_min).min(self.pool.size_max)
    }

    /// Holds it to so many sessions, and to no more workers.
    pub fn hold_sessions(&mut self, sessions_max: u32) {
        assert!(0 < sessions_max, "a cell needs a session");
        self.workers = self.workers.min(sessions_max);
        self.pool.size_max = self.pool.size_max.min(sessions_max);
        self.pool.idle_min = self.pool.idle_min.min(sessions_max);
    }

    /// Returns the round trips that one operation of this cell waits for, the first use of a
    /// statement aside.
    pub fn round_trips_an_operation(&self) -> f64 {
        let statement = match self.strategy {
            // COPY waits for CopyInResponse before it sends data, then for its end.
            Strategy::CopyText | Strategy::CopyBinary if self.prepared => 2.0,
            Strategy::CopyText | Strategy::CopyBinary => 3.0,
            // A new statement goes out when the oldest one of those in flight is answered.
            Strategy::Pipelined { in_flight } => {
                self.batch_rows.div_ceil(u64::from(in_flight)) as f64
            }
            // Unprepared, Parse and Describe travel with Bind and Execute.
            _ => 1.0,
        };
        match self.transaction {
            Transaction::Autocommit | Transaction::Whole => statement,
            Transaction::Every(operations) => statement + 2.0 / f64::from(operations),
        }
    }
}

impl Plan {
    /// Takes the bounds of all controllers down to the sessions that the server has free. A cell without
    /// one keeps its workers, or is refused by the server: its numbers stand for that setting.
    ///
    /// # Errors
    ///
    /// A controller that may not have so few workers.
    pub fn clip_workers(&mut self, sessions_free: u32) -> Result<(), PlanError> {
        for (index, cell) in self.cells.iter_mut().enumerate() {
            let Some(controller) = cell.controller else { continue };
            let (low, high) = controller.bounds.workers();
            if high <= sessions_free {
                continue;
            }
            let free = sessions_free_words(sessions_free);
            let Some(clipped) = controller.with_workers_at_most(sessions_free) else {
                let problem = format!("{free}, and {low} workers at least were asked for");
                return Err(PlanError::new(format!("cells[{index}].controller.workers"), problem));
            };
            self.notes.push(format!("{}: {sessions_free} workers at most: {free}", cell.name));
            let start = clipped.controller(0).start().setting;
            (cell.batch_rows, cell.workers) = (start.batch_rows, start.workers);
            cell.pool.size_max = cell.pool.size_max.min(sessions_free);
            cell.pool.idle_min = cell.pool.idle_min.min(start.workers);
            cell.controller = Some(clipped);
        }
        Ok(())
    }
}

/// How many sessions a server has free, in words.
pub fn sessions_free_words(sessions_free: u32) -> String {
    let noun = if sessions_free == 1 { "session" } else { "sessions" };
    format!("the server has {sessions_free} {noun} free for this role")
}

/// Cells run in a new random order in every repetition: what drifts hits all of them alike.
fn interleave(cells: usize, repetitions: u32, seed: u64) -> Vec<BlockPlan> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut blocks = Vec::new();
    for repetition in 0..repetitions {
        let mut order: Vec<usize> = (0..cells).collect();
        order.shuffle(&mut random);
        let seed = block_seed(seed, repetition);
        blocks.extend(order.into_iter().map(|cell| BlockPlan { cell, repetition, seed }));
    }
    blocks
}

/// The same for all blocks of a repetition.
fn block_seed(seed: u64, repetition: u32) -> u64 {
    seed.wrapping_mul(1_000_003).wrapping_add(u64::from(repetition))
}

fn resolve_cell(
    key: &str,
    cell: &scenario::Cell,
    scenario: &Scenario,
    notes: &mut Vec<String>,
) -> Result<CellPlan, PlanError> {
    if cell.name.trim().is_empty() {
        return Err(PlanError::new(format!("{key}.name"), "a cell needs a name"));
    }
    let workers = cell.workers.unwrap_or(1);
    in_range(&format!("{key}.workers"), u64::from(workers), 1, u64::from(WORKERS_MAX))?;
    let strategy = resolve_strategy(key, cell)?;
    let transaction = resolve_transaction(key, cell)?;
    let returning = cell.returning.unwrap_or(false);
    if returning && matches!(strategy, Strategy::CopyText | Strategy::CopyBinary) {
        return Err(PlanError::new(format!("{key}.returning"), "COPY returns no rows; use false"));
    }
    let pool_size_max = cell.pool.or(scenario.pool).and_then(|pool| pool.size_max);
    let carrier = (strategy, table::columns(&scenario.table));
    let controller = control::resolve(key, cell, carrier, pool_size_max, notes)?;
    let start = controller.map(|it| it.controller(0).start().setting);
    let batch_rows = match start {
        Some(start) => start.batch_rows,
        None => resolve_batch(key, cell, carrier, notes)?,
    };
    let workers = start.map_or(workers, |start| start.workers);
    let (stop, warm_up_s) = resolve_stop(key, cell, scenario, transaction)?;
    let workers_max = controller.map_or(workers, |it| it.bounds.workers().1);
    let on_error = if controller.is_some() { OnError::Collect } else { OnError::default() };
    Ok(CellPlan {
        name: cell.name.clone(),
        strategy,
        batch_rows,
        workers,
        transaction,
        returning,
        prepared: cell.prepared.unwrap_or(true),
        on_error: cell.on_error.unwrap_or(on_error),
        pace: resolve_pace(key, cell.pace)?,
        stop,
        warm_up_s,
        pool: resolve_pool(key, cell, scenario, (workers, workers_max, transaction), notes)?,
        controller,
    })
}

fn resolve_strategy(key: &str, cell: &scenario::Cell) -> Result<Strategy, PlanError> {
    let in_flight = cell.in_flight.unwrap_or(IN_FLIGHT_DEFAULT);
    in_range(&format!("{key}.in_flight"), u64::from(in_flight), 1, BATCH_ROWS_MAX)?;
    if cell.in_flight.is_some() && cell.strategy != scenario::Strategy::Pipelined {
        let problem = "only `pipelined` has statements in flight; remove the key";
        return Err(PlanError::new(format!("{key}.in_flight"), problem));
    }
    let rows = if cell.controller.is_some() { BATCH_ROWS_MAX } else { batch_rows_of(cell) };
    let in_flight = in_flight.min(u32::try_from(rows).unwrap_or(u32::MAX));
    Ok(match cell.strategy {
        scenario::Strategy::SingleRow => Strategy::SingleRow,
        scenario::Strategy::Pipelined => Strategy::Pipelined { in_flight },
        scenario::Strategy::MultiRow => Strategy::MultiRow,
        scenario::Strategy::Unnest => Strategy::Unnest,
        scenario::Strategy::CopyText => Strategy::CopyText,
        scenario::Strategy::CopyBinary => Strategy::CopyBinary,
    })
}

fn batch_rows_of(cell: &scenario::Cell) -> u64 {
    let single = cell.strategy == scenario::Strategy::SingleRow;
    cell.batch_rows.unwrap_or(if single { 1 } else { 1_000 })
}

fn resolve_batch(
    key: &str,
    cell: &scenario::Cell,
    (strategy, columns): (Strategy, Option<usize>),
    notes: &mut Vec<String>,
) -> Result<u64, PlanError> {
    let batch_rows = batch_rows_of(cell);
    in_range(&format!("{key}.batch_rows"), batch_rows, 1, BATCH_ROWS_MAX)?;
    if strategy == Strategy::SingleRow && 1 < batch_rows {
        let problem = "single_row carries one row; use multi_row, or remove the key";
        return Err(PlanError::new(format!("{key}.batch_rows"), problem));
    }
    // Those of the user's own table are known once it is made; `fit` clamps then.
    let Some(columns) = columns else { return Ok(batch_rows) };
    Ok(table::clamp(&cell.name, (strategy, columns), batch_rows, notes))
}

fn resolve_transaction(key: &str, cell: &scenario::Cell) -> Result<Transaction, PlanError> {
    Ok(match cell.transaction.unwrap_or_default() {
        scenario::Transaction::Autocommit => Transaction::Autocommit,
        scenario::Transaction::Explicit => Transaction::Every(1),
        scenario::Transaction::Whole => Transaction::Whole,
        scenario::Transaction::Every(0) => {
            let problem = "a transaction holds at least 1 operation";
            return Err(PlanError::new(format!("{key}.transaction"), problem));
        }
        scenario::Transaction::Every(operations) => Transaction::Every(operations),
    })
}

fn resolve_pace(key: &str, pace: Option<scenario::Pace>) -> Result<Pace, PlanError> {
    let Some(pace) = pace else { return Ok(Pace::Closed) };
    if !((RATE_MIN..=RATE_MAX).contains(&pace.rate)) {
        let problem = format!("{} operations/s; expected 0.001 to 10,000,000", pace.rate);
        return Err(PlanError::new(format!("{key}.pace.rate"), problem));
    }
    let queue_max = pace.queue_max.unwrap_or(10_000);
    in_range(&format!("{key}.pace.queue_max"), queue_max, 1, u64::from(u32::MAX))?;
    Ok(Pace::Open { rate: pace.rate, arrival: pace.arrival.unwrap_or_default(), queue_max })
}

/// When a block ends, and how many seconds of it do not count.
fn resolve_stop(
    key: &str,
    cell: &scenario::Cell,
    scenario: &Scenario,
    transaction: Transaction,
) -> Result<(Stop, f64), PlanError> {
    let key = if cell.stop.is_some() { format!("{key}.stop") } else { "stop".to_owned() };
    let Some(stop) = cell.stop.or(scenario.stop) else {
        let stop = match cell.controller {
            // The end of the file, which is known once it was looked through.
            None if scenario.rows.csv.is_some() => Stop { rows: None, seconds: None },
            None => Stop { rows: Some(100_000), seconds: None },
            Some(_) => Stop { rows: None, seconds: Some(20.0) },
        };
        return Ok((stop, 0.0));
    };
    if stop.rows.is_none() && stop.seconds.is_none() {
        return Err(PlanError::new(key, "needs `rows`, `seconds` or both"));
    }
    if let Some(rows) = stop.rows {
        in_range(&format!("{key}.rows"), rows, 1, ROWS_MAX)?;
    }
    if let Some(seconds) = stop.seconds
        && !(seconds.is_finite() && (0.05..=SECONDS_MAX).contains(&seconds))
    {
        let problem = format!("{seconds} is out of range; expected 0.05 to {SECONDS_MAX} seconds");
        return Err(PlanError::new(format!("{key}.seconds"), problem));
    }
    let warm_up_s = resolve_warm_up(&key, stop, cell.controller.is_some(), transaction)?;
    Ok((Stop { rows: stop.rows, seconds: stop.seconds }, warm_up_s))
}

/// Seconds of a block that do not count, of what ends it.
fn resolve_warm_up(
    key: &str,
    stop: scenario::Stop,
    is_steered: bool,
    transaction: Transaction,
) -> Result<f64, PlanError> {
    let Some(warm_up_s) = stop.warm_up_seconds else { return Ok(0.0) };
    let refused = |problem: String| Err(PlanError::new(format!("{key}.warm_up_seconds"), problem));
    match stop.seconds {
        None => refused("needs `seconds`, of which it is a part".to_owned()),
        Some(seconds) if !(0.0..seconds).contains(&warm_up_s) => refused(format!(
            "{warm_up_s} is out of range; expected 0 to less than {seconds} seconds"
        )),
        Some(_) if is_steered && 0.0 < warm_up_s => {
            refused("a controller sees its block from the start; remove the key".to_owned())
        }
        Some(_) if !transaction.confirms_as_it_goes() && 0.0 < warm_up_s => {
            refused("one transaction a block is confirmed at its end, all of it".to_owned())
        }
        Some(_) => Ok(warm_up_s),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(seconds: &f64) -> bool {
    *seconds <= 0.0
}

fn resolve_pool(
    key: &str,
    cell: &scenario::Cell,
    scenario: &Scenario,
    (workers, workers_max, transaction): (u32, u32, Transaction),
    notes: &mut Vec<String>,
) -> Result<PoolSettings, PlanError> {
    let key = if cell.pool.is_some() { format!("{key}.pool") } else { "pool".to_owned() };
    let pool = cell.pool.or(scenario.pool).unwrap_or_default();
    let size_max = pool.size_max.unwrap_or(workers_max);
    in_range(&format!("{key}.size_max"), u64::from(size_max), 1, u64::from(WORKERS_MAX))?;
    let idle_min = pool.idle_min.unwrap_or_else(|| workers.min(size_max));
    in_range(&format!("{key}.idle_min"), u64::from(idle_min), 0, u64::from(size_max))?;
    let acquire_timeout_ms = pool.acquire_timeout_ms.unwrap_or(30_000);
    in_range(&format!("{key}.acquire_timeout_ms"), acquire_timeout_ms, 1, 86_400_000)?;
    let idle_timeout_ms = pool.idle_timeout_ms.unwrap_or(600_000);
    in_range(&format!("{key}.idle_timeout_ms"), idle_timeout_ms, 1, 86_400_000)?;
    let keeps_session = !matches!(transaction, Transaction::Autocommit | Transaction::Every(1));
    if size_max < workers && keeps_session {
        let problem = format!(
            "{size_max} sessions for {workers} workers, each of which keeps one for as long as its \
             transaction is open; expected {workers} or more"
        );
        return Err(PlanError::new(format!("{key}.size_max"), problem));
    }
    if size_max < workers {
        notes.push(format!(
            "{}: {workers} workers share {size_max} sessions; pool wait will show it",
            cell.name
        ));
    }
    Ok(PoolSettings { size_max, idle_min, acquire_timeout_ms, idle_timeout_ms })
}

fn resolve_claims(scenario: &Scenario, cells: &[CellPlan]) -> Result<Vec<ClaimPlan>, PlanError> {
    let find = |key: String, name: &str| {
        cells.iter().position(|cell| cell.name == name).ok_or_else(|| {
            let known: BTreeSet<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
            let known: Vec<&str> = known.into_iter().collect();
            PlanError::new(key, format!("no cell `{name}`; cells are {}", known.join(", ")))
        })
    };
    let mut claims = Vec::new();
    let mut baselines: Vec<usize> = Vec::new();
    for (index, claim) in scenario.claims.iter().enumerate() {
        let key = format!("claims[{index}]");
        if !(claim.value.is_finite() && 0.0 < claim.value) {
            return Err(PlanError::new(format!("{key}.value"), "expected a number above 0"));
        }
        let baseline = match (&claim.baseline, claim.unit) {
            (Some(name), ClaimUnit::Speedup) => Some(find(format!("{key}.baseline"), name)?),
            (None, ClaimUnit::Speedup) => {
                let problem = "a speed-up needs `baseline`, the cell that it is relative to";
                return Err(PlanError::new(key, problem));
            }
            (Some(_), ClaimUnit::RowsPerSecond) => {
                let problem = "only a speed-up has a baseline; remove the key";
                return Err(PlanError::new(format!("{key}.baseline"), problem));
            }
            (None, ClaimUnit::RowsPerSecond) => None,
        };
        if let Some(other) = baselines.iter().chain(&baseline).find(|it| Some(**it) != baseline)
            && baseline.is_some()
        {
            let problem =
                format!("all speed-ups need one baseline; another has `{}`", cells[*other].name);
            return Err(PlanError::new(format!("{key}.baseline"), problem));
        }
        baselines.extend(baseline);
        claims.push(ClaimPlan {
            cell: find(format!("{key}.cell"), &claim.cell)?,
            value: claim.value,
            unit: claim.unit,
            baseline,
            source: claim.source.clone(),
        });
    }
    Ok(claims)
}

fn check_name(key: &str, name: &str) -> Result<(), PlanError> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if name.is_empty() || 64 < name.len() || !name.chars().all(is_plain) {
        let problem = format!("`{name}` is no name; expected 1 to 64 of letters, digits, - and _");
        return Err(PlanError::new(key, problem));
    }
    Ok(())
}

fn in_range(key: &str, value: u64, least: u64, most: u64) -> Result<(), PlanError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(PlanError::new(key, format!("{value} is out of range; expected {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scenario of two cells: `top` before them, `keys` in the second.
    fn resolve(top: &str, keys: &str) -> Result<Plan, PlanError> {
        let name = if top.starts_with("name =") { "" } else { "name = \"test\"\n" };
        let strategy = if keys.starts_with("strategy =") { "" } else { "strategy = \"unnest\"\n" };
        let text = format!(
            "{name}{top}\n[[cells]]\nname = \"first\"\nstrategy = \"unnest\"\n\
             [[cells]]\nname = \"second\"\n{strategy}{keys}\n"
        );
        let file = Scenario::parse(&text, "test.toml").unwrap_or_else(|error| panic!("{error}"));
        Plan::resolve(&file.scenario)
    }

    /// What stands before the cells, and what in the second of them.
    type Keys = (&'static str, &'static str);

    /// What cannot run, the key that is at fault, part of what is said, and what can run next to it.
    const CANNOT_RUN: &[(Keys, &str, &str, Keys)] = &[
        (("name = \"\"", ""), "name", "`` is no name", ("name = \"a\"", "")),
        (("name = \"a b\"", ""), "name", "1 to 64 of letters, digits", ("name = \"a_b-1\"", "")),
        (("name = \"a/b\"", ""), "name", "`a/b` is no name", ("name = \"ab\"", "")),
        (("repetitions = 0", ""), "repetitions", "expected 1 to 1000", ("repetitions = 1", "")),
        (("repetitions = 1001", ""), "repetitions", "1001 is out", ("repetitions = 1000", "")),
        (("window_ms = 9", ""), "window_ms", "expected 10 to 60000", ("window_ms = 10", "")),
        (("window_ms = 60001", ""), "window_ms", "60001 is out", ("window_ms = 60000", "")),
        (("client_threads = 0", ""), "client_threads", "1 to 1024", ("client_threads = 1", "")),
        (("client_threads = 1025", ""), "client_threads", "", ("client_threads = 1024", "")),
        (("table.name = \"\"", ""), "table.name", "1 to 63 bytes", ("table.name = \"t\"", "")),
        (
            ("table.indexes = [\"age\", \"agee\"]", ""),
            "table.indexes[1]",
            "no column `agee`; columns are name, email, age, created_at",
            ("table.indexes = [\"age\"]", ""),
        ),
        (("stop = {}", ""), "stop", "needs `rows`, `seconds` or both", ("", "stop = {rows = 1}")),
        (("stop.rows = 0", ""), "stop.rows", "0 is out of range", ("stop.rows = 1", "")),
        (
            ("stop = {rows = 9, warm_up_seconds = 1.0}", ""),
            "stop.warm_up_seconds",
            "needs `seconds`",
            ("stop = {seconds = 1.5, warm_up_seconds = 1.0}", ""),
        ),
        (
            ("stop = {seconds = 1.5, warm_up_seconds = 1.5}", ""),
            "stop.warm_up_seconds",
            "1.5 is out of range; expected 0 to less than 1.5 seconds",
            ("stop = {seconds = 1.5, warm_up_seconds = 0.0}", ""),
        ),
        (("", "stop.rows = 0"), "cells[1].stop.rows", "0 is out", ("", "stop.rows = 1")),
        (
            ("", "stop.rows = 1_000_000_000_001"),
            "cells[1].stop.rows",
            "expected 1 to 1000000000000",
            ("", "stop.rows = 1_000_000_000_000"),
        ),
        (("", "stop.seconds = 0.04"), "cells[1].stop.seconds", "", ("", "stop.seconds = 0.05")),
        (("", "stop.seconds = -1.0"), "cells[1].stop.seconds", "", ("", "stop.seconds = 1.0")),
        (("", "stop.seconds = nan"), "cells[1].stop.seconds", "", ("", "stop.seconds = 1")),
        (("", "stop.seconds = inf"), "cells[1].stop.seconds", "", ("", "stop.seconds = 604_800")),
        (("", "batch_rows = 0"), "cells[1].batch_rows", "1 to 1000000", ("", "batch_rows = 1")),
        (
            ("", "batch_rows = 1_000_001"),
            "cells[1].batch_rows",
            "1000001 is out of range",
            ("", "batch_rows = 1_000_000"),
        ),
        (
            ("", "strategy = \"single_row\"\nbatch_rows = 2"),
            "cells[1].batch_rows",
            "single_row carries one row; use multi_row",
            ("", "strategy = \"single_row\"\nbatch_rows = 1"),
        ),
        (
            ("", "in_flight = 2"),
            "cells[1].in_flight",
            "only `pipelined` has statements in flight",
            ("", "strategy = \"pipelined\"\nin_flight = 2"),
        ),
        (
            ("", "strategy = \"pipelined\"\nin_flight = 0"),
            "cells[1].in_flight",
            "0 is out of range",
            ("", "strategy = \"pipelined\"\nin_flight = 1"),
        ),
        (("", "workers = 0"), "cells[1].workers", "expected 1 to 10000", ("", "workers = 1")),
        (("", "workers = 10_001"), "cells[1].workers", "", ("", "workers = 10_000")),
        (
            ("", "transaction = { every = 0 }"),
            "cells[1].transaction",
            "at least 1 operation",
            ("", "transaction = { every = 1 }"),
        ),
        (
            ("", "strategy = \"copy_text\"\nreturning = true"),
            "cells[1].returning",
            "COPY returns no rows",
            ("", "strategy = \"copy_text\"\nreturning = false"),
        ),
        (("", "pace.rate = 0.0"), "cells[1].pace.rate", "0.001 to", ("", "pace.rate = 0.1")),
        (("", "pace.rate = -1.0"), "cells[1].pace.rate", "0.001 to", ("", "pace.rate = 1.0")),
        (("", "pace.rate = inf"), "cells[1].pace.rate", "10,000,000", ("", "pace.rate = 1e7")),
        (
            ("", "pace = { rate = 1.0, queue_max = 0 }"),
            "cells[1].pace.queue_max",
            "expected 1 to",
            ("", "pace = { rate = 1.0, queue_max = 1 }"),
        ),
        (("", "pool.size_max = 0"), "cells[1].pool.size_max", "", ("", "pool.size_max = 1")),
        (("pool.size_max = 0", ""), "pool.size_max", "1 to 10000", ("pool.size_max = 1", "")),
        (
            ("", "workers = 3\ntransaction = \"whole\"\npool.size_max = 2"),
            "cells[1].pool.size_max",
            "2 sessions for 3 workers, each of which keeps one for as long as its transaction is \
             open; expected 3 or more",
            ("", "workers = 3\ntransaction = \"whole\"\npool.size_max = 3"),
        ),
        (
            ("pool.size_max = 2", "workers = 3\ntransaction = { every = 2 }"),
            "pool.size_max",
            "expected 3 or more",
            ("pool.size_max = 2", "workers = 3\ntransaction = { every = 1 }"),
        ),
        (
            ("", "pool = { size_max = 2, idle_min = 3 }"),
            "cells[1].pool.idle_min",
            "expected 0 to 2",
            ("", "pool = { size_max = 2, idle_min = 2 }"),
        ),
        (
            ("", "pool.acquire_timeout_ms = 0"),
            "cells[1].pool.acquire_timeout_ms",
            "expected 1 to 86400000",
            ("", "pool.acquire_timeout_ms = 1"),
        ),
        (
            ("", "pool.idle_timeout_ms = 86_400_001"),
            "cells[1].pool.idle_timeout_ms",
            "",
            ("", "pool.idle_timeout_ms = 86_400_000"),
        ),
    ];

    #[test]
    fn what_cannot_run_is_said_with_its_key() {
        for ((top, keys), key, problem, good) in CANNOT_RUN {
            let error = resolve(top, keys).expect_err(&format!("{top} {keys}"));
            assert_eq!(error.key, *key, "{top} {keys}: {error}");
            assert!(error.problem.contains(problem), "{top} {keys}: {error}");
            let resolved = resolve(good.0, good.1);
            assert!(resolved.is_ok(), "{good:?}: {resolved:?}");
        }
    }

    #[test]
    fn cells_and_claims_refer_to_each_other_by_name() {
        let claim = |keys: &str| format!("[[claims]]\nsource = \"me\"\n{keys}");
        for (keys, key, problem) in [
            (
                "[[cells]]\nname = \"first\"\nstrategy = \"unnest\"",
                "cells[2].name",
                "`first` already",
            ),
            ("[[cells]]\nname = \" \"\nstrategy = \"unnest\"", "cells[2].name", "needs a name"),
            (
                &claim("cell = \"third\"\nvalue = 1\nunit = \"rows/s\""),
                "claims[0].cell",
                "no cell `third`; cells are first, second",
            ),
            (
                &claim("cell = \"first\"\nvalue = 0\nunit = \"rows/s\""),
                "claims[0].value",
                "expected a number above 0",
            ),
            (
                &claim("cell = \"first\"\nvalue = 2\nunit = \"speedup\""),
                "claims[0]",
                "a speed-up needs `baseline`",
            ),
            (
                &claim("cell = \"first\"\nvalue = 2\nunit = \"speedup\"\nbaseline = \"third\""),
                "claims[0].baseline",
                "no cell `third`",
            ),
            (
                &claim("cell = \"first\"\nvalue = 2\nunit = \"rows/s\"\nbaseline = \"second\""),
                "claims[0].baseline",
                "only a speed-up has a baseline",
            ),
        ] {
            let error = resolve("", keys).expect_err(keys);
            assert_eq!(error.key, key, "{keys}: {error}");
            assert!(error.problem.contains(problem), "{keys}: {error}");
        }
        let good = claim("cell = \"second\"\nvalue = 2\nunit = \"speedup\"\nbaseline = \"first\"");
        let plan = resolve("", &good).unwrap();
        assert_eq!((plan.claims[0].cell, plan.claims[0].baseline), (1, Some(0)));
        assert!(
            Plan::resolve(&Scenario { name: "none".to_owned(), ..Scenario::default() }).is_err()
        );
    }

    #[test]
    fn what_is_clamped_is_said() {
        for (keys, batch_rows, note) in [
            ("strategy = \"multi_row\"\nbatch_rows = 16_383", 16_383, None),
            (
                "strategy = \"multi_row\"\nbatch_rows = 16_384",
                16_383,
                Some("second: batch_rows 16384 clamped to 16383: PostgreSQL takes at most 65,535"),
            ),
            ("strategy = \"unnest\"\nbatch_rows = 16_384", 16_384, None),
            ("workers = 4\npool.size_max = 4", 1_000, None),
            (
                "workers = 4\npool.size_max = 3",
                1_000,
                Some("second: 4 workers share 3 sessions; pool wait will show it"),
            ),
        ] {
            let plan = resolve("", keys).unwrap();
            assert_eq!(plan.cells[1].batch_rows, batch_rows, "{keys}");
            let said = plan.notes.first().map(|it| it.starts_with(note.unwrap_or("nothing")));
            assert_eq!(
                (said, plan.notes.len()),
                (note.map(|_| true), note.iter().count()),
                "{keys}"
            );
        }
    }

    #[test]
    fn defaults_are_those_that_the_scenario_documents() {
        let plan = resolve("", "").unwrap();
        let cell = &plan.cells[1];
        assert_eq!(
            (plan.seed, plan.repetitions, plan.window_ms, plan.client_threads),
            (1, 5, 250, 1)
        );
        assert_eq!((plan.title.as_str(), plan.connection), ("test", Connection::Unix));
        assert_eq!((plan.table.name.as_str(), plan.table.unlogged), ("users", false));
        assert_eq!((cell.batch_rows, cell.workers), (1_000, 1));
        assert_eq!((cell.transaction, cell.pace), (Transaction::Autocommit, Pace::Closed));
        assert_eq!((cell.returning, cell.prepared), (false, true));
        assert_eq!(cell.on_error, OnError::FailFast);
        assert_eq!(cell.stop, Stop { rows: Some(100_000), seconds: None });
        let PoolSettings { size_max, idle_min, acquire_timeout_ms, idle_timeout_ms } = cell.pool;
        assert_eq!((size_max, idle_min), (1, 1));
        assert_eq!((acquire_timeout_ms, idle_timeout_ms), (30_000, 600_000));

        let cell = resolve("", "strategy = \"single_row\"").unwrap().cells.remove(1);
        assert_eq!(cell.batch_rows, 1);
        let cell = resolve("", "strategy = \"pipelined\"\nbatch_rows = 9").unwrap().cells.remove(1);
        assert_eq!(cell.strategy, Strategy::Pipelined { in_flight: 9 });
        let cell = resolve("", "strategy = \"pipelined\"").unwrap().cells.remove(1);
        assert_eq!(cell.strategy, Strategy::Pipelined { in_flight: 256 });
        let cell = resolve("", "transaction = \"explicit\"").unwrap().cells.remove(1);
        assert_eq!(cell.transaction, Transaction::Every(1));
    }

    #[test]
    fn what_a_cell_says_wins() {
        let plan =
            resolve("stop.rows = 7\npool.size_max = 9", "stop.seconds = 1.0\npool.size_max = 2");
        let cells = plan.unwrap().cells;
        assert_eq!(cells[0].stop, Stop { rows: Some(7), seconds: None });
        assert_eq!(cells[1].stop, Stop { rows: None, seconds: Some(1.0) });
        assert_eq!((cells[0].pool.size_max, cells[1].pool.size_max), (9, 2));
    }

    /// Every cell once a repetition, in an order that the seed fixes, on rows of the repetition.
    #[test]
    fn blocks_are_interleaved_and_repeatable() {
        let blocks = interleave(5, 40, 1);
        assert_eq!(blocks, interleave(5, 40, 1));
        assert_ne!(blocks, interleave(5, 40, 2));
        let mut orders = BTreeSet::new();
        for (repetition, blocks) in blocks.chunks(5).enumerate() {
            let order: Vec<usize> = blocks.iter().map(|block| block.cell).collect();
            assert_eq!(order.iter().copied().collect::<BTreeSet<_>>(), (0..5).collect());
            let is_same =
                |it: &BlockPlan| it.repetition as usize == repetition && it.seed == blocks[0].seed;
            assert!(blocks.iter().all(is_same), "{blocks:?}");
            orders.insert(order);
        }
        assert!(30 < orders.len(), "{} orders of 120 in 40 repetitions", orders.len());
        let seeds: BTreeSet<u64> = blocks.iter().map(|block| block.seed).collect();
        assert_eq!(seeds.len(), 40);
    }

    #[test]
    fn the_scenarios_that_come_along_resolve() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files = |folder: &std::path::Path| std::fs::read_dir(folder).unwrap();
        let mut count = 0;
        for entry in files(&folder).chain(files(&folder.join("sim"))) {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "toml") {
                let file = Scenario::read(&path).unwrap_or_else(|error| panic!("{error}"));
                let plan = Plan::resolve(&file.scenario);
                let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                assert_eq!(plan.blocks.len(), plan.cells.len() * plan.repetitions as usize);
                count += 1;
            }
        }
        assert!(9 <= count, "{count} scenarios");
    }
}
