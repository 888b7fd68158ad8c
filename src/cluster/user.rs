//! Chooses the unprivileged user whom a server started by root runs as.

use std::{io, os::unix::fs::chown, path::Path};

use nix::unistd::{Gid, Uid, User};
use tokio::process::Command;

use super::error::ClusterError;

/// Users to run the server as, the best first. PostgreSQL refuses to run as root.
const CANDIDATES: &[&str] = &["postgres", "nobody"];

/// Who the server processes run as.
#[derive(Debug, Clone, Copy)]
pub(super) enum ServerUser {
    /// Whoever runs batchpilot.
    Ourselves,
    /// Another, because batchpilot runs as root.
    Other { uid: Uid, gid: Gid },
}

impl ServerUser {
    /// Picks the user: ourselves, unless we are root.
    pub(super) fn pick() -> Result<Self, ClusterError> {
        if !Uid::effective().is_root() {
            return Ok(Self::Ourselves);
        }
        for name in CANDIDATES {
            let user = User::from_name(name).map_err(io::Error::from);
            let user = user.map_err(ClusterError::io(format!("look up the user {name}")))?;
            if let Some(User { uid, gid, .. }) = user.filter(|it| !it.uid.is_root()) {
                return Ok(Self::Other { uid, gid });
            }
        }
        let missing = io::Error::other(format!("no user named {}", CANDIDATES.join(" or ")));
        Err(ClusterError::io("run PostgreSQL as an unprivileged user")(missing))
    }

    /// Hands a file or directory to the user.
    pub(super) fn own(self, path: &Path) -> Result<(), ClusterError> {
        let Self::Other { uid, gid } = self else { return Ok(()) };
        chown(path, Some(uid.as_raw()), Some(gid.as_raw()))
            .map_err(ClusterError::io(format!("give {} to the server's user", path.display())))
    }

    /// Makes `command` run as the user.
    ///
    /// The standard library clears root's supplementary groups when it changes the user, so the
    /// server is left with the user's primary group alone, which is all it needs.
    pub(super) fn apply(self, command: &mut Command) {
        if let Self::Other { uid, gid } = self {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
    }

    /// Whether a file owned by `uid` is one that we, or our server, made.
    pub(super) fn is_ours(self, uid: u32) -> bool {
        let servers = match self {
            Self::Ourselves => None,
            Self::Other { uid, .. } => Some(uid.as_raw()),
        };
        uid == Uid::effective().as_raw() || Some(uid) == servers
    }
}
