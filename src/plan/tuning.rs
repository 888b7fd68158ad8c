//! A search for the best setting, planned as it goes: rounds of blocks that a controller steers, then
//! blocks of what it found beside what that has to beat.

use std::{collections::BTreeSet, ops::Range};

use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::{BlockPlan, CellPlan, OnError, Plan, Setting, Stop, block_seed};
use crate::strategy::Strategy;

/// Part of a block after the search that does not count. Of 108 blocks of 1 s the first quarter gave 25 to
/// 50 % less than the last, the more so the larger the batch: 1,722 x 2 and 2,435 x 3 once won, which give
/// 0.96 and 0.91 of 8,192 x 2 on warm sessions. Whole blocks differ by 12 % from repetition to repetition,
/// and their second halves by 13 %.
const WARM_UP_SHARE: f64 = 0.5;

/// What a search is made of.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct TuningPlan {
    /// The cells that search, as indexes into [`Plan::cells`].
    pub searches: Vec<usize>,
    /// The one of them that found the best; `None` until the search is over.
    pub winner: Option<usize>,
    /// What is measured after the search, the setting that was found first.
    pub contenders: Vec<Contender>,
    /// The cells of these that met in the end, as indexes into [`Plan::cells`]: the answer is one of them.
    /// None, until then, and in records of before there was more than one round.
    #[serde(default)]
    pub finalists: Vec<usize>,
    /// Numbers of the blocks of contenders that do not count: the machine was slower while they ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disturbed: Vec<usize>,
    /// The cell that follows the server after the answer, if any.
    pub follow: Option<usize>,
}

impl TuningPlan {
    /// Whether a contender is one of those that meet in the end; all are, until these are chosen.
    pub fn meets_in_the_end(&self, cell: usize) -> bool {
        self.finalists.is_empty() || self.finalists.contains(&cell)
    }
}

/// A cell that is measured after the search.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Contender {
    /// Index into [`Plan::cells`].
    pub cell: usize,
    /// Why it is measured.
    pub roles: Vec<Role>,
}

/// Why a setting is measured after the search.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The search calls it the best.
    Found,
    /// The next best that the search saw.
    RunnerUp,
    /// Fewer rows in flight, and in the search about as fast.
    Smaller,
    /// Around what was the best so far: other rows or other workers, or as many rows in flight.
    Neighbour,
    /// What the article runs with.
    Article,
    /// The one setting to take where nothing can be measured.
    StaticDefault,
}

impl Role {
    /// The role in words.
    pub fn name(self) -> &'static str {
        match self {
            Role::Found => "found",
            Role::RunnerUp => "runner-up",
            Role::Smaller => "smaller",
            Role::Neighbour => "neighbour",
            Role::Article => "article",
            Role::StaticDefault => "static default",
        }
    }
}

impl Plan {
    /// Turns a plan of controlled cells into a search: its blocks are planned as it goes.
    pub fn into_search(mut self) -> Plan {
        for cell in &mut self.cells {
            cell.controller.as_mut().expect("a search moves settings").is_search = true;
        }
        let searches = (0..self.cells.len()).collect();
        self.tuning = Some(TuningPlan { searches, ..TuningPlan::default() });
        self.blocks.clear();
        self.repetitions = 1;
        self
    }

    fn tuning_mut(&mut self) -> &mut TuningPlan {
        self.tuning.as_mut().expect("only a search has rounds and contenders")
    }

    /// Adds a round of the search, a block a cell in random order. Returns the blocks' numbers.
    pub fn add_round(&mut self, cells: &[usize], round: u32) -> Range<usize> {
        let start = self.blocks.len();
        let mut order = cells.to_vec();
        order.shuffle(&mut Pcg64Mcg::seed_from_u64(block_seed(self.seed, round)));
        let seed = block_seed(self.seed, round);
        let block = |cell| BlockPlan { cell, repetition: round, seed };
        self.blocks.extend(order.into_iter().map(block));
        start..self.blocks.len()
    }

    /// Takes note of the cell whose search won.
    pub fn set_winner(&mut self, search: usize) {
        self.tuning_mut().winner = Some(search);
    }

    /// Adds settings to be measured after the search for as many seconds as each takes, each as a cell
    /// like another, without a controller; one that is known gets the roles beside its own. Returns
    /// their cells, each once.
    pub fn add_contenders(
        &mut self,
        settings: &[(usize, Setting, Vec<Role>)],
        seconds: impl Fn(Setting) -> f64,
    ) -> Vec<usize> {
        let cells = settings
            .iter()
            .map(|(like, setting, roles)| self.add(*like, *setting, roles, seconds(*setting)));
        cells.collect::<BTreeSet<usize>>().into_iter().collect()
    }

    fn add(&mut self, like: usize, setting: Setting, roles: &[Role], seconds: f64) -> usize {
        let stop = Stop { rows: self.rows_max, seconds: Some(seconds) };
        let cell = contender(&self.cells[like], setting, stop);
        let is_it =
            |known: &CellPlan| (known.setting(), known.strategy) == (setting, cell.strategy);
        let next = self.cells.len();
        let has_strategies = 1 < self.tuning_mut().searches.len();
        let known: Vec<usize> = self.tuning_mut().contenders.iter().map(|it| it.cell).collect();
        if let Some(known) = known.into_iter().find(|it| is_it(&self.cells[*it])) {
            let contenders = &mut self.tuning_mut().contenders;
            let known = contenders.iter_mut().find(|it| it.cell == known).expect("it was found");
            let new = roles.iter().filter(|it| !known.roles.contains(it)).copied();
            known.roles = known.roles.iter().copied().chain(new.collect::<Vec<_>>()).collect();
            return known.cell;
        }
        let strategy = if has_strategies { cell.strategy.name() } else { "" };
        let name = format!("{} {strategy} {}", roles[0].name(), setting.words());
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        self.tuning_mut().contenders.push(Contender { cell: next, roles: roles.to_vec() });
        self.cells.push(CellPlan { name, ..cell });
        next
    }

    /// Takes note of the contenders that meet in the end.
    pub fn set_finalists(&mut self, cells: &[usize]) {
        self.tuning_mut().finalists = cells.to_vec();
    }

    /// Takes note of the blocks of contenders that do not count.
    pub fn set_disturbed(&mut self, blocks: Vec<usize>) {
        self.tuning_mut().disturbed = blocks;
    }

    /// Returns whether a block counts, if it is valid: the machine was not slower while it ran.
    pub fn counts(&self, block: usize) -> bool {
        self.tuning.as_ref().is_none_or(|it| !it.disturbed.contains(&block))
    }

    /// Adds interleaved blocks of contenders, their repetitions numbered on from those before. Returns
    /// the blocks' numbers.
    pub fn add_repetitions(&mut self, cells: &[usize], repetitions: u32) -> Range<usize> {
        let start = self.blocks.len();
        let known: Vec<usize> = self.tuning_mut().contenders.iter().map(|it| it.cell).collect();
        let before = self.blocks.iter().filter(|it| known.contains(&it.cell));
        let first = before.map(|it| it.repetition + 1).max().unwrap_or(0);
        let seed = if first == 0 { self.seed } else { block_seed(self.seed, first) };
        let blocks = super::interleave(cells.len(), repetitions, seed);
        self.blocks.extend(blocks.into_iter().map(|it| {
            let repetition = first + it.repetition;
            let seed = block_seed(self.seed, repetition);
            BlockPlan { cell: cells[it.cell], repetition, seed }
        }));
        self.repetitions = self.repetitions.max(first + repetitions);
        start..self.blocks.len()
    }

    /// Adds a block that goes on steering, as the winner of the search does. Returns its number.
    pub fn add_follow(&mut self, repetition: u32, stop: Stop) -> usize {
        let winner = self.tuning_mut().winner.expect("what was found is followed");
        let cell = match self.tuning_mut().follow {
            Some(cell) => cell,
            None => {
                let mut cell = CellPlan { name: "follow".to_owned(), ..self.cells[winner].clone() };
                cell.controller.as_mut().expect("it goes on steering").is_search = false;
                self.cells.push(cell);
                self.cells.len() - 1
            }
        };
        self.tuning_mut().follow = Some(cell);
        let rows = stop.rows.into_iter().chain(self.rows_max).min();
        self.cells[cell].stop = Stop { rows, ..stop };
        let seed = block_seed(self.seed, repetition);
        self.blocks.push(BlockPlan { cell, repetition, seed });
        self.blocks.len() - 1
    }
}

fn contender(search: &CellPlan, setting: Setting, stop: Stop) -> CellPlan {
    let Setting { batch_rows, workers } = setting;
    let strategy = match search.strategy {
        Strategy::Pipelined { in_flight } => {
            let most = u32::try_from(batch_rows).unwrap_or(u32::MAX);
            Strategy::Pipelined { in_flight: in_flight.min(most) }
        }
        other => other,
    };
    let warm_up_s = match stop.seconds {
        Some(seconds) if search.transaction.confirms_as_it_goes() => WARM_UP_SHARE * seconds,
        _ => 0.0,
    };
    let mut pool = search.pool;
    (pool.size_max, pool.idle_min) = (workers, workers);
    CellPlan {
        strategy,
        batch_rows,
        workers,
        pool,
        controller: None,
        on_error: OnError::Collect,
        stop,
        warm_up_s,
        ..search.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn search(strategies: &[&str]) -> Plan {
        let cell = |it: &&str| {
            format!("[[cells]]\nname = 'search {it}'\nstrategy = '{it}'\ncontroller = {{}}\n")
        };
        let cells: String = strategies.iter().map(cell).collect();
        let text = format!("name = 'tune'\n{cells}");
        let scenario = Scenario::parse(&text, "test.toml").unwrap().scenario;
        Plan::resolve(&scenario).unwrap().into_search()
    }

    #[test]
    fn what_follows_a_search_has_no_more_rows_than_unique_columns_have_values() {
        let mut plan = search(&["multi_row"]);
        plan.rows_max = Some(7);
        let setting = Setting { batch_rows: 1_000, workers: 5 };
        plan.set_winner(0);
        let cells = plan.add_contenders(&[(0, setting, vec![Role::Found])], |_| 1.5);
        plan.add_repetitions(&cells, 1);
        assert_eq!(plan.cells[1].stop, Stop { rows: Some(7), seconds: Some(1.5) });
        assert!((plan.cells[1].warm_up_s - 0.75).abs() < 1e-9, "{:?}", plan.cells[1]);
        assert!(plan.cells[0].warm_up_s < 1e-9, "a search is seen from its start");
        plan.add_follow(0, Stop { rows: Some(9), seconds: Some(5.0) });
        assert_eq!(plan.cells[2].stop, Stop { rows: Some(7), seconds: Some(5.0) });
    }

    #[test]
    fn a_rematch_is_of_those_that_were_not_told_apart() {
        let mut plan = search(&["multi_row"]);
        let settings = [1_000, 2_000, 4_000]
            .map(|batch_rows| (0, Setting { batch_rows, workers: 5 }, vec![Role::Found]));
        let cells = plan.add_contenders(&settings, |_| 1.5);
        assert_eq!(cells, [1, 2, 3]);
        assert_eq!(plan.add_repetitions(&cells, 2), 0..6);
        assert_eq!(plan.add_repetitions(&[1, 3], 2), 6..10);
        assert_eq!(plan.repetitions, 4);
        for (number, pair) in plan.blocks[6..].chunks(2).enumerate() {
            let cells: BTreeSet<usize> = pair.iter().map(|it| it.cell).collect();
            assert_eq!(cells, BTreeSet::from([1, 3]));
            assert!(pair.iter().all(|it| it.repetition as usize == 2 + number), "{pair:?}");
            assert!(pair[0].seed == pair[1].seed, "the same rows for both");
            assert!(plan.blocks[..6].iter().all(|it| it.seed != pair[0].seed), "and new ones");
        }
    }

    #[test]
    fn a_search_is_planned_as_it_goes() {
        let mut plan = search(&["multi_row", "pipelined"]);
        assert!(plan.blocks.is_empty());
        assert_eq!(plan.add_round(&[0, 1], 0), 0..2);
        assert_eq!(plan.add_round(&[1], 1), 2..3);
        let cells: BTreeSet<usize> = plan.blocks[..2].iter().map(|it| it.cell).collect();
        assert_eq!((cells.len(), plan.blocks[2].cell, plan.blocks[2].repetition), (2, 1, 1));

        let setting = |batch_rows, workers| Setting { batch_rows, workers };
        let settings = [
            (1, setting(64, 3), vec![Role::Found, Role::Smaller]),
            (0, setting(1_000, 5), vec![Role::Article]),
        ];
        plan.set_winner(1);
        let cells = plan.add_contenders(&settings, |_| 1.5);
        assert_eq!(plan.add_repetitions(&cells, 4), 3..11);
        let again = (1, setting(64, 3), vec![Role::Neighbour]);
        assert_eq!(plan.add_contenders(&[again], |_| 1.5), [2], "it is known");
        assert_eq!(plan.tuning.clone().unwrap().contenders[0].roles.len(), 3);
        let found = &plan.cells[2];
        assert_eq!(found.name, "found pipelined 64 x 3");
        assert_eq!(plan.cells[3].name, "article multi_row 1,000 x 5");
        assert_eq!((found.setting(), found.controller), (setting(64, 3), None));
        assert_eq!(found.strategy, Strategy::Pipelined { in_flight: 64 });
        assert_eq!((found.pool.size_max, found.pool.idle_min), (3, 3));
        let tuning = plan.tuning.clone().unwrap();
        assert_eq!((tuning.winner, tuning.contenders[1].cell), (Some(1), 3));
        for repetition in plan.blocks[3..].chunks(2) {
            let cells: BTreeSet<usize> = repetition.iter().map(|it| it.cell).collect();
            assert_eq!(cells, BTreeSet::from([2, 3]));
            assert_eq!(repetition[0].seed, repetition[1].seed, "the same rows for both");
        }

        let stop = Stop { rows: Some(9), seconds: Some(5.0) };
        assert_eq!((plan.add_follow(0, stop), plan.add_follow(1, stop)), (11, 12));
        assert_eq!((plan.cells.len(), plan.cells[4].name.as_str()), (5, "follow"));
        assert!(!plan.cells[4].controller.unwrap().is_search && plan.cells[4].stop == stop);
    }
}
