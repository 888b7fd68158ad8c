//! What a simulated server can do at a setting: latency and rows a second, without noise.
//!
//! A closed queueing network, approximated: each operation waits (round trip, group commit), wants
//! CPU of several cores under contention (the universal scalability law of Gunther), and its share
//! of one serial log. The rate is a soft minimum of the three limits. A smooth random field and
//! cliffs are laid over it, so that no model of this form fits exactly.
//!
//! **Invariant:** pure: truth is a function of the surface and the setting.

use serde::{Deserialize, Serialize};

use super::Chance;

/// Power of the soft minimum: the larger, the sharper the knee.
const SOFTNESS: i32 = 4;
/// Steepness of a cliff: it lies within about half an octave.
const CLIFF_STEEPNESS: f64 = 6.0;
/// 99th percentile of the normal distribution.
const NORMAL_P99: f64 = 2.326;
/// Waves of the misfit field.
const WAVES: usize = 12;

/// Costs rise by `factor` from somewhat below `at` to somewhat above it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Cliff {
    /// Where, in rows or workers.
    pub at: f64,
    /// By how much; 1 is no cliff.
    pub factor: f64,
}

impl Cliff {
    fn factor_at(self, place: f64) -> f64 {
        let octaves = (place / self.at).log2();
        1.0 + (self.factor - 1.0) / (1.0 + (-CLIFF_STEEPNESS * octaves).exp())
    }
}

/// A sum of cosine waves over the plane of log2 batch rows and log2 workers.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Misfit {
    waves: Vec<Wave>,
    amplitude: f64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
struct Wave {
    per_batch_octave: f64,
    per_worker_octave: f64,
    phase: f64,
}

impl Misfit {
    /// Draws a field whose logarithm has this standard deviation.
    pub fn draw(chance: &mut Chance, deviation: f64) -> Misfit {
        let wave = |_| Wave {
            per_batch_octave: chance.normal() / 4.0,
            per_worker_octave: chance.normal() / 2.5,
            phase: chance.uniform(0.0, std::f64::consts::TAU),
        };
        let waves = (0..WAVES).map(wave).collect();
        Misfit { waves, amplitude: deviation * (2.0 / WAVES as f64).sqrt() }
    }

    /// No misfit.
    pub fn none() -> Misfit {
        Misfit { waves: Vec::new(), amplitude: 0.0 }
    }

    fn at(&self, batch_octaves: f64, worker_octaves: f64) -> f64 {
        let phase = |wave: &Wave| {
            batch_octaves * wave.per_batch_octave
                + worker_octaves * wave.per_worker_octave
                + wave.phase
        };
        self.amplitude * self.waves.iter().map(|wave| phase(wave).cos()).sum::<f64>()
    }
}

/// A server, its network and its storage.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Surface {
    /// Cores of the server; a share of one is possible.
    pub cores: f64,
    /// Round trip.
    pub round_trip_s: f64,
    /// Making a commit durable; half as much again with several workers, who wait for a group.
    pub fsync_s: f64,
    /// CPU time of an operation, whatever it carries.
    pub operation_cpu_s: f64,
    /// CPU time of a row.
    pub row_cpu_s: f64,
    /// Batch rows at which a row costs half as much again.
    pub row_knee: f64,
    /// Contention: what each further worker adds to the CPU time of all.
    pub contention: f64,
    /// Coherence: what each pair of workers adds.
    pub coherence: f64,
    /// Serial time that a row needs of the log.
    pub row_log_s: f64,
    /// A cliff in the cost of a row, by batch rows.
    pub batch_cliff: Option<Cliff>,
    /// A lock convoy: a cliff in all CPU time, by workers.
    pub worker_cliff: Option<Cliff>,
    /// Standard deviation of the logarithm of an operation's latency.
    pub tail: f64,
    /// What no model of this form explains.
    pub misfit: Misfit,
}

/// What is different from some moment on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// A new round trip.
    pub round_trip_s: Option<f64>,
    /// Factor on CPU and log time of a row.
    pub row_cost: f64,
    /// Divisor of the cores.
    pub cores_divisor: f64,
    /// Factor on coherence.
    pub coherence: f64,
}

impl Change {
    /// Nothing changes.
    pub const NONE: Change =
        Change { round_trip_s: None, row_cost: 1.0, cores_divisor: 1.0, coherence: 1.0 };
}

impl Surface {
    /// Returns the surface after a change.
    pub fn changed(&self, change: Change) -> Surface {
        Surface {
            round_trip_s: change.round_trip_s.unwrap_or(self.round_trip_s),
            row_cpu_s: self.row_cpu_s * change.row_cost,
            row_log_s: self.row_log_s * change.row_cost,
            cores: self.cores / change.cores_divisor,
            coherence: self.coherence * change.coherence,
            ..self.clone()
        }
    }

    /// Mean latency of an operation, its own commit included, in seconds.
    pub fn latency_s(&self, batch_rows: u64, workers: u32) -> f64 {
        self.latency_waiting_s(batch_rows, workers, self.round_trip_s + self.commit_s(workers))
    }

    /// The same for an operation in a transaction that goes on.
    pub fn latency_uncommitted_s(&self, batch_rows: u64, workers: u32) -> f64 {
        self.latency_waiting_s(batch_rows, workers, self.round_trip_s)
    }

    /// What making a commit durable takes.
    pub fn commit_s(&self, workers: u32) -> f64 {
        self.fsync_s * if 1 < workers { 1.5 } else { 1.0 }
    }

    fn latency_waiting_s(&self, batch_rows: u64, workers: u32, wait_s: f64) -> f64 {
        let rows = batch_rows as f64;
        let workers = f64::from(workers);
        let mut row_cpu_s = self.row_cpu_s * (1.0 + 0.5 * (rows / self.row_knee).powf(1.3));
        row_cpu_s *= self.batch_cliff.map_or(1.0, |it| it.factor_at(rows));
        let others = workers - 1.0;
        let mut stretch = 1.0 + self.contention * others + self.coherence * workers * others;
        stretch *= self.worker_cliff.map_or(1.0, |it| it.factor_at(workers));

        let cpu_s = (self.operation_cpu_s + row_cpu_s * rows) * stretch;
        // Each limit as seconds an operation; powers of them are added, so that none is infinite.
        let limits = [(wait_s + cpu_s) / workers, cpu_s / self.cores, self.row_log_s * rows];
        let sum: f64 = limits.iter().map(|it| it.powi(SOFTNESS)).sum();
        let seconds_an_operation = sum.powf(1.0 / f64::from(SOFTNESS));
        workers * seconds_an_operation * (-self.misfit.at(rows.log2(), workers.log2())).exp()
    }

    /// Rows a second.
    pub fn rows_per_s(&self, batch_rows: u64, workers: u32) -> f64 {
        batch_rows as f64 * f64::from(workers) / self.latency_s(batch_rows, workers)
    }

    /// 99th percentile of the latency of an operation, in seconds.
    pub fn p99_s(&self, batch_rows: u64, workers: u32) -> f64 {
        self.latency_s(batch_rows, workers) * self.tail_factor()
    }

    /// The 99th percentile as a multiple of the mean: latencies are drawn log-normal around a median
    /// that lies `tail`²/2 below the logarithm of the mean.
    pub fn tail_factor(&self) -> f64 {
        (NORMAL_P99 * self.tail - 0.5 * self.tail * self.tail).exp()
    }

    /// Finds the best of a grid by trying all of it: (batch rows, workers, rows a second). With a
    /// limit, the best of those whose p99 keeps it; `None` if none does.
    pub fn best(
        &self,
        batches: &[u64],
        workers: &[u32],
        p99_limit_s: Option<f64>,
    ) -> Option<(u64, u32, f64)> {
        let grid = batches.iter().flat_map(|b| workers.iter().map(move |w| (*b, *w)));
        grid.filter(|(b, w)| p99_limit_s.is_none_or(|limit| self.p99_s(*b, *w) <= limit))
            .map(|(b, w)| (b, w, self.rows_per_s(b, w)))
            .max_by(|a, b| a.2.total_cmp(&b.2))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A surface without chance: 4 cores, 1 ms round trip, 1 ms commit, 10 µs a row.
    pub(crate) fn plain() -> Surface {
        Surface {
            cores: 4.0,
            round_trip_s: 1e-3,
            fsync_s: 1e-3,
            operation_cpu_s: 100e-6,
            row_cpu_s: 10e-6,
            row_knee: 1e9,
            contention: 0.0,
            coherence: 0.0,
            row_log_s: 1e-9,
            batch_cliff: None,
            worker_cliff: None,
            tail: 0.3,
            misfit: Misfit::none(),
        }
    }

    #[track_caller]
    fn assert_close(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-3 * b.abs(), "{a} is not {b}");
    }

    /// By hand: one worker waits 2 ms and computes 0.1 ms + 100 rows x 10 µs; the CPU limit of
    /// 1.1 ms / 4 adds a soft share of (0.275/3.1)^4 / 4.
    #[test]
    fn one_worker_waits_and_computes() {
        assert_close(plain().latency_s(100, 1), 3.1e-3);
    }

    /// By hand: 64 workers keep 4 cores busy, so that an operation is done each 1.1 ms / 4.
    #[test]
    fn many_workers_are_held_by_the_cores() {
        assert_close(plain().rows_per_s(100, 64), 4.0 * 100.0 / 1.1e-3);
    }

    #[test]
    fn a_serial_log_holds_all() {
        let surface = Surface { row_log_s: 1e-3, ..plain() };
        assert_close(surface.rows_per_s(1_000, 64), 1_000.0);
    }

    #[test]
    fn a_cliff_is_crossed_within_an_octave() {
        let cliff = Cliff { at: 1_000.0, factor: 2.0 };
        assert_close(cliff.factor_at(500.0), 1.0025);
        assert_close(cliff.factor_at(1_000.0), 1.5);
        assert_close(cliff.factor_at(2_000.0), 1.9975);
    }

    #[test]
    fn a_limit_moves_the_best() {
        let (batches, workers) = ([1, 10, 100, 1_000, 10_000], [1, 4, 16]);
        let (batch_rows, _, free) = plain().best(&batches, &workers, None).unwrap();
        assert_eq!(batch_rows, 10_000);
        let (batch_rows, count, held) = plain().best(&batches, &workers, Some(0.01)).unwrap();
        assert!(plain().p99_s(batch_rows, count) <= 0.01);
        assert!(held < free);
        assert_eq!(plain().best(&batches, &workers, Some(1e-6)), None);
    }

    #[test]
    fn a_change_is_a_surface_of_its_own() {
        let change = Change { round_trip_s: Some(0.1), cores_divisor: 4.0, ..Change::NONE };
        let after = plain().changed(change);
        assert_close(after.round_trip_s, 0.1);
        assert_close(after.cores, 1.0);
        assert_eq!(plain().changed(Change::NONE), plain());
    }

    #[test]
    fn the_misfit_has_the_deviation_asked_for() {
        let mut squares = 0.0;
        for seed in 0..200 {
            let field = Misfit::draw(&mut Chance::new(seed, 0), 0.03);
            squares += field.at(7.0, 3.0).powi(2) / 200.0;
        }
        assert!((squares.sqrt() - 0.03).abs() < 0.005, "{}", squares.sqrt());
    }
}
