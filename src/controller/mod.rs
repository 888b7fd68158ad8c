//! Decides batch rows and workers from what the windows measured.
//!
//! **Invariant:** a controller is pure: no clock, no lock, no I/O, no randomness of its own. It
//! decides; `engine::limiter` acts. Recorded windows can therefore be fed to any controller again.

mod fixed;

pub use self::fixed::Fixed;

use serde::{Deserialize, Serialize};

use crate::measure::WindowSummary;

/// What a controller may move.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Setting {
    /// Rows an operation carries.
    pub batch_rows: u64,
    /// Operations in flight.
    pub workers: u32,
}

/// What to do, and why. The reason goes into the record, verbatim.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// The setting from now on.
    pub setting: Setting,
    /// Why, in words.
    pub reason: &'static str,
}

/// A policy.
pub trait Controller: Send {
    /// Takes in one window and decides the setting for the next.
    fn decide(&mut self, window: &WindowSummary) -> Decision;
}
