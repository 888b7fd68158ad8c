//! Where to look next from home: the place whose probe promises most, and scouts into what a
//! smooth model cannot know.

use std::collections::BTreeSet;

use super::{
    Mode, Pilot, STEPS, Step,
    model::Focus,
    pairs::{Belief, Prior, Window},
};
use crate::controller::{Cell, Evidence, Setting};

/// Places around home that are probed: steps of batch rows and of workers.
const AROUND: [(isize, isize); 18] = [
    (1, 0),
    (-1, 0),
    (2, 0),
    (-2, 0),
    (STEPS, 0),
    (-STEPS, 0),
    (2 * STEPS, 0),
    (-2 * STEPS, 0),
    (0, 1),
    (0, -1),
    (0, 2),
    (0, -2),
    (0, 3),
    (0, -3),
    (STEPS, -1),
    (-STEPS, 1),
    (STEPS, 1),
    (-STEPS, -1),
];
/// Scouts, each sent once: a model without cliffs missed an optimum left of a cliff of 2 x.
const SCOUTS: [(isize, isize); 11] = [
    (-STEPS, 0),
    (0, -1),
    (STEPS, 0),
    (0, 1),
    (-2 * STEPS, 0),
    (0, -2),
    (0, 2),
    (2 * STEPS, 0),
    (-2 * STEPS, 2),
    (2 * STEPS, -2),
    (-3 * STEPS, 0),
];
/// What is taken where nothing was measured, the first scout and home's rival: whoever tunes must not
/// lose to it.
const USUAL: Setting = Setting::ARTICLE;
/// A scout may be predicted this far above the limit, once.
const SCOUT_SLACK: f64 = 1.2;
/// A place that is predicted to lose more is not scouted.
const SCOUT_LOSS_MAX: f64 = 0.7;
/// Time in which a place is scouted once.
const SCOUT_AGAIN_S: f64 = 45.0;
/// Worth of a probe below which there is none.
const WORTH_MIN: f64 = 0.004;
/// Probes of a search that follow each other at once, at most, and where one is worth much: who has
/// looked around holds what it found for most of the time.
const SEARCH_PROBES: u32 = 6;
const URGENT_PROBES: u32 = 20;
const URGENT: f64 = 0.03;
/// The same where only what is found counts: more than fit into a search of 20 s.
const THOROUGH_PROBES: u32 = 60;
/// Gain from which a place is probed again there: what is found is measured afterwards anyhow, and of a
/// search of 17 s a third went to one place that was as good as home.
const PROMISING: f64 = 0.03;
/// Time between probes in cruise: when one is worth it, and otherwise.
const WORTHY_EVERY_S: f64 = 1.5;
const IDLE_EVERY_S: f64 = 10.0;
/// Certainty for a move, for one to the rival, for one away from it, and with a single probe.
pub(super) const SURE: f64 = 0.90;
const SURE_TO_RIVAL: f64 = 0.65;
const SURE_FROM_RIVAL: f64 = 0.97;
const SURE_AT_ONCE: f64 = 0.99;
/// Certainty by probes alone: on a server of few operations a window the model was sure of nonsense.
const SURE_BY_PROBES: f64 = 0.70;
/// Least chance that the rival gains for it to be probed in turn with other places.
const RIVAL_GAINS_MIN: f64 = 0.05;
/// Least deviation of what the model says of the rival: where it was sure of 16 % less, there was a
/// cliff between, and home was kept 3 % below it.
const RIVAL_MISFIT: f64 = 0.20;
/// Certainty from which a place is probed again at once, up to so many times: what is found late is
/// lost until then.
const LIKELY: f64 = 0.75;
const LIKELY_PROBES: usize = 4;
/// Bounds of what the model may promise or threaten.
const PROMISE: (f64, f64) = (-0.6, 0.12);
/// Misfit where there is no model.
const MISFIT_WITHOUT_MODEL: f64 = 0.07;

impl Pilot {
    /// Weighs the probe that two windows at home enclose, if there was one, and moves if it is
    /// surely better.
    pub(super) fn weigh(&mut self, evidence: &Evidence) -> &'static str {
        let before = self.last_home.replace(*evidence);
        let (Some(before), away) = (before, self.away.take()) else {
            return "the first window here";
        };
        let window =
            |it: &Evidence| Window { log_rate: it.log_rate, counting: it.counting_variance };
        self.pairs.at_home(&window(&before), &window(evidence));
        let Some((cell, probe)) = away else { return "hold" };
        let windows = [&before, &probe, evidence].map(window);
        if !self.pairs.probe(cell, evidence.at_s, windows) {
            return "the server's mood changed around the probe: it says nothing";
        }
        let mood = f64::midpoint(before.log_rate, evidence.log_rate);
        let level = self.watch.level().unwrap_or(mood);
        self.terrain.learn(cell, &Evidence { log_rate: probe.log_rate - mood + level, ..probe });
        let belief = self.belief(cell);
        let gains = belief.gains();
        self.grounds = vec![("gain", belief.mean), ("sure", gains)];
        let is_sure = self.sure_enough(cell) < gains
            && SURE_BY_PROBES < belief.by_probes
            && (2 <= belief.n || SURE_AT_ONCE < gains);
        let keeps = self.terrain.limit_s.is_none_or(|limit_s| probe.p99_s <= limit_s);
        if !(is_sure && keeps) {
            let is_likely = LIKELY < gains && belief.n < LIKELY_PROBES && keeps;
            self.likely = Some(cell).filter(|_| is_likely);
            return "not surely better: stay";
        }
        self.pairs.moved(self.home, cell, &belief);
        self.watch.moved(belief.mean);
        self.home = cell;
        (self.mode, self.probes) = (Mode::Search, 0);
        self.last_home = None;
        "surely better: move"
    }

    /// Certainty that it takes to move there.
    fn sure_enough(&self, cell: Cell) -> f64 {
        match self.usual() {
            Some(usual) if self.home == usual => SURE_FROM_RIVAL,
            Some(usual) if cell == usual => SURE_TO_RIVAL,
            _ => SURE,
        }
    }

    /// Decides what the next window is for: home, or a probe away from it.
    pub(super) fn choose(&mut self) {
        self.fit(Focus::All);
        self.step = Step::Home;
        if let Some(better) = self.within_limit() {
            self.retreat(better);
            return;
        }
        if self.last_home.is_none() {
            return;
        }
        let rival = self.rival();
        if let Some(cell) = rival.filter(|it| self.is_its_turn(*it)) {
            self.step = Step::Away { cell };
        } else if let Some(cell) = self.next_probe() {
            self.scouted.insert(cell, self.terrain.now_s);
            self.probes += 1;
            self.last_probe_s = self.terrain.now_s;
            self.step = Step::Away { cell };
        } else if let Some(cell) = rival {
            self.step = Step::Away { cell };
        }
    }

    /// Whether other places were probed after the rival, which makes it every third. Where only what is
    /// found counts, what is usually taken meets it afterwards.
    fn is_its_turn(&self, rival: Cell) -> bool {
        let was_before = |last_s: f64| last_s < self.last_probe_s;
        !self.is_thorough && self.pairs.last_s(rival).is_some_and(was_before)
    }

    /// Where to go if the model changed its mind about home: it does not keep the limit.
    fn within_limit(&self) -> Option<Cell> {
        if self.terrain.keeps_limit(self.home, 1.0) && self.terrain.is_allowed(self.home) {
            return None;
        }
        self.terrain.best(self.home).filter(|it| *it != self.home)
    }

    fn next_probe(&mut self) -> Option<Cell> {
        let (cell, worth) = self.best_probe();
        self.grounds.push(("worth", worth));
        if let Some(likely) = self.likely.take().filter(|it| self.terrain.is_allowed(*it)) {
            return Some(likely);
        }
        if self.is_thorough
            && self.probes < THOROUGH_PROBES
            && let Some(cell) = self.look_around()
        {
            return Some(cell);
        }
        let worthy = cell.filter(|_| WORTH_MIN <= worth);
        if self.mode == Mode::Search {
            let most = match self.is_thorough {
                true => THOROUGH_PROBES,
                false if URGENT <= worth => URGENT_PROBES,
                false => SEARCH_PROBES,
            };
            let next = worthy.or_else(|| self.scout(Some(SCOUT_AGAIN_S)));
            if next.is_some() && self.probes < most {
                return next;
            }
            self.mode = Mode::Cruise;
            self.is_thorough = false;
        }
        let worthy = self.scout(Some(f64::INFINITY)).or(worthy);
        let every_s = if worthy.is_some() { WORTHY_EVERY_S } else { IDLE_EVERY_S };
        if self.terrain.now_s - self.last_probe_s <= every_s {
            return None;
        }
        if worthy.is_some() {
            return worthy;
        }
        self.scouts_next = !self.scouts_next;
        let scout = if self.scouts_next { self.scout(None) } else { None };
        scout.or(cell)
    }

    /// What is usually taken, while it was probed and neither it nor home is surely better.
    fn rival(&self) -> Option<Cell> {
        let cell = self.usual()?;
        let belief = self.belief(cell);
        let is_undecided = 0 < belief.n && RIVAL_GAINS_MIN < belief.gains();
        (is_undecided && self.is_open(cell, 1.0)).then_some(cell)
    }

    /// What is usually taken, if it is within the bounds.
    pub(super) fn usual(&self) -> Option<Cell> {
        let grid = &self.terrain.grid;
        let holds_batch = grid.batches().first() <= Some(&USUAL.batch_rows)
            && Some(&USUAL.batch_rows) <= grid.batches().last();
        let holds_workers = grid.workers().first() <= Some(&USUAL.workers)
            && Some(&USUAL.workers) <= grid.workers().last();
        (holds_batch && holds_workers).then(|| grid.nearest(USUAL))
    }

    /// Whether a probe there is foreseen to keep the limit times `slack`, and to take no long time,
    /// and the server does not refuse it.
    fn is_open(&self, cell: Cell, slack: f64) -> bool {
        cell != self.home
            && self.terrain.is_allowed(cell)
            && self.terrain.keeps_limit(cell, slack)
            && self.terrain.is_cheap(cell, self.home)
    }

    /// The place whose probe promises most, and how much.
    fn best_probe(&self) -> (Option<Cell>, f64) {
        let terrain = &self.terrain;
        let mut places: BTreeSet<Cell> = AROUND
            .into_iter()
            .filter_map(|(batch, workers)| terrain.grid.step(self.home, batch, workers))
            .collect();
        places.extend(terrain.best(self.home));
        places.extend(self.surprise());
        let worth = |cell: Cell| {
            let belief = self.belief(cell);
            let is_known = self.is_thorough && 0 < belief.n && belief.mean < PROMISING;
            (cell, if is_known { 0.0 } else { self.pairs.worth(&belief) })
        };
        let best = places.into_iter().filter(|it| self.is_open(*it, 1.0)).map(worth);
        let best = best.max_by(|a, b| a.1.total_cmp(&b.1));
        (best.map(|it| it.0), best.map_or(0.0, |it| it.1))
    }

    /// Where only what is found counts: first fewer workers, then each scout, in turn with what promises
    /// most. A probe around which the server's mood changed says nothing and is sent again.
    fn look_around(&self) -> Option<Cell> {
        let scout = || self.scout(Some(f64::INFINITY)).filter(|_| self.probes % 2 == 1);
        self.fewer_workers().or_else(scout)
    }

    /// A place of a quarter or half of home's workers that was never probed, whatever the model says of
    /// it; and one of a quarter of them with about as many rows in flight: where processors are full, each of
    /// the two steps may be lost in the noise, and both together 20 %.
    fn fewer_workers(&self) -> Option<Cell> {
        let grid = &self.terrain.grid;
        let fewer = grid.setting(self.home).with_fewer_workers();
        let [quarter, half] = [fewer.with_fewer_workers(), fewer].map(|it| grid.nearest(it));
        let cells = [quarter, half, grid.offset(quarter, 2 * STEPS, 0)];
        let never = |it: &Cell| self.pairs.last_s(*it).is_none() && self.is_open(*it, 1.0);
        cells.into_iter().find(never)
    }

    /// The place, of those that were never probed, that was measured the fastest compared with home,
    /// though the model says otherwise: there may be a cliff between.
    fn surprise(&self) -> Option<Cell> {
        let never = |it: &(&Cell, &f64)| self.pairs.last_s(*it.0).is_none() && *it.0 != self.home;
        let rated = self.terrain.rated.iter().filter(never);
        rated.max_by(|a, b| a.1.total_cmp(b.1)).map(|it| *it.0)
    }

    /// What a measured place gains over home, by all that is known of both; by the model alone, if it
    /// was not measured.
    fn rated_gain(&self, cell: Cell) -> Option<f64> {
        let rated = &self.terrain.rated;
        match (rated.get(&cell), rated.get(&self.home)) {
            (Some(there), Some(here)) if self.pairs.last_s(cell).is_none() => Some(there - here),
            _ => self.terrain.gain(cell, self.home),
        }
    }

    pub(super) fn belief(&self, cell: Cell) -> Belief {
        let (there, here) = (self.terrain.octaves(cell), self.terrain.octaves(self.home));
        let distance = (there.0 - here.0).hypot((there.1 - here.1) / 0.6);
        let reach = distance.clamp(0.3, 3.0).sqrt();
        let least = if self.usual() == Some(cell) { RIVAL_MISFIT } else { 0.0 };
        let prior = match self.rated_gain(cell) {
            Some(gain) => Prior {
                mean: gain.clamp(PROMISE.0, PROMISE.1),
                deviation: (self.terrain.misfit * reach).max(least),
            },
            None => Prior { mean: 0.0, deviation: MISFIT_WITHOUT_MODEL * reach },
        };
        self.pairs.belief(cell, self.terrain.now_s, prior)
    }

    /// The scout that was sent longest ago; with `again_s`, only if it is as long ago as that.
    fn scout(&self, again_s: Option<f64>) -> Option<Cell> {
        let terrain = &self.terrain;
        let mut oldest: Option<(f64, Cell)> = None;
        let around = SCOUTS.map(|(batch, workers)| terrain.grid.offset(self.home, batch, workers));
        for cell in self.usual().into_iter().chain(around) {
            let probed_s = self.pairs.last_s(cell);
            let slack = if probed_s.is_none() { SCOUT_SLACK } else { 1.0 };
            let is_open = self.is_open(cell, slack)
                && terrain.gain(cell, self.home).is_none_or(|it| -SCOUT_LOSS_MAX <= it);
            let scouted_s = self.scouted.get(&cell).copied();
            let last_s = probed_s.into_iter().chain(scouted_s).fold(f64::NEG_INFINITY, f64::max);
            let is_due = again_s.is_none_or(|again_s| last_s <= terrain.now_s - again_s);
            if is_open && is_due && oldest.is_none_or(|it| last_s < it.0) {
                oldest = Some((last_s, cell));
            }
        }
        oldest.map(|it| it.1)
    }
}
