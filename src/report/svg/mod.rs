//! The plots, as SVG: rates against claims, latency percentiles, rates over time, what controllers
//! did, and the plane of settings.
//!
//! **Invariant:** the same record gives the same bytes.

mod axis;
mod canvas;
mod latency;
mod marker;
mod over_time;
mod plane;
mod rates;
mod steering;

pub use self::{
    latency::latency,
    over_time::over_time,
    plane::{Mark, Plane, Spot, Way, plane},
    rates::rates,
    steering::steering,
};
