//! What policies share that answer each window by itself: a window that says nothing is held at,
//! and named.

use super::{Controller, Decision, Evidence, Flaw, Setting, Wish};
use crate::measure::WindowSummary;

/// Why a policy decided, in words, and the numbers it was decided on.
pub(super) type Reason = (&'static str, Vec<(&'static str, f64)>);

/// A policy that moves a setting by what the last window says.
pub(super) trait Reactive: Send {
    /// Its state, in a decision.
    const STATE: &'static str;

    /// The setting in force.
    fn setting(&self) -> Setting;

    /// Takes in a window that says something, and moves the setting.
    fn react(&mut self, evidence: &Evidence) -> Reason;

    /// Takes in a window in which the server pushed back.
    fn pushed_back(&mut self) -> Reason {
        (Flaw::PushedBack.words(), Vec::new())
    }
}

impl<R: Reactive> Controller for R {
    fn start(&self) -> Decision {
        decision(self, ("start", Vec::new()))
    }

    fn decide(&mut self, window: &WindowSummary) -> Decision {
        let reason = match Evidence::of(window) {
            Ok(evidence) => self.react(&evidence),
            Err(Flaw::PushedBack) => self.pushed_back(),
            Err(flaw) => (flaw.words(), Vec::new()),
        };
        decision(self, reason)
    }
}

fn decision<R: Reactive>(policy: &R, (reason, grounds): Reason) -> Decision {
    Decision::settle(policy.setting(), R::STATE, reason).wishing(Wish::of_ms(500)).because(&grounds)
}
