//! The policies by name.

use serde::{Deserialize, Serialize};

use super::{
    Aimd, Climb, Controller, Fixed, Goal, Gradient, Pilot, Setting, Variance, VarianceRule,
};

/// The setting that a user without a controller would name: the article's batch, and workers
/// enough for most servers.
const STATIC: Setting = Setting { batch_rows: 1_000, workers: 8 };

/// A policy, with the settings that it has in the arena.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// 1,000 rows and 8 workers, come what may.
    Fixed,
    /// The article's rule.
    Variance,
    /// Additive increase, multiplicative decrease.
    Aimd,
    /// Gradient2, on workers.
    Gradient,
    /// A ramp, and then a hill climb that races.
    Climb,
    /// A model, paired probes, and a guard against stalls.
    Pilot,
}

impl Policy {
    /// All of them, the simplest first.
    pub const ALL: [Policy; 6] = [
        Policy::Fixed,
        Policy::Variance,
        Policy::Aimd,
        Policy::Gradient,
        Policy::Climb,
        Policy::Pilot,
    ];

    /// The name in files, flags and tables.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Fixed => "fixed",
            Policy::Variance => "variance",
            Policy::Aimd => "aimd",
            Policy::Gradient => "gradient",
            Policy::Climb => "climb",
            Policy::Pilot => "pilot",
        }
    }

    /// Makes a controller that follows it.
    pub fn build(self, goal: &Goal) -> Box<dyn Controller> {
        match self {
            Policy::Fixed => Box::new(Fixed(goal.bounds.nearest(STATIC))),
            Policy::Variance => Box::new(Variance::new(VarianceRule::default(), &goal.bounds)),
            Policy::Aimd => Box::new(Aimd::new(goal)),
            Policy::Gradient => Box::new(Gradient::new(goal, STATIC.batch_rows)),
            Policy::Climb => Box::new(Climb::new(goal)),
            Policy::Pilot => Box::new(Pilot::new(goal)),
        }
    }
}
