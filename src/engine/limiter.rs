//! The sole actuator: how many operations may run, and with which setting they start.
//!
//! A semaphore whose size can be set. Growing takes effect at once, shrinking as permits come
//! back: no operation is ever dropped for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};

use crate::controller::Setting;

/// Holds operations to a setting.
#[derive(Debug)]
pub(crate) struct Limiter {
    semaphore: Semaphore,
    state: Mutex<State>,
    /// Told when the last operation of an earlier setting has ended.
    drained: Notify,
}

/// Invariant: permits out + permits free = `setting.workers + debt`, and `earlier <= started`.
#[derive(Debug)]
struct State {
    setting: Setting,
    /// Counts changes of the setting; every operation carries the epoch that it started under.
    epoch: u64,
    /// Permits that are still out and must be destroyed, not returned.
    debt: u32,
    /// Operations in flight.
    started: u32,
    /// Those of them that started under an earlier setting.
    earlier: u32,
}

/// Leave to run one operation.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    limiter: &'a Limiter,
    /// Epoch that its operation started under.
    epoch: Option<u64>,
}

impl Limiter {
    pub(crate) fn new(setting: Setting) -> Limiter {
        assert!(0 < setting.workers, "no operation could ever run");
        assert!(0 < setting.batch_rows, "an operation carries at least one row");
        Limiter {
            semaphore: Semaphore::new(setting.workers as usize),
            state: Mutex::new(State { setting, epoch: 0, debt: 0, started: 0, earlier: 0 }),
            drained: Notify::new(),
        }
    }

    /// Waits for leave.
    pub(crate) async fn acquire(&self) -> Permit<'_> {
        let permit = self.semaphore.acquire().await.expect("the semaphore is never closed");
        permit.forget();
        Permit { limiter: self, epoch: None }
    }

    /// Returns whether operations of an earlier setting are in flight.
    pub(crate) fn has_earlier(&self) -> bool {
        0 < self.state().earlier
    }

    /// Waits until none is, or goes on at once if that was so since the last time.
    pub(crate) async fn drained(&self) {
        self.drained.notified().await;
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
        state.earlier = state.started;

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

impl Permit<'_> {
    /// Starts its operation: returns the setting to start under, and its epoch.
    pub(crate) fn start(&mut self) -> (Setting, u64) {
        let mut state = self.limiter.state();
        state.started += 1;
        self.epoch = Some(state.epoch);
        (state.setting, state.epoch)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        if let Some(epoch) = self.epoch {
            state.started -= 1;
            if epoch != state.epoch {
                state.earlier -= 1;
                if state.earlier == 0 {
                    self.limiter.drained.notify_one();
                }
            }
        }
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
                    permits.push(limiter.acquire().await);
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

    /// An operation belongs to the setting that it starts under, not to that of its permit.
    #[tokio::test]
    async fn the_last_operation_of_an_earlier_setting_is_noticed() {
        let limiter = Limiter::new(setting(4));
        let (mut a, mut b, mut waiting) =
            (limiter.acquire().await, limiter.acquire().await, limiter.acquire().await);
        a.start();
        b.start();
        limiter.set(setting(3));
        waiting.start();
        assert!(limiter.has_earlier());
        drop(a);
        assert!(limiter.has_earlier());
        limiter.set(setting(2));
        drop(b);
        assert!(limiter.has_earlier(), "the third started under the second of three settings");
        drop(waiting);
        assert!(!limiter.has_earlier());
        limiter.drained().await;
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
