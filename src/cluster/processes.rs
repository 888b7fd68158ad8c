//! Finds and ends the processes of a cluster, also when nobody's child they are any more.

use std::{ffi::OsStr, path::Path, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};
use tokio::time::sleep;

const POLL: Duration = Duration::from_millis(20);
/// How long the server may take to end its own processes and give back its shared memory.
const IMMEDIATE_POLLS: u32 = 75;
/// A killed process is gone as soon as the kernel gets to it; more rounds catch late children.
const KILL_POLLS: u32 = 250;

/// Returns the processes of the cluster in `directory`.
///
/// They are known by the directory's unique name on their command lines: the postmaster and initdb
/// got it as an argument, all others show it as `cluster_name`. Parentage would miss those whose
/// parent died; the working directory cannot be read in a container whose root lacks ptrace.
pub(super) fn of_cluster(directory: &Path) -> Vec<Pid> {
    let Some(name) = directory.file_name().and_then(OsStr::to_str) else { return Vec::new() };
    let mut system = System::new();
    let kind = ProcessRefreshKind::nothing().with_cmd(UpdateKind::Always).without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
    let processes = system.processes().values();
    processes
        .filter(|it| ["postgres", "initdb"].iter().any(|program| it.name() == *program))
        .filter(|it| it.cmd().iter().any(|word| word.to_string_lossy().contains(name)))
        .filter_map(|it| i32::try_from(it.pid().as_u32()).ok().map(Pid::from_raw))
        .collect()
}

/// Sends `signal`. A process that is gone by now is as well as signalled.
pub(super) fn send(pid: Pid, signal: Signal) {
    kill(pid, signal).ok();
}

/// Kills whatever the cluster in `directory` has left running, and returns when nothing is.
pub(super) async fn kill_all(directory: &Path) {
    for _ in 0..KILL_POLLS {
        let left = of_cluster(directory);
        if left.is_empty() {
            return;
        }
        left.into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
        sleep(POLL).await;
    }
}

/// Ends a server whose guardian is dead: first by its own immediate shutdown, which gives back
/// shared memory, then by force.
pub(super) async fn end_orphans(directory: &Path) {
    ask_postmaster_to_quit(directory);
    for _ in 0..IMMEDIATE_POLLS {
        if of_cluster(directory).is_empty() {
            return;
        }
        sleep(POLL).await;
    }
    kill_all(directory).await;
}

/// Asks for an immediate shutdown, if the process that the pid file names is this cluster's.
pub(super) fn ask_postmaster_to_quit(directory: &Path) {
    let pid_file = std::fs::read_to_string(directory.join("data/postmaster.pid"));
    let written = pid_file.ok().and_then(|it| it.lines().next()?.trim().parse().ok());
    let Some(pid) = written.map(Pid::from_raw) else { return };
    if of_cluster(directory).contains(&pid) {
        send(pid, Signal::SIGQUIT);
    }
}
