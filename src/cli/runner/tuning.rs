//! Searches for the best setting, measures what it found beside what that has to beat, and follows
//! the server after that.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use super::{Run, Signals, Steering};
use crate::{
    clock,
    controller::{self, Bounds, Controller as _},
    plan::{CellPlan, Plan, Role, Setting, Stop},
    record::{self, WindowRow},
    target::Target,
    verdict::{ContenderVerdict, Seen, Tuning, disturbed, rows_in_flight, seen},
};

/// The one setting to take where nothing can be measured: of all on the grid the one with the
/// highest mean share of the best, over the servers 0 to 99 of each of the arena's families quiet,
/// mid, noisy and weird.
const STATIC_DEFAULT: Setting = Setting { batch_rows: 861, workers: 12 };
/// Share of the found setting's rate in the search at which a smaller one is worth measuring.
const SMALLER_RATE: f64 = 0.95;
/// Share of its rows in flight that is smaller to speak of.
const SMALLER_ROWS: f64 = 0.8;
/// Times that what lies around the best so far is measured, and how often each: a search is over in
/// seconds and sees a tenth of a grid, in windows that are several times as noisy as a block.
const LOOKS: usize = 4;
const LOOK_REPETITIONS: u32 = 3;
/// The fastest of these that go on, to the next look and to meet what they have to beat: they are
/// measured in more than one time of the machine, which shows by them whether it was slower.
const FINALISTS: usize = 3;
/// Times that blocks are measured again which do not count, as the machine was slower.
const CALMER_TIMES: usize = 2;
/// Distance in octaves within which a setting of as many workers counts as measured.
const MEASURED_OCTAVES: f64 = 0.4;
/// Most that p99 of the best may be of its limit for more rows or workers to be measured.
const LIMIT_SHARE: f64 = 0.7;
/// Operations, one after the other, that a block after the search is long enough for, as far as this
/// allows: the last ones end while others no longer start. Each setting has its own: where all took as
/// long as the largest, `tune` once took ten minutes.
const LATENCIES: f64 = 10.0;
const BLOCK_MAX_S: f64 = 3.0;
/// Length and rows of one block of following: its table is read back at its end, and takes about
/// 100 bytes a row on the server's disk.
const FOLLOW_BLOCK_S: f64 = 300.0;
const FOLLOW_ROWS_MAX: u64 = 25_000_000;

/// How to search.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Search {
    /// Time for the whole of it.
    pub(in crate::cli) time: Duration,
    /// A controller that rests for so long has found what it sought.
    pub(in crate::cli) rest: Duration,
    /// Least length of each block after it, in seconds, and how many each setting has.
    pub(in crate::cli) contest: (f64, u32),
    /// How long to go on steering after the answer.
    pub(in crate::cli) follow: Option<Duration>,
}

/// What a search of a cell found.
#[derive(Clone, Debug)]
struct Found {
    cell: usize,
    setting: Setting,
    seen: Vec<Seen>,
}

impl Found {
    /// What the search knows of the settings that it saw often enough and that keep the limit, with
    /// the rates that they most likely have, the fastest first.
    fn rated(&self, bounds: &Bounds, limit_ns: Option<f64>) -> Vec<(Setting, f64)> {
        let known: Vec<&Seen> =
            self.seen.iter().filter(|it| it.is_credible() && keeps(it, limit_ns)).collect();
        let measured: Vec<(Setting, usize, f64)> =
            known.iter().map(|it| (it.setting, it.windows, it.rows_per_s)).collect();
        let rates = controller::rated(bounds, &measured);
        let mut rated: Vec<(Setting, f64)> = measured.iter().map(|it| it.0).zip(rates).collect();
        rated.sort_by(|a, b| b.1.total_cmp(&a.1));
        rated
    }

    /// The rate that the search saw at the setting; 0 if it keeps no limit, or was never seen.
    fn worth(&self, limit_ns: Option<f64>) -> f64 {
        let own = self.seen.iter().find(|it| it.setting == self.setting);
        own.filter(|it| keeps(it, limit_ns)).map_or(0.0, |it| it.rows_per_s)
    }

    /// The best rate that the search saw at any setting that keeps the limit. Early rounds are too
    /// short for a controller to have come to what it saw.
    fn promise(&self, limit_ns: Option<f64>) -> f64 {
        let known = self.seen.iter().filter(|it| it.is_credible() && keeps(it, limit_ns));
        known.map(|it| it.rows_per_s).fold(0.0, f64::max)
    }

    /// How long a block of a setting near it is: at least `least_s`.
    fn block_s(&self, setting: Setting, least_s: f64) -> f64 {
        let latency_s = match self.worth(None) {
            rate if 0.0 < rate => rows_in_flight(setting) as f64 / rate,
            _ => 0.0,
        };
        least_s.max((LATENCIES * latency_s).min(BLOCK_MAX_S))
    }
}

fn keeps(seen: &Seen, limit_ns: Option<f64>) -> bool {
    limit_ns.is_none_or(|limit_ns| seen.service_ns_p99 as f64 <= limit_ns)
}

fn limit_ns(plan: &Plan, cell: usize) -> Option<f64> {
    Some(plan.cells[cell].controller?.p99_limit_ms? * 1e6)
}

impl<T: Target> Run<T> {
    /// Searches, and measures what was found. Returns what goes on steering: nothing, if the run was
    /// told to stop.
    pub(super) async fn tune(
        &mut self,
        search: &Search,
        signals: &Signals,
    ) -> anyhow::Result<Option<Steering>> {
        self.directory.write(&self.record)?;
        let field: Vec<usize> = (0..self.record.plan.cells.len()).collect();
        let seed = self.record.plan.seed;
        let steering = |cell: &usize| (*cell, Steering::of(&self.record.plan.cells[*cell], seed));
        let mut steering: BTreeMap<usize, Steering> = field.iter().map(steering).collect();
        let found = self.search(field, &mut steering, search, signals).await?;
        if signals.stop.is_cancelled() {
            self.record.notes.push("stopped by a signal; the blocks that had ended count".into());
            return Ok(None);
        }
        let (winner, [to_look_around, to_beat]) = contenders(&self.record.plan, &found);
        let words = where_they_come_from(&self.record.plan, winner);
        self.record.notes.extend(words);
        let (least_s, repetitions) = search.contest;
        let seconds = |setting: Setting| found[0].block_s(setting, least_s);
        self.record.plan.set_winner(winner);
        let mut cells = self.record.plan.add_contenders(&to_look_around, seconds);
        let own = cells.first().copied();
        for look in 0..LOOKS {
            let around = match self.best_so_far(own)? {
                Some((best, known)) => neighbours(&self.record.plan, winner, best, &known),
                None => Vec::new(),
            };
            // Where nothing lies around, the first look is still of what was found and the runner-up.
            if around.is_empty() && (0 < look || cells.len() < 2) {
                break;
            }
            let around = self.record.plan.add_contenders(&around, seconds);
            cells.extend(around.into_iter().filter(|it| !cells.contains(it)).collect::<Vec<_>>());
            if !self.contest(&cells, LOOK_REPETITIONS, signals).await? {
                return Ok(None);
            }
            cells = self.fastest(own)?;
        }
        let finalists = self.finalists(own, &to_beat, seconds)?;
        self.record.plan.set_finalists(&finalists);
        if !self.contest(&finalists, repetitions, signals).await? {
            return Ok(None);
        }
        let mut rivals = self.judge()?.tuning.map_or_else(Vec::new, |it| it.undecided());
        rivals.retain(|it| finalists.contains(it));
        if 1 < rivals.len() && !self.contest(&rivals, repetitions, signals).await? {
            return Ok(None);
        }
        self.count_all_if_never_calm(&finalists)?;
        Ok(steering.remove(&winner))
    }

    /// Where one of those that met in the end never met the best in a calm time, or there is no best and
    /// it has no calm block, all blocks count: an answer without what it has to beat is none.
    fn count_all_if_never_calm(&mut self, finalists: &[usize]) -> anyhow::Result<()> {
        let Some(tuning) = self.judge()?.tuning else { return Ok(()) };
        if let Some(rival) = never_calm(&self.record.plan, &tuning, finalists) {
            let name = &self.record.plan.cells[rival].name;
            let when = match tuning.best {
                Some(_) => format!("whenever {name} met the best"),
                None => format!("in all blocks of {name}"),
            };
            self.record.notes.push(format!("the machine was slower {when}: all blocks count"));
            self.record.plan.set_disturbed(Vec::new());
        }
        Ok(())
    }

    /// The best that was measured after the search, or what the search found, with what is known of the
    /// search.
    fn best_so_far(&self, own: Option<usize>) -> anyhow::Result<Option<(usize, Tuning)>> {
        let tuning = self.judge()?.tuning;
        Ok(tuning.and_then(|it| Some((it.best.or(own)?, it))))
    }

    /// What was found, the fastest around it, and what they have to beat: all meet in blocks of the same
    /// repetitions.
    fn finalists(
        &mut self,
        own: Option<usize>,
        to_beat: &[Entry],
        seconds: impl Fn(Setting) -> f64,
    ) -> anyhow::Result<Vec<usize>> {
        let mut finalists = self.fastest(own)?;
        finalists.extend(own);
        finalists.extend(self.record.plan.add_contenders(to_beat, seconds));
        finalists.sort_unstable();
        finalists.dedup();
        Ok(finalists)
    }

    /// The fastest that were measured after the search, or what it found.
    fn fastest(&self, own: Option<usize>) -> anyhow::Result<Vec<usize>> {
        let ranking = self.judge()?.tuning.map_or_else(Vec::new, |it| it.ranking);
        let fastest: Vec<usize> = ranking.into_iter().take(FINALISTS).collect();
        Ok(if fastest.is_empty() { own.into_iter().collect() } else { fastest })
    }

    /// Measures contenders side by side, and again where half of them lost a block or more because the
    /// machine was slower than before or after. Returns whether it was not told to stop.
    async fn contest(
        &mut self,
        cells: &[usize],
        repetitions: u32,
        signals: &Signals,
    ) -> anyhow::Result<bool> {
        let mut wanted = repetitions;
        for _ in 0..=CALMER_TIMES {
            let blocks = self.record.plan.add_repetitions(cells, wanted);
            if !self.measure(blocks.clone(), signals).await? {
                return Ok(false);
            }
            let disturbed = disturbed(&self.record);
            let lost = blocks.filter(|it| disturbed.contains(it)).count();
            self.record.plan.set_disturbed(disturbed);
            wanted = u32::try_from((2 * lost + cells.len()) / (2 * cells.len()))?;
            if wanted == 0 {
                break;
            }
        }
        Ok(true)
    }

    /// Measures blocks that nobody steers. Returns whether it was not told to stop.
    async fn measure(&mut self, blocks: Range<usize>, signals: &Signals) -> anyhow::Result<bool> {
        self.progress.add(&self.record.plan, blocks.clone());
        for number in blocks {
            if signals.stop.is_cancelled() {
                let note = "stopped by a signal; the blocks that had ended count";
                self.record.notes.push(note.into());
                return Ok(false);
            }
            let block = self.record.plan.blocks[number];
            let mut held = Steering::of(&self.record.plan.cells[block.cell], block.seed);
            self.block(number, &block, &mut held, signals).await?;
        }
        Ok(true)
    }

    /// Successive halving: all cells search for an equal share of a round's time, and the better
    /// half goes on where it was. One cell has one round. Returns what each cell found, the winner
    /// first.
    async fn search(
        &mut self,
        mut field: Vec<usize>,
        steering: &mut BTreeMap<usize, Steering>,
        search: &Search,
        signals: &Signals,
    ) -> anyhow::Result<Vec<Found>> {
        let rounds = field.len().next_power_of_two().trailing_zeros().max(1);
        let mut ranking: Vec<Found> = Vec::new();
        for round in 0..rounds {
            let is_last = round + 1 == rounds;
            let shares = f64::from(rounds) * field.len() as f64;
            let blocks = self.record.plan.add_round(&field, round);
            self.progress.add(&self.record.plan, blocks.clone());
            for number in blocks.clone() {
                let block = self.record.plan.blocks[number];
                let steering = steering.get_mut(&block.cell).expect("every cell is steered");
                steering.seconds = Some(search.time.as_secs_f64() / shares);
                steering.watch.rest = is_last.then_some(search.rest);
                self.block(number, &block, steering, signals).await?;
                if signals.stop.is_cancelled() {
                    return Ok(ranking);
                }
            }
            let mut found = self.found(&field, &blocks, steering)?;
            let limit_ns = limit_ns(&self.record.plan, field[0]);
            found.sort_by(|a, b| b.promise(limit_ns).total_cmp(&a.promise(limit_ns)));
            field = found.iter().map(|it| it.cell).take(found.len().div_ceil(2)).collect();
            ranking.retain(|it| found.iter().all(|new| new.cell != it.cell));
            ranking.splice(0..0, found);
        }
        Ok(ranking)
    }

    /// What the controllers of these cells call the best, and what the windows of a round say.
    fn found(
        &self,
        field: &[usize],
        blocks: &Range<usize>,
        steering: &BTreeMap<usize, Steering>,
    ) -> anyhow::Result<Vec<Found>> {
        let windows = record::read_windows(self.directory.path())?;
        let plan = &self.record.plan;
        let found = |&cell: &usize| {
            let is_own =
                |it: &&WindowRow| blocks.contains(&it.block) && plan.blocks[it.block].cell == cell;
            let setting = steering[&cell].watch.incumbent.unwrap_or(plan.cells[cell].setting());
            Found { cell, setting, seen: seen(windows.iter().filter(is_own)) }
        };
        Ok(field.iter().map(found).collect())
    }

    /// The setting to use, if it is one of what goes on steering.
    fn answer(&self) -> anyhow::Result<Option<Setting>> {
        let plan = &self.record.plan;
        let cell = self.judge()?.tuning.and_then(|it| it.recommended).map(|it| &plan.cells[it]);
        let winner = plan.tuning.as_ref().and_then(|it| it.winner).map(|it| &plan.cells[it]);
        let is_of_winner = |it: &&CellPlan| winner.is_some_and(|win| win.strategy == it.strategy);
        Ok(cell.filter(is_of_winner).map(CellPlan::setting))
    }

    /// Goes on steering for some time, or until it is told to stop: that is how most of it ends, and
    /// leaves a complete record. Returns what steered.
    pub(super) async fn follow(
        &mut self,
        time: Duration,
        mut steering: Steering,
        signals: &Signals,
    ) -> anyhow::Result<Steering> {
        let started = clock::now();
        steering.watch.rest = None;
        steering.helm.search_is_over(self.answer()?.or(steering.watch.incumbent));
        steering.ends_when_told = true;
        // A simulated table takes no disk, and the clock of its server starts anew with each block.
        let (rows, most_s) = match self.record.plan.sim {
            Some(_) => (None, f64::INFINITY),
            None => (Some(FOLLOW_ROWS_MAX), FOLLOW_BLOCK_S),
        };
        let mut repetition = 0;
        while clock::since(started) < time && !signals.stop.is_cancelled() {
            let left = time.saturating_sub(clock::since(started)).as_secs_f64();
            let seconds = left.clamp(1.0, most_s);
            let stop = Stop { rows, seconds: Some(seconds) };
            let number = self.record.plan.add_follow(repetition, stop);
            self.progress.add(&self.record.plan, number..number + 1);
            let block = self.record.plan.blocks[number];
            steering.seconds = Some(seconds);
            self.block(number, &block, &mut steering, signals).await?;
            if self.record.blocks.len() == number {
                // Told to stop before it had begun.
                self.record.plan.blocks.truncate(number);
            }
            repetition += 1;
        }
        Ok(steering)
    }
}

/// A setting like that of a cell, and why it is measured.
type Entry = (usize, Setting, Vec<Role>);

/// Chooses what is measured after the search, and why: what was found and the runner-up, around which it
/// is looked for better ones; and a smaller one and the two settings that these have to beat. Returns
/// the cell that won, too.
fn contenders(plan: &Plan, found: &[Found]) -> (usize, [Vec<Entry>; 2]) {
    let winner = found.first().expect("a search has cells");
    let limit_ns = limit_ns(plan, winner.cell);
    let bounds = plan.cells[winner.cell].controller.expect("a search moves settings").bounds;
    let rated = winner.rated(&bounds, limit_ns);
    let own = rated.iter().find(|it| it.0 == winner.setting).map_or(0.0, |it| it.1);
    let others = || rated.iter().filter(|it| it.0 != winner.setting);
    let entry = |setting: Setting, role: Role| (winner.cell, setting, vec![role]);
    let mut to_look_around = vec![entry(winner.setting, Role::Found)];
    // Of several strategies the next is the runner-up; of one, the next setting.
    to_look_around.extend(match found.get(1) {
        Some(second) => Some((second.cell, second.setting, vec![Role::RunnerUp])),
        None => others().next().map(|it| entry(it.0, Role::RunnerUp)),
    });
    let rows = SMALLER_ROWS * rows_in_flight(winner.setting) as f64;
    let is_smaller =
        |it: &&(Setting, f64)| SMALLER_RATE * own <= it.1 && (rows_in_flight(it.0) as f64) < rows;
    let smaller = others().filter(is_smaller).min_by_key(|it| rows_in_flight(it.0));
    let mut to_beat: Vec<Entry> =
        smaller.into_iter().map(|it| entry(it.0, Role::Smaller)).collect();
    to_beat.push(entry(bounds.nearest(Setting::ARTICLE), Role::Article));
    to_beat.push(entry(bounds.nearest(STATIC_DEFAULT), Role::StaticDefault));
    (winner.cell, [to_look_around, to_beat])
}

/// Settings around a contender that were not measured: half and twice its rows, the two powers of two
/// below its workers and the one above, and those with about as many rows in flight. What the model of
/// the search says of them does not count: on a server of two cores it once foresaw a quarter less with
/// fewer workers, where there was a quarter more. Nor does a climb by halves get from 5 workers to 2:
/// there 3 were slower than either.
fn neighbours(plan: &Plan, search: usize, contender: usize, tuning: &Tuning) -> Vec<Entry> {
    let bounds = plan.cells[search].controller.expect("a search moves settings").bounds;
    let (center, strategy) = (plan.cells[contender].setting(), plan.cells[contender].strategy);
    let p99 =
        tuning.contenders.iter().find(|it| it.cell == contender).map_or(0, |it| it.service_ns_p99);
    let is_near_limit =
        tuning.p99_limit_ms.is_some_and(|limit_ms| LIMIT_SHARE * limit_ms * 1e6 < p99 as f64);
    let Setting { batch_rows: rows, workers } = center;
    let less = rows.div_ceil(2);
    let more = |times: u64| rows.saturating_mul(times);
    let [fewer, fewest] =
        [center.with_fewer_workers(), center.with_fewer_workers().with_fewer_workers()]
            .map(|it| it.workers);
    let above = workers.saturating_add(1).checked_next_power_of_two().unwrap_or(workers);
    let around = [
        (less, workers),
        (more(2), workers),
        (rows, fewest),
        (rows, fewer),
        (rows, above),
        (more(4), fewest),
        (more(2), fewer),
        (less, above),
    ];
    let place = |(batch_rows, workers)| bounds.nearest(Setting { batch_rows, workers });
    let all: BTreeSet<Setting> = around.into_iter().map(place).collect();
    let is_known = |it: &Setting| {
        plan.tuning.iter().flat_map(|it| &it.contenders).any(|known| {
            if was_never_calm(plan, known.cell) {
                return false;
            }
            let known = &plan.cells[known.cell];
            let octaves = (known.batch_rows as f64 / it.batch_rows as f64).log2().abs();
            known.strategy == strategy && known.workers == it.workers && octaves < MEASURED_OCTAVES
        })
    };
    let is_more = |it: &Setting| rows_in_flight(center) < rows_in_flight(*it);
    let chosen = all.into_iter().filter(|it| !is_known(it));
    let chosen = chosen.filter(|it| !(is_near_limit && is_more(it)));
    chosen.map(|it| (contender, it, vec![Role::Neighbour])).collect()
}

/// One of those that met in the end that has no ratio to the best, or no rate where there is no best, as
/// its blocks or those of the best do not count.
fn never_calm(plan: &Plan, tuning: &Tuning, finalists: &[usize]) -> Option<usize> {
    let is_disturbed = |cell: usize| {
        (0..plan.blocks.len()).any(|it| plan.blocks[it].cell == cell && !plan.counts(it))
    };
    let mut finalists = tuning.contenders.iter().filter(|it| finalists.contains(&it.cell));
    let is_it = |it: &&ContenderVerdict| match tuning.best {
        // All of them, or all that keep a limit.
        None => it.rows_per_s.is_none() && is_disturbed(it.cell),
        Some(best) => {
            let had_to_meet = it.cell != best && it.best_over_it.is_none();
            let is_of_best = it.rows_per_s.is_some() && is_disturbed(best);
            had_to_meet && (is_disturbed(it.cell) || is_of_best)
        }
    };
    finalists.find(is_it).map(|it| it.cell)
}

/// Where the settings come from that are not of this search, and what of them lies within its bounds.
fn where_they_come_from(plan: &Plan, search: usize) -> Vec<String> {
    let bounds = plan.cells[search].controller.expect("a search moves settings").bounds;
    let within = |setting: Setting| match bounds.nearest(setting) {
        nearest if nearest == setting => String::new(),
        nearest => format!("; within the bounds, {} is nearest", nearest.words()),
    };
    let mut words = vec![format!(
        "static default: {} has the highest mean share of the best rate, 80 %, over 400 simulated \
         servers, for whoever knows nothing of the server{}",
        STATIC_DEFAULT.words(),
        within(STATIC_DEFAULT)
    )];
    if bounds.nearest(Setting::ARTICLE) != Setting::ARTICLE {
        let article = Setting::ARTICLE;
        words.push(format!("article: it runs with {}{}", article.words(), within(article)));
    }
    words
}

/// Whether all blocks of a cell were disturbed: it has to be measured again.
fn was_never_calm(plan: &Plan, cell: usize) -> bool {
    let blocks = || (0..plan.blocks.len()).filter(|it| plan.blocks[*it].cell == cell);
    blocks().next().is_some() && blocks().all(|it| !plan.counts(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        arena, controller::Grid, scenario::Scenario, stats::Estimate, target::sim::Family,
        verdict::SearchVerdict,
    };

    /// Mean share of the best rate over servers of the families without a change or a limit.
    fn mean_share(seeds: Range<u64>) -> Vec<(Setting, f64)> {
        let grid = Grid::new(&Bounds::WIDE);
        let mut shares: BTreeMap<(u64, u32), f64> = BTreeMap::new();
        let families = [Family::Quiet, Family::Mid, Family::Noisy, Family::Weird];
        let servers = families.len() as f64 * (seeds.end - seeds.start) as f64;
        for family in families {
            for seed in seeds.clone() {
                let surface = arena::draw(family, seed).before;
                let best = surface.best(grid.batches(), grid.workers(), None).unwrap().2;
                for setting in grid.cells().map(|it| grid.setting(it)) {
                    let rate = surface.rows_per_s(setting.batch_rows, setting.workers);
                    *shares.entry((setting.batch_rows, setting.workers)).or_default() +=
                        rate / best / servers;
                }
            }
        }
        let of = |((batch_rows, workers), share)| (Setting { batch_rows, workers }, share);
        shares.into_iter().map(of).collect()
    }

    #[test]
    fn the_static_default_is_the_best_that_knows_nothing() {
        let shares = mean_share(0..100);
        let (best, share) = shares.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        assert_eq!(*best, STATIC_DEFAULT, "{share}");
    }

    fn seen(batch_rows: u64, workers: u32, rows_per_s: f64, p99_ms: u64) -> Seen {
        let (windows, operations) = (2, 1_000);
        let (setting, service_ns_p99) = (Setting { batch_rows, workers }, p99_ms * 1_000_000);
        Seen { setting, windows, operations, rows_per_s, service_ns_p99 }
    }

    fn found(cell: usize, mut seen: Vec<Seen>) -> Found {
        let setting = seen[0].setting;
        seen.sort_by(|a, b| b.rows_per_s.total_cmp(&a.rows_per_s));
        Found { cell, setting, seen }
    }

    fn plan(controller: &str) -> Plan {
        let cell = |name: &str| {
            format!(
                "[[cells]]\nname = '{name}'\nstrategy = 'unnest'\ncontroller = {{{controller}}}\n"
            )
        };
        let text = format!("name = 'tune'\n{}{}", cell("a"), cell("b"));
        let scenario = Scenario::parse(&text, "test.toml").unwrap().scenario;
        Plan::resolve(&scenario).unwrap().into_search()
    }

    fn words(settings: &[(usize, Setting, Vec<Role>)]) -> Vec<String> {
        let words = |(cell, setting, roles): &(usize, Setting, Vec<Role>)| {
            let roles: Vec<&str> = roles.iter().map(|it| it.name()).collect();
            format!("{cell}: {} ({})", setting.words(), roles.join(", "))
        };
        settings.iter().map(words).collect()
    }

    #[test]
    fn what_was_found_meets_what_it_has_to_beat() {
        let search = vec![
            seen(4_096, 8, 600.0, 50),
            seen(8_192, 8, 610.0, 90),
            seen(1_024, 8, 575.0, 20),
            seen(512, 4, 500.0, 10),
        ];
        let (winner, [around, to_beat]) = contenders(&plan(""), &[found(0, search.clone())]);
        assert_eq!(winner, 0);
        assert_eq!(words(&around), ["0: 4,096 x 8 (found)", "0: 8,192 x 8 (runner-up)"]);
        let expected = ["0: 1,024 x 8 (smaller)", "0: 1,000 x 5 (article)"];
        assert_eq!(words(&to_beat)[..2], expected);
        assert_eq!(to_beat[2].1, STATIC_DEFAULT);

        // A setting that breaks the limit is not worth measuring.
        let limited = plan("p99_limit_ms = 60");
        let (_, [around, _]) = contenders(&limited, &[found(0, search)]);
        assert_eq!(words(&around)[1], "0: 1,024 x 8 (runner-up)");
    }

    fn judged(contender: usize, p99_limit_ms: Option<f64>) -> Tuning {
        Tuning {
            recommended: None,
            best: None,
            p99_limit_ms,
            contenders: vec![ContenderVerdict {
                cell: contender,
                roles: vec![Role::Found],
                strategy: "unnest".to_owned(),
                setting: Setting { batch_rows: 1_000, workers: 4 },
                rows_per_s: None,
                best_over_it: None,
                service_ns_p99: 8_000_000,
                keeps_limit: None,
                blocks_within_limit: None,
            }],
            plateau: None,
            search: SearchVerdict::default(),
            ranking: Vec::new(),
            expected: Vec::new(),
        }
    }

    #[test]
    fn neighbours_lie_around_the_best_where_nobody_measured() {
        let around = |bounds: &str, known: &[(u64, u32)], limit_ms: Option<f64>| {
            let mut plan = plan(bounds);
            let role = |it: &(u64, u32)| {
                (0, Setting { batch_rows: it.0, workers: it.1 }, vec![Role::RunnerUp])
            };
            let cells = plan.add_contenders(&known.iter().map(role).collect::<Vec<_>>(), |_| 1.0);
            let tuning = judged(cells[0], limit_ms);
            let settings = neighbours(&plan, 0, cells[0], &tuning);
            settings.iter().map(|it| it.1.words()).collect::<Vec<_>>().join(", ")
        };
        let larger = "1,000 x 8, 2,000 x 2, 2,000 x 4, 4,000 x 1";
        let all = format!("500 x 4, 500 x 8, 1,000 x 1, 1,000 x 2, {larger}");
        assert_eq!(around("", &[(1_000, 4)], None), all);
        let near = [(1_000, 4), (2_400, 4), (1_000, 2), (500, 5), (500, 8), (2_000, 8)];
        let others = "500 x 4, 1,000 x 1, 1,000 x 8, 2,000 x 2, 4,000 x 1";
        assert_eq!(around("", &near, None), others);
        let odd =
            "500 x 5, 500 x 8, 1,000 x 2, 1,000 x 4, 1,000 x 8, 2,000 x 4, 2,000 x 5, 4,000 x 2";
        assert_eq!(around("", &[(1_000, 5)], None), odd, "powers of two");
        let one_worker = "500 x 1, 500 x 2, 1,000 x 2, 2,000 x 1, 4,000 x 1";
        assert_eq!(around("", &[(1_000, 1)], None), one_worker);
        let edge = "batch_rows = [900, 1100], workers = [4, 6]";
        assert_eq!(around(edge, &[(1_000, 4)], None), "900 x 6, 1,000 x 6");
        let one = "workers = [4, 4], batch_rows = [1000, 1000]";
        assert_eq!(around(one, &[(1_000, 4)], None), "");
        assert_eq!(around("", &[(1_000, 4)], Some(20.0)), all);
        let held = "500 x 4, 500 x 8, 1,000 x 1, 1,000 x 2, 2,000 x 2, 4,000 x 1";
        assert_eq!(around("", &[(1_000, 4)], Some(10.0)), held, "p99 is 8 ms");
    }

    /// A static default that always failed, and a limit out of reach, once made disturbed blocks count.
    #[test]
    fn all_blocks_count_only_where_those_that_met_never_did_so_in_a_calm_time() {
        let mut plan = plan("");
        let entry = |workers| (0, Setting { batch_rows: 1_000, workers }, vec![Role::Found]);
        let cells = plan.add_contenders(&[entry(4), entry(2)], |_| 1.0);
        let (best, rival) = (cells[0], cells[1]);
        let blocks = plan.add_repetitions(&cells, 1);
        let of =
            |plan: &Plan, cell| blocks.clone().find(|it| plan.blocks[*it].cell == cell).unwrap();
        let blocks_of = [of(&plan, best), of(&plan, rival)];
        let estimate = Some(Estimate { value: 1.0, low: None, high: None, n: 1 });
        let mut tuning = judged(best, None);
        tuning.best = Some(best);
        tuning.contenders.push(ContenderVerdict { cell: rival, ..tuning.contenders[0].clone() });
        let never = |plan: &Plan, tuning: &Tuning| never_calm(plan, tuning, &cells);
        assert_eq!(never(&plan, &tuning), None, "it failed in all of its blocks");

        plan.set_disturbed(vec![blocks_of[0]]);
        assert_eq!(never(&plan, &tuning), None, "nor does a disturbed best change that");
        tuning.contenders[1].rows_per_s = estimate;
        assert_eq!(never(&plan, &tuning), Some(rival));
        tuning.contenders[1].best_over_it = estimate;
        assert_eq!(never(&plan, &tuning), None);
        tuning.contenders[1].best_over_it = None;
        tuning.best = None;
        assert_eq!(never(&plan, &tuning), Some(best), "it may be the one that keeps the limit");
        tuning.contenders[0].rows_per_s = estimate;
        assert_eq!(never(&plan, &tuning), None, "no setting keeps the limit");

        tuning.best = Some(best);
        tuning.contenders[1].rows_per_s = None;
        plan.set_disturbed(vec![blocks_of[1]]);
        assert_eq!(never(&plan, &tuning), Some(rival));
    }

    /// All blocks once lasted as long as ten operations of what was found.
    #[test]
    fn a_block_lasts_as_long_as_its_own_setting_needs() {
        let winner = found(0, vec![seen(1_000, 10, 50_000.0, 5)]);
        let setting = |batch_rows, workers| Setting { batch_rows, workers };
        let seconds = |it: Setting| winner.block_s(it, 0.5);
        assert!((seconds(setting(1_000, 10)) - 2.0).abs() < 1e-9, "10 x 0.2 s");
        assert!((seconds(setting(1_000, 5)) - 1.0).abs() < 1e-9);
        assert!((seconds(setting(10, 1)) - 0.5).abs() < 1e-9, "as short as it may be");
        assert!((seconds(setting(9_000, 10)) - BLOCK_MAX_S).abs() < 1e-9);
        let never_seen = Found { setting: setting(7, 7), ..winner.clone() };
        assert!((never_seen.block_s(setting(1_000, 10), 0.5) - 0.5).abs() < 1e-9);
    }

    /// One fast window once made the runner-up, whatever the settings around it had shown.
    #[test]
    fn the_runner_up_is_not_the_luckiest() {
        let flat = |batch_rows, workers| seen(batch_rows, workers, 1_000.0, 5);
        let slow = |batch_rows, workers| seen(batch_rows, workers, 900.0, 5);
        let lucky = Seen { windows: 1, ..seen(512, 4, 1_020.0, 5) };
        let often = Seen { windows: 9, ..flat(2_048, 4) };
        let around = [slow(256, 4), slow(362, 4), slow(724, 4), slow(512, 3), slow(512, 6)];
        let near = [flat(1_448, 4), flat(2_896, 4)];
        let search = [vec![often, lucky], near.to_vec(), around.to_vec()].concat();
        let winner = Found { setting: (often.setting), ..found(0, search) };
        let (_, [around, _]) = contenders(&plan(""), &[winner]);
        assert!(!words(&around)[1].contains("512 x 4"), "{:?}", words(&around));
    }

    #[test]
    fn of_several_strategies_the_second_is_the_runner_up_and_bounds_hold_for_all() {
        let ranking =
            [found(1, vec![seen(100, 2, 600.0, 5)]), found(0, vec![seen(200, 2, 500.0, 5)])];
        let plan = plan("batch_rows = [10, 200], workers = [1, 2]");
        let (winner, [around, to_beat]) = contenders(&plan, &ranking);
        assert_eq!(winner, 1);
        assert_eq!(words(&around), ["1: 100 x 2 (found)", "0: 200 x 2 (runner-up)"]);
        let expected = ["1: 200 x 2 (article)", "1: 200 x 2 (static default)"];
        assert_eq!(words(&to_beat), expected);
    }
}
