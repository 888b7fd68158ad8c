//! The one source of time: tokio's clock, so that a paused runtime makes whole runs deterministic.

use std::time::Duration;

pub use tokio::time::Instant;

/// Returns the current instant.
pub fn now() -> Instant {
    Instant::now()
}

/// Waits until `deadline`.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline).await;
}

/// Returns the CPU time, user and system, that this process has used since it started.
///
/// Source: `clock_gettime(CLOCK_PROCESS_CPUTIME_ID)`. Zero where the system has no such clock.
pub fn process_cpu_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .map_or(Duration::ZERO, Duration::from)
}
