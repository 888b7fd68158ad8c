//! Bad days of a run or a check whose rows are a CSV file: exit code, what is said, and what is left
//! behind.

use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use batchpilot::record::{self, read_check};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};

use crate::{
    check_postgres::{LONG, SHORT, after_pairs},
    cluster::wait_until,
    support::{Desk, Ended, Place, batchpilot, database, ended},
};

const NOTES: &str = "CREATE TABLE notes (id bigint NOT NULL, note text);\n";
const SCENARIO: &str = "name = \"own\"\nrepetitions = 1\ntable.ddl = \"notes.sql\"\n\
                        rows.csv = \"notes.csv\"\n[[cells]]\nname = \"cell\"\n\
                        strategy = \"copy_binary\"\nbatch_rows = 100\nworkers = 2\n";

/// A desk with a table, and a scenario that fills it from a file.
fn desk_of(scenario: &str) -> (Desk, PathBuf, PathBuf) {
    let desk = Desk::new();
    fs::write(desk.path().join("notes.sql"), NOTES).unwrap();
    let (scenario, file) = (desk.scenario(scenario), desk.path().join("notes.csv"));
    (desk, scenario, file)
}

/// Writes lines of rows, all of the same length.
fn notes(file: &Path, rows: u64) {
    let line = |id| format!("{id:09},a note of no interest\n");
    let text: String = (0..rows).map(line).collect();
    fs::write(file, format!("id,note\n{text}")).unwrap();
}

/// Bytes of each record of a file that takes minutes to look through.
const HOLE: u64 = 8 << 20;

/// Makes a file of holes: 64 GiB to whoever reads it, and little on the disk.
fn huge(file: &Path) {
    let huge = File::create(file).unwrap();
    huge.write_all_at(b"id,note\n", 0).unwrap();
    for record in 1..=(64 << 30) / HOLE {
        huge.write_all_at(b"\n", record * HOLE).unwrap();
    }
}

fn pid(process: &Child) -> Pid {
    Pid::from_raw(i32::try_from(process.id().unwrap()).unwrap())
}

/// Returns whether a process has a file open.
fn has_open(process: Pid, file: &Path) -> bool {
    let file = file.canonicalize().unwrap();
    let Ok(entries) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    entries.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|it| it == file))
}

async fn until_ended(process: Child) -> Ended {
    let waited = tokio::time::timeout(Duration::from_secs(60), process.wait_with_output()).await;
    waited.expect("it does not go on to the end of the file").unwrap().into()
}

/// Prepares a command on a scenario, or on both arms being the same schema.
fn command(name: &str, desk: &Desk, place: &Place, scenario: &Path, file: &Path) -> Command {
    let mut command = batchpilot();
    command.arg(name).args(["--url", &place.url()]).arg("--out").arg(desk.out());
    match name {
        "check" => {
            let ddl = desk.path().join("notes.sql");
            command.arg("--base-ddl").arg(&ddl).arg("--head-ddl").arg(&ddl).arg("--csv").arg(file);
            command.args(SHORT)
        }
        _ => command.arg(scenario),
    };
    command
}

#[tokio::test]
async fn a_signal_ends_the_first_pass_and_the_schema_is_dropped() {
    let place = database().await;
    let (desk, scenario, file) = desk_of(SCENARIO);
    huge(&file);
    let while_looking = "stopped while notes.csv was looked through";
    for (name, signal, code, said) in [
        ("run", Signal::SIGINT, 130, while_looking),
        ("run", Signal::SIGTERM, 143, while_looking),
        ("tune", Signal::SIGINT, 130, while_looking),
        ("check", Signal::SIGINT, 130, "stopped before anything was measured"),
        ("check", Signal::SIGTERM, 143, "stopped before anything was measured"),
    ] {
        let process = command(name, &desk, &place, &scenario, &file).spawn().unwrap();
        let id = pid(&process);
        wait_until(Duration::from_secs(60), || has_open(id, &file)).await;
        assert_eq!(place.schemas().await.len(), 1, "{name}: there is something to drop");
        kill(id, signal).unwrap();
        let finished = until_ended(process).await;
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(code), ""), "{finished:?}");
        assert_eq!(finished.stderr, format!("batchpilot: {said}\n"), "{name}");
        assert_eq!(place.schemas().await, Vec::<String>::new(), "{name}");
        assert_eq!(desk.runs(), Vec::<PathBuf>::new(), "{name}: nothing was measured");
    }
}

/// What cannot be read is found before a row is inserted: a mistake in what was asked.
#[tokio::test]
async fn a_line_that_cannot_be_read_is_named_by_a_check() {
    let place = database().await;
    let (desk, scenario, file) = desk_of(SCENARIO);
    fs::write(&file, "id,note\n1,a\nfour,b\n5,c\n").unwrap();
    let finished = ended(command("check", &desk, &place, &scenario, &file)).await;
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""), "{finished:?}");
    let named = "notes.csv:3: column `id` (bigint): \"four\"; expected a whole number";
    assert!(finished.stderr.contains(named), "{finished:?}");
    assert_eq!(place.schemas().await, Vec::<String>::new());
    assert_eq!(desk.runs(), Vec::<PathBuf>::new(), "nothing was measured");
}

/// A line that changes under a check: rows of the file are no function of their index any more.
#[tokio::test]
async fn a_file_that_changes_under_a_check_ends_it_by_file_and_line() {
    let place = database().await;
    let (desk, scenario, file) = desk_of(SCENARIO);
    let rows = 2_000_000;
    notes(&file, rows);
    let mut command = command("check", &desk, &place, &scenario, &file);
    command.args(LONG);
    let change = |_| {
        // Every line but the header: wherever the check is, what it reads next is no row.
        let mut file = fs::OpenOptions::new().write(true).open(&file).unwrap();
        file.seek(SeekFrom::Start(8)).unwrap();
        let lines = "xxxxxxxxx,a note of no interest\n".repeat(1_000);
        (0..rows / 1_000).for_each(|_| file.write_all(lines.as_bytes()).unwrap());
    };
    let finished = after_pairs(&desk, command, change).await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let (before, after) =
        finished.stderr.split_once("notes.csv was changed while it was ").unwrap();
    assert!(before.starts_with("batchpilot: "), "{finished:?}");
    let line =
        after.strip_prefix("being inserted: line ").and_then(|it| it.split_once(" is no row"));
    let line: u64 = line.expect(after).0.parse().unwrap();
    assert!((2..=rows + 1).contains(&line), "{finished:?}");
    assert!(finished.stdout.starts_with("INVALID: "), "{finished:?}");
    assert_eq!(place.schemas().await, Vec::<String>::new());
    let record = read_check(&desk.only_run()).unwrap();
    assert!(!record.complete && record.error.unwrap().contains("is no row any more"));
}

#[tokio::test]
async fn kill_9_leaves_a_readable_record_of_a_run_from_a_file() {
    let place = database().await;
    let many = SCENARIO.replace("repetitions = 1", "repetitions = 500\nstop = { rows = 200 }");
    let (desk, scenario, file) = desk_of(&many);
    notes(&file, 5_000);
    let process = command("run", &desk, &place, &scenario, &file).spawn().unwrap();
    let blocks = || -> usize {
        let record = desk.runs().pop().and_then(|run| record::read(&run).ok());
        record.map_or(0, |it| it.blocks.len())
    };
    wait_until(Duration::from_secs(60), || 2 <= blocks()).await;
    kill(pid(&process), Signal::SIGKILL).unwrap();
    let killed = until_ended(process).await;
    assert_eq!(killed.code, None, "{killed:?}");
    let record = record::read(&desk.only_run()).unwrap();
    assert!(!record.complete && record.finished_at.is_none());
    assert!((2..500).contains(&record.blocks.len()), "{} blocks", record.blocks.len());
    for block in &record.blocks {
        assert_eq!((block.rows_confirmed, block.complaint()), (200, None));
    }
    let csv = record.plan.csv.as_ref().unwrap();
    assert_eq!((csv.rows, csv.lines), (5_000, 5_001));
    let mut report = batchpilot();
    report.arg("report").arg(desk.only_run());
    let shown = ended(report).await;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""), "{shown:?}");
    assert!(shown.stdout.starts_with("INCOMPLETE: "), "{shown:?}");
    assert!(shown.stdout.contains(" of 500 blocks were run"), "{shown:?}");
}
