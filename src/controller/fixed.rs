//! Holds the setting it was given: what every cell of a scenario does.

use super::{Controller, Decision, Setting};
use crate::measure::WindowSummary;

/// The policy that decides nothing.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub Setting);

impl Controller for Fixed {
    fn start(&self) -> Decision {
        Decision::settle(self.0, "fixed", "fixed")
    }

    fn decide(&mut self, _: &WindowSummary) -> Decision {
        self.start()
    }
}
