//! `journal.jsonl`: what a controller decided, window by window, and why.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{RecordError, folder::at};
use crate::{
    controller::{Decision, Policy, Setting},
    measure::WindowSummary,
};

/// States in which a controller looks for nothing but a change of the server.
const RESTING: [&str; 2] = ["cruise", "hold"];

/// Returns whether a controller in this state has found what it sought.
pub fn is_resting(state: &str) -> bool {
    RESTING.contains(&state)
}

const JOURNAL: &str = "journal.jsonl";

/// A line of `journal.jsonl`: one decision.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct JournalRow {
    /// Number of the block.
    pub block: usize,
    /// Name of the cell.
    pub cell: String,
    /// Number of the window that it was decided on; `None` for what the controller starts with.
    pub window: Option<u64>,
    /// When it was decided, from the block's start, in seconds.
    pub at_s: f64,
    /// Who decided.
    pub policy: Policy,
    /// What the controller was about.
    pub state: String,
    /// The setting that the window was measured under.
    pub before: Setting,
    /// The setting from then on.
    pub after: Setting,
    /// The best setting known.
    pub incumbent: Setting,
    /// Why, in words.
    pub reason: String,
    /// The numbers that it was decided on, by name; `None` for one that is not finite.
    pub grounds: BTreeMap<String, Option<f64>>,
}

impl JournalRow {
    /// Puts a decision into words; `window` is what it was decided on.
    pub fn new(
        (block, cell): (usize, &str),
        policy: Policy,
        window: Option<&WindowSummary>,
        decision: &Decision,
    ) -> JournalRow {
        let setting = |window: &WindowSummary| Setting {
            batch_rows: window.batch_rows,
            workers: window.workers,
        };
        let finite = |value: f64| Some(value).filter(|it| it.is_finite());
        let grounds = decision.grounds.iter();
        JournalRow {
            block,
            cell: cell.to_owned(),
            window: window.map(|it| it.index),
            at_s: window.map_or(0.0, |it| (it.start + it.length).as_secs_f64()),
            policy,
            state: decision.state.to_owned(),
            before: window.map_or(decision.setting, setting),
            after: decision.setting,
            incumbent: decision.incumbent,
            reason: decision.reason.to_owned(),
            grounds: grounds.map(|(name, value)| ((*name).to_owned(), finite(*value))).collect(),
        }
    }
}

/// The journal of a run under way. Its file is made with the first decision: a run without a
/// controller has none.
#[derive(Debug, Default)]
pub(super) struct Journal {
    file: Option<File>,
}

impl Journal {
    pub(super) fn append(&mut self, directory: &Path, row: &JournalRow) -> Result<(), RecordError> {
        let path = directory.join(JOURNAL);
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = OpenOptions::new().create(true).append(true).open(&path);
                none.insert(file.map_err(at(&path))?)
            }
        };
        let line = serde_json::to_string(row).expect("a decision is plain data");
        // One write a line: a kill cuts at most the last one short.
        file.write_all(format!("{line}\n").as_bytes()).map_err(at(&path))
    }
}

/// Reads `journal.jsonl` of a directory; it is empty where no controller ran. A last line that a
/// kill cut short is left out.
///
/// # Errors
///
/// [`RecordError::File`] if it cannot be read.
pub fn read_journal(directory: &Path) -> Result<Vec<JournalRow>, RecordError> {
    let path = directory.join(JOURNAL);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(&path)(error)),
    };
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    Ok(lines.map_while(|line| serde_json::from_str(&line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn decisions_are_read_back_also_when_the_last_was_cut_short() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read_journal(directory.path()).unwrap(), []);
        let window = WindowSummary {
            index: 3,
            start: Duration::from_millis(750),
            length: Duration::from_millis(250),
            batch_rows: 16,
            workers: 4,
            ..WindowSummary::default()
        };
        let setting = Setting { batch_rows: 64, workers: 4 };
        let decision = Decision::settle(setting, "search", "surely better: move")
            .because(&[("gain", 0.25), ("lost", f64::NAN)]);
        let start = JournalRow::new((7, "a, \"b\""), Policy::Pilot, None, &decision);
        let next = JournalRow::new((7, "a, \"b\""), Policy::Pilot, Some(&window), &decision);
        assert_eq!((start.window, start.before), (None, setting));
        assert_eq!((next.window, next.before.batch_rows), (Some(3), 16));
        assert!((next.at_s - 1.0).abs() < 1e-9);
        assert_eq!(next.grounds["gain"], Some(0.25));
        assert_eq!(next.grounds["lost"], None);

        let mut journal = Journal::default();
        journal.append(directory.path(), &start).unwrap();
        journal.append(directory.path(), &next).unwrap();
        let both = [start, next];
        assert_eq!(read_journal(directory.path()).unwrap(), both);
        let path = directory.path().join(JOURNAL);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 20]).unwrap();
        assert_eq!(read_journal(directory.path()).unwrap(), both[..1]);
    }
}
