//! Finds the best setting by a model, keeps looking around it, and notices when the server changes.
//!
//! ```text
//! survey ─▶ jump ─▶ home ◀─▶ away            a window at home, one away, one at home: a probe
//!   ▲                │ └────▶ brace          p99 above its limit on a slow server
//!   └──── guard ◀────┘                       is it a stall, or another server?
//! ```
//!
//! The model ([`model`]) only says where to look and how sure to be; a move takes probes that are
//! enclosed by windows at home ([`pairs`]). Constants and the failures that they cure are those of
//! the research on issue 3.

mod model;
mod pairs;
mod probe;
mod spell;
mod survey;
mod tail;
mod terrain;
mod trouble;
mod watch;

use std::collections::BTreeMap;

pub use self::model::{expected, rated};
use self::{
    model::Focus,
    pairs::Pairs,
    terrain::Terrain,
    trouble::{Brace, Guard},
    watch::Watch,
};
use super::{
    Cell, Controller, Decision, Evidence, Flaw, Goal, RETUNE, Setting, Wish, grid::STEPS_AN_OCTAVE,
};
use crate::measure::WindowSummary;

const STEPS: isize = STEPS_AN_OCTAVE.cast_signed();
/// Length of a window. The closer in time a probe and the windows at home around it, the more of
/// the server's mood cancels, and the less a probe costs; where operations are slow it is longer.
const WINDOW_MS: u64 = 250;

/// What the window under way is for.
#[derive(Clone, Debug)]
enum Step {
    /// A place of the design, or of the star around home; the last is the one under way.
    Survey { to_come: Vec<Cell> },
    /// The way up under a limit.
    Ramp { leg: usize, best: Option<f64>, trying: Cell },
    /// The best of the model.
    Jump { visits: BTreeMap<Cell, u32>, left: u32, at: Cell },
    /// Home.
    Home,
    /// A probe.
    Away { cell: Cell },
    /// The next home, where nobody has been yet.
    Retreat { to: Cell },
    /// Home, to see whether a change stays.
    Guard(Guard),
    /// A place that keeps the limit on a server that got slower.
    Brace(Box<Brace>),
}

/// Whether probes follow each other, or come now and then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Search,
    Cruise,
}

/// The policy.
#[derive(Clone, Debug)]
pub struct Pilot {
    terrain: Terrain,
    pairs: Pairs,
    watch: Watch,
    step: Step,
    mode: Mode,
    /// The best place known.
    home: Cell,
    /// Whether the first survey is over.
    is_settled: bool,
    /// The last window at home, if nothing came between but a probe.
    last_home: Option<Evidence>,
    /// A probe that awaits the window at home after it.
    away: Option<(Cell, Evidence)>,
    /// Whether it looks around for long before it first rests: only what is found counts.
    is_thorough: bool,
    /// Probes of this search, which begins anew with each home.
    probes: u32,
    last_probe_s: f64,
    /// When places were last sent for.
    scouted: BTreeMap<Cell, f64>,
    scouts_next: bool,
    /// A place that is likely better, by the last probe.
    likely: Option<Cell>,
    /// Windows in a row above the limit.
    violations: u32,
    /// Windows in a row in which operations failed.
    failures: u32,
    /// When the server last said that it did something else, too.
    busy_s: f64,
    grounds: Vec<(&'static str, f64)>,
}

impl Pilot {
    /// Starts the survey, or the ramp where p99 has a limit.
    pub fn new(goal: &Goal) -> Pilot {
        let mut pilot = Pilot {
            terrain: Terrain::new(goal),
            pairs: Pairs::default(),
            watch: Watch::default(),
            step: Step::Home,
            mode: Mode::Search,
            home: Cell { batch: 0, workers: 0 },
            is_settled: false,
            last_home: None,
            away: None,
            is_thorough: goal.is_search,
            probes: 0,
            last_probe_s: 0.0,
            scouted: BTreeMap::new(),
            scouts_next: false,
            likely: None,
            violations: 0,
            failures: 0,
            busy_s: f64::NEG_INFINITY,
            grounds: Vec::new(),
        };
        pilot.step = pilot.first_step();
        pilot.home = pilot.place();
        pilot
    }

    /// The place that the window under way measures.
    fn place(&self) -> Cell {
        match &self.step {
            Step::Survey { to_come } => *to_come.last().expect("a survey has places"),
            Step::Ramp { trying, .. } => *trying,
            Step::Jump { at, .. } => *at,
            Step::Home | Step::Guard(_) => self.home,
            Step::Away { cell } => *cell,
            Step::Retreat { to } => *to,
            Step::Brace(brace) => brace.at,
        }
    }

    fn fit(&mut self, focus: Focus) {
        self.terrain.fit(self.watch.deviation(), focus);
    }

    /// Begins to hold home.
    fn arrive(&mut self) {
        self.is_settled = true;
        self.last_home = None;
        self.away = None;
        self.step = Step::Home;
    }

    /// Begins a search from another home; what was compared with the old one says nothing of it.
    fn search_from(&mut self, home: Cell) {
        self.watch.forget();
        self.pairs.forget();
        self.likely = None;
        self.home = home;
        (self.mode, self.probes) = (Mode::Search, 0);
    }

    fn take(&mut self, evidence: &Evidence) -> &'static str {
        self.terrain.learn_tail(evidence);
        if evidence.is_server_busy {
            self.busy_s = self.terrain.now_s;
        }
        match std::mem::replace(&mut self.step, Step::Home) {
            Step::Survey { to_come } => {
                self.terrain.learn(*to_come.last().expect("a survey has places"), evidence);
                if !self.is_settled {
                    self.home = self.terrain.data.fastest().unwrap_or(self.home);
                }
                self.surveyed(to_come)
            }
            Step::Ramp { leg, best, trying } => {
                self.terrain.learn(trying, evidence);
                self.ramped(leg, best, evidence, trying)
            }
            Step::Jump { visits, left, at } => {
                self.terrain.learn(at, evidence);
                self.jumped(visits, left, at)
            }
            Step::Home => self.at_home(evidence),
            Step::Away { cell } => {
                self.away = Some((cell, *evidence));
                "probed: return home"
            }
            Step::Retreat { to } => {
                self.terrain.learn(to, evidence);
                self.retreated(to)
            }
            Step::Guard(guard) => self.guarded(guard, evidence),
            Step::Brace(brace) => self.braced(brace, evidence),
        }
    }

    fn at_home(&mut self, evidence: &Evidence) -> &'static str {
        self.terrain.learn(self.home, evidence);
        if let Some(reason) = self.check_limit(evidence) {
            return reason;
        }
        let predicted = self.terrain.log_rate(self.home);
        if let Some(alarm) =
            self.watch.take(evidence.log_rate, evidence.counting_variance, predicted)
        {
            return self.start_guard(alarm);
        }
        let reason = self.weigh(evidence);
        self.choose();
        reason
    }

    fn go(&self, reason: &'static str) -> Decision {
        let state = match &self.step {
            Step::Survey { .. } if self.is_settled => RETUNE,
            Step::Survey { .. } => "survey",
            Step::Ramp { .. } => "ramp",
            Step::Jump { .. } => "jump",
            Step::Home | Step::Away { .. } if self.mode == Mode::Search => "search",
            Step::Home | Step::Away { .. } => "cruise",
            Step::Guard(_) => "guard",
            Step::Retreat { .. } | Step::Brace(_) => "brace",
        };
        let grid = &self.terrain.grid;
        let setting = grid.setting(self.place());
        let decision = Decision::settle(setting, state, reason);
        let wish = Wish::of_ms(WINDOW_MS).of_workers(setting.workers);
        Decision { incumbent: grid.setting(self.home), ..decision }.wishing(wish)
    }
}

impl Controller for Pilot {
    fn start(&self) -> Decision {
        self.go("start")
    }

    fn decide(&mut self, window: &WindowSummary) -> Decision {
        self.terrain.now_s = (window.start + window.length).as_secs_f64();
        let asked_for = self.terrain.grid.setting(self.place());
        let evidence = Evidence::of(window);
        if evidence != Err(Flaw::Errors) {
            self.failures = 0;
        }
        let reason = match evidence {
            Ok(evidence) if evidence.setting == asked_for => self.take(&evidence),
            Ok(_) => "the window is of another setting",
            Err(flaw) => self.flawed(flaw),
        };
        let grounds = std::mem::take(&mut self.grounds);
        self.go(reason).because(&grounds)
    }

    fn search_is_over(&mut self, answer: Option<Setting>) {
        self.is_thorough = false;
        let answer = answer.map(|it| self.terrain.grid.nearest(it));
        let has_model = !matches!(self.step, Step::Survey { .. } | Step::Ramp { .. });
        if let Some(answer) = answer.filter(|_| has_model) {
            self.search_from(answer);
            // It was measured beside what lies around it, for longer than any probe.
            self.mode = Mode::Cruise;
            self.arrive();
        }
    }
}

#[cfg(test)]
mod tests;
