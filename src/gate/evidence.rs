//! What makes the numbers of a check lie, whatever they say.

use serde::{Deserialize, Serialize};

use super::{Arm, Arms, Options};

/// What was seen of both arms and of the machine during a check.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Evidence {
    /// Operations that did not end as confirmed.
    pub insert_errors: u64,
    /// Tables that did not hold what the server had confirmed.
    pub tables_wrong: u64,
    /// Windows measured of each arm.
    pub windows: Arms<u64>,
    /// Windows of each arm in which batchpilot itself was the limit.
    pub windows_client_bound: Arms<u64>,
}

/// Why a check is INVALID.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Operations failed: the arms may not have done the same work.
    InsertErrors {
        /// How many.
        operations: u64,
    },
    /// Rows are missing, duplicate, foreign or changed.
    WrongTables {
        /// In how many tables.
        tables: u64,
    },
    /// batchpilot was the limit.
    ClientBound {
        /// In which share of an arm's windows: of the arm in which it was more often.
        share: f64,
    },
    /// The hypervisor gave the machine's CPUs to others.
    Steal {
        /// Which share, in the median block.
        share: f64,
    },
    /// The check ended too soon.
    TooFewPairs {
        /// After how many.
        pairs: usize,
        /// How many it takes.
        pairs_min: usize,
    },
}

impl Evidence {
    /// All that is wrong outside the pairs.
    pub(super) fn faults(&self, options: &Options) -> Vec<Fault> {
        let share = |part: u64, all: u64| part as f64 / all.max(1) as f64;
        // Not of both together: the true rate of one arm may be hidden, and the other's is not.
        let of = |arm: Arm| share(*self.windows_client_bound.of(arm), *self.windows.of(arm));
        let client_bound = Arm::BOTH.into_iter().map(of).fold(0.0, f64::max);
        let candidates = [
            (self.insert_errors > 0, Fault::InsertErrors { operations: self.insert_errors }),
            (self.tables_wrong > 0, Fault::WrongTables { tables: self.tables_wrong }),
            (client_bound > options.client_bound_max, Fault::ClientBound { share: client_bound }),
        ];
        candidates.into_iter().filter(|(is_so, _)| *is_so).map(|(_, fault)| fault).collect()
    }
}
