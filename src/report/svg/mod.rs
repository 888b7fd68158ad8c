//! The plots, as SVG: rates against claims, latency percentiles, rates over time, what controllers
//! did, the plane of settings and the way of a search over it, and the pairs and blocks of a check.
//!
//! **Invariant:** the same record gives the same bytes.

mod arms;
mod axis;
mod canvas;
mod latency;
mod marker;
mod over_time;
mod pairs;
mod plane;
mod rates;
mod search;
mod steering;

pub use self::{
    arms::arms,
    latency::latency,
    over_time::over_time,
    pairs::pairs,
    plane::{Mark, Plane, Spot, Way, plane},
    rates::rates,
    search::search,
    steering::steering,
};
