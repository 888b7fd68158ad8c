//! What a window says about its setting, if it says anything.

use super::Setting;
use crate::measure::WindowSummary;

/// A window that a controller may learn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// End of the window, from the block's start, in seconds.
    pub at_s: f64,
    /// Length in seconds.
    pub length_s: f64,
    /// The setting that was measured.
    pub setting: Setting,
    /// Operations that ended.
    pub operations: u64,
    /// Rows a second.
    pub rows_per_s: f64,
    /// Its natural logarithm: a ratio is a difference, and noise is alike at all settings.
    pub log_rate: f64,
    /// Mean service latency in seconds.
    pub latency_s: f64,
    /// Variance of the service latency, as a share of the square of its mean.
    pub relative_variance: f64,
    /// 99th percentile of the service latency in seconds.
    pub p99_s: f64,
    /// Variance of the log rate that comes from counting: a window holds few operations, and cuts
    /// some in two.
    pub counting_variance: f64,
    /// Whether the server said that a checkpoint began, or that autovacuum was at work: it was slower
    /// for it, and will not stay so.
    pub is_server_busy: bool,
}

/// Why a window says nothing about its setting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flaw {
    /// Operations of an earlier setting ended in it.
    Mixed,
    /// The server pushed back: what it would do with less is unknown.
    PushedBack,
    /// Operations ended otherwise.
    Errors,
    /// No operation ended.
    Empty,
    /// The client was the limit, not the server.
    ClientBound,
}

impl Flaw {
    /// The flaw in words, for a decision's reason.
    pub fn words(self) -> &'static str {
        match self {
            Flaw::Mixed => "the window mixes settings",
            Flaw::PushedBack => "the server pushed back",
            Flaw::Errors => "operations ended in errors",
            Flaw::Empty => "no operation ended",
            Flaw::ClientBound => "the client was the limit",
        }
    }
}

impl Evidence {
    /// Reads a window. What outweighs the rest is named first: a window that mixes settings may
    /// hold the errors of either.
    pub fn of(window: &WindowSummary) -> Result<Evidence, Flaw> {
        let rows_per_s = window.rows_per_s();
        let flaw = match () {
            () if window.mixed => Some(Flaw::Mixed),
            () if 0 < window.pushed_back => Some(Flaw::PushedBack),
            () if 0 < window.errors => Some(Flaw::Errors),
            () if window.operations == 0 || rows_per_s <= 0.0 => Some(Flaw::Empty),
            () if window.client_bound => Some(Flaw::ClientBound),
            () => None,
        };
        if let Some(flaw) = flaw {
            return Err(flaw);
        }
        let mean_ns = window.service_ns_mean;
        let relative_variance =
            if 0.0 < mean_ns { window.service_ns2_variance / (mean_ns * mean_ns) } else { 0.0 };
        Ok(Evidence {
            at_s: (window.start + window.length).as_secs_f64(),
            length_s: window.length.as_secs_f64(),
            setting: Setting { batch_rows: window.batch_rows, workers: window.workers },
            operations: window.operations,
            rows_per_s,
            log_rate: rows_per_s.ln(),
            latency_s: mean_ns * 1e-9,
            relative_variance,
            p99_s: window.service_ns_p99 as f64 * 1e-9,
            counting_variance: counting_variance(window, relative_variance),
            is_server_busy: window
                .activity
                .is_some_and(|it| 0 < it.checkpoints + it.autovacuum_workers),
        })
    }
}

/// Variance of the count of a window, as a share of its square. Each worker is a renewal process:
/// its count varies with the latency (Cox, "Renewal theory", 1962, section 4.5, of many operations a
/// worker), and the operations that its ends cut are told by the mean latency: the part `u` of one, by
/// `u²` of the latency's variance, a third of it on average, at both ends.
fn counting_variance(window: &WindowSummary, relative_variance: f64) -> f64 {
    if window.operations < 2 {
        return 1.0;
    }
    let operations = window.operations as f64;
    // That of few is told too small.
    let relative_variance = relative_variance * operations / (operations - 1.0);
    let edges = f64::from(window.workers) * 2.0 / 3.0;
    (relative_variance * (operations + edges) / (operations * operations)).min(1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Activity;

    fn window() -> WindowSummary {
        WindowSummary {
            start: Duration::from_secs(2),
            length: Duration::from_millis(500),
            operations: 10,
            rows: 1_000,
            rows_within: 1_000.0,
            ..WindowSummary::default()
        }
    }

    #[test]
    fn a_clean_window_is_evidence() {
        let evidence = Evidence::of(&window()).unwrap();
        assert!((evidence.at_s - 2.5).abs() < 1e-9);
        assert!((evidence.log_rate - 2_000_f64.ln()).abs() < 1e-9);
        let window = WindowSummary { workers: 6, service_ns_mean: 10.0, ..window() };
        let evidence =
            Evidence::of(&WindowSummary { service_ns2_variance: 30.0, ..window }).unwrap();
        assert!((evidence.relative_variance - 0.3).abs() < 1e-9);
        assert!(
            (evidence.counting_variance - 0.042 * 10.0 / 9.0).abs() < 1e-9,
            "0.3 x 10/9 x (10 + 6 x 2/3) / 10²"
        );
        let one = Evidence::of(&WindowSummary { operations: 1, ..window }).unwrap();
        assert!((one.counting_variance - 1.0).abs() < 1e-9, "one operation says little");
    }

    #[test]
    fn a_server_says_when_it_is_busy() {
        let after = |checkpoints, autovacuum_workers| {
            let activity = Some(Activity { wal_bytes: 1, checkpoints, autovacuum_workers });
            Evidence::of(&WindowSummary { activity, ..window() }).unwrap().is_server_busy
        };
        assert_eq!([after(0, 0), after(1, 0), after(0, 2)], [false, true, true]);
        assert!(!Evidence::of(&window()).unwrap().is_server_busy, "it could not be asked");
    }

    #[test]
    fn a_flawed_window_is_not() {
        let base = window();
        let rows = [
            (WindowSummary { mixed: true, errors: 1, ..base }, Flaw::Mixed),
            (WindowSummary { pushed_back: 1, ..base }, Flaw::PushedBack),
            (WindowSummary { errors: 1, ..base }, Flaw::Errors),
            (WindowSummary { operations: 0, rows_within: 0.0, ..base }, Flaw::Empty),
            (WindowSummary { length: Duration::ZERO, ..base }, Flaw::Empty),
            (WindowSummary { client_bound: true, ..base }, Flaw::ClientBound),
        ];
        for (window, flaw) in rows {
            assert_eq!(Evidence::of(&window), Err(flaw));
        }
    }
}
