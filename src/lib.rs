//! Measures how fast PostgreSQL takes inserts, and says what the numbers mean.
//!
//! The modules below are in the order in which data flows through a run:
//!
//! ```text
//! scenario ─▶ plan ─▶ engine ─────────────▶ record ─▶ verdict ─▶ report
//!  (file)   (resolved) │  ▲                 (on disk)  (judged)   (shown)
//!                      ▼  │
//!    rows ─▶ strategy ─▶ target ─▶ measure ─▶ controller
//!                      ▲                          │
//!                      └──── limits (batch, workers)
//! ```
//!
//! `arena` stands beside it: it plays controllers on simulated servers whose best setting is known.
//! `gate` decides whether one arm of a check inserts more slowly than the other, from pairs of blocks.
//!
//! **Invariant:** a module uses only the modules that `tests/it/tidy.rs` lists for it.
//! **Invariant:** `plan`, `rows`, `strategy`, `controller`, `gate`, `stats` and `verdict` are pure:
//! time comes from [`clock`], chance from a seed in the plan, rows from an index. The one exception are
//! the user's own rows: the row at an index is then a line of a file, and a file that is changed
//! meanwhile ends the run.
//! **Invariant:** nothing but `cli` and `report` prints.

pub mod arena;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod controller;
pub mod engine;
pub mod gate;
pub mod measure;
pub mod plan;
pub mod record;
pub mod report;
pub mod rows;
pub mod scenario;
pub mod stats;
pub mod strategy;
pub mod target;
pub mod verdict;
