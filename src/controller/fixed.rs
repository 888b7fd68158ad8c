//! Holds the setting it was given: what every cell of a scenario does.

use super::{Controller, Decision, Setting};
use crate::measure::WindowSummary;

/// The policy that decides nothing.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub Setting);

impl Controller for Fixed {
    fn decide(&mut self, _: &WindowSummary) -> Decision {
        Decision { setting: self.0, reason: "fixed" }
    }
}
