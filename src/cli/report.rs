//! `report`: draws the report of a record again.

use super::{
    Exit,
    args::{Format, Report},
    check, runner,
};
use crate::{
    record::{self, Directory},
    verdict::{CheckVerdict, Verdict},
};

pub(super) fn run(arguments: &Report) -> anyhow::Result<Exit> {
    let path = match arguments.record.is_dir() {
        true => arguments.record.clone(),
        false => arguments.record.parent().unwrap_or(&arguments.record).to_path_buf(),
    };
    if record::is_check(&arguments.record) {
        let record = record::read_check(&arguments.record)?;
        let verdict = CheckVerdict::of(&record);
        super::unless_nobody_reads(check::report(&record, &verdict, &path, arguments.format))?;
        return Ok(check::exit(verdict.conclusion, arguments.strict));
    }
    let record = record::read(&arguments.record)?;
    let windows = record::read_windows(&path).unwrap_or_default();
    let journal = record::read_journal(&path).unwrap_or_default();
    let verdict = Verdict::of_run(&record, &journal, &windows);
    for (name, bytes) in crate::report::files(&record, &verdict, &windows, &journal) {
        Directory::replace_in(&path, name, &bytes)?;
    }
    let shown = match arguments.format {
        Format::Text => runner::show(&record, &verdict, &path),
        Format::Json => runner::show_json(&verdict),
    };
    super::unless_nobody_reads(shown)?;
    Ok(runner::judge(&verdict, arguments.strict))
}
