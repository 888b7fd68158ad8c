//! The directory of a private PostgreSQL: where it is made, how it is known, how it is removed.
//!
//! **Invariant:** whoever finds `guardian.pid` in such a directory finds it locked for as long as
//! the guardian lives. Locks, unlike pids, are never inherited by an unrelated process.

use std::{
    env,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

use super::{error::ClusterError, processes, user::ServerUser};

const PREFIX: &str = "batchpilot-pg-";
const GUARDIAN_FILE: &str = "guardian.pid";
const OWNER_FILE: &str = "owner.pid";
/// The shortest `sun_path` of the systems we know is macOS's, 104 bytes with its final zero.
const SOCKET_PATH_LENGTH_MAX: usize = 103;
const LOG_TAIL_LINES: usize = 20;
const LOG_TAIL_BYTES: usize = 64 * 1024;
const REMOVE_ATTEMPTS: u32 = 5;

/// A directory that this process, a guardian, made and locked.
#[derive(Debug)]
pub(super) struct ClusterDirectory {
    temp: TempDir,
    /// Held, not read: another process sees by it that the guardian lives.
    _lock: Flock<File>,
}

impl ClusterDirectory {
    /// Makes the directory, private to `user`.
    pub(super) fn create(user: ServerUser) -> Result<Self, ClusterError> {
        let base = choose_base(&candidate_bases(), user)?;
        let temp = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&base)
            .map_err(ClusterError::io(format!("make a directory in {}", base.display())))?;
        user.own(temp.path())?;
        let lock = write_locked(temp.path(), GUARDIAN_FILE)?;
        Ok(Self { temp, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Removes the directory with all that is in it.
    pub(super) async fn remove(self) -> Result<(), ClusterError> {
        let path = self.temp.keep();
        remove_all(&path).await
    }
}

/// Tells other processes, for as long as the result is kept, that the directory is in use.
pub(super) fn lock_as_owner(directory: &Path) -> Result<Flock<File>, ClusterError> {
    write_locked(directory, OWNER_FILE)
}

/// Removes what batchpilots that were killed together with their guardians left behind.
pub(super) async fn remove_stale(user: ServerUser) {
    let mut bases = candidate_bases();
    bases.sort();
    bases.dedup();
    for directory in bases.iter().flat_map(|base| stale_in(base, user)) {
        processes::end_orphans(&directory).await;
        // Best effort: what cannot be removed now is found again by the next start.
        drop(remove_all(&directory).await);
    }
}

/// Removes `directory`. Several attempts, because a dying process may still be writing into it.
pub(super) async fn remove_all(directory: &Path) -> Result<(), ClusterError> {
    let mut attempt = 1;
    loop {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) if attempt < REMOVE_ATTEMPTS => attempt += 1,
            done => {
                let action = format!("remove {}", directory.display());
                return done.map_err(ClusterError::io(action));
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Returns the last lines of a log, or nothing when there is no such file.
pub(super) fn log_tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_TAIL_BYTES)..]);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

/// Writes this process's pid into `name`, which appears only once it is locked.
fn write_locked(directory: &Path, name: &str) -> Result<Flock<File>, ClusterError> {
    let unlocked = directory.join(format!("{name}.new"));
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&unlocked)?;
        writeln!(file, "{}", std::process::id())?;
        let lock =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)?;
        fs::rename(&unlocked, directory.join(name))?;
        Ok(lock)
    };
    write().map_err(ClusterError::io(format!("lock {}", directory.join(name).display())))
}

/// Where to make the directory: the user's choice, then a place that is on a disk by convention,
/// because a commit into memory costs nothing and would be measured as if it were durable.
fn candidate_bases() -> Vec<PathBuf> {
    let chosen = env::var_os("TMPDIR").filter(|it| !it.is_empty()).map(PathBuf::from);
    chosen.into_iter().chain(["/var/tmp", "/tmp"].map(PathBuf::from)).collect()
}

/// Takes the first usable candidate on a disk, else the first usable one.
fn choose_base(candidates: &[PathBuf], user: ServerUser) -> Result<PathBuf, ClusterError> {
    let usable: Vec<&PathBuf> = candidates.iter().filter(|it| is_usable(it, user)).collect();
    let chosen = usable.iter().find(|it| !is_in_memory(it)).or(usable.first());
    chosen.map(|it| it.to_path_buf()).ok_or_else(|| {
        let names: Vec<_> = candidates.iter().map(|it| it.display().to_string()).collect();
        let problem = format!(
            "none of {} is a directory that the server can reach, with a short plain path",
            names.join(", "),
        );
        ClusterError::io("make a directory for the private PostgreSQL")(io::Error::other(problem))
    })
}

fn is_usable(base: &Path, user: ServerUser) -> bool {
    // A comma or a quote would need escaping in `unix_socket_directories`.
    let plain = |it: char| it.is_ascii_alphanumeric() || "/._-+".contains(it);
    let longest = base.as_os_str().len() + format!("/{PREFIX}123456/.s.PGSQL.65535").len();
    let reachable = |it: &Path| fs::metadata(it).is_ok_and(|it| it.mode() & 0o001 != 0);
    base.is_absolute()
        && base.is_dir()
        && base.to_str().is_some_and(|it| it.chars().all(plain))
        && longest <= SOCKET_PATH_LENGTH_MAX
        && (matches!(user, ServerUser::Ourselves) || base.ancestors().all(reachable))
}

#[cfg(target_os = "linux")]
fn is_in_memory(path: &Path) -> bool {
    use nix::sys::statfs::{TMPFS_MAGIC, statfs};
    statfs(path).is_ok_and(|it| it.filesystem_type() == TMPFS_MAGIC)
}

#[cfg(not(target_os = "linux"))]
fn is_in_memory(_path: &Path) -> bool {
    false
}

/// Returns the directories in `base` that are ours and that neither a guardian nor an owner holds.
fn stale_in(base: &Path, user: ServerUser) -> Vec<PathBuf> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    entries
        .filter(|it| it.file_name().to_string_lossy().starts_with(PREFIX))
        // `DirEntry::metadata` does not follow links: a link is never a directory of ours.
        .filter(|it| it.metadata().is_ok_and(|it| it.is_dir() && user.is_ours(it.uid())))
        .map(|it| it.path())
        .filter(|it| is_abandoned(it))
        .collect()
}

/// A directory without the guardian's file is just being made, or no cluster's: not abandoned.
fn is_abandoned(directory: &Path) -> bool {
    let guardian = directory.join(GUARDIAN_FILE);
    guardian.is_file() && !is_locked(&guardian) && !is_locked(&directory.join(OWNER_FILE))
}

/// Whether a process holds the lock on `path`. A file that cannot be read counts as held.
fn is_locked(path: &Path) -> bool {
    match File::open(path) {
        Ok(file) => Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_abandoned_once_nobody_holds_its_locks() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join(format!("{PREFIX}abcdef"));
        fs::create_dir(&directory).unwrap();
        let stale = || stale_in(base.path(), ServerUser::Ourselves).len();
        assert_eq!(stale(), 0, "no guardian's file: perhaps just being made");

        let guardian = write_locked(&directory, GUARDIAN_FILE).unwrap();
        assert_eq!(stale(), 0, "the guardian lives");
        let owner = lock_as_owner(&directory).unwrap();
        drop(guardian);
        assert_eq!(stale(), 0, "the owner lives");
        drop(owner);
        assert_eq!(stale(), 1);
    }

    #[test]
    fn a_long_or_odd_base_is_passed_over() {
        let base = tempfile::tempdir().unwrap();
        let long = base.path().join("x".repeat(80));
        let odd = base.path().join("a,b");
        let missing = base.path().join("missing");
        let good = base.path().join("good");
        for directory in [&long, &odd, &good] {
            fs::create_dir(directory).unwrap();
        }
        let candidates = [long, odd, missing, good.clone()];
        assert_eq!(choose_base(&candidates, ServerUser::Ourselves).unwrap(), good);
        assert!(choose_base(&candidates[..3], ServerUser::Ourselves).is_err());
    }

    #[test]
    fn a_log_tail_is_the_last_lines() {
        let base = tempfile::tempdir().unwrap();
        let log = base.path().join("log");
        let lines: Vec<String> = (1..=30).map(|it| it.to_string()).collect();
        fs::write(&log, lines.join("\n")).unwrap();
        assert_eq!(log_tail(&log), lines[10..].join("\n"));
        assert_eq!(log_tail(&base.path().join("missing")), "");
    }
}
