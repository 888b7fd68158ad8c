//! The sole actuator: how many operations may run, and with which setting they start.
//!
//! A semaphore whose size can be set. Growing takes effect at once, shrinking as permits come
//! back: no operation is ever dropped for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::controller::Setting;

/// Holds operations to a setting.
#[derive(Debug)]
pub(crate) struct Limiter {
    semaphore: Semaphore,
    state: Mutex<State>,
}

/// Invariant: permits out + permits free = `setting.workers + debt`.
#[derive(Debug)]
struct State {
    setting: Setting,
    /// Counts changes of the setting; every operation carries the epoch that it started under.
    epoch: u64,
    /// Permits that are still out and must be destroyed, not returned.
    debt: u32,
}

/// Leave to run one operation.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    limiter: &'a Limiter,
}

impl Limiter {
    pub(crate) fn new(setting: Setting) -> Limiter {
        assert!(0 < setting.workers, "no operation could ever run");
        assert!(0 < setting.batch_rows, "an operation carries at least one row");
        Limiter {
            semaphore: Semaphore::new(setting.workers as usize),
            state: Mutex::new(State { setting, epoch: 0, debt: 0 }),
        }
    }

    /// Waits for leave, and returns it with the setting to start under and its epoch.
    pub(crate) async fn acquire(&self) -> (Permit<'_>, Setting, u64) {
        let permit = self.semaphore.acquire().await.expect("the semaphore is never closed");
        permit.forget();
        let (setting, epoch) = self.current();
        (Permit { limiter: self }, setting, epoch)
    }

    /// Returns the setting in force and its epoch.
    pub(crate) fn current(&self) -> (Setting, u64) {
        let state = self.state();
        (state.setting, state.epoch)
    }

    /// Puts a setting into force for the operations that start from now on.
    pub(crate) fn set(&self, setting: Setting) {
        assert!(0 < setting.workers && 0 < setting.batch_rows, "a controller stays within bounds");
        let mut state = self.state();
        if state.setting == setting {
            return;
        }
        let grown = setting.workers.saturating_sub(state.setting.workers);
        let shrunk = state.setting.workers.saturating_sub(setting.workers);
        state.setting = setting;
        state.epoch += 1;

        let repaid = grown.min(state.debt);
        state.debt -= repaid;
        self.semaphore.add_permits((grown - repaid) as usize);

        let forgotten = self.semaphore.forget_permits(shrunk as usize);
        state.debt += shrunk - u32::try_from(forgotten).expect("forgot at most `shrunk`");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        match state.debt {
            0 => self.limiter.semaphore.add_permits(1),
            _ => state.debt -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(workers: u32) -> Setting {
        Setting { batch_rows: 1, workers }
    }

    /// Every path of three grow or shrink steps, with some permits out, ends at the last limit.
    #[tokio::test]
    async fn free_and_held_permits_add_up_to_the_limit() {
        for held in 0..4 {
            for (a, b, c) in triples(1..5) {
                let limiter = Limiter::new(setting(4));
                let mut permits = Vec::new();
                for _ in 0..held {
                    permits.push(limiter.acquire().await.0);
                }
                for workers in [a, b, c] {
                    limiter.set(setting(workers));
                }
                permits.clear();
                assert_eq!(limiter.semaphore.available_permits(), c as usize, "{held} {a} {b} {c}");
                assert_eq!(limiter.state().debt, 0);
            }
        }
    }

    #[test]
    fn only_a_change_starts_an_epoch() {
        let limiter = Limiter::new(setting(4));
        limiter.set(setting(4));
        assert_eq!(limiter.current(), (setting(4), 0));
        limiter.set(Setting { batch_rows: 7, workers: 4 });
        assert_eq!(limiter.current(), (Setting { batch_rows: 7, workers: 4 }, 1));
    }

    fn triples(range: std::ops::Range<u32>) -> Vec<(u32, u32, u32)> {
        let mut all = Vec::new();
        for a in range.clone() {
            for b in range.clone() {
                for c in range.clone() {
                    all.push((a, b, c));
                }
            }
        }
        all
    }
}
