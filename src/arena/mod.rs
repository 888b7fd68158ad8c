//! Runs controllers over simulated servers side by side, and scores them against the truth.
//!
//! It goes from window to window, not from operation to operation: hundreds of servers x 300 s x
//! many controllers take minutes. [`play`] takes the long way, through the engine, and shows that both
//! agree. **Invariant:** pure; the same seeds give the same scores on any
//! number of threads.

mod league;
mod live;
mod score;
mod table;
mod windows;

pub use self::{
    league::{Ground, Match, Standing, league, standing},
    live::{Live, play},
    score::{Path, Score, Segment, score},
    table::{Layout, NOTES, write_table},
    windows::Windows,
};

use std::{io, time::Duration};

use thiserror::Error;

use crate::{
    controller::{Bounds, Controller, Goal, Grid, RETUNE},
    target::{
        TargetError,
        sim::{Case, Family, SimSettings},
    },
};

/// How long a controller is watched.
pub const HORIZON_S: f64 = 300.0;
/// Keeps a controller's chance apart from the server's.
const CONTROLLER_SEED: u64 = 7_919;

/// How the windows of a match are made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// At once, from the truth and chance.
    Windows,
    /// By the engine, operation by operation, in virtual time.
    Engine,
}

/// Why a match through the engine was not played.
#[derive(Debug, Error)]
pub enum ArenaError {
    /// No runtime.
    #[error("cannot start virtual time")]
    Runtime(#[source] io::Error),
    /// The server let nobody in.
    #[error("the simulated server cannot be inserted into")]
    Server(#[source] TargetError),
}

/// Draws the server of a family and a seed, over the whole grid.
pub fn server(family: Family, seed: u64) -> SimSettings {
    let grid = Grid::new(&Bounds::WIDE);
    SimSettings::draw(family, seed, HORIZON_S, grid.batches(), grid.workers())
}

/// Draws the case of a family and a seed.
pub fn draw(family: Family, seed: u64) -> Case {
    server(family, seed).case(0)
}

/// What a controller is told of a case.
pub fn goal(case: &Case, seed: u64) -> Goal {
    let p99_limit = case.p99_limit_s.map(Duration::from_secs_f64);
    Goal { bounds: Bounds::WIDE, p99_limit, seed: seed + CONTROLLER_SEED, is_search: false }
}

/// Runs one controller over one case, and returns the path it took.
pub fn run(case: &Case, seed: u64, controller: &mut dyn Controller) -> Path {
    let mut windows = Windows::new(case, seed);
    let mut decision = controller.start();
    let mut retunes_s = Vec::new();
    while windows.at_s() < case.horizon_s {
        let window = windows.next(decision.setting, decision.wish);
        let next = controller.decide(&window);
        if next.state == RETUNE && decision.state != RETUNE {
            retunes_s.push(windows.at_s());
        }
        decision = next;
    }
    Path { segments: windows.into_segments(), incumbent: decision.incumbent, retunes_s }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        controller::{Fixed, Pilot, Setting},
        stats::median,
    };

    fn fixed_path(family: Family, seed: u64, setting: Setting) -> (Case, Path) {
        let case = draw(family, seed);
        let path = run(&case, seed, &mut Fixed(setting));
        (case, path)
    }

    #[test]
    fn holding_the_best_setting_scores_1() {
        let case = draw(Family::Mid, 5);
        let grid = Grid::new(&Bounds::WIDE);
        let (batch_rows, workers, _) =
            case.before.best(grid.batches(), grid.workers(), None).unwrap();
        let (case, path) = fixed_path(Family::Mid, 5, Setting { batch_rows, workers });
        let score = score(&case, &path, &Bounds::WIDE);
        assert!(score.regret.abs() < 1e-9 && (score.last - 1.0).abs() < 1e-9, "{score:?}");
        assert!((score.deployed - 1.0).abs() < 1e-9 && score.time_to_95_s < 1e-9, "{score:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_path() {
        let setting = Setting { batch_rows: 100, workers: 4 };
        let (_, path) = fixed_path(Family::Noisy, 2, setting);
        let (_, again) = fixed_path(Family::Noisy, 2, setting);
        assert_eq!(path.segments, again.segments);
    }

    /// Median time to 95 % with this many cores, and up to this many workers.
    fn time_to_95_s(cores: f64, workers: u32) -> f64 {
        let bounds = Bounds::new((1, 65_535), (1, workers)).unwrap();
        let times = (0..100).map(|seed| {
            let mut case = draw(Family::Mid, seed);
            case.horizon_s = 60.0;
            // A server of more cores is built for more sessions.
            let scale = cores / 8.0;
            case.before.cores = cores;
            case.before.contention /= scale;
            case.before.coherence /= scale * scale;
            case.before.row_log_s /= scale;
            case.after = case.before.clone();
            let path = run(&case, seed, &mut Pilot::new(&Goal { bounds, ..goal(&case, seed) }));
            score(&case, &path, &bounds).time_to_95_s
        });
        median(&times.collect::<Vec<f64>>())
    }

    #[test]
    fn pilot_finds_the_best_of_64_cores_and_1024_workers_in_twice_the_time() {
        let (small, large) = (time_to_95_s(8.0, 64), time_to_95_s(64.0, 1_024));
        assert!(large <= 2.0 * small, "{large} s, and {small} s with 8 cores");
    }
}
