//! Runs a plan against a target: block after block, each on disk before the next begins.

mod books;
pub(super) mod table;
mod tuning;

use std::{io::Write as _, path::Path, time::Duration};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::{
    Exit, UsageError,
    args::{Common, Format},
    progress::Progress,
    server::Server,
    signals::Signals,
    steering::{Steering, Teller},
};
use crate::{
    clock::{self, Instant, Time},
    controller::Decision,
    engine::{self, BlockOutcome, BlockSpec, Ended},
    measure::WindowSummary,
    plan::{BlockPlan, Plan},
    record::{
        self, BlockEnd, BlockRecord, Directory, Environment, Host, JournalRow, Record,
        SCHEMA_VERSION, SystemTime,
    },
    report,
    scenario::Source,
    target::{
        ServerInfo, Target, TargetError,
        postgres::PgTarget,
        sim::{SimSettings, SimTarget},
    },
    verdict::{Judgement, Verdict},
};

use self::books::{Notebook, block_record, dead_letters};
pub(super) use self::tuning::Search;

/// How long the end of a run waits for the server to drop the schema.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);
/// How much longer the server may take to let us in once the run was told to stop.
pub(super) const CONNECT_GRACE: Duration = Duration::from_secs(5);
/// How much longer the last block's table may be read once the run was told to stop.
pub(super) const VERIFY_GRACE: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) plan: Plan,
    /// The command's words, for the record.
    pub(super) command: String,
    /// The scenario's own server.
    pub(super) url: Option<String>,
    /// No repetition starts that would not end within this time.
    pub(super) time_limit: Option<Duration>,
    /// The scenario's text, to say where in it something is wrong.
    pub(super) source: Option<Source>,
    /// How to search, if the plan is a search.
    pub(super) search: Option<Search>,
}

pub(super) fn run(job: Job, common: &Common) -> anyhow::Result<Exit> {
    if let Some(sim) = job.plan.sim.clone() {
        refuse_server_flags(common)?;
        let what = |signals| run_simulated(job, sim, common, signals);
        return clock::run_virtual(until_aborted(what, |exit| exit))?;
    }
    let runtime = runtime(job.plan.client_threads)?;
    let what = |signals| run_job(job, common, signals);
    let outcome = runtime.block_on(until_aborted(what, |exit| exit));
    runtime.shutdown_background();
    outcome
}

/// A simulated server is no place that flags could name.
pub(super) fn refuse_server_flags(common: &Common) -> anyhow::Result<()> {
    if common.url.is_some() || common.pg_bin.is_some() || common.pg_major.is_some() {
        let problem = "--url, --pg-bin and --pg-major name a PostgreSQL, but the scenario asks for a \
                       simulated server";
        return Err(UsageError(problem.to_owned()).into());
    }
    Ok(())
}

/// Makes the runtime that workers run on.
pub(super) fn runtime(client_threads: u32) -> std::io::Result<tokio::runtime::Runtime> {
    match client_threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        threads => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads as usize)
            .enable_all()
            .build(),
    }
}

/// Does something until it ends, or until a second signal, which `aborted` has the last word on.
pub(super) async fn until_aborted<F, R>(
    what: impl FnOnce(Signals) -> F,
    aborted: impl FnOnce(Exit) -> R,
) -> anyhow::Result<R>
where
    F: Future<Output = anyhow::Result<R>>,
{
    let signals = Signals::listen()?;
    tokio::select! {
        outcome = what(signals.clone()) => outcome,
        () = signals.abort.cancelled() => Ok(aborted(signals.exit().unwrap_or(Exit::Interrupted))),
    }
}

async fn run_simulated(
    job: Job,
    sim: SimSettings,
    common: &Common,
    signals: Signals,
) -> anyhow::Result<Exit> {
    let created = clock::now();
    let directory = Directory::create(&common.out, &job.plan.name)
        .context("cannot make the results directory; name another with --out")?;
    let progress = Progress::new(&job.plan, common.quiet);
    let connect = async { Ok(SimTarget::new(sim)) };
    let begun =
        Run::begin(job, common, (directory, progress, created), None, connect, &signals.stop).await;
    measure(begun, common, None, &signals).await
}

async fn run_job(job: Job, common: &Common, signals: Signals) -> anyhow::Result<Exit> {
    let created = clock::now();
    // The directory first: a run whose results cannot be written must not touch a server.
    let directory = Directory::create(&common.out, &job.plan.name)
        .context("cannot make the results directory; name another with --out")?;
    let progress = Progress::new(&job.plan, common.quiet);
    progress.say("starting the server");
    let server = tokio::select! {
        server = Server::open(common, job.url.as_deref(), job.plan.connection) => server,
        () = signals.stop.cancelled() => Err(anyhow::anyhow!("stopped before the server was up")),
    };
    let server = match server {
        Ok(server) => server,
        Err(error) => {
            progress.finish();
            directory.discard();
            return signals.cut_short(&error).ok_or(error);
        }
    };
    let table = job.plan.table.clone();
    let connect = async { PgTarget::connect(server.options.clone(), &schema_name(), &table).await };
    let begun = Run::begin(
        job,
        common,
        (directory, progress, created),
        Some(&server),
        connect,
        &signals.stop,
    )
    .await;
    measure(begun, common, Some(server), &signals).await
}

/// Runs the blocks of a run that has begun, and shows what came of them.
async fn measure<T: Target>(
    begun: anyhow::Result<Run<T>>,
    common: &Common,
    server: Option<Server>,
    signals: &Signals,
) -> anyhow::Result<Exit> {
    let mut run = match begun {
        Ok(run) => run,
        Err(error) => {
            if let Some(server) = server {
                // That the server does not stop either says less than why the run did not begin.
                drop(server.close().await);
            }
            return signals.cut_short(&error).ok_or(error);
        }
    };
    let outcome = run.work(common, signals).await;
    if let Err(error) = &outcome
        && !signals.stop.is_cancelled()
    {
        run.record.notes.push(format!("an error ended the run: {error:#}"));
    }
    let closed = run.end(server).await;
    if let (Err(_), Err(left)) = (&outcome, &closed) {
        // Why the run ended is said last; what it leaves behind is said too.
        super::complain(left);
    }
    if run.record.blocks.is_empty() {
        // Nothing was measured: there is nothing to show, and nothing to keep.
        run.directory.discard();
        outcome?;
        closed?;
        let stopped = anyhow::anyhow!("stopped before the first block had ended");
        return Ok(signals.cut_short(&stopped).unwrap_or(Exit::Done));
    }
    let shown = run.show(common);
    if let (Err(error), Ok(verdict)) = (&outcome, &shown)
        && verdict.validity.judgement == Judgement::Invalid
    {
        // That a table is not what the server confirmed outweighs why the run ended.
        super::complain(error);
        return Ok(Exit::Invalid);
    }
    outcome?;
    closed?;
    let verdict = shown?;
    let told = signals.exit().filter(|_| !run.ended_when_told);
    Ok(told.unwrap_or_else(|| judge(&verdict, common.strict)))
}

/// Returns the exit that a verdict asks for.
pub(super) fn judge(verdict: &Verdict, strict: bool) -> Exit {
    match verdict.validity.judgement {
        Judgement::Invalid => Exit::Invalid,
        _ if strict && verdict.refutes_a_claim() => Exit::ClaimRefuted,
        _ if strict && verdict.is_inconclusive() => Exit::Inconclusive,
        _ => Exit::Done,
    }
}

/// Prints table and verdict.
pub(super) fn show(record: &Record, verdict: &Verdict, path: &Path) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    report::text::write(record, verdict, &mut out)?;
    writeln!(out, "\nReport: {}", path.join("report.html").display())?;
    Ok(())
}

/// Prints the verdict as JSON.
pub(super) fn show_json(verdict: &Verdict) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(verdict)?)?;
    Ok(())
}

/// Looks for half a second at how busy the machine is with others: batchpilot itself sleeps. In virtual
/// time nobody else is there.
pub(super) async fn cpu_busy(plan: &Plan) -> Option<f64> {
    if plan.sim.is_some() {
        return None;
    }
    let earlier = SystemTime::now()?;
    clock::sleep(Duration::from_millis(500)).await;
    Some(SystemTime::now()?.busy_since(earlier))
}

/// Connects, asks the server what it is, and fits the plan to the table and to the sessions that are
/// free; leaves nothing behind if it cannot, or is told to stop.
async fn meet<T: Target>(
    connect: impl Future<Output = Result<T, TargetError>>,
    (plan, source): (&mut Plan, Option<&Source>),
    progress: &Progress,
    stop: &CancellationToken,
) -> anyhow::Result<(T, ServerInfo)> {
    let stopped = || anyhow::anyhow!("stopped before the first block");
    // Not at once: what is half made could not be taken back.
    let target = tokio::select! {
        target = connect => target.map_err(|error| table::explain(error, source))?,
        never = table::attend(plan.table.csv.as_ref(), |what| progress.say(what), stop) => {
            match never {}
        }
        () = stopped_for(CONNECT_GRACE, stop) => {
            anyhow::bail!("stopped, and not waited for the server; what it made is left to the next run")
        }
    };
    progress.say("measuring round trip and commit");
    let info = match table::fit(plan, source, &target) {
        Err(error) => Err(error),
        Ok(()) => tokio::select! {
            info = target.info() => info.map_err(anyhow::Error::from).and_then(|info| {
                info.sessions_free.map_or(Ok(()), |free| plan.clip_workers(free))?;
                Ok(info)
            }),
            () = stop.cancelled() => {
                // Its CHECKPOINT may take minutes.
                drop(clock::timeout(CLOSE_TIMEOUT, target.cancel()).await);
                Err(stopped())
            }
        },
    };
    match info {
        Ok(info) => {
            progress.suspend(|| table::warnings(&target).iter().for_each(|it| super::warn(it)));
            Ok((target, info))
        }
        Err(error) => {
            match clock::timeout(CLOSE_TIMEOUT, target.close()).await {
                Ok(closed) => closed.unwrap_or_else(|left| super::complain(&left.into())),
                Err(_) => anyhow::bail!("{error}; the schema is left behind"),
            }
            Err(error)
        }
    }
}

/// A run under way.
struct Run<T> {
    directory: Directory,
    progress: Progress,
    record: Record,
    target: Option<T>,
    time_limit: Option<Duration>,
    search: Option<Search>,
    /// Whether being told to stop was how it was to end.
    ended_when_told: bool,
    /// When its directory was made.
    created: Instant,
    started: Instant,
    system_time: Option<SystemTime>,
    is_verbose: bool,
}

impl<T: Target> Run<T> {
    async fn begin(
        job: Job,
        common: &Common,
        (directory, progress, created): (Directory, Progress, Instant),
        server: Option<&Server>,
        connect: impl Future<Output = Result<T, TargetError>>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Run<T>> {
        let started = clock::now();
        let load_before = Host::load();
        let cpu_busy_before = cpu_busy(&job.plan).await;
        let (mut plan, source) = (job.plan, job.source.as_ref());
        let met = meet(connect, (&mut plan, source), &progress, stop).await;
        let (target, info) = match met {
            Ok(met) => met,
            Err(error) => {
                progress.finish();
                directory.discard();
                return Err(error);
            }
        };
        let cluster = server.and_then(|it| it.cluster.as_ref());
        let environment = Environment {
            server: info,
            private_server: cluster.is_some(),
            client: Host::here(),
            storage: cluster.and_then(|it| Host::storage_of(&it.data_dir())),
            load_before,
            cpu_busy_before,
            steal: None,
        };
        let record = Record {
            schema_version: SCHEMA_VERSION,
            batchpilot: super::VERSION.to_owned(),
            command: job.command,
            started_at: directory.utc_at(clock::since(created)),
            finished_at: None,
            client_memory_peak_bytes: None,
            complete: false,
            notes: plan.notes.clone(),
            plan,
            environment,
            blocks: Vec::new(),
        };
        Ok(Run {
            directory,
            progress,
            record,
            target: Some(target),
            time_limit: job.time_limit,
            search: job.search,
            ended_when_told: false,
            created,
            started,
            system_time: SystemTime::now(),
            is_verbose: common.verbose,
        })
    }

    /// Runs what the plan asks for: its blocks, or a search that plans its own.
    async fn work(&mut self, common: &Common, signals: &Signals) -> anyhow::Result<()> {
        // Whoever is killed before the first block leaves a record, too.
        self.directory.write(&self.record)?;
        let Some(search) = self.search else { return self.blocks(signals).await };
        let steering = self.tune(&search, signals).await?;
        let (Some(time), Some(mut steering)) = (search.follow, steering) else { return Ok(()) };
        if common.format == Format::Text {
            let verdict = self.judge()?;
            let printed = self.progress.suspend(|| {
                let mut out = anstream::stdout();
                if self.record.plan.sim.is_some() {
                    writeln!(out, "{}", self.record.plan.heading())?;
                }
                report::text::write_answer(&verdict, &mut out)?;
                writeln!(out, "\nFollowing; Ctrl-C ends it.")
            });
            super::unless_nobody_reads(printed.map_err(anyhow::Error::from))?;
            steering.teller = Some(Teller::default());
        }
        let steering = self.follow(time, steering, signals).await?;
        self.ended_when_told = signals.stop.is_cancelled();
        if let Some(line) = steering.teller.and_then(|it| it.last_words()) {
            let printed = self.progress.suspend(|| writeln!(anstream::stdout(), "{line}\n"));
            super::unless_nobody_reads(printed.map_err(anyhow::Error::from))?;
        }
        Ok(())
    }

    /// Runs the blocks of the plan. What was measured is on disk when this returns, error or not; or
    /// in the record, if that cannot be written.
    async fn blocks(&mut self, signals: &Signals) -> anyhow::Result<()> {
        let blocks = self.record.plan.blocks.clone();
        for (number, block) in blocks.iter().enumerate() {
            if self.is_out_of_time(number) {
                let repetitions = block.repetition;
                let note = format!("{repetitions} repetitions: more would have taken too long");
                self.record.notes.push(note);
                self.record.plan.blocks.truncate(number);
                self.record.plan.repetitions = repetitions;
                break;
            }
            if signals.stop.is_cancelled() {
                break;
            }
            let cell = &self.record.plan.cells[block.cell];
            let mut steering = Steering::of(cell, block.seed);
            self.block(number, block, &mut steering, signals).await?;
        }
        if signals.stop.is_cancelled() {
            self.record.notes.push("stopped by a signal; the blocks that had ended count".into());
        }
        Ok(())
    }

    /// Only a new repetition may be left out, so that all cells keep the same number of blocks.
    fn is_out_of_time(&self, number: usize) -> bool {
        let blocks = &self.record.plan.blocks;
        let (Some(limit), Some(last)) = (self.time_limit, number.checked_sub(1)) else {
            return false;
        };
        if blocks[number].repetition == blocks[last].repetition || blocks[number].repetition < 2 {
            return false;
        }
        let plan = &self.record.plan;
        let repetitions_left = plan.repetitions - blocks[number].repetition;
        let one = self.progress.time_left(plan) / repetitions_left;
        limit < clock::since(self.started) + one
    }

    async fn block(
        &mut self,
        number: usize,
        block: &BlockPlan,
        steering: &mut Steering,
        signals: &Signals,
    ) -> anyhow::Result<()> {
        let plan = self.record.plan.clone();
        let mut cell = plan.cells[block.cell].clone();
        cell.stop.seconds = steering.seconds.or(cell.stop.seconds);
        self.progress.begin(&plan, block.cell);
        if self.is_verbose {
            let repetition = block.repetition;
            self.progress.note(&format!("block {number}: {}, repetition {repetition}", cell.name));
        }
        let target = self.target.as_ref().expect("is there until the run ends");
        tokio::select! {
            reset = target.reset_table() => reset?,
            () = signals.stop.cancelled() => {
                // Its CHECKPOINT may take minutes, and the end needs the session that waits for it.
                drop(clock::timeout(CLOSE_TIMEOUT, target.cancel()).await);
                return Ok(());
            }
        }
        let spec = BlockSpec {
            cell: &cell,
            seed: block.seed,
            window: Duration::from_millis(plan.window_ms),
            client_threads: plan.client_threads,
            generator: &target.generator(block.seed),
            time: if plan.sim.is_some() { Time::Virtual } else { Time::Real },
        };
        let enough = signals.stop.child_token();
        let first = steering.first();
        let mut notebook = Notebook {
            directory: &mut self.directory,
            progress: &self.progress,
            plan: &plan,
            place: (number, block),
            policy: steering.policy,
            teller: steering.teller.as_mut(),
            lost: None,
        };
        steering.helm.begin(cell.stop.seconds);
        steering.watch.begin();
        notebook.teller.iter_mut().for_each(|it| it.begin());
        if let Some((policy, decision)) = first {
            notebook.note(&JournalRow::new((number, &cell.name), policy, None, &decision));
        }
        let watch = &mut steering.watch;
        let mut on_window = |window: &WindowSummary, decision: &Decision| {
            notebook.window(window, decision);
            if watch.take(window, decision) {
                enough.cancel();
            }
        };
        let helm = &mut steering.helm;
        let outcome = engine::run_block(target, spec, helm, &enough, &mut on_window).await;
        let lost = notebook.lost;
        let mut outcome = outcome.map_err(|error| in_cell(error, &cell.name))?;
        let is_as_planned = steering.ends_when_told || !signals.stop.is_cancelled();
        if outcome.ended == Ended::Stopped && is_as_planned {
            // By its own rule: its controller has found what it sought, or it is followed no longer.
            outcome.ended = Ended::Done;
        }
        // The block counts, whether or not its windows could be written.
        let booked = self.book(number, block, outcome, signals).await;
        lost.map_or(Ok(()), Err)?;
        booked
    }

    /// Checks the rows of a block and puts it on disk.
    async fn book(
        &mut self,
        number: usize,
        block: &BlockPlan,
        mut outcome: BlockOutcome,
        signals: &Signals,
    ) -> anyhow::Result<()> {
        let cell = self.record.plan.cells[block.cell].clone();
        let target = self.target.as_ref().expect("is there until the run ends");
        let generator = target.generator(block.seed);
        let letters = dead_letters(number, &cell.name, &outcome, &generator);
        if let Some(message) = generator.fault() {
            outcome.ended = Ended::Failed;
            outcome.error = Some(TargetError::Failed { message, sqlstate: None });
        }
        let verified = match outcome.ended {
            Ended::Abandoned => None,
            _ => {
                let (confirmed, in_doubt) = (outcome.confirmed.clone(), outcome.in_doubt.clone());
                tokio::select! {
                    verified = target.verify(generator, confirmed, in_doubt) => Some(verified),
                    // A server that stands still is not waited for.
                    () = stopped_for(VERIFY_GRACE, &signals.stop) => {
                        drop(clock::timeout(CLOSE_TIMEOUT, target.cancel()).await);
                        None
                    }
                }
            }
        };
        let error = outcome.error.clone();
        let start = outcome.started.saturating_duration_since(self.created);
        let started_at = self.directory.utc_at(start);
        let (mut entry, histograms) = block_record(number, block, started_at, &outcome);
        let unread = match verified {
            Some(Ok(verification)) => {
                entry.rows_confirmed += verification.in_doubt_present;
                entry.verification = Some(verification);
                None
            }
            Some(Err(error)) => {
                entry.verification_error = Some(error.to_string());
                Some(error)
            }
            None => None,
        };
        // Each file is tried, also after one that could not be written.
        let appended = self.directory.append_block(&entry, &cell, &histograms, start);
        let letters = self.directory.append_dead_letters(&letters);
        self.record.blocks.push(entry);
        self.directory.write(&self.record).and(appended).and(letters)?;
        self.progress.end(block.cell);
        let abandoned = "operations in flight did not end, and were abandoned";
        match (outcome.ended, error) {
            (Ended::Failed, Some(error)) => Err(in_cell(error, &cell.name)),
            (Ended::Abandoned, Some(error)) => {
                Err(anyhow::Error::from(error).context(format!("{}: {abandoned}", cell.name)))
            }
            (Ended::Abandoned, None) => anyhow::bail!("{}: {abandoned}", cell.name),
            // Rows that nobody can check are no measurement: neither would those of the next block.
            _ => match unread.filter(|_| !signals.stop.is_cancelled()) {
                Some(error) => Err(anyhow::Error::from(error)
                    .context(format!("{}: the table could not be read back", cell.name))),
                None => Ok(()),
            },
        }
    }

    /// Leaves nothing behind on the server, and closes the record.
    async fn end(&mut self, server: Option<Server>) -> anyhow::Result<()> {
        self.progress.finish();
        let target = self.target.take().expect("a run ends once");
        let dropped = clock::timeout(CLOSE_TIMEOUT, target.close()).await;
        let dropped = dropped.unwrap_or_else(|_| {
            let message = "the schema is left behind: the server does not answer".into();
            Err(TargetError::Failed { message, sqlstate: None })
        });
        let stopped = match server {
            Some(server) => server.close().await,
            None => Ok(()),
        };
        let times = SystemTime::now().zip(self.system_time);
        self.record.environment.steal = times.map(|(now, before)| now.steal_since(before));
        let done = |block: &BlockRecord| block.ended == BlockEnd::Done;
        self.record.complete = self.record.blocks.len() == self.record.plan.blocks.len()
            && self.record.blocks.iter().all(done);
        self.record.finished_at = Some(self.directory.utc_at(clock::since(self.created)));
        self.record.client_memory_peak_bytes = record::memory_peak_bytes();
        self.directory.write(&self.record)?;
        dropped?;
        stopped
    }

    /// Judges the record with what lies beside it.
    fn judge(&self) -> anyhow::Result<Verdict> {
        let windows = record::read_windows(self.directory.path())?;
        let journal = record::read_journal(self.directory.path())?;
        Ok(Verdict::of_run(&self.record, &journal, &windows))
    }

    fn show(&self, common: &Common) -> anyhow::Result<Verdict> {
        let verdict = self.judge()?;
        let windows = record::read_windows(self.directory.path())?;
        let journal = record::read_journal(self.directory.path())?;
        for (name, bytes) in report::files(&self.record, &verdict, &windows, &journal) {
            self.directory.replace(name, &bytes)?;
        }
        let mut json = Vec::new();
        report::json::write(&self.record, &verdict, &mut json)?;
        self.directory.replace(record::RECORD, &json)?;
        let shown = match common.format {
            Format::Text => show(&self.record, &verdict, self.directory.path()),
            Format::Json => show_json(&verdict),
        };
        super::unless_nobody_reads(shown)?;
        Ok(verdict)
    }
}

/// Waits until `stop` was asked for and some time has passed.
pub(super) async fn stopped_for(grace: Duration, stop: &CancellationToken) {
    stop.cancelled().await;
    clock::sleep(grace).await;
}

fn in_cell(error: TargetError, cell: &str) -> anyhow::Error {
    anyhow::Error::from(error).context(format!("cell `{cell}`"))
}

/// Twelve characters that no two runs share: the time in base 36, then the process.
pub(super) fn schema_name() -> String {
    let micros = u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or_default();
    let mut number = micros.wrapping_mul(4_194_304).wrapping_add(u64::from(std::process::id()));
    let digits = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut name = String::new();
    for _ in 0..12 {
        let digit = usize::try_from(number % 36).expect("below 36");
        name.push(char::from(digits[digit]));
        number /= 36;
    }
    name
}
