//! Tells a stall, which passes, from another server, which stays.
//!
//! A stall slows all settings alike and leaves the best where it was: to re-tune in one is to tune
//! to it. What is watched is the distance of the log rate from what it was before.

/// How long a fall or a rise has to last to be another server: a checkpoint's stall lasts about
/// 5 s. Where the server itself says why it is slow, it is waited for longer.
const PATIENCE_S: f64 = 7.0;
const PATIENCE_EXPLAINED_S: f64 = 15.0;
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
/// Time after which a distance is no longer on its way to a farther one, and is come back to.
const LASTING_S: f64 = 3.0;
/// Nothing is decided while the mean of this time lies this many deviations of a window from that
/// over the last while: a stall has just begun or ended.
const LATELY_S: f64 = 0.5;
const UNSTEADY_DEVIATIONS: f64 = 3.0;
/// Time that the distance is averaged over in the end.
const SHIFT_S: f64 = 3.0;

/// A spell of another speed.
#[derive(Clone, Debug)]
pub(super) struct Spell {
    spans: Vec<Span>,
    wait: Wait,
    /// Those that began earlier and are not over: a stall may begin on a server that changed, and
    /// when it has passed, the server is still not what it was.
    outer: Vec<Wait>,
    is_explained: bool,
}

/// A wait for the server to be as before.
#[derive(Clone, Copy, Debug)]
struct Wait {
    since_s: f64,
    /// The farthest that the average was, and what it was when the wait began.
    farthest: f64,
    farthest_at_first: f64,
}

impl Wait {
    fn new(since_s: f64, distance: f64) -> Wait {
        Wait { since_s, farthest: distance, farthest_at_first: distance }
    }
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
        let wait = Wait::new(now_s, 0.0);
        Spell { spans: Vec::new(), wait, outer: Vec::new(), is_explained: false }
    }

    /// The server says why: a checkpoint, or autovacuum.
    pub(super) fn explain(&mut self) {
        self.is_explained = true;
    }

    /// Takes in a window that ended now, whose log rate was this far away, where one window
    /// deviates by so much.
    pub(super) fn take(&mut self, now_s: f64, length_s: f64, away: f64, deviation: f64) -> Outlook {
        self.spans.push(Span { length_s, away });
        let Some(mean) = self.mean(BACK_S) else { return Outlook::Open };
        let wait = &mut self.wait;
        wait.farthest = wait.farthest.max(mean.abs());
        if wait.farthest_at_first <= 0.0 {
            wait.farthest_at_first = wait.farthest;
        }
        if GROWTH * wait.farthest_at_first < wait.farthest {
            if LASTING_S <= now_s - wait.since_s {
                self.outer.push(Wait { farthest: wait.farthest_at_first, ..*wait });
            }
            *wait = Wait::new(now_s, wait.farthest);
        }
        let is_within = |mean: Option<f64>, wait: &Wait| {
            let back = (BACK * wait.farthest).max(BACK_DEVIATIONS * deviation);
            mean.is_some_and(|it| it.abs() < back)
        };
        while is_within(Some(mean), &self.wait) {
            let Some(outer) = self.outer.pop() else { return Outlook::Passed };
            self.wait = outer;
        }
        let is_coming = is_within(self.mean(COMING_S), &self.wait);
        let patience_s = if self.is_explained { PATIENCE_EXPLAINED_S } else { PATIENCE_S };
        if now_s - self.wait.since_s < patience_s || is_coming {
            return Outlook::Open;
        }
        let (Some(shift), Some(lately)) = (self.mean(SHIFT_S), self.mean(LATELY_S)) else {
            return Outlook::Open;
        };
        let is_unsteady = UNSTEADY_DEVIATIONS * deviation < (lately - shift).abs();
        if is_unsteady { Outlook::Open } else { Outlook::Stays(shift) }
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
    /// Of a server that says what it does: a checkpoint that takes 12 s is waited for.
    #[test]
    fn what_the_server_explains_is_waited_for_longer() {
        let decided_s = |is_explained: bool| {
            let mut spell = Spell::new(0.0);
            if is_explained {
                spell.explain();
            }
            let windows = (1..).map(|it| 0.25 * f64::from(it));
            let decide = |now_s: &f64| spell.take(*now_s, 0.25, -0.7, 0.1) != Outlook::Open;
            let mut windows = windows.take(100);
            windows.find(decide)
        };
        assert_eq!([false, true].map(decided_s), [Some(7.0), Some(15.0)]);
    }

    /// The server changed, and then there was a stall on top: when that has passed, it is not as
    /// before. Half of the farthest distance gone was once taken for that.
    #[test]
    fn a_stall_on_a_changed_server_leaves_it_changed() {
        let (at_s, outlook) = decide(&[(5.0, -0.9), (5.0, -1.9), (9.0, -0.9)]);
        assert!(matches!(outlook, Outlook::Stays(shift) if shift < -0.8), "{at_s} {outlook:?}");
    }

    /// The wait is over just as a stall begins: a re-tune would be to the stall.
    #[test]
    fn nothing_is_decided_at_the_edge_of_a_stall() {
        let (at_s, outlook) = decide(&[(6.5, -0.9), (5.0, -1.9), (9.0, -0.9)]);
        let is_after = 11.5 < at_s && matches!(outlook, Outlook::Stays(shift) if -1.2 < shift);
        assert!(is_after, "{at_s} {outlook:?}");
    }

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
