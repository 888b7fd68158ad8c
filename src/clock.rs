//! The one source of time: tokio's clock, so that a paused runtime makes whole runs deterministic.
//!
//! Tokio's timers count whole milliseconds, which is more than a fast insert takes. In virtual time
//! each of them therefore stands for a microsecond: [`now`] and the waits below translate, and
//! nothing else may ask tokio what time it is.

use std::{cell::Cell, time::Duration};

pub use tokio::time::{Instant, error::Elapsed};

/// Tokio's time that a span of virtual time takes: a millisecond for a microsecond.
const STRETCH: u32 = 1_000;

thread_local! {
    /// When virtual time began on this thread, if it did.
    static VIRTUAL_SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Returns the current instant.
#[expect(clippy::disallowed_methods, reason = "the one place that asks tokio")]
pub fn now() -> Instant {
    let now = Instant::now();
    match VIRTUAL_SINCE.get() {
        None => now,
        Some(start) => start + (now - start) / STRETCH,
    }
}

/// Returns how long ago `start` was.
pub fn since(start: Instant) -> Duration {
    now().saturating_duration_since(start)
}

/// Waits until `deadline`. As precise as tokio's timers; in virtual time to the microsecond.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(match VIRTUAL_SINCE.get() {
        None => deadline,
        Some(start) => start + deadline.saturating_duration_since(start) * STRETCH,
    })
    .await;
}

/// Waits for as long as `duration`.
pub async fn sleep(duration: Duration) {
    sleep_until(now() + duration).await;
}

/// Waits for `future`, but no longer than `limit`.
///
/// # Errors
///
/// [`Elapsed`] if it did not end in time.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let stretch = if VIRTUAL_SINCE.get().is_some() { STRETCH } else { 1 };
    tokio::time::timeout(limit * stretch, future).await
}

/// Runs a future in virtual time, on a runtime of its own on this thread: waits end at once, in
/// order.
///
/// # Errors
///
/// Those of building the runtime.
pub fn run_virtual<F: Future>(future: F) -> std::io::Result<F::Output> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build()?;
    // Also when the future panics: a later run on this thread may be in real time.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            VIRTUAL_SINCE.set(None);
        }
    }
    let _leave = Leave;
    Ok(runtime.block_on(async {
        // Not stretched yet: tokio's own present.
        VIRTUAL_SINCE.set(Some(now()));
        future.await
    }))
}

/// Which time a run is in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Time {
    /// The system's: waits are as precise as its timers.
    Real,
    /// Tokio's, paused: waits end at once, in order.
    Virtual,
}

/// Waits for instants, one after the other.
///
/// Tokio's own timers count whole milliseconds, which an open loop would book as latency. Where the
/// system has timers that can be waited for like sockets (Linux's timerfd), those are used.
#[derive(Debug)]
pub struct Alarm {
    #[cfg(target_os = "linux")]
    timer: Option<tokio::io::unix::AsyncFd<Timer>>,
}

impl Alarm {
    /// Creates an alarm. Without a timer to be had, it falls back on tokio's.
    pub fn new(time: Time) -> Alarm {
        #[cfg(target_os = "linux")]
        return Alarm {
            timer: match time {
                Time::Real => Timer::register(),
                Time::Virtual => None,
            },
        };
        #[cfg(not(target_os = "linux"))]
        Alarm {}
    }

    /// Waits until `deadline`.
    pub async fn wait_until(&mut self, deadline: Instant) {
        #[cfg(target_os = "linux")]
        if let Some(timer) = &self.timer
            && timer.get_ref().set(deadline.saturating_duration_since(now())).is_some()
            && let Ok(mut ready) = timer.readable().await
        {
            ready.clear_ready();
            return;
        }
        sleep_until(deadline).await;
    }
}

/// A timerfd, in the shape that tokio waits for.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Timer(nix::sys::timerfd::TimerFd);

#[cfg(target_os = "linux")]
impl Timer {
    #[allow(deprecated, reason = "its heir is unsafe; the descriptor is owned and never swapped")]
    fn register() -> Option<tokio::io::unix::AsyncFd<Timer>> {
        use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK).ok()?;
        tokio::io::unix::AsyncFd::new(Timer(timer)).ok()
    }

    /// Rings once after `wait`. Setting it anew takes back a ring that nobody has read.
    fn set(&self, wait: Duration) -> Option<()> {
        use nix::sys::{
            time::TimeSpec,
            timerfd::{Expiration, TimerSetTimeFlags},
        };
        // Zero would switch it off.
        let wait = TimeSpec::from_duration(wait.max(Duration::from_nanos(1)));
        self.0.set(Expiration::OneShot(wait), TimerSetTimeFlags::empty()).ok()
    }
}

#[cfg(target_os = "linux")]
impl std::os::fd::AsRawFd for Timer {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsFd as _;
        self.0.as_fd().as_raw_fd()
    }
}

/// Returns the CPU time, user and system, that this process has used since it started.
///
/// Source: `clock_gettime(CLOCK_PROCESS_CPUTIME_ID)`. Zero where the system has no such clock, and in
/// virtual time, in which computing takes no time.
pub fn process_cpu_time() -> Duration {
    if VIRTUAL_SINCE.get().is_some() {
        return Duration::ZERO;
    }
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .map_or(Duration::ZERO, Duration::from)
}

/// Returns the CPU time of the threads that run the workers: of this thread alone if it is the only
/// one, else of the whole process, the builder of rows included.
pub fn worker_cpu_time(threads: u32) -> Duration {
    if 1 < threads || VIRTUAL_SINCE.get().is_some() {
        return process_cpu_time();
    }
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_counts_microseconds_and_ends_with_its_future() {
        let waits = [1, 250, 1_000_000, 3_600_000_000].map(Duration::from_micros);
        let lasted = run_virtual(async {
            let start = now();
            for wait in waits {
                let before = now();
                sleep(wait).await;
                assert_eq!(since(before), wait);
            }
            assert!(timeout(Duration::from_micros(7), std::future::pending::<()>()).await.is_err());
            since(start)
        });
        assert_eq!(lasted.unwrap(), waits.iter().sum::<Duration>() + Duration::from_micros(7));
        assert!(!process_cpu_time().is_zero(), "the thread is in real time again");
    }
}
