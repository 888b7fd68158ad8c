//! What a search came to, in sentences.

use std::time::Duration;

use super::{ContenderVerdict, Plateau, Tuning, seen};
use crate::{
    controller::Policy,
    plan::Role,
    record::{Record, WindowRow},
    stats::{
        Estimate,
        format::{counted, interval, number, time_ns, time_us, times},
    },
};

/// A silence that is worth a sentence.
const SILENCE_MIN_S: f64 = 5.0;

impl Tuning {
    /// What to do, in sentences: which setting, what the others give, how sure that is.
    pub(in crate::verdict) fn answer(&self, windows: &[WindowRow], record: &Record) -> Vec<String> {
        let mut sentences = Vec::new();
        match (self.recommended, self.best) {
            (Some(recommended), Some(best)) => {
                let plan = record.plan.tuning.as_ref();
                let met = |cell: usize| plan.is_none_or(|it| it.meets_in_the_end(cell));
                sentences.push(self.recommendation(recommended));
                sentences.extend(self.at_the_bounds(best, record));
                sentences.extend(self.why_not_the_best(recommended, best));
                if !self.undecided().is_empty() {
                    sentences.push(
                        "The best was chosen by the blocks that measured it, among settings that may \
                         be as fast: its number leans high. Blocks far from the rest counted less for \
                         that than in the rates and ratios."
                            .to_owned(),
                    );
                }
                sentences.extend(self.others(recommended, best, met));
                sentences.extend(self.around(recommended, best, met));
                sentences.extend(self.plateau.map(|it| self.plateau_words(it, best)));
            }
            _ if self.misses_limit() => sentences.push(self.out_of_reach(windows, record)),
            _ => sentences.push("No setting was measured after the search.".to_owned()),
        }
        sentences.extend(disturbed_words(record));
        sentences.extend(self.how_the_search_went(record));
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
            let limit = time_us(limit_ms * 1e3);
            format!(", within the limit of {limit}, which {}", keeping(it))
        });
        format!(
            "Use {} with {} rows an operation and {workers}: {rate} rows/s, p99 {}{limit}.",
            it.strategy,
            number(it.setting.batch_rows as f64),
            time_ns(it.service_ns_p99),
        )
    }

    /// Whether the best lies where it may not go on.
    fn at_the_bounds(&self, best: usize, record: &Record) -> Option<String> {
        let plan = &record.plan;
        let search = plan.cells.get(plan.tuning.as_ref()?.winner?)?;
        let bounds = search.controller?.bounds;
        let (best, mut most) = (self.contender(best), Vec::new());
        if best.setting.workers == bounds.workers().1 {
            most.push("the most workers that the bounds allow");
        }
        if best.setting.batch_rows == bounds.batch_rows().1 {
            most.push("the most rows that the bounds, or one statement, allow");
        }
        let moves = bounds.workers().0 < bounds.workers().1
            || bounds.batch_rows().0 < bounds.batch_rows().1;
        (moves && !most.is_empty())
            .then(|| format!("{} has {}: more may be faster.", self.name(best), most.join(" and ")))
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
        let common = in_common(ratio, [best.rows_per_s, small.rows_per_s]);
        Some(format!(
            "It has the least rows in flight of what comes within 1 % of the best, and surely within \
             3 %: {} {relation}{common}, with {} rows/s and p99 {}.",
            self.name(best),
            best.rows_per_s.map_or_else(String::new, interval),
            time_ns(best.service_ns_p99),
        ))
    }

    /// How many settings around the best were measured and did not meet it in the end, and which of them
    /// seem faster.
    fn around(&self, recommended: usize, best: usize, met: impl Fn(usize) -> bool) -> Vec<String> {
        let is_around =
            |it: &&ContenderVerdict| it.is_neighbour_only(recommended, best) && !met(it.cell);
        let around: Vec<&ContenderVerdict> = self.contenders.iter().filter(is_around).collect();
        let mut sentences = Vec::new();
        if !around.is_empty() {
            let settings = counted(around.len() as u64, "more setting was", "more settings were");
            sentences.push(format!("{settings} measured around what was the best so far."));
        }
        let best_words = self.name(self.contender(best));
        for it in around {
            let (Some(ratio), Some(rate)) = (it.best_over_it, it.rows_per_s) else { continue };
            let name = self.name(it);
            if it.keeps_limit == Some(false) && ratio.value < 1.0 {
                sentences.push(format!("{name} gave {} rows/s, but {}.", interval(rate), miss(it)));
            } else if ratio.value < 1.0 {
                sentences.push(format!(
                    "{name} was faster in the {} that it shares with {best_words} ({best_words} gives {} \
                     as much), and was not among the fastest that met in the end.",
                    counted(ratio.n as u64, "repetition", "repetitions"),
                    times(ratio)
                ));
            }
        }
        sentences
    }

    fn plateau_words(&self, plateau: Plateau, best: usize) -> String {
        let span = |low: f64, high: f64| match low < high {
            true => format!("{} to {}", number(low), number(high)),
            false => number(low),
        };
        let Plateau { batch_rows, workers, settings, settings_measured } = plateau;
        let best = self.contender(best);
        let others = counted((settings_measured - 1) as u64, "other setting", "other settings");
        let limit = if self.p99_limit_ms.is_some() { " within the limit" } else { "" };
        let (near, places) = match settings - 1 {
            0 => ("none gives".to_owned(), String::new()),
            near => (
                format!("{near} {}", if near == 1 { "gives" } else { "give" }),
                format!(
                    ": {} rows, {} {}",
                    span(batch_rows.0 as f64, batch_rows.1 as f64),
                    span(workers.0.into(), workers.1.into()),
                    if workers.1 == 1 { "worker" } else { "workers" }
                ),
            ),
        };
        format!(
            "Plateau: of {others} of {} measured{limit}, {near} 95 % of {} or more, what each repetition did \
             to all taken out and blocks far from the rest counting less{places}.",
            best.strategy,
            self.name(best),
        )
    }

    /// A setting in words, with its strategy where there are several.
    fn name(&self, it: &ContenderVerdict) -> String {
        match self.contenders.iter().all(|other| other.strategy == it.strategy) {
            true => it.setting.words(),
            false => format!("{} {}", it.strategy, it.setting.words()),
        }
    }

    /// What the best gives over each of the rest.
    fn others(&self, recommended: usize, best: usize, met: impl Fn(usize) -> bool) -> Vec<String> {
        let best_words = self.name(self.contender(best));
        let rest = self.contenders.iter().filter(|it| it.cell != recommended && it.cell != best);
        let rest = rest.filter(|it| met(it.cell) || !it.is_neighbour_only(recommended, best));
        let words = |it: &ContenderVerdict| {
            let roles: Vec<&str> = it.roles.iter().map(|role| role.name()).collect();
            let name = format!("{} {} ({})", it.strategy, it.setting.words(), roles.join(", "));
            let Some(rate) = it.rows_per_s else {
                return format!("{name}: no block of it counts.");
            };
            let Some(ratio) = it.best_over_it else {
                let rate = interval(rate);
                return format!(
                    "{name}: {rate} rows/s; it shares no repetition that counts with {best_words}."
                );
            };
            let limit = match it.keeps_limit {
                Some(false) => format!("; {}", miss(it)),
                _ => String::new(),
            };
            let relation = match (ratio.low, ratio.may_be(1.0)) {
                (None, _) => format!(
                    "{best_words} gives {} as much in the only repetition of both: that proves nothing",
                    times(ratio)
                ),
                (_, true) => format!("cannot be told apart from {best_words} ({})", times(ratio)),
                (_, false) => format!("{best_words} gives {} as much", times(ratio)),
            };
            let common = match ratio.low {
                None => String::new(),
                Some(_) => in_common(ratio, [self.contender(best).rows_per_s, Some(rate)]),
            };
            format!("{name}: {} rows/s; {relation}{common}{limit}.", interval(rate))
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
        let of_search = of_search
            .iter()
            .filter(|it| it.is_credible())
            .map(|it| (it.service_ns_p99, it.setting, "in the search"));
        let measured = self.contenders.iter().filter(|it| 0 < it.service_ns_p99);
        let measured = measured.map(|it| (it.service_ns_p99, it.setting, "measured after it"));
        let lowest = of_search.chain(measured).min_by_key(|it| it.0);
        let lowest_words = lowest.map_or_else(String::new, |(p99, setting, when)| {
            format!(": the lowest found is {} at {} ({when})", time_ns(p99), setting.words())
        });
        let none = match lowest.is_some_and(|it| it.0 as f64 <= limit_ms * 1e6) {
            true => "None of the settings measured after the search keeps",
            false => "No setting keeps",
        };
        format!("{none} p99 within {} here{lowest_words}.", time_us(limit_ms * 1e3))
    }

    fn how_the_search_went(&self, record: &Record) -> Vec<String> {
        let search = &self.search;
        let winner = record.plan.tuning.as_ref().and_then(|it| it.winner);
        let control = winner.and_then(|it| record.plan.cells.get(it)?.controller);
        let settled = match search.settled_after_s {
            _ if control.is_some_and(|it| it.policy == Policy::Fixed) => {
                "`fixed` stayed where it began".to_owned()
            }
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
                "The server pushed back in {}, the fewest workers there were {workers}.",
                counted(search.windows_pushed_back as u64, "window", "windows")
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

/// How a setting misses the limit.
fn miss(it: &ContenderVerdict) -> String {
    format!("its p99 of {} misses the limit, which {}", time_ns(it.service_ns_p99), keeping(it))
}

/// How many of its blocks keep the limit: how sure it is that all of them together do, or do not.
fn keeping(it: &ContenderVerdict) -> String {
    let blocks = it.rows_per_s.map_or(0, |it| it.n);
    let (count, verb) = match it.blocks_within_limit.unwrap_or_default() {
        0 => ("none".to_owned(), "keeps"),
        1 => ("1".to_owned(), "keeps"),
        all if all == blocks => ("all".to_owned(), "keep"),
        some => (some.to_string(), "keep"),
    };
    format!("{count} of its {} {verb}", counted(blocks as u64, "block", "blocks"))
}

/// Says of how many repetitions a ratio is, where one of the two rates is of others, too.
fn in_common(ratio: Estimate, rates: [Option<Estimate>; 2]) -> String {
    match rates.into_iter().flatten().any(|it| ratio.n < it.n) {
        true => format!(" in the {} repetitions of both", ratio.n),
        false => String::new(),
    }
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

#[cfg(test)]
mod tests {
    use super::{super::SearchVerdict, *};
    use crate::controller::Setting;

    const LIMIT_MS: f64 = 50.0;

    fn contender(
        cell: usize,
        (strategy, batch_rows): (&str, u64),
        role: Role,
        (best_over_it, n): (f64, usize),
    ) -> ContenderVerdict {
        let of = |value: f64, n: usize| {
            let ends = (1 < n).then_some((value * 0.98, value * 1.02));
            Estimate { value, low: ends.map(|it| it.0), high: ends.map(|it| it.1), n }
        };
        ContenderVerdict {
            cell,
            roles: vec![role],
            strategy: strategy.to_owned(),
            setting: Setting { batch_rows, workers: 2 },
            rows_per_s: Some(of(1e6 / best_over_it, 5)),
            best_over_it: Some(of(best_over_it, n)),
            service_ns_p99: 40_000_000,
            keeps_limit: Some(true),
            blocks_within_limit: Some(4),
        }
    }

    fn tuning(contenders: Vec<ContenderVerdict>) -> Tuning {
        Tuning {
            recommended: Some(0),
            best: Some(0),
            p99_limit_ms: Some(LIMIT_MS),
            contenders,
            plateau: None,
            search: SearchVerdict::default(),
            ranking: Vec::new(),
            expected: Vec::new(),
        }
    }

    #[test]
    fn a_ratio_says_of_what_it_is() {
        let others = |rest: Vec<ContenderVerdict>| {
            let best = contender(0, ("unnest", 4_096), Role::Found, (1.0, 5));
            tuning([vec![best], rest].concat()).others(0, 0, |it| it == 0)
        };
        let rival = |ratio: (f64, usize)| contender(1, ("unnest", 1_000), Role::Article, ratio);
        let start = "unnest 1,000 x 2 (article): ";
        assert_eq!(
            others(vec![rival((1.25, 5))]),
            [format!(
                "{start}800,000 [784,000, 816,000] rows/s; 4,096 x 2 gives 1.25 [1.23, 1.27]x as much."
            )]
        );
        assert_eq!(
            others(vec![rival((1.25, 3))]),
            [format!(
                "{start}800,000 [784,000, 816,000] rows/s; 4,096 x 2 gives 1.25 [1.23, 1.27]x as much in \
                 the 3 repetitions of both."
            )]
        );
        assert_eq!(
            others(vec![rival((1.25, 1))]),
            [format!(
                "{start}800,000 [784,000, 816,000] rows/s; 4,096 x 2 gives 1.25x (n = 1) as much in the \
                 only repetition of both: that proves nothing."
            )]
        );
        // The same setting of another strategy.
        let other = contender(2, ("multi_row", 4_096), Role::RunnerUp, (1.5, 5));
        assert_eq!(
            others(vec![other]),
            [
                "multi_row 4,096 x 2 (runner-up): 666,667 [653,333, 680,000] rows/s; unnest 4,096 x 2 gives \
              1.50 [1.47, 1.53]x as much."
            ]
        );
    }

    /// They once were counted, and whether one of them was faster was not said.
    #[test]
    fn what_was_faster_around_the_best_and_is_not_the_answer_is_named() {
        let best = contender(0, ("unnest", 4_096), Role::Found, (1.0, 5));
        let faster = contender(1, ("unnest", 8_192), Role::Neighbour, (0.9, 3));
        let slower = contender(2, ("unnest", 2_048), Role::Neighbour, (1.2, 3));
        let breaks = ContenderVerdict {
            service_ns_p99: 60_000_000,
            keeps_limit: Some(false),
            blocks_within_limit: Some(1),
            ..contender(3, ("unnest", 16_384), Role::Neighbour, (0.8, 3))
        };
        let tuning = tuning(vec![best, faster, slower, breaks]);
        let said = tuning.recommendation(0);
        assert!(
            said.ends_with(" within the limit of 50 ms, which 4 of its 5 blocks keep."),
            "{said}"
        );
        let said = tuning.around(0, 0, |it| it == 0);
        assert_eq!(said.len(), 3, "{said:?}");
        assert_eq!(said[0], "3 more settings were measured around what was the best so far.");
        assert!(said[1].starts_with("8,192 x 2 was faster in the 3 repetitions"), "{said:?}");
        assert!(said[2].starts_with("16,384 x 2 gave 1,250,000 ["), "{said:?}");
        let end = "but its p99 of 60 ms misses the limit, which 1 of its 5 blocks keeps.";
        assert!(said[2].ends_with(end), "{said:?}");
        let met = |it: usize| it < 2;
        assert!(tuning.around(0, 0, met)[0].starts_with("2 more settings"), "one met in the end");
        let others = tuning.others(0, 0, met);
        assert!(others.len() == 1 && others[0].starts_with("unnest 8,192 x 2 (neighbour): "));
    }

    #[test]
    fn a_plateau_of_the_best_alone_says_so() {
        let best = contender(0, ("unnest", 4_096), Role::Found, (1.0, 5));
        let tuning = tuning(vec![best]);
        let plateau = |settings, settings_measured, most| Plateau {
            batch_rows: (1_024, most),
            workers: (2, 2),
            settings,
            settings_measured,
        };
        assert_eq!(
            tuning.plateau_words(plateau(1, 2, 1_024), 0),
            "Plateau: of 1 other setting of unnest measured within the limit, none gives 95 % of 4,096 x 2 \
             or more, what each repetition did to all taken out and blocks far from the rest counting less."
        );
        assert_eq!(
            tuning.plateau_words(plateau(3, 9, 8_192), 0),
            "Plateau: of 8 other settings of unnest measured within the limit, 2 give 95 % of 4,096 x 2 or \
             more, what each repetition did to all taken out and blocks far from the rest counting less: \
             1,024 to 8,192 rows, 2 workers."
        );
    }
}
