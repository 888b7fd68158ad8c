//! Ctrl-C and SIGTERM: the first asks the run to stop, a second ends it at once.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Exit;

/// What signals have said so far.
#[derive(Clone, Debug)]
pub(super) struct Signals {
    /// Cancelled by the first signal.
    pub(super) stop: CancellationToken,
    /// Cancelled by the second.
    pub(super) abort: CancellationToken,
    first: Arc<AtomicU8>,
}

const INTERRUPT: u8 = 1;
const TERMINATE: u8 = 2;

impl Signals {
    /// Starts to listen. Needs a runtime.
    pub(super) fn listen() -> std::io::Result<Signals> {
        let signals = Signals {
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            first: Arc::default(),
        };
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let told = signals.clone();
        tokio::spawn(async move {
            loop {
                let which = tokio::select! {
                    _ = interrupt.recv() => INTERRUPT,
                    _ = terminate.recv() => TERMINATE,
                };
                if told.stop.is_cancelled() {
                    told.abort.cancel();
                }
                // Only the first decides the exit code.
                if !told.stop.is_cancelled() {
                    told.first.store(which, Ordering::Relaxed);
                }
                told.stop.cancel();
            }
        });
        Ok(signals)
    }

    /// Returns the exit that the first signal asks for, if there was one, having said what it cut short:
    /// where nothing was measured, nothing else would say it.
    pub(super) fn cut_short(&self, what: &anyhow::Error) -> Option<Exit> {
        let exit = self.exit()?;
        super::complain(what);
        Some(exit)
    }

    /// Returns the exit that the first signal asks for, if there was one.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self.first.load(Ordering::Relaxed) {
            INTERRUPT => Some(Exit::Interrupted),
            TERMINATE => Some(Exit::Terminated),
            _ => None,
        }
    }
}
