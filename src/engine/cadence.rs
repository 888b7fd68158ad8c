//! When a window ends.
//!
//! **Invariant:** pure: moments are offsets from the block's start.

use std::time::Duration;

use crate::controller::Wish;

/// Share of a slice after which a window that says nothing may end: many would follow one another at
/// once, and a whole slice went to each place whose statement the sessions had to prepare.
const SHORTEST: u32 = 5;
/// Longest window that a controller waits for: after it, it hears that the server does not answer.
const WINDOW_MAX: Duration = Duration::from_secs(10);

/// The window under way, and what it is waiting for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cadence {
    /// Length of a window that nobody has a wish for.
    slice: Duration,
    start: Duration,
    wish: Wish,
    /// Whether operations of an earlier setting are in flight: the window ends with the last one,
    /// says nothing about either setting, and is soon over.
    is_draining: bool,
}

/// What a window has seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SoFar {
    /// Operations that ended well in it.
    pub(super) operations: u64,
    /// Whether it mixes settings, or holds operations that had to be made ready.
    pub(super) is_mixed: bool,
    /// Whether operations of an earlier setting are in flight.
    pub(super) has_earlier: bool,
}

impl Cadence {
    /// Starts the first window of a block, at its start.
    pub(super) fn new(slice: Duration, wish: Wish) -> Cadence {
        Cadence { slice, start: Duration::ZERO, wish, is_draining: false }
    }

    /// Starts the next window.
    pub(super) fn begin(&mut self, start: Duration, wish: Wish, is_draining: bool) {
        *self = Cadence { slice: self.slice, start, wish, is_draining };
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Operations that are waited for; `None` if time alone decides.
    pub(super) fn operations_wanted(&self) -> Option<u64> {
        let counts = !self.is_draining && self.wish != Wish::NONE;
        counts.then_some(self.wish.operations.max(1))
    }

    /// The next moment at which the window may end though nothing happens.
    pub(super) fn next_look(&self, now: Duration) -> Duration {
        let last = self.start + WINDOW_MAX;
        if self.wish == Wish::NONE && !self.is_draining {
            return self.slice_end();
        }
        let looks = if self.is_draining { [last; 2] } else { [self.shortest(), self.least()] };
        looks.into_iter().filter(|look| now < *look).min().unwrap_or(last)
    }

    /// Whether the window ends now.
    pub(super) fn is_over(&self, now: Duration, so_far: SoFar) -> bool {
        if self.is_draining {
            return !so_far.has_earlier || self.start + WINDOW_MAX <= now;
        }
        let Some(wanted) = self.operations_wanted() else { return self.slice_end() <= now };
        self.start + WINDOW_MAX <= now
            || (self.least() <= now && wanted <= so_far.operations)
            || (self.shortest() <= now && so_far.is_mixed)
    }

    /// Slices lie on a grid, so that a late one does not push all others: the next place that leaves
    /// at least half a slice.
    fn slice_end(&self) -> Duration {
        let slices = (self.start + self.slice / 2).as_nanos().div_ceil(self.slice.as_nanos());
        self.slice * u32::try_from(slices.max(1)).unwrap_or(u32::MAX)
    }

    /// The end of the length wished for.
    fn least(&self) -> Duration {
        self.start + self.wish.length.min(WINDOW_MAX)
    }

    /// What says nothing anyhow ends soon.
    fn shortest(&self) -> Duration {
        self.least().min(self.start + self.slice / SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn so_far(operations: u64, is_mixed: bool) -> SoFar {
        SoFar { operations, is_mixed, has_earlier: false }
    }

    #[test]
    fn without_a_wish_windows_are_slices_on_a_grid() {
        let mut cadence = Cadence::new(ms(250), Wish::NONE);
        // Start of the window, and where it ends: the second began a little late, the third by a
        // stall.
        for (start, end) in [(0, 250), (251, 500), (700, 1_000), (1_000, 1_250)] {
            cadence.begin(ms(start), Wish::NONE, false);
            assert_eq!(cadence.next_look(ms(start)), ms(end));
            assert!(!cadence.is_over(ms(end - 1), so_far(9, true)));
            assert!(cadence.is_over(ms(end), so_far(0, false)), "an empty one ends too");
        }
        assert_eq!(cadence.operations_wanted(), None);
    }

    /// A wish of 400 ms and 3 operations from 1 s on: (now, operations, mixed, over).
    #[test]
    fn a_wish_is_met_to_the_moment() {
        let mut cadence = Cadence::new(ms(250), Wish::NONE);
        cadence.begin(ms(1_000), Wish { length: ms(400), operations: 3 }, false);
        let rows = [
            (1_399, 9, false, false, "too short"),
            (1_400, 3, false, true, "long and full enough"),
            (1_400, 2, false, false, "too few operations"),
            (1_049, 9, true, false, "mixed, and only just begun"),
            (1_050, 9, true, true, "mixed"),
            (10_999, 0, false, false, "something may come"),
            (11_000, 0, false, true, "nothing will come"),
        ];
        for (now, operations, is_mixed, expected, why) in rows {
            assert_eq!(cadence.is_over(ms(now), so_far(operations, is_mixed)), expected, "{why}");
        }
        let looks = [1_000, 1_050, 1_400].map(|now| cadence.next_look(ms(now)));
        assert_eq!(looks, [ms(1_050), ms(1_400), ms(11_000)]);
        assert_eq!(cadence.operations_wanted(), Some(3));
    }

    #[test]
    fn a_window_that_drains_ends_with_the_last_earlier_operation() {
        let mut cadence = Cadence::new(ms(250), Wish::NONE);
        cadence.begin(ms(1_000), Wish::of_ms(250), true);
        let earlier = SoFar { has_earlier: true, ..SoFar::default() };
        assert!(!cadence.is_over(ms(9_000), earlier) && cadence.is_over(ms(11_000), earlier));
        assert!(cadence.is_over(ms(1_001), so_far(1, true)));
        assert_eq!(cadence.next_look(ms(1_000)), ms(11_000));
        assert_eq!(cadence.operations_wanted(), None);
    }
}
