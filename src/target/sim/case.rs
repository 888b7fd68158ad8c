//! Surfaces and their bad days, drawn from a seed and a family.

use serde::{Deserialize, Serialize};

use super::{Chance, Change, Cliff, Climate, Dips, Errors, Misfit, Surface, Weather};

/// Numbers drawn for the server and for the weather do not depend on each other.
const STREAM_SERVER: u64 = 1;
const STREAM_WEATHER: u64 = 2;
/// The weather goes on for a while after the horizon: the last window may end later.
const AFTER_HORIZON_S: f64 = 120.0;
/// A limit is at least this many times the p99 that the worse server can keep.
const LIMIT_SLACK: f64 = 1.25;
/// Distance of the seeds of blocks, so that those of neighbouring servers do not meet.
const SEEDS_APART: u64 = 1_000_003;

/// What kind of server, and what happens to it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// 5 % noise, no stalls.
    Quiet,
    /// 10 % noise, a stall of 5 s every 25 to 35 s; so have all families below.
    Mid,
    /// 15 % noise.
    Noisy,
    /// Cliffs in both directions, 7 % misfit.
    Weird,
    /// Noise with a memory of 5 s instead of 0.5 s.
    SlowNoise,
    /// The capacity falls to a quarter over the whole time.
    Drift,
    /// The round trip goes from 0.1 to 2 ms at half time.
    RoundTrip,
    /// The round trip goes from 0.1 to 10 ms at half time.
    RoundTripFar,
    /// Three quarters of the cores are lost at half time.
    Cores,
    /// A row costs three times as much from half time on.
    Slow,
    /// A limit on p99.
    Limit,
    /// A limit on p99, and a row costs three times as much from half time on.
    LimitSlow,
    /// A limit on p99, and the round trip goes from 0.1 to 2 ms at half time.
    LimitRoundTrip,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 13] = [
        Family::Quiet,
        Family::Mid,
        Family::Noisy,
        Family::Weird,
        Family::SlowNoise,
        Family::Drift,
        Family::RoundTrip,
        Family::RoundTripFar,
        Family::Cores,
        Family::Slow,
        Family::Limit,
        Family::LimitSlow,
        Family::LimitRoundTrip,
    ];

    /// The name in flags and tables.
    pub fn name(self) -> &'static str {
        match self {
            Family::Quiet => "quiet",
            Family::Mid => "mid",
            Family::Noisy => "noisy",
            Family::Weird => "weird",
            Family::SlowNoise => "slow_noise",
            Family::Drift => "drift",
            Family::RoundTrip => "round_trip",
            Family::RoundTripFar => "round_trip_far",
            Family::Cores => "cores",
            Family::Slow => "slow",
            Family::Limit => "limit",
            Family::LimitSlow => "limit_slow",
            Family::LimitRoundTrip => "limit_round_trip",
        }
    }

    /// What the weather is like there.
    pub fn climate(self) -> Climate {
        let noise = match self {
            Family::Quiet => 0.05,
            Family::Noisy => 0.15,
            _ => 0.10,
        };
        let memory_s = if self == Family::SlowNoise { 5.0 } else { 0.5 };
        let stalls = (self != Family::Quiet).then_some(Dips::STALLS);
        Climate { noise, memory_s, stalls, ..Climate::CALM }
    }

    /// What happens to the server.
    pub fn change(self) -> Change {
        let fewer_cores = Change { cores_divisor: 4.0, coherence: 10.0, ..Change::NONE };
        match self {
            Family::RoundTrip | Family::LimitRoundTrip => {
                Change { round_trip_s: Some(2e-3), ..Change::NONE }
            }
            Family::RoundTripFar => Change { round_trip_s: Some(10e-3), ..Change::NONE },
            Family::Slow | Family::LimitSlow => Change { row_cost: 3.0, ..Change::NONE },
            Family::Cores | Family::Drift => fewer_cores,
            _ => Change::NONE,
        }
    }

    fn starts_near(self) -> bool {
        matches!(self, Family::RoundTrip | Family::RoundTripFar | Family::LimitRoundTrip)
    }

    fn has_limit(self) -> bool {
        matches!(self, Family::Limit | Family::LimitSlow | Family::LimitRoundTrip)
    }
}

/// How the server gets from the first surface to the second.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Course {
    /// It does not.
    Steady,
    /// At once.
    At {
        /// Seconds from the start.
        s: f64,
    },
    /// Evenly, on the log scale, over the whole time.
    Drift,
}

/// A simulated server as it is described: all that a run on it depends on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SimSettings {
    /// Seed of the weather, of latencies and of errors.
    pub seed: u64,
    /// As it is at first.
    pub before: Surface,
    /// As it is after the change; the same where there is none.
    pub after: Surface,
    /// How it changes.
    pub course: Course,
    /// First and last of the blocks in which it is changed from their start, and not in others; in
    /// place of the course.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_blocks: Option<(u64, u64)>,
    /// How long a drift takes, and how long a controller is watched, in seconds.
    pub horizon_s: f64,
    /// Most that p99 may be, for those who want the best within it.
    pub p99_limit_s: Option<f64>,
    /// What the weather is like.
    pub climate: Climate,
    /// What goes wrong.
    pub errors: Errors,
}

impl SimSettings {
    /// Draws a server of a family. A limit is put between the lowest and the best setting of the
    /// grid.
    pub fn draw(
        family: Family,
        seed: u64,
        horizon_s: f64,
        batches: &[u64],
        workers: &[u32],
    ) -> SimSettings {
        let chance = &mut Chance::new(seed, STREAM_SERVER);
        let mut before = draw_surface(chance, family == Family::Weird);
        if family.starts_near() {
            before.round_trip_s = 0.1e-3;
        }
        let after = before.changed(family.change());
        let share = chance.uniform(0.3, 0.8);
        let p99_limit_s =
            family.has_limit().then(|| limit_s([&before, &after], share, batches, workers));
        let course = match family {
            Family::Drift => Course::Drift,
            _ if after == before => Course::Steady,
            _ => Course::At { s: horizon_s / 2.0 },
        };
        let (climate, errors) = (family.climate(), Errors::NONE);
        SimSettings {
            seed,
            before,
            after,
            course,
            changed_blocks: None,
            horizon_s,
            p99_limit_s,
            climate,
            errors,
        }
    }

    /// Returns what happens in a block: every one begins at second 0, in weather of its own.
    pub fn case(&self, block: u64) -> Case {
        let seed = self.seed.wrapping_add(block.wrapping_mul(SEEDS_APART));
        let length_s = self.horizon_s + AFTER_HORIZON_S;
        let chance = &mut Chance::new(seed, STREAM_WEATHER);
        let course = match self.changed_blocks {
            Some((first, last)) if (first..=last).contains(&block) => Course::At { s: 0.0 },
            Some(_) => Course::Steady,
            None => self.course,
        };
        Case {
            before: self.before.clone(),
            after: self.after.clone(),
            course,
            horizon_s: self.horizon_s,
            p99_limit_s: self.p99_limit_s,
            weather: Weather::draw(chance, length_s, &self.climate),
        }
    }
}

/// One simulated server over time, and what is asked of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// As it is at first.
    pub before: Surface,
    /// As it is after the change; the same where there is none.
    pub after: Surface,
    /// How it changes.
    pub course: Course,
    /// How long it is looked at.
    pub horizon_s: f64,
    /// Most that p99 may be.
    pub p99_limit_s: Option<f64>,
    /// Noise and stalls.
    pub weather: Weather,
}

impl Case {
    /// How much of the change has happened, from 0 to 1.
    pub fn progress(&self, at_s: f64) -> f64 {
        match self.course {
            Course::Steady => 0.0,
            Course::At { s } => f64::from(u8::from(s <= at_s)),
            Course::Drift => (at_s / self.horizon_s).clamp(0.0, 1.0),
        }
    }

    /// Mean latency of an operation at a moment, without noise.
    pub fn latency_s(&self, at_s: f64, batch_rows: u64, workers: u32) -> f64 {
        self.between(at_s, |surface| surface.latency_s(batch_rows, workers))
    }

    /// What a positive number of both surfaces is at a moment.
    pub(super) fn between(&self, at_s: f64, of: impl Fn(&Surface) -> f64) -> f64 {
        let share = self.progress(at_s);
        let before = of(&self.before);
        if share <= 0.0 {
            return before;
        }
        before.powf(1.0 - share) * of(&self.after).powf(share)
    }
}

/// A binding limit that some setting can keep, before and after a change: a share of the p99 at the
/// best setting, and at least 2.5 times the lowest p99 there is.
fn limit_s(surfaces: [&Surface; 2], share: f64, batches: &[u64], workers: &[u32]) -> f64 {
    let [before, after] = surfaces;
    let (rows, count, _) = before.best(batches, workers, None).expect("the grid is not empty");
    let lowest = |surface: &Surface| {
        let grid = batches.iter().flat_map(|b| workers.iter().map(move |w| (*b, *w)));
        grid.map(|(b, w)| surface.p99_s(b, w)).fold(f64::INFINITY, f64::min)
    };
    let (lowest_before, lowest_after) = (lowest(before), lowest(after));
    (share * before.p99_s(rows, count))
        .max(2.5 * lowest_before.min(lowest_after))
        .max(LIMIT_SLACK * lowest_before.max(lowest_after))
}

fn draw_surface(chance: &mut Chance, is_weird: bool) -> Surface {
    let cores = [2.0, 3.0, 4.0, 6.0, 8.0][chance.index(5)];
    let round_trip_s = chance.log_uniform(0.05e-3, 20e-3);
    let fsync_s = chance.log_uniform(0.05e-3, 6e-3);
    let operation_cpu_s = chance.log_uniform(30e-6, 300e-6);
    let row_cpu_s = chance.log_uniform(1e-6, 60e-6);
    let row_knee = chance.log_uniform(500.0, 60_000.0);
    let contention = chance.uniform(0.002, 0.02);
    let coherence = chance.log_uniform(2e-5, 1e-3);
    let row_log_s = chance.uniform(0.3, 0.9) * row_cpu_s / cores;
    let cliff =
        Cliff { at: chance.log_uniform(200.0, 30_000.0).floor(), factor: chance.uniform(1.3, 1.8) };
    let mut batch_cliff = chance.happens(0.3).then_some(cliff);
    let tail = chance.uniform(0.2, 0.4);
    let mut worker_cliff = None;
    if is_weird {
        let at = chance.log_uniform(100.0, 10_000.0).floor();
        batch_cliff = Some(Cliff { at, factor: chance.uniform(1.4, 2.2) });
        let at = chance.uniform(6.0, 40.0);
        worker_cliff = Some(Cliff { at, factor: chance.uniform(1.2, 1.8) });
    }
    let misfit = Misfit::draw(chance, if is_weird { 0.07 } else { 0.03 });
    Surface {
        cores,
        round_trip_s,
        fsync_s,
        operation_cpu_s,
        row_cpu_s,
        row_knee,
        contention,
        coherence,
        row_log_s,
        batch_cliff,
        worker_cliff,
        tail,
        misfit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCHES: [u64; 9] = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_535];
    const WORKERS: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];

    fn case(family: Family, seed: u64) -> Case {
        SimSettings::draw(family, seed, 300.0, &BATCHES, &WORKERS).case(0)
    }

    #[test]
    fn families_of_a_seed_share_the_server() {
        assert_eq!(case(Family::Quiet, 3).before, case(Family::Noisy, 3).before);
        assert_ne!(case(Family::Quiet, 3).before, case(Family::Quiet, 4).before);
    }

    #[test]
    fn a_change_of_some_blocks_is_in_these_from_their_start_and_in_no_other() {
        let settings = SimSettings {
            changed_blocks: Some((2, 3)),
            ..SimSettings::draw(Family::Cores, 3, 300.0, &BATCHES, &WORKERS)
        };
        let is_changed = |block: u64| {
            let of = |at_s| 0.5 < settings.case(block).progress(at_s);
            [of(0.0), of(299.0)]
        };
        assert_ne!(settings.case(2).before, settings.case(2).after);
        for block in [0, 1, 4] {
            assert_eq!(is_changed(block), [false, false], "{block}");
        }
        for block in [2, 3] {
            assert_eq!(is_changed(block), [true, true], "{block}");
        }
    }

    /// The research found optima at 60 to 12,000 rows and 3 to 32 workers.
    #[test]
    fn optima_lie_inside_the_grid() {
        let mut inside = 0;
        for seed in 0..100 {
            let best = case(Family::Mid, seed).before.best(&BATCHES, &WORKERS, None);
            let (batch_rows, workers, _) = best.unwrap();
            inside += u32::from((16..=16_384).contains(&batch_rows) && (2..=32).contains(&workers));
        }
        assert!(90 <= inside, "{inside}");
    }

    #[test]
    fn a_limit_binds_and_can_be_kept() {
        for (family, seed) in [Family::LimitSlow, Family::LimitRoundTrip]
            .into_iter()
            .flat_map(|family| (0..50).map(move |seed| (family, seed)))
        {
            let case = case(family, seed);
            let free = case.before.best(&BATCHES, &WORKERS, None).unwrap().2;
            for surface in [&case.before, &case.after] {
                assert!(
                    surface.best(&BATCHES, &WORKERS, case.p99_limit_s).is_some(),
                    "{family:?} {seed}"
                );
            }
            let held = case.before.best(&BATCHES, &WORKERS, case.p99_limit_s).unwrap().2;
            assert!(held <= free);
        }
    }

    #[test]
    fn a_change_comes_at_half_time_and_a_drift_evenly() {
        let cores = case(Family::Cores, 1);
        let percent = |case: &Case, at_s| format!("{:.0} %", 100.0 * case.progress(at_s));
        assert_eq!([149.9, 150.0].map(|at| percent(&cores, at)), ["0 %", "100 %"]);
        let drift = case(Family::Drift, 1);
        let drifted = [0.0, 150.0, 400.0].map(|at| percent(&drift, at));
        assert_eq!(drifted, ["0 %", "50 %", "100 %"]);
        let middle = drift.latency_s(150.0, 64, 8).powi(2);
        let ends = drift.before.latency_s(64, 8) * drift.after.latency_s(64, 8);
        assert!((middle / ends - 1.0).abs() < 1e-9);
    }
}
