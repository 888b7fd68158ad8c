//! One test binary: whole runs on the simulated database, a real PostgreSQL, and tidiness.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod agreement;
mod arena;
mod bad_days;
mod check;
mod check_fixture;
mod check_not_run;
mod check_outputs;
mod check_postgres;
mod check_words;
mod cluster;
mod command_line;
mod compare;
mod csv;
mod csv_bad_days;
mod frozen;
mod nobody_reads;
mod own_table;
mod postgres;
mod proxy;
mod report;
mod report_fixture;
mod reproduce;
mod runs;
mod session;
mod support;
mod tidy;
mod tune;
mod tune_bad_days;
mod verdict;
mod warm_up;
mod wire;
