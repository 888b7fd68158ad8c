//! A check, and what others do, on a simulated machine.

use std::time::Duration;

use batchpilot::{
    gate::{
        Arm, Check, Evidence, Options, Outcome, Pair, Rule, Step, Timing, WarmUp, created_first,
        orders, warm_up,
    },
    stats::{RankSum, Welch, effective_size},
    target::sim::Chance,
};

use crate::machine::{Bias, Machine, Site};

/// Operations of the simulated arms take milliseconds: the shortest block does.
const OPERATION: Duration = Duration::from_millis(2);
/// A window of the warm-up, of each arm in turn.
const WARM_UP_WINDOW: Duration = Duration::from_millis(500);
/// Seconds that the other rules have, both arms together: those of 30 pairs.
const OTHERS_S: u64 = 60;

/// Whether the arms' biases are drawn anew for the second session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Biases {
    /// They lie in the session: where memory and files happen to be.
    Fresh,
    /// They lie in the arms, and no session takes them away.
    Lasting,
}

/// What happened in one trial.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// Whether the first session failed.
    pub(crate) is_suspected: bool,
    pub(crate) outcome: Outcome,
    /// Of all blocks, guards included.
    pub(crate) blocks_s: f64,
    pub(crate) warm_up_s: f64,
}

/// Runs a check from its first warm-up to its outcome.
pub(crate) fn check(
    (options, rule): (&Options, &Rule),
    machine: Machine,
    biases: Biases,
    slow_down: f64,
    seed: u64,
) -> Trial {
    let timing = Timing::of(OPERATION, options);
    let mut check = Check::new(rule.clone());
    let (mut blocks_s, mut warm_up_s) = (0.0, 0.0);
    for session in 0.. {
        let drawn_for = if biases == Biases::Fresh { session } else { 0 };
        let mut chance = Chance::new(seed, 2 + drawn_for);
        let drawn = [(); 2].map(|()| Bias::draw(&machine, &mut chance));
        let mut site = Site::open(machine, drawn, slow_down, seed ^ (session << 40));
        warm_up_s += warm(&mut site, created_first(session), options);
        let mut step = Step::GoOn;
        for first in orders(rule, seed, session) {
            let one = site.block(first, timing);
            let two = site.block(first.other(), timing);
            blocks_s += 2.0 * timing.block.as_secs_f64();
            let (base, head) = if first == Arm::Base { (one, two) } else { (two, one) };
            step = check.push(Pair { base, head });
            if step != Step::GoOn {
                break;
            }
        }
        if step == Step::Done {
            break;
        }
    }
    let is_suspected = !check.sessions()[0].failed().is_empty();
    Trial {
        is_suspected,
        outcome: check.outcome(&Evidence::default(), options),
        blocks_s,
        warm_up_s,
    }
}

/// The logarithms of the ratios of 30 pairs: rows/s and p95 latency.
pub(crate) fn unchanged_pairs(machine: Machine, seed: u64) -> Vec<(f64, f64)> {
    let options = Options::default();
    let mut site = Site::open(machine, [Bias::default(); 2], 0.0, seed);
    warm(&mut site, Arm::Base, &options);
    let timing = Timing::of(OPERATION, &options);
    let ratios = |_| {
        let (one, two) = (site.block(Arm::Base, timing), site.block(Arm::Head, timing));
        let latencies = two.latency_s_p95 / one.latency_s_p95;
        ((two.rows_per_s() / one.rows_per_s()).ln(), latencies.ln())
    };
    (0..30).map(ratios).collect()
}

/// Runs both arms in turn until each was steady once; returns how long that took, in seconds.
fn warm(site: &mut Site, first: Arm, options: &Options) -> f64 {
    let window = Timing { block: WARM_UP_WINDOW, guard: Duration::ZERO };
    let mut arms = [(first, Vec::new(), WarmUp::GoOn), (first.other(), Vec::new(), WarmUp::GoOn)];
    let mut elapsed = Duration::ZERO;
    while arms.iter().any(|(_, _, state)| *state == WarmUp::GoOn) {
        for (arm, rates, state) in &mut arms {
            rates.push(site.block(*arm, window).rows_per_s());
            elapsed += WARM_UP_WINDOW;
            if *state == WarmUp::GoOn {
                *state = warm_up(rates, elapsed, options);
            }
        }
    }
    elapsed.as_secs_f64()
}

/// What other tools do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Other {
    /// A mean from another session, and a threshold.
    StoredBaseline,
    /// All of base, then all of head; windows of 1 s; Welch at two-sided 0.05.
    Welch,
    /// The same windows; Mann and Whitney at two-sided 0.05.
    MannWhitney,
    /// The same windows for as many as they are worth; Welch at two-sided 0.01.
    WelchEffective,
    /// Pairs of blocks, and Student's t of their logarithms after each: two standard errors.
    Peeking,
}

impl Other {
    pub(crate) const ALL: [(Other, &'static str); 5] = [
        (Other::StoredBaseline, "stored baseline of another session, 10 % threshold"),
        (Other::Welch, "base, then head: Welch on windows of 1 s, p < 0.05"),
        (Other::MannWhitney, "base, then head: Mann-Whitney on windows of 1 s, p < 0.05"),
        (Other::WelchEffective, "base, then head: Welch with effective sample size, p < 0.01"),
        (Other::Peeking, "pairs until two standard errors say so, 60 at most"),
    ];

    /// Whether it calls head slower.
    pub(crate) fn fails(self, machine: Machine, slow_down: f64, seed: u64) -> bool {
        let mut chance = Chance::new(seed, 2);
        let biases = [(); 2].map(|()| Bias::draw(&machine, &mut chance));
        let mut site = Site::open(machine, biases, slow_down, seed);
        warm(&mut site, Arm::Base, &Options::default());
        if self == Other::Peeking {
            return peeks(&mut site, seed);
        }
        let base = windows(&mut site, Arm::Base);
        if self == Other::StoredBaseline {
            site = Site::open(machine, biases, slow_down, seed ^ (1 << 40));
            warm(&mut site, Arm::Base, &Options::default());
        }
        let head = windows(&mut site, Arm::Head);
        let is_lower = |lower: f64, two_sided: f64, level: f64| lower < 0.5 && two_sided < level;
        match self {
            Other::StoredBaseline => {
                let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
                mean(&head) < 0.9 * mean(&base)
            }
            Other::MannWhitney => RankSum::of(&head, &base)
                .is_some_and(|it| is_lower(it.p_lower, it.p_two_sided(), 0.05)),
            Other::WelchEffective => {
                let sizes = (effective_size(&head), effective_size(&base));
                Welch::with_sizes(&head, &base, sizes.0, sizes.1)
                    .is_some_and(|it| is_lower(it.p_lower, it.p_two_sided(), 0.01))
            }
            Other::Welch | Other::Peeking => Welch::of(&head, &base)
                .is_some_and(|it| is_lower(it.p_lower, it.p_two_sided(), 0.05)),
        }
    }
}

fn windows(site: &mut Site, arm: Arm) -> Vec<f64> {
    let window = Timing { block: Duration::from_secs(1), guard: Duration::ZERO };
    (0..OTHERS_S / 2).map(|_| site.block(arm, window).rows_per_s()).collect()
}

fn peeks(site: &mut Site, seed: u64) -> bool {
    let options = Options::default();
    let rule = options.rule(1).expect("the defaults are a rule");
    let timing = Timing::of(OPERATION, &options);
    let mut gains: Vec<f64> = Vec::new();
    for first in orders(&rule, seed, 0) {
        let one = site.block(first, timing).rows_per_s();
        let two = site.block(first.other(), timing).rows_per_s();
        gains.push(if first == Arm::Base { two / one } else { one / two }.ln());
        let n = gains.len() as f64;
        let mean = gains.iter().sum::<f64>() / n;
        let squares = gains.iter().map(|it| (it - mean).powi(2)).sum::<f64>();
        if 3.0 <= n && mean + 2.0 * (squares / (n - 1.0) / n).sqrt() < 0.0 {
            return true;
        }
    }
    false
}
