//! What can go wrong with a private PostgreSQL.

use std::{fmt, io, path::PathBuf, process::ExitStatus};

use serde::{Deserialize, Serialize};

/// Why a private PostgreSQL could not be started, kept or removed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The operating system refused something.
    #[error("cannot {action}")]
    Io { action: String, source: io::Error },
    /// An extra setting that the private server cannot take.
    #[error("cannot set `{name}` for the private PostgreSQL: {problem}")]
    Setting { name: String, problem: &'static str },
    /// initdb or the server failed; `log` holds the last lines that it wrote itself.
    #[error("the private PostgreSQL failed while {stage}: {cause}{}", indented(log))]
    Failed { stage: Stage, cause: String, log: String },
    /// The guardian ended before it had said whether the server is up.
    #[error("the guardian {} ended ({status}) before the server was up{}", path.display(), indented(log))]
    GuardianLost { path: PathBuf, status: ExitStatus, log: String },
    /// The guardian and its owner do not understand each other.
    #[error("`guard-cluster` is what batchpilot starts by itself: {problem}")]
    Protocol { problem: String },
}

/// What a private PostgreSQL was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Making its directory.
    Preparing,
    /// Running initdb.
    Initdb,
    /// Starting the server.
    Starting,
    /// Serving: the server had been up, and ended by itself.
    Serving,
    /// Removing its directory.
    Removing,
}

impl ClusterError {
    /// Makes a function that says what was being done when `io::Error` came.
    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        |source| Self::Io { action, source }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Preparing => "making its directory",
            Self::Initdb => "running initdb",
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Removing => "removing its directory",
        })
    }
}

/// Puts each line of a log on a line of its own below the message.
fn indented(log: &str) -> String {
    log.lines().map(|line| format!("\n    {line}")).collect()
}
