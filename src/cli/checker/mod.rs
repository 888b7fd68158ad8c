//! Drives a check: pairs of blocks of both arms, each pair on disk before the next begins.

mod comparable;
mod lane;
mod live;
mod servers;
mod session;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;

use self::{
    comparable::Difference,
    lane::{Lane, LaneSettings},
    live::Live,
    servers::{Open, Servers, Simulated},
    session::Next,
};
use super::{
    Exit, NotComparable,
    args::Common,
    runner::{self, CLOSE_TIMEOUT, CONNECT_GRACE, VERIFY_GRACE, stopped_for, table},
    signals::Signals,
};
use crate::{
    clock::{self, Instant},
    engine,
    gate::{Arm, Arms, Check, Evidence, Options, Rule, created_first},
    plan::{Plan, Stop},
    record::{
        ArmRecord, CHECK, CHECK_SCHEMA_VERSION, CellCheck, CheckDirectory, CheckRecord, Comparison,
        Host,
    },
    report,
    scenario::Source,
    target::{ColumnRule, Target, sim::SimSettings},
    verdict::CheckVerdict,
};

/// What to check.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The command's words, for the record.
    pub(super) command: String,
    pub(super) comparison: Comparison,
    pub(super) sides: Arms<Side>,
    pub(super) options: Options,
    /// What is done about columns that only one arm has.
    pub(super) columns: Columns,
}

/// What is done about columns that only one arm has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Columns {
    /// The arms cannot be compared.
    Same,
    /// No row carries them.
    Common,
}

/// One arm, as it was asked for.
#[derive(Clone, Debug)]
pub(super) struct Side {
    /// What it is called.
    pub(super) label: String,
    pub(super) plan: Plan,
    /// Its own server, or that of its scenario.
    pub(super) url: Option<String>,
    /// Whether that URL is what makes the arm.
    pub(super) is_own_url: bool,
    /// Major version of its private PostgreSQL.
    pub(super) pg_major: Option<u32>,
    /// The scenario's text, to say where in it something is wrong.
    pub(super) source: Option<Source>,
}

/// A check that measured something.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) record: CheckRecord,
    /// Its directory.
    pub(super) path: PathBuf,
    /// What ended it before its end.
    pub(super) error: Option<anyhow::Error>,
    /// The exit that a signal asks for.
    pub(super) told: Option<Exit>,
}

/// Runs a check. The exit stands for one that a signal ended before it had measured anything.
pub(super) fn run(job: Job, common: &Common) -> anyhow::Result<Result<Checked, Exit>> {
    let sides = &job.sides;
    if let Some((base, head)) = sides.base.plan.sim.clone().zip(sides.head.plan.sim.clone()) {
        runner::refuse_server_flags(common)?;
        let what = |signals| simulated(job, common, Arms { base, head }, signals);
        return clock::run_virtual(runner::until_aborted(what, Err))?;
    }
    let runtime = runner::runtime(sides.base.plan.client_threads)?;
    let what = |signals| real(job, common, signals);
    let outcome = runtime.block_on(runner::until_aborted(what, Err));
    runtime.shutdown_background();
    outcome
}

async fn simulated(
    job: Job,
    common: &Common,
    sims: Arms<SimSettings>,
    signals: Signals,
) -> anyhow::Result<Result<Checked, Exit>> {
    let created = clock::now();
    let directory = directory(&job, common)?;
    let live = Live::new(common.quiet);
    check(job, common, (directory, live, created), &Simulated(sims), &signals).await
}

async fn real(
    job: Job,
    common: &Common,
    signals: Signals,
) -> anyhow::Result<Result<Checked, Exit>> {
    let created = clock::now();
    // The directory first: a check whose results cannot be written must not touch a server.
    let directory = directory(&job, common)?;
    let live = Live::new(common.quiet);
    live.say("starting the server");
    let servers = tokio::select! {
        servers = Servers::open(common, &job.sides) => servers,
        () = signals.stop.cancelled() => Err(anyhow::anyhow!("stopped before the server was up")),
    };
    let servers = match servers {
        Ok(servers) => servers,
        Err(error) => {
            live.finish();
            directory.discard();
            return signals.cut_short(&error).map(Err).ok_or(error);
        }
    };
    let checked = check(job, common, (directory, live, created), &servers, &signals).await;
    let closed = servers.close().await;
    // That a server does not stop says less than why the check ended, or how.
    let mut checked = checked?;
    match (&mut checked, closed) {
        (Ok(checked), Err(error)) => drop(checked.error.get_or_insert(error)),
        (_, closed) => closed?,
    }
    Ok(checked)
}

fn directory(job: &Job, common: &Common) -> anyhow::Result<CheckDirectory> {
    let name = match job.sides.base.plan.name.as_str() {
        "check" => "check".to_owned(),
        name => format!("check-{name}"),
    };
    CheckDirectory::create(&common.out, &name)
        .context("cannot make the results directory; name another with --out")
}

/// Runs a check on targets that can be opened.
async fn check<O: Open>(
    job: Job,
    common: &Common,
    (directory, live, created): (CheckDirectory, Live, Instant),
    open: &O,
    signals: &Signals,
) -> anyhow::Result<Result<Checked, Exit>> {
    let load_before = Host::load();
    let cpu_busy_before = runner::cpu_busy(&job.sides.base.plan).await;
    let started_at = directory.utc_at(clock::since(created));
    let arm = |arm: Arm, label: String, plan: Plan| {
        let (private_server, storage) = open.is_private(arm);
        ArmRecord { label, plan, server: None, private_server, storage }
    };
    let (base, head) = (job.sides.base, job.sides.head);
    let sources = Arms { base: base.source, head: head.source };
    let record = CheckRecord {
        check_schema_version: CHECK_SCHEMA_VERSION,
        batchpilot: super::VERSION.to_owned(),
        command: job.command,
        name: base.plan.name.clone(),
        started_at,
        finished_at: None,
        complete: false,
        comparison: job.comparison,
        client: Host::here(),
        load_before,
        cpu_busy_before,
        seed: base.plan.seed,
        options: job.options,
        arms: Arms {
            base: arm(Arm::Base, base.label, base.plan),
            head: arm(Arm::Head, head.label, head.plan),
        },
        cells: Vec::new(),
        error: None,
        notes: Vec::new(),
    };
    let (is_verbose, columns) = (common.verbose, job.columns);
    let mut checker =
        Checker { open, directory, record, live, signals, columns, created, sources, is_verbose };
    let worked = checker.work().await;
    checker.end(worked)
}

/// A check under way.
struct Checker<'a, O> {
    open: &'a O,
    directory: CheckDirectory,
    record: CheckRecord,
    live: Live,
    signals: &'a Signals,
    columns: Columns,
    /// When its directory was made.
    created: Instant,
    sources: Arms<Option<Source>>,
    is_verbose: bool,
}

impl<O: Open> Checker<'_, O> {
    /// The cell under way.
    fn cell(&self) -> &CellCheck {
        self.record.cells.last().expect("a cell was begun")
    }

    fn cell_mut(&mut self) -> &mut CellCheck {
        self.record.cells.last_mut().expect("a cell was begun")
    }

    fn arm_words(&self, arm: Arm) -> String {
        format!("{} ({})", arm.name(), self.record.arms.of(arm).label)
    }

    /// Checks cell after cell. What was measured is in the record when this returns, error or not.
    async fn work(&mut self) -> anyhow::Result<()> {
        self.write()?;
        let cells = self.record.arms.base.plan.cells.len();
        let rule = self.record.options.rule(cells).expect("was checked before");
        for cell in 0..cells {
            let name = self.record.arms.base.plan.cells[cell].name.clone();
            if 1 < cells {
                self.live.name(&name);
            }
            let check = Check::new(rule.clone());
            self.record.cells.push(CellCheck::new(cell, &name, check, &self.record.options));
            self.one_cell(cell, &rule).await?;
            if self.signals.stop.is_cancelled() {
                self.record.notes.push("stopped by a signal; the pairs until then count".into());
                return Ok(());
            }
        }
        self.record.complete = true;
        Ok(())
    }

    /// Runs a session, and a second one where that is to be confirmed.
    async fn one_cell(&mut self, cell: usize, rule: &Rule) -> anyhow::Result<()> {
        for session in 0.. {
            let Some(mut lanes) = self.open_lanes(cell, session).await? else { return Ok(()) };
            if session == 0 && cell == 0 {
                self.note_plans();
            }
            let next = self.session(session, rule, &mut lanes).await;
            let mut closed = Ok(());
            for (arm, lane) in [(Arm::Base, lanes.base), (Arm::Head, lanes.head)] {
                let one = lane.close(CLOSE_TIMEOUT).await.with_context(|| self.arm_words(arm));
                closed = closed.and(one);
            }
            let written = self.write();
            let next = next?;
            closed?;
            written?;
            if self.is_verbose {
                let pairs = self.cell().check.sessions()[0].pairs().len();
                self.live
                    .note(&format!("session {} ended; the first had {pairs} pairs", session + 1));
            }
            if next == Next::Over {
                break;
            }
        }
        Ok(())
    }

    /// Makes connections and tables of both arms. `None` if it was told to stop.
    async fn open_lanes(
        &mut self,
        cell: usize,
        session: u64,
    ) -> anyhow::Result<Option<Arms<Lane<O::Target>>>> {
        let first = created_first(session);
        let Some(one) = self.lane(first, cell, session).await? else { return Ok(None) };
        let two = match self.lane(first.other(), cell, session).await {
            Ok(Some(two)) => two,
            not_there => {
                let closed = one.close(CLOSE_TIMEOUT).await;
                not_there?;
                closed?;
                return Ok(None);
            }
        };
        let lanes = match first {
            Arm::Base => Arms { base: one, head: two },
            Arm::Head => Arms { base: two, head: one },
        };
        let generators = Arms {
            base: lanes.base.target.generator(self.record.seed),
            head: lanes.head.target.generator(self.record.seed),
        };
        let difference = Difference::of(&generators);
        let Some(problem) = difference.words() else { return Ok(Some(lanes)) };
        for lane in [lanes.base, lanes.head] {
            lane.close(CLOSE_TIMEOUT).await?;
        }
        if self.columns == Columns::Same || !difference.is_of_columns_alone() {
            return Err(NotComparable(problem).into());
        }
        for arm in Arm::BOTH {
            self.leave_out(arm, difference.only.of(arm));
        }
        // More columns may have had a statement carry fewer rows.
        let Arms { base, head } = &mut self.record.arms;
        for (base, head) in base.plan.cells.iter_mut().zip(&mut head.plan.cells) {
            let rows = base.batch_rows.min(head.batch_rows);
            (base.batch_rows, head.batch_rows) = (rows, rows);
        }
        // It comes here once: what differed is left out now.
        Box::pin(self.open_lanes(cell, session)).await
    }

    /// Has no row of an arm carry these columns.
    fn leave_out(&mut self, arm: Arm, columns: &[String]) {
        for column in columns {
            let name = arm.name();
            self.record.notes.push(format!("{name}: `{column}` is left out: only {name} has it"));
        }
        let rules = &mut self.record.arms.of_mut(arm).plan.table.columns;
        rules.extend(columns.iter().map(|name| ColumnRule::left_out(name)));
    }

    /// Connects an arm, and makes its table and its sessions; leaves nothing behind if it cannot.
    async fn lane(
        &mut self,
        arm: Arm,
        cell: usize,
        session: u64,
    ) -> anyhow::Result<Option<Lane<O::Target>>> {
        self.live.say(&format!("making table and connections of {}", arm.name()));
        let settings = self.record.arms.of(arm).plan.table.clone();
        let signals = self.signals;
        let open = self.open;
        let say = |what: &str| self.live.say(&format!("{}: {what}", arm.name()));
        // Not stopped at once: what is half made could not be taken back.
        let target = tokio::select! {
            target = open.open(arm, session, &settings) => target,
            never = table::attend(settings.csv.as_ref(), say, &signals.stop) => match never {},
            () = stopped_for(CONNECT_GRACE, &signals.stop) => return Ok(None),
        };
        if target.is_err() && signals.stop.is_cancelled() {
            // It left off as it was told to, and has taken back what it had made.
            return Ok(None);
        }
        let target = target
            .map_err(|error| table::explain(error, self.sources.of(arm).as_ref()))
            .with_context(|| self.arm_words(arm))?;
        match self.ready(arm, cell, &target).await {
            Ok(Some((pool, settings))) => {
                let cell = self.record.arms.of(arm).plan.cells[cell].clone();
                Ok(Some(Lane::new((target, pool), cell, settings)))
            }
            not_ready => {
                let closed = clock::timeout(CLOSE_TIMEOUT, target.close()).await;
                not_ready.with_context(|| self.arm_words(arm))?;
                match closed {
                    Ok(closed) => closed?,
                    Err(_) => anyhow::bail!("the schema is left to the next run"),
                }
                Ok(None)
            }
        }
    }

    /// Asks the server what it is, the first time; makes the table fresh and opens the sessions.
    async fn ready(
        &mut self,
        arm: Arm,
        cell: usize,
        target: &O::Target,
    ) -> anyhow::Result<Option<(<O::Target as Target>::Pool, LaneSettings)>> {
        let stop = &self.signals.stop;
        if self.record.arms.of(arm).server.is_none() {
            let known = self.record.arms.of(arm.other()).server.clone();
            let known = known.filter(|_| self.open.is_one_server());
            let record = self.record.arms.of_mut(arm);
            fit(&mut record.plan, self.sources.of(arm).as_ref(), target)?;
            let info = async {
                match known {
                    Some(known) => Ok(known),
                    None => target.info().await,
                }
            };
            let info = tokio::select! {
                info = info => info?,
                () = stop.cancelled() => {
                    drop(clock::timeout(CLOSE_TIMEOUT, target.cancel()).await);
                    return Ok(None);
                }
            };
            record.server = Some(info);
        }
        let plan = &self.record.arms.of(arm).plan;
        tokio::select! {
            reset = target.reset_table() => reset?,
            () = stop.cancelled() => {
                // Its CHECKPOINT may take minutes.
                drop(clock::timeout(CLOSE_TIMEOUT, target.cancel()).await);
                return Ok(None);
            }
        }
        let pool = engine::open_pool(target, &plan.cells[cell]).await?;
        let settings = LaneSettings {
            seed: self.record.seed,
            window: Duration::from_millis(plan.window_ms),
            client_threads: plan.client_threads,
            rows_max: plan.rows_max,
            time: O::TIME,
        };
        Ok(Some((pool, settings)))
    }

    /// Takes over what the plans have to say: once, where both say the same.
    fn note_plans(&mut self) {
        let Arms { base, head } = &self.record.arms;
        let (base, head) = (&base.plan.notes, &head.plan.notes);
        let of_one = |arm: Arm, own: &[String], other: &[String]| -> Vec<String> {
            let own = own.iter().filter(|note| !other.contains(note));
            own.map(|note| format!("{}: {note}", arm.name())).collect()
        };
        let mut notes: Vec<String> =
            base.iter().filter(|note| head.contains(note)).cloned().collect();
        notes.extend(of_one(Arm::Base, base, head));
        notes.extend(of_one(Arm::Head, head, base));
        self.record.notes.splice(0..0, notes);
    }

    /// Closes the record. One of a check that measured nothing is not kept.
    fn end(mut self, worked: anyhow::Result<()>) -> anyhow::Result<Result<Checked, Exit>> {
        self.live.finish();
        let told = self.signals.exit();
        let has_pairs = |cell: &CellCheck| {
            cell.check.sessions().iter().any(|session| !session.pairs().is_empty())
        };
        let is_told = |cell: &CellCheck| cell.evidence != Evidence::default() || has_pairs(cell);
        if !self.record.cells.iter().any(is_told) {
            self.directory.discard();
            let nothing = match told {
                Some(_) => anyhow::anyhow!("stopped before anything was measured"),
                None => anyhow::anyhow!("the check ended before it had measured anything"),
            };
            let error = worked.err().unwrap_or(nothing);
            return self.signals.cut_short(&error).map(Err).ok_or(error);
        }
        self.record.error = worked.as_ref().err().map(|error| format!("{error:#}"));
        self.record.finished_at = Some(self.directory.utc_at(clock::since(self.created)));
        self.write()?;
        let path = self.directory.path().to_path_buf();
        let verdict = CheckVerdict::of(&self.record);
        let mut json = Vec::new();
        report::check::write_json(&self.record, &verdict, &mut json)?;
        self.directory.replace(CHECK, &json)?;
        Ok(Ok(Checked { record: self.record, path, error: worked.err(), told }))
    }
}

/// Fits a plan to the table. Its blocks end by time; how many rows there can be is kept apart.
fn fit(plan: &mut Plan, source: Option<&Source>, target: &impl Target) -> anyhow::Result<()> {
    let one =
        |rows| move |cell: &mut crate::plan::CellPlan| cell.stop = Stop { rows, seconds: None };
    plan.cells.iter_mut().for_each(one(Some(1)));
    let fitted = table::fit(plan, source, target);
    plan.cells.iter_mut().for_each(one(None));
    fitted
}
