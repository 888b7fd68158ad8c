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
        title: format!("{}: the way of the search", record.plan.heading()),
        description: description(tuning),
        rates: tuning.expected.iter().map(|it| (spot(it.setting), it.rows_per_s)).collect(),
        ways: vec![way],
        marks: tuning.contenders.iter().map(|it| mark(it, strategy, tuning.recommended)).collect(),
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
/// around has a cross alone, but for the answer: a dozen names cover each other, and the table has them.
fn mark(contender: &ContenderVerdict, strategy: &str, recommended: Option<usize>) -> Mark {
    let other = Some(contender.strategy.as_str()).filter(|it| *it != strategy);
    let answer = (recommended == Some(contender.cell)).then_some("the answer");
    let roles = contender.roles.iter().map(|it| it.name());
    let words: Vec<&str> = answer.into_iter().chain(roles).chain(other).collect();
    let rate = contender.rows_per_s.map(|it| format!(": {}", number(it.value.round())));
    let name = match contender.roles.as_slice() {
        [Role::Neighbour] if answer.is_none() => String::new(),
        _ => format!("{}{}", words.join(", "), rate.unwrap_or_default()),
    };
    Mark { name, spot: spot(contender.setting) }
}

fn spot(setting: Setting) -> Spot {
    Spot { batch_rows: setting.batch_rows as f64, workers: f64::from(setting.workers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer was a cross without a name where the search had not found it.
    #[test]
    fn the_answer_has_a_name_though_it_is_a_neighbour() {
        let contender = |cell: usize, role: Role| ContenderVerdict {
            cell,
            roles: vec![role],
            strategy: "unnest".to_owned(),
            setting: Setting { batch_rows: 4_872, workers: 4 },
            rows_per_s: None,
            best_over_it: None,
            service_ns_p99: 0,
            keeps_limit: None,
            blocks_within_limit: None,
        };
        let name = |cell: usize, role: Role| mark(&contender(cell, role), "unnest", Some(3)).name;
        assert_eq!(name(3, Role::Neighbour), "the answer, neighbour");
        assert_eq!(name(4, Role::Neighbour), "");
        assert_eq!(name(5, Role::Article), "article");
    }
}
