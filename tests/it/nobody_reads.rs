//! Standard output whose reader has gone away, as in `batchpilot check … | head -1`: the exit code is
//! that of the verdict, and the files are there.

use std::{fs, path::Path};

use batchpilot::record;
use tokio::process::Command;

use crate::{
    check::sim,
    command_line::{SHORT, meddle},
    support::{Desk, Ended, batchpilot, database},
};

/// Runs a command of which nobody reads the output.
async fn unread(mut command: Command) -> Ended {
    let mut process = command.spawn().unwrap();
    drop(process.stdout.take());
    process.wait_with_output().await.unwrap().into()
}

#[tokio::test]
async fn a_check_ends_as_its_verdict_says() {
    for (head_us, code) in [(20.0, 0), (25.5, 10)] {
        for flags in [&[][..], &["--json"]] {
            let desk = Desk::new();
            let (base, head) = (desk.path().join("base.toml"), desk.path().join("head.toml"));
            fs::write(&base, sim(20.0, "")).unwrap();
            fs::write(&head, sim(head_us, "")).unwrap();
            let mut command = batchpilot();
            command.arg("check").arg(base).arg(head).args(flags).arg("--out").arg(desk.out());
            let ended = unread(command).await;
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""), "{flags:?}");
            assert!(desk.only_run().join("report.html").is_file());
            let mut report = batchpilot();
            report.arg("report").arg(desk.only_run());
            assert_eq!(unread(report).await.code, Some(code), "{flags:?}");
        }
    }
}

#[tokio::test]
async fn a_run_ends_as_its_verdict_says() {
    for flags in [&[][..], &["--format", "json"]] {
        for (lies, code) in [(false, 0), (true, 13)] {
            let (place, desk) = (database().await, Desk::new());
            if lies {
                meddle(&place, "BEFORE", "RETURN NULL;").await;
            }
            let mut command = desk.run(&format!("{SHORT}on_error = \"collect\"\n"));
            command.args(["--url", &place.url()]).args(flags);
            let ended = unread(command).await;
            assert_eq!(ended.code, Some(code), "{flags:?} {ended:?}");
            assert!(desk.only_run().join("report.html").is_file());
            assert_eq!(place.schemas().await, Vec::<String>::new());
            let mut report = batchpilot();
            report.arg("report").arg(desk.only_run()).args(flags);
            assert_eq!(unread(report).await.code, Some(code), "{flags:?}");
        }
    }
}

/// What it follows is measured to its end, and so is what it said of the search.
#[tokio::test]
async fn a_search_that_follows_goes_on() {
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/sim/quiet.toml");
    let desk = Desk::new();
    let mut command = batchpilot();
    command.arg("tune").arg(scenario).args(["--search", "10s", "--repetitions", "2"]);
    command.args(["--follow", "5s"]).arg("--out").arg(desk.out());
    let ended = unread(command).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let record = record::read(&desk.only_run()).unwrap();
    assert!(record.complete && record.plan.tuning.unwrap().follow.is_some());
}
