//! A server that stands still: the percentiles show it, because latency counts from the intended
//! start and no start is left out.

use std::{fs, time::Duration};

use batchpilot::{clock, engine::Ended, measure::Kind, target::Target as _};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio_postgres::Client;

use crate::{
    cluster::wait_until,
    support::{Place, brief, cell, cluster, run, target, verify},
};

const RATE: u64 = 200;
const SECONDS: u64 = 4;
const WORKERS: u64 = 4;
const FREEZE: Duration = Duration::from_secs(2);

/// Returns a process and all that it started, it first.
fn family(parent: i32) -> Vec<Pid> {
    let parent_of = |pid: &i32| -> Option<i32> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
    let children = pids.filter(|pid| parent_of(pid) == Some(parent));
    [parent].into_iter().chain(children).map(Pid::from_raw).collect()
}

fn is_stopped(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().any(|line| line.starts_with("State:\tT"))
}

/// Thaws the server even if the test fails: a stopped server heeds no shutdown.
pub(crate) struct Frozen(Vec<Pid>);

impl Frozen {
    pub(crate) fn new(postmaster: i32) -> Frozen {
        Frozen::all(family(postmaster))
    }

    /// Stops the checkpointer while it waits for work: in the middle of a checkpoint it holds locks
    /// without which nobody commits.
    pub(crate) async fn checkpointer(client: &Client) -> Frozen {
        let query = "SELECT pid, coalesce(wait_event = 'CheckpointerMain', false) FROM \
                     pg_stat_activity WHERE backend_type = 'checkpointer'";
        loop {
            let pid = client.query_one(query, &[]).await.unwrap().get(0);
            let frozen = Frozen::all(vec![Pid::from_raw(pid)]);
            wait_until(Duration::from_secs(10), || is_stopped(pid)).await;
            if client.query_one(query, &[]).await.unwrap().get(1) {
                return frozen;
            }
        }
    }

    fn all(pids: Vec<Pid>) -> Frozen {
        pids.iter().for_each(|pid| kill(*pid, Signal::SIGSTOP).unwrap());
        Frozen(pids)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            // A backend that ended meanwhile needs no thawing.
            kill(*pid, Signal::SIGCONT).unwrap_or_default();
        }
    }
}

#[tokio::test]
async fn a_frozen_server_shows_in_the_percentiles() {
    let cluster = cluster(&[]).await;
    let target = target(Place::of(&cluster).options()).await;
    let cell = cell(&format!(
        "strategy = \"single_row\"\nworkers = {WORKERS}\nstop = {{ seconds = {SECONDS}.0 }}\n\
         pace = {{ rate = {RATE}.0 }}\n"
    ));
    let postmaster = i32::try_from(cluster.postmaster_pid()).unwrap();
    let freeze = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let started = clock::now();
        let frozen = Frozen::new(postmaster);
        tokio::time::sleep(FREEZE).await;
        let lasted = clock::since(started);
        drop(frozen);
        lasted
    };
    let (outcome, frozen) = tokio::join!(run(&target, &cell), freeze);
    let outcome = outcome.unwrap();

    // No start was skipped: an operation every 5 ms for 4 s, and each of them ended.
    assert_eq!(outcome.ended, Ended::Done, "{}", brief(&outcome));
    assert_eq!((outcome.never_started, outcome.overloaded), (0, false));
    assert_eq!(outcome.measurement.operations, RATE * SECONDS);
    assert_eq!(outcome.confirmed.row_count(), RATE * SECONDS);

    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap();
    let above = |kind: Kind, latency: Duration| {
        let histogram = outcome.measurement.histograms.of(kind);
        histogram.count_between(nanos(latency), u64::MAX)
    };
    let response = outcome.measurement.histograms.of(Kind::Response);
    assert!(response.max() >= nanos(Duration::from_millis(1_900)), "{} ns", response.max());
    // One start every 5 ms: those of the freeze's first second waited for longer than one. Two
    // starts of tolerance, and the histogram's three digits.
    let first_second = frozen - Duration::from_secs(1);
    let expected = nanos(first_second) / (1_000_000_000 / RATE) - 2;
    let slow = above(Kind::Response, Duration::from_millis(1_001));
    assert!(expected <= slow, "{slow} of {} are above 1 s, not {expected}", response.len());
    // The slowest hundredth, 8 of 800, was due in the freeze's first 40 ms.
    let hundredth = Duration::from_millis(1_000 / RATE * (RATE * SECONDS / 100 + 2));
    let p99 = response.value_at_quantile(0.99);
    assert!(nanos(frozen - hundredth) <= p99 + p99 / 1_000, "{p99} ns");

    // Counted from the operation's first step, the freeze hit only what was on its way.
    let on_their_way = above(Kind::Service, Duration::from_secs(1));
    assert!((1..=WORKERS).contains(&on_their_way), "{on_their_way}");

    assert!(verify(&target, &outcome).await.is_exact());
    target.close().await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_frozen_to_the_end_leaves_no_start_uncounted() {
    let cluster = cluster(&[]).await;
    let target = target(Place::of(&cluster).options()).await;
    // One worker and a freeze that outlasts twice the block: the rest never starts, and is said.
    let cell = cell(
        "strategy = \"single_row\"\nstop = { seconds = 0.5 }\npace = { rate = 100.0, queue_max = 5 }\n",
    );
    let postmaster = i32::try_from(cluster.postmaster_pid()).unwrap();
    let freeze = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let frozen = Frozen::new(postmaster);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        drop(frozen);
    };
    let (outcome, ()) = tokio::join!(run(&target, &cell), freeze);
    let outcome = outcome.unwrap();
    assert!(outcome.overloaded, "{}", brief(&outcome));
    assert!(0 < outcome.never_started, "{}", brief(&outcome));
    assert_eq!(outcome.measurement.operations + outcome.never_started, 50, "{}", brief(&outcome));
    assert!(verify(&target, &outcome).await.is_exact());
    target.close().await.unwrap();
    cluster.stop().await.unwrap();
}
