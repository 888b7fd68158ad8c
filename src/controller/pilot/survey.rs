//! The first look: a few places all over the plane, or up a ramp under a limit; then jumps to
//! where the model says that the best is, until it says the same again.

use std::collections::BTreeMap;

use super::{
    Pilot, STEPS, Step,
    model::{Focus, Total},
};
use crate::controller::{Cell, Evidence, Setting};

/// Places of the design: far enough apart to tell the terms of the model from each other, and none
/// so slow that it costs. It has no place of 1 or 2 workers: what a second worker waits for (the
/// group commit) says nothing about a tenth.
const DESIGN: [(u64, u32); 5] = [(16, 4), (128, 8), (1_024, 4), (1_024, 16), (4_096, 8)];
/// Longest that an operation of a place of the design is foreseen to take: about a window, or a little
/// more than the last one took. A place that would take longer is tried with fewer rows. Where rows
/// cost the most, the last place once took 10 s, and as long again to leave, at a tenth of the rate of
/// the first.
const FORESEEN_MAX_S: f64 = 0.25;
const FORESEEN_GROWTH_MAX: f64 = 1.5;
/// Legs of the ramp under a limit: steps of batch and workers, the least growth that leads on.
const LEGS: [(isize, isize, f64); 5] =
    [(2 * STEPS, 0, 1.15), (0, 2, 1.10), (2 * STEPS, 0, 1.15), (0, 2, 1.10), (STEPS, 0, 1.05)];
/// The star around home on a changed server.
const STAR: [(isize, isize); 4] = [(-5 * STEPS / 2, 0), (3 * STEPS / 2, 0), (0, -2), (0, 2)];
/// How far above the limit a place of the star may be predicted.
const STAR_SLACK: f64 = 1.5;
/// Jumps at most, and visits of one place.
const JUMPS: u32 = 7;
const VISITS: u32 = 2;

impl Pilot {
    /// The first step.
    pub(super) fn first_step(&self) -> Step {
        let place = |(batch_rows, workers): (u64, u32)| {
            self.terrain.grid.nearest(Setting { batch_rows, workers })
        };
        if self.terrain.limit_s.is_some() {
            return Step::Ramp { leg: 0, best: None, trying: place(DESIGN[0]) };
        }
        let mut to_come: Vec<Cell> = DESIGN.into_iter().rev().map(place).collect();
        to_come.dedup();
        Step::Survey { to_come }
    }

    /// Takes in a place of the design or the star.
    pub(super) fn surveyed(&mut self, mut to_come: Vec<Cell>) -> &'static str {
        to_come.pop();
        to_come.retain(|it| self.terrain.is_allowed(*it));
        if to_come.is_empty() {
            return self.start_jumps("surveyed: jump to the best of the model");
        }
        if !self.is_settled {
            let next = to_come.last_mut().expect("it is not empty");
            *next = self.shortened(*next);
        }
        self.step = Step::Survey { to_come };
        "the survey goes on"
    }

    /// The place, or one of as many workers whose rows are few enough for it not to take long, if
    /// latency goes on to grow with the rows in flight as it did from the first window to the last: by
    /// a power of them, which noise bends less than a line.
    fn shortened(&self, cell: Cell) -> Cell {
        let terrain = &self.terrain;
        let Some(windows) = terrain.data.first_and_last() else { return cell };
        let [first, last] = windows.map(|(cell, log_rate)| {
            let rows = terrain.in_flight(cell);
            (rows.ln(), rows.ln() - log_rate)
        });
        let power =
            if first.0 < last.0 { (last.1 - first.1) / (last.0 - first.0) } else { 0.0 }.max(0.0);
        let foreseen_s = |it: Cell| (last.1 + power * (terrain.in_flight(it).ln() - last.0)).exp();
        let longest_s = FORESEEN_MAX_S.max(FORESEEN_GROWTH_MAX * last.1.exp());
        let fewer = |it: &Cell| (0 < it.batch).then(|| terrain.grid.offset(*it, -2, 0));
        let mut smaller = std::iter::successors(Some(cell), fewer);
        smaller.find(|it| foreseen_s(*it) <= longest_s).unwrap_or(cell)
    }

    /// Takes in a place of the ramp.
    pub(super) fn ramped(
        &mut self,
        leg: usize,
        best: Option<f64>,
        evidence: &Evidence,
        trying: Cell,
    ) -> &'static str {
        let rate = evidence.rows_per_s;
        let keeps = self.terrain.limit_s.is_none_or(|limit_s| evidence.p99_s <= limit_s);
        let Some(best_rate) = best else {
            self.home = trying;
            return self.next_on_ramp(leg, rate, "the first rate");
        };
        if !keeps || rate < best_rate * LEGS[leg].2 {
            return self.next_on_ramp(leg + 1, best_rate, "that did not pay: next leg");
        }
        self.home = trying;
        // A leg of workers is one step: workers pay less the more rows they carry.
        let next = if LEGS[leg].1 == 0 { leg } else { leg + 1 };
        self.next_on_ramp(next, rate, "that paid: on")
    }

    pub(super) fn next_on_ramp(
        &mut self,
        leg: usize,
        best: f64,
        reason: &'static str,
    ) -> &'static str {
        for (leg, (batch, workers, _)) in LEGS.iter().enumerate().skip(leg) {
            // Of a leg that would break the limit, the part that would not.
            let parts = [1, 2, 4].map(|part| (batch / part, workers / part));
            let trying = parts.into_iter().filter(|it| *it != (0, 0)).find_map(|it| {
                let trying = self.terrain.grid.step(self.home, it.0, it.1)?;
                (self.terrain.is_allowed(trying) && self.seems_to_keep_limit(trying))
                    .then_some(trying)
            });
            if let Some(trying) = trying {
                self.step = Step::Ramp { leg, best: Some(best), trying };
                return reason;
            }
        }
        self.start_jumps("the ramp is over: jump to the best of the model")
    }

    /// What the ramp can tell of p99 before there is a model: at as many workers or fewer, a line
    /// through the latency of the two largest batches that are no larger. More workers wait longer.
    fn seems_to_keep_limit(&self, cell: Cell) -> bool {
        let terrain = &self.terrain;
        let Some(limit_s) = terrain.limit_s else { return true };
        let totals = terrain.data.totals(terrain.now_s);
        let place = |total: &Total| {
            let setting = terrain.grid.setting(total.cell);
            let in_flight = setting.batch_rows as f64 * f64::from(setting.workers);
            (setting.batch_rows as f64, in_flight / total.log_rate.exp())
        };
        let rows = terrain.grid.setting(cell).batch_rows as f64;
        (0..=cell.workers).all(|workers| {
            let at_workers = totals.iter().filter(|it| it.cell.workers == workers);
            let smaller: Vec<(f64, f64)> =
                at_workers.map(place).filter(|it| it.0 <= rows).collect();
            let [.., before, last] = smaller.as_slice() else { return true };
            let slope = ((last.1 - before.1) / (last.0 - before.0)).max(0.0);
            terrain.p99_of_s(last.1 + slope * (rows - last.0)) <= limit_s
        })
    }

    /// Looks around on a server that changed, from what was last measured at home.
    pub(super) fn start_star(&mut self, reason: &'static str) -> &'static str {
        let places = STAR.into_iter().rev().filter(|(batch, workers)| {
            let grows = 0 < *batch || 0 < *workers;
            !grows || self.is_star_place_safe(self.terrain.grid.offset(self.home, *batch, *workers))
        });
        let mut to_come: Vec<Cell> = places
            .map(|(batch, workers)| self.terrain.grid.offset(self.home, batch, workers))
            .filter(|it| *it != self.home && self.terrain.is_allowed(*it))
            .collect();
        to_come.dedup();
        if to_come.is_empty() {
            return self.start_jumps(reason);
        }
        self.step = Step::Survey { to_come };
        reason
    }

    /// Under a limit, and with the rate taken for the same all over: whether p99 stays near it.
    fn is_star_place_safe(&self, cell: Cell) -> bool {
        let terrain = &self.terrain;
        let (Some(limit_s), Some(log_rate)) = (terrain.limit_s, terrain.data.mean_log_rate())
        else {
            return true;
        };
        terrain.p99_of_s(terrain.in_flight(cell) / log_rate.exp()) <= STAR_SLACK * limit_s
    }

    fn start_jumps(&mut self, reason: &'static str) -> &'static str {
        self.jump(BTreeMap::new(), JUMPS, self.home);
        reason
    }

    /// Takes in a place jumped to.
    pub(super) fn jumped(
        &mut self,
        visits: BTreeMap<Cell, u32>,
        left: u32,
        at: Cell,
    ) -> &'static str {
        self.jump(visits, left, at);
        match self.step {
            Step::Jump { .. } => "the model has another best: jump",
            _ => "the best of the model stays: settle",
        }
    }

    fn jump(&mut self, mut visits: BTreeMap<Cell, u32>, left: u32, at: Cell) {
        self.fit(Focus::Fast);
        let next = self.terrain.best(self.home).filter(|_| 0 < left);
        if let Some(next) = next {
            let seen = visits.get(&next).copied().unwrap_or(0);
            if seen < VISITS && !(seen == 1 && next == at) {
                visits.insert(next, seen + 1);
                self.step = Step::Jump { visits, left: left - 1, at: next };
                return;
            }
        }
        self.home = self.best_measured().unwrap_or(self.home);
        self.arrive();
    }

    /// The best of the places that were measured, by the model and by what was measured there: a place
    /// that nobody saw is no home, and one that was seen to be fast may lie before a cliff that the
    /// model cannot bend to.
    pub(super) fn best_measured(&self) -> Option<Cell> {
        let terrain = &self.terrain;
        let measured = terrain.data.cells().into_iter().filter(|it| terrain.is_allowed(*it));
        let keeping = measured.filter(|it| terrain.keeps_limit(*it, 1.0));
        let rated = keeping.filter_map(|it| Some((it, *terrain.rated.get(&it)?)));
        rated.max_by(|a, b| a.1.total_cmp(&b.1)).map(|it| it.0)
    }
}
