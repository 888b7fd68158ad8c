//! `report`: draws the report of a record again.

use std::io::{self, Write};

use super::{
    Exit,
    args::{Format, Report},
    runner,
};
use crate::{
    record::{self, Directory},
    verdict::Verdict,
};

pub(super) fn run(arguments: &Report) -> anyhow::Result<Exit> {
    let record = record::read(&arguments.record)?;
    let path = match arguments.record.is_dir() {
        true => arguments.record.clone(),
        false => arguments.record.parent().unwrap_or(&arguments.record).to_path_buf(),
    };
    let windows = record::read_windows(&path).unwrap_or_default();
    let journal = record::read_journal(&path).unwrap_or_default();
    let verdict = Verdict::of_run(&record, &journal, &windows);
    for (name, bytes) in crate::report::files(&record, &verdict, &windows, &journal) {
        Directory::replace_in(&path, name, &bytes)?;
    }
    match arguments.format {
        Format::Text => runner::show(&record, &verdict, &path)?,
        Format::Json => writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&verdict)?)?,
    }
    Ok(runner::judge(&verdict, arguments.strict))
}
