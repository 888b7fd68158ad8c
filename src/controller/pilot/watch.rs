//! Notices that the server is not what it was: a cumulative sum of deviations from a level.
//!
//! Page, "Continuous inspection schemes", 1954. The level follows slow drift, and is carried
//! across moves with the difference that the move was to make: a new level at each move would hide
//! a change that comes with one.

use std::collections::VecDeque;

use crate::stats::robust_deviation;

/// Deviation that is no news, in standard deviations a window.
const ALLOWANCE: f64 = 0.8;
/// Most that one window counts.
const DEVIATIONS_MAX: f64 = 5.0;
/// Sums that sound the alarm: a fall is sooner believed than a rise.
const DOWN_ALARM: f64 = 9.0;
const UP_ALARM: f64 = 12.0;
/// Least share of a window in the level.
const FORGET: f64 = 0.03;
/// Deviations beyond which a window is not let into the level.
const LEVEL_DEVIATIONS: f64 = 3.0;
/// Windows that a level is worth that was carried across a move; one that rests on fewer rings no
/// alarm.
const CARRIED_WINDOWS: u32 = 8;
/// Windows that the deviation is taken of, and the least for it.
const DEVIATION_WINDOWS: usize = 80;
const DEVIATION_WINDOWS_MIN: usize = 12;
/// Least and most deviation.
const DEVIATION: (f64, f64) = (0.03, 0.4);

/// Which way the server changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Alarm {
    Down,
    Up,
}

/// The level of the place that is held.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    level: Option<f64>,
    /// Windows in the level.
    windows: u32,
    down: f64,
    up: f64,
    distances: VecDeque<f64>,
    deviation: f64,
    /// The part of its variance that comes from counting.
    counting: f64,
}

impl Default for Watch {
    fn default() -> Watch {
        let distances = VecDeque::new();
        Watch {
            level: None,
            windows: 0,
            down: 0.0,
            up: 0.0,
            distances,
            deviation: 0.12,
            counting: 0.0,
        }
    }
}

impl Watch {
    /// Standard deviation of a window's log rate around its level.
    pub(super) fn deviation(&self) -> f64 {
        self.deviation
    }

    pub(super) fn level(&self) -> Option<f64> {
        self.level
    }

    /// Sets the level anew, of a server that is the same.
    pub(super) fn settle_at(&mut self, level: f64) {
        self.level = Some(level);
        self.reset();
    }

    /// Forgets the sums.
    pub(super) fn reset(&mut self) {
        (self.down, self.up) = (0.0, 0.0);
    }

    /// The place held changed, and with it the log rate by `delta`.
    pub(super) fn moved(&mut self, delta: f64) {
        self.reset();
        self.level = self.level.map(|it| it + delta);
        self.windows = self.windows.min(CARRIED_WINDOWS);
    }

    /// The server is another one.
    pub(super) fn forget(&mut self) {
        self.reset();
        self.level = None;
        self.windows = 0;
    }

    /// Takes in a window, and the variance of it that comes from counting. `predicted` is the level
    /// where there is none yet.
    pub(super) fn take(
        &mut self,
        log_rate: f64,
        counting: f64,
        predicted: Option<f64>,
    ) -> Option<Alarm> {
        let Some(level) = self.level else {
            self.level = Some(predicted.unwrap_or(log_rate));
            self.windows = 0;
            return None;
        };
        let away = log_rate - level;
        self.distances.push_back(away.abs());
        if DEVIATION_WINDOWS < self.distances.len() {
            self.distances.pop_front();
        }
        if DEVIATION_WINDOWS_MIN <= self.distances.len() {
            let distances: Vec<f64> = self.distances.iter().copied().collect();
            self.deviation = robust_deviation(&distances).clamp(DEVIATION.0, DEVIATION.1);
        }
        self.counting += FORGET * (counting - self.counting);
        let excess = (counting - self.counting).max(0.0);
        let z = away / self.deviation.hypot(excess.sqrt());
        self.down = (self.down + (-z).min(DEVIATIONS_MAX) - ALLOWANCE).max(0.0);
        self.up = (self.up + z.min(DEVIATIONS_MAX) - ALLOWANCE).max(0.0);
        let is_new = self.windows < CARRIED_WINDOWS;
        if z.abs() < LEVEL_DEVIATIONS || is_new {
            self.windows = self.windows.saturating_add(1);
            let share = FORGET.max(1.0 / (f64::from(self.windows) + 2.0));
            self.level = Some(level + share * away);
        }
        match () {
            () if is_new => None,
            () if DOWN_ALARM < self.down => Some(Alarm::Down),
            () if UP_ALARM < self.up => Some(Alarm::Up),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows until the alarm, of at most 100, after 30 around 10.0 with a deviation of 0.1.
    fn windows_until_alarm(log_rate: f64) -> Option<(usize, Alarm)> {
        let mut watch = Watch::default();
        let around = [-0.1, 0.05, 0.1, -0.05, 0.0];
        for away in around.iter().cycle().take(30) {
            assert_eq!(watch.take(10.0 + away, 0.0, None), None);
        }
        around.iter().cycle().take(100).enumerate().find_map(|(index, away)| {
            let alarm = watch.take(log_rate + away, 0.0, None)?;
            Some((index + 1, alarm))
        })
    }

    /// A fall of 0.4 at a deviation of 0.1 is z = 4: a window adds 3.2, more or less its own noise
    /// of 1, so that the sum of 9 takes 3 windows, or 4 where they lean up.
    #[test]
    fn a_fall_by_a_third_is_noticed_within_4_windows() {
        let (windows, alarm) = windows_until_alarm(9.6).unwrap();
        assert!(windows <= 4 && alarm == Alarm::Down, "{windows} {alarm:?}");
    }

    #[test]
    fn a_rise_is_noticed_and_noise_is_not() {
        assert_eq!(windows_until_alarm(10.4).unwrap().1, Alarm::Up);
        assert_eq!(windows_until_alarm(10.0), None);
    }

    /// A change that comes with a move is still a change.
    #[test]
    fn the_level_is_carried_across_moves() {
        let mut watch = Watch::default();
        (0..30).for_each(|_| assert_eq!(watch.take(10.0, 0.0, None), None));
        watch.moved(0.05);
        let alarm = (0..5).find_map(|_| watch.take(9.4, 0.0, None));
        assert_eq!(alarm, Some(Alarm::Down));
    }

    /// nosqlbench's detector divides by the variance of a perfectly steady target.
    #[test]
    fn no_variance_is_no_problem() {
        let mut watch = Watch::default();
        (0..200).for_each(|_| assert_eq!(watch.take(10.0, 0.0, None), None));
        assert!(watch.deviation().is_finite());
    }
}
