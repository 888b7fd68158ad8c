//! What to do when home is not what it was: stalls, another server, a violated limit, push-back.

use super::{
    Mode, Pilot, Step,
    model::Model,
    spell::{Outlook, Spell},
    watch::Alarm,
};
use crate::controller::{Cell, Evidence, Flaw, Setting};

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
/// Share of the limit that is aimed at on a slower server: nearer than at home, since it passes.
const BRACE_SHARE: f64 = 0.95;
/// How long a place where the server pushed back, or the client was the limit, is left alone.
const PUSHED_BACK_S: f64 = 30.0;
const CLIENT_BOUND_S: f64 = 60.0;
/// Share of the workers that is left after a push-back.
const WORKERS_LEFT: f64 = 0.7;

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
    /// Latency over the predicted one.
    slowdown: f64,
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
        guard.windows.push(*evidence);
        let deviation = self.watch.deviation();
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
        if shift.abs() < SHIFT_MIN.max(SHIFT_DEVIATIONS * deviation) {
            self.watch.settle_at(guard.level + shift);
            self.arrive();
            return "it stays, and is small: the same server on another level";
        }
        let home = self.home;
        let windows: Vec<_> = guard.windows.into_iter().map(|it| (home, it)).collect();
        self.retune(home, &windows, "it stays: another server, look around anew")
    }

    fn take_spell(&self, spell: &mut Spell, evidence: &Evidence, away: f64) -> Outlook {
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
        self.watch.forget();
        self.pairs.forget();
        self.scouted.clear();
        for (cell, evidence) in last(windows, KEPT_WINDOWS) {
            self.terrain.learn(*cell, evidence);
        }
        self.home = home;
        self.mode = Mode::Search;
        self.probes = 0;
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
            self.move_home(self.terrain.grid.offset(self.home, -2, 0));
            return Some("p99 above the limit: half an octave fewer rows");
        };
        let slowdown = evidence.latency_s / predicted_s;
        self.grounds = vec![("slowdown", slowdown), ("p99_ms", evidence.p99_s * 1e3)];
        if slowdown < SLOWDOWN {
            self.fit();
            let best = self.terrain.best(self.home).filter(|it| *it != self.home);
            let down = self.terrain.grid.offset(self.home, -1, 0);
            self.move_home(best.unwrap_or(down));
            return Some("p99 above the limit: the model was wrong, and is fitted anew");
        }
        let model = self.terrain.model.clone().expect("it predicted the latency");
        // Nothing of the model's far corners: what is slow there is the model, not the server.
        let measured = self.terrain.data.cells();
        let known = |it: Cell| it.workers == self.home.workers || measured.contains(&it);
        let mut brace = Brace {
            at: self.home,
            spell: Spell::new(self.terrain.now_s),
            windows: Vec::new(),
            model,
            trusted: self.terrain.trusted().into_iter().filter(|it| known(*it)).collect(),
            slowdown,
        };
        brace.at = self.braced_place(&brace);
        self.step = Step::Brace(Box::new(brace));
        Some("p99 above the limit: the server is slower, keep the limit on it")
    }

    pub(super) fn braced(&mut self, mut brace: Box<Brace>, evidence: &Evidence) -> &'static str {
        brace.windows.push((brace.at, *evidence));
        let setting = self.terrain.grid.setting(brace.at);
        let slowdown = evidence.latency_s / brace.model.latency_s(setting);
        brace.slowdown = f64::midpoint(brace.slowdown, slowdown).max(1.0);
        self.grounds = vec![("slowdown", slowdown)];
        match self.take_spell(&mut brace.spell, evidence, -slowdown.ln()) {
            Outlook::Passed => {
                self.arrive();
                self.watch.reset();
                return "as fast as before again: return home";
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

    /// The fastest place that keeps the limit on the slower server. Where none does it stays:
    /// smaller batches would only cost rows, and once went down to a single one.
    fn braced_place(&self, brace: &Brace) -> Cell {
        let grid = &self.terrain.grid;
        let limit_s = self.terrain.limit_s.expect("braces are about a limit");
        let keeps = |cell: &&Cell| {
            let latency_s = brace.slowdown * brace.model.latency_s(grid.setting(**cell));
            self.terrain.p99_of_s(latency_s) <= BRACE_SHARE * limit_s
        };
        let rate = |cell: &Cell| brace.model.log_rate(grid.setting(*cell));
        let keeping = brace.trusted.iter().filter(keeps);
        keeping.max_by(|a, b| rate(a).total_cmp(&rate(b))).copied().unwrap_or(brace.at)
    }

    /// Goes home to another place of the same server.
    fn move_home(&mut self, home: Cell) {
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
            Flaw::Mixed | Flaw::Errors | Flaw::Empty => flaw.words(),
        }
    }

    fn pushed_back(&mut self) -> &'static str {
        let at = self.place();
        if at.workers == 0 {
            return "the server pushed back, and there is no fewer workers: hold";
        }
        self.terrain.bar(Cell { batch: 0, workers: at.workers }, PUSHED_BACK_S);
        if at == self.home {
            self.lower_home();
            return "the server pushed back: fewer workers";
        }
        self.skip();
        "the server pushed back there: not there again for a while"
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0.7 of a count")]
    fn lower_home(&mut self) {
        let grid = &self.terrain.grid;
        let Setting { batch_rows, workers } = grid.setting(self.home);
        let workers = (WORKERS_LEFT * f64::from(workers)).floor().max(1.0) as u32;
        let nearest = grid.nearest(Setting { batch_rows, workers });
        // Both a probe's way back and the grid's next place might be no fewer.
        let home = Cell { workers: nearest.workers.min(self.home.workers - 1), ..self.home };
        if self.is_settled {
            self.move_home(home);
        } else {
            self.home = home;
            self.skip();
        }
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
            Step::Home | Step::Guard(_) | Step::Brace(_) => self.arrive(),
        }
    }
}

fn last<T>(values: &[T], count: usize) -> &[T] {
    &values[values.len().saturating_sub(count)..]
}
