//! Decides whether head inserts more slowly than base, on a machine that is never quiet.
//!
//! Blocks of both arms alternate; a pair of neighbours is one observation, because what the machine
//! does to one it does to the other. Pairs go in one by one:
//!
//! ```text
//! Options ─▶ Rule ─▶ Check ─▶ Session (pairs, looks) ─▶ fails? ─▶ a fresh Session ─▶ Outcome
//! ```
//!
//! At a few looks, planned before the first pair, the limits of the Hodges–Lehmann estimate of the
//! logarithm of the ratio decide. Three answers are honest: worse, not worse, and not known.
//! Testing after every pair until one test fails would call a quarter of unchanged commits slower.
//! A failure counts after a fresh session (new connections, new tables, the other arm first) failed
//! in the same metric: what stays the same within a session (where memory and files happen to lie)
//! no number of pairs takes away. `examples/gate_study` simulates how often the rule is wrong.
//!
//! **Invariant:** pure. No clock, no I/O; chance only from the seed of [`orders`].

mod advice;
mod check;
mod evidence;
mod options;
mod order;
mod pair;
mod session;
mod timing;

pub use self::{
    advice::{Advice, Totals},
    check::{Check, Conclusion, Outcome, Step, Undecided},
    evidence::{Evidence, Fault},
    options::{Bounds, Confirmation, Look, Options, OptionsError, Rule},
    order::{Arm, Arms, created_first, orders},
    pair::{Block, Metric, Pair},
    session::{Finding, Inspection, Judgement, Session},
    timing::{Timing, WarmUp, warm_up},
};

#[cfg(test)]
mod tests;
