//! Tells a stall, which passes, from another server, which stays.
//!
//! A stall slows all settings alike and leaves the best where it was: to re-tune in one is to tune
//! to it. What is watched is the distance of the log rate from what it was before.

/// How long a fall or a rise has to last to be another server: a checkpoint's stall lasts about
/// 5 s.
const PATIENCE_S: f64 = 7.0;
/// Time that the distance is averaged over to tell whether it is gone, and the shorter one in which
/// it may be going: the mood of half a second says little.
const BACK_S: f64 = 2.0;
const COMING_S: f64 = 1.0;
/// Share of the farthest distance that has to be gone.
const BACK: f64 = 0.5;
/// Deviations of a window within which there is no distance at all.
const BACK_DEVIATIONS: f64 = 0.5;
/// Growth of the distance that starts the wait anew: it began before the stall did.
const GROWTH: f64 = 1.5;
/// Time that the distance is averaged over in the end.
const SHIFT_S: f64 = 3.0;

/// A spell of another speed.
#[derive(Clone, Debug)]
pub(super) struct Spell {
    since_s: f64,
    spans: Vec<Span>,
    /// The farthest that the average was, and what it was when the wait began.
    farthest: f64,
    farthest_at_first: f64,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    length_s: f64,
    away: f64,
}

/// What a spell has come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outlook {
    /// It is too early to tell.
    Open,
    /// The server is as before.
    Passed,
    /// It is another server, this far away.
    Stays(f64),
}

impl Spell {
    pub(super) fn new(now_s: f64) -> Spell {
        Spell { since_s: now_s, spans: Vec::new(), farthest: 0.0, farthest_at_first: 0.0 }
    }

    /// Takes in a window that ended now, whose log rate was this far away, where one window
    /// deviates by so much.
    pub(super) fn take(&mut self, now_s: f64, length_s: f64, away: f64, deviation: f64) -> Outlook {
        self.spans.push(Span { length_s, away });
        let Some(mean) = self.mean(BACK_S) else { return Outlook::Open };
        self.farthest = self.farthest.max(mean.abs());
        if self.farthest_at_first <= 0.0 {
            self.farthest_at_first = self.farthest;
        }
        if GROWTH * self.farthest_at_first < self.farthest {
            self.since_s = now_s;
            self.farthest_at_first = self.farthest;
        }
        let back = (BACK * self.farthest).max(BACK_DEVIATIONS * deviation);
        let is_within = |mean: Option<f64>| mean.is_some_and(|it| it.abs() < back);
        if is_within(Some(mean)) {
            return Outlook::Passed;
        }
        if now_s - self.since_s < PATIENCE_S || is_within(self.mean(COMING_S)) {
            return Outlook::Open;
        }
        self.mean(SHIFT_S).map_or(Outlook::Open, Outlook::Stays)
    }

    /// The mean distance over the last while; `None` if the spell is not as long.
    fn mean(&self, over_s: f64) -> Option<f64> {
        let (mut length_s, mut sum) = (0.0, 0.0);
        for span in self.spans.iter().rev() {
            sum += span.length_s * span.away;
            length_s += span.length_s;
            if over_s <= length_s + 1e-9 {
                return Some(sum / length_s);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of 250 ms with these distances, each for so many seconds: when it was decided, and
    /// how.
    fn decide(parts: &[(f64, f64)]) -> (f64, Outlook) {
        let mut spell = Spell::new(0.0);
        let mut now_s = 0.0;
        for (length_s, away) in parts {
            let end_s = now_s + length_s;
            while now_s < end_s {
                now_s += 0.25;
                match spell.take(now_s, 0.25, *away, 0.1) {
                    Outlook::Open => (),
                    outlook => return (now_s, outlook),
                }
            }
        }
        (now_s, Outlook::Open)
    }

    #[test]
    fn a_stall_passes_and_another_server_stays() {
        let (at_s, outlook) = decide(&[(5.0, -0.7), (5.0, 0.0)]);
        assert!(outlook == Outlook::Passed && (5.75..=6.75).contains(&at_s), "{at_s} {outlook:?}");
        assert_eq!(decide(&[(9.0, -0.7)]).0.to_bits(), 7.0_f64.to_bits());
        assert!(matches!(decide(&[(9.0, 0.3)]).1, Outlook::Stays(shift) if 0.29 < shift));
    }

    /// After a stall the mood is rarely what it was before: two false re-tunes of three were that.
    #[test]
    fn a_stall_that_leaves_a_mood_behind_passes() {
        assert_eq!(decide(&[(5.0, -0.7), (5.0, -0.2)]).1, Outlook::Passed);
    }

    #[test]
    fn one_that_is_on_its_way_back_is_waited_for() {
        assert_eq!(decide(&[(6.25, -0.7), (5.0, 0.0)]).1, Outlook::Passed);
    }

    /// The alarm was noise, and 4 s later comes a stall of 5 s.
    #[test]
    fn a_stall_within_the_wait_gets_a_wait_of_its_own() {
        assert_eq!(decide(&[(4.0, -0.15), (5.0, -0.7), (5.0, 0.0)]).1, Outlook::Passed);
    }
}
