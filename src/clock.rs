//! The one source of time: tokio's clock, so that a paused runtime makes whole runs deterministic.

use std::time::Duration;

pub use tokio::time::Instant;

/// Returns the current instant.
pub fn now() -> Instant {
    Instant::now()
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
        tokio::time::sleep_until(deadline).await;
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
/// Source: `clock_gettime(CLOCK_PROCESS_CPUTIME_ID)`. Zero where the system has no such clock.
pub fn process_cpu_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .map_or(Duration::ZERO, Duration::from)
}

/// Returns the CPU time of the threads that run the workers: of this thread alone if it is the only
/// one, else of the whole process, the builder of rows included.
pub fn worker_cpu_time(threads: u32) -> Duration {
    if 1 < threads {
        return process_cpu_time();
    }
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(Duration::ZERO, Duration::from)
}
