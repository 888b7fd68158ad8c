//! Plays a controller on a simulated server through the engine: operation by operation, in virtual
//! time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{ArenaError, CONTROLLER_SEED, Path, Segment};
use crate::{
    clock::{self, Time},
    controller::{Bounds, Controller, Decision, RETUNE, Setting},
    engine::{self, BlockSpec},
    measure::WindowSummary,
    plan::{CellPlan, OnError, Pace, Stop, Transaction},
    rows::Generator,
    strategy::Strategy,
    target::{
        PoolSettings,
        sim::{SimSettings, SimTarget},
    },
};

/// Length of a window that nobody has a wish for.
const WINDOW: Duration = Duration::from_millis(250);
/// No session is waited for longer.
const ACQUIRE_TIMEOUT_MS: u64 = 60_000;

/// What came of it: the windows that the engine made, and the path through them.
#[derive(Clone, Debug)]
pub struct Live {
    /// As they were measured, those that mix settings too.
    pub windows: Vec<WindowSummary>,
    /// What was in force when.
    pub path: Path,
}

/// Plays for so many seconds of virtual time.
///
/// # Errors
///
/// A runtime that cannot be started, and a server that lets nobody in at first.
pub fn play(
    server: &SimSettings,
    seconds: f64,
    controller: &mut dyn Controller,
) -> Result<Live, ArenaError> {
    let first = controller.start().setting;
    let cell = cell(first, seconds);
    let path = Path { segments: Vec::new(), incumbent: first, retunes_s: Vec::new() };
    let mut live = Live { windows: Vec::new(), path };
    let mut before = first;
    let mut state = controller.start().state;
    let mut on_window = |window: &WindowSummary, decision: &Decision| {
        let setting = Setting { batch_rows: window.batch_rows, workers: window.workers };
        let segment = Segment {
            start_s: window.start.as_secs_f64(),
            length_s: window.length.as_secs_f64(),
            before: if window.mixed { before } else { setting },
            setting,
        };
        if decision.state == RETUNE && state != RETUNE {
            live.path.retunes_s.push((window.start + window.length).as_secs_f64());
        }
        state = decision.state;
        live.path.segments.push(segment);
        live.path.incumbent = decision.incumbent;
        live.windows.push(*window);
        before = setting;
    };
    let spec = BlockSpec {
        cell: &cell,
        seed: server.seed.wrapping_add(CONTROLLER_SEED),
        window: WINDOW,
        client_threads: 1,
        generator: &Generator::article_user(server.seed),
        time: Time::Virtual,
    };
    let stop = CancellationToken::new();
    let outcome = clock::run_virtual(async {
        let target = SimTarget::new(server.clone());
        engine::run_block(&target, spec, controller, &stop, &mut on_window).await
    });
    outcome.map_err(ArenaError::Runtime)?.map_err(ArenaError::Server)?;
    Ok(live)
}

/// A cell that may go wherever its controller wants.
fn cell(first: Setting, seconds: f64) -> CellPlan {
    let sessions = Bounds::WIDE.workers().1;
    CellPlan {
        name: "live".to_owned(),
        strategy: Strategy::CopyBinary,
        batch_rows: first.batch_rows,
        workers: first.workers,
        controller: None,
        transaction: Transaction::Autocommit,
        returning: false,
        prepared: true,
        on_error: OnError::Collect,
        pace: Pace::Closed,
        stop: Stop { rows: None, seconds: Some(seconds) },
        warm_up_s: 0.0,
        pool: PoolSettings {
            size_max: sessions,
            // Opening a session is no part of what the arena scores.
            idle_min: sessions,
            acquire_timeout_ms: ACQUIRE_TIMEOUT_MS,
            idle_timeout_ms: ACQUIRE_TIMEOUT_MS,
        },
    }
}
