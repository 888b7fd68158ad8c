//! Decides batch rows and workers from what the windows measured.
//!
//! **Invariant:** a controller is pure: no clock, no lock, no I/O; chance only from the seed in its
//! [`Goal`]. It decides; `engine::limiter` acts. Recorded windows can therefore be fed to any
//! controller again.

mod aimd;
mod climb;
mod evidence;
mod fixed;
mod gradient;
mod grid;
mod pilot;
mod policy;
mod reactive;
mod variance;

pub use self::{
    aimd::Aimd,
    climb::Climb,
    evidence::{Evidence, Flaw},
    fixed::Fixed,
    gradient::Gradient,
    grid::{Cell, Grid},
    pilot::{Pilot, expected, rated},
    policy::Policy,
    variance::{Signal, Variance, VarianceRule},
};

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{measure::WindowSummary, stats::format::number};

/// What a controller may move.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Setting {
    /// Rows an operation carries.
    pub batch_rows: u64,
    /// Operations in flight.
    pub workers: u32,
}

impl Setting {
    /// What the article runs with, and what is taken where nothing was measured.
    pub const ARTICLE: Setting = Setting { batch_rows: 1_000, workers: 5 };

    /// `1,000 x 5`: rows an operation, and workers.
    pub fn words(self) -> String {
        format!("{} x {}", number(self.batch_rows as f64), self.workers)
    }

    /// As many rows, and the power of two below its workers, at least one. Half of 6 is no step towards
    /// 2: where 2 processors are full, 3 workers may be slower than either.
    pub(crate) fn with_fewer_workers(self) -> Setting {
        Setting { workers: (self.workers.next_power_of_two() / 2).max(1), ..self }
    }
}

/// What a controller is to reach, and within which bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// Where it may go.
    pub bounds: Bounds,
    /// Most that the 99th percentile of the service latency may be; the most rows/s wins.
    pub p99_limit: Option<Duration>,
    /// Seed of all its chance.
    pub seed: u64,
    /// Whether only what is found counts, and not what is inserted until then: it looks around
    /// before it first rests.
    pub is_search: bool,
}

/// Invariant: the least is at least 1 and at most the most.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Ends", into = "Ends")]
pub struct Bounds {
    batch_rows: (u64, u64),
    workers: (u32, u32),
}

/// Bounds as a file has them, which may exclude everything.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Ends {
    batch_rows: (u64, u64),
    workers: (u32, u32),
}

impl TryFrom<Ends> for Bounds {
    type Error = &'static str;

    fn try_from(ends: Ends) -> Result<Bounds, &'static str> {
        Bounds::new(ends.batch_rows, ends.workers).ok_or("bounds that exclude every setting")
    }
}

impl From<Bounds> for Ends {
    fn from(Bounds { batch_rows, workers }: Bounds) -> Ends {
        Ends { batch_rows, workers }
    }
}

impl Bounds {
    /// All that the wire format carries in one statement, and 64 workers.
    pub const WIDE: Bounds = Bounds { batch_rows: (1, 65_535), workers: (1, 64) };

    /// Bounds, both ends within; `None` if they exclude everything.
    pub fn new(batch_rows: (u64, u64), workers: (u32, u32)) -> Option<Bounds> {
        let is_some = 0 < batch_rows.0
            && batch_rows.0 <= batch_rows.1
            && 0 < workers.0
            && workers.0 <= workers.1;
        is_some.then_some(Bounds { batch_rows, workers })
    }

    /// Least and most batch rows.
    pub fn batch_rows(&self) -> (u64, u64) {
        self.batch_rows
    }

    /// Least and most workers.
    pub fn workers(&self) -> (u32, u32) {
        self.workers
    }

    /// The setting within the bounds that is nearest.
    pub fn nearest(&self, setting: Setting) -> Setting {
        Setting {
            batch_rows: setting.batch_rows.clamp(self.batch_rows.0, self.batch_rows.1),
            workers: setting.workers.clamp(self.workers.0, self.workers.1),
        }
    }
}

/// What the next window is to be at least. The engine ends a window that mixes settings as soon as
/// it can, and one that nothing ends in after a while: a wish is not a promise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wish {
    /// Its length.
    pub length: Duration,
    /// Operations that end in it.
    pub operations: u64,
}

impl Wish {
    /// Any window will do.
    pub const NONE: Wish = Wish { length: Duration::ZERO, operations: 0 };
    /// Operations below which a window says little: with w workers, up to w - 1 of its operations
    /// began before it.
    pub const OPERATIONS: u64 = 6;

    /// A window of this length with enough operations.
    pub fn of_ms(ms: u64) -> Wish {
        Wish { length: Duration::from_millis(ms), operations: Wish::OPERATIONS }
    }

    /// The same, and an operation of each worker at least.
    pub fn of_workers(self, workers: u32) -> Wish {
        Wish { operations: self.operations.max(workers.into()), ..self }
    }
}

/// State of a controller that takes the server for another one, and looks around anew.
pub const RETUNE: &str = "retune";

/// What to do, and why. State, reason and grounds go into the record, verbatim.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The setting from now on.
    pub setting: Setting,
    /// What the next window is to be.
    pub wish: Wish,
    /// The best setting known: what it would leave in force if it had to stop now.
    pub incumbent: Setting,
    /// What the controller is about.
    pub state: &'static str,
    /// Why, in words.
    pub reason: &'static str,
    /// The numbers that it was decided on, by name.
    pub grounds: Vec<(&'static str, f64)>,
}

impl Decision {
    /// Goes to a setting, and would stay there.
    pub fn settle(setting: Setting, state: &'static str, reason: &'static str) -> Decision {
        let (wish, incumbent, grounds) = (Wish::NONE, setting, Vec::new());
        Decision { setting, wish, incumbent, state, reason, grounds }
    }

    /// The same, with a wish.
    pub fn wishing(self, wish: Wish) -> Decision {
        Decision { wish, ..self }
    }

    /// The same, on these grounds.
    pub fn because(self, grounds: &[(&'static str, f64)]) -> Decision {
        Decision { grounds: grounds.to_vec(), ..self }
    }
}

/// A policy.
pub trait Controller: Send {
    /// Decides before the first window.
    fn start(&self) -> Decision;

    /// Takes in one window and decides the setting for the next.
    fn decide(&mut self, window: &WindowSummary) -> Decision;

    /// From now on all that is inserted counts, and not only what is found. What was measured after the
    /// search says that `answer` is the setting to use, if any.
    fn search_is_over(&mut self, _answer: Option<Setting>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_something_and_settings_stay_within() {
        assert_eq!(Bounds::new((0, 5), (1, 1)), None);
        assert_eq!(Bounds::new((6, 5), (1, 1)), None);
        assert_eq!(Bounds::new((5, 5), (2, 1)), None);
        let bounds = Bounds::new((5, 500), (2, 8)).unwrap();
        let nearest = |batch_rows, workers| {
            let near = bounds.nearest(Setting { batch_rows, workers });
            (near.batch_rows, near.workers)
        };
        assert_eq!(nearest(1, 100), (5, 8));
        assert_eq!(nearest(50, 1), (50, 2));
    }
}
