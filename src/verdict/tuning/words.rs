//! What a search came to, in sentences.

use std::time::Duration;

use super::{ContenderVerdict, Plateau, Tuning, seen};
use crate::{
    plan::Role,
    record::{Record, WindowRow},
    stats::format::{interval, number, time_ns, time_us, times},
};

/// A silence that is worth a sentence.
const SILENCE_MIN_S: f64 = 5.0;

impl Tuning {
    /// What to do, in sentences: which setting, what the others give, how sure that is.
    pub(in crate::verdict) fn answer(&self, windows: &[WindowRow], record: &Record) -> Vec<String> {
        let mut sentences = Vec::new();
        match (self.recommended, self.best) {
            (Some(recommended), Some(best)) => {
                sentences.push(self.recommendation(recommended));
                sentences.extend(self.why_not_the_best(recommended, best));
                if !self.undecided().is_empty() {
                    sentences.push(
                        "The best was chosen by the blocks that measured it, among settings that may \
                         be as fast: its number leans high."
                            .to_owned(),
                    );
                }
                sentences.extend(self.others(recommended, best));
                sentences.extend(self.around(recommended, best));
            }
            _ if self.misses_limit() => sentences.push(self.out_of_reach(windows, record)),
            _ => sentences.push("No setting was measured after the search.".to_owned()),
        }
        sentences.extend(self.plateau.map(plateau_words));
        sentences.extend(disturbed_words(record));
        sentences.extend(self.how_the_search_went());
        sentences
    }

    fn recommendation(&self, cell: usize) -> String {
        let it = self.contender(cell);
        let workers = if it.setting.workers == 1 { "1 worker" } else { "workers" };
        let workers = match it.setting.workers {
            1 => workers.to_owned(),
            many => format!("{many} {workers}"),
        };
        let rate = it.rows_per_s.map_or_else(String::new, interval);
        let limit = self.p99_limit_ms.map_or_else(String::new, |limit_ms| {
            format!(", within the limit of {}", time_us(limit_ms * 1e3))
        });
        format!(
            "Use {} with {} rows an operation and {workers}: {rate} rows/s, p99 {}{limit}.",
            it.strategy,
            number(it.setting.batch_rows as f64),
            time_ns(it.service_ns_p99),
        )
    }

    fn why_not_the_best(&self, recommended: usize, best: usize) -> Option<String> {
        if recommended == best {
            return None;
        }
        let (best, small) = (self.contender(best), self.contender(recommended));
        let ratio = small.best_over_it?;
        let relation = match ratio.may_be(1.0) {
            true => format!("cannot be told apart from it ({})", times(ratio)),
            false => format!("gives {}", times(ratio)),
        };
        Some(format!(
            "It has the least rows in flight of what comes within 1 % of the best, and surely within \
             5 %: {} {relation}, with {} rows/s and p99 {}.",
            best.setting.words(),
            best.rows_per_s.map_or_else(String::new, interval),
            time_ns(best.service_ns_p99),
        ))
    }

    /// How many settings around the best were measured before it met what it has to beat.
    fn around(&self, recommended: usize, best: usize) -> Option<String> {
        let is_around = |it: &&ContenderVerdict| it.is_neighbour_only(recommended, best);
        let count = self.contenders.iter().filter(is_around).count();
        (0 < count).then(|| {
            format!(
                "{count} more settings were measured around what was the best so far; none of them is the answer."
            )
        })
    }

    /// What the best gives over each of the rest.
    fn others(&self, recommended: usize, best: usize) -> Vec<String> {
        let best_words = self.contender(best).setting.words();
        let rest = self.contenders.iter().filter(|it| it.cell != recommended && it.cell != best);
        let rest = rest.filter(|it| !it.is_neighbour_only(recommended, best));
        let words = |it: &ContenderVerdict| {
            let roles: Vec<&str> = it.roles.iter().map(|role| role.name()).collect();
            let name = format!("{} {} ({})", it.strategy, it.setting.words(), roles.join(", "));
            let Some(rate) = it.rows_per_s else {
                return format!("{name}: no block of it counts.");
            };
            let Some(ratio) = it.best_over_it else {
                let rate = interval(rate);
                return format!(
                    "{name}: {rate} rows/s; it did not meet {best_words} in blocks that count."
                );
            };
            let limit = match it.keeps_limit {
                Some(false) => {
                    format!("; its p99 of {} misses the limit", time_ns(it.service_ns_p99))
                }
                _ => String::new(),
            };
            let relation = match ratio.may_be(1.0) {
                true => format!("cannot be told apart from {best_words} ({})", times(ratio)),
                false => format!("{best_words} gives {} as much", times(ratio)),
            };
            format!("{name}: {} rows/s; {relation}{limit}.", interval(rate))
        };
        rest.map(words).collect()
    }

    /// The lowest p99 that was found, where none is low enough.
    fn out_of_reach(&self, windows: &[WindowRow], record: &Record) -> String {
        let limit_ms = self.p99_limit_ms.unwrap_or_default();
        let searches = record.plan.tuning.iter().flat_map(|it| &it.searches);
        let searched: Vec<usize> = searches.copied().collect();
        let is_searched = |it: &&WindowRow| {
            record.plan.blocks.get(it.block).is_some_and(|block| searched.contains(&block.cell))
        };
        let of_search = seen(windows.iter().filter(is_searched));
        let of_search = of_search.iter().map(|it| (it.service_ns_p99, it.setting, "in the search"));
        let measured = self.contenders.iter().filter(|it| 0 < it.service_ns_p99);
        let measured = measured.map(|it| (it.service_ns_p99, it.setting, "measured after it"));
        let lowest = of_search.chain(measured).min_by_key(|it| it.0);
        let lowest = lowest.map_or_else(String::new, |(p99, setting, when)| {
            format!(": the lowest found is {} at {} ({when})", time_ns(p99), setting.words())
        });
        format!("No setting keeps p99 within {} here{lowest}.", time_us(limit_ms * 1e3))
    }

    fn how_the_search_went(&self) -> Vec<String> {
        let search = &self.search;
        let settled = match search.settled_after_s {
            Some(settled_s) => format!("settled after {} s", number(tenths(settled_s))),
            None => {
                "had not settled when its time was over; a longer --search may find more".into()
            }
        };
        let mut sentences = vec![format!(
            "The search took {} s and {settled}; {} of {} windows held one setting and no error.",
            number(tenths(search.seconds)),
            search.windows_clean,
            search.windows,
        )];
        if let Some(workers) = search.pushed_back_at_workers {
            sentences.push(format!(
                "The server pushed back in {} windows, with {workers} workers or more: they were \
                 left alone from then on.",
                search.windows_pushed_back
            ));
        }
        if search.windows < search.windows_client_bound * 5 {
            sentences.push(format!(
                "The client was the limit in {} of {} windows: the server may take more.",
                search.windows_client_bound, search.windows
            ));
        }
        if SILENCE_MIN_S <= search.silent_s {
            let silence = Duration::from_secs_f64(search.silent_s).as_secs();
            sentences.push(format!("For {silence} s of the search, or more, no operation ended."));
        }
        sentences
    }
}

impl ContenderVerdict {
    /// Whether it was measured for nothing but to look around, and is not the answer.
    fn is_neighbour_only(&self, recommended: usize, best: usize) -> bool {
        let is_answer = self.cell == recommended || self.cell == best;
        !is_answer && self.roles == [Role::Neighbour]
    }
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

fn plateau_words(plateau: Plateau) -> String {
    let span = |low: f64, high: f64| match low < high {
        true => format!("{} to {}", number(low), number(high)),
        false => number(low),
    };
    let Plateau { batch_rows, workers, settings, settings_seen } = plateau;
    format!(
        "Plateau: {settings} of {settings_seen} settings that the search saw often enough lie \
         within 5 % of the fastest, from {} rows and {} workers.",
        span(batch_rows.0 as f64, batch_rows.1 as f64),
        span(workers.0.into(), workers.1.into()),
    )
}

/// How many blocks do not count, and why.
fn disturbed_words(record: &Record) -> Option<String> {
    let tuning = record.plan.tuning.as_ref().filter(|it| !it.disturbed.is_empty())?;
    let is_contender = |cell| tuning.contenders.iter().any(|it| it.cell == cell);
    let all = record.blocks.iter().filter(|it| is_contender(it.cell)).count();
    Some(format!(
        "{} of {all} blocks after the search do not count: while they ran, the machine gave less \
         to most blocks around them than before or after.",
        tuning.disturbed.len()
    ))
}
