//! What happened, as numbers: histograms of latencies, windows, counts.
//!
//! Two pairs are kept apart: [`Recorder`] is being filled, [`Measurement`] is what was measured;
//! a window is summed up as [`WindowSummary`], all that a controller may know.

mod histograms;
mod recorder;
mod window;

pub use self::{
    histograms::{Histograms, Kind},
    recorder::{Kept, Measurement, OperationSample, Recorder, Roll, Span},
    window::{Activity, WindowSummary},
};
