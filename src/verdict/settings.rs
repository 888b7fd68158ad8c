//! Settings as sentences and tables name them: in the words of a scenario file.

use crate::{
    plan::{CellPlan, Pace, Stop, Transaction},
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

pub(crate) fn pace(pace: Pace) -> String {
    match pace {
        Pace::Closed => "closed loop".to_owned(),
        Pace::Open { rate, .. } => format!("open loop, {} op/s", number(rate)),
    }
}

pub(crate) fn stop(stop: Stop) -> String {
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
        assert_eq!(stop(both), "100,000 rows or 1.50 s");
        assert_eq!(pace(Pace::Closed), "closed loop");
    }
}
