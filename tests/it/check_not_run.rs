//! Checks that end before they have measured anything: what CI is told of them.

use std::{fs, path::PathBuf};

use batchpilot::report::ci::{NotRun, Why, junit, markdown};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{net::TcpListener, process::Command};

use crate::{
    check::sim,
    check_outputs::violations,
    support::{Desk, Ended, batchpilot, ended},
};

/// Prepares a check that is to write all files, and cannot run for the reason with this exit code.
fn refused(desk: &Desk, code: i32) -> Command {
    let write = |name: &str, text: &str| -> PathBuf {
        let file = desk.path().join(name);
        fs::write(&file, text).unwrap();
        file
    };
    let mut command = batchpilot();
    command.arg("check");
    match code {
        // Nobody listens at port 1.
        1 => command.args(["postgresql://me@127.0.0.1:1/a", "postgresql://me@127.0.0.1:1/b"]),
        2 => {
            let scenario = write("one.toml", &sim(20.0, "batchsize = 7"));
            command.arg(&scenario).arg(&scenario)
        }
        12 => {
            let other = sim(20.0, "").replace("1,000 x 4", "other");
            command.arg(write("one.toml", &sim(20.0, ""))).arg(write("two.toml", &other))
        }
        other => panic!("{other}"),
    };
    for (flag, name) in [
        ("--junit", "ci/junit.xml"),
        ("--markdown", "ci/summary.md"),
        ("--bmf", "ci/bmf.json"),
        ("--action-bench", "ci/action"),
        ("--out", "results"),
    ] {
        command.arg(flag).arg(desk.path().join(name));
    }
    command
}

#[tokio::test]
async fn junit_and_markdown_say_why_and_no_number_is_written() {
    for (code, kind, words) in [
        (1, "failed", "cannot connect to 127.0.0.1:1"),
        (2, "cannot run", "batchsize"),
        (12, "not comparable", "cells are paired by name"),
    ] {
        let desk = Desk::new();
        let at = |name: &str| desk.path().join("ci").join(name);
        // Of an earlier check: a tracker must not take them for this one's.
        let stale = ["bmf.json", "action/bigger-is-better.json", "action/smaller-is-better.json"];
        fs::create_dir_all(at("action")).unwrap();
        stale.iter().for_each(|it| fs::write(at(it), "{}").unwrap());
        for times in 1..=2 {
            let ended = ended(refused(&desk, code)).await;
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{ended:?}");
            assert!(ended.stderr.contains(words), "{ended:?}");
            let junit = fs::read_to_string(at("junit.xml")).unwrap();
            assert_eq!(violations(&junit).unwrap_or_default(), "", "{junit}");
            assert!(junit.contains("tests=\"1\" failures=\"0\" errors=\"1\""), "{junit}");
            assert!(junit.contains(&format!("<error type=\"{kind}\" message=\"")), "{junit}");
            assert!(junit.contains(words), "{junit}");
            let summary = fs::read_to_string(at("summary.md")).unwrap();
            assert!(summary.starts_with("## ⛔ ERROR: batchpilot check, not run\n"), "{summary}");
            assert_eq!(summary.matches(&format!("\n**ERROR**: {kind}; ")).count(), times);
            assert!(summary.contains(words), "{summary}");
            assert!(!stale.iter().any(|it| at(it).exists()), "no number, no file");
        }
        assert_eq!(desk.runs(), Vec::<PathBuf>::new(), "nothing was measured");
    }
}

/// A server that takes the connection and never answers: CI is told that nothing was checked.
#[tokio::test]
async fn a_signal_before_the_first_pair_is_told_too() {
    for (signal, code, words) in
        [(Signal::SIGINT, 130, "stopped by Ctrl-C"), (Signal::SIGTERM, 143, "stopped by SIGTERM")]
    {
        let desk = Desk::new();
        let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgresql://me@{}/a?sslmode=disable", mute.local_addr().unwrap());
        let mut command = batchpilot();
        command.arg("check").args(["--null", "--url", &url]);
        for (flag, name) in [
            ("--junit", "junit.xml"),
            ("--markdown", "summary.md"),
            ("--bmf", "bmf"),
            ("--out", "o"),
        ] {
            command.arg(flag).arg(desk.path().join(name));
        }
        fs::write(desk.path().join("bmf"), "{}").unwrap();
        let process = command.spawn().unwrap();
        let _connected = mute.accept().await.unwrap();
        kill(Pid::from_raw(i32::try_from(process.id().unwrap()).unwrap()), signal).unwrap();
        let ended: Ended = process.wait_with_output().await.unwrap().into();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let junit = fs::read_to_string(desk.path().join("junit.xml")).unwrap();
        assert_eq!(violations(&junit).unwrap_or_default(), "", "{junit}");
        assert!(junit.contains("<error type=\"stopped\" message=\"") && junit.contains(words));
        let summary = fs::read_to_string(desk.path().join("summary.md")).unwrap();
        assert!(summary.contains("**ERROR**: stopped; ") && summary.contains(words), "{summary}");
        assert!(!desk.path().join("bmf").exists(), "no number, no file");
    }
}

/// A file that cannot be written does not hide why the check did not run.
#[tokio::test]
async fn both_errors_are_said() {
    let desk = Desk::new();
    fs::create_dir_all(desk.path().join("ci/junit.xml")).unwrap();
    let bmf = desk.path().join("ci/bmf.json");
    fs::write(&bmf, "{}").unwrap();
    let ended = ended(refused(&desk, 12)).await;
    assert!(!bmf.exists(), "numbers of an earlier check");
    assert_eq!(ended.code, Some(12), "{ended:?}");
    assert_eq!(ended.stderr.matches("batchpilot: ").count(), 2, "{ended:?}");
    assert!(ended.stderr.contains("cells are paired by name"), "{ended:?}");
}

/// An error may quote whatever a file or a server says.
#[test]
fn words_of_others_break_no_file() {
    let error = "old.sql:3: \u{1b}[31m<b>]]> & \"q\"\u{0}\n```\n# <script>\n\tat line 7 `x`";
    for error in [error, "", &"long\n".repeat(20_000)] {
        let (command, batchpilot) = ("check `a` <b>", "0.1.0");
        let not_run = NotRun { command, batchpilot, why: Why::Usage, error };
        let mut xml = Vec::new();
        junit::write_not_run(&not_run, &mut xml).unwrap();
        let xml = String::from_utf8(xml).unwrap();
        assert_eq!(violations(&xml).unwrap_or_default(), "", "{xml}");
        let mut text = Vec::new();
        markdown::write_not_run(&not_run, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.len() <= markdown::BYTES_MAX && !text.contains('\u{1b}'));
        // Whatever stands in it, a line of it is code, which is shown as it is.
        let own = text.lines().filter(|it| !it.is_empty() && !it.starts_with("    "));
        assert_eq!(own.count(), 3, "heading, verdict and command: {text}");
    }
}
