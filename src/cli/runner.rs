//! Runs a plan against a server: block after block, each on disk before the next begins.

use std::{io::Write as _, path::Path, time::Duration};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::{
    Exit, UsageError,
    args::{Common, Format},
    progress::Progress,
    server::Server,
    signals::Signals,
};
use crate::{
    clock::{self, Instant, Time},
    controller::{Fixed, Setting},
    engine::{self, BlockOutcome, BlockSpec, Ended},
    measure::Kind,
    plan::{BlockPlan, Plan, TableFacts},
    record::{
        self, BlockEnd, BlockRecord, Directory, EncodedHistogram, Environment, Host, Record,
        SCHEMA_VERSION, SystemTime, WindowRow,
    },
    report,
    scenario::Source,
    target::{TableSource, Target, TargetError, postgres::PgTarget},
    verdict::{Judgement, Verdict},
};

/// How long the end of a run waits for the server to drop the schema.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);
/// How much longer the last block's table may be read once the run was told to stop.
const VERIFY_GRACE: Duration = Duration::from_secs(30);

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
}

pub(super) fn run(job: Job, common: &Common) -> anyhow::Result<Exit> {
    let runtime = match job.plan.client_threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        threads => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads as usize)
            .enable_all()
            .build()?,
    };
    let outcome = runtime.block_on(async {
        let signals = Signals::listen()?;
        tokio::select! {
            outcome = run_job(job, common, &signals) => outcome,
            () = signals.abort.cancelled() => Ok(signals.exit().unwrap_or(Exit::Interrupted)),
        }
    });
    runtime.shutdown_background();
    outcome
}

async fn run_job(job: Job, common: &Common, signals: &Signals) -> anyhow::Result<Exit> {
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
            return signals.exit().ok_or(error);
        }
    };
    let mut run = match Run::begin(job, common, directory, progress, &server).await {
        Ok(run) => run,
        Err(error) => {
            // That the server does not stop either says less than why the run did not begin.
            drop(server.close().await);
            return Err(error);
        }
    };
    let outcome = run.blocks(signals).await;
    let closed = run.end(server).await;
    if run.record.blocks.is_empty() {
        // Nothing was measured: there is nothing to show, and nothing to keep.
        run.directory.discard();
        outcome?;
        closed?;
        return Ok(signals.exit().unwrap_or(Exit::Done));
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
    Ok(signals.exit().unwrap_or_else(|| judge(&verdict, common.strict)))
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

/// Looks for half a second at how busy the machine is with others: batchpilot itself sleeps.
async fn cpu_busy() -> Option<f64> {
    let earlier = SystemTime::now()?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    Some(SystemTime::now()?.busy_since(earlier))
}

/// A run under way.
struct Run {
    directory: Directory,
    progress: Progress,
    record: Record,
    target: Option<PgTarget>,
    time_limit: Option<Duration>,
    started: Instant,
    system_time: Option<SystemTime>,
    is_verbose: bool,
}

impl Run {
    async fn begin(
        job: Job,
        common: &Common,
        directory: Directory,
        progress: Progress,
        server: &Server,
    ) -> anyhow::Result<Run> {
        let started = clock::now();
        let load_before = Host::load();
        let cpu_busy_before = cpu_busy().await;
        let mut job = job;
        let name = schema_name();
        let target = PgTarget::connect(server.options.clone(), &name, &job.plan.table).await;
        progress.say("measuring round trip and commit");
        let (target, info) = match target {
            Err(error) => (None, Err(explain(error, job.source.as_ref()))),
            Ok(target) => {
                let info = fit(&mut job, &target);
                let info = match info {
                    Ok(()) => target.info().await.map_err(Into::into),
                    Err(error) => Err(error),
                };
                (Some(target), info)
            }
        };
        let info = match info {
            Ok(info) => info,
            Err(error) => {
                progress.finish();
                directory.discard();
                if let Some(target) = target {
                    target.close().await?;
                }
                return Err(error);
            }
        };
        let environment = Environment {
            server: info,
            private_server: server.cluster.is_some(),
            client: Host::here(),
            storage: server.cluster.as_ref().and_then(|it| Host::storage_of(&it.data_dir())),
            load_before,
            cpu_busy_before,
            steal: None,
        };
        let record = Record {
            schema_version: SCHEMA_VERSION,
            batchpilot: version(),
            command: job.command,
            started_at: record::utc_now(),
            finished_at: None,
            client_memory_peak_bytes: None,
            complete: false,
            notes: job.plan.notes.clone(),
            plan: job.plan,
            environment,
            blocks: Vec::new(),
        };
        Ok(Run {
            directory,
            progress,
            record,
            target,
            time_limit: job.time_limit,
            started,
            system_time: SystemTime::now(),
            is_verbose: common.verbose,
        })
    }

    /// Runs the blocks of the plan. What was measured is on disk when this returns, error or not; or
    /// in the record, if that cannot be written.
    async fn blocks(&mut self, signals: &Signals) -> anyhow::Result<()> {
        self.directory.write(&self.record)?;
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
            self.block(number, block, signals).await?;
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
        limit < self.started.elapsed() + one
    }

    async fn block(
        &mut self,
        number: usize,
        block: &BlockPlan,
        signals: &Signals,
    ) -> anyhow::Result<()> {
        let plan = self.record.plan.clone();
        let cell = &plan.cells[block.cell];
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
                drop(tokio::time::timeout(CLOSE_TIMEOUT, target.cancel()).await);
                return Ok(());
            }
        }
        let generator = target.generator(block.seed);
        let spec = BlockSpec {
            cell,
            seed: block.seed,
            window: Duration::from_millis(plan.window_ms),
            client_threads: plan.client_threads,
            generator: &generator,
            time: Time::Real,
        };
        let setting = Setting { batch_rows: cell.batch_rows, workers: cell.workers };
        let (directory, progress) = (&mut self.directory, &self.progress);
        let mut lost = None;
        let mut on_window = |window: &crate::measure::WindowSummary, _: &_| {
            let row = WindowRow::new(number, &cell.name, block.repetition, window);
            lost = directory.append_window(&row).err().or(lost.take());
            progress.show(&plan, block.cell, Some(window.rows_per_s()));
        };
        let stop = &signals.stop;
        let mut controller = Fixed(setting);
        let outcome = engine::run_block(target, spec, &mut controller, stop, &mut on_window).await;
        let outcome = outcome.map_err(|error| in_cell(error, &cell.name))?;
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
        outcome: BlockOutcome,
        signals: &Signals,
    ) -> anyhow::Result<()> {
        let cell = self.record.plan.cells[block.cell].clone();
        let letters = dead_letters(number, &cell.name, &outcome);
        let target = self.target.as_ref().expect("is there until the run ends");
        let generator = target.generator(block.seed);
        let verification = match outcome.ended {
            Ended::Abandoned => None,
            _ => {
                let (confirmed, in_doubt) = (outcome.confirmed.clone(), outcome.in_doubt.clone());
                tokio::select! {
                    verified = target.verify(generator, confirmed, in_doubt) => verified.ok(),
                    // A server that stands still is not waited for.
                    () = stopped_for(VERIFY_GRACE, &signals.stop) => {
                        drop(tokio::time::timeout(CLOSE_TIMEOUT, target.cancel()).await);
                        None
                    }
                }
            }
        };
        let error = outcome.error.clone();
        let histograms = outcome.measurement.histograms.clone();
        let mut entry = block_record(number, block, &outcome);
        entry.rows_confirmed += verification.as_ref().map_or(0, |it| it.in_doubt_present);
        entry.verification = verification;
        // Each file is tried, also after one that could not be written.
        let ago = outcome.started.elapsed();
        let appended = self.directory.append_block(&entry, &cell, &histograms, ago);
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
            _ => Ok(()),
        }
    }

    /// Leaves nothing behind on the server, and closes the record.
    async fn end(&mut self, server: Server) -> anyhow::Result<()> {
        self.progress.finish();
        let target = self.target.take().expect("a run ends once");
        let dropped = tokio::time::timeout(CLOSE_TIMEOUT, target.close()).await;
        let dropped = dropped.unwrap_or_else(|_| {
            let message = "the server does not answer; its schema is left to the next run".into();
            Err(TargetError::Failed { message, sqlstate: None })
        });
        let stopped = server.close().await;
        let times = SystemTime::now().zip(self.system_time);
        self.record.environment.steal = times.map(|(now, before)| now.steal_since(before));
        let done = |block: &BlockRecord| block.ended == BlockEnd::Done;
        self.record.complete = self.record.blocks.len() == self.record.plan.blocks.len()
            && self.record.blocks.iter().all(done);
        self.record.finished_at = Some(record::utc_now());
        self.record.client_memory_peak_bytes = record::memory_peak_bytes();
        self.directory.write(&self.record)?;
        dropped?;
        stopped
    }

    fn show(&self, common: &Common) -> anyhow::Result<Verdict> {
        let verdict = Verdict::of(&self.record);
        let windows = record::read_windows(self.directory.path())?;
        for (name, bytes) in report::files(&self.record, &verdict, &windows) {
            self.directory.replace(name, &bytes)?;
        }
        let mut json = Vec::new();
        report::json::write(&self.record, &verdict, &mut json)?;
        self.directory.replace(record::RECORD, &json)?;
        match common.format {
            Format::Text => show(&self.record, &verdict, self.directory.path())?,
            Format::Json => {
                let text = serde_json::to_string_pretty(&verdict)?;
                writeln!(std::io::stdout(), "{text}")?;
            }
        }
        Ok(verdict)
    }
}

/// Fits the plan to the table, which is known now.
fn fit(job: &mut Job, target: &PgTarget) -> anyhow::Result<()> {
    if job.plan.table.source == TableSource::Article {
        return Ok(());
    }
    let generator = target.generator(job.plan.seed);
    let columns = generator.columns();
    let arrays = columns.iter().filter(|column| column.sql_type.is_array());
    let arrays: Vec<&str> = arrays.map(|column| column.name.as_str()).collect();
    let facts = TableFacts {
        name: target.table(),
        columns: columns.len(),
        rows_max: generator.rows_max(),
        has_key: target.has_key(),
        arrays: &arrays,
    };
    job.plan.fit(facts).map_err(|error| fault(&error.key, &error.problem, job.source.as_ref()))?;
    job.plan.notes.extend_from_slice(target.notes());
    Ok(())
}

/// What is wrong with the user's table is a mistake in what was asked, and says where it was asked.
fn explain(error: TargetError, source: Option<&Source>) -> anyhow::Error {
    match error {
        TargetError::Table { key: Some(key), problem } => fault(&key, &problem, source),
        TargetError::Table { key: None, problem } => UsageError(problem).into(),
        other => other.into(),
    }
}

fn fault(key: &str, problem: &str, source: Option<&Source>) -> anyhow::Error {
    let text = match source {
        // A key that came from the command line stands nowhere in the file.
        Some(source) if source.has(key) => source.fault(key, problem).to_string(),
        _ => problem.to_owned(),
    };
    UsageError(text).into()
}

/// Waits until `stop` was asked for and some time has passed.
async fn stopped_for(grace: Duration, stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

fn in_cell(error: TargetError, cell: &str) -> anyhow::Error {
    anyhow::Error::from(error).context(format!("cell `{cell}`"))
}

fn block_record(number: usize, block: &BlockPlan, outcome: &BlockOutcome) -> BlockRecord {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let measurement = &outcome.measurement;
    let difference = |count: fn(&crate::target::ServerSample) -> u64| {
        let samples = outcome.samples.as_ref();
        samples.map(|(before, after)| count(after).saturating_sub(count(before)))
    };
    let latency = Kind::ALL.into_iter().filter_map(|kind| {
        let histogram = measurement.histograms.of(kind);
        (!histogram.is_empty())
            .then(|| (kind.name().to_owned(), EncodedHistogram::encode(histogram)))
    });
    BlockRecord {
        number,
        cell: block.cell,
        repetition: block.repetition,
        started_at: record::utc_before(outcome.started.elapsed()),
        ended: match outcome.ended {
            Ended::Done => BlockEnd::Done,
            Ended::Stopped => BlockEnd::Stopped,
            Ended::Failed => BlockEnd::Failed,
            Ended::Abandoned => BlockEnd::Abandoned,
        },
        elapsed_ns: nanos(outcome.elapsed),
        operations: measurement.operations,
        operations_rolled_back: measurement.operations_rolled_back,
        rows_confirmed: outcome.confirmed.row_count(),
        rows_failed: outcome.rows_failed,
        rows_in_doubt: outcome.in_doubt.row_count(),
        verification: None,
        pushed_back: measurement.pushed_back,
        errors: measurement.errors.clone(),
        error: outcome.error.as_ref().map(ToString::to_string),
        never_started: outcome.never_started,
        overloaded: outcome.overloaded,
        client_cpu_ns: nanos(outcome.client_cpu),
        rows_wait_ns: nanos(measurement.rows_wait),
        windows: measurement.windows,
        windows_client_bound: measurement.windows_client_bound,
        wal_bytes: difference(|sample| sample.wal_bytes),
        wal_full_page_images: difference(|sample| sample.wal_full_page_images),
        checkpoints: difference(|sample| sample.checkpoints),
        wait_events: outcome.wait_events.clone(),
        latency: latency.collect(),
    }
}

fn dead_letters(number: usize, cell: &str, outcome: &BlockOutcome) -> Vec<serde_json::Value> {
    let letter = |rejection: &engine::Rejection| {
        serde_json::json!({
            "block": number,
            "cell": cell,
            "rows": rejection.rows,
            "sqlstate": rejection.code,
            "message": rejection.message,
            "in_doubt": rejection.in_doubt,
        })
    };
    outcome.rejections.iter().map(letter).collect()
}

/// Twelve characters that no two runs share: the time in base 36, then the process.
fn schema_name() -> String {
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

fn version() -> String {
    match option_env!("BATCHPILOT_COMMIT") {
        Some(commit) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
        None => env!("CARGO_PKG_VERSION").to_owned(),
    }
}
