//! An arm in a session: its sessions, kept open, and what its table must hold.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    clock::{self, Time},
    engine::{self, BlockOutcome, BlockSpec, Stint},
    gate::Timing,
    measure::Span,
    plan::{CellPlan, Stop},
    record::SystemTime,
    rows::{RowSet, Verification},
    target::{Pool as _, Target, TargetError},
};

/// An arm in a session.
#[derive(Debug)]
pub(super) struct Lane<T: Target> {
    pub(super) target: T,
    pool: Arc<T::Pool>,
    cell: CellPlan,
    settings: LaneSettings,
    /// The index of the first row that is not in the table.
    next_row: u64,
    confirmed: RowSet,
    in_doubt: RowSet,
    /// Most rows of a block so far.
    block_rows_max: u64,
}

/// What all blocks of a lane have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneSettings {
    /// Seed of the rows.
    pub(super) seed: u64,
    pub(super) window: Duration,
    pub(super) client_threads: u32,
    /// Most rows that the table takes, where UNIQUE columns have values for no more.
    pub(super) rows_max: Option<u64>,
    pub(super) time: Time,
}

/// When a table's server is to write what is only in memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Checkpoint {
    /// When the table is empty.
    Now,
    /// When that of the other arm, on the same server, is empty too: what that holds now need not be
    /// written.
    WithTheOther,
}

/// What came of a block, and the share of CPU time that the hypervisor took meanwhile.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) outcome: BlockOutcome,
    pub(super) steal: f64,
}

impl<T: Target> Lane<T> {
    /// Takes a target whose table is empty, and sessions to it.
    pub(super) fn new(
        (target, pool): (T, T::Pool),
        cell: CellPlan,
        settings: LaneSettings,
    ) -> Lane<T> {
        Lane {
            target,
            pool: Arc::new(pool),
            cell,
            settings,
            next_row: 0,
            confirmed: RowSet::default(),
            in_doubt: RowSet::default(),
            block_rows_max: 0,
        }
    }

    /// Runs one block on what the table holds already. `number` tells arrivals and pauses of blocks
    /// apart.
    pub(super) async fn block(
        &mut self,
        timing: Timing,
        number: u64,
        stop: &CancellationToken,
    ) -> Block {
        let LaneSettings { seed, window, client_threads, rows_max, time } = self.settings;
        let rows = rows_max.map(|most| most - self.next_row);
        let stop_rule = Stop { rows, seconds: Some(timing.block.as_secs_f64()) };
        let cell = CellPlan { stop: stop_rule, ..self.cell.clone() };
        let generator = &self.target.generator(seed);
        let seed = seed ^ number.rotate_left(32);
        let spec = BlockSpec { cell: &cell, seed, window, client_threads, generator, time };
        let span = Span { from: timing.guard, to: timing.block };
        let stint = Stint { pool: &self.pool, first_row: self.next_row, span };
        let before = system_time(time);
        let outcome = engine::run_stint(&self.target, spec, stint, stop).await;
        let steal = before.zip(system_time(time)).map(|(before, now)| now.steal_since(before));
        self.confirmed.extend(&outcome.confirmed);
        self.in_doubt.extend(&outcome.in_doubt);
        let rows = outcome.confirmed.row_count() + outcome.in_doubt.row_count();
        self.next_row += rows + outcome.rows_failed;
        self.block_rows_max = self.block_rows_max.max(rows);
        Block { outcome, steal: steal.unwrap_or(0.0) }
    }

    /// Whether the table may not take another block's rows, and would if it were empty.
    pub(super) fn is_nearly_full(&self) -> bool {
        let wanted = self.next_row + 2 * self.block_rows_max;
        !self.is_empty() && self.settings.rows_max.is_some_and(|most| most < wanted)
    }

    /// Whether the next row is the first one.
    pub(super) fn is_empty(&self) -> bool {
        self.next_row == 0
    }

    /// Whether no row is left.
    pub(super) fn is_full(&self) -> bool {
        self.settings.rows_max == Some(self.next_row)
    }

    /// Compares the table, row by row, with what was inserted since it was empty.
    pub(super) async fn read_back(&self) -> Result<Verification, TargetError> {
        let generator = self.target.generator(self.settings.seed);
        self.target.verify(generator, self.confirmed.clone(), self.in_doubt.clone()).await
    }

    /// Says what is wrong with the rows' own file since the check began, if anything is.
    pub(super) fn fault(&self) -> Option<String> {
        self.target.generator(self.settings.seed).fault()
    }

    /// Whether there is anything to read back.
    pub(super) fn has_rows(&self) -> bool {
        !self.confirmed.is_empty() || !self.in_doubt.is_empty()
    }

    /// Empties the table; its sessions stay open.
    pub(super) async fn renew(&mut self, checkpoint: Checkpoint) -> Result<(), TargetError> {
        match checkpoint {
            Checkpoint::Now => self.target.reset_table().await?,
            Checkpoint::WithTheOther => self.target.empty_table().await?,
        }
        self.next_row = 0;
        (self.confirmed, self.in_doubt) = (RowSet::default(), RowSet::default());
        Ok(())
    }

    /// Closes the sessions and leaves nothing behind on the server, if it answers in time.
    pub(super) async fn close(self, limit: Duration) -> Result<(), TargetError> {
        let close = async {
            // No block is under way, so that nobody else has a share.
            if let Some(pool) = Arc::into_inner(self.pool) {
                pool.close().await;
            }
            self.target.close().await
        };
        within(limit, close).await
    }
}

/// Leaves nothing behind on the server of a target without sessions, if it answers in time.
pub(super) async fn close(target: impl Target, limit: Duration) -> Result<(), TargetError> {
    within(limit, target.close()).await
}

async fn within(
    limit: Duration,
    close: impl Future<Output = Result<(), TargetError>>,
) -> Result<(), TargetError> {
    clock::timeout(limit, close).await.unwrap_or_else(|_| {
        let message = "the schema is left behind: the server does not answer".into();
        Err(TargetError::Failed { message, sqlstate: None })
    })
}

/// In virtual time nobody else is there.
fn system_time(time: Time) -> Option<SystemTime> {
    if time == Time::Real { SystemTime::now() } else { None }
}
