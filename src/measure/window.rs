//! One window, summed up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the server did in a window, from its own counters.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Activity {
    /// WAL written, in bytes; of the whole server, not of this run alone.
    pub wal_bytes: u64,
    /// Checkpoints that began.
    pub checkpoints: u64,
    /// Autovacuum workers seen at the window's end.
    pub autovacuum_workers: u64,
}

/// Everything that a controller may know about a window, and a row of `windows.csv`.
///
/// Latencies are in nanoseconds; percentiles are of the operations that ended in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WindowSummary {
    /// Number of the window in its block, from 0.
    pub index: u64,
    /// Start, from the block's start.
    pub start: Duration,
    /// Length; the last window of a block may be shorter.
    pub length: Duration,
    /// Setting in force at the window's end.
    pub epoch: u64,
    /// Whether operations of an earlier epoch ended in it, or the setting changed, or sessions or
    /// statements were made for it: such a window says nothing about either setting.
    pub mixed: bool,
    /// Rows an operation carries, as set at the window's end.
    pub batch_rows: u64,
    /// Workers, as set at the window's end.
    pub workers: u32,
    /// Operations that ended well.
    pub operations: u64,
    /// Their rows.
    pub rows: u64,
    /// Rows that the server did in the window: of an operation that began before it, or that goes on
    /// after it, the part that its time in the window is of all its time. Counted whole as they end, a
    /// few long operations that all began with the window would lose as many as there are workers at
    /// its end: 8 of 200 ms in 250 ms are 10 and look like 8. The part of one that goes on is told by those
    /// that ended, and stays credited should it fail. A window that mixes settings gets nothing of what
    /// goes on after it, and one in which no operation ended gets nothing: an operation that it lies
    /// within goes to the window in which it ends.
    pub rows_within: f64,
    /// Attempts that the server pushed back.
    pub pushed_back: u64,
    /// Operations that ended otherwise: in doubt, rejected, failed; and attempts that found no server.
    pub errors: u64,
    /// Mean service latency.
    pub service_ns_mean: f64,
    /// Variance of the service latency, in ns².
    pub service_ns2_variance: f64,
    /// Median service latency.
    pub service_ns_p50: u64,
    /// 99th percentile of the service latency.
    pub service_ns_p99: u64,
    /// Longest service latency.
    pub service_ns_max: u64,
    /// Median response latency.
    pub response_ns_p50: u64,
    /// 99th percentile of the response latency.
    pub response_ns_p99: u64,
    /// Longest response latency.
    pub response_ns_max: u64,
    /// Mean wait for a session.
    pub pool_wait_ns_mean: f64,
    /// Operations due and not started at the window's end; 0 in a closed loop.
    pub backlog: u64,
    /// CPU time of this process, all threads.
    pub client_cpu: Duration,
    /// Time that workers waited for rows to be built, added over workers.
    pub rows_wait: Duration,
    /// Whether the client, not the server, was the limit.
    pub client_bound: bool,
    /// What the server did, if it could be asked.
    pub activity: Option<Activity>,
}

impl WindowSummary {
    /// Returns rows a second by [`WindowSummary::rows_within`], or 0 for a window of no length.
    pub fn rows_per_s(&self) -> f64 {
        let seconds = self.length.as_secs_f64();
        if 0.0 < seconds { self.rows_within / seconds } else { 0.0 }
    }
}
