//! What goes wrong on a simulated server, and when.

use serde::{Deserialize, Serialize};

/// What goes wrong, other than being slow.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Errors {
    /// Most sessions: those beyond are refused with 53300.
    pub sessions_max: Option<u32>,
    /// The moment from which on they are refused, in seconds; those open stay.
    pub sessions_max_from_s: f64,
    /// Chance that an operation ends as the victim of a deadlock (40P01), for each other operation
    /// in flight.
    pub deadlocks: f64,
    /// Chance that the connection of an operation is lost, before its commit or after it alike.
    pub disconnects: f64,
    /// The server ends all sessions, and lets nobody in for this time.
    pub restart: Option<Span>,
    /// The server stands still: nothing ends in this time, and nothing is refused either.
    pub silence: Option<Span>,
    /// One operation that goes wrong for certain.
    pub mishap: Option<Mishap>,
}

/// A time that something lasts.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Span {
    /// Start, in seconds.
    pub at_s: f64,
    /// Length in seconds.
    pub length_s: f64,
}

/// One operation that goes wrong, by its number from 0.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mishap {
    /// Its connection is lost before it was committed.
    LostBeforeCommit(u64),
    /// Its connection is lost after it was committed.
    LostAfterCommit(u64),
    /// It is rejected as bad data.
    Rejected(u64),
}

impl Errors {
    /// Nothing goes wrong.
    pub const NONE: Errors = Errors {
        sessions_max: None,
        sessions_max_from_s: 0.0,
        deadlocks: 0.0,
        disconnects: 0.0,
        restart: None,
        silence: None,
        mishap: None,
    };
}

impl Span {
    /// The end, in seconds.
    pub fn end_s(self) -> f64 {
        self.at_s + self.length_s
    }

    /// Whether a moment lies in it.
    pub fn holds(self, at_s: f64) -> bool {
        self.at_s <= at_s && at_s < self.end_s()
    }
}
