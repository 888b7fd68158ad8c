//! Whole checks on a real PostgreSQL, in short blocks: what they say where that does not hang on how
//! fast the machine is, what they leave behind, and their bad days.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use batchpilot::{
    gate::{Arm, Conclusion, Fault, Outcome},
    record::{CHECK, CheckRecord, Comparison, read_check},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::Command;

use crate::{
    cluster::wait_until,
    support::{Desk, Ended, Place, batchpilot, cluster, database, ended},
};

/// Short blocks, few looks, and nothing that a slow or busy machine could make invalid.
pub(crate) const SHORT: &[&str] = &[
    "--block-min",
    "120ms",
    "--block-max",
    "120ms",
    "--guard-min",
    "20ms",
    "--guard-operations",
    "0",
    "--warm-up-window",
    "100ms",
    "--warm-up-max",
    "500ms",
    "--pairs-min",
    "6",
    "--pairs-a-table",
    "4",
    "--client-bound-max",
    "100%",
    "--steal-max",
    "100%",
];
/// As few pairs as can fail.
const LOOKS: [&str; 2] = ["--looks", "7:0.02,9:0.02"];

const PLAIN: &str = "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n\
                     customer integer NOT NULL, price numeric(10, 2) NOT NULL, note text);\n";
/// Each statement of an operation sleeps ten times as long as it takes without.
const SLEEPS: &str = "CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS\n\
                      $$ BEGIN PERFORM pg_sleep(0.08); RETURN NULL; END $$;\n\
                      CREATE TRIGGER nap AFTER INSERT ON orders\n\
                      FOR EACH STATEMENT EXECUTE FUNCTION nap();\n";

fn write(desk: &Desk, name: &str, text: &str) -> PathBuf {
    let file = desk.path().join(name);
    fs::write(&file, text).unwrap();
    file
}

/// Prepares a check of two schemas in a database.
fn schemas(desk: &Desk, place: &Place, base: &str, head: &str) -> Command {
    let mut command = schemas_without_looks(desk, place, base, head);
    command.args(LOOKS);
    command
}

fn schemas_without_looks(desk: &Desk, place: &Place, base: &str, head: &str) -> Command {
    let (base, head) = (write(desk, "old.sql", base), write(desk, "new.sql", head));
    let mut command = batchpilot();
    command.arg("check").arg("--base-ddl").arg(base).arg("--head-ddl").arg(head);
    command.args(["--url", &place.url()]).args(SHORT).arg("--out").arg(desk.out());
    command
}

async fn record_of(desk: &Desk, place: &Place) -> CheckRecord {
    assert_eq!(place.schemas().await, Vec::<String>::new(), "nothing is left behind");
    read_check(&desk.only_run()).unwrap_or_else(|error| panic!("{error}"))
}

fn faults(record: &CheckRecord) -> &[Fault] {
    match &record.cells[0].outcome {
        Outcome::Invalid(faults) => faults,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_trigger_that_sleeps_is_found_and_confirmed() {
    let (place, desk) = (database().await, Desk::new());
    let finished = ended(schemas(&desk, &place, PLAIN, &format!("{PLAIN}{SLEEPS}"))).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(10), ""), "{finished:?}");
    assert!(finished.stdout.starts_with("FAIL: head is slower than base: rows/s 0."));
    let record = record_of(&desk, &place).await;
    assert_eq!((record.comparison, record.complete), (Comparison::Schemas, true));
    assert!(record.arms.base.label.ends_with("old.sql"), "{}", record.arms.base.label);
    assert_eq!(record.arms.head.plan.table.name, "orders");
    let cell = &record.cells[0];
    assert_eq!(cell.sessions.len(), 2);
    assert!(cell.tables.problems.is_empty() && 1_000 < cell.tables.rows, "{:?}", cell.tables);
    // The warm-up, 4 pairs and 3 pairs: 3 tables of each arm in each session.
    assert_eq!(cell.tables.tables, 12);
    assert!(!fs::read_to_string(desk.only_run().join(CHECK)).unwrap().contains(&place.password));
}

#[tokio::test]
async fn an_arm_against_itself_goes_through_every_strategy() {
    let (place, desk) = (database().await, Desk::new());
    let cell = |strategy: &str| {
        format!("[[cells]]\nname = \"{strategy}\"\nstrategy = \"{strategy}\"\nworkers = 2\n")
    };
    let all = ["single_row", "pipelined", "multi_row", "unnest", "copy_text", "copy_binary"];
    let cells = all.map(cell).concat() + "transaction = { every = 3 }\nreturning = false\n";
    let file = write(&desk, "it.toml", &format!("name = \"strategies\"\n{cells}"));
    let ddl = write(&desk, "it.sql", PLAIN);
    let mut command = batchpilot();
    command.arg("check").arg(file).arg("--null").arg("--ddl").arg(ddl).args(SHORT);
    // Six cells are twelve chances to fail, which share the level.
    command
        .args(["--looks", "7:0.04,9:0.04"])
        .args(["--url", &place.url()])
        .arg("--out")
        .arg(desk.out());
    let finished = ended(command).await;
    assert!(matches!(finished.code, Some(0 | 10)), "{finished:?}");
    let record = record_of(&desk, &place).await;
    assert_eq!(record.comparison, Comparison::Null(Arm::Base));
    let names: Vec<&str> = record.cells.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, all);
    for cell in &record.cells {
        assert!(cell.tables.problems.is_empty() && 0 < cell.tables.rows, "{cell:?}");
        // One of the warm-up, and one of every 4 pairs.
        let sessions = cell.check.sessions().iter();
        let tables = sessions.map(|it| 2 * (1 + it.pairs().len().div_ceil(4) as u64));
        assert_eq!(cell.tables.tables, tables.sum::<u64>(), "{}", cell.name);
        assert_eq!(cell.evidence.insert_errors, 0);
    }
}

#[tokio::test]
async fn what_is_no_arm_or_no_table_is_said_and_nothing_is_left() {
    let place = database().await;
    let two = format!("{PLAIN}CREATE TABLE parts (id integer);\n");
    let more = PLAIN.replace("note text", "note text, region text NOT NULL");
    let other_type = PLAIN.replace("customer integer", "customer bigint");
    let with_default = PLAIN.replace("note text", "note text, region text NOT NULL DEFAULT 'x'");
    let leaves = format!("{PLAIN}ALTER TABLE orders SET SCHEMA public;\n");
    let wrong = format!("{PLAIN}CREATE INDEX ON orders (custmer);\n");
    for (head, words, code, problem) in [
        (two.as_str(), &[][..], 2, "new.sql makes 2 tables; name one with --table: orders, parts"),
        (&two, &["--table", "ordrs"], 2, "makes no table `ordrs`"),
        (&more, &[], 12, "not comparable: only head's rows have `region`"),
        (&other_type, &[], 12, "`customer` is integer in base and bigint in head"),
        (&leaves, &[], 2, "new.sql: line 3: `ALTER TABLE ORDERS …` is not run: it would leave"),
        (&wrong, &[], 2, "new.sql:3: statement 2 (CREATE INDEX ON …): column \"custmer\" does not"),
        ("CREATE TABLE", &[], 2, "new.sql:1: statement 1"),
    ] {
        let desk = Desk::new();
        let mut command = schemas(&desk, &place, PLAIN, head);
        command.args(words);
        let finished = ended(command).await;
        assert_eq!(finished.code, Some(code), "{head} {finished:?}");
        assert!(finished.stderr.contains(problem), "{head} {finished:?}");
        assert!(desk.runs().is_empty(), "{head}: nothing was measured");
        assert_eq!(place.schemas().await, Vec::<String>::new(), "{head}");
    }
    // What is left out must be nothing that a row needs.
    let desk = Desk::new();
    let mut command = schemas(&desk, &place, PLAIN, &more);
    command.arg("--common-columns");
    let finished = ended(command).await;
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains("region"), "{finished:?}");
    let desk = Desk::new();
    let mut command =
        schemas(&desk, &place, PLAIN, &more.replace("region text NOT NULL", "region text"));
    command.arg("--common-columns");
    let finished = ended(command).await;
    assert!(matches!(finished.code, Some(0 | 10)), "{finished:?}");
    let record = record_of(&desk, &place).await;
    let note = "head: `region` is left out: only head has it";
    assert!(record.notes.iter().any(|it| it == note), "{:?}", record.notes);
    // A column that the server fills does not count.
    let desk = Desk::new();
    let finished = ended(schemas(&desk, &place, PLAIN, &with_default)).await;
    assert!(matches!(finished.code, Some(0 | 10)), "{finished:?}");
}

/// An index alone would not fail for sure in blocks so short; that both schemas are what ran is in
/// the record.
#[tokio::test]
async fn a_schema_is_compared_with_what_it_was() {
    let (place, desk) = (database().await, Desk::new());
    let git = async |words: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(desk.path()).args(["-c", "user.name=a", "-c", "user.email=a@b.c"]);
        let output = command.args(words).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let file = write(&desk, "schema.sql", PLAIN);
    git(&["init", "--quiet"]).await;
    git(&["add", "schema.sql"]).await;
    git(&["commit", "--quiet", "--message", "one"]).await;
    write(&desk, "schema.sql", &format!("{PLAIN}{SLEEPS}"));
    let check = |reference: &str, file: &Path| {
        let mut command = batchpilot();
        command.args(["check", "--base-ref", reference, "--ddl"]).arg(file);
        command.args(["--url", &place.url()]).args(SHORT).args(LOOKS).arg("--out").arg(desk.out());
        ended(command)
    };
    let finished = check("HEAD", &file).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(10), ""), "{finished:?}");
    let record = record_of(&desk, &place).await;
    let label = &record.arms.base.label;
    assert!(label.contains("schema.sql at HEAD (") && !label.contains("()"), "{label}");
    for (reference, file, problem) in [
        ("nowhere", file.as_path(), "`nowhere` is no commit of this repository"),
        ("HEAD", &desk.path().join("other.sql"), "`HEAD` does not show"),
    ] {
        let finished = check(reference, file).await;
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains(problem), "{finished:?}");
    }
}

#[tokio::test]
async fn two_servers_are_two_arms_and_no_password_is_written() {
    let (one, two, desk) = (database().await, database().await, Desk::new());
    let mut command = batchpilot();
    command
        .arg("check")
        .args([one.url(), two.url()])
        .args(SHORT)
        .args(LOOKS)
        .arg("--out")
        .arg(desk.out());
    let finished = ended(command).await;
    assert!(matches!(finished.code, Some(0 | 10)), "{finished:?}");
    let record = record_of(&desk, &one).await;
    assert_eq!(two.schemas().await, Vec::<String>::new());
    assert_eq!(record.comparison, Comparison::Servers);
    assert!(record.arms.base.label.contains(&one.database), "{}", record.arms.base.label);
    assert!(record.arms.head.label.contains(&two.database), "{}", record.arms.head.label);
    let text = fs::read_to_string(desk.only_run().join(CHECK)).unwrap();
    assert!(!text.contains(&one.password) && !finished.stdout.contains(&one.password));
}

#[tokio::test]
async fn rows_that_the_server_rejects_or_drops_make_a_check_invalid() {
    let place = database().await;
    let trigger = |body: &str| {
        format!(
            "{PLAIN}CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;\n\
             CREATE TRIGGER f BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION f();\n"
        )
    };
    let rejects = trigger("IF NEW.id > 3000 THEN RAISE 'enough'; END IF; RETURN NEW;");
    let drops = trigger("IF NEW.id % 1500 = 0 THEN RETURN NULL; END IF; RETURN NEW;");
    let desk = Desk::new();
    let finished = ended(schemas(&desk, &place, PLAIN, &rejects)).await;
    assert_eq!(finished.code, Some(13), "{finished:?}");
    assert!(
        finished.stdout.contains("not confirmed (head: ") && finished.stdout.contains("enough")
    );
    let record = record_of(&desk, &place).await;
    assert!(matches!(faults(&record)[0], Fault::InsertErrors { .. }));
    assert!(record.cells[0].errors.base.is_empty(), "{:?}", record.cells[0].errors);

    let desk = Desk::new();
    let finished = ended(schemas(&desk, &place, PLAIN, &drops)).await;
    assert_eq!(finished.code, Some(13), "{finished:?}");
    let record = record_of(&desk, &place).await;
    let wrong = faults(&record).iter().any(|it| matches!(it, Fault::WrongTables { tables: 1 }));
    assert!(wrong, "{:?}", record.cells[0].outcome);
    assert!(record.cells[0].tables.problems[0].starts_with("head, session 1: "));
}

/// Where UNIQUE columns have few values, tables are emptied sooner; where they have too few for one
/// block, that is said.
#[tokio::test]
async fn a_table_that_takes_few_rows_is_emptied_in_time() {
    let place = database().await;
    let unique = |most: u64| {
        format!("CREATE TABLE it (code integer UNIQUE CHECK (code BETWEEN 1 AND {most}));\n")
    };
    let scenario = "name = \"few\"\n[[cells]]\nname = \"cell\"\nstrategy = \"single_row\"\n";
    for (most, is_enough) in [(8_000, true), (20, false)] {
        let desk = Desk::new();
        let file = write(&desk, "few.toml", scenario);
        let mut command = schemas(&desk, &place, &unique(most), &unique(most));
        command.arg("--scenario").arg(file);
        let finished = ended(command).await;
        if is_enough {
            assert!(matches!(finished.code, Some(0 | 10)), "{finished:?}");
            let record = record_of(&desk, &place).await;
            assert!(record.cells[0].tables.problems.is_empty());
        } else {
            assert_eq!(finished.code, Some(2), "{finished:?}");
            assert!(finished.stderr.contains("have values for 20 rows"), "{finished:?}");
            assert_eq!(place.schemas().await, Vec::<String>::new());
        }
    }
}

/// Waits until pairs are on disk, then does something to the check.
pub(crate) async fn after_pairs(
    desk: &Desk,
    mut command: Command,
    what: impl FnOnce(Pid),
) -> Ended {
    let process = command.spawn().unwrap();
    let has_pairs = || {
        let run = desk.runs().pop();
        let pairs = run.and_then(|run| fs::read_to_string(run.join("pairs.csv")).ok());
        pairs.is_some_and(|it| 5 < it.lines().count())
    };
    wait_until(Duration::from_secs(120), has_pairs).await;
    what(Pid::from_raw(i32::try_from(process.id().unwrap()).unwrap()));
    process.wait_with_output().await.unwrap().into()
}

/// A check that would take minutes.
fn long(desk: &Desk, place: &Place) -> Command {
    let mut command = schemas_without_looks(desk, place, PLAIN, PLAIN);
    command.args(LONG);
    command
}

pub(crate) const LONG: [&str; 2] = ["--looks", "1000:0.02"];

#[tokio::test]
async fn a_check_that_is_stopped_or_killed_leaves_what_it_measured() {
    for (signal, code) in
        [(Signal::SIGINT, Some(130)), (Signal::SIGTERM, Some(143)), (Signal::SIGKILL, None)]
    {
        let (place, desk) = (database().await, Desk::new());
        let command = long(&desk, &place);
        let finished = after_pairs(&desk, command, |id| kill(id, signal).unwrap()).await;
        assert_eq!(finished.code, code, "{signal}: {finished:?}");
        let record = read_check(&desk.only_run()).unwrap();
        assert!(!record.complete, "{signal}");
        let pairs = record.cells[0].check.sessions()[0].pairs().len();
        assert!(2 <= pairs, "{signal}: {pairs}");
        if code.is_none() {
            assert!(record.finished_at.is_none());
            continue;
        }
        assert!(record.cells[0].tables.problems.is_empty());
        assert_eq!(place.schemas().await, Vec::<String>::new(), "{signal}");
        assert!(finished.stdout.contains("stopped by a signal"), "{finished:?}");
    }
}

#[tokio::test]
async fn a_server_that_dies_ends_the_check_with_an_error_and_leaves_the_other_clean() {
    let settings = [("fsync", "off"), ("log_min_messages", "panic")];
    let (dies, stays, desk) = (cluster(&settings).await, database().await, Desk::new());
    let head = Place::of(&dies);
    let mut command = batchpilot();
    command.arg("check").args([stays.url(), head.url()]).args(SHORT).args(LONG);
    command.arg("--out").arg(desk.out());
    let postmaster = Pid::from_raw(i32::try_from(dies.postmaster_pid()).unwrap());
    let finished =
        after_pairs(&desk, command, |_| kill(postmaster, Signal::SIGQUIT).unwrap()).await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("head ("), "{finished:?}");
    assert!(finished.stdout.starts_with("INVALID: "), "{finished:?}");
    assert_eq!(stays.schemas().await, Vec::<String>::new());
    let record = read_check(&desk.only_run()).unwrap();
    assert!(!record.complete && record.error.is_some());
    assert_eq!(record.conclusion(), Conclusion::Invalid);
    assert!(record.cells[0].errors.of(Arm::Base).is_empty());
    drop(dies);
}
