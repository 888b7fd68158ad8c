//! A file as it was at a git reference.

use std::{path::Path, process::Command};

use crate::cli::UsageError;

/// Reads a file as it was at a reference: what it said, and the commit, shortened.
///
/// # Errors
///
/// [`UsageError`] with git's own words.
pub(super) fn read(reference: &str, file: &Path) -> anyhow::Result<(String, String)> {
    if reference.starts_with('-') {
        return Err(UsageError(format!("--base-ref: `{reference}` is no reference")).into());
    }
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    // A reference that is none, and a file that is not in it, are told apart.
    let commit = format!("{reference}^{{commit}}");
    let commit = git(folder, &["rev-parse", "--short", "--verify", "--quiet", &commit])
        .map_err(|said| problem(reference, "is no commit of this repository", &said))?;
    let object = format!("{reference}:./{name}");
    let text = git(folder, &["show", &object])
        .map_err(|said| problem(reference, &format!("does not show {}", file.display()), &said))?;
    Ok((text, commit.trim().to_owned()))
}

fn problem(reference: &str, what: &str, said: &str) -> UsageError {
    let said = said.trim().trim_start_matches("fatal: ");
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    UsageError(format!("--base-ref: `{reference}` {what}{said}"))
}

/// Runs git in a folder; returns what it printed, or what it complained of.
fn git(folder: &Path, words: &[&str]) -> Result<String, String> {
    let output = Command::new("git").arg("-C").arg(folder).args(words).output();
    let output = output.map_err(|error| format!("cannot run git: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    String::from_utf8(output.stdout).map_err(|_| "the file is not UTF-8".to_owned())
}
