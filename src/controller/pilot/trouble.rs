//! What to do when home is not what it was: stalls, another server, a violated limit, push-back.

use super::{
    Pilot, Step,
    model::{Focus, Model},
    spell::{Outlook, Spell},
    watch::Alarm,
};
use crate::{
    controller::{Cell, Evidence, Flaw, Grid, Setting, grid::STEPS_AN_OCTAVE},
    stats::nnls,
};

/// Windows that the new data starts with.
const KEPT_WINDOWS: usize = 6;
/// A smaller shift of the level is drift: this, or this many deviations of a window. Neighbouring
/// windows share their mood, so that the mean of a dozen varies by half as much as one does.
const SHIFT_MIN: f64 = 0.08;
const SHIFT_DEVIATIONS: f64 = 1.5;
/// Windows in a row above the limit before anything is done, and how far above it one is enough.
const VIOLATIONS: u32 = 2;
const FAR_ABOVE: f64 = 1.4;
/// Latency over the predicted one below which the model, not the server, is to blame.
const SLOWDOWN: f64 = 1.2;
/// Time for which a checkpoint that began, or autovacuum, explains that a server is slower.
const EXPLAINS_S: f64 = 5.0;
/// Share of the limit that is aimed at on a slower server: nearer than at home, since it passes.
const BRACE_SHARE: f64 = 0.98;
/// Windows that tell how much slower it is, what each counts of the next, and how closely, while
/// they are of one place, what operations cost is tied to what rows cost.
const SLOWDOWN_WINDOWS: usize = 16;
const SLOWDOWN_FORGET: f64 = 0.85;
const SLOWDOWN_TIE: f64 = 0.3;
/// Steps of batch rows down within which a place is tried that keeps the limit only if nothing but
/// rows got slower.
const ROWS_TRIED: usize = 2 * STEPS_AN_OCTAVE;
/// How long a place where the server pushed back, or the client was the limit, is left alone.
const PUSHED_BACK_S: f64 = 30.0;
const CLIENT_BOUND_S: f64 = 60.0;
/// The same of a place where operations failed, in so many windows in a row: a restart fails a few, too.
const FAILURES: u32 = 4;
const FAILED_S: f64 = 30.0;

/// Home is held to see whether a change stays.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    spell: Spell,
    /// The level before.
    level: f64,
    windows: Vec<Evidence>,
}

/// A limit is kept on a server that got slower, until it is as before or clearly another.
#[derive(Clone, Debug)]
pub(super) struct Brace {
    pub(super) at: Cell,
    spell: Spell,
    windows: Vec<(Cell, Evidence)>,
    /// The model and the places it was trusted at, before.
    model: Model,
    trusted: Vec<Cell>,
}

/// How many times what the model predicts an operation costs, and its rows.
#[derive(Clone, Copy, Debug)]
struct Slowdown {
    operation: f64,
    rows: f64,
}

impl Slowdown {
    fn latency_s(self, model: &Model, setting: Setting) -> f64 {
        let (operation_s, rows_s) = model.parts_s(setting);
        self.operation * operation_s + self.rows * rows_s
    }
}

impl Brace {
    /// The slowdown that the last windows tell. Those of one place tell a single number, and
    /// whatever slows operations is then taken to slow rows, too.
    fn slowdown(&self, grid: &Grid) -> Slowdown {
        let row = |(cell, evidence): &(Cell, Evidence), weight: f64| {
            let (operation_s, rows_s) = self.model.parts_s(grid.setting(*cell));
            let relative = |cost_s: f64| weight * cost_s / evidence.latency_s;
            (vec![relative(operation_s), relative(rows_s)], weight)
        };
        let weights = std::iter::successors(Some(1.0), |weight| Some(weight * SLOWDOWN_FORGET));
        let last = self.windows.iter().rev().take(SLOWDOWN_WINDOWS);
        let mut rows: Vec<_> = last.zip(weights).map(|(it, weight)| row(it, weight)).collect();
        rows.push((vec![SLOWDOWN_TIE, -SLOWDOWN_TIE], 0.0));
        let terms = nnls(&rows);
        Slowdown { operation: terms[0].max(1.0), rows: terms[1].max(1.0) }
    }

    /// What slows rows alone, if that is what it is.
    fn slowdown_of_rows(&self, grid: &Grid) -> Option<Slowdown> {
        let (cell, evidence) = self.windows.last()?;
        let (operation_s, rows_s) = self.model.parts_s(grid.setting(*cell));
        let left_s = evidence.latency_s - operation_s;
        (0.0 < rows_s && 0.0 < left_s).then(|| Slowdown { operation: 1.0, rows: left_s / rows_s })
    }
}

impl Pilot {
    pub(super) fn start_guard(&mut self, alarm: Alarm) -> &'static str {
        let level = self.watch.level().expect("an alarm is about a level");
        self.arrive();
        self.watch.reset();
        let spell = Spell::new(self.terrain.now_s);
        self.step = Step::Guard(Guard { spell, level, windows: Vec::new() });
        match alarm {
            Alarm::Down => "slower than it was: hold, and see whether that stays",
            Alarm::Up => "faster than it was: hold, and see whether that stays",
        }
    }

    pub(super) fn guarded(&mut self, mut guard: Guard, evidence: &Evidence) -> &'static str {
        if let Some(reason) = self.check_limit(evidence) {
            return reason;
        }
        guard.windows.push(*evidence);
        let away = evidence.log_rate - guard.level;
        let shift = match self.take_spell(&mut guard.spell, evidence, away) {
            Outlook::Passed => {
                self.arrive();
                return "as before again: it was a stall";
            }
            Outlook::Open => {
                self.step = Step::Guard(guard);
                return "wait whether that stays";
            }
            Outlook::Stays(shift) => shift,
        };
        self.grounds = vec![("shift", shift)];
        if shift.abs() < self.shift_min() {
            self.watch.settle_at(guard.level + shift);
            self.arrive();
            return "it stays, and is small: the same server on another level";
        }
        let home = self.home;
        let windows: Vec<_> = guard.windows.into_iter().map(|it| (home, it)).collect();
        self.retune(home, &windows, "it stays: another server, look around anew")
    }

    /// Shift below which it is the same server on another level.
    fn shift_min(&self) -> f64 {
        SHIFT_MIN.max(SHIFT_DEVIATIONS * self.watch.deviation())
    }

    fn take_spell(&self, spell: &mut Spell, evidence: &Evidence, away: f64) -> Outlook {
        if self.terrain.now_s - self.busy_s < EXPLAINS_S {
            spell.explain();
        }
        spell.take(self.terrain.now_s, evidence.length_s, away, self.watch.deviation())
    }

    /// Drops what was known of another server. Old windows that count little are not forgotten:
    /// forty of them in one cell outvote the new ones.
    fn retune(
        &mut self,
        home: Cell,
        windows: &[(Cell, Evidence)],
        reason: &'static str,
    ) -> &'static str {
        self.terrain.forget();
        self.scouted.clear();
        for (cell, evidence) in last(windows, KEPT_WINDOWS) {
            self.terrain.learn(*cell, evidence);
        }
        self.search_from(home);
        self.start_star(reason)
    }

    /// Returns what was done if the limit is violated.
    pub(super) fn check_limit(&mut self, evidence: &Evidence) -> Option<&'static str> {
        let limit_s = self.terrain.limit_s?;
        let estimate_s = self.terrain.p99_of_s(evidence.latency_s);
        let exceeds = limit_s < evidence.p99_s && limit_s < estimate_s;
        self.violations = if exceeds { self.violations + 1 } else { 0 };
        let is_far = exceeds && FAR_ABOVE * limit_s < estimate_s;
        if self.violations < VIOLATIONS && !is_far {
            return None;
        }
        self.violations = 0;
        self.arrive();
        let Some(predicted_s) = self.terrain.latency_s(self.home) else {
            self.retreat(self.terrain.grid.offset(self.home, -2, 0));
            return Some("p99 above the limit: half an octave fewer rows");
        };
        let slowdown = evidence.latency_s / predicted_s;
        self.grounds = vec![("slowdown", slowdown), ("p99_ms", evidence.p99_s * 1e3)];
        if slowdown < SLOWDOWN {
            self.fit(Focus::All);
            let best = self.terrain.best(self.home).filter(|it| *it != self.home);
            let down = self.terrain.grid.offset(self.home, -1, 0);
            self.retreat(best.unwrap_or(down));
            return Some("p99 above the limit: the model was wrong, and is fitted anew");
        }
        let model = self.terrain.model.clone().expect("it predicted the latency");
        // Nothing of the model's far corners: what is slow there is the model, not the server.
        let measured = self.terrain.data.cells();
        let known = |it: Cell| {
            (it.workers == self.home.workers || measured.contains(&it))
                && self.terrain.keeps_limit(it, 1.0)
        };
        let mut brace = Brace {
            at: self.home,
            spell: Spell::new(self.terrain.now_s),
            windows: Vec::new(),
            model,
            trusted: self.terrain.trusted().into_iter().filter(|it| known(*it)).collect(),
        };
        brace.windows.push((self.home, *evidence));
        brace.at = self.braced_place(&brace);
        self.step = Step::Brace(Box::new(brace));
        Some("p99 above the limit: the server is slower, keep the limit on it")
    }

    pub(super) fn braced(&mut self, mut brace: Box<Brace>, evidence: &Evidence) -> &'static str {
        brace.windows.push((brace.at, *evidence));
        let predicted_s = brace.model.latency_s(self.terrain.grid.setting(brace.at));
        let slowdown = evidence.latency_s / predicted_s;
        self.grounds = vec![("slowdown", slowdown)];
        match self.take_spell(&mut brace.spell, evidence, -slowdown.ln()) {
            Outlook::Passed => {
                self.arrive();
                self.watch.reset();
                return "as fast as before again: return home";
            }
            Outlook::Stays(shift) if shift.abs() < self.shift_min().max(SLOWDOWN.ln()) => {
                self.arrive();
                self.watch.reset();
                return "it stays, and is small: the same server, return home";
            }
            Outlook::Stays(_) => {
                let reason = "it stays slower: another server, look around anew";
                return self.retune(brace.at, &brace.windows, reason);
            }
            Outlook::Open => (),
        }
        brace.at = self.braced_place(&brace);
        self.step = Step::Brace(brace);
        "keep the limit on the slower server"
    }

    /// The fastest place that keeps the limit on the slower server. Where none does, one that would
    /// if only rows got slower is tried once, if it is near; else what kept the limit a while ago is
    /// held, or home: smaller batches would only cost rows, and once went down to a single one.
    fn braced_place(&self, brace: &Brace) -> Cell {
        let grid = &self.terrain.grid;
        let limit_s = self.terrain.limit_s.expect("braces are about a limit");
        let fastest = |slowdown: Slowdown| {
            let latency_s = |it: &Cell| slowdown.latency_s(&brace.model, grid.setting(*it));
            let keeps = |it: &&Cell| self.terrain.p99_of_s(latency_s(it)) <= BRACE_SHARE * limit_s;
            let rate = |it: &Cell| brace.model.log_rate(grid.setting(*it));
            let keeping = brace.trusted.iter().filter(keeps);
            keeping.max_by(|a, b| rate(a).total_cmp(&rate(b))).copied()
        };
        let tried = || {
            let was_tried = brace.windows.iter().any(|it| it.0 != self.home);
            let slowdown = brace.slowdown_of_rows(grid).filter(|_| !was_tried)?;
            fastest(slowdown).filter(|it| self.home.batch <= it.batch + ROWS_TRIED)
        };
        let held = || {
            let kept = brace.windows.iter().rev().find(|it| it.1.p99_s <= limit_s);
            kept.map_or(self.home, |it| it.0)
        };
        fastest(brace.slowdown(grid)).or_else(tried).unwrap_or_else(held)
    }

    /// Goes home to a place that keeps the limit; to one that nobody has seen, by way of a window
    /// there.
    pub(super) fn retreat(&mut self, to: Cell) {
        if self.terrain.data.cells().contains(&to) {
            self.move_home(to);
        } else {
            self.step = Step::Retreat { to };
        }
    }

    /// Takes in the window at the place retreated to.
    pub(super) fn retreated(&mut self, to: Cell) -> &'static str {
        self.move_home(to);
        "seen: home from now on"
    }

    /// Goes home to another place of the same server.
    fn move_home(&mut self, home: Cell) {
        self.likely = None;
        self.pairs.forget();
        self.watch.moved(self.terrain.gain(home, self.home).unwrap_or(0.0));
        self.home = home;
        self.arrive();
    }

    /// Takes in a window that says nothing about its setting.
    pub(super) fn flawed(&mut self, flaw: Flaw) -> &'static str {
        match flaw {
            Flaw::PushedBack => self.pushed_back(),
            Flaw::ClientBound => self.client_bound(),
            Flaw::Errors => self.failed(),
            Flaw::Mixed | Flaw::Empty => flaw.words(),
        }
    }

    /// Leaves a place where operations fail, window after window: a statement may be too large for
    /// the server. At home, which the first place is, too, it may be the server itself: hold.
    fn failed(&mut self) -> &'static str {
        let at = self.place();
        self.failures += 1;
        if at == self.home || self.failures < FAILURES {
            return Flaw::Errors.words();
        }
        self.leave_alone(at, FAILED_S);
        "operations fail there: not there again for a while"
    }

    /// Goes on without the place under way, which is barred, unless home would be, too.
    fn leave_alone(&mut self, at: Cell, for_s: f64) {
        self.failures = 0;
        if self.home.batch < at.batch || self.home.workers < at.workers {
            self.terrain.bar(at, for_s);
        }
        self.skip();
    }

    fn pushed_back(&mut self) -> &'static str {
        let at = self.place();
        let fewer = self.terrain.grid.step(at, 0, -1);
        // The fewest workers are not barred with all their rows: no place at all would be left.
        if fewer.is_some() {
            self.terrain.bar(Cell { batch: 0, workers: at.workers }, PUSHED_BACK_S);
        }
        if at != self.home {
            match fewer {
                Some(_) => self.skip(),
                None => self.leave_alone(at, PUSHED_BACK_S),
            }
            return "the server pushed back there: not there again for a while";
        }
        let Some(fewer) = fewer else {
            return "the server pushed back, and there is no fewer workers: hold";
        };
        if self.is_settled {
            self.move_home(fewer);
        } else {
            self.home = fewer;
            self.skip();
        }
        "the server pushed back: fewer workers"
    }

    fn client_bound(&mut self) -> &'static str {
        let at = self.place();
        if at == self.home && self.is_settled {
            self.terrain.bar(Cell { batch: at.batch + 1, ..at }, CLIENT_BOUND_S);
            self.terrain.bar(Cell { workers: at.workers + 1, ..at }, CLIENT_BOUND_S);
            self.last_home = None;
            self.away = None;
            self.step = Step::Home;
            return "the client is the limit: no growth";
        }
        self.terrain.bar(at, CLIENT_BOUND_S);
        self.skip();
        "the client was the limit there: not there again for a while"
    }

    /// Goes on without the place under way.
    fn skip(&mut self) {
        match std::mem::replace(&mut self.step, Step::Home) {
            Step::Survey { to_come } => {
                self.surveyed(to_come);
            }
            Step::Ramp { leg, best, .. } => {
                self.next_on_ramp(leg + 1, best.unwrap_or(0.0), "skip");
            }
            Step::Jump { visits, left, .. } => {
                self.jumped(visits, left, self.home);
            }
            Step::Away { .. } => (),
            Step::Home | Step::Retreat { .. } | Step::Guard(_) | Step::Brace(_) => self.arrive(),
        }
    }
}

fn last<T>(values: &[T], count: usize) -> &[T] {
    &values[values.len().saturating_sub(count)..]
}
