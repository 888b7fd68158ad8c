//! One test binary: whole runs on the simulated database, a real PostgreSQL, and tidiness.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod cluster;
mod report;
mod report_fixture;
mod runs;
mod tidy;
