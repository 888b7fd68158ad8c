//! Settings as sentences and tables name them: in the words of a scenario file.

use crate::{
    plan::{CellPlan, OnError, Pace, Stop, Transaction},
    stats::format::number,
};

pub(crate) fn transaction(transaction: Transaction) -> String {
    match transaction {
        Transaction::Autocommit => "autocommit".to_owned(),
        Transaction::Every(1) => "explicit".to_owned(),
        Transaction::Every(operations) => format!("every {operations}"),
        Transaction::Whole => "whole".to_owned(),
    }
}

/// Rows an operation; where a controller moves them, from where to where.
pub(crate) fn batch_rows(cell: &CellPlan) -> String {
    match cell.controller.map(|it| it.bounds.batch_rows()) {
        Some((low, high)) if low != high => {
            format!("{}..{}", number(low as f64), number(high as f64))
        }
        _ => number(cell.batch_rows as f64),
    }
}

/// Workers; where a controller moves them, from where to where.
pub(crate) fn workers(cell: &CellPlan) -> String {
    match cell.controller.map(|it| it.bounds.workers()) {
        Some((low, high)) if low != high => format!("{low}..{high}"),
        _ => cell.workers.to_string(),
    }
}

/// Settings of a cell, beside strategy, batch rows and workers, that differ from another's.
pub(crate) fn differing(cell: &CellPlan, other: &CellPlan) -> Vec<String> {
    let milliseconds = |it: u64| format!("{} ms", number(it as f64));
    let (pool, pool_of_other) = (cell.pool, other.pool);
    let is_or_not = |is: bool, word: &str| if is { word.to_owned() } else { format!("not {word}") };
    let all = [
        (cell.transaction != other.transaction, transaction(cell.transaction)),
        (cell.returning != other.returning, is_or_not(cell.returning, "returning")),
        (cell.prepared != other.prepared, is_or_not(cell.prepared, "prepared")),
        (cell.pace != other.pace, pace(cell.pace)),
        (stop(cell) != stop(other), stop(cell)),
        (
            cell.on_error != other.on_error,
            match cell.on_error {
                OnError::FailFast => "fail_fast".to_owned(),
                OnError::Collect => "collect".to_owned(),
            },
        ),
        (
            pool.size_max != pool_of_other.size_max,
            format!("{} sessions in the pool", pool.size_max),
        ),
        (pool.idle_min != pool_of_other.idle_min, format!("{} idle sessions kept", pool.idle_min)),
        (
            pool.idle_timeout_ms != pool_of_other.idle_timeout_ms,
            format!("idle sessions closed after {}", milliseconds(pool.idle_timeout_ms)),
        ),
        (
            pool.acquire_timeout_ms != pool_of_other.acquire_timeout_ms,
            format!("waits {} for a session", milliseconds(pool.acquire_timeout_ms)),
        ),
        (
            cell.controller != other.controller,
            cell.controller.map_or_else(
                || "no controller".to_owned(),
                |it| format!("controller {}", it.policy.name()),
            ),
        ),
    ];
    all.into_iter().filter_map(|(differs, words)| differs.then_some(words)).collect()
}

pub(crate) fn pace(pace: Pace) -> String {
    match pace {
        Pace::Closed => "closed loop".to_owned(),
        Pace::Open { rate, .. } => format!("open loop, {} op/s", number(rate)),
    }
}

/// When a block ends, and what of it does not count.
pub(crate) fn stop(cell: &CellPlan) -> String {
    let warm_up = match cell.warm_up_s {
        seconds if 0.0 < seconds => format!(" ({} s warm-up)", number(seconds)),
        _ => String::new(),
    };
    ends(cell.stop) + &warm_up
}

fn ends(stop: Stop) -> String {
    let rows = stop.rows.map(|rows| format!("{} rows", number(rows as f64)));
    let seconds = stop.seconds.map(|seconds| format!("{} s", number(seconds)));
    let ends: Vec<String> = rows.into_iter().chain(seconds).collect();
    // Of a file, how many rows there are is known once it was looked through.
    if ends.is_empty() { "end of the file".to_owned() } else { ends.join(" or ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_as_in_a_scenario() {
        let names = [
            (Transaction::Autocommit, "autocommit"),
            (Transaction::Every(1), "explicit"),
            (Transaction::Every(10), "every 10"),
            (Transaction::Whole, "whole"),
        ];
        for (value, name) in names {
            assert_eq!(transaction(value), name);
        }
        let both = Stop { rows: Some(100_000), seconds: Some(1.5) };
        assert_eq!(ends(both), "100,000 rows or 1.50 s");
        assert_eq!(pace(Pace::Closed), "closed loop");
    }
}
