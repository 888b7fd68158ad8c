//! A simulated server in virtual time, as true to a real one as the arena's windows are.
//!
//! What it can do at a setting is a [`Surface`]; noise and stalls are its [`Weather`]; changes make a
//! [`Case`] of it; what goes wrong is in [`Errors`]. All of it is drawn from [`SimSettings`]. Two
//! ways lead from there to windows: `arena` makes whole ones at once, and [`SimTarget`] runs every
//! operation through the engine. With tokio's clock paused, the same plan gives the same run.
//!
//! Strategies cost the same here. An operation waits for a round trip and for its commit, and takes
//! as long as the surface says for its batch rows and the operations in flight when it starts.

mod case;
mod chance;
mod errors;
mod server;
mod session;
mod surface;
mod weather;

pub use self::{
    case::{Case, Course, Family, SimSettings},
    chance::Chance,
    errors::{Errors, Mishap, Span},
    session::{SimLease, SimPool, SimSession},
    surface::{Change, Cliff, Misfit, Surface},
    weather::{Climate, Dips, TICK_S, Weather, tick},
};

use std::sync::Arc;

use self::server::Server;
use crate::{
    rows::{Finding, Generator, RowSet, Verification},
    target::{
        Operation, PoolSettings, Probe, ServerInfo, ServerSample, TableInfo, Target, TargetError,
    },
};

/// A simulated server to insert into. Only the indexes of rows are kept.
#[derive(Clone, Debug)]
pub struct SimTarget {
    server: Arc<Server>,
}

impl SimTarget {
    /// Creates a server with these properties.
    pub fn new(settings: SimSettings) -> SimTarget {
        SimTarget { server: Arc::new(Server::new(settings)) }
    }
}

impl Target for SimTarget {
    type Pool = SimPool;

    /// The article's: whatever they hold, only the indexes of rows are kept.
    fn generator(&self, seed: u64) -> Generator {
        Generator::article_user(seed)
    }

    fn own_table(&self) -> Option<&TableInfo> {
        None
    }

    async fn reset_table(&self) -> Result<(), TargetError> {
        self.server.reset();
        Ok(())
    }

    async fn empty_table(&self) -> Result<(), TargetError> {
        self.reset_table().await
    }

    async fn open_pool(
        &self,
        settings: PoolSettings,
        sessions_warm: u32,
        _: Operation,
        _: &[u64],
    ) -> Result<SimPool, TargetError> {
        SimPool::open(&self.server, settings, sessions_warm)
    }

    async fn sample(&self) -> Result<ServerSample, TargetError> {
        Ok(self.server.sample().await)
    }

    async fn verify(
        &self,
        _: Generator,
        confirmed: RowSet,
        in_doubt: RowSet,
    ) -> Result<Verification, TargetError> {
        let table = self.server.table();
        let there = rows_in_both(&confirmed, &table);
        let in_doubt_present = rows_in_both(&in_doubt, &table);
        let finding = |count: u64| Finding { count, examples: Vec::new() };
        Ok(Verification {
            rows_expected: confirmed.row_count(),
            rows_found: table.row_count(),
            missing: finding(confirmed.row_count() - there),
            foreign: finding(table.row_count() - there - in_doubt_present),
            in_doubt_present,
            in_doubt_absent: in_doubt.row_count() - in_doubt_present,
            ..Verification::default()
        })
    }

    async fn info(&self) -> Result<ServerInfo, TargetError> {
        let (surface, errors) = (&self.server.settings.before, &self.server.settings.errors);
        let probe = |seconds: f64| {
            let nanos = std::time::Duration::from_secs_f64(seconds).as_nanos();
            let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
            Probe { n: 1, latency_ns_p50: nanos, latency_ns_p99: nanos }
        };
        Ok(ServerInfo {
            version: "simulated server".to_owned(),
            sessions_free: errors.sessions_max.filter(|_| errors.sessions_max_from_s <= 0.0),
            round_trip: probe(surface.round_trip_s),
            commit: probe(surface.round_trip_s + surface.fsync_s),
            ..ServerInfo::default()
        })
    }

    async fn cancel(&self) {}

    async fn close(self) -> Result<(), TargetError> {
        Ok(())
    }
}

/// Counts the rows that both sets hold, range by range: a block may have a billion rows.
fn rows_in_both(a: &RowSet, b: &RowSet) -> u64 {
    let (mut a, mut b) = (a.ranges().peekable(), b.ranges().peekable());
    let mut count = 0;
    while let (Some(left), Some(right)) = (a.peek(), b.peek()) {
        count += left.end.min(right.end).saturating_sub(left.start.max(right.start));
        let ends_first = if left.end <= right.end { &mut a } else { &mut b };
        ends_first.next();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::RowRange;

    #[test]
    fn rows_in_both_are_counted_once() {
        let set = |ranges: &[(u64, u64)]| {
            let mut set = RowSet::default();
            ranges.iter().for_each(|&(start, end)| set.insert(RowRange { start, end }));
            set
        };
        let many = set(&[(0, 10), (20, 30), (40, 50)]);
        let cases = [(&[][..], 0), (&[(0, 60)], 30), (&[(5, 25)], 10), (&[(9, 10), (29, 41)], 3)];
        for (ranges, count) in cases {
            assert_eq!(rows_in_both(&many, &set(ranges)), count, "{ranges:?}");
            assert_eq!(rows_in_both(&set(ranges), &many), count, "{ranges:?}");
        }
    }
}
