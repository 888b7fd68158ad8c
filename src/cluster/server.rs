//! Makes a cluster with initdb, starts its postmaster and ends it again.
//!
//! **Invariant:** nothing that decides durability is touched: initdb syncs what it wrote, and the
//! server runs with PostgreSQL's own defaults but for where it listens and what it is called.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{
    directory::{ClusterDirectory, log_tail},
    error::{ClusterError, Stage},
    processes,
    user::ServerUser,
    wire,
};

/// The superuser that initdb makes.
pub(super) const USER: &str = "postgres";
/// Below the cluster's directory.
pub(super) const SERVER_LOG: &str = "server.log";
const INITDB_LOG: &str = "initdb.log";

/// A stop in good order: a fast shutdown, which writes a checkpoint, then an immediate one.
pub(super) const PATIENT: &[(Signal, Duration)] =
    &[(Signal::SIGINT, Duration::from_secs(10)), (Signal::SIGQUIT, Duration::from_secs(6))];
/// A stop when batchpilot is gone: all is over within 5 s, also when no process listens. The data
/// goes with it, so that nothing needs writing; an immediate shutdown still gives back shared memory.
pub(super) const HASTY: &[(Signal, Duration)] = &[(Signal::SIGQUIT, Duration::from_millis(1500))];

/// Another process may take a port between our choosing it and the server's binding it.
const PORT_ATTEMPTS: u32 = 5;
const START_POLL: Duration = Duration::from_millis(20);
const START_POLLS_MAX: u32 = 3000;

/// What server processes may know of our environment: no passwords, and no PG* defaults.
const ENVIRONMENT_KEPT: &[&str] = &["PATH", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

/// A server in its directory, in whatever state it is.
pub(super) struct Server {
    directory: ClusterDirectory,
    binaries: PathBuf,
    user: ServerUser,
    running: Running,
}

/// The one child process of a server.
enum Running {
    Nothing,
    Initdb(Child),
    Postmaster(Child),
}

/// A server that takes connections.
pub(super) struct Up {
    pub(super) port: u16,
    pub(super) postmaster_pid: u32,
}

/// How an attempt to start on some port ended.
enum Attempt {
    Up(Up),
    PortTaken,
}

impl Server {
    pub(super) fn new(directory: ClusterDirectory, binaries: PathBuf, user: ServerUser) -> Self {
        Self { directory, binaries, user, running: Running::Nothing }
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Makes the cluster and starts it on the first of `ports` that is free.
    ///
    /// Cancel safe: whatever runs when the future is dropped is ended by [`Self::end`].
    pub(super) async fn bring_up(
        &mut self,
        order: &wire::Order,
        mut ports: impl FnMut() -> io::Result<u16>,
    ) -> Result<Up, ClusterError> {
        self.initialize(&order.password).await?;
        self.configure(&order.settings)?;
        for _ in 0..PORT_ATTEMPTS {
            let port = ports().map_err(ClusterError::io("find a free port"))?;
            if let Attempt::Up(up) = self.start(port).await? {
                return Ok(up);
            }
        }
        let cause = format!("{PORT_ATTEMPTS} ports in turn were taken before it could bind them");
        Err(self.failure(Stage::Starting, cause))
    }

    /// Waits until the postmaster ends, which it should not do by itself.
    pub(super) async fn ended(&mut self) -> ClusterError {
        let cause = describe(self.running.wait().await);
        self.failure(Stage::Serving, format!("the server ended by itself ({cause})"))
    }

    /// Ends every process of the server: each signal of `stages` in turn, then by force.
    ///
    /// Cancel safe: a second call goes on with other stages.
    pub(super) async fn end(&mut self, stages: &[(Signal, Duration)]) {
        match &mut self.running {
            Running::Nothing => (),
            // The group, because initdb's own child would go on until it next reads its input.
            Running::Initdb(child) => drop(pid_of(child).map(|it| killpg(it, Signal::SIGKILL))),
            Running::Postmaster(child) => {
                for (signal, patience) in stages {
                    let Some(pid) = pid_of(child) else { break };
                    processes::send(pid, *signal);
                    if timeout(*patience, child.wait()).await.is_ok() {
                        break;
                    }
                }
            }
        }
        processes::kill_all(self.directory.path()).await;
        // Reaps it; there is nothing to learn from the status of a process that we killed.
        drop(self.running.wait().await);
        self.running = Running::Nothing;
    }

    /// Removes the directory of a server that [`Self::end`] has ended.
    pub(super) async fn remove(self) -> Result<(), ClusterError> {
        self.directory.remove().await
    }

    async fn initialize(&mut self, password: &str) -> Result<(), ClusterError> {
        let password_file = self.directory().join("password");
        self.write_password(&password_file, password)?;
        let mut command = self.command("initdb", INITDB_LOG)?;
        // The locale C exists everywhere and sorts alike everywhere.
        command
            .args(["--username", USER, "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--locale", "C"])
            .args([OsStr::new("--pwfile"), password_file.as_os_str()]);
        self.running = Running::Initdb(spawn(command)?);
        let status = self.running.wait().await;
        self.running = Running::Nothing;
        let removed = fs::remove_file(&password_file);
        removed.map_err(ClusterError::io(format!("remove {}", password_file.display())))?;
        match status {
            Ok(status) if status.success() => Ok(()),
            failed => {
                let log = log_tail(&self.directory().join(INITDB_LOG));
                // A failed statement is logged with its text, and one of initdb's sets the password.
                let log = log.replace(password, "********");
                Err(ClusterError::Failed { stage: Stage::Initdb, cause: describe(failed), log })
            }
        }
    }

    fn write_password(&self, path: &Path, password: &str) -> Result<(), ClusterError> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let written = file.and_then(|mut it| writeln!(it, "{password}"));
        written.map_err(ClusterError::io(format!("write {}", path.display())))?;
        self.user.own(path)
    }

    fn configure(&self, settings: &[(String, String)]) -> Result<(), ClusterError> {
        let directory = self.directory();
        let name = directory.file_name().unwrap_or_default();
        let lines = format!(
            "\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\n\
             cluster_name = '{}'\n{}",
            directory.display(),
            name.to_string_lossy(),
            wire::config_lines(settings)?,
        );
        let path = directory.join("data/postgresql.conf");
        let file = OpenOptions::new().append(true).open(&path);
        let written = file.and_then(|mut it| it.write_all(lines.as_bytes()));
        written.map_err(ClusterError::io(format!("write {}", path.display())))
    }

    async fn start(&mut self, port: u16) -> Result<Attempt, ClusterError> {
        let mut command = self.command("postgres", SERVER_LOG)?;
        command.args(["-p", &port.to_string()]);
        let pid_file = self.directory().join("data/postmaster.pid");
        self.running = Running::Postmaster(spawn(command)?);
        for _ in 0..START_POLLS_MAX {
            let Running::Postmaster(child) = &mut self.running else { break };
            if let Some(status) = child.try_wait().transpose() {
                let log = log_tail(&self.directory().join(SERVER_LOG));
                if is_port_conflict(&log) {
                    return Ok(Attempt::PortTaken);
                }
                return Err(self.failure(Stage::Starting, describe(status)));
            }
            let ready = fs::read_to_string(&pid_file).is_ok_and(|it| says_ready(&it));
            if let Some(postmaster_pid) = child.id().filter(|_| ready) {
                return Ok(Attempt::Up(Up { port, postmaster_pid }));
            }
            sleep(START_POLL).await;
        }
        let cause = format!("not ready after {:?}", START_POLL * START_POLLS_MAX);
        Err(self.failure(Stage::Starting, cause))
    }

    /// Prepares one of the server's programs: as the server's user, in a process group of its own
    /// so that a terminal's Ctrl-C does not reach it, writing to a fresh log.
    fn command(&self, program: &str, log: &str) -> Result<Command, ClusterError> {
        let log = self.directory().join(log);
        let opened = File::create(&log).and_then(|it| Ok((it.try_clone()?, it)));
        let (stdout, stderr) =
            opened.map_err(ClusterError::io(format!("write {}", log.display())))?;
        let mut command = Command::new(self.binaries.join(program));
        command
            .arg("-D")
            .arg(self.directory().join("data"))
            .env_clear()
            .envs(ENVIRONMENT_KEPT.iter().filter_map(|it| Some((it, std::env::var_os(it)?))))
            // Failures are told apart by what the server writes, in the words of one language.
            .env("LC_ALL", "C")
            .current_dir(self.directory())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0);
        self.user.apply(&mut command);
        Ok(command)
    }

    fn failure(&self, stage: Stage, cause: String) -> ClusterError {
        ClusterError::Failed { stage, cause, log: log_tail(&self.directory().join(SERVER_LOG)) }
    }
}

impl Running {
    /// Waits for the process to end. Cancel safe.
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        match self {
            Self::Nothing => Ok(ExitStatus::default()),
            Self::Initdb(child) | Self::Postmaster(child) => child.wait().await,
        }
    }
}

/// Asks the system for a port of 127.0.0.1 that is free now.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn spawn(mut command: Command) -> Result<Child, ClusterError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command.spawn().map_err(ClusterError::io(format!("run {program} as the server's user")))
}

fn pid_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|it| i32::try_from(it).ok()).map(Pid::from_raw)
}

fn describe(status: io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// The eighth line of postmaster.pid is the server's state, as pg_ctl reads it.
fn says_ready(pid_file: &str) -> bool {
    pid_file.lines().nth(7).is_some_and(|it| it.trim() == "ready")
}

fn is_port_conflict(log: &str) -> bool {
    log.contains("could not create any TCP/IP sockets") && log.contains("Address already in use")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::find::{Lookup, find};

    #[test]
    fn a_server_is_ready_when_its_pid_file_says_so() {
        assert!(says_ready("1\n/d\n2\n5432\n/s\n127.0.0.1\n  1  2\nready   \n"));
        assert!(!says_ready("1\n/d\n2\n5432\n/s\n127.0.0.1\n  1  2\nstarting\n"));
        assert!(!says_ready("1\n/d\n"));
    }

    #[tokio::test]
    async fn a_port_taken_in_between_is_left_to_its_owner() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken_port = taken.local_addr().unwrap().port();
        let mut offers = vec![free_port().unwrap(), taken_port, taken_port];
        let binaries = find(&Lookup::from_env(), None).unwrap_or_else(|error| panic!("{error}"));
        let user = ServerUser::pick().unwrap();
        let mut server =
            Server::new(ClusterDirectory::create(user).unwrap(), binaries.directory, user);
        let directory = server.directory().to_owned();
        let order = wire::Order { password: "secret".to_owned(), settings: Vec::new() };

        let up = server.bring_up(&order, || Ok(offers.pop().unwrap())).await;
        let port = up.map(|it| it.port);
        server.end(PATIENT).await;
        server.remove().await.unwrap();
        assert_ne!(port.unwrap(), taken_port);
        assert!(offers.is_empty());
        assert!(!directory.exists());
    }
}
