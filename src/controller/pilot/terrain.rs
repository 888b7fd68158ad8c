//! What is believed of the server: which places are fast, which keep the limit, which are barred.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    model::{Data, Focus, Model, Total, in_flight},
    tail::Tail,
};
use crate::controller::{Cell, Evidence, Goal, Grid, Wish, grid::STEPS_AN_OCTAVE};

/// How far from a measured place the model is believed: steps of batch rows, and of workers.
const TRUST: (usize, usize) = (2 * STEPS_AN_OCTAVE, 2);
/// Length of a window above which a place is not tried: this many times that of home, within these
/// bounds in seconds, and at least a little more than that of home. An argmax that was extrapolated
/// once ran 32,768 x 64 for 20 s; and where windows of 4 s were tried, 11 of 12,000 servers lost more
/// than 3 % to 1,000 x 5, and 6 with 2 s.
const LONGER_MAX: f64 = 4.0;
const WINDOW_S: (f64, f64) = (1.0, 2.0);
const LONGER_ALWAYS: f64 = 1.5;
/// Octaves above home that are tried while there is no model to tell the latency.
const OCTAVES_WITHOUT_MODEL: f64 = 2.1;
/// Share of the limit that is aimed at: the p99 of a window scatters by a tenth around its own.
pub(super) const LIMIT_SHARE: f64 = 0.93;

/// What the model cannot tell apart: of such places the one with the shortest operations is taken.
const AS_GOOD: f64 = 0.02;

/// Longest that a place is left alone, and that this is remembered.
const BAR_MAX_S: f64 = 300.0;

/// Places with at least as many rows and workers are left alone for a while.
#[derive(Clone, Copy, Debug)]
struct Bar {
    from: Cell,
    for_s: f64,
    until_s: f64,
}

impl Bar {
    fn covers(&self, cell: Cell) -> bool {
        self.from.batch <= cell.batch && self.from.workers <= cell.workers
    }
}

#[derive(Clone, Debug)]
pub(super) struct Terrain {
    pub(super) grid: Grid,
    pub(super) data: Data,
    pub(super) now_s: f64,
    pub(super) limit_s: Option<f64>,
    pub(super) model: Option<Model>,
    /// How far the truth lies from the model, as a logarithm.
    pub(super) misfit: f64,
    /// Log rates of the measured places, by model and windows.
    pub(super) rated: BTreeMap<Cell, f64>,
    tail: Tail,
    bars: Vec<Bar>,
}

impl Terrain {
    pub(super) fn new(goal: &Goal) -> Terrain {
        Terrain {
            grid: Grid::new(&goal.bounds),
            data: Data::default(),
            now_s: 0.0,
            limit_s: goal.p99_limit.map(|it| it.as_secs_f64()),
            model: None,
            misfit: 0.05,
            rated: BTreeMap::new(),
            tail: Tail::default(),
            bars: Vec::new(),
        }
    }

    /// Takes in a window whose rate is the server's own: not in a stall, nor in a change.
    pub(super) fn learn(&mut self, cell: Cell, evidence: &Evidence) {
        self.data.push(evidence.at_s, cell, evidence.log_rate);
    }

    /// Takes in the tail of any window.
    pub(super) fn learn_tail(&mut self, evidence: &Evidence) {
        self.tail.learn(evidence);
    }

    pub(super) fn fit(&mut self, noise: f64, focus: Focus) {
        let totals = self.data.totals(self.now_s);
        let fitted = Model::fit(&self.grid, &totals, noise, self.misfit, focus);
        self.model = fitted.map(|(model, misfit)| {
            self.misfit = misfit;
            model
        });
        let rate = |model: &Model| {
            totals.iter().map(|total| (total.cell, self.rate(model, *total, noise))).collect()
        };
        self.rated = self.model.as_ref().map(rate).unwrap_or_default();
    }

    /// Drops all that was measured: another server made it.
    pub(super) fn forget(&mut self) {
        self.data = Data::default();
        self.model = None;
        self.rated.clear();
    }

    pub(super) fn log_rate(&self, cell: Cell) -> Option<f64> {
        Some(self.model.as_ref()?.log_rate(self.grid.setting(cell)))
    }

    /// What the model says of a measured place, and a part of how far it was measured from that, the
    /// larger the more windows it has.
    fn rate(&self, model: &Model, total: Total, noise: f64) -> f64 {
        let predicted = model.log_rate(self.grid.setting(total.cell));
        let truth = self.misfit.powi(2);
        let chance = noise * noise / total.weight.max(0.1);
        predicted + truth / (truth + chance) * (total.log_rate - predicted)
    }

    pub(super) fn latency_s(&self, cell: Cell) -> Option<f64> {
        Some(self.model.as_ref()?.latency_s(self.grid.setting(cell)))
    }

    /// Rows in flight.
    pub(super) fn in_flight(&self, cell: Cell) -> f64 {
        in_flight(self.grid.setting(cell))
    }

    /// What the model says that one place gains over another.
    pub(super) fn gain(&self, cell: Cell, home: Cell) -> Option<f64> {
        Some(self.log_rate(cell)? - self.log_rate(home)?)
    }

    /// The p99 that comes with a mean latency.
    pub(super) fn p99_of_s(&self, latency_s: f64) -> f64 {
        latency_s * self.tail.ratio()
    }

    /// Whether p99 is predicted to stay within `slack` times the share of the limit aimed at.
    pub(super) fn keeps_limit(&self, cell: Cell, slack: f64) -> bool {
        let (Some(limit_s), Some(latency_s)) = (self.limit_s, self.latency_s(cell)) else {
            return true;
        };
        self.p99_of_s(latency_s) <= slack * LIMIT_SHARE * limit_s
    }

    /// Whether a window there is short enough to be tried from home.
    pub(super) fn is_cheap(&self, cell: Cell, home: Cell) -> bool {
        let (Some(there), Some(here)) = (self.window_s(cell), self.window_s(home)) else {
            let (there, here) = (self.octaves(cell), self.octaves(home));
            return there.0 + there.1 <= here.0 + here.1 + OCTAVES_WITHOUT_MODEL;
        };
        there <= (LONGER_MAX * here).clamp(WINDOW_S.0, WINDOW_S.1).max(LONGER_ALWAYS * here)
    }

    /// Time that a window takes to hold an operation of each worker, and enough of all.
    fn window_s(&self, cell: Cell) -> Option<f64> {
        let workers = f64::from(self.grid.setting(cell).workers);
        Some(self.latency_s(cell)? * (Wish::OPERATIONS as f64 / workers).max(1.0))
    }

    /// The place on the plane of log2 batch rows and log2 workers.
    pub(super) fn octaves(&self, cell: Cell) -> (f64, f64) {
        let setting = self.grid.setting(cell);
        ((setting.batch_rows as f64).log2(), f64::from(setting.workers).log2())
    }

    /// Leaves a place and all above it alone; each time that a bar has run out and proves right
    /// again, for twice as long.
    pub(super) fn bar(&mut self, from: Cell, for_s: f64) {
        self.bars.retain(|it| self.now_s < it.until_s + BAR_MAX_S);
        let ran_out = |it: &&Bar| it.until_s <= self.now_s && it.covers(from);
        let last_s = self.bars.iter().filter(ran_out).map(|it| it.for_s).fold(0.0, f64::max);
        let for_s = for_s.max(2.0 * last_s).min(BAR_MAX_S);
        self.bars.push(Bar { from, for_s, until_s: self.now_s + for_s });
    }

    pub(super) fn is_allowed(&self, cell: Cell) -> bool {
        !self.bars.iter().any(|bar| self.now_s < bar.until_s && bar.covers(cell))
    }

    /// Places near enough to a measured one.
    pub(super) fn trusted(&self) -> Vec<Cell> {
        let measured: BTreeSet<Cell> = self.data.cells();
        let is_near = |cell: &Cell| {
            measured.iter().any(|it| {
                it.batch.abs_diff(cell.batch) <= TRUST.0
                    && it.workers.abs_diff(cell.workers) <= TRUST.1
            })
        };
        self.grid.cells().filter(|it| self.is_allowed(*it)).filter(is_near).collect()
    }

    /// Of the places that are trusted, cheap and keep the limit, and within [`AS_GOOD`] of the fastest of
    /// them by the model, the one of the least latency. Where none keeps the limit, the one of the least
    /// latency of all.
    pub(super) fn best(&self, home: Cell) -> Option<Cell> {
        let model = self.model.as_ref()?;
        let trusted = self.trusted();
        let rate = |it: &Cell| model.log_rate(self.grid.setting(*it));
        let latency_s = |it: &Cell| model.latency_s(self.grid.setting(*it));
        let keeping = trusted.iter().filter(|it| self.keeps_limit(**it, 1.0));
        let open: Vec<&Cell> = keeping.filter(|it| self.is_cheap(**it, home)).collect();
        let most = open.iter().map(|it| rate(it)).max_by(f64::total_cmp);
        let near = open.iter().filter(|it| most.is_some_and(|most| most - AS_GOOD <= rate(it)));
        let best = near.min_by(|a, b| latency_s(a).total_cmp(&latency_s(b))).copied();
        let quickest = || trusted.iter().min_by(|a, b| latency_s(a).total_cmp(&latency_s(b)));
        best.or_else(quickest).copied()
    }
}
