//! Which arm runs first: in each pair by chance, in each session the other one.

use rand::{RngCore, SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::Rule;

/// One side of a check.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// What is compared with.
    Base,
    /// What is judged.
    Head,
}

impl Arm {
    /// Both, in the order in which they are named.
    pub const BOTH: [Arm; 2] = [Arm::Base, Arm::Head];

    /// `base` or `head`.
    pub fn name(self) -> &'static str {
        match self {
            Arm::Base => "base",
            Arm::Head => "head",
        }
    }

    /// The other one.
    pub fn other(self) -> Arm {
        match self {
            Arm::Base => Arm::Head,
            Arm::Head => Arm::Base,
        }
    }
}

/// One of a kind for each arm.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Arms<T> {
    /// Of what is compared with.
    pub base: T,
    /// Of what is judged.
    pub head: T,
}

impl<T> Arms<T> {
    /// That of an arm.
    pub fn of(&self, arm: Arm) -> &T {
        match arm {
            Arm::Base => &self.base,
            Arm::Head => &self.head,
        }
    }

    /// That of an arm, to be changed.
    pub fn of_mut(&mut self, arm: Arm) -> &mut T {
        match arm {
            Arm::Base => &mut self.base,
            Arm::Head => &mut self.head,
        }
    }
}

/// The arm that runs first in each pair of a session, 0 being the first.
///
/// By chance, so that nothing that comes and goes (a checkpoint, a cron job) can keep step with it;
/// and in equal numbers at every look, to one pair, so that a machine which gets slower favours
/// neither. A fixed ABBA lets the two pairs of a group share their noise.
pub fn orders(rule: &Rule, seed: u64, session: u64) -> Vec<Arm> {
    // Seeds that differ by one start streams that have nothing in common.
    let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ session;
    let mut random = Pcg64Mcg::seed_from_u64(mixed);
    let mut odd_one = if random.next_u64() % 2 == 0 { Arm::Base } else { Arm::Head };
    let mut orders: Vec<Arm> = Vec::with_capacity(rule.pairs_max());
    for look in &rule.looks {
        let count = look.pairs - orders.len();
        let mut stage: Vec<Arm> =
            (0..count / 2 * 2).map(|at| if at % 2 == 0 { Arm::Base } else { Arm::Head }).collect();
        if count % 2 == 1 {
            stage.push(odd_one);
            odd_one = odd_one.other();
        }
        stage.shuffle(&mut random);
        orders.extend(stage);
    }
    orders
}

/// The arm whose connections and tables are made first in a session, 0 being the first.
pub fn created_first(session: u64) -> Arm {
    if session.is_multiple_of(2) { Arm::Base } else { Arm::Head }
}
