//! The files that a check writes for other programs, where flags ask for them.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
};

use anyhow::Context as _;

use crate::{
    cli::args::Outputs,
    record::CheckRecord,
    report::ci::{action, bencher, junit, markdown},
    verdict::CheckVerdict,
};

pub(super) fn write(
    record: &CheckRecord,
    verdict: &CheckVerdict,
    files: &Outputs,
) -> anyhow::Result<()> {
    if let Some(path) = &files.junit {
        let mut text = Vec::new();
        junit::write(record, verdict, &mut text)?;
        replace(path, &text)?;
    }
    if let Some(path) = &files.markdown {
        // A step's summary may have something of the step's own already.
        let mut text = Vec::new();
        markdown::write(record, verdict, &mut text)?;
        make_folder_of(path)?;
        let file = OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| file.write_all(&text));
        written.with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &files.bmf {
        let mut text = Vec::new();
        bencher::write(verdict, &mut text)?;
        replace(path, &text)?;
    }
    if let Some(folder) = &files.action_bench {
        for (name, bytes) in action::files(verdict) {
            replace(&folder.join(name), &bytes)?;
        }
    }
    Ok(())
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
