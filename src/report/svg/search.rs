//! `search.svg`: the way that a search took over the plane of batch rows and workers, on what a model
//! of its windows expects there, with the settings that were measured after it.

use super::plane::{Mark, Plane, Spot, Way, plane};
use crate::{
    plan::{Role, Setting},
    record::{JournalRow, Record},
    stats::format::number,
    verdict::{ContenderVerdict, Tuning, Verdict},
};

/// Draws the way of the search that won, or nothing if there is none.
pub fn search(record: &Record, verdict: &Verdict, journal: &[JournalRow]) -> Option<String> {
    let tuning = verdict.tuning.as_ref()?;
    let winner = record.plan.tuning.as_ref()?.winner?;
    let is_of_winner =
        |it: &&JournalRow| record.plan.blocks.get(it.block).is_some_and(|it| it.cell == winner);
    let mut settings: Vec<Setting> =
        journal.iter().filter(is_of_winner).map(|it| it.after).collect();
    settings.dedup();
    let strategy = record.plan.cells.get(winner)?.strategy.name();
    let policy = journal.iter().find(is_of_winner)?.policy;
    let way = Way {
        name: format!("{}: {} moves", policy.name(), settings.len().saturating_sub(1)),
        spots: settings.into_iter().map(spot).collect(),
    };
    Some(plane(&Plane {
        title: format!("{}: the way of the search", record.plan.title),
        description: description(tuning),
        rates: tuning.expected.iter().map(|it| (spot(it.setting), it.rows_per_s)).collect(),
        ways: vec![way],
        marks: tuning.contenders.iter().map(|it| mark(it, strategy)).collect(),
    }))
}

fn description(tuning: &Tuning) -> Vec<String> {
    let colors = if tuning.expected.is_empty() {
        "Without colours: the search saw too few settings for a model of them."
    } else {
        "Colours and numbers: what a model of this search's undisturbed windows expects, in percent of \
         its own best; where the search did not go, it guesses."
    };
    let names = "Crosses: settings measured after the search; named, but for neighbours, with their rows/s.";
    vec![colors.to_owned(), names.to_owned()]
}

/// A strategy is named where it is not the one of the colours. What was measured for nothing but to look
/// around has a cross alone: a dozen names cover each other, and the table has them.
fn mark(contender: &ContenderVerdict, strategy: &str) -> Mark {
    let other = Some(contender.strategy.as_str()).filter(|it| *it != strategy);
    let roles: Vec<&str> = contender.roles.iter().map(|it| it.name()).chain(other).collect();
    let rate = contender.rows_per_s.map(|it| format!(": {}", number(it.value.round())));
    let name = match contender.roles.as_slice() {
        [Role::Neighbour] => String::new(),
        _ => format!("{}{}", roles.join(", "), rate.unwrap_or_default()),
    };
    Mark { name, spot: spot(contender.setting) }
}

fn spot(setting: Setting) -> Spot {
    Spot { batch_rows: setting.batch_rows as f64, workers: f64::from(setting.workers) }
}
