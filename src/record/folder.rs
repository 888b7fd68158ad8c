//! A run's own folder: made with the run's time in its name, its files replaced as a whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::RecordError;

/// The folder of a run under way.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Whether the folder above was made for this run.
    made_parent: bool,
    created: jiff::Timestamp,
}

impl Folder {
    /// Makes `<parent>/<UTC time>-<name>/`.
    pub(super) fn create(parent: &Path, name: &str) -> Result<Folder, RecordError> {
        let created = jiff::Timestamp::now();
        let time: String = format!("{created:.0}").replace([':', '-'], "");
        let mut path = parent.join(format!("{time}-{name}"));
        let made_parent = !parent.exists();
        fs::create_dir_all(parent).map_err(at(parent))?;
        let mut number = 1;
        while let Err(error) = fs::create_dir(&path) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(RecordError::File { path, source: error });
            }
            number += 1;
            path = parent.join(format!("{time}-{name}-{number}"));
        }
        Ok(Folder { path, made_parent, created })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// When it was made.
    pub(super) fn created(&self) -> jiff::Timestamp {
        self.created
    }

    /// Starts a file that is appended to.
    pub(super) fn start(&self, name: &str) -> Result<File, RecordError> {
        let path = self.path.join(name);
        OpenOptions::new().create_new(true).append(true).open(&path).map_err(at(&path))
    }

    /// See [`super::Directory::utc_at`].
    pub(super) fn utc_at(&self, offset: Duration) -> String {
        let then = self.created.saturating_add(offset).expect("a duration is no calendar unit");
        format!("{then:.3}")
    }

    /// See [`super::Directory::discard`].
    pub(super) fn discard(self) {
        // What cannot be removed is an empty directory: no reason to fail for.
        drop(fs::remove_dir_all(&self.path));
        if let Some(parent) = self.path.parent().filter(|_| self.made_parent) {
            drop(fs::remove_dir(parent));
        }
    }
}

/// Replaces a file, all of it or nothing: a new file beside it, flushed to the disk, then renamed.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    let parent = path.parent().expect("a file of a directory");
    fs::create_dir_all(parent).map_err(at(parent))?;
    let mut new = tempfile::NamedTempFile::new_in(parent).map_err(at(parent))?;
    new.write_all(bytes).map_err(at(path))?;
    new.as_file().sync_all().map_err(at(path))?;
    let file = new
        .persist(path)
        .map_err(|error| RecordError::File { path: path.to_path_buf(), source: error.error })?;
    make_readable(&file).map_err(at(path))
}

/// A temporary file is for its owner alone; a result is for everyone who may see the directory.
fn make_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> RecordError + use<> {
    let path = path.to_path_buf();
    move |source| RecordError::File { path: path.clone(), source }
}

pub(super) fn csv_error(path: &Path, error: csv::Error) -> RecordError {
    RecordError::File { path: path.to_path_buf(), source: error.into() }
}
