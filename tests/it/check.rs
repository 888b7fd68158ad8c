//! Whole checks from the command line on simulated servers, in virtual time: the same seed, the same
//! answer.

use std::{fs, path::Path};

use batchpilot::{
    gate::{Arm, Conclusion, Fault, Metric, Outcome, Undecided, WarmUp},
    record::{CHECK, CHECK_SCHEMA_VERSION, CheckRecord, Comparison, read_check},
};

use crate::support::{Desk, Ended, batchpilot, ended};

/// A simulated server whose rows cost so much, with more keys of it, and one cell.
pub(crate) fn sim(row_cpu_us: f64, keys: &str) -> String {
    format!(
        "name = \"sim\"\n[sim]\nseed = 7\n[sim.server]\nrow_cpu_us = {row_cpu_us}\n\
         [sim.weather]\nnoise = 0.05\n{keys}\n{CELL}"
    )
}

const CELL: &str = "[[cells]]\nname = \"1,000 x 4\"\nstrategy = \"multi_row\"\n\
                    batch_rows = 1_000\nworkers = 4\n";

/// Writes both scenarios and checks the one against the other.
pub(crate) async fn check(desk: &Desk, base: &str, head: &str, words: &[&str]) -> Ended {
    let (base_file, head_file) = (desk.path().join("base.toml"), desk.path().join("head.toml"));
    fs::write(&base_file, base).unwrap();
    fs::write(&head_file, head).unwrap();
    let mut command = batchpilot();
    command.arg("check").arg(&base_file).arg(&head_file).args(words);
    command.arg("--out").arg(desk.out());
    ended(command).await
}

pub(crate) fn record(desk: &Desk) -> CheckRecord {
    read_check(&desk.only_run()).unwrap_or_else(|error| panic!("{error}"))
}

/// What does not depend on when and where the check ran.
fn cells(record: &CheckRecord) -> serde_json::Value {
    let mut cells = serde_json::to_value(&record.cells).unwrap();
    for cell in cells.as_array_mut().unwrap() {
        for session in cell["sessions"].as_array_mut().unwrap() {
            session["started_at"].take();
        }
    }
    cells
}

#[tokio::test]
async fn unchanged_arms_pass_twice_with_the_same_answer() {
    let mut answers = Vec::new();
    for _ in 0..2 {
        let desk = Desk::new();
        let finished = check(&desk, &sim(20.0, ""), &sim(20.0, ""), &[]).await;
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
        assert!(finished.stdout.starts_with("PASS: head is not worse than base by 10 %"));
        assert!(finished.stdout.lines().all(|line| line.chars().count() <= 120), "{finished:?}");
        let record = record(&desk);
        assert_eq!((record.conclusion(), record.complete), (Conclusion::Pass, true));
        assert_eq!(record.comparison, Comparison::Scenarios);
        let cell = &record.cells[0];
        // A table of the warm-up and one of every 5 pairs, of each arm.
        let pairs = cell.check.sessions()[0].pairs().len();
        assert_eq!(cell.tables.tables, 2 + 2 * pairs.div_ceil(5) as u64);
        assert!(cell.tables.problems.is_empty() && 100_000 < cell.tables.rows);
        assert_eq!((cell.sessions.len(), cell.sessions[0].warm_up), (1, WarmUp::Steady));
        assert_eq!(cell.sessions[0].first.len(), pairs);
        let lines = fs::read_to_string(desk.only_run().join("pairs.csv")).unwrap();
        assert_eq!(lines.lines().count(), 1 + 2 * pairs, "{lines}");
        answers.push(cells(&record));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn a_fifth_slower_fails_after_a_second_session_that_the_other_arm_begins() {
    let desk = Desk::new();
    let finished = check(&desk, &sim(20.0, ""), &sim(25.5, ""), &[]).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(10), ""), "{finished:?}");
    assert!(finished.stdout.starts_with("FAIL: head is slower than base: rows/s 0."));
    let record = record(&desk);
    let cell = &record.cells[0];
    let both = vec![Metric::RowsPerS, Metric::LatencyP95];
    assert_eq!(cell.outcome, Outcome::Fail(both));
    let created: Vec<Arm> = cell.sessions.iter().map(|it| it.created_first).collect();
    assert_eq!(created, [Arm::Base, Arm::Head]);
    for session in cell.check.sessions() {
        // The server is what it is: 25.5 µs a row are 0.79 of 20 where rows are all that counts.
        let ratio = session.running(Metric::RowsPerS).unwrap().value;
        assert!((0.7..0.9).contains(&ratio), "{ratio}");
    }
    // Turned round, head is faster, and that is no failure.
    let desk = Desk::new();
    let finished = check(&desk, &sim(25.5, ""), &sim(20.0, ""), &[]).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[tokio::test]
async fn a_hundredth_slower_is_no_regression() {
    let desk = Desk::new();
    let finished = check(&desk, &sim(20.0, ""), &sim(20.2, ""), &[]).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(record(&desk).conclusion() < Conclusion::Fail);
}

#[tokio::test]
async fn what_cannot_be_proven_is_inconclusive_and_strict_says_so() {
    for (words, code) in
        [(&["--looks", "15:0.0005"][..], 0), (&["--looks", "15:0.0005", "--strict"], 11)]
    {
        let desk = Desk::new();
        let finished = check(&desk, &sim(20.0, ""), &sim(22.0, ""), words).await;
        assert_eq!(finished.code, Some(code), "{finished:?}");
        assert!(
            finished.stdout.starts_with("INCONCLUSIVE: 15 pairs prove neither"),
            "{finished:?}"
        );
        let undecided = Outcome::Inconclusive(Undecided::LastLook);
        assert_eq!(record(&desk).cells[0].outcome, undecided);
    }
}

/// (keys of head's server, what makes the check invalid), a row each.
#[tokio::test]
async fn an_insert_error_makes_the_check_invalid() {
    for keys in [
        "[sim.errors]\ndisconnects = 0.001",
        "[sim.errors]\nrestart = { at_s = 8.0, lasting_s = 1.0 }",
    ] {
        let desk = Desk::new();
        let finished = check(&desk, &sim(20.0, ""), &sim(20.0, keys), &[]).await;
        assert_eq!(finished.code, Some(13), "{keys} {finished:?}");
        assert!(finished.stdout.starts_with("INVALID: "), "{finished:?}");
        assert!(finished.stdout.contains("not confirmed (head: "), "{finished:?}");
        let record = record(&desk);
        let cell = &record.cells[0];
        let Outcome::Invalid(faults) = &cell.outcome else { panic!("{:?}", cell.outcome) };
        assert!(matches!(faults[0], Fault::InsertErrors { operations: 1.. }), "{faults:?}");
        assert!(cell.errors.base.is_empty() && !cell.errors.head.is_empty(), "{:?}", cell.errors);
        // It ends there, and not after a minute.
        assert!(cell.check.sessions()[0].pairs().len() < 15);
    }
}

/// A server that pushes back takes the operation a moment later: that is its speed, not an error.
#[tokio::test]
async fn push_back_is_no_insert_error() {
    let desk = Desk::new();
    let keys = "[sim.errors]\ndeadlocks = 0.0005";
    let finished = check(&desk, &sim(20.0, keys), &sim(20.0, keys), &[]).await;
    assert!(finished.code.is_some_and(|code| code == 0 || code == 10), "{finished:?}");
    let record = record(&desk);
    let cell = &record.cells[0];
    assert_eq!(cell.evidence.insert_errors, 0);
    assert!(cell.errors.base.contains_key("40P01"), "{:?}", cell.errors);
}

#[tokio::test]
async fn cells_are_checked_one_by_one_and_the_worst_decides() {
    // Single rows wait for commits, which are the same: only batches are slower.
    let cells = "[[cells]]\nname = \"single\"\nstrategy = \"single_row\"\n";
    let desk = Desk::new();
    let (base, head) = (sim(20.0, ""), sim(30.0, ""));
    let finished = check(&desk, &format!("{base}{cells}"), &format!("{head}{cells}"), &[]).await;
    assert_eq!(finished.code, Some(10), "{finished:?}");
    let record = record(&desk);
    let of: Vec<Conclusion> = record.cells.iter().map(|it| it.outcome.conclusion()).collect();
    assert_eq!(of, [Conclusion::Fail, Conclusion::Pass]);
    assert!(finished.stdout.starts_with("FAIL: 1,000 x 4: head is slower"), "{finished:?}");
    // Two cells and two metrics are four chances to fail.
    let look = record.cells[0].check.sessions()[0].inspections()[0].look;
    assert!((look.alpha - 0.001 / 4.0).abs() < 1e-12, "{look:?}");
}

#[tokio::test]
async fn an_arm_against_itself_says_so() {
    let desk = Desk::new();
    fs::write(desk.path().join("it.toml"), sim(20.0, "")).unwrap();
    let run = async |words: &[&str], out: &Path| {
        let mut command = batchpilot();
        command.arg("check").arg(desk.path().join("it.toml")).args(words).arg("--out").arg(out);
        ended(command).await
    };
    let finished = run(&["--null"], &desk.out()).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.contains("Both arms are base: what differs is this machine's doing."));
    assert_eq!(record(&desk).comparison, Comparison::Null(Arm::Base));

    let out = desk.path().join("calibration");
    let finished = run(&["--calibrate", "3"], &out).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.contains("3 of 3: PASS: "), "{finished:?}");
    assert!(finished.stdout.contains("0 of 3 null checks failed."), "{finished:?}");
    assert!(finished.stdout.contains("rows/s: an arm lies "), "{finished:?}");
    assert_eq!(fs::read_dir(out).unwrap().count(), 3);
}

#[tokio::test]
async fn arms_that_do_not_do_the_same_are_not_compared() {
    let other_cell = sim(20.0, "").replace("1,000 x 4", "other");
    let real = "name = \"real\"\n".to_owned() + CELL;
    let steered = sim(20.0, "").replace("batch_rows = 1_000\nworkers = 4", "controller = {}");
    for (base, head, code, problem) in [
        (sim(20.0, ""), other_cell, 12, "cells are paired by name"),
        (sim(20.0, ""), real.clone(), 12, "one arm is a simulated server and the other is not"),
        (real.clone(), format!("client_threads = 2\n{real}"), 12, "2: that would be compared"),
        (steered.clone(), steered, 2, "has a controller"),
    ] {
        let desk = Desk::new();
        let finished = check(&desk, &base, &head, &[]).await;
        assert_eq!(finished.code, Some(code), "{finished:?}");
        assert!(finished.stderr.contains(problem), "{finished:?}");
        assert!(desk.runs().is_empty(), "nothing was measured");
    }
}

#[tokio::test]
async fn the_answer_as_json_is_the_record_with_its_verdict() {
    let desk = Desk::new();
    let finished = check(&desk, &sim(20.0, ""), &sim(20.0, ""), &["--json"]).await;
    let printed: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    let text = fs::read_to_string(desk.only_run().join(CHECK)).unwrap();
    let written: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(printed, written);
    assert_eq!(printed["verdict"]["conclusion"], "pass");
    assert_eq!(printed["check_schema_version"], CHECK_SCHEMA_VERSION);
}

#[tokio::test]
async fn a_record_of_another_version_or_a_part_of_one_is_refused() {
    let desk = Desk::new();
    check(&desk, &sim(20.0, ""), &sim(20.0, ""), &[]).await;
    let file = desk.only_run().join(CHECK);
    let text = fs::read_to_string(&file).unwrap();
    let version = &format!("\"check_schema_version\": {CHECK_SCHEMA_VERSION}");
    for (text, problem) in [
        (text.replacen(version, "\"check_schema_version\": 9", 1), "has schema version 9"),
        (text[..text.len() / 2].to_owned(), "not a check of batchpilot"),
        (text.replacen("\"options\"", "\"opt\"", 1), "damaged check"),
    ] {
        fs::write(&file, text).unwrap();
        let error = read_check(&desk.only_run()).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
