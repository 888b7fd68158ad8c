//! The user's own rows from a CSV file, on a real PostgreSQL: each line's fate.

use std::path::Path;

use batchpilot::{
    plan::CellPlan,
    record::Record,
    target::{Target as _, TargetError, postgres::PgTarget},
};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    postgres::check_whole,
    support::{
        Desk, Ended, Place, brief, cell, cluster_of, database, ended, own_target, run, run_until,
        verify,
    },
};

const EVERY_TYPE: &str = include_str!("../../scenarios/every-type.sql");
const STRATEGIES: [&str; 6] =
    ["single_row", "pipelined", "multi_row", "unnest", "copy_text", "copy_binary"];
const ORDERS: &str = "CREATE TABLE orders (id bigint NOT NULL, name text, code varchar(8),
    total numeric(10, 2) CHECK (total < 1000), at timestamptz, made timestamptz DEFAULT now())";

fn cell_of(strategy: &str, rows: u64, more: &str) -> CellPlan {
    let batch_rows = if strategy == "single_row" { 1 } else { 70 };
    cell(&format!(
        "strategy = \"{strategy}\"\nbatch_rows = {batch_rows}\nstop.rows = {rows}\n{more}"
    ))
}

async fn open(place: &Place, file: &Path, ddl: &str, more: &str) -> PgTarget {
    let target = try_open(place, file, ddl, more).await;
    target.unwrap_or_else(|error| panic!("{error}"))
}

async fn try_open(
    place: &Place,
    file: &Path,
    ddl: &str,
    more: &str,
) -> Result<PgTarget, TargetError> {
    let keys = format!("table.ddl = \"it.sql\"\nrows.csv = {file:?}\n{more}");
    own_target(place.options(), &keys, ddl).await
}

/// Orders with quotes, line ends, NULLs and empty texts; from number 9 on, every 10th has a total that
/// the table refuses, if that is asked.
fn orders(rows: u64, has_dear_ones: bool) -> String {
    let mut text = "at,total,id,name,code\n".to_owned();
    for id in 0..rows {
        let name = match id % 4 {
            0 => "",
            1 => "\"\"",
            2 => "\"a \"\"b\"\",\nc\"",
            _ => "plain",
        };
        let total = if has_dear_ones && id % 10 == 9 { 5_000 } else { id % 1_000 };
        text.push_str(&format!("2024-02-29 12:00:00.5+01,{total}.5,{id},{name},c{}\n", id % 9));
    }
    text
}

async fn value(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap_or_else(|error| panic!("{error}: {query}")).get(0)
}

#[tokio::test]
async fn every_strategy_inserts_every_line() {
    let (place, desk) = (database().await, Desk::new());
    let client = place.client().await;
    let file = desk.path().join("orders.csv");
    std::fs::write(&file, orders(305, false)).unwrap();
    let target = open(&place, &file, ORDERS, "").await;
    assert_eq!(target.own_table().unwrap().rows_max, Some(305));
    for strategy in STRATEGIES {
        for more in ["", "prepared = false\n", "workers = 3\ntransaction = { every = 3 }\n"] {
            check_whole(&target, &cell_of(strategy, 305, more)).await;
        }
        let table = format!("\"{}\".orders", target.schema());
        for (condition, expected) in [
            ("name IS NULL", 77),
            ("name = ''", 76),
            ("name = E'a \"b\",\\nc'", 76),
            ("name = 'plain'", 76),
            ("at = '2024-02-29 11:00:00.5Z'", 305),
            ("made IS NOT NULL AND total = id + 0.5 AND code = 'c' || id % 9", 305),
        ] {
            let query = format!("SELECT count(*) FROM {table} WHERE {condition}");
            assert_eq!(value(&client, &query).await, expected, "{strategy}: {condition}");
        }
    }
    target.close().await.unwrap();
}

/// What a value means is said by the file alone.
#[tokio::test]
async fn no_setting_of_the_server_says_when_a_time_is() {
    let (place, desk) = (database().await, Desk::new());
    let database = &place.database;
    let set = format!(
        "ALTER DATABASE {database} SET timezone = 'Asia/Kolkata'; \
         ALTER DATABASE {database} SET datestyle = 'SQL, DMY'"
    );
    place.client().await.batch_execute(&set).await.unwrap();
    let client = place.client().await;
    let ddl = "CREATE TABLE times (at timestamptz, local timestamp)";
    let file = desk.path().join("times.csv");
    let lines = "2024-03-04 12:00:00+01,2024-03-04 12:00:00\n".repeat(70);
    std::fs::write(&file, format!("at,local\n{lines}")).unwrap();
    let target = open(&place, &file, ddl, "").await;
    for strategy in STRATEGIES {
        check_whole(&target, &cell_of(strategy, 70, "")).await;
        let table = format!("\"{}\".times", target.schema());
        let same = "at = '2024-03-04T11:00:00Z' AND local = '2024-03-04T12:00:00'";
        let query = format!("SELECT count(*) FROM {table} WHERE {same}");
        assert_eq!(value(&client, &query).await, 70, "{strategy}");
    }
    target.close().await.unwrap();
    std::fs::write(&file, format!("at,local\n{lines}2024-03-04 12:00:00,\n")).unwrap();
    let error = try_open(&place, &file, ddl, "").await.unwrap_err().to_string();
    let said = "times.csv:72: column `at` (timestamp with time zone): \"2024-03-04 12:00:00\"; expected a \
                time with its zone";
    assert!(error.contains(said), "{error}");
    assert_eq!(place.schemas().await, Vec::<String>::new());
}

/// Values of every type, made up by batchpilot and by hand, are printed by the server as CSV and read.
const EXTREMES: &str = "
    INSERT INTO every_type (whole, flag, moment, amount, big, any_number, single, share, at_time,
        zoned_time, local_time, span, span_years, document_b, address, network, mac, mac8, more_bits,
        numbers, words, from_to, from_to_number, days, hours, data, name, fixed)
    VALUES
    (2147483647, true, 'infinity', 1, 9223372036854775807, 'NaN', 'NaN', 0, '24:00', '24:00+15:59:59',
        '-infinity', '-178000000 years', '11 years 11 mons',
        '{\"b\": [1, 2.50, null, true, \"\\u00e4\\n\"], \"aa\": {\"x\": 1e3}, \"\": -0.0}',
        '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '', '{{1,2},{3,NULL}}',
        '{NULL,\"NULL\",\"a\\\"b\",\"\",\" c,\"}', 'empty', '(,)', '[2024-01-01,infinity)',
        '(2024-01-01 00:00,2024-01-02 12:00:00.000001]', '\\x', '', ''),
    (-2147483648, false, '4714-11-24 00:00:00+00 BC', 2147483647, -9223372036854775808,
        -12345678901234567890123456789012345678901234567890.00000000000000000000001, 1e-45, 0.1, '00:00',
        '00:00-15:59:59', '294276-12-31 23:59:59.999', '1 mon -1 day +02:03:04.000005', '-1 year',
        '[]', '0.0.0.0', '::/0', 'ff:ff:ff:ff:ff:ff', '00:00:00:00:00:00:00:00', '1', '{}', '{}',
        '[-2147483648,2147483646]', '[-1.50,2e20]', '(,2024-01-01)', '(,infinity]', '\\x00ff', 'x,\"y\"
z', 'äöü'),
    (0, true, '0001-12-31 23:59:59.999999+00 BC', 5, NULL, 1e100, -3.4028235e38, 5e-324, NULL, NULL, NULL,
        '-00:00:00.000001', NULL, '\"\\\\\"', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '(,5]',
        '(0.1,0.2)', 'empty', NULL, NULL, NULL, NULL)";

async fn check_every_type(place: &Place) {
    let (client, desk) = (place.client().await, Desk::new());
    let make = format!("CREATE SCHEMA mine; SET search_path TO mine; {EVERY_TYPE}");
    client.batch_execute(&make).await.unwrap();
    let made_up = own_target(place.options(), "table.ddl = \"it.sql\"", EVERY_TYPE).await.unwrap();
    check_whole(&made_up, &cell_of("copy_binary", 300, "")).await;
    let columns = "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute \
                   WHERE attrelid = 'mine.every_type'::regclass AND attnum > 0 \
                     AND attidentity = '' AND attgenerated = ''";
    let columns: String = client.query_one(columns, &[]).await.unwrap().get(0);
    // Enums and domains of both schemas have the same text. What both may hold twice is left out.
    let made = format!("\"{}\".every_type", made_up.schema());
    let file = desk.path().join("every_type.csv");
    client.batch_execute(EXTREMES).await.unwrap_or_else(|error| panic!("{error:?}"));
    let both =
        format!("SELECT {columns} FROM mine.every_type UNION ALL SELECT {columns} FROM {made}");
    let both = both.replace("feeling", "feeling::text AS feeling");
    let both = both.replace("moods", "moods::text AS moods");
    let copy = format!("COPY ({both}) TO STDOUT (FORMAT csv, HEADER)");
    std::fs::write(&file, copied(&client, &copy).await).unwrap();
    made_up.close().await.unwrap();

    let target = open(place, &file, EVERY_TYPE, "").await;
    for strategy in STRATEGIES {
        check_whole(&target, &cell_of(strategy, 303, "")).await;
        let table = format!("\"{}\".every_type", target.schema());
        let again = format!("SELECT {columns} FROM {table}");
        let again = again.replace("feeling", "feeling::text AS feeling");
        let again =
            again.replace("moods", "moods::text AS moods").replace("touched", "touched - 1");
        let copy = format!("COPY ({again}) TO STDOUT (FORMAT csv)");
        let mut inserted: Vec<_> = records(&copied(&client, &copy).await);
        let mut sent = records(&std::fs::read(&file).unwrap()).split_off(1);
        inserted.sort();
        sent.sort();
        for (inserted, sent) in inserted.iter().zip(&sent) {
            assert_eq!(inserted, sent, "{strategy}");
        }
        assert_eq!(inserted.len(), 303);
    }
    target.close().await.unwrap();
}

async fn copied(client: &Client, copy: &str) -> Vec<u8> {
    use futures_util::{TryStreamExt as _, pin_mut};
    let stream = client.copy_out(copy).await.unwrap_or_else(|error| panic!("{error:?}"));
    pin_mut!(stream);
    let mut all = Vec::new();
    while let Some(part) = stream.try_next().await.unwrap() {
        all.extend_from_slice(&part);
    }
    all
}

fn records(text: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text);
    let fields = |record: csv::StringRecord| record.iter().map(str::to_owned).collect();
    reader.records().map(|record| fields(record.unwrap())).collect()
}

#[tokio::test]
async fn every_type_is_read_as_the_server_prints_it() {
    check_every_type(&database().await).await;
    for major in [14, 18] {
        if let Some(cluster) = cluster_of(major).await {
            check_every_type(&Place::of(&cluster)).await;
            cluster.stop().await.unwrap();
        }
    }
}

#[tokio::test]
async fn rows_that_the_server_refuses_are_accounted_for() {
    let (place, desk) = (database().await, Desk::new());
    let file = desk.path().join("orders.csv");
    std::fs::write(&file, orders(1_005, true)).unwrap();
    let target = open(&place, &file, ORDERS, "").await;
    let notes = target.own_table().unwrap().notes.join("; ");
    assert!(notes.contains("the server refuses a row among the first 1000"), "{notes}");
    for strategy in ["single_row", "pipelined"] {
        target.reset_table().await.unwrap();
        let cell = cell_of(strategy, 1_005, "on_error = \"collect\"\n");
        let outcome = run(&target, &cell).await.unwrap();
        let verification = verify(&target, &outcome).await;
        assert!(verification.is_exact(), "{:?} {}", verification.complaint(), brief(&outcome));
        let confirmed = outcome.confirmed.row_count() + verification.in_doubt_present;
        let lost = outcome.rows_failed + verification.in_doubt_absent;
        assert_eq!(confirmed + lost, 1_005, "{}", brief(&outcome));
        assert_eq!(verification.rows_found, confirmed);
        if strategy == "single_row" {
            assert_eq!((confirmed, lost), (905, 100), "{}", brief(&outcome));
        }
    }
    target.close().await.unwrap();
    // A file of which the server takes no line at all does not begin.
    std::fs::write(&file, "id,total\n1,5000\n2,7000\n").unwrap();
    let error = try_open(&place, &file, ORDERS, "").await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("none of the first rows of the file; line 2: "), "{error}");
    assert_eq!(place.schemas().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_table_that_differs_from_the_file_is_found_out_by_line() {
    let (place, desk) = (database().await, Desk::new());
    let client = place.client().await;
    let file = desk.path().join("plain.csv");
    let lines: String = (0..5_000).map(|id| format!("{id},{}\n", id % 50)).collect();
    std::fs::write(&file, format!("id,name\n{lines}")).unwrap();
    let target = open(&place, &file, "CREATE TABLE it (id bigint, name text, n serial)", "").await;
    for (tampering, expected) in [
        ("UPDATE it SET n = n + 9", ""),
        ("DELETE FROM it WHERE id = 7", "4999 found: 1 missing (line 9)"),
        ("INSERT INTO it SELECT * FROM it WHERE id = 20", "5001 found: 1 duplicate (line 22)"),
        ("INSERT INTO it VALUES (-1, 'x')", "5001 found: 1 foreign (a row that was never sent)"),
        ("UPDATE it SET name = 'x' WHERE id = 100", "1 missing (line 102); 1 foreign"),
        (
            "DELETE FROM it WHERE id < 3000",
            "3000 missing (line 2, line 3, line 4, line 5, line 6, …)",
        ),
    ] {
        target.reset_table().await.unwrap();
        let outcome = run(&target, &cell_of("copy_text", 5_000, "")).await.unwrap();
        let statement = format!("SET search_path TO \"{}\"; {tampering}", target.schema());
        client.batch_execute(&statement).await.unwrap();
        let verification = verify(&target, &outcome).await;
        let complaint = verification.complaint().unwrap_or_default();
        assert!(complaint.contains(expected), "{tampering}: {complaint}");
        assert_eq!(verification.is_exact(), expected.is_empty(), "{tampering}: {complaint}");
    }
    target.close().await.unwrap();
}

#[tokio::test]
async fn only_what_was_sent_counts_when_a_block_is_stopped() {
    let (place, desk) = (database().await, Desk::new());
    let file = desk.path().join("orders.csv");
    std::fs::write(&file, orders(100_000, false)).unwrap();
    let target = open(&place, &file, ORDERS, "").await;
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    let client = place.client().await;
    let table = format!("\"{}\".orders", target.schema());
    tokio::spawn(async move {
        let query = format!("SELECT count(*) FROM {table}");
        while value(&client, &query).await < 500 {
            tokio::task::yield_now().await;
        }
        stopper.cancel();
    });
    let outcome = run_until(&target, &cell_of("multi_row", 100_000, "workers = 4\n"), &stop).await;
    let outcome = outcome.unwrap();
    let rows = outcome.confirmed.row_count();
    assert!((500..100_000).contains(&rows), "{}", brief(&outcome));
    let verification = verify(&target, &outcome).await;
    assert!(verification.is_exact(), "{:?}", verification.complaint());
    target.close().await.unwrap();
}

const SCENARIO: &str = "name = \"own\"\nrepetitions = 1\ntable.ddl = \"schema.sql\"\n";

/// Runs a scenario on the desk's orders.csv.
async fn run_orders(desk: &Desk, place: &Place, scenario: &str, flags: &[&str]) -> Ended {
    std::fs::write(desk.path().join("schema.sql"), ORDERS).unwrap();
    let mut command = desk.run(&format!("{SCENARIO}{scenario}"));
    command.args(["--url", &place.url()]).args(flags);
    ended(command).await
}

const CELL: &str =
    "[[cells]]\nname = \"cell\"\nstrategy = \"single_row\"\non_error = \"collect\"\n";

#[tokio::test]
async fn every_line_is_accounted_for_in_record_and_report() {
    let (place, desk) = (database().await, Desk::new());
    let text = orders(100, true) + "\n\nyesterday,1,2,x,y\n2024-01-01 00:00+00,1,2\n";
    std::fs::write(desk.path().join("orders.csv"), text).unwrap();
    let refused =
        run_orders(&desk, &place, &format!("rows.csv = \"orders.csv\"\n{CELL}"), &[]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    for words in [
        "scenario.toml:4:12: key `rows.csv`: 2 of 102 records of orders.csv cannot be read",
        "orders.csv:129: column `at` (timestamp with time zone): \"yesterday\"; expected a time",
        "orders.csv:130: 3 fields; expected 5 fields",
        "rows.on_bad_line = \"skip\"",
    ] {
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
    }
    assert_eq!((desk.runs().len(), place.schemas().await.len()), (0, 0));

    let skip = format!("rows = {{ csv = \"orders.csv\", on_bad_line = \"skip\" }}\n{CELL}");
    let done = run_orders(&desk, &place, &skip, &[]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let record: Record = batchpilot::record::read(&desk.only_run()).unwrap();
    let csv = record.plan.csv.as_ref().unwrap();
    let kinds = [csv.lines_header, csv.lines_blank, csv.lines_bad, csv.lines_rows];
    assert_eq!((kinds, csv.lines), ([1, 2, 2, 125], 130));
    assert_eq!((csv.rows, csv.records_bad), (100, 2));
    let block = &record.blocks[0];
    assert_eq!((block.rows_confirmed, block.rows_failed), (90, 10), "{block:?}");
    assert!(block.is_valid() && record.plan.cells[0].stop.rows == Some(100));
    let words = done.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        "orders.csv: 130 lines = 1 header + 2 blank + 2 left out as unreadable + 125 that hold 100 rows.",
        "Block 0 (cell): 100 rows = 90 confirmed + 10 refused or failed + 0 in doubt and not found + 0 \
         not sent; 90 were read back and compared.",
        "left out: orders.csv:129: column `at`",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
    assert_eq!(place.schemas().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_command_line_names_a_file_too_and_the_end_of_it_is_the_end() {
    let (place, desk) = (database().await, Desk::new());
    let file = desk.path().join("elsewhere.csv");
    std::fs::write(&file, orders(1_234, false)).unwrap();
    let cell = "[[cells]]\nname = \"cell\"\nstrategy = \"copy_binary\"\nbatch_rows = 500\n";
    let flags = ["--csv", file.to_str().unwrap()];
    let too_many = run_orders(&desk, &place, &format!("stop.rows = 2_000\n{cell}"), &flags).await;
    assert_eq!(too_many.code, Some(2), "{too_many:?}");
    assert!(too_many.stderr.contains("has 1234 rows; use fewer"), "{too_many:?}");
    let timed = run_orders(&desk, &place, &format!("stop.seconds = 60.0\n{cell}"), &flags).await;
    assert_eq!(timed.code, Some(0), "{timed:?}");
    let record: Record = batchpilot::record::read(&desk.only_run()).unwrap();
    assert_eq!((record.blocks[0].rows_confirmed, record.complete), (1_234, true));
    assert!(record.notes.iter().any(|note| note.contains("ends with the last of the 1234 rows")));
    let mut check = desk.run(&format!("{SCENARIO}{cell}"));
    check.arg("--check").args(flags);
    let shown = ended(check).await;
    assert!(shown.stdout.contains("end of the file"), "{shown:?}");
}
