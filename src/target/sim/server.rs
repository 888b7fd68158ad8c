//! The state of a simulated server: who is on it, and when what they asked for is done.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Case, Chance, Mishap, SimSettings, TICK_S, tick};
use crate::{
    clock::{self, Instant},
    rows::{RowRange, RowSet},
    target::{ServerSample, TargetError},
};

/// Numbers drawn for operations do not depend on those for the server and the weather.
const STREAM_OPERATIONS: u64 = 4;
/// Round trips until a session is open: start-up, password, ready.
const CONNECT_ROUND_TRIPS: f64 = 3.0;
/// How long a deadlock lasts until the server ends it: PostgreSQL's `deadlock_timeout`.
const DEADLOCK: Duration = Duration::from_secs(1);
/// The shortest that anything takes: what took no time would never let virtual time go on.
const SHORTEST: Duration = Duration::from_micros(1);

/// What a session asks the server to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Open a session.
    Connect,
    /// Begin a transaction.
    Begin,
    /// Insert rows.
    Insert { rows: u64, commits: bool },
    /// Make a transaction durable.
    Commit,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) settings: SimSettings,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    case: Case,
    blocks: u64,
    /// When the block's second 0 was.
    started: Instant,
    chance: Chance,
    table: RowSet,
    operations: u64,
    in_flight: u32,
    sessions: u32,
}

impl Server {
    pub(super) fn new(settings: SimSettings) -> Server {
        let state = State {
            case: settings.case(0),
            blocks: 0,
            started: clock::now(),
            chance: Chance::new(settings.seed, STREAM_OPERATIONS),
            table: RowSet::default(),
            operations: 0,
            in_flight: 0,
            sessions: 0,
        };
        Server { settings, state: Mutex::new(state) }
    }

    /// Empties the table, and draws the weather of the next block.
    pub(super) fn reset(&self) {
        let mut state = self.state();
        state.case = self.settings.case(state.blocks);
        state.blocks += 1;
        state.operations = 0;
        state.table = RowSet::default();
    }

    /// Starts the clock of the block, with so many sessions open.
    pub(super) fn open(&self, sessions: u32) -> Result<(), TargetError> {
        let mut state = self.state();
        state.started = clock::now();
        let errors = &self.settings.errors;
        let most = errors.sessions_max.filter(|_| errors.sessions_max_from_s <= 0.0);
        if let Some(most) = most.filter(|most| *most < sessions) {
            let message = format!("session {} of {sessions}: {TOO_MANY}", most + 1);
            return Err(TargetError::Connect { message, sqlstate: Some("53300".to_owned()) });
        }
        state.sessions += sessions;
        Ok(())
    }

    /// Opens one session more.
    pub(super) async fn connect(&self) -> Result<(), TargetError> {
        self.take(Step::Connect, None).await?;
        let at_s = self.at_s();
        let mut state = self.state();
        let errors = &self.settings.errors;
        if errors.restart.is_some_and(|it| it.holds(at_s)) {
            let message = "cannot connect to the simulated server: it restarts".to_owned();
            return Err(TargetError::Connect { message, sqlstate: None });
        }
        let most = errors.sessions_max.filter(|_| errors.sessions_max_from_s <= at_s);
        if most.is_some_and(|most| most <= state.sessions) {
            let (sqlstate, message) = ("53300".to_owned(), TOO_MANY.to_owned());
            return Err(TargetError::PushedBack { sqlstate, message });
        }
        state.sessions += 1;
        Ok(())
    }

    pub(super) fn disconnect(&self) {
        self.state().sessions -= 1;
    }

    /// Whether a session that was opened then was ended by a restart since.
    pub(super) fn has_ended(&self, opened: Instant) -> bool {
        let Some(restart) = self.settings.errors.restart else { return false };
        let started = self.state().started;
        let opened_s = opened.saturating_duration_since(started).as_secs_f64();
        opened_s < restart.at_s && restart.at_s <= clock::since(started).as_secs_f64()
    }

    /// Spends the time of a step. Fails if the session that takes it, opened at that moment, is lost.
    pub(super) async fn take(
        &self,
        step: Step,
        opened: Option<Instant>,
    ) -> Result<(), TargetError> {
        let lost = |message: &str| TargetError::ConnectionLost { message: message.to_owned() };
        if opened.is_some_and(|opened| self.has_ended(opened)) {
            clock::sleep(SHORTEST).await;
            return Err(lost(RESTARTED));
        }
        let flight = InFlight::enter(self);
        let (end, is_lost) = self.end_of(step, flight.level, opened.is_some());
        clock::sleep_until(end).await;
        if is_lost {
            return Err(lost(RESTARTED));
        }
        if !matches!(step, Step::Insert { .. }) {
            return Ok(());
        }
        if self.happens(|errors, others| errors.deadlocks * f64::from(others)) {
            clock::sleep(DEADLOCK).await;
            let (sqlstate, message) = ("40P01".to_owned(), "deadlock detected".to_owned());
            return Err(TargetError::PushedBack { sqlstate, message });
        }
        Ok(())
    }

    /// Whether the connection of an operation is lost.
    pub(super) fn is_cut(&self) -> bool {
        self.happens(|errors, _| errors.disconnects)
    }

    /// Counts an operation, and returns what goes wrong with it for certain.
    pub(super) fn mishap(&self) -> Option<Mishap> {
        let mut state = self.state();
        let number = state.operations;
        state.operations += 1;
        self.settings.errors.mishap.filter(|mishap| match mishap {
            Mishap::LostBeforeCommit(at) | Mishap::LostAfterCommit(at) | Mishap::Rejected(at) => {
                *at == number
            }
        })
    }

    pub(super) fn insert(&self, ranges: impl IntoIterator<Item = RowRange>) {
        let mut state = self.state();
        ranges.into_iter().for_each(|range| state.table.insert(range));
    }

    pub(super) fn table(&self) -> RowSet {
        self.state().table.clone()
    }

    /// What the server counts. While it stands still it answers nobody.
    pub(super) async fn sample(&self) -> ServerSample {
        let at_s = self.at_s();
        if let Some(silence) = self.settings.errors.silence.filter(|it| it.holds(at_s)) {
            clock::sleep(Duration::from_secs_f64(silence.end_s() - at_s)).await;
        }
        let checkpoints = self.state().case.weather.stalls_until(at_s) as u64;
        ServerSample { checkpoints, ..ServerSample::default() }
    }

    fn at_s(&self) -> f64 {
        clock::since(self.state().started).as_secs_f64()
    }

    /// Draws whether something happens, by its chance and how many others are in flight.
    fn happens(&self, chance: impl Fn(&super::Errors, u32) -> f64) -> bool {
        let mut state = self.state();
        let others = state.in_flight.saturating_sub(1);
        let chance = chance(&self.settings.errors, others);
        0.0 < chance && state.chance.happens(chance)
    }

    /// When a step that starts now ends, and whether its session is lost then.
    fn end_of(&self, step: Step, in_flight: u32, has_session: bool) -> (Instant, bool) {
        let mut state = self.state();
        let now = clock::now();
        let at_s = now.saturating_duration_since(state.started).as_secs_f64();
        let tail = self.settings.before.tail;
        let share = match 0.0 < tail {
            true => (state.chance.normal() * tail - 0.5 * tail * tail).exp(),
            false => 1.0,
        };
        let mut end_s = self.end_s(&state.case, at_s, step, in_flight, share);
        let restart = self.settings.errors.restart.filter(|_| has_session);
        let is_lost = restart.is_some_and(|it| at_s < it.at_s && it.at_s <= end_s);
        if let Some(restart) = restart.filter(|_| is_lost) {
            end_s = restart.at_s;
        }
        // To the nearest microsecond: the next one would be late on the whole.
        let end = state.started + Duration::from_secs_f64((end_s * 1e6).round() * 1e-6);
        (end.max(now + SHORTEST), is_lost)
    }

    /// Lets a step go on tick by tick, as fast as the weather allows, until all of it is done.
    fn end_s(&self, case: &Case, from_s: f64, step: Step, in_flight: u32, share: f64) -> f64 {
        let silence = self.settings.errors.silence;
        let (mut left, mut at_s) = (share, from_s);
        let mut progress = case.progress(at_s);
        let mut latency_s = latency_s(case, at_s, step, in_flight);
        loop {
            if let Some(silence) = silence.filter(|it| it.holds(at_s)) {
                at_s = silence.end_s();
            }
            if progress < case.progress(at_s) {
                progress = case.progress(at_s);
                latency_s = self::latency_s(case, at_s, step, in_flight);
            }
            let tick = tick(at_s);
            let tick_end_s = (tick + 1) as f64 * TICK_S;
            let silent_s = silence.filter(|it| at_s < it.at_s).map_or(f64::MAX, |it| it.at_s);
            let end_s = tick_end_s.min(silent_s);
            let speed = case.weather.factor(tick) / latency_s;
            let able = speed * (end_s - at_s);
            if left <= able {
                return at_s + left / speed;
            }
            left -= able;
            at_s = end_s;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const TOO_MANY: &str = "sorry, too many clients already";
const RESTARTED: &str = "terminating connection due to administrator command";

/// What a step takes on the whole, without weather.
fn latency_s(case: &Case, at_s: f64, step: Step, in_flight: u32) -> f64 {
    case.between(at_s, |surface| match step {
        Step::Connect => CONNECT_ROUND_TRIPS * surface.round_trip_s,
        Step::Begin => surface.round_trip_s,
        Step::Insert { rows, commits: true } => surface.latency_s(rows, in_flight),
        Step::Insert { rows, commits: false } => surface.latency_uncommitted_s(rows, in_flight),
        Step::Commit => surface.round_trip_s + surface.commit_s(in_flight),
    })
    // A round trip may be 0, but not what is divided by.
    .max(1e-9)
}

/// Counts one step for as long as it lives, even if its future is dropped.
struct InFlight<'a> {
    server: &'a Server,
    level: u32,
}

impl InFlight<'_> {
    fn enter(server: &Server) -> InFlight<'_> {
        let mut state = server.state();
        state.in_flight += 1;
        InFlight { server, level: state.in_flight }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.server.state().in_flight -= 1;
    }
}
