//! The report: what it shows of a record, whatever became of the run.

use std::{fs, path::Path};

use batchpilot::{
    record::{Record, WindowRow},
    report,
    verdict::Verdict,
};

use crate::report_fixture as fixture;

fn files(record: &Record, windows: &[WindowRow]) -> Vec<(&'static str, String)> {
    let files = report::files(record, &Verdict::of(record), windows);
    files.into_iter().map(|(name, bytes)| (name, String::from_utf8(bytes).unwrap())).collect()
}

fn write_to(name: &str, files: &[(&str, String)]) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report").join(name);
    for (file, text) in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// For looking at: `cargo test --test it -- --ignored draws_files_to_look_at`.
#[test]
#[ignore = "writes files for people to look at, and checks nothing"]
fn draws_files_to_look_at() {
    let (record, windows) = fixture::record();
    write_to("full", &files(&record, &windows));
}
