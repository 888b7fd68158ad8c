//! Blocks on a real PostgreSQL, through the engine: every row, whatever the strategy and whatever
//! happens to the server meanwhile.

use batchpilot::{
    engine::{BlockOutcome, Ended},
    measure::Kind,
    plan::{CellPlan, Transaction},
    target::{Target as _, postgres::PgTarget},
};
use tokio_postgres::Client;

use crate::support::{brief, cell, database, run, target, verify};

/// Runs a cell on a fresh table and holds it to: done, every row confirmed, the table exact.
pub(crate) async fn check_whole(target: &PgTarget, cell: &CellPlan) -> BlockOutcome {
    target.reset_table().await.unwrap();
    let outcome = run(target, cell).await.unwrap_or_else(|error| panic!("{error}: {cell:?}"));
    let (rows, about) = (cell.stop.rows.unwrap(), format!("{cell:?}: {}", brief(&outcome)));
    assert_eq!(outcome.ended, Ended::Done, "{about}");
    assert_eq!(outcome.confirmed.row_count(), rows, "{about}");
    assert_eq!((outcome.confirmed.end(), outcome.rows_failed), (rows, 0), "{about}");
    assert!(outcome.in_doubt.is_empty() && outcome.error.is_none(), "{about}");

    let measured = &outcome.measurement;
    let operations = rows.div_ceil(cell.batch_rows);
    assert_eq!((measured.operations, measured.rows), (operations, rows), "{about}");
    assert_eq!((measured.pushed_back, measured.errors.len()), (0, 0), "{about}");
    for kind in [Kind::Service, Kind::Response, Kind::PoolWait, Kind::Encode] {
        assert_eq!(measured.histograms.of(kind).len(), operations, "{kind:?} {about}");
    }
    let commits = measured.histograms.of(Kind::Commit).len();
    match cell.transaction {
        Transaction::Autocommit => assert_eq!(commits, 0, "{about}"),
        Transaction::Every(1) => assert_eq!(commits, operations, "{about}"),
        Transaction::Every(_) | Transaction::Whole => {
            assert!(1 <= commits && commits <= operations.div_ceil(3) + u64::from(cell.workers));
        }
    }

    let verification = verify(target, &outcome).await;
    assert!(verification.is_exact(), "{:?} {about}", verification.complaint());
    assert_eq!((verification.rows_expected, verification.rows_found), (rows, rows), "{about}");
    outcome
}

/// Counts rows and different emails as anybody would.
async fn counts(client: &Client, target: &PgTarget) -> (u64, u64) {
    let table = format!("\"{}\".users", target.schema());
    let query = format!("SELECT count(*), count(DISTINCT email) FROM {table}");
    let row = client.query_one(&query, &[]).await.unwrap();
    let count = |column| u64::try_from(row.get::<_, i64>(column)).unwrap();
    (count(0), count(1))
}

/// Batches of seven; the last is one row, one row short, or full.
const BATCH_ROWS: u64 = 7;
const REMAINDERS: [u64; 3] = [1, BATCH_ROWS - 1, 0];

#[tokio::test]
async fn every_strategy_inserts_every_row_in_every_transaction_mode() {
    let place = database().await;
    let target = target(place.with_plain_role().await.options()).await;
    let client = place.client().await;
    let mut number = 0;
    for strategy in ["single_row", "pipelined", "multi_row", "unnest", "copy_text", "copy_binary"] {
        for transaction in ["\"autocommit\"", "\"explicit\"", "{ every = 3 }", "\"whole\""] {
            for (workers, prepared) in [(1, true), (1, false), (3, true), (3, false)] {
                let answers: &[bool] =
                    if strategy.starts_with("copy") { &[false] } else { &[false, true] };
                for returning in answers {
                    let batch_rows = if strategy == "single_row" { 1 } else { BATCH_ROWS };
                    // Each remainder meets each of the settings in the course of the loops.
                    let rows = 5 * BATCH_ROWS + REMAINDERS[number % REMAINDERS.len()];
                    number += 1;
                    let cell = cell(&format!(
                        "strategy = \"{strategy}\"\nbatch_rows = {batch_rows}\n\
                         transaction = {transaction}\nworkers = {workers}\n\
                         prepared = {prepared}\nreturning = {returning}\nstop.rows = {rows}\n"
                    ));
                    check_whole(&target, &cell).await;
                    // In other words than those of `verify`.
                    assert_eq!(counts(&client, &target).await, (rows, rows), "{cell:?}");
                }
            }
        }
    }
    target.close().await.unwrap();
    assert_eq!(place.schemas().await, Vec::<String>::new());
}

#[tokio::test]
async fn batches_larger_than_what_is_built_at_once_arrive_whole() {
    let place = database().await;
    let target = target(place.with_plain_role().await.options()).await;
    // A chunk of the supply holds 4,096 rows; 16,383 is all that multi_row can carry.
    for (strategy, batch_rows, rows) in [
        ("pipelined", 10_000, 20_001),
        ("multi_row", 10_000, 20_001),
        ("multi_row", 16_383, 2 * 16_383),
        ("unnest", 10_000, 29_999),
        ("unnest", 100_000, 100_001),
        ("copy_text", 100_000, 100_001),
        ("copy_binary", 100_000, 199_999),
    ] {
        for transaction in ["autocommit", "explicit"] {
            let cell = cell(&format!(
                "strategy = \"{strategy}\"\nbatch_rows = {batch_rows}\nworkers = 2\n\
                 transaction = \"{transaction}\"\nstop.rows = {rows}\n"
            ));
            check_whole(&target, &cell).await;
        }
    }
    target.close().await.unwrap();
}

#[tokio::test]
async fn a_table_that_was_tampered_with_is_found_out_and_the_row_named() {
    let place = database().await;
    let target = target(place.options()).await;
    let client = place.client().await;
    let copy = "INSERT INTO users (name, email, age, created_at) SELECT name, email, age, \
                created_at FROM users WHERE id = 7";
    let twice_and_none = format!("{copy}; DELETE FROM users WHERE id = 9");
    // Row 6 has id 7: one worker, and a sequence that counts from 1.
    for (tampering, expected) in [
        ("DELETE FROM users WHERE id = 7", "20 rows confirmed, 19 found: 1 missing (row 6)"),
        (copy, "20 rows confirmed, 21 found: 1 duplicate (row 6)"),
        (&twice_and_none, "20 found: 1 missing (row 8); 1 duplicate (row 6)"),
        (
            "INSERT INTO users (email) VALUES ('stranger@example.com')",
            "20 rows confirmed, 21 found: 1 foreign (\"stranger@example.com\")",
        ),
        (
            "INSERT INTO users (email) VALUES ('user_20@example.com')",
            "20 rows confirmed, 21 found: 1 foreign (\"user_20@example.com\")",
        ),
        ("INSERT INTO users DEFAULT VALUES", "20 rows confirmed, 21 found: 1 foreign (\"\")"),
        ("UPDATE users SET age = age + 1 WHERE id = 7", "1 changed (row 6: age)"),
        ("UPDATE users SET age = NULL WHERE id = 7", "1 changed (row 6: age)"),
        ("UPDATE users SET name = name || ' ' WHERE id = 7", "1 changed (row 6: name)"),
        (
            "UPDATE users SET created_at = created_at + interval '1 microsecond' WHERE id = 7",
            "1 changed (row 6: created_at)",
        ),
        (
            "UPDATE users SET email = 'user_8@example.com' WHERE id = 7",
            "1 missing (row 6); 1 duplicate (row 8); 1 changed (row 8: name)",
        ),
        ("TRUNCATE users", "20 missing (row 0, row 1, row 2, row 3, row 4, …)"),
    ] {
        target.reset_table().await.unwrap();
        let cell = cell("strategy = \"copy_binary\"\nbatch_rows = 20\nstop.rows = 20\n");
        let outcome = run(&target, &cell).await.unwrap();
        assert_eq!((outcome.ended, outcome.confirmed.row_count()), (Ended::Done, 20));
        let tampering = format!("SET search_path TO \"{}\"; {tampering}", target.schema());
        client.batch_execute(&tampering).await.unwrap();
        let verification = verify(&target, &outcome).await;
        assert!(!verification.is_exact(), "{tampering}");
        let complaint = verification.complaint().unwrap();
        assert!(complaint.contains(expected), "{tampering}: {complaint}");
    }
    target.close().await.unwrap();
}
