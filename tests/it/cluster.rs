//! The private PostgreSQL: it starts, keeps strangers out, and is never left behind.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use batchpilot::{
    clock,
    cluster::{Cluster, ClusterError, ClusterOptions, FindError, Lookup, Stage, find},
};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use serde_json::Value;
use tokio_postgres::{Client, Config, NoTls, error::SqlState};

const BATCHPILOT: &str = env!("CARGO_BIN_EXE_batchpilot");
/// What a server may take to be gone after batchpilot is.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Starts a server, or fails with what there is to do about it.
async fn start(settings: &[(&str, &str)]) -> Cluster {
    try_start(settings).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn try_start(settings: &[(&str, &str)]) -> Result<Cluster, ClusterError> {
    // To test with another major: BATCHPILOT_PG_BIN.
    let binaries = find(&Lookup::from_env(), None).unwrap_or_else(|error| panic!("{error}"));
    let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let guardian = PathBuf::from(BATCHPILOT);
    Cluster::start(ClusterOptions { binaries, guardian, settings: settings.collect() }).await
}

/// How to reach a server: over its socket, or over TCP.
fn doors(cluster: &Cluster) -> [Config; 2] {
    let mut socket = Config::new();
    socket.host_path(cluster.socket_dir());
    let mut tcp = Config::new();
    tcp.host("127.0.0.1");
    for config in [&mut socket, &mut tcp] {
        config.port(cluster.port()).user(cluster.user()).dbname(cluster.database());
        config.password(cluster.password());
    }
    [socket, tcp]
}

async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn show(client: &Client, setting: &str) -> String {
    client.query_one(&format!("SHOW {setting}"), &[]).await.unwrap().get(0)
}

/// Returns the processes that have the directory's unique name on their command line.
pub(crate) fn processes_of(directory: &Path) -> Vec<i32> {
    let name = directory.file_name().unwrap().to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
    let command_line = |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    pids.filter(|pid| String::from_utf8_lossy(&command_line(pid)).contains(name)).collect()
}

fn is_alive(pid: i32) -> bool {
    // A zombie has ended, whoever is to reap it.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|it| it.starts_with("State:") && !it.contains('Z'))
}

/// Waits until `condition` holds.
pub(crate) async fn wait_until(limit: Duration, condition: impl Fn() -> bool) {
    let start = clock::now();
    while !condition() {
        assert!(clock::since(start) < limit, "not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Returns the program of `examples/hold_cluster.rs`, which is built along with the tests.
fn holder() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.ancestors().nth(2).unwrap().join("examples/hold_cluster")
}

/// A process that holds a server, as batchpilot does in a run.
struct Holder {
    process: Child,
    directory: PathBuf,
    pids: Vec<i32>,
}

impl Holder {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(holder())
            .arg(BATCHPILOT)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let place: Value = serde_json::from_str(&line).expect("the holder has said why not");
        let directory = PathBuf::from(place["socket_dir"].as_str().unwrap());
        let pid = |name: &str| i32::try_from(place[name].as_u64().unwrap()).unwrap();
        let mut pids = processes_of(&directory);
        pids.extend([pid("postmaster_pid"), pid("guardian_pid")]);
        Self { process, directory, pids }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap())
    }

    fn backend_is_busy(&self) -> bool {
        let command_line = |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let is_busy = |pid: &i32| String::from_utf8_lossy(&command_line(pid)).contains("SELECT");
        processes_of(&self.directory).iter().any(is_busy)
    }

    fn is_gone(&self) -> bool {
        !self.directory.exists()
            && processes_of(&self.directory).is_empty()
            && !self.pids.iter().any(|it| is_alive(*it))
    }

    /// Waits until nothing is left of the server.
    async fn assert_gone(mut self) {
        self.process.wait().unwrap();
        wait_until(GONE_WITHIN, || self.is_gone()).await;
    }
}

#[tokio::test]
async fn starts_as_postgresql_ships_and_stops_leaving_nothing() {
    let cluster = start(&[("work_mem", "5MB"), ("search_path", "it's")]).await;
    let directory = cluster.socket_dir().to_owned();
    let before = processes_of(&directory);
    assert!(before.contains(&i32::try_from(cluster.postmaster_pid()).unwrap()));
    for config in doors(&cluster) {
        let client = connect(&config).await.unwrap();
        let expected = [
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("full_page_writes", "on"),
            ("password_encryption", "scram-sha-256"),
            ("server_encoding", "UTF8"),
            ("listen_addresses", "127.0.0.1"),
            ("work_mem", "5MB"),
            ("search_path", "it's"),
        ];
        for (setting, value) in expected {
            assert_eq!(show(&client, setting).await, value, "{setting}");
        }
        let version = show(&client, "server_version_num").await;
        assert_eq!(version.parse::<u32>().unwrap() / 10_000, cluster.major());
    }
    assert!(cluster.log_tail().contains("ready to accept connections"));
    assert!(cluster.data_dir().join("PG_VERSION").exists());

    cluster.stop().await.unwrap();
    assert!(!directory.exists());
    assert_eq!(processes_of(&directory), Vec::<i32>::new());
    assert!(!before.iter().any(|it| is_alive(*it)));
}

#[tokio::test]
async fn dropping_it_ends_it_too() {
    let cluster = start(&[]).await;
    let directory = cluster.socket_dir().to_owned();
    drop(cluster);
    wait_until(GONE_WITHIN, || !directory.exists() && processes_of(&directory).is_empty()).await;
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing() {
    for delay_ms in [100, 400, 800, 1200, 1600] {
        // A place of its own, so that what is left there is left by this start.
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(place.path(), Permissions::from_mode(0o777)).unwrap();
        let mut holder = Command::new(holder())
            .arg(BATCHPILOT)
            .env("TMPDIR", place.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        holder.kill().unwrap();
        holder.wait().unwrap();
        let is_empty = || fs::read_dir(place.path()).unwrap().next().is_none();
        wait_until(GONE_WITHIN, || is_empty() && processes_of(place.path()).is_empty()).await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_at_both_doors() {
    let cluster = start(&[]).await;
    for mut config in doors(&cluster) {
        for wrong in ["", "postgres"] {
            let error = connect(config.password(wrong)).await.unwrap_err();
            let refused = error.code() == Some(&SqlState::INVALID_PASSWORD);
            assert!(refused || wrong.is_empty(), "{error:?}");
        }
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_password_is_nowhere_to_be_read() {
    let cluster = start(&[]).await;
    let password = cluster.password();
    assert_eq!(password.len(), 48);
    assert!(!format!("{cluster:?}").contains(password));
    let mut pids = processes_of(cluster.socket_dir());
    pids.push(i32::try_from(cluster.guardian_pid().unwrap()).unwrap());
    for pid in pids {
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&bytes).contains(password), "{file} of {pid}");
        }
    }
    for entry in fs::read_dir(cluster.socket_dir()).unwrap().flatten() {
        let text = fs::read(entry.path()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains(password), "{:?}", entry.path());
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_root_starts_has_no_privileges() {
    let cluster = start(&[]).await;
    let status = fs::read_to_string(format!("/proc/{}/status", cluster.postmaster_pid())).unwrap();
    let value = |name: &str| {
        let line = status.lines().find(|it| it.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(!value("Uid:").contains(&"0".to_owned()), "{status}");
    assert!(!value("Gid:").contains(&"0".to_owned()), "{status}");
    assert!(!value("Groups:").contains(&"0".to_owned()), "{status}");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn nothing_survives_the_end_of_batchpilot() {
    type End = (&'static str, fn(&Holder));
    let ends: &[End] = &[
        ("kill -9", |it| kill(it.pid(), Signal::SIGKILL).unwrap()),
        ("kill -9 of its process group", |it| killpg(it.pid(), Signal::SIGKILL).unwrap()),
        ("SIGTERM", |it| kill(it.pid(), Signal::SIGTERM).unwrap()),
        ("Ctrl-C", |it| killpg(it.pid(), Signal::SIGINT).unwrap()),
    ];
    for (name, end) in ends {
        let holder = Holder::start(&[]);
        assert!(holder.pids.len() > 4 && holder.directory.exists(), "{name}");
        end(&holder);
        holder.assert_gone().await;
    }
}

#[tokio::test]
async fn a_guardian_that_is_told_to_go_takes_the_server_with_it() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let holder = Holder::start(&[]);
        kill(Pid::from_raw(*holder.pids.last().unwrap()), signal).unwrap();
        wait_until(GONE_WITHIN, || holder.is_gone()).await;
        kill(holder.pid(), Signal::SIGKILL).unwrap();
        holder.assert_gone().await;
    }
}

#[tokio::test]
async fn nothing_survives_when_a_backend_is_busy() {
    let holder = Holder::start(&["busy"]);
    wait_until(Duration::from_secs(20), || holder.backend_is_busy()).await;
    kill(holder.pid(), Signal::SIGKILL).unwrap();
    holder.assert_gone().await;
}

#[tokio::test]
async fn nothing_survives_when_a_backend_does_not_listen() {
    let holder = Holder::start(&["busy"]);
    wait_until(Duration::from_secs(20), || holder.backend_is_busy()).await;
    // A stopped process heeds neither shutdown; only the guardian's last resort ends it.
    for pid in processes_of(&holder.directory) {
        kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    }
    kill(holder.pid(), Signal::SIGKILL).unwrap();
    holder.assert_gone().await;
}

#[tokio::test]
async fn nothing_survives_when_the_postmaster_is_killed() {
    let holder = Holder::start(&["busy"]);
    wait_until(Duration::from_secs(20), || holder.backend_is_busy()).await;
    let postmaster = holder.pids[holder.pids.len() - 2];
    kill(Pid::from_raw(postmaster), Signal::SIGKILL).unwrap();
    wait_until(GONE_WITHIN, || holder.is_gone()).await;
    kill(holder.pid(), Signal::SIGKILL).unwrap();
    holder.assert_gone().await;
}

#[tokio::test]
async fn a_server_that_ended_by_itself_says_so_with_its_log() {
    let cluster = start(&[]).await;
    let directory = cluster.socket_dir().to_owned();
    kill(Pid::from_raw(i32::try_from(cluster.postmaster_pid()).unwrap()), Signal::SIGQUIT).unwrap();
    wait_until(GONE_WITHIN, || !directory.exists()).await;
    match cluster.stop().await {
        Err(ClusterError::Failed { stage: Stage::Serving, log, .. }) => {
            assert!(log.contains("received immediate shutdown request"), "{log}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_killed_guardian_is_stood_in_for() {
    let cluster = start(&[]).await;
    let directory = cluster.socket_dir().to_owned();
    let guardian = i32::try_from(cluster.guardian_pid().unwrap()).unwrap();
    kill(Pid::from_raw(guardian), Signal::SIGKILL).unwrap();
    cluster.stop().await.unwrap();
    assert!(!directory.exists());
    assert_eq!(processes_of(&directory), Vec::<i32>::new());
}

#[tokio::test]
async fn the_next_start_removes_what_a_killed_pair_left() {
    let mut holder = Holder::start(&["busy"]);
    let guardian = *holder.pids.last().unwrap();
    kill(Pid::from_raw(guardian), Signal::SIGKILL).unwrap();
    let other = start(&[]).await;
    assert!(!processes_of(&holder.directory).is_empty(), "its owner lives and may need it");

    kill(holder.pid(), Signal::SIGKILL).unwrap();
    holder.process.wait().unwrap();
    let another = start(&[]).await;
    assert!(holder.is_gone());
    assert!(other.socket_dir().exists());
    other.stop().await.unwrap();
    another.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_come_up_shows_its_own_log() {
    match try_start(&[("no_such_setting", "1")]).await {
        Err(ClusterError::Failed { stage: Stage::Starting, log, .. }) => {
            assert!(log.contains("unrecognized configuration parameter"), "{log}");
        }
        other => panic!("{other:?}"),
    }
    let refused = try_start(&[("port", "1")]).await;
    assert!(matches!(refused, Err(ClusterError::Setting { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_guardian_that_is_none_is_said() {
    let binaries = find(&Lookup::from_env(), None).unwrap_or_else(|error| panic!("{error}"));
    let options = |guardian: &str| ClusterOptions {
        binaries: binaries.clone(),
        guardian: PathBuf::from(guardian),
        settings: Vec::new(),
    };
    let lost = Cluster::start(options("/bin/false")).await;
    assert!(matches!(lost, Err(ClusterError::GuardianLost { .. })), "{lost:?}");
    let missing = Cluster::start(options("/no/such/batchpilot")).await;
    assert!(matches!(missing, Err(ClusterError::Io { .. })), "{missing:?}");
}

#[test]
fn an_initdb_that_fails_shows_its_own_log() {
    // With a guardian of its own, so that the limit on file sizes holds for that one only.
    let output = Command::new("/bin/sh")
        .args(["-c", "ulimit -f 64; exec \"$0\" \"$1\""])
        .args([holder().as_path(), Path::new(BATCHPILOT)])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(error.contains("failed while running initdb"), "{error}");
    assert!(error.lines().count() > 3, "{error}");
}

#[test]
fn a_major_that_is_missing_is_said() {
    let found = find(&Lookup { pg_bin_environment: None, ..Lookup::from_env() }, Some(6));
    match found {
        Err(error @ FindError::MajorMissing { major: 6, .. }) => {
            assert!(error.to_string().contains("scripts/install-postgres 6"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}
