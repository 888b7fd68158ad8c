//! Fits a plan to the user's own table, and says where in the scenario something is wrong with it.

use std::{convert::Infallible, time::Duration};

use tokio_util::sync::CancellationToken;

use super::UsageError;
use crate::{
    clock,
    plan::Plan,
    rows::CsvSettings,
    scenario::Source,
    target::{Target, TargetError},
};

/// A file that is looked through for longer is worth a word.
const QUIET: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(500);

/// Says how far the first pass over the user's file has come, and ends it when told to stop.
pub(in crate::cli) async fn attend(
    csv: Option<&CsvSettings>,
    say: impl Fn(&str),
    stop: &CancellationToken,
) -> Infallible {
    let Some(csv) = csv else { return std::future::pending().await };
    let mut pause = QUIET;
    loop {
        tokio::select! {
            () = clock::sleep(pause) => (),
            () = stop.cancelled() => {
                csv.progress.stop();
                // Whoever waits for the pass hears of it, and takes back what was made.
                return std::future::pending().await;
            }
        }
        if let Some(share) = csv.progress.share() {
            say(&format!("looking through {}: {:.0} %", csv.file, share * 100.0));
        }
        pause = LOOK;
    }
}

/// Fits the plan to the table, which is known now.
pub(in crate::cli) fn fit(
    plan: &mut Plan,
    source: Option<&Source>,
    target: &impl Target,
) -> anyhow::Result<()> {
    let Some(table) = target.own_table() else { return Ok(()) };
    plan.fit(table).map_err(|error| fault(&error.key, &error.problem, source))?;
    plan.notes.extend_from_slice(&table.notes);
    plan.notes.extend_from_slice(&table.warnings);
    Ok(())
}

/// What is to be said of the table before rows go in.
pub(in crate::cli) fn warnings(target: &impl Target) -> &[String] {
    target.own_table().map_or(&[], |table| &table.warnings)
}

/// What is wrong with the user's table is a mistake in what was asked, and says where it was asked.
pub(in crate::cli) fn explain(error: TargetError, source: Option<&Source>) -> anyhow::Error {
    match error {
        TargetError::Table { key: Some(key), problem } => fault(&key, &problem, source),
        TargetError::Table { key: None, problem } => UsageError(problem).into(),
        other => other.into(),
    }
}

fn fault(key: &str, problem: &str, source: Option<&Source>) -> anyhow::Error {
    let text = match source {
        // A key that came from the command line stands nowhere in the file.
        Some(source) if source.has(key) => source.fault(key, problem).to_string(),
        _ => problem.to_owned(),
    };
    UsageError(text).into()
}
