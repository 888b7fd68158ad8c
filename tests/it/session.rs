//! Sessions that are lent and given back: what was sent on one way is over before the other is taken.

use std::{sync::Arc, time::Duration};

use batchpilot::{
    rows::{RowRange, RowSlice},
    strategy::Strategy,
    target::{
        Batch, Operation, Pool, PoolSettings, Session as _, Target as _,
        postgres::{ConnectOptions, PgTarget},
    },
};

use crate::support::{Place, database, target};

/// Rows of one operation, all there.
struct Rows {
    slice: Option<RowSlice>,
    count: u64,
}

impl Batch for Rows {
    fn row_count(&self) -> u64 {
        self.count
    }

    async fn next(&mut self) -> Option<RowSlice> {
        self.slice.take()
    }

    fn acknowledge_row(&mut self) {}
}

fn rows(target: &PgTarget, start: u64, count: u64) -> Rows {
    let range = RowRange { start, end: start + count };
    let chunk = Arc::new(target.generator(7).build(range));
    Rows { slice: Some(RowSlice::new(chunk, range)), count }
}

fn operation(strategy: Strategy, prepared: bool) -> Operation {
    Operation { strategy, returning: true, prepared }
}

const SETTINGS: PoolSettings =
    PoolSettings { size_max: 1, idle_min: 1, acquire_timeout_ms: 5_000, idle_timeout_ms: 60_000 };

/// A server's two addresses: on its socket sessions have a way past their connection's task.
fn addresses(place: &Place) -> [ConnectOptions; 2] {
    let Place { port, user, password, database, .. } = place;
    [place.options(), ConnectOptions::private(None, *port, user, password, database)]
}

#[tokio::test]
async fn strategies_take_turns_on_one_session() {
    for options in addresses(&database().await) {
        let target = target(options).await;
        target.reset_table().await.unwrap();
        let first = operation(Strategy::SingleRow, true);
        let pool = target.open_pool(SETTINGS, 1, first, &[1]).await.unwrap();
        let mut start = 0;
        for round in 0..3 {
            for (strategy, count) in [
                (Strategy::SingleRow, 1),
                (Strategy::CopyBinary, 5_000),
                (Strategy::MultiRow, 3 + round),
                (Strategy::Pipelined { in_flight: 4 }, 9),
                (Strategy::Unnest, 2_000),
                (Strategy::CopyText, 1),
            ] {
                for prepared in [true, false] {
                    let operation = operation(strategy, prepared);
                    let mut lease = pool.acquire().await.unwrap();
                    lease.prepare(operation, count).await.unwrap();
                    let mut batch = rows(&target, start, count);
                    let inserted = lease.insert(operation, &mut batch).await.unwrap();
                    assert_eq!(inserted.rows, count, "{operation:?}");
                    start += count;
                }
            }
        }
        assert_eq!(found(&target).await, start);
        pool.close().await;
        target.close().await.unwrap();
    }
}

async fn found(target: &PgTarget) -> u64 {
    let (none, generator) = (batchpilot::rows::RowSet::default(), target.generator(7));
    target.verify(generator, none.clone(), none).await.unwrap().rows_found
}

/// Statements are given up for others; a session of which too many were asked still has the last.
#[tokio::test]
async fn more_statements_than_are_kept_are_prepared_again() {
    for options in addresses(&database().await) {
        let target = target(options).await;
        target.reset_table().await.unwrap();
        let multi_row = operation(Strategy::MultiRow, true);
        let pool = target.open_pool(SETTINGS, 1, multi_row, &[1]).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let mut start = 0;
        for count in (1..=40).chain(1..=40) {
            lease.prepare(multi_row, count).await.unwrap();
            let inserted = lease.insert(multi_row, &mut rows(&target, start, count)).await.unwrap();
            assert_eq!(inserted.rows, count);
            start += count;
        }
        drop(lease);
        pool.close().await;
        assert_eq!(found(&target).await, start);
        target.close().await.unwrap();
    }
}

/// What the server says between two operations is heard: a session that it ended is not lent
/// again.
#[tokio::test]
async fn an_ended_session_is_replaced_before_its_next_operation() {
    let place = database().await;
    let client = place.client().await;
    for options in addresses(&place) {
        let target = target(options).await;
        target.reset_table().await.unwrap();
        let single = operation(Strategy::SingleRow, true);
        let pool = target.open_pool(SETTINGS, 1, single, &[1]).await.unwrap();
        let mut pids = Vec::new();
        for start in 0..3 {
            let mut lease = pool.acquire().await.unwrap();
            lease.prepare(single, 1).await.unwrap();
            lease.insert(single, &mut rows(&target, start, 1)).await.unwrap();
            lease.begin().await.unwrap();
            lease.rollback().await;
            drop(lease);
            let find = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
                        AND query = 'rollback' AND pid <> pg_backend_pid()";
            let pid: i32 = client.query_one(find, &[]).await.unwrap().get(0);
            client.query_one("SELECT pg_terminate_backend($1, 5000)", &[&pid]).await.unwrap();
            // The server's last words are on their way.
            tokio::time::sleep(Duration::from_millis(50)).await;
            pids.push(pid);
        }
        pids.dedup();
        assert_eq!(pids.len(), 3);
        pool.close().await;
        assert_eq!(found(&target).await, 3);
        target.close().await.unwrap();
    }
}
