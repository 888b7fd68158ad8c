//! Drives a check: pairs of blocks of both arms, each pair on disk before the next begins.

mod comparable;
mod lane;
mod live;
mod servers;
mod session;
mod sessions;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};

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
    both,
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
    target::{Target, TargetError, sim::SimSettings},
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
            // A kill from now on leaves that it was begun.
            self.write()?;
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
            let base = lanes.base.close(CLOSE_TIMEOUT).await;
            let head = lanes.head.close(CLOSE_TIMEOUT).await;
            let closed = self.closed(Arms { base, head });
            let written = self.write();
            let next = both(next, closed)?;
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
        let Some(targets) = self.targets(session).await? else { return Ok(None) };
        let seed = self.record.seed;
        let Arms { base, head } = &targets;
        let generators = Arms { base: base.generator(seed), head: head.generator(seed) };
        let difference = Difference::of(&generators);
        if difference.is_there() {
            self.close_targets(targets).await?;
            self.mend(&difference)?;
            // Each time with rules that it had not before, or it was refused.
            return Box::pin(self.open_lanes(cell, session)).await;
        }
        if self.record.arms.head.server.is_none() {
            self.record.notes.extend(difference.alike);
        }
        match self.ready(cell, session, &targets).await {
            Ok(Some(ready)) => {
                let Arms { base, head } = &self.record.arms;
                let (base, head) = (base.plan.cells[cell].clone(), head.plan.cells[cell].clone());
                Ok(Some(Arms {
                    base: Lane::new((targets.base, ready.base.0), base, ready.base.1),
                    head: Lane::new((targets.head, ready.head.0), head, ready.head.1),
                }))
            }
            not_ready => {
                let closed = self.close_targets(targets).await;
                both(not_ready.map(|_| None), closed)
            }
        }
    }

    /// Has both arms insert the same rows from now on, or refuses to compare them.
    fn mend(&mut self, difference: &Difference) -> anyhow::Result<()> {
        let Arms { base, head } = &mut self.record.arms;
        let rules = Arms { base: &mut base.plan.table.columns, head: &mut head.plan.table.columns };
        let Some(notes) = difference.mend(self.columns, rules) else {
            return Err(NotComparable(difference.words()).into());
        };
        self.record.notes.extend(notes);
        Ok(())
    }

    /// Connects both arms and makes their tables; leaves nothing behind if it cannot. `None` if it was
    /// told to stop.
    async fn targets(&self, session: u64) -> anyhow::Result<Option<Arms<O::Target>>> {
        let first = created_first(session);
        let Some(one) = self.target(first, session).await? else { return Ok(None) };
        let two = match self.target(first.other(), session).await {
            Ok(Some(two)) => two,
            not_there => {
                let closed = lane::close(one, CLOSE_TIMEOUT).await;
                let closed = closed.with_context(|| self.arm_words(first));
                return both(not_there.map(|_| None), closed);
            }
        };
        Ok(Some(in_order(first, one, two)))
    }

    /// Connects an arm and makes its table. `None` if it was told to stop.
    async fn target(&self, arm: Arm, session: u64) -> anyhow::Result<Option<O::Target>> {
        self.live.say(&format!("making table and connections of {}", arm.name()));
        let settings = &self.record.arms.of(arm).plan.table;
        let say = |what: &str| self.live.say(&format!("{}: {what}", arm.name()));
        let stop = &self.signals.stop;
        // Not stopped at once: what is half made could not be taken back.
        let target = tokio::select! {
            target = self.open.open(arm, session, settings) => target,
            never = table::attend(settings.csv.as_ref(), say, stop) => match never {},
            () = stopped_for(CONNECT_GRACE, stop) => bail!(
                "{}: stopped, and not waited for the server; what it made is left to the next run",
                self.arm_words(arm)
            ),
        };
        if target.is_err() && stop.is_cancelled() {
            // It left off as it was told to, and has taken back what it had made.
            return Ok(None);
        }
        let target = target.map_err(|error| table::explain(error, self.sources.of(arm).as_ref()));
        Ok(Some(target.with_context(|| self.arm_words(arm))?))
    }

    async fn close_targets(&self, targets: Arms<O::Target>) -> anyhow::Result<()> {
        let base = lane::close(targets.base, CLOSE_TIMEOUT).await;
        let head = lane::close(targets.head, CLOSE_TIMEOUT).await;
        self.closed(Arms { base, head })
    }

    /// What is left behind on the arms' servers; of both, where it is so of both.
    fn closed(&self, closed: Arms<Result<(), TargetError>>) -> anyhow::Result<()> {
        let base = closed.base.with_context(|| self.arm_words(Arm::Base));
        both(base, closed.head.with_context(|| self.arm_words(Arm::Head)))
    }

    /// Fits the plans to tables and servers, the first time; makes the tables fresh and opens the
    /// sessions. `None` if it was told to stop.
    async fn ready(
        &mut self,
        cell: usize,
        session: u64,
        targets: &Arms<O::Target>,
    ) -> anyhow::Result<Option<Arms<Ready<O::Target>>>> {
        if self.record.arms.head.server.is_none() && !self.meet(targets).await? {
            return Ok(None);
        }
        let first = created_first(session);
        let one = self.open_sessions(first, cell, targets).await?;
        let Some(one) = one else { return Ok(None) };
        let two = self.open_sessions(first.other(), cell, targets).await?;
        Ok(two.map(|two| in_order(first, one, two)))
    }

    /// Fits the plans to the tables, asks the servers what they are, and holds the workers to the
    /// sessions that these have free. `false` if it was told to stop.
    async fn meet(&mut self, targets: &Arms<O::Target>) -> anyhow::Result<bool> {
        let mut warnings: Arms<Vec<String>> = Arms::default();
        for arm in Arm::BOTH {
            let target = targets.of(arm);
            let plan = &mut self.record.arms.of_mut(arm).plan;
            let fitted = fit(plan, self.sources.of(arm).as_ref(), target);
            fitted.with_context(|| self.arm_words(arm))?;
            *warnings.of_mut(arm) = table::warnings(target).to_vec();
            let known = self.record.arms.base.server.clone();
            let info = match known.filter(|_| self.open.is_one_server()) {
                Some(known) => known,
                None => tokio::select! {
                    info = target.info() => info.with_context(|| self.arm_words(arm))?,
                    () = self.signals.stop.cancelled() => {
                        drop(clock::timeout(CLOSE_TIMEOUT, target.cancel()).await);
                        return Ok(false);
                    }
                },
            };
            self.record.arms.of_mut(arm).server = Some(info);
        }
        let Arms { base, head } = &mut self.record.arms;
        let instance = |arm: &ArmRecord| arm.server.as_ref().and_then(|it| it.instance.clone());
        let is_one_server = self.open.is_one_server()
            || instance(base).is_some_and(|one| instance(head) == Some(one));
        let before = Arms { base: base.plan.notes.len(), head: head.plan.notes.len() };
        let free = |arm: &ArmRecord| arm.server.as_ref().and_then(|server| server.sessions_free);
        let free = Arms { base: free(base), head: free(head) };
        let plans = Arms { base: &mut base.plan, head: &mut head.plan };
        sessions::clip(plans, free, is_one_server)?;
        for arm in Arm::BOTH {
            let clipped = &self.record.arms.of(arm).plan.notes[*before.of(arm)..];
            warnings.of_mut(arm).extend_from_slice(clipped);
        }
        of_both(&warnings.base, &warnings.head).iter().for_each(|it| self.live.warn(it));
        Ok(true)
    }

    /// Makes the table of an arm fresh and opens its sessions. `None` if it was told to stop.
    async fn open_sessions(
        &self,
        arm: Arm,
        cell: usize,
        targets: &Arms<O::Target>,
    ) -> anyhow::Result<Option<Ready<O::Target>>> {
        let (target, plan) = (targets.of(arm), &self.record.arms.of(arm).plan);
        tokio::select! {
            reset = target.reset_table() => reset.with_context(|| self.arm_words(arm))?,
            () = self.signals.stop.cancelled() => {
                // Its CHECKPOINT may take minutes.
                drop(clock::timeout(CLOSE_TIMEOUT, target.cancel()).await);
                return Ok(None);
            }
        }
        let pool = engine::open_pool(target, &plan.cells[cell]).await;
        let pool = pool.with_context(|| self.arm_words(arm))?;
        let settings = LaneSettings {
            seed: self.record.seed,
            window: Duration::from_millis(plan.window_ms),
            client_threads: plan.client_threads,
            rows_max: plan.rows_max,
            time: O::TIME,
        };
        Ok(Some((pool, settings)))
    }

    /// Takes over what the plans have to say.
    fn note_plans(&mut self) {
        let Arms { base, head } = &self.record.arms;
        let notes = of_both(&base.plan.notes, &head.plan.notes);
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

/// The sessions of an arm, and what all its blocks have in common.
type Ready<T> = (<T as Target>::Pool, LaneSettings);

/// Puts what was made one after the other where it belongs.
fn in_order<T>(first: Arm, one: T, two: T) -> Arms<T> {
    match first {
        Arm::Base => Arms { base: one, head: two },
        Arm::Head => Arms { base: two, head: one },
    }
}

/// What is to be said of both arms: once, where it is the same.
fn of_both(base: &[String], head: &[String]) -> Vec<String> {
    let of_one = |arm: Arm, own: &[String], other: &[String]| -> Vec<String> {
        let own = own.iter().filter(|note| !other.contains(note));
        own.map(|note| format!("{}: {note}", arm.name())).collect()
    };
    let mut all: Vec<String> = base.iter().filter(|note| head.contains(note)).cloned().collect();
    all.extend(of_one(Arm::Base, base, head));
    all.extend(of_one(Arm::Head, head, base));
    all
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
