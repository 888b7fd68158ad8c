//! A machine that is never quiet: how fast it is from one tenth of a second to the next.
//!
//! On the logarithmic scale, the sum of what lasts (a level of the session, a drift), what comes and
//! goes over minutes and over seconds, stalls (a checkpoint: short and deep), bursts (a neighbour:
//! long and shallow) and what is new in every step. Each arm has in each session a bias of its own,
//! which no number of pairs shows. The numbers of the first three were set before any machine was
//! measured; then a shared one with two processors was worse than `BAD`, and gave `WORST`.

use batchpilot::{
    gate::{Arm, Block, Timing},
    target::sim::Chance,
};

/// A step of the simulation.
const STEP_S: f64 = 0.1;
/// What noise is given for; noise of a step is larger.
const WHITE_S: f64 = 0.25;
/// The rate of a machine at its level.
const ROWS_PER_S: f64 = 100_000.0;
/// An arm starts at 1 - `RAMP` of its rate, and comes to it with this time constant.
const RAMP: f64 = 0.6;
const RAMP_S: f64 = 2.0;

/// A kind of machine. Standard deviations are of logarithms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    /// Deviation, and time constant in seconds, of what comes and goes quickly.
    fast: (f64, f64),
    /// The same of what comes and goes slowly.
    slow: (f64, f64),
    /// Of what is new every 250 ms.
    white: f64,
    /// Largest drift in a minute.
    drift: f64,
    stalls: Option<Episodes>,
    bursts: Option<Episodes>,
    /// From session to session.
    session: f64,
    /// From arm to arm within a session.
    arm: f64,
    /// Of a block's p95 latency beyond what the rate explains.
    tail: f64,
}

/// Slow times that come by chance.
#[derive(Clone, Copy, Debug)]
struct Episodes {
    every_s: f64,
    length: Length,
    /// What is left of the rate, at least and at most.
    rate: (f64, f64),
}

#[derive(Clone, Copy, Debug)]
enum Length {
    Between(f64, f64),
    Mean(f64),
}

pub(crate) const QUIET: Machine = Machine {
    name: "quiet",
    fast: (0.05, 2.0),
    slow: (0.015, 60.0),
    white: 0.03,
    drift: 0.0,
    stalls: None,
    bursts: None,
    session: 0.02,
    arm: 0.005,
    tail: 0.03,
};

pub(crate) const SHARED: Machine = Machine {
    name: "shared",
    fast: (0.07, 3.0),
    slow: (0.05, 45.0),
    white: 0.05,
    drift: 0.05,
    stalls: Some(Episodes { every_s: 40.0, length: Length::Between(1.0, 3.0), rate: (0.3, 0.7) }),
    bursts: Some(Episodes { every_s: 60.0, length: Length::Mean(10.0), rate: (0.75, 0.95) }),
    session: 0.08,
    arm: 0.01,
    tail: 0.06,
};

pub(crate) const BAD: Machine = Machine {
    name: "bad",
    fast: (0.10, 4.0),
    slow: (0.08, 45.0),
    white: 0.06,
    drift: 0.10,
    stalls: Some(Episodes { every_s: 25.0, length: Length::Between(2.0, 5.0), rate: (0.1, 0.6) }),
    bursts: Some(Episodes { every_s: 40.0, length: Length::Mean(12.0), rate: (0.5, 0.9) }),
    session: 0.15,
    arm: 0.015,
    tail: 0.08,
};

/// As two processors that other programs kept busy: pairs of blocks of 1 s lay 25 % apart there in
/// rows/s, and 32 % in p95 latency.
pub(crate) const WORST: Machine = Machine {
    name: "worst",
    fast: (0.28, 3.0),
    slow: (0.15, 45.0),
    white: 0.10,
    session: 0.30,
    tail: 0.15,
    ..BAD
};

/// What an arm has that the other has not: a slow-down, and its bias in a session.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bias {
    rate: f64,
    /// Of its tail latency, beyond the rate's.
    tail: f64,
}

impl Bias {
    pub(crate) fn draw(machine: &Machine, chance: &mut Chance) -> Bias {
        Bias { rate: machine.arm * chance.normal(), tail: machine.arm * chance.normal() }
    }
}

/// A session on a machine, both arms under way.
#[derive(Debug)]
pub(crate) struct Site {
    machine: Machine,
    chance: Chance,
    biases: [Bias; 2],
    /// How long each arm has run.
    arm_s: [f64; 2],
    at_s: f64,
    level: f64,
    drift: f64,
    fast: f64,
    slow: f64,
    /// When the episode ends, and what it leaves of the rate.
    stall: (f64, f64),
    burst: (f64, f64),
    /// Whether the burst takes CPUs, which shows as steal, or the disk.
    burst_steals: bool,
}

impl Site {
    /// Opens a session; `slow_down` is the share that head is slower by.
    pub(crate) fn open(machine: Machine, biases: [Bias; 2], slow_down: f64, seed: u64) -> Site {
        let mut chance = Chance::new(seed, 1);
        let level = machine.session * chance.normal();
        let drift = chance.uniform(-machine.drift, machine.drift);
        let fast = machine.fast.0 * chance.normal();
        let slow = machine.slow.0 * chance.normal();
        let mut biases = biases;
        biases[1].rate += (1.0 - slow_down).ln();
        let (arm_s, never) = ([0.0; 2], (f64::NEG_INFINITY, 1.0));
        let burst_steals = false;
        let (stall, burst, at_s) = (never, never, 0.0);
        Site {
            machine,
            chance,
            biases,
            arm_s,
            at_s,
            level,
            drift,
            fast,
            slow,
            stall,
            burst,
            burst_steals,
        }
    }

    /// Runs a block of an arm.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rows of seconds")]
    pub(crate) fn block(&mut self, arm: Arm, timing: Timing) -> Block {
        let bias = self.biases[usize::from(arm == Arm::Head)];
        let guard_s = timing.guard.as_secs_f64() - STEP_S / 2.0;
        let (mut kept, mut stolen, mut at_s) = (Vec::new(), 0.0, 0.0);
        while at_s < timing.block.as_secs_f64() - STEP_S / 2.0 {
            let rate = self.step(arm) * bias.rate.exp();
            if guard_s <= at_s {
                kept.push(rate);
                stolen += if self.burst_steals && self.at_s < self.burst.0 {
                    1.0 - self.burst.1
                } else {
                    0.0
                };
            }
            at_s += STEP_S;
        }
        let steps = kept.len() as f64;
        let tail = bias.tail + self.machine.tail * self.chance.normal();
        Block {
            rows: (kept.iter().sum::<f64>() * STEP_S).round() as u64,
            seconds: steps * STEP_S,
            latency_s_p95: latency_s(&mut kept, 0.05) * tail.exp(),
            latency_s_p99: latency_s(&mut kept, 0.01) * (2.0 * tail).exp(),
            steal: stolen / steps,
        }
    }

    /// Goes on by a step, and returns the rate that an arm without bias would have in it.
    fn step(&mut self, arm: Arm) -> f64 {
        let Machine { fast, slow, white, .. } = self.machine;
        self.at_s += STEP_S;
        self.fast = revert(self.fast, fast, &mut self.chance);
        self.slow = revert(self.slow, slow, &mut self.chance);
        if let Some(stall) = start(self.machine.stalls, self.at_s, self.stall, &mut self.chance) {
            self.stall = stall;
        }
        if let Some(burst) = start(self.machine.bursts, self.at_s, self.burst, &mut self.chance) {
            self.burst = burst;
            self.burst_steals = self.chance.happens(0.5);
        }
        let left = |episode: (f64, f64)| if self.at_s < episode.0 { episode.1 } else { 1.0 };
        let arm_s = &mut self.arm_s[usize::from(arm == Arm::Head)];
        *arm_s += STEP_S;
        let warm = 1.0 - RAMP * (-*arm_s / RAMP_S).exp();
        let noise = white * (WHITE_S / STEP_S).sqrt() * self.chance.normal();
        let lasting = self.level + self.drift * self.at_s / 60.0 + self.fast + self.slow;
        ROWS_PER_S * (lasting + noise).exp() * warm * left(self.stall) * left(self.burst)
    }
}

/// A step of a process that returns to 0 with a time constant, and has this deviation.
fn revert(value: f64, (deviation, time_s): (f64, f64), chance: &mut Chance) -> f64 {
    let keep = (-STEP_S / time_s).exp();
    value * keep + deviation * (1.0 - keep * keep).sqrt() * chance.normal()
}

/// Starts an episode, if it is time: when it ends, and what it leaves of the rate.
fn start(
    episodes: Option<Episodes>,
    at_s: f64,
    last: (f64, f64),
    chance: &mut Chance,
) -> Option<(f64, f64)> {
    let Episodes { every_s, length, rate } = episodes?;
    if at_s < last.0 || !chance.happens(STEP_S / every_s) {
        return None;
    }
    let length_s = match length {
        Length::Between(least, most) => chance.uniform(least, most),
        Length::Mean(mean) => -mean * (1.0 - chance.uniform(0.0, 1.0)).ln(),
    };
    Some((at_s + length_s, chance.uniform(rate.0, rate.1)))
}

/// The latency that this share of a block's operations is beyond. By Little's law an operation takes
/// a time that is inverse to the rate; the slowest steps have the fewest operations.
fn latency_s(rates: &mut [f64], beyond: f64) -> f64 {
    rates.sort_by(f64::total_cmp);
    let mut left = beyond * rates.iter().sum::<f64>();
    let at = rates.iter().find(|rate| {
        left -= **rate;
        left <= 0.0
    });
    // Four workers, each with operations of 50 rows.
    4.0 * 50.0 / at.expect("all operations are beyond nothing")
}
