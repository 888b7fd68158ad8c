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
    let other_type = PLAIN.replace("customer integer", "customer text");
    let with_default = PLAIN.replace("note text", "note text, region text NOT NULL DEFAULT 'x'");
    let leaves = format!("{PLAIN}ALTER TABLE orders SET SCHEMA public;\n");
    let wrong = format!("{PLAIN}CREATE INDEX ON orders (custmer);\n");
    for (head, words, code, problem) in [
        (two.as_str(), &[][..], 2, "new.sql makes 2 tables; name one with --table: orders, parts"),
        (&two, &["--table", "ordrs"], 2, "makes no table `ordrs`"),
        (&more, &[], 12, "not comparable: only head's rows have `region`"),
        (&other_type, &[], 12, "`customer` is integer in base and text in head"),
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

/// What the command line or the environment names stands before `target.url`: two scenarios that name
/// a server each would both run there, and nothing would be compared.
#[tokio::test]
async fn two_servers_are_not_silently_one() {
    let (one, two, desk) = (database().await, database().await, Desk::new());
    let arms = [("base", &one), ("head", &two)].map(|(arm, place)| {
        let url = place.url();
        let scenario =
            format!("name = \"{arm}\"\ntarget.url = \"{url}\"\n[[cells]]\nname = \"it\"\nstrategy = \"multi_row\"\n");
        write(&desk, &format!("{arm}.toml"), &scenario)
    });
    let check = || {
        let mut command = batchpilot();
        command.arg("check").args(&arms).args(SHORT).args(LOOKS).arg("--out").arg(desk.out());
        command
    };
    let (mut by_option, mut by_variable) = (check(), check());
    by_option.args(["--url", &one.url()]);
    by_variable.env("DATABASE_URL", one.url());
    for (command, name) in [(by_option, "--url"), (by_variable, "DATABASE_URL")] {
        let finished = ended(command).await;
        assert_eq!(finished.code, Some(2), "{finished:?}");
        let problem = format!("{name} outranks both, so that one server would be checked");
        assert!(finished.stderr.contains(&problem), "{finished:?}");
        assert!(!finished.stderr.contains(&one.password), "{finished:?}");
        assert!(desk.runs().is_empty());
    }
    let finished = ended(check()).await;
    assert!(matches!(finished.code, Some(0 | 10)), "{finished:?}");
    let record = record_of(&desk, &one).await;
    assert_ne!(record.arms.base.server, record.arms.head.server);
    assert_eq!(two.schemas().await, Vec::<String>::new());
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
            let problem = "have values for 20 rows, and a block of 100ms takes about";
            assert!(finished.stderr.contains(problem), "{finished:?}");
            assert!(finished.stderr.contains("make blocks shorter (--block-min"), "{finished:?}");
            assert_eq!(place.schemas().await, Vec::<String>::new());
        }
    }
}

/// The first ten rows of a table take 20 ms each, so that a first block takes five or six of 30, a
/// second one as many, and the third comes to the end of all.
const SLOW_AT_FIRST: &str = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n\
     IF NEW.id <= 10 THEN PERFORM pg_sleep(0.02); END IF; RETURN NEW; END $$;\n\
     CREATE TRIGGER f BEFORE INSERT ON it FOR EACH ROW EXECUTE FUNCTION f();\n";

#[tokio::test]
async fn rows_that_end_within_a_block_begin_anew_in_both_arms() {
    let place = database().await;
    let table = |column: &str| {
        format!(
            "CREATE TABLE it (id bigint GENERATED ALWAYS AS IDENTITY, {column});\n{SLOW_AT_FIRST}"
        )
    };
    let unique = table("code integer UNIQUE CHECK (code BETWEEN 1 AND 30)");
    let scenario = "name = \"few\"\n[[cells]]\nname = \"cell\"\nstrategy = \"single_row\"\n";
    for (ddl, lines, problem) in [
        (unique, None, None),
        (table("code integer"), Some(30), None),
        (
            table("code integer"),
            Some(3),
            Some("rows.csv has 3 rows, and a block of 100ms takes about 5; add rows to it"),
        ),
    ] {
        let desk = Desk::new();
        let file = write(&desk, "few.toml", scenario);
        let mut command = schemas(&desk, &place, &ddl, &ddl);
        command.arg("--scenario").arg(file);
        if let Some(lines) = lines {
            let numbers: Vec<String> = (1..=lines).map(|it: u32| it.to_string()).collect();
            let text = format!("code\n{}\n", numbers.join("\n"));
            command.arg("--csv").arg(write(&desk, "rows.csv", &text));
        }
        let finished = ended(command).await;
        if let Some(problem) = problem {
            assert_eq!(finished.code, Some(2), "{finished:?}");
            let start = problem.split("about").next().unwrap();
            assert!(finished.stderr.contains(start), "{finished:?}");
            continue;
        }
        assert!(matches!(finished.code, Some(0 | 10)), "{lines:?}: {finished:?}");
        let record = record_of(&desk, &place).await;
        let cell = &record.cells[0];
        assert!(record.complete && cell.tables.problems.is_empty(), "{:?}", cell.tables);
        // Both are emptied together, in the warm-up and after each pair: 30 rows hold no more blocks.
        assert!(cell.tables.tables.is_multiple_of(2), "{:?}", cell.tables);
        let pairs = cell.check.sessions().iter().map(|session| session.pairs().len() as u64);
        assert!(2 * pairs.sum::<u64>() < cell.tables.tables, "{:?}", cell.tables);
        assert_eq!(cell.evidence.insert_errors, 0);
    }
}

/// Both arms have as many sessions as there are for both; without one for each, there is no check.
#[tokio::test]
async fn arms_share_the_sessions_that_a_server_has_free() {
    for (connections, workers) in [("9", Some(3)), ("3", None)] {
        let cluster = cluster(&[
            ("max_connections", connections),
            ("superuser_reserved_connections", "0"),
            ("autovacuum", "off"),
            ("fsync", "off"),
            ("log_min_messages", "panic"),
        ])
        .await;
        let (place, desk) = (Place::of(&cluster), Desk::new());
        let finished = ended(schemas(&desk, &place, PLAIN, PLAIN)).await;
        if workers.is_some() {
            one_server_by_two_urls(&place).await;
        }
        match workers {
            Some(workers) => {
                assert!(matches!(finished.code, Some(0 | 10)), "{finished:?}");
                let record = record_of(&desk, &place).await;
                let note = "3 workers at most: the server has 7 sessions free for this role, and \
                            both arms share them";
                assert_eq!(finished.stderr.matches(note).count(), 1, "{finished:?}");
                assert_eq!(record.notes.iter().filter(|it| it.ends_with(note)).count(), 1);
                for arm in Arm::BOTH {
                    assert_eq!(record.arms.of(arm).plan.cells[0].workers, workers);
                }
            }
            None => {
                assert_eq!(finished.code, Some(1), "{finished:?}");
                let problem = "base: the server has 1 session free for this role, and both arms \
                               share them; each needs one for a worker";
                assert!(finished.stderr.contains(problem), "{finished:?}");
                assert!(finished.stderr.contains("raise max_connections"), "{finished:?}");
                assert!(desk.runs().is_empty());
                assert_eq!(place.schemas().await, Vec::<String>::new());
            }
        }
        cluster.stop().await.unwrap();
    }
}

/// Arms that reach one server by different names share its sessions all the same.
async fn one_server_by_two_urls(place: &Place) {
    let desk = Desk::new();
    let other = place.url().replace("127.0.0.1", "localhost");
    assert_ne!(other, place.url());
    let mut command = batchpilot();
    command.arg("check").args([place.url(), other]).args(SHORT).arg("--out").arg(desk.out());
    let finished = ended(command).await;
    assert!(matches!(finished.code, Some(0 | 10)), "{finished:?}");
    let note = "sessions free for this role, and both arms share them";
    assert!(finished.stderr.contains(note), "{finished:?}");
    let record = read_check(&desk.only_run()).unwrap();
    let instance = |arm: Arm| record.arms.of(arm).server.as_ref().unwrap().instance.clone();
    assert!(instance(Arm::Base).is_some());
    assert_eq!(instance(Arm::Base), instance(Arm::Head));
}

/// A migration that makes a column wider: both arms get what fits into the narrower one.
#[tokio::test]
async fn columns_made_wider_get_the_values_that_fit_both() {
    let place = database().await;
    let table = |columns: [&str; 6]| {
        let [a, b, c, d, e, f] = columns;
        format!(
            "CREATE TYPE mood AS ENUM ('good', 'bad');\n\
             CREATE TABLE it (a {a} NOT NULL, b {b}, c {c}, d {d}, e {e}, f {f}, g mood[]);\n"
        )
    };
    let narrow = ["smallint", "integer", "varchar(4)", "varchar(10)", "varchar(50)", "integer"];
    let wide =
        ["bigint", "bigint", "varchar(40)", "text", "text", "integer CHECK (f BETWEEN 5 AND 9)"];
    let desk = Desk::new();
    let finished = ended(schemas(&desk, &place, &table(narrow), &table(wide))).await;
    assert!(matches!(finished.code, Some(0 | 10)), "{finished:?}");
    let record = record_of(&desk, &place).await;
    assert!(record.cells[0].tables.problems.is_empty() && 0 < record.cells[0].tables.rows);
    for note in [
        "`a` is smallint in base and bigint in head",
        "`a`: both arms get values from 1 to 32767, which both columns take",
        "`b`: both arms get values from 1 to 1000000, which both columns take",
        "`c`: both arms get texts of 4 characters, which both columns take",
        "`d` is character varying in base and text in head",
        "`d`: both arms get texts of 8 to 10 characters, which both columns take",
        "`e` is character varying in base and text in head",
        "`f`: both arms get values from 5 to 9, which both columns take",
    ] {
        assert!(record.notes.iter().any(|it| it == note), "{note}: {:?}", record.notes);
    }
    let rules = |arm: Arm| &record.arms.of(arm).plan.table.columns;
    assert_eq!(rules(Arm::Base), rules(Arm::Head));
    assert!(!record.notes.iter().any(|it| it.starts_with("`e`: ")), "{:?}", record.notes);
    // The same types, and values that cannot be the same.
    for (base, head, problem) in [
        ("integer", "text", "`b` is integer in base and text in head; both arms must"),
        ("integer", "integer UNIQUE", "`b` gets other values in head than in base, as its UNIQUE"),
        ("integer CHECK (b < 5)", "bigint CHECK (b > 7)", "`b` gets other values in head than"),
        ("numeric(8, 2)", "numeric(9, 2)", "`b` gets other values in head than in base"),
    ] {
        let of = |b| table(["smallint", b, "text", "text", "text", "integer"]);
        let desk = Desk::new();
        let finished = ended(schemas(&desk, &place, &of(base), &of(head))).await;
        assert_eq!(finished.code, Some(12), "{head}: {finished:?}");
        assert!(finished.stderr.contains(problem), "{head}: {finished:?}");
        assert!(desk.runs().is_empty(), "{head}: nothing was measured");
        assert_eq!(place.schemas().await, Vec::<String>::new(), "{head}");
    }
}

/// Two files are the same if all their bytes are, not the first 1,000 rows; and if both tables take as
/// many of their lines.
#[tokio::test]
async fn arms_with_rows_of_their_own_insert_the_same_file() {
    let place = database().await;
    let rows = |at_4_000: u32| {
        // More than a block inserts, on whatever machine; each fits a smallint.
        let number = |row: u32| if row == 4_000 { at_4_000 } else { row % 5_000 };
        let numbers: Vec<String> = (1..=200_000).map(|row| number(row).to_string()).collect();
        format!("code\n{}\n", numbers.join("\n"))
    };
    let bad_line = "on_bad_line = \"skip\"";
    for (files, types, keys, problem) in [
        ([rows(1), rows(1)], ["integer", "bigint"], ["", ""], None),
        ([rows(1), rows(2)], ["integer"; 2], ["", ""], Some("are not the same file")),
        (
            [rows(70_000), rows(70_000)],
            ["smallint", "integer"],
            [bad_line; 2],
            Some("base.csv that a table cannot take are left out: 1 in base and 0 in head"),
        ),
        (
            [rows(1), rows(1)],
            ["integer"; 2],
            ["delimiter = \";\"", ""],
            Some("files that are read in different ways"),
        ),
    ] {
        let desk = Desk::new();
        for (place, arm) in ["base", "head"].into_iter().enumerate() {
            let ddl = format!("CREATE TABLE it (code {});\n", types[place]);
            write(&desk, &format!("{arm}.sql"), &ddl);
            write(&desk, &format!("{arm}.csv"), &files[place]);
            let scenario = format!(
                "name = \"own\"\n[table]\nddl = \"{arm}.sql\"\n[rows]\ncsv = \"{arm}.csv\"\n{}\n\
                 [[cells]]\nname = \"cell\"\nstrategy = \"single_row\"\n",
                keys[place]
            );
            write(&desk, &format!("{arm}.toml"), &scenario);
        }
        let mut command = batchpilot();
        command.arg("check").args(["base.toml", "head.toml"].map(|it| desk.path().join(it)));
        command.args(["--url", &place.url()]).args(SHORT).args(LOOKS).arg("--out").arg(desk.out());
        let finished = ended(command).await;
        match problem {
            None => {
                assert!(matches!(finished.code, Some(0 | 10)), "{finished:?}");
                let record = record_of(&desk, &place).await;
                assert!(record.cells[0].tables.problems.is_empty());
            }
            Some(problem) => {
                assert_eq!(finished.code, Some(12), "{finished:?}");
                assert!(finished.stderr.contains(problem), "{finished:?}");
                assert_eq!(place.schemas().await, Vec::<String>::new());
            }
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
    assert!(finished.stderr.contains("left behind"), "{finished:?}");
    assert!(finished.stdout.starts_with("INVALID: "), "{finished:?}");
    assert_eq!(stays.schemas().await, Vec::<String>::new());
    let record = read_check(&desk.only_run()).unwrap();
    assert!(!record.complete && record.error.is_some());
    assert_eq!(record.conclusion(), Conclusion::Invalid);
    assert!(record.cells[0].errors.of(Arm::Base).is_empty());
    drop(dies);
}
