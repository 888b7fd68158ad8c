//! The plots, as SVG: rates against claims, latency percentiles, rates over time.
//!
//! **Invariant:** the same record gives the same bytes.

mod axis;
mod canvas;
mod latency;
mod marker;
mod over_time;
mod rates;

pub use self::{latency::latency, over_time::over_time, rates::rates};
