//! The files that a check writes for other programs, where flags ask for them.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use anyhow::Context as _;

use crate::{
    cli::{Exit, VERSION, args::Outputs, both, code_of},
    record::CheckRecord,
    report::ci::{NotRun, Why, action, bencher, junit, markdown},
    verdict::CheckVerdict,
};

/// Writes all that are asked for. One that cannot be written does not keep the others from it.
pub(super) fn write(
    record: &CheckRecord,
    verdict: &CheckVerdict,
    files: &Outputs,
) -> anyhow::Result<()> {
    let mut text = Vec::new();
    junit::write(record, verdict, &mut text)?;
    let mut written: Vec<_> = files.junit.iter().map(|path| replace(path, &text)).collect();
    let mut text = Vec::new();
    markdown::write(record, verdict, &mut text)?;
    written.extend(files.markdown.iter().map(|path| append(path, &text)));
    let mut text = Vec::new();
    bencher::write(verdict, &mut text)?;
    written.extend(files.bmf.iter().map(|path| replace(path, &text)));
    if let Some(folder) = &files.action_bench {
        let files = action::files(verdict).into_iter();
        written.extend(files.map(|(name, bytes)| replace(&folder.join(name), &bytes)));
    }
    written.into_iter().fold(Ok(()), both)
}

/// Writes what people and CI servers read of a check that measured nothing. Trackers of benchmarks
/// get no number.
pub(super) fn write_not_run(
    error: &anyhow::Error,
    command: &str,
    files: &Outputs,
) -> anyhow::Result<()> {
    let why = match code_of(error) {
        2 => Why::Usage,
        12 => Why::NotComparable,
        _ => Why::Failed,
    };
    write_why(why, &format!("{error:#}"), command, files)
}

/// As [`write_not_run`], of a check that a signal ended before it could say anything.
pub(super) fn write_stopped(exit: Exit, command: &str, files: &Outputs) -> anyhow::Result<()> {
    let signal = if exit == Exit::Terminated { "SIGTERM" } else { "Ctrl-C" };
    let words = format!("stopped by {signal} before it could say anything");
    write_why(Why::Stopped, &words, command, files)
}

fn write_why(why: Why, words: &str, command: &str, files: &Outputs) -> anyhow::Result<()> {
    // A tracker must not take an earlier check's numbers for this one's, whatever else fails.
    let folder = files.action_bench.iter();
    let action =
        folder.flat_map(|folder| [action::BIGGER, action::SMALLER].map(|it| folder.join(it)));
    let stale = files.bmf.iter().cloned().chain(action).map(|path| remove(&path));
    let mut written: Vec<_> = stale.collect();
    let not_run = NotRun { command, batchpilot: VERSION, why, error: words };
    let mut text = Vec::new();
    junit::write_not_run(&not_run, &mut text)?;
    written.extend(files.junit.iter().map(|path| replace(path, &text)));
    let mut text = Vec::new();
    markdown::write_not_run(&not_run, &mut text)?;
    written.extend(files.markdown.iter().map(|path| append(path, &text)));
    written.into_iter().fold(Ok(()), both)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}

/// A step's summary may have something of the step's own already.
fn append(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    make_folder_of(path)?;
    let file = OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes));
    written.with_context(|| path.display().to_string())
}

fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    make_folder_of(path)?;
    fs::write(path, bytes).with_context(|| path.display().to_string())
}

fn make_folder_of(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    folder.map_or(Ok(()), |folder| {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())
    })
}
