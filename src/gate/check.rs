//! A check from its first pair to its outcome: a session, and where it fails a second one.

use serde::{Deserialize, Serialize};

use super::{
    Confirmation, Evidence, Fault, Metric, Options, Pair, Rule, Session, session::Judgement,
};

/// A check under way.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Check {
    rule: Rule,
    /// One, or two after a failure that is to be confirmed.
    sessions: Vec<Session>,
    decision: Option<Decision>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Run the next pair.
    GoOn,
    /// Start anew, with new connections and tables, the other arm first; then run the next pair.
    Confirm,
    /// No pair is needed any more.
    Done,
}

/// What the pairs alone say.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Pass,
    Fail(Vec<Metric>),
    Inconclusive(Undecided),
}

/// What a check says.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Head is not worse by more than the tolerances.
    Pass,
    /// Head is worse by more than the margin in these metrics.
    Fail(Vec<Metric>),
    /// Neither could be proven.
    Inconclusive(Undecided),
    /// What was measured must not be judged, for these reasons.
    Invalid(Vec<Fault>),
}

/// An outcome in one word; the worst last.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// See [`Outcome::Pass`].
    Pass,
    /// See [`Outcome::Inconclusive`].
    Inconclusive,
    /// See [`Outcome::Fail`].
    Fail,
    /// See [`Outcome::Invalid`].
    Invalid,
}

impl Outcome {
    /// The outcome in one word.
    pub fn conclusion(&self) -> Conclusion {
        match self {
            Outcome::Pass => Conclusion::Pass,
            Outcome::Inconclusive(_) => Conclusion::Inconclusive,
            Outcome::Fail(_) => Conclusion::Fail,
            Outcome::Invalid(_) => Conclusion::Invalid,
        }
    }
}

impl Conclusion {
    /// In capitals, as it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Conclusion::Pass => "PASS",
            Conclusion::Inconclusive => "INCONCLUSIVE",
            Conclusion::Fail => "FAIL",
            Conclusion::Invalid => "INVALID",
        }
    }
}

/// Why nothing could be proven.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Undecided {
    /// The last look neither failed nor passed.
    LastLook,
    /// A first session failed, and a fresh one did not fail in the same metric.
    NotReproduced,
    /// It was stopped before its end.
    Stopped,
}

impl Check {
    /// Starts a check.
    pub fn new(rule: Rule) -> Check {
        Check { sessions: vec![Session::first(&rule)], rule, decision: None }
    }

    /// Takes the next pair of the session under way.
    pub fn push(&mut self, pair: Pair) -> Step {
        assert!(self.decision.is_none(), "the check is over");
        let is_first = self.sessions.len() == 1;
        let session = self.sessions.last_mut().expect("a check has a session");
        let Some(judgement) = session.push(pair) else { return Step::GoOn };
        let failed = session.failed();
        let decision = match judgement {
            Judgement::Fail if is_first && self.rule.confirmation != Confirmation::Off => {
                self.sessions.push(Session::confirming(&self.rule, failed));
                return Step::Confirm;
            }
            Judgement::Fail => Decision::Fail(failed),
            _ if !is_first => Decision::Inconclusive(Undecided::NotReproduced),
            Judgement::Pass => Decision::Pass,
            Judgement::Open => Decision::Inconclusive(Undecided::LastLook),
        };
        self.decision = Some(decision);
        Step::Done
    }

    /// The sessions so far, in order.
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// The session whose numbers are to be shown: the last that a look was taken at; the first, if none
    /// was.
    pub fn session_shown(&self) -> &Session {
        let looked_at = self.sessions.iter().rfind(|it| !it.inspections().is_empty());
        looked_at.unwrap_or(&self.sessions[0])
    }

    /// What is to be said, at the end or where it was stopped. What makes numbers lie outweighs all
    /// that they say. Pairs between two looks decide nothing.
    pub fn outcome(&self, evidence: &Evidence, options: &Options) -> Outcome {
        let mut faults = evidence.faults(options);
        let pairs = self.sessions[0].pairs().len();
        if pairs < self.rule.pairs_min {
            faults.push(Fault::TooFewPairs { pairs, pairs_min: self.rule.pairs_min });
        }
        let steals = self.sessions.iter().map(Session::steal);
        faults.extend(
            steals.filter(|it| self.rule.steal_max < *it).map(|share| Fault::Steal { share }),
        );
        if !faults.is_empty() {
            return Outcome::Invalid(faults);
        }
        match &self.decision {
            Some(Decision::Pass) => Outcome::Pass,
            Some(Decision::Fail(metrics)) => Outcome::Fail(metrics.clone()),
            Some(Decision::Inconclusive(why)) => Outcome::Inconclusive(*why),
            None => Outcome::Inconclusive(Undecided::Stopped),
        }
    }
}
