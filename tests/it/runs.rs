//! Whole runs from the command line, as a person or a script sees them: exit code, what is said and
//! where, and what is left behind.

use std::{fs, io::Write as _, path::Path, time::Duration};

use batchpilot::{
    clock,
    record::{self, BlockEnd, Record},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};
use tokio::process::Child;

use crate::{
    cluster::{processes_of, wait_until},
    support::{BATCHPILOT, Desk, Ended, Place, batchpilot, cluster, database, ended},
};

/// Copies 30 rows in batches of 10.
const SHORT: &str = "name = \"short\"\nrepetitions = 2\nstop = { rows = 30 }\n[[cells]]\n\
                     name = \"copy\"\nstrategy = \"copy_binary\"\nbatch_rows = 10\n";

async fn run_on(place: &Place, desk: &Desk, scenario: &str) -> Ended {
    let mut command = desk.run(scenario);
    command.arg("--url").arg(place.url());
    ended(command).await
}

/// Holds a failed run to: said in a line or two on standard error, nothing else left anywhere.
fn check_failed(ended: &Ended, desk: &Desk, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    assert!(ended.stderr.starts_with("batchpilot: "), "{ended:?}");
    assert!((1..=2).contains(&ended.stderr.lines().count()), "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is not in {ended:?}");
    }
    assert_eq!(desk.runs(), Vec::<std::path::PathBuf>::new(), "{ended:?}");
}

#[tokio::test]
async fn a_good_run_is_valid_and_leaves_only_its_results() {
    let (place, desk) = (database().await, Desk::new());
    let ended = run_on(&place, &desk, SHORT).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.starts_with("VALID: 2 of 2 blocks"), "{ended:?}");
    let record = record::read(&desk.only_run()).unwrap();
    assert!(record.complete && record.finished_at.is_some());
    assert_eq!(place.schemas().await, Vec::<String>::new());
}

/// Has every table `users` that is made get a trigger `meddle` that runs `body` for the row with
/// id 7, which is row 6.
async fn meddle(place: &Place, timing: &str, body: &str) {
    let text = format!(
        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$; \
         CREATE FUNCTION add_meddler() RETURNS event_trigger LANGUAGE plpgsql AS $$ \
         DECLARE made record; BEGIN \
           FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() \
               WHERE command_tag = 'CREATE TABLE' AND object_identity LIKE '%.users' LOOP \
             EXECUTE format('CREATE TRIGGER meddle {timing} INSERT ON %s FOR EACH ROW \
                             WHEN (NEW.id = 7) EXECUTE FUNCTION public.meddle()', \
                            made.object_identity); \
           END LOOP; \
         END $$; \
         CREATE EVENT TRIGGER add_meddler ON ddl_command_end WHEN TAG IN ('CREATE TABLE') \
         EXECUTE FUNCTION add_meddler()"
    );
    place.client().await.batch_execute(&text).await.unwrap();
}

#[tokio::test]
async fn a_table_that_lies_makes_the_run_invalid_and_that_is_said_first() {
    let insert = |values: &str| {
        format!(
            "EXECUTE format('INSERT INTO %I.%I (name, email, age, created_at) SELECT {values}', \
             TG_TABLE_SCHEMA, TG_TABLE_NAME) USING NEW; RETURN NULL;"
        )
    };
    let twice = insert("($1).name, ($1).email, ($1).age, ($1).created_at");
    let stranger = insert("''eve'', ''eve@example.com'', 40, now()");
    let delete = "EXECUTE format('DELETE FROM %I.%I WHERE id = 7', TG_TABLE_SCHEMA, \
                  TG_TABLE_NAME); RETURN NULL;";
    for (timing, body, expected) in [
        ("AFTER", delete, "30 rows confirmed, 29 found: 1 missing (row 6)"),
        ("BEFORE", "RETURN NULL;", "30 rows confirmed, 29 found: 1 missing (row 6)"),
        ("AFTER", &twice, "30 rows confirmed, 31 found: 1 duplicate (row 6)"),
        ("AFTER", &stranger, "30 rows confirmed, 31 found: 1 foreign (\"eve@example.com\")"),
        ("BEFORE", "NEW.age := NEW.age + 1; RETURN NEW;", "1 changed (row 6: age)"),
    ] {
        for strategy in ["copy_binary", "multi_row", "unnest"] {
            let (place, desk) = (database().await, Desk::new());
            meddle(&place, timing, body).await;
            let scenario = SHORT.replace("copy_binary", strategy);
            let ended = run_on(&place, &desk, &format!("{scenario}on_error = \"collect\"\n")).await;
            assert_eq!(ended.code, Some(13), "{ended:?}");
            assert!(ended.stdout.starts_with("INVALID: 0 of 2 blocks"), "{ended:?}");
            assert!(ended.stdout.contains("block 0 (copy, repetition 0): "), "{ended:?}");
            assert!(ended.stdout.contains(expected), "{expected}: {ended:?}");
            assert_eq!(place.schemas().await, Vec::<String>::new());

            // The record says so too, whenever it is asked.
            let mut again = batchpilot();
            again.arg("report").arg(desk.only_run());
            let again = crate::support::ended(again).await;
            assert_eq!(again.code, Some(13), "{again:?}");
            assert!(again.stdout.starts_with("INVALID: "), "{again:?}");
        }
    }
}

#[tokio::test]
async fn an_operation_that_was_confirmed_in_part_makes_the_run_invalid() {
    for transaction in ["\"autocommit\"", "\"explicit\"", "{ every = 2 }", "\"whole\""] {
        let (place, desk) = (database().await, Desk::new());
        meddle(&place, "BEFORE", "RETURN NULL;").await;
        let scenario = format!("{SHORT}transaction = {transaction}\n");
        let ended = run_on(&place, &desk, &scenario).await;
        assert_eq!(ended.code, Some(13), "{ended:?}");
        assert!(ended.stdout.starts_with("INVALID: "), "{ended:?}");
        assert!(ended.stdout.contains("1 missing (row 6)"), "{ended:?}");
        let said = "10 rows were sent and the server confirmed 9";
        assert!(ended.stderr.contains(said), "{ended:?}");
        assert_eq!(place.schemas().await, Vec::<String>::new());
    }
}
