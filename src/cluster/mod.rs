//! A private PostgreSQL: found, made, started, and never left behind.
//!
//! [`Cluster::start`] does not start the server itself. It starts a [`guardian`], which does, and
//! which ends the server when batchpilot says so or is gone for whatever reason:
//!
//! ```text
//! batchpilot ──stdin (order, stop, end of file)──▶ guardian ──▶ initdb, postmaster ──▶ backends
//!            ◀──────stdout (ready, failed)────────
//! ```
//!
//! **Invariant:** no server outlives batchpilot. Killing guardian and batchpilot together is the one
//! way around it; then the next start ends the server and removes its directory.
//! **Invariant:** the password is in no argument, environment, log or `Debug` output.

pub mod find;
pub mod guardian;

mod directory;
mod error;
mod processes;
mod server;
mod user;
mod wire;

use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use nix::fcntl::Flock;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
};

use self::wire::{Order, Report};
pub use self::{
    error::{ClusterError, Stage},
    find::{Binaries, FindError, Lookup, find},
};

/// What the guardian may know of our environment: no passwords, and no PG* defaults.
const ENVIRONMENT_KEPT: &[&str] =
    &["PATH", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "RUST_BACKTRACE"];
const PASSWORD_BYTES: usize = 24;

/// What to start.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The server's programs, as [`find()`] found them.
    pub binaries: Binaries,
    /// The program to run as `<guardian> guard-cluster`: normally `std::env::current_exe()`.
    pub guardian: PathBuf,
    /// More lines for postgresql.conf, name and value. Default: none, PostgreSQL as it ships.
    pub settings: Vec<(String, String)>,
}

/// A private PostgreSQL that is up. [`Cluster::stop`] ends it; so does dropping it.
///
/// Invariant: until it is stopped, `line` is open, and its end would end the server.
pub struct Cluster {
    guardian: Child,
    line: Option<ChildStdin>,
    reports: Lines<BufReader<ChildStdout>>,
    /// Held, not read: another batchpilot sees by it that the directory is in use.
    _lock: Flock<File>,
    directory: PathBuf,
    binaries: Binaries,
    password: String,
    port: u16,
    postmaster_pid: u32,
}

impl Cluster {
    /// Makes a cluster in a fresh private directory and starts it on a free port of 127.0.0.1 and
    /// on a Unix socket, both with scram-sha-256 and a random password.
    ///
    /// Cancel safe: if the future is dropped, the guardian removes what there is by then.
    ///
    /// # Errors
    ///
    /// Fails when initdb or the server does, with the last lines of its log.
    pub async fn start(options: ClusterOptions) -> Result<Self, ClusterError> {
        wire::config_lines(&options.settings)?;
        let password = random_password()?;
        let order = Order { password: password.clone(), settings: options.settings };
        let mut guardian = spawn_guardian(&options.guardian, &options.binaries)?;
        let mut line = guardian.stdin.take().expect("stdin was asked for as a pipe");
        let stdout = guardian.stdout.take().expect("stdout was asked for as a pipe");
        let stderr = guardian.stderr.take().expect("stderr was asked for as a pipe");
        let mut reports = BufReader::new(stdout).lines();

        let text = serde_json::to_string(&order).expect("an order is plain data") + "\n";
        // A guardian that does not read has ended: its silence below says so better.
        drop(line.write_all(text.as_bytes()).await);
        match next_report(&mut reports).await? {
            Some(Report::Ready { directory, port, postmaster_pid }) => Ok(Self {
                _lock: directory::lock_as_owner(&directory)?,
                line: Some(line),
                binaries: options.binaries,
                guardian,
                reports,
                directory,
                password,
                port,
                postmaster_pid,
            }),
            Some(Report::Failed { stage, cause, log }) => {
                wait(&mut guardian).await?;
                Err(ClusterError::Failed { stage, cause, log })
            }
            None => Err(lost(options.guardian, guardian, stderr).await?),
        }
    }

    /// Stops the server in good order, and removes its directory.
    ///
    /// # Errors
    ///
    /// Fails when the server had ended by itself, with the last lines of its log, or when the
    /// directory cannot be removed.
    pub async fn stop(mut self) -> Result<(), ClusterError> {
        if let Some(line) = &mut self.line {
            // A guardian that is gone cannot be told; its exit status is looked at below.
            drop(line.write_all(format!("{}\n", wire::STOP).as_bytes()).await);
        }
        let report = next_report(&mut self.reports).await?;
        let status = wait(&mut self.guardian).await?;
        self.line = None;
        if let Some(Report::Failed { stage, cause, log }) = report {
            return Err(ClusterError::Failed { stage, cause, log });
        }
        if !status.success() {
            // The guardian was killed. What it leaves undone is done here.
            processes::end_orphans(&self.directory).await;
            directory::remove_all(&self.directory).await?;
        }
        Ok(())
    }

    /// The directory of the Unix socket: what a PostgreSQL client takes as its host.
    pub fn socket_dir(&self) -> &Path {
        &self.directory
    }

    /// The port, of 127.0.0.1 and in the socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser.
    pub fn user(&self) -> &str {
        server::USER
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The database that initdb makes for use.
    pub fn database(&self) -> &str {
        "postgres"
    }

    /// PostgreSQL's major version.
    pub fn major(&self) -> u32 {
        self.binaries.major
    }

    /// The server's programs.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The process that started all others of the server.
    pub fn postmaster_pid(&self) -> u32 {
        self.postmaster_pid
    }

    /// The process that ends the server, or nothing once it has ended itself.
    pub fn guardian_pid(&self) -> Option<u32> {
        self.guardian.id()
    }

    /// The server's log.
    pub fn log_path(&self) -> PathBuf {
        self.directory.join(server::SERVER_LOG)
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self) -> String {
        directory::log_tail(&self.log_path())
    }
}

impl Drop for Cluster {
    /// Ends the server without waiting: the guardian sees the pipe close, and needs nobody for the
    /// rest. Only if it was killed is there something to do here, and the next start does the rest.
    fn drop(&mut self) {
        self.line = None;
        if matches!(self.guardian.try_wait(), Ok(Some(_))) && self.directory.exists() {
            processes::ask_postmaster_to_quit(&self.directory);
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Cluster")
            .field("directory", &self.directory)
            .field("port", &self.port)
            .field("binaries", &self.binaries)
            .field("postmaster_pid", &self.postmaster_pid)
            .finish_non_exhaustive()
    }
}

/// Starts the guardian in a process group of its own, so that a terminal's Ctrl-C ends batchpilot
/// and, by that, the server in good order; not the guardian first.
fn spawn_guardian(guardian: &Path, binaries: &Binaries) -> Result<Child, ClusterError> {
    let action = || format!("run {} as the guardian of a private PostgreSQL", guardian.display());
    let program = std::path::absolute(guardian).map_err(ClusterError::io(action()))?;
    Command::new(program)
        .arg(guardian::SUBCOMMAND)
        .arg(&binaries.directory)
        .env_clear()
        .envs(ENVIRONMENT_KEPT.iter().filter_map(|it| Some((it, std::env::var_os(it)?))))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(ClusterError::io(action()))
}

async fn next_report(
    reports: &mut Lines<BufReader<ChildStdout>>,
) -> Result<Option<Report>, ClusterError> {
    let line = reports.next_line().await;
    let line = line.map_err(ClusterError::io("read what the guardian reports"))?;
    line.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|error| ClusterError::Protocol { problem: format!("its report: {error}") })
}

async fn wait(guardian: &mut Child) -> Result<ExitStatus, ClusterError> {
    guardian.wait().await.map_err(ClusterError::io("wait for the guardian"))
}

/// Says how a guardian ended that ended without a report.
async fn lost(
    path: PathBuf,
    mut guardian: Child,
    mut stderr: ChildStderr,
) -> Result<ClusterError, ClusterError> {
    let mut log = String::new();
    // Without its last words the exit status has to do.
    drop(stderr.read_to_string(&mut log).await);
    let status = wait(&mut guardian).await?;
    Ok(ClusterError::GuardianLost { path, status, log })
}

fn random_password() -> Result<String, ClusterError> {
    let mut bytes = [0; PASSWORD_BYTES];
    let filled = File::open("/dev/urandom").and_then(|mut it| it.read_exact(&mut bytes));
    filled.map_err(ClusterError::io("read /dev/urandom"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
