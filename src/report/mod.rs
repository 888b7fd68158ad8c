//! Shows records and verdicts: computes nothing, takes its writer as a parameter.

pub mod text;

use crate::{
    record::{Record, WindowRow},
    verdict::Verdict,
};

/// Draws every file of a report: name in the run's directory, and content.
pub fn files(_: &Record, _: &Verdict, _: &[WindowRow]) -> Vec<(&'static str, Vec<u8>)> {
    Vec::new()
}
