//! One session of a check: warm-up, then pairs of blocks, until the gate has seen enough.

use std::time::Duration;

use anyhow::Context as _;

use super::{
    Checker, Lane, VERIFY_GRACE,
    lane::{self, Checkpoint},
    servers::Open,
};
use crate::{
    cli::{UsageError, runner::stopped_for},
    clock,
    engine::{BlockOutcome, Ended},
    gate::{Arm, Arms, Pair, Rule, Step, Timing, WarmUp, created_first, orders, warm_up},
    measure::Kind,
    record::{PairRow, SessionRecord},
    stats::{format::number, median},
    target::Target as _,
};

/// What comes after a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Another one, to confirm a failure.
    Confirm,
    /// Nothing: it is decided, or cannot go on.
    Over,
}

impl<O: Open> Checker<'_, O> {
    /// Runs a session on lanes that are new. What was measured is in the record when this returns,
    /// error or not.
    pub(super) async fn session(
        &mut self,
        session: u64,
        rule: &Rule,
        lanes: &mut Arms<Lane<O::Target>>,
    ) -> anyhow::Result<Next> {
        let started_at = self.directory.utc_at(clock::since(self.created));
        self.cell_mut().sessions.push(SessionRecord {
            started_at,
            created_first: created_first(session),
            warm_up: WarmUp::GoOn,
            warm_up_s: 0.0,
            warm_up_rows_per_s: Arms::default(),
            first: Vec::new(),
        });
        let Some(timing) = self.warm_up(session, lanes).await? else {
            self.read_back(lanes).await?;
            return Ok(Next::Over);
        };
        if !self.renew(lanes).await? {
            return Ok(Next::Over);
        }
        let step = self.pairs(session, rule, timing, lanes).await?;
        self.read_back(lanes).await?;
        let is_faulty = self.is_faulty();
        Ok(if step == Step::Confirm && !is_faulty { Next::Confirm } else { Next::Over })
    }

    /// Runs pairs until the gate has seen enough, or something is wrong.
    async fn pairs(
        &mut self,
        session: u64,
        rule: &Rule,
        timing: Timing,
        lanes: &mut Arms<Lane<O::Target>>,
    ) -> anyhow::Result<Step> {
        // The cells of a check do not share their order.
        let seed = self.record.seed ^ (self.record.cells.len() as u64).rotate_left(48);
        let mut step = Step::GoOn;
        for (number, first) in orders(rule, seed, session).into_iter().enumerate() {
            let is_due = 0 < number && number.is_multiple_of(self.record.options.pairs_a_table);
            if is_due && !self.renew(lanes).await? {
                break;
            }
            let Some(pair) = self.pair(number, first, timing, lanes).await? else { break };
            let cell = self.cell_mut();
            step = cell.check.push(pair);
            cell.sessions.last_mut().expect("was begun").first.push(first);
            self.write()?;
            if step != Step::GoOn {
                break;
            }
            let check = &self.cell().check;
            let now = check.sessions().last().expect("a check has a session");
            self.live.pair(now, 1 < check.sessions().len(), rule.next_look(number + 1));
        }
        Ok(step)
    }

    /// Runs windows of both arms in turn until they agree. `None` if it was stopped, or an insert
    /// failed.
    async fn warm_up(
        &mut self,
        session: u64,
        lanes: &mut Arms<Lane<O::Target>>,
    ) -> anyhow::Result<Option<Timing>> {
        let options = self.record.options.clone();
        let window = Timing { block: options.warm_up_window, guard: Duration::ZERO };
        let started = clock::now();
        let mut operation_ns_p50: Arms<Vec<f64>> = Arms::default();
        let first = created_first(session);
        for number in 0.. {
            // Numbers that no pair has.
            let blocks = self.blocks(first, (window, !number), lanes).await?;
            let Some(blocks) = blocks else { return Ok(None) };
            for (arm, block) in blocks {
                let outcome = &block.outcome;
                let rate = outcome.confirmed.row_count() as f64
                    / outcome.elapsed.as_secs_f64().max(window.block.as_secs_f64());
                let service = outcome.measurement.histograms.of(Kind::Service);
                operation_ns_p50.of_mut(arm).push(service.value_at_quantile(0.5) as f64);
                let record = self.cell_mut().sessions.last_mut().expect("was begun");
                record.warm_up_rows_per_s.of_mut(arm).push(rate);
                self.live.warm_up(arm.name(), rate);
            }
            let elapsed = clock::since(started);
            let record = self.cell_mut().sessions.last_mut().expect("was begun");
            record.warm_up_s = elapsed.as_secs_f64();
            let of = |arm: Arm| warm_up(record.warm_up_rows_per_s.of(arm), elapsed, &options);
            record.warm_up = WarmUp::of_both(of(Arm::Base), of(Arm::Head));
            if record.warm_up != WarmUp::GoOn {
                break;
            }
        }
        let last =
            |all: &Vec<f64>| median(&all[all.len().saturating_sub(options.warm_up_windows)..]);
        let slower = last(&operation_ns_p50.base).max(last(&operation_ns_p50.head));
        let timing = Timing::of(Duration::from_secs_f64(slower / 1e9), &options);
        // All blocks of a check are of one length.
        Ok(Some(*self.cell_mut().timing.get_or_insert(timing)))
    }

    /// Runs a pair. `None` if it was stopped, or an insert failed.
    async fn pair(
        &mut self,
        number: usize,
        first: Arm,
        timing: Timing,
        lanes: &mut Arms<Lane<O::Target>>,
    ) -> anyhow::Result<Option<Pair>> {
        let session = self.cell().sessions.len() - 1;
        let blocks = self.blocks(first, (timing, number as u64), lanes).await?;
        let Some(blocks) = blocks else { return Ok(None) };
        let name = self.cell().name.clone();
        let mut rows = Vec::new();
        for (arm, block) in &blocks {
            let mut row = row(block, timing);
            row.start_s =
                block.outcome.started.saturating_duration_since(self.created).as_secs_f64();
            (row.cell, row.session, row.pair) = (&name, session, number);
            (row.arm, row.is_first) = (*arm, *arm == first);
            self.directory.append(&row)?;
            let evidence = &mut self.cell_mut().evidence;
            *evidence.windows.of_mut(*arm) += row.windows;
            *evidence.windows_client_bound.of_mut(*arm) += row.windows_client_bound;
            rows.push((*arm, row.block()));
        }
        let of = |arm: Arm| rows.iter().find(|it| it.0 == arm).expect("both have run").1;
        Ok(Some(Pair { base: of(Arm::Base), head: of(Arm::Head) }))
    }

    /// Runs a block of each arm. `None` if it was stopped, or an insert failed.
    ///
    /// A table lives until its rows come to their end. Where that is in a block, both arms begin that
    /// block anew with the first row, on empty tables: a part of a block is not held against a whole
    /// one, nor a table that was just made against a full one. Tables in which that is to be expected
    /// are emptied before, so that it is not the fast blocks that are left out.
    async fn blocks(
        &mut self,
        first: Arm,
        (timing, number): (Timing, u64),
        lanes: &mut Arms<Lane<O::Target>>,
    ) -> anyhow::Result<Option<Vec<(Arm, lane::Block)>>> {
        let is_nearly_full = Arm::BOTH.into_iter().any(|arm| lanes.of(arm).is_nearly_full());
        if is_nearly_full && !self.renew(lanes).await? {
            return Ok(None);
        }
        let mut blocks = Vec::new();
        while blocks.len() < Arm::BOTH.len() {
            let arm = if blocks.is_empty() { first } else { first.other() };
            let lane = lanes.of_mut(arm);
            let was_empty = lane.is_empty();
            let block = lane.block(timing, number, &self.signals.stop).await;
            let is_full = lane.is_full();
            if !self.book(arm, &block.outcome)? {
                return Ok(None);
            }
            if !is_full {
                blocks.push((arm, block));
                continue;
            }
            if was_empty {
                return Err(self.too_few_rows(arm, timing, &block.outcome).into());
            }
            if !self.renew(lanes).await? {
                return Ok(None);
            }
            blocks.clear();
        }
        Ok(Some(blocks))
    }

    /// Says that the rows of an arm do not last for a block, and how many would.
    fn too_few_rows(&self, arm: Arm, timing: Timing, outcome: &BlockOutcome) -> UsageError {
        let (name, plan) = (arm.name(), &self.record.arms.of(arm).plan);
        let rows = plan.rows_max.unwrap_or_default();
        // As fast as until then; of a few operations that is a guess.
        let share = outcome.elapsed.as_secs_f64() / timing.block.as_secs_f64();
        let wanted = number(two_digits_above(rows as f64 / share.clamp(1e-4, 0.99)));
        let (what, remedy) = match &plan.csv {
            Some(csv) => (format!("{} has {rows} rows", csv.file), "add rows to it"),
            None => (
                format!("UNIQUE columns of the table have values for {rows} rows"),
                "give them a wider `range` in [[columns]]",
            ),
        };
        UsageError(format!(
            "{name}: {what}, and a block of {:?} takes about {wanted}; {remedy}, or make blocks shorter \
             (--block-min, --block-max and --guard-min; --warm-up-window)",
            timing.block
        ))
    }

    /// Takes in how a block ended. Returns whether its numbers count.
    fn book(&mut self, arm: Arm, outcome: &BlockOutcome) -> anyhow::Result<bool> {
        let measurement = &outcome.measurement;
        let cell = self.cell_mut();
        for (code, count) in &measurement.errors {
            *cell.errors.of_mut(arm).entry(code.clone()).or_default() += count;
        }
        // Attempts that were pushed back were made again, and are not lost.
        let all: u64 = measurement.errors.values().sum();
        let lost = all.saturating_sub(measurement.pushed_back);
        cell.evidence.insert_errors += lost;
        if let Some(error) = outcome.error.as_ref().filter(|_| cell.error.is_none()) {
            cell.error = Some(format!("{}: {error}", arm.name()));
        }
        if outcome.ended == Ended::Abandoned {
            anyhow::bail!("{}: operations in flight did not end, and were abandoned", arm.name());
        }
        Ok(lost == 0 && outcome.ended == Ended::Done)
    }

    /// Whether what was seen makes the numbers lie, however many more come.
    fn is_faulty(&self) -> bool {
        let evidence = &self.cell().evidence;
        0 < evidence.insert_errors + evidence.tables_wrong
    }

    /// Reads both tables back and empties them. Returns whether the session goes on.
    async fn renew(&mut self, lanes: &mut Arms<Lane<O::Target>>) -> anyhow::Result<bool> {
        self.read_back(lanes).await?;
        if self.is_faulty() || self.signals.stop.is_cancelled() {
            return Ok(false);
        }
        for arm in Arm::BOTH {
            let checkpoint = match arm {
                Arm::Base if self.open.is_one_server() => Checkpoint::WithTheOther,
                _ => Checkpoint::Now,
            };
            let lane = lanes.of_mut(arm);
            let renewed = tokio::select! {
                renewed = lane.renew(checkpoint) => Some(renewed),
                () = self.signals.stop.cancelled() => None,
            };
            match renewed {
                Some(renewed) => renewed.with_context(|| self.arm_words(arm))?,
                None => {
                    // Its CHECKPOINT may take minutes.
                    drop(clock::timeout(super::CLOSE_TIMEOUT, lane.target.cancel()).await);
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Compares both tables with what was inserted.
    async fn read_back(&mut self, lanes: &Arms<Lane<O::Target>>) -> anyhow::Result<()> {
        for arm in Arm::BOTH {
            let lane = lanes.of(arm);
            if !lane.has_rows() {
                continue;
            }
            let started = clock::now();
            let read = tokio::select! {
                read = lane.read_back() => read,
                // A server that stands still is not waited for.
                () = stopped_for(VERIFY_GRACE, &self.signals.stop) => {
                    drop(clock::timeout(super::CLOSE_TIMEOUT, lane.target.cancel()).await);
                    anyhow::bail!("{}: the table could not be read back in time", arm.name());
                }
            };
            let read = read.with_context(|| self.arm_words(arm))?;
            if let Some(fault) = lane.fault() {
                anyhow::bail!("{}: {fault}", arm.name());
            }
            let session = self.cell().sessions.len();
            let cell = self.cell_mut();
            cell.tables.tables += 1;
            cell.tables.seconds += clock::since(started).as_secs_f64();
            cell.tables.rows += read.rows_found;
            if let Some(complaint) = read.complaint() {
                cell.evidence.tables_wrong += 1;
                cell.tables
                    .problems
                    .push(format!("{}, session {session}: {complaint}", arm.name()));
            }
        }
        Ok(())
    }

    /// Says anew what follows, and puts it on disk.
    pub(super) fn write(&mut self) -> anyhow::Result<()> {
        let options = self.record.options.clone();
        if let Some(cell) = self.record.cells.last_mut() {
            cell.judge(&options);
        }
        Ok(self.directory.write(&self.record)?)
    }
}

/// The next number above that has two digits which mean something.
fn two_digits_above(value: f64) -> f64 {
    let step = 10_f64.powf(value.log10().floor() - 1.0).max(1.0);
    (value / step).ceil() * step
}

/// What a block of a pair measured; where it belongs is for the caller to say.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, rounded")]
fn row(block: &lane::Block, timing: Timing) -> PairRow<'static> {
    let measurement = &block.outcome.measurement;
    let kept = measurement.kept.as_ref().expect("blocks of a check keep a part");
    let quantile = |quantile: f64| kept.histograms.of(Kind::Service).value_at_quantile(quantile);
    let seconds = timing.kept().as_secs_f64();
    PairRow {
        cell: "",
        session: 0,
        pair: 0,
        arm: Arm::Base,
        is_first: false,
        start_s: 0.0,
        rows: kept.rows.round() as u64,
        seconds,
        rows_per_s: kept.rows / seconds,
        service_ns_p50: quantile(0.5),
        service_ns_p95: quantile(0.95),
        service_ns_p99: quantile(0.99),
        service_ns_max: kept.histograms.of(Kind::Service).max(),
        steal: block.steal,
        windows: measurement.windows,
        windows_client_bound: measurement.windows_client_bound,
    }
}
