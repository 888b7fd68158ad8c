//! What steers a block, when it has steered enough, and what is told of it while it does.

use std::time::Duration;

use crate::{
    controller::{Controller, Decision, Fixed, Policy, Setting},
    measure::WindowSummary,
    plan::CellPlan,
    record::is_resting,
    stats::format::number,
};

/// The reason of a decision that nobody made: the block ends.
pub(super) const ENDS: &str = "the block ends";

/// A controller, which may steer several blocks, one after the other.
pub(super) struct Steering {
    pub(super) helm: Helm,
    pub(super) watch: Watch,
    /// Whose decisions go into the journal; `None` where nothing is decided.
    pub(super) policy: Option<Policy>,
    /// Length of the next block, in place of the cell's.
    pub(super) seconds: Option<f64>,
    /// Whether being told to stop is how its block is to end.
    pub(super) ends_when_told: bool,
    /// Says what changes, a line each, if anybody is to be told.
    pub(super) teller: Option<Teller>,
}

impl Steering {
    /// What the plan of a cell asks for.
    pub(super) fn of(cell: &CellPlan, seed: u64) -> Steering {
        let controller: Box<dyn Controller> = match &cell.controller {
            Some(controller) => controller.controller(seed),
            None => Box::new(Fixed(cell.setting())),
        };
        Steering {
            helm: Helm::new(controller),
            watch: Watch::default(),
            policy: cell.controller.map(|it| it.policy),
            seconds: None,
            ends_when_told: false,
            teller: None,
        }
    }

    /// Returns what the controller would do next, if it may decide anything.
    pub(super) fn first(&self) -> Option<(Policy, Decision)> {
        Some((self.policy?, self.helm.start()))
    }
}

/// The controller, whose clock does not start anew with each block.
pub(super) struct Helm {
    controller: Box<dyn Controller>,
    /// Time that it steered in earlier blocks.
    past: Duration,
    /// End of the last window, all blocks together.
    now: Duration,
    /// When the block's time is up, if it is bounded.
    end: Option<Duration>,
}

impl Helm {
    fn new(controller: Box<dyn Controller>) -> Helm {
        Helm { controller, past: Duration::ZERO, now: Duration::ZERO, end: None }
    }

    /// Another block begins, which may last so many seconds.
    pub(super) fn begin(&mut self, seconds: Option<f64>) {
        self.past = self.now;
        self.end = seconds.map(Duration::from_secs_f64);
    }
}

impl Controller for Helm {
    fn start(&self) -> Decision {
        self.controller.start()
    }

    fn decide(&mut self, window: &WindowSummary) -> Decision {
        if self.end.is_some_and(|end| end < window.start + window.length) {
            // Operations end in it, and none starts: its rate is nobody's.
            return Decision { reason: ENDS, ..self.controller.start() };
        }
        let window = WindowSummary { start: self.past + window.start, ..*window };
        self.now = window.start + window.length;
        self.controller.decide(&window)
    }

    fn search_is_over(&mut self, answer: Option<Setting>) {
        self.controller.search_is_over(answer);
    }
}

/// Notices when a controller has found what it sought.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// How long a controller has to rest for a block to end; never, if `None`.
    pub(super) rest: Option<Duration>,
    /// Since when it rests, and on what.
    resting: Option<(Duration, Setting)>,
    /// The best setting known.
    pub(super) incumbent: Option<Setting>,
}

impl Watch {
    /// Takes in a window and what was decided on it. Returns whether that is enough.
    pub(super) fn take(&mut self, window: &WindowSummary, decision: &Decision) -> bool {
        let incumbent = decision.incumbent;
        self.incumbent = Some(incumbent);
        if !is_resting(decision.state) {
            self.resting = None;
            return false;
        }
        let end = window.start + window.length;
        let since = match self.resting {
            Some((since, on)) if on == incumbent => since,
            _ => end,
        };
        self.resting = Some((since, incumbent));
        self.rest.is_some_and(|rest| rest <= end.saturating_sub(since))
    }

    /// Another block begins.
    pub(super) fn begin(&mut self) {
        self.resting = None;
    }
}

/// Puts changes into words.
#[derive(Clone, Debug, Default)]
pub(super) struct Teller {
    last: Option<(Setting, &'static str)>,
    /// How often the best setting was another one.
    moves: u32,
    past: Duration,
    now: Duration,
}

impl Teller {
    /// Another block begins.
    pub(super) fn begin(&mut self) {
        self.past = self.now;
    }

    /// Takes in a window and what was decided on it. Returns a line if the best setting, or what the
    /// controller is about, is not what it was.
    pub(super) fn take(&mut self, window: &WindowSummary, decision: &Decision) -> Option<String> {
        self.now = self.past + window.start + window.length;
        let Decision { incumbent, state, reason, .. } = decision;
        let before = self.last.replace((*incumbent, state));
        let reason = match before {
            None => "it goes on from here",
            Some(_) if before == self.last => return None,
            Some((setting, _)) => {
                self.moves += u32::from(setting != *incumbent);
                reason
            }
        };
        Some(format!(
            "{:7.1} s  {}  {} rows/s  {state}: {reason}",
            self.now.as_secs_f64(),
            incumbent.words(),
            number(window.rows_per_s().round()),
        ))
    }

    /// What came of it, if there was anything to tell.
    pub(super) fn last_words(&self) -> Option<String> {
        let times = match self.moves {
            0 => "its setting stayed".to_owned(),
            1 => "its setting changed once".to_owned(),
            times => format!("its setting changed {times} times"),
        };
        let (setting, _) = self.last?;
        let (seconds, setting) = (self.now.as_secs_f64(), setting.words());
        Some(format!("Followed for {seconds:.1} s: {times}; it ends with {setting}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Setting = Setting { batch_rows: 100, workers: 4 };
    const THERE: Setting = Setting { batch_rows: 200, workers: 4 };

    fn window(end_s: u64) -> WindowSummary {
        let length = Duration::from_secs(1);
        WindowSummary { start: Duration::from_secs(end_s) - length, length, ..Default::default() }
    }

    /// (end of the window, state, incumbent), and whether it is enough.
    #[test]
    fn a_search_ends_when_its_controller_rests_on_one_setting() {
        let rows = [
            (1, "search", HERE, false),
            (2, "cruise", HERE, false),
            (5, "cruise", HERE, false),
            (6, "cruise", THERE, false),
            (10, "search", THERE, false),
            (11, "cruise", THERE, false),
            (15, "cruise", THERE, false),
            (16, "cruise", THERE, true),
        ];
        let mut watch = Watch { rest: Some(Duration::from_secs(5)), ..Watch::default() };
        for (end_s, state, incumbent, is_enough) in rows {
            let decision = Decision::settle(incumbent, state, "test");
            assert_eq!(watch.take(&window(end_s), &decision), is_enough, "{end_s} s");
        }
        let mut endless = Watch::default();
        let decision = Decision::settle(HERE, "cruise", "test");
        assert!((1..100).all(|end_s| !endless.take(&window(end_s), &decision)));
    }

    #[test]
    fn what_changed_is_told_once_and_counted() {
        let mut teller = Teller::default();
        assert_eq!(teller.last_words(), None);
        let mut tell = |end_s: u64, incumbent: Setting, state: &'static str| {
            teller.take(&window(end_s), &Decision::settle(incumbent, state, "why"))
        };
        let first = tell(1, HERE, "cruise").unwrap();
        assert!(first.contains("100 x 4") && first.ends_with("it goes on from here"), "{first}");
        assert_eq!(tell(2, HERE, "cruise"), None);
        assert!(tell(3, HERE, "guard").unwrap().ends_with("guard: why"));
        assert!(tell(4, THERE, "guard").unwrap().contains("200 x 4"));
        let words = "Followed for 4.0 s: its setting changed once; it ends with 200 x 4.";
        assert_eq!(teller.last_words().as_deref(), Some(words));
    }

    /// A controller that remembers when its windows ended.
    struct Remembers(std::sync::Arc<std::sync::Mutex<Vec<u64>>>);

    impl Controller for Remembers {
        fn start(&self) -> Decision {
            Decision::settle(HERE, "test", "test")
        }

        fn decide(&mut self, window: &WindowSummary) -> Decision {
            self.0.lock().unwrap().push((window.start + window.length).as_secs());
            self.start()
        }
    }

    #[test]
    fn the_clock_goes_on_from_block_to_block() {
        let ends = std::sync::Arc::default();
        let controller = Box::new(Remembers(std::sync::Arc::clone(&ends)));
        let mut helm = Helm::new(controller);
        for seconds in [None, Some(3.0)] {
            helm.begin(seconds);
            // What ends after the block's time is not shown to the controller.
            (1..=3 + u64::from(seconds.is_some()))
                .for_each(|end_s| drop(helm.decide(&window(end_s))));
        }
        assert_eq!(*ends.lock().unwrap(), [1, 2, 3, 4, 5, 6]);
    }
}
