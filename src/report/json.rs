//! `record.json` with the verdict beside what was measured, under the key `verdict`.

use std::io::{self, Write};

use serde::Serialize;

use crate::{record::Record, verdict::Verdict};

#[derive(Serialize)]
struct Judged<'a> {
    #[serde(flatten)]
    record: &'a Record,
    verdict: &'a Verdict,
}

/// Writes the record and its verdict as one JSON document, which `record::read` reads as a record.
///
/// # Errors
///
/// Those of `out`.
pub fn write(record: &Record, verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &Judged { record, verdict })?;
    out.write_all(b"\n")
}
