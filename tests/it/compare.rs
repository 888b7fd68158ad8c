//! `compare`: what stored records may say of each other, and what they may not.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers made up here are small and positive"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use batchpilot::{
    gate::{Judgement, Metric},
    record::Record,
    report::compare::{Role, write_within},
    rows::{CsvFacts, CsvHeader, CsvProgress, CsvSettings, Finding, OnBadLine, Verification},
    target::TableSource,
    verdict::compare::{Comparison, Options, Outcome},
};

use crate::{
    report_fixture as fixture,
    support::{Desk, Ended, batchpilot, ended},
};

const CELLS: [(&str, &str, f64); 2] =
    [("single", "strategy = 'single_row'", 0.0), ("copy", "strategy = 'copy_binary'", 0.0)];

/// A record of a session in which all went so many times as fast as in others.
fn session(speed: f64) -> Record {
    let head = "name = 'nightly'\nrepetitions = 5\n";
    let (mut record, _) = fixture::measured(fixture::plan(head, &CELLS, ""));
    for block in &mut record.blocks {
        // Within one percent: one block says hardly anything else than another.
        let own = 1.0 + 0.002 * f64::from(block.repetition);
        block.elapsed_ns = (block.rows_confirmed as f64 * 1e5 / speed * own) as u64;
    }
    record
}

fn compare(records: Vec<Record>) -> Comparison {
    let named = |(index, record)| (format!("run {index}"), record);
    let mut records: Vec<(String, Record)> = records.into_iter().enumerate().map(named).collect();
    let last = records.pop().unwrap();
    let earlier: Vec<_> = records.into_iter().map(|(name, record)| (name, Ok(record))).collect();
    Comparison::of(&earlier, &last, &Options::default())
}

fn rates(comparison: &Comparison) -> Vec<Judgement> {
    let rows = comparison.rows.iter().filter(|row| row.metric == Metric::RowsPerS);
    rows.map(|row| row.finding.unwrap().judgement).collect()
}

/// One earlier record: sessions differ by 10 % for all that is known.
#[test]
fn one_stored_record_sees_only_large_slow_downs() {
    for (speed, want) in [
        (1.0, Judgement::Open),
        (0.8, Judgement::Open),
        (0.5, Judgement::Fail),
        (1.5, Judgement::Pass),
    ] {
        let comparison = compare(vec![session(1.0), session(speed)]);
        assert_eq!(rates(&comparison), [want; 2], "{speed}: {comparison:#?}");
    }
    let comparison = compare(vec![session(1.0), session(0.8)]);
    let (least, most) = comparison.detectable().unwrap();
    assert!(0.25 < least && most < 0.45, "{least} to {most}");
    let text = comparison.caveats.join("\n");
    assert!(text.contains("10 % is assumed (--session-noise"), "{text}");
    assert!(text.contains("could not have been seen. `batchpilot check`"), "{text}");
}

/// Ten quiet sessions tell apart what one does not; ten that differ do not.
#[test]
fn a_history_is_as_sharp_as_its_sessions_are_alike() {
    let history = |spread: f64, last: f64| {
        let wave = (0..10).map(|it| 1.0 + spread * (f64::from(it % 5) - 2.0));
        let mut records: Vec<Record> = wave.map(session).collect();
        records.push(session(last));
        rates(&compare(records))
    };
    assert_eq!(history(0.01, 0.8), [Judgement::Fail; 2]);
    assert_eq!(history(0.01, 0.93), [Judgement::Open; 2]);
    assert_eq!(history(0.01, 0.97), [Judgement::Pass; 2]);
    assert_eq!(history(0.10, 0.8), [Judgement::Open; 2]);
}

/// A record in which all operations took as long as those of one cell.
fn with_latencies_of(cell: usize) -> Record {
    let mut record = session(1.0);
    let latency = record.blocks.iter().find(|it| it.cell == cell).unwrap().latency.clone();
    for block in &mut record.blocks {
        block.latency.clone_from(&latency);
    }
    record
}

#[test]
fn latency_is_worse_where_it_is_longer() {
    let p95 = |earlier: usize, last: usize| {
        let comparison = compare(vec![with_latencies_of(earlier), with_latencies_of(last)]);
        let row = comparison.rows.iter().find(|row| row.metric == Metric::LatencyP95).unwrap();
        row.finding.unwrap()
    };
    // A batch of 1,000 rows takes longer than a single one.
    let (longer, shorter) = (p95(0, 1), p95(1, 0));
    assert_eq!((longer.judgement, shorter.judgement), (Judgement::Fail, Judgement::Pass));
    assert!(1.5 < longer.ratio.value, "{longer:?}");
    assert!((longer.ratio.value * shorter.ratio.value - 1.0).abs() < 1e-9, "{shorter:?}");
}

#[test]
fn what_differs_beside_speed_is_named_and_not_judged() {
    type Change = fn(&mut Record);
    let cases: &[(&str, Change)] = &[
        ("PostgreSQL major: 15, the last 18", |it| it.environment.server.version_num = 180_001),
        ("fsync: on, the last off", |it| {
            it.environment.server.durability.insert("fsync".into(), "off".into());
        }),
        ("processor: Some Processor 9000, the last Other", |it| {
            it.environment.client.cpu = "Other @ 2.40GHz".into();
        }),
        ("processors: 2, the last 8", |it| it.environment.client.cpus = 8),
        ("memory: 8 GiB, the last 16 GiB", |it| it.environment.client.memory_bytes = 16 << 30),
        ("architecture: x86_64, the last aarch64", |it| {
            it.environment.client.architecture = "aarch64".into();
        }),
        ("virtualisation: none, the last hypervisor", |it| {
            it.environment.client.virtualization = Some("hypervisor".into());
        }),
        ("file system: ext4, the last tmpfs", |it| {
            it.environment.storage = Some("tmpfs on tmpfs".into());
        }),
        ("reached by: Unix-domain socket, the last TCP without TLS", |it| {
            it.environment.server.unix_socket = false;
        }),
        ("cell `copy`, batch_rows: 1000, the last 500", |it| {
            it.plan.cells[1].batch_rows = 500;
        }),
        ("table.indexes.0: absent, the last author", |it| {
            it.plan.table.indexes.push("author".into());
        }),
        ("cell `copy`: measured, the last not measured", |it| {
            it.plan.cells.pop();
            it.blocks.retain(|block| block.cell == 0);
        }),
    ];
    for (want, change) in cases {
        let mut other = session(0.2);
        change(&mut other);
        let comparison = compare(vec![session(1.0), other]);
        assert_eq!(comparison.outcome, Outcome::NotComparable, "{want}");
        assert!(comparison.rows.iter().all(|row| row.finding.is_none()), "{want}");
        let text = shown(&comparison, Some(200));
        assert!(text.contains(want), "no {want:?} in\n{text}");
    }
}

#[test]
fn a_class_of_machines_has_no_name_clock_or_exact_size() {
    let mut other = session(1.0);
    let client = &mut other.environment.client;
    client.cpu.push_str(" @ 2.60GHz");
    client.memory_bytes -= 100 << 20;
    client.kernel = "6.9".into();
    other.environment.server.address = "elsewhere".into();
    other.plan.seed += 1;
    let comparison = compare(vec![session(1.0), other]);
    assert!(comparison.left_out.is_empty(), "{:?}", comparison.left_out);
}

/// Records of before these were written down.
#[test]
fn what_a_record_does_not_know_is_said_and_not_a_difference() {
    let mut old = session(1.0);
    old.environment.client.architecture.clear();
    old.environment.client.virtualization = None;
    let comparison = compare(vec![old, session(1.0)]);
    assert_eq!(comparison.outcome, Outcome::Inconclusive);
    let want = "Not every record knows its architecture, virtualisation";
    assert!(comparison.caveats.iter().any(|it| it.contains(want)), "{:?}", comparison.caveats);
}

fn shown(comparison: &Comparison, columns: Option<u16>) -> String {
    let mut text = Vec::new();
    write_within(columns, comparison, Role::Gate, &mut text).unwrap();
    anstream::adapter::strip_str(std::str::from_utf8(&text).unwrap()).to_string()
}

#[test]
fn the_text_fits_a_terminal() {
    for records in [2, 3, 7] {
        let records = (0..records).map(|_| session(1.0)).collect();
        let text = shown(&compare(records), Some(80));
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}\n{text}");
        }
    }
}

/// Writes records where `compare` finds them.
fn files(desk: &Desk, records: &[Record]) -> Vec<PathBuf> {
    let write = |(index, record): (usize, &Record)| {
        let path = desk.path().join(format!("{index}.json"));
        fs::write(&path, serde_json::to_vec(record).unwrap()).unwrap();
        path
    };
    records.iter().enumerate().map(write).collect()
}

async fn run(paths: &[PathBuf], arguments: &[&str]) -> Ended {
    let mut command = batchpilot();
    command.arg("compare").args(paths).args(arguments);
    ended(command).await
}

#[tokio::test]
async fn only_a_gate_fails() {
    let desk = Desk::new();
    let slower = files(&desk, &[session(1.0), session(0.4)]);
    for (arguments, code) in [(&[][..], 0), (&["--gate"], 10), (&["--gate", "--strict"], 10)] {
        let ended = run(&slower, arguments).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""), "{ended:?}");
        let start = if arguments.is_empty() { "Advisory: FAIL: B is worse" } else { "FAIL: B" };
        assert!(ended.stdout.starts_with(start), "{ended:?}");
    }
    let same = files(&desk, &[session(1.0), session(1.0)]);
    for (arguments, code) in [(&[][..], 0), (&["--gate"], 0), (&["--gate", "--strict"], 11)] {
        assert_eq!(run(&same, arguments).await.code, Some(code), "{arguments:?}");
    }
    // Sessions that are said to be alike tell more.
    let near = files(&desk, &[session(1.0), session(0.8)]);
    assert_eq!(run(&near, &["--gate"]).await.code, Some(0));
    assert_eq!(run(&near, &["--gate", "--session-noise", "0.01"]).await.code, Some(10));
    let json = run(&near, &["--format", "json"]).await;
    let comparison: Comparison = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(comparison.outcome, Outcome::Inconclusive);
}

#[tokio::test]
async fn records_that_cannot_be_compared_have_an_exit_code_of_their_own() {
    let desk = Desk::new();
    let mut other = session(1.0);
    other.environment.server.version_num = 180_001;
    let ended = run(&files(&desk, &[session(1.0), other]), &[]).await;
    assert_eq!(ended.code, Some(12), "{ended:?}");
    assert!(ended.stdout.contains("NOT COMPARABLE: no earlier record is like B"), "{ended:?}");

    let mut wrong = session(1.0);
    let rows = wrong.blocks[0].rows_confirmed;
    wrong.blocks[0].verification = Some(Verification {
        rows_expected: rows,
        rows_found: rows - 1,
        missing: Finding { count: 1, examples: vec!["row 17".to_owned()] },
        ..Verification::default()
    });
    let ended = run(&files(&desk, &[session(1.0), wrong]), &["--gate"]).await;
    assert_eq!(ended.code, Some(13), "{ended:?}");
    assert!(ended.stdout.starts_with("INVALID: "), "{ended:?}");
}

/// Odd nights are left out by name, and the others still tell that the last one is slower.
#[tokio::test]
async fn one_odd_record_does_not_silence_all_later_ones() {
    let desk = Desk::new();
    let mut records: Vec<Record> = (0..9).map(|_| session(1.0)).collect();
    records[2].environment.server.version_num = 180_001;
    let rows = records[3].blocks[0].rows_confirmed;
    records[3].blocks[0].verification = Some(Verification {
        rows_expected: rows,
        rows_found: rows - 1,
        missing: Finding { count: 1, examples: vec!["row 17".to_owned()] },
        ..Verification::default()
    });
    records[8] = session(0.6);
    let paths = files(&desk, &records);
    let half = fs::read(&paths[4]).unwrap();
    fs::write(&paths[4], &half[..half.len() / 2]).unwrap();
    let text = run(&paths, &["--gate"]).await;
    assert_eq!((text.code, text.stderr.as_str()), (Some(10), ""), "{text:?}");
    let joined = text.stdout.replace("\n    ", " ");
    for want in
        ["2.json: PostgreSQL major: 18, the last 15", "3.json: INVALID", "EOF while parsing"]
    {
        assert!(joined.contains(want), "no {want:?} in {joined}");
    }
    assert!(joined.contains("taken from the 5 earlier records"), "{joined}");
    let json = run(&paths, &["--gate", "--format", "json"]).await;
    let comparison: Comparison = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((comparison.records.len(), comparison.left_out.len()), (6, 3));
}

#[test]
fn files_are_compared_by_what_they_hold() {
    let with = |file: &str, text: &str, xxh3: &str| {
        let mut record = session(1.0);
        let (file_ddl, text) = (file.to_owned(), text.to_owned());
        record.plan.table.source = TableSource::Ddl { file: file_ddl, text };
        record.plan.table.csv = Some(CsvSettings {
            file: file.to_owned(),
            path: PathBuf::from(file),
            header: CsvHeader::Names,
            delimiter: ',',
            null: String::new(),
            on_bad_line: OnBadLine::Error,
            progress: CsvProgress::default(),
        });
        record.plan.csv = Some(CsvFacts {
            file: file.to_owned(),
            bytes: 7,
            xxh3: xxh3.to_owned(),
            lines: 1_000_000_001,
            lines_header: 1,
            lines_blank: 0,
            lines_bad: 0,
            lines_rows: 1_000_000_000,
            rows: 1_000_000_000,
            records_bad: 0,
            bad_examples: Vec::new(),
        });
        record
    };
    let elsewhere = compare(vec![with("./a", "one", "01"), with("/w/a", "one", "01")]);
    assert_eq!(elsewhere.left_out, []);
    for other in [with("./a", "two", "01"), with("./a", "one", "02")] {
        let comparison = compare(vec![with("./a", "one", "01"), other]);
        assert_eq!(comparison.outcome, Outcome::NotComparable);
        assert_eq!(comparison.left_out.len(), 1);
    }
}

#[tokio::test]
async fn old_and_damaged_records_are_told_apart() {
    let desk = Desk::new();
    let paths = files(&desk, &[session(1.0), session(1.0)]);
    let whole = fs::read_to_string(&paths[0]).unwrap();
    let old = whole.replacen("\"schema_version\":1", "\"schema_version\":0", 1);
    for (text, code, words) in [
        (old.as_str(), 12, "not comparable: "),
        (&whole[..whole.len() / 2], 1, "EOF while parsing"),
        ("{}", 1, "not a record of batchpilot: missing field `schema_version`"),
        ("", 1, "not a record of batchpilot"),
    ] {
        fs::write(&paths[0], text).unwrap();
        let turned: Vec<PathBuf> = paths.iter().rev().cloned().collect();
        let ended = run(&turned, &["--gate"]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{words}: {ended:?}");
        assert!(ended.stderr.contains(words) && ended.stderr.contains("0.json"), "{ended:?}");
        // An earlier one is left out, and no other is there.
        let ended = run(&paths, &["--gate"]).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(12), ""), "{words}: {ended:?}");
        let joined = ended.stdout.replace("\n    ", " ");
        assert!(joined.contains("0.json") && joined.contains(words), "{ended:?}");
    }
    fs::remove_file(&paths[0]).unwrap();
    let ended = run(&paths, &[]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("No such file"), "{ended:?}");
    assert_eq!(run(&paths[1..], &[]).await.code, Some(2), "one record is compared with nothing");
}

/// The commands with which the nights of a CI job are compared: what follows a block's `|` at its end.
fn nights(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/ci");
    let text = fs::read_to_string(folder.join(file)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let start =
        lines.iter().rposition(|line| line.trim_start().starts_with("- ") && line.ends_with('|'));
    let depth = |line: &str| line.len() - line.trim_start().len();
    let block = &lines[start.unwrap() + 1..];
    let first = depth(block[0]);
    block.iter().take_while(|line| first <= depth(line)).map(|line| format!("{line}\n")).collect()
}

/// (records of the nights, exit code), a row each: what is named otherwise must not pass for ever.
#[tokio::test]
async fn nights_of_a_ci_job_are_compared_or_it_fails() {
    let bin = Path::new(env!("CARGO_BIN_EXE_batchpilot")).parent().unwrap().to_owned();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut odd = session(1.0);
    odd.environment.server.version_num = 180_001;
    for file in ["github-actions.yml", "gitlab-ci.yml"] {
        for (name, records, code) in [
            ("otherwise", vec![session(1.0), session(1.0)], 1),
            ("nightly", vec![session(1.0)], 0),
            ("nightly", vec![session(1.0), session(0.4)], 10),
            ("nightly", vec![odd.clone(), session(1.0), session(1.0)], 0),
            ("nightly", vec![odd.clone(), session(1.0), session(0.4)], 10),
            ("nightly", vec![odd.clone(), session(1.0)], 12),
        ] {
            let desk = Desk::new();
            for (index, record) in records.iter().enumerate() {
                let folder = desk.path().join(format!("results/{index}-{name}"));
                fs::create_dir_all(&folder).unwrap();
                let text = serde_json::to_vec(record).unwrap();
                fs::write(folder.join("record.json"), text).unwrap();
            }
            let mut shell = tokio::process::Command::new("sh");
            shell.args(["-e", "-c", &nights(file)]).current_dir(desk.path()).env("PATH", &path);
            let ended: Ended = shell.output().await.unwrap().into();
            assert_eq!(ended.code, Some(code), "{file}: {} x {name}: {ended:?}", records.len());
        }
    }
}
