//! What goes over the wire, message by message: the cells that stand for GORM send
//! GORM's statements, in its transactions and round trips.

use batchpilot::{
    engine::Ended,
    plan::{CellPlan, Plan, Stop},
    scenario::Scenario,
    target::Target as _,
};

use crate::{
    proxy::{Message, Proxy},
    support::{brief, database, run, target, verify},
};

/// GORM's statement, up to its first row.
const INSERT: &str = "INSERT INTO \"users\" (\"name\",\"email\",\"age\",\"created_at\") VALUES ";

fn documented_cell(name: &str, batch_rows: u64, rows: u64) -> CellPlan {
    let text = include_str!("../../scenarios/reproduce.toml");
    let scenario = Scenario::parse(text, "scenarios/reproduce.toml").unwrap().scenario;
    let cells = Plan::resolve(&scenario).unwrap().cells;
    let cell = cells.into_iter().find(|cell| cell.name == name).unwrap();
    CellPlan { batch_rows, stop: Stop { rows: Some(rows), seconds: None }, ..cell }
}

/// Runs a cell through a proxy and returns what each of its sessions sent, in the words of `line`.
async fn sent(cell: &CellPlan) -> Vec<Vec<String>> {
    let proxy = Proxy::start(&database().await).await;
    let target = target(proxy.options()).await;
    let outcome = run(&target, cell).await.unwrap();
    assert_eq!(outcome.ended, Ended::Done, "{}", brief(&outcome));
    assert!(verify(&target, &outcome).await.is_exact());
    target.close().await.unwrap();
    // The first session is the one that makes and checks the table.
    proxy.sessions()[1..].iter().map(|messages| messages.iter().map(line).collect()).collect()
}

/// Says what a message is: its type byte, and its text where it has one.
fn line(message: &Message) -> String {
    let text = match message.kind {
        'Q' => message.text(),
        // A Parse begins with the statement's name.
        'P' => {
            let name = message.text().len() + 1;
            Message { kind: 'P', body: message.body[name..].to_vec() }.text()
        }
        _ => return message.kind.to_string(),
    };
    format!("{} {text}", message.kind)
}

/// Returns what a session sent between its preparation and its end.
fn measured(session: &[String]) -> &[String] {
    let is_warm_up = |line: &String| {
        line.starts_with('p') || line.starts_with("Q SET search_path") || line.starts_with('P')
    };
    let start = session.iter().rposition(is_warm_up).expect("a session is prepared") + 1;
    // A Describe and a Sync belong to the Parse.
    let start = start + session[start..].iter().take_while(|it| *it == "D" || *it == "S").count();
    let end = session.iter().rposition(|line| line == "S" || line.starts_with("Q commit"));
    &session[start..=end.expect("a session sends something")]
}

fn times(lines: &[&str], count: usize) -> Vec<String> {
    (0..count).flat_map(|_| lines).map(|line| line.to_string()).collect()
}

#[tokio::test]
async fn a_create_of_gorm_is_begin_insert_commit() {
    let sessions = sent(&documented_cell("GORM: single row", 1, 20)).await;
    assert_eq!(sessions.len(), 1);
    let prepared: Vec<&String> = sessions[0].iter().filter(|it| it.starts_with('P')).collect();
    assert_eq!(prepared, [&format!("P {INSERT}($1,$2,$3,$4) RETURNING \"id\"")]);
    assert_eq!(measured(&sessions[0]), times(&["Q begin", "B", "E", "S", "Q commit"], 20));
}

#[tokio::test]
async fn create_in_batches_of_gorm_is_one_transaction() {
    let sessions = sent(&documented_cell("GORM: serial batches", 10, 95)).await;
    assert_eq!(sessions.len(), 1);
    // Ten batches: nine of ten rows and one of five, each size prepared before the clock starts.
    let values = |rows: usize| -> String {
        let row = |row: usize| {
            let numbers: Vec<String> = (1..=4).map(|it| format!("${}", row * 4 + it)).collect();
            format!("({})", numbers.join(","))
        };
        (0..rows).map(row).collect::<Vec<_>>().join(",")
    };
    let prepared: Vec<&String> = sessions[0].iter().filter(|it| it.starts_with('P')).collect();
    let statement = |rows| format!("P {INSERT}{} RETURNING \"id\"", values(rows));
    assert_eq!(prepared, [&statement(10), &statement(5)]);
    let mut expected = times(&["Q begin"], 1);
    expected.extend(times(&["B", "E", "S"], 10));
    expected.extend(times(&["Q commit"], 1));
    assert_eq!(measured(&sessions[0]), expected);
}

#[tokio::test]
async fn concurrent_batches_are_a_transaction_each() {
    let cell = documented_cell("GORM: concurrent batches, 5 workers", 10, 400);
    let sessions = sent(&cell).await;
    assert_eq!(sessions.len(), 10, "five for the workers and five idle ones, as `idle_min` says");
    let mut operations = 0;
    for session in sessions {
        assert_eq!(session.iter().filter(|it| it.starts_with('P')).count(), 1, "{session:?}");
        if !session.contains(&"B".to_owned()) {
            continue; // One of the idle ones.
        }
        let lines = measured(&session);
        assert_eq!(lines, times(&["Q begin", "B", "E", "S", "Q commit"], lines.len() / 5));
        operations += lines.len() / 5;
    }
    assert_eq!(operations, 40);
}

#[tokio::test]
async fn what_is_prepared_is_never_parsed_again() {
    for (keys, expected) in [
        ("strategy = \"single_row\"", times(&["B", "E", "S"], 12)),
        ("strategy = \"multi_row\"\nbatch_rows = 4", times(&["B", "E", "S"], 3)),
        ("strategy = \"unnest\"\nbatch_rows = 4", times(&["B", "E", "S"], 3)),
        ("strategy = \"pipelined\"\nbatch_rows = 4", times(&["B", "E", "S"], 12)),
        ("strategy = \"copy_text\"\nbatch_rows = 4", times(&["B", "E", "S", "d", "c", "S"], 3)),
        ("strategy = \"copy_binary\"\nbatch_rows = 4", times(&["B", "E", "S", "d", "c", "S"], 3)),
    ] {
        let sessions = sent(&crate::support::cell(&format!("{keys}\nstop.rows = 12\n"))).await;
        assert_eq!(sessions.len(), 1, "{keys}");
        assert_eq!(measured(&sessions[0]), expected, "{keys}");
    }
}

#[tokio::test]
async fn what_is_not_prepared_is_parsed_in_every_operation() {
    let keys = "strategy = \"single_row\"\nprepared = false\nstop.rows = 5\n";
    let sessions = sent(&crate::support::cell(keys)).await;
    let parsed = sessions[0].iter().filter(|it| it.starts_with("P INSERT")).count();
    assert_eq!(parsed, 5, "{sessions:?}");
    let round_trips = sessions[0].iter().filter(|it| *it == "S").count();
    assert_eq!(round_trips, 5, "{sessions:?}");
}
