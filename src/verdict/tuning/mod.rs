//! What a search for the best setting came to: which setting to use, what the others give, and how
//! sure that is.

mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CellVerdict, cells};
use crate::{
    controller::{self, Bounds},
    measure::Kind,
    plan::{Contender, Role, Setting, TuningPlan},
    record::{JournalRow, Record, WindowRow, is_resting},
    stats::{self, Estimate},
};

/// Shares of the best rate that a smaller setting must reach to be recommended in its place: by its
/// mean, and surely. Within 2 % by the mean alone, 1,000 x 5 was recommended where it gave 5 % less;
/// surely within 5 %, 1,722 x 2 was, of which 160 pairs of blocks then gave 0.966 of 4,096 x 2.
const AS_GOOD: f64 = 0.99;
const AS_GOOD_SURELY: f64 = 0.97;
/// Share of the best rate within which settings are one plateau.
const PLATEAU: f64 = 0.95;

/// What a search saw of a setting, in windows that hold nothing else.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Seen {
    /// The setting.
    pub setting: Setting,
    /// Windows.
    pub windows: usize,
    /// Operations that ended in them.
    pub operations: u64,
    /// Median of the windows' rates.
    pub rows_per_s: f64,
    /// Median of the windows' 99th percentiles of service latency, in nanoseconds.
    pub service_ns_p99: u64,
}

impl Seen {
    /// Whether enough operations ended for a rate: one that begins in a window and ends in the next
    /// counts there with all of its rows.
    pub fn is_credible(&self) -> bool {
        2 * u64::from(self.setting.workers) <= self.operations
    }
}

/// What a search came to.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Tuning {
    /// The cell to use: the least rows in flight of the best and what is shown to be as good. `None` if
    /// no setting keeps the limit, or none was measured.
    pub recommended: Option<usize>,
    /// The fastest cell that keeps the limit.
    pub best: Option<usize>,
    /// Most that p99 of the service latency may be, in milliseconds.
    pub p99_limit_ms: Option<f64>,
    /// What was measured after the search.
    pub contenders: Vec<ContenderVerdict>,
    /// Where settings are about as good as the best.
    pub plateau: Option<Plateau>,
    /// The search that won.
    pub search: SearchVerdict,
    /// The cells that keep the limit, the fastest first, by all their blocks.
    #[serde(default)]
    pub ranking: Vec<usize>,
    /// What a model of the search's windows expects at powers of two within its bounds, in rows a
    /// second; empty where it saw too few settings for one.
    #[serde(default)]
    pub expected: Vec<Expected>,
}

/// What a model expects of a setting.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Expected {
    /// The setting.
    pub setting: Setting,
    /// Rows a second.
    pub rows_per_s: f64,
}

/// What is known of a setting that was measured after the search.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ContenderVerdict {
    /// Index of its cell.
    pub cell: usize,
    /// Why it was measured.
    pub roles: Vec<Role>,
    /// The strategy's name.
    pub strategy: String,
    /// The setting.
    pub setting: Setting,
    /// Rows a second.
    pub rows_per_s: Option<Estimate>,
    /// Those of the best over these, paired by repetition.
    pub best_over_it: Option<Estimate>,
    /// 99th percentile of the service latency, in nanoseconds.
    pub service_ns_p99: u64,
    /// Whether it keeps the limit; `None` without one.
    pub keeps_limit: Option<bool>,
    /// Of its blocks those whose own p99 keeps the limit; `None` without one.
    #[serde(default)]
    pub blocks_within_limit: Option<usize>,
}

/// Settings that were measured after the search and gave 95 % of the best or more, what each repetition
/// did to all of it taken out.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Plateau {
    /// Least and most rows an operation.
    pub batch_rows: (u64, u64),
    /// Least and most workers.
    pub workers: (u32, u32),
    /// Settings on it.
    pub settings: usize,
    /// Settings that were measured and keep the limit.
    pub settings_measured: usize,
}

/// How the search went.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct SearchVerdict {
    /// Its time in seconds, of the cell that won, all rounds together.
    pub seconds: f64,
    /// When its controller came to rest for good; `None` if it was still searching.
    pub settled_after_s: Option<f64>,
    /// Windows.
    pub windows: usize,
    /// Windows that held one setting and no error.
    pub windows_clean: usize,
    /// Windows in which the server pushed back.
    pub windows_pushed_back: usize,
    /// Windows in which the client was the limit.
    pub windows_client_bound: usize,
    /// Least workers at which the server pushed back.
    pub pushed_back_at_workers: Option<u32>,
    /// Longest time in which no operation ended, in seconds.
    pub silent_s: f64,
}

/// Returns what a cell's windows say of each setting, the fastest first. The last window of a block is
/// left out: operations end in it, and none starts.
pub fn seen<'a>(windows: impl Iterator<Item = &'a WindowRow>) -> Vec<Seen> {
    let mut by_setting: BTreeMap<(u64, u32), Vec<&WindowRow>> = BTreeMap::new();
    let windows: Vec<&WindowRow> = windows.collect();
    let last: BTreeMap<usize, u64> = windows.iter().map(|it| (it.block, it.window)).collect();
    for window in windows.into_iter().filter(|it| is_clean(it) && last[&it.block] != it.window) {
        by_setting.entry((window.batch_rows, window.workers)).or_default().push(window);
    }
    let sum_up = |((batch_rows, workers), windows): ((u64, u32), Vec<&WindowRow>)| {
        let rates: Vec<f64> = windows.iter().map(|it| it.rows_per_s).collect();
        let mut tails: Vec<u64> = windows.iter().map(|it| it.service_ns_p99).collect();
        tails.sort_unstable();
        Seen {
            setting: Setting { batch_rows, workers },
            windows: windows.len(),
            operations: windows.iter().map(|it| it.operations).sum(),
            rows_per_s: stats::median(&rates),
            service_ns_p99: tails[tails.len() / 2],
        }
    };
    let mut all: Vec<Seen> = by_setting.into_iter().map(sum_up).collect();
    all.sort_by(|a, b| b.rows_per_s.total_cmp(&a.rows_per_s));
    all
}

fn is_clean(window: &WindowRow) -> bool {
    let is_empty = window.operations == 0 || window.rows_per_s <= 0.0;
    !(window.mixed || is_empty || 0 < window.pushed_back || 0 < window.errors)
}

/// Rows in flight: what a setting takes in memory, and what is lost with the client.
pub fn rows_in_flight(setting: Setting) -> u64 {
    setting.batch_rows * u64::from(setting.workers)
}

/// Judges a search; `None` for a run that is none, or whose search is not over.
pub(super) fn judge(
    record: &Record,
    cells: &[CellVerdict],
    journal: &[JournalRow],
    windows: &[WindowRow],
) -> Option<Tuning> {
    let plan = record.plan.tuning.as_ref()?;
    let winner = plan.winner?;
    let controller = record.plan.cells[winner].controller?;
    let is_of_winner =
        |block: usize| record.plan.blocks.get(block).is_some_and(|it| it.cell == winner);
    let own: Vec<&WindowRow> = windows.iter().filter(|it| is_of_winner(it.block)).collect();
    let decisions: Vec<&JournalRow> = journal.iter().filter(|it| is_of_winner(it.block)).collect();
    let limit_ns = controller.p99_limit_ms.map(|ms| ms * 1e6);
    let contenders = judge_contenders(record, cells, plan, limit_ns);
    let ranked = rank(&contenders, |cell| {
        let blocks = record.valid_blocks_of(cell);
        blocks.map(|it| (it.repetition, it.rows_per_s())).collect()
    });
    let ranking: Vec<usize> = ranked.iter().map(|it| it.0).collect();
    let met = |cell: usize| plan.meets_in_the_end(cell);
    let best = ranking.iter().copied().find(|it| met(*it));
    let with_ratio = |it: ContenderVerdict| ContenderVerdict {
        best_over_it: best.and_then(|best| cells::speedup(record, best, it.cell)),
        ..it
    };
    let contenders: Vec<ContenderVerdict> = contenders.into_iter().map(with_ratio).collect();
    let seen = seen(own.iter().copied());
    Some(Tuning {
        recommended: best.and_then(|best| recommend(&contenders, best, met)),
        best,
        p99_limit_ms: controller.p99_limit_ms,
        plateau: best.and_then(|best| plateau(&contenders, &ranked, best)),
        search: judge_search(&own, &decisions),
        expected: expected(&controller.bounds, &seen),
        ranking,
        contenders,
    })
}

fn judge_contenders(
    record: &Record,
    cells: &[CellVerdict],
    plan: &TuningPlan,
    limit_ns: Option<f64>,
) -> Vec<ContenderVerdict> {
    let judge = |contender: &Contender| {
        let (cell, verdict) = (&record.plan.cells[contender.cell], &cells[contender.cell]);
        let p99 = verdict.service_ns_p99;
        ContenderVerdict {
            cell: contender.cell,
            roles: contender.roles.clone(),
            strategy: cell.strategy.name().to_owned(),
            setting: cell.setting(),
            rows_per_s: verdict.rows_per_s,
            best_over_it: None,
            service_ns_p99: p99,
            keeps_limit: limit_ns.map(|limit_ns| is_within(p99, limit_ns)),
            blocks_within_limit: limit_ns.map(|limit_ns| {
                let blocks = record.valid_blocks_of(contender.cell);
                let tails = blocks.map(|it| it.latency_of(Kind::Service).value_at_quantile(0.99));
                tails.filter(|it| is_within(*it, limit_ns)).count()
            }),
        }
    };
    plan.contenders.iter().map(judge).collect()
}

/// Whether a p99 keeps a limit; that of no operation is 0, and keeps none.
fn is_within(p99_ns: u64, limit_ns: f64) -> bool {
    0 < p99_ns && p99_ns as f64 <= limit_ns
}

/// The cells that keep the limit and the logarithms of their rates, up to a number that is the same for
/// all, the fastest first, by the rates of blocks and what their repetitions did to all: who met again in
/// a bad mood of the machine may be slower than others were before it.
fn rank(
    contenders: &[ContenderVerdict],
    blocks: impl Fn(usize) -> Vec<(u32, f64)>,
) -> Vec<(usize, f64)> {
    let keeping = contenders.iter().filter(|it| it.keeps_limit != Some(false));
    let cells = keeping.filter(|it| it.rows_per_s.is_some()).map(|it| it.cell);
    let of_cell = |cell: usize| {
        blocks(cell).into_iter().map(move |(repetition, rate)| (cell, repetition, rate.ln()))
    };
    let observations: Vec<(usize, u32, f64)> = cells.flat_map(of_cell).collect();
    let mut effects: Vec<(usize, f64)> = stats::additive(&observations).into_iter().collect();
    effects.sort_by(|a, b| b.1.total_cmp(&a.1));
    effects
}

/// The least rows in flight of the best and what comes within 1 % of it, and surely within 3 %, of those
/// that met in the end.
fn recommend(
    contenders: &[ContenderVerdict],
    best: usize,
    met: impl Fn(usize) -> bool,
) -> Option<usize> {
    let is_as_good = |it: &&ContenderVerdict| {
        let is_shown = |ratio: Estimate| {
            let is_surely = ratio.high.is_some_and(|high| high <= 1.0 / AS_GOOD_SURELY);
            ratio.value <= 1.0 / AS_GOOD && is_surely
        };
        it.cell == best || it.best_over_it.is_some_and(is_shown)
    };
    let keeping = contenders.iter().filter(|it| it.keeps_limit != Some(false) && met(it.cell));
    let smallest = keeping.filter(is_as_good).min_by_key(|it| rows_in_flight(it.setting));
    smallest.map(|it| it.cell)
}

/// Where those of the best one's strategy lie whose rate is near its own, if there are others; `rates`
/// are logarithms.
fn plateau(
    contenders: &[ContenderVerdict],
    rates: &[(usize, f64)],
    best: usize,
) -> Option<Plateau> {
    let of = |cell: usize| contenders.iter().find(|it| it.cell == cell);
    let own = rates.iter().find(|it| it.0 == best)?.1;
    let rated = rates.iter().filter_map(|(cell, rate)| Some((of(*cell)?, rate - own)));
    let strategy = &of(best)?.strategy;
    let measured: Vec<(Setting, f64)> =
        rated.filter(|it| it.0.strategy == *strategy).map(|it| (it.0.setting, it.1)).collect();
    if measured.len() < 2 {
        return None;
    }
    let level = measured.iter().filter(|it| PLATEAU.ln() <= it.1);
    let rows = level.clone().map(|it| it.0.batch_rows);
    let workers = level.clone().map(|it| it.0.workers);
    Some(Plateau {
        batch_rows: (rows.clone().min()?, rows.max()?),
        workers: (workers.clone().min()?, workers.max()?),
        settings: level.count(),
        settings_measured: measured.len(),
    })
}

fn expected(bounds: &Bounds, seen: &[Seen]) -> Vec<Expected> {
    let known = seen.iter().filter(|it| it.is_credible());
    let measured: Vec<(Setting, usize, f64)> =
        known.map(|it| (it.setting, it.windows, it.rows_per_s)).collect();
    let expected = controller::expected(bounds, &measured).into_iter();
    expected.map(|(setting, rows_per_s)| Expected { setting, rows_per_s }).collect()
}

fn judge_search(windows: &[&WindowRow], decisions: &[&JournalRow]) -> SearchVerdict {
    let count = |is: fn(&WindowRow) -> bool| windows.iter().filter(|it| is(it)).count();
    let mut silent_ms: f64 = 0.0;
    let mut silence_ms = 0.0;
    for window in windows {
        silence_ms = if window.operations == 0 { silence_ms + window.length_ms } else { 0.0 };
        silent_ms = silent_ms.max(silence_ms);
    }
    let pushed_back = windows.iter().filter(|it| 0 < it.pushed_back && !it.mixed);
    SearchVerdict {
        seconds: windows.iter().map(|it| it.length_ms).sum::<f64>() / 1e3,
        settled_after_s: settled_after_s(decisions),
        windows: windows.len(),
        windows_clean: count(is_clean),
        windows_pushed_back: count(|it| 0 < it.pushed_back),
        windows_client_bound: count(|it| it.client_bound),
        pushed_back_at_workers: pushed_back.map(|it| it.workers).min(),
        silent_s: silent_ms / 1e3,
    }
}

/// When the controller came to rest on the setting that it ended with, all rounds together.
fn settled_after_s(decisions: &[&JournalRow]) -> Option<f64> {
    let last = decisions.last()?;
    let rests = |it: &&&JournalRow| is_resting(&it.state) && it.incumbent == last.incumbent;
    let resting = decisions.iter().rev().take_while(rests).count();
    let first = decisions.get(decisions.len() - resting)?;
    let before = decisions[..decisions.len() - resting].iter();
    let earlier: BTreeMap<usize, f64> =
        before.filter(|it| it.block != first.block).map(|it| (it.block, it.at_s)).collect();
    Some(first.at_s + earlier.values().sum::<f64>())
}

impl Tuning {
    /// Returns whether a limit was asked for that no setting keeps, of those that were measured.
    pub fn misses_limit(&self) -> bool {
        let is_measured = self.contenders.iter().any(|it| it.rows_per_s.is_some());
        self.p99_limit_ms.is_some() && self.best.is_none() && is_measured
    }

    /// The best, and those that may be as fast; nothing, if there are none.
    pub fn undecided(&self) -> Vec<usize> {
        let Some(best) = self.best else { return Vec::new() };
        let is_near = |it: &&ContenderVerdict| {
            let keeps = it.keeps_limit != Some(false);
            it.cell != best && keeps && it.best_over_it.is_some_and(|ratio| ratio.may_be(1.0))
        };
        let near: Vec<usize> = self.contenders.iter().filter(is_near).map(|it| it.cell).collect();
        if near.is_empty() { near } else { [vec![best], near].concat() }
    }

    /// Rows a second of the best that was measured after the search.
    pub fn best_rate(&self) -> Option<Estimate> {
        self.contender(self.best?).rows_per_s
    }

    fn contender(&self, cell: usize) -> &ContenderVerdict {
        let found = self.contenders.iter().find(|it| it.cell == cell);
        found.expect("best and recommended are contenders")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::WindowRow;

    fn window(
        block: usize,
        number: u64,
        setting: (u64, u32),
        operations: u64,
        rate: f64,
    ) -> WindowRow {
        let window = crate::measure::WindowSummary {
            index: number,
            length: Duration::from_millis(500),
            batch_rows: setting.0,
            workers: setting.1,
            operations,
            service_ns_p99: 5_000_000,
            ..Default::default()
        };
        WindowRow { rows_per_s: rate, ..WindowRow::new(block, "search", 0, &window) }
    }

    #[test]
    fn a_rate_is_of_windows_that_hold_nothing_else() {
        let mixed = WindowRow { mixed: true, ..window(0, 2, (100, 4), 50, 9_000.0) };
        let errors = WindowRow { errors: 1, ..window(0, 3, (100, 4), 50, 9_000.0) };
        let windows = [
            window(0, 0, (100, 4), 50, 1_000.0),
            window(0, 1, (100, 4), 50, 1_200.0),
            mixed,
            errors,
            window(0, 4, (100, 4), 50, 800.0),
            window(0, 5, (200, 4), 6, 3_000.0),
            window(0, 6, (100, 4), 50, 0.0),
            // The last of a block.
            window(0, 7, (100, 4), 50, 9_000.0),
            window(1, 0, (100, 4), 50, 1_000.0),
            window(1, 1, (100, 4), 50, 9_000.0),
        ];
        let all = seen(windows.iter());
        assert_eq!(all.len(), 2);
        assert!(!all[0].is_credible(), "6 operations of 4 workers say little: {all:?}");
        let slow = all[1];
        assert!((slow.rows_per_s - 1_000.0).abs() < 1e-9, "{slow:?}");
        assert_eq!((slow.windows, slow.operations, slow.service_ns_p99), (4, 200, 5_000_000));
        assert!(seen([].into_iter()).is_empty());
    }

    fn contender(
        cell: usize,
        (batch_rows, workers): (u64, u32),
        rate: f64,
        keeps_limit: Option<bool>,
    ) -> ContenderVerdict {
        let of = |value: f64| Estimate { value, low: Some(value), high: Some(value), n: 3 };
        ContenderVerdict {
            cell,
            roles: vec![Role::Found],
            strategy: "unnest".to_owned(),
            setting: Setting { batch_rows, workers },
            rows_per_s: Some(of(rate)),
            best_over_it: Some(of(1_000.0 / rate)),
            service_ns_p99: 1,
            keeps_limit,
            blocks_within_limit: None,
        }
    }

    #[test]
    fn what_cannot_be_told_apart_from_the_best_is_undecided() {
        let ratio = |low: f64, high: f64| {
            Some(Estimate {
                value: f64::midpoint(low, high),
                low: Some(low),
                high: Some(high),
                n: 5,
            })
        };
        let rival = |cell, rate, best_over_it, keeps_limit| ContenderVerdict {
            best_over_it,
            ..contender(cell, (1_000, 8), rate, keeps_limit)
        };
        let undecided = |contenders: Vec<ContenderVerdict>| {
            let tuning = Tuning {
                expected: Vec::new(),
                ranking: vec![0],
                recommended: Some(0),
                best: Some(0),
                p99_limit_ms: None,
                contenders,
                plateau: None,
                search: SearchVerdict::default(),
            };
            tuning.undecided()
        };
        let best = || contender(0, (4_000, 8), 1_000.0, None);
        let near = || rival(1, 970.0, ratio(0.97, 1.09), None);
        let nearer = || rival(2, 985.0, ratio(0.95, 1.08), None);
        let slow = || rival(3, 500.0, ratio(1.9, 2.1), None);
        let breaks = || rival(4, 999.0, ratio(0.95, 1.05), Some(false));
        let wide = || rival(5, 930.0, ratio(0.95, 1.20), None);
        let all = vec![best(), slow(), near(), nearer(), breaks(), wide()];
        assert_eq!(undecided(all), [0, 1, 2, 5]);
        assert_eq!(undecided(vec![best(), slow(), breaks()]), Vec::<usize>::new());
    }

    #[test]
    fn the_smallest_that_is_shown_to_be_as_good_is_recommended() {
        let unsure = |it: ContenderVerdict, high: f64| {
            let ratio = it.best_over_it.map(|it| Estimate { high: Some(high), ..it });
            ContenderVerdict { best_over_it: ratio, ..it }
        };
        let one_block = |it: ContenderVerdict| {
            let ratio = it.best_over_it.map(|it| Estimate { low: None, high: None, n: 1, ..it });
            ContenderVerdict { best_over_it: ratio, ..it }
        };
        let contenders = [
            contender(0, (8_000, 8), 1_000.0, None),
            unsure(contender(1, (2_000, 8), 995.0, None), 1.03),
            unsure(contender(2, (1_000, 8), 995.0, None), 1.04),
            one_block(contender(4, (900, 8), 995.0, None)),
            contender(3, (500, 8), 985.0, None),
        ];
        let once = |contenders: &[ContenderVerdict]| {
            let rates: BTreeMap<usize, f64> =
                contenders.iter().map(|it| (it.cell, it.rows_per_s.unwrap().value)).collect();
            rank(contenders, move |cell| vec![(0, rates[&cell])]).first().map(|it| it.0)
        };
        let best = once(&contenders).unwrap();
        let all = |_: usize| true;
        assert_eq!((best, recommend(&contenders, best, all)), (0, Some(1)));
        let met = |cell: usize| cell != 1;
        assert_eq!(recommend(&contenders, best, met), Some(0), "it was dropped before");
        let limited = [
            contender(0, (8_000, 8), 1_200.0, Some(false)),
            contender(1, (1_000, 8), 1_000.0, Some(true)),
        ];
        let best = once(&limited).unwrap();
        assert_eq!((best, recommend(&limited, best, all)), (1, Some(1)));
        assert_eq!(once(&[contender(0, (8_000, 8), 1_200.0, Some(false))]), None);
    }

    /// One that was dropped was once called the best, as those that met again did so in a bad mood.
    #[test]
    fn the_best_is_the_best_of_its_repetitions() {
        let all = [0, 1, 2].map(|cell| contender(cell, (1_000, 8), 1.0, None));
        let blocks = |cell: usize| match cell {
            0 => vec![(0, 1_000.0), (1, 1_010.0)],
            1 => vec![(0, 1_050.0), (1, 1_060.0), (2, 700.0), (3, 690.0)],
            _ => vec![(0, 1_040.0), (1, 1_070.0), (2, 720.0), (3, 710.0)],
        };
        assert_eq!(rank(&all, blocks).iter().map(|it| it.0).collect::<Vec<_>>(), [2, 1, 0]);
    }

    fn decision(block: usize, at_s: f64, state: &str, batch_rows: u64) -> JournalRow {
        let setting = Setting { batch_rows, workers: 4 };
        JournalRow {
            block,
            cell: "search".to_owned(),
            window: None,
            at_s,
            policy: serde_json::from_str("\"pilot\"").unwrap(),
            state: state.to_owned(),
            before: setting,
            after: setting,
            incumbent: setting,
            reason: String::new(),
            grounds: BTreeMap::new(),
        }
    }

    #[test]
    fn it_settled_when_it_came_to_rest_on_what_it_ended_with() {
        let rows = [
            decision(0, 1.0, "survey", 10),
            decision(0, 2.0, "cruise", 10),
            decision(0, 5.0, "cruise", 20),
            decision(1, 0.0, "search", 20),
            decision(1, 3.0, "cruise", 20),
            decision(1, 4.0, "cruise", 20),
        ];
        let settled = |count: usize| {
            let rows: Vec<&JournalRow> = rows[..count].iter().collect();
            settled_after_s(&rows)
        };
        let of = |seconds: f64| Some(seconds);
        assert_eq!([settled(0), settled(1), settled(4)], [None, None, None]);
        assert_eq!([settled(3), settled(6)], [of(5.0), of(8.0)], "5 s of the first block count");
    }

    /// It once was what the search saw near its fastest window: most often nothing but that.
    #[test]
    fn the_plateau_is_what_was_measured_near_the_best() {
        let other =
            ContenderVerdict { strategy: "copy".to_owned(), ..contender(3, (9, 9), 1_010.0, None) };
        let contenders = [
            contender(0, (100, 4), 1_000.0, None),
            contender(1, (400, 2), 960.0, None),
            contender(2, (10, 2), 500.0, None),
            other,
            contender(4, (800, 4), 1_020.0, None),
        ];
        let rate = |it: &ContenderVerdict| (it.cell, it.rows_per_s.unwrap().value.ln());
        let rates: Vec<(usize, f64)> = contenders.iter().map(rate).collect();
        let found = plateau(&contenders, &rates, 0).unwrap();
        assert_eq!((found.batch_rows, found.workers), ((100, 800), (2, 4)));
        assert_eq!((found.settings, found.settings_measured), (3, 4));
        assert_eq!(plateau(&contenders, &rates[1..], 0), None, "the best was not measured");
        assert_eq!(plateau(&contenders, &rates[..1], 0), None, "nothing else was");
    }
}
