//! Asks what the server is, what it counts, and how long a round trip and a commit take on it.

use std::{collections::BTreeMap, time::Duration};

use tokio_postgres::{Client, Error};

use super::{PgTarget, admin::Session, show};
use crate::{
    clock,
    strategy::quoted,
    target::{Probe, ServerInfo, ServerSample},
};

const DURABILITY: [&str; 9] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "wal_sync_method",
    "wal_compression",
    "commit_delay",
    "synchronous_standby_names",
    "data_checksums",
];

/// Settings that may hold secrets or paths of no interest.
const NOT_RECORDED: &str = "name !~ '(conninfo|password|command|passphrase)' \
                            AND name NOT LIKE '%_file' AND name NOT LIKE '%directory%'";

/// A role that is no superuser may not use the sessions reserved for them; limits of database and
/// role do not bind a superuser. Sources: PostgreSQL manual, `superuser_reserved_connections`,
/// `reserved_connections` (16 and later), ALTER ROLE, ALTER DATABASE.
const SESSIONS_FREE: &str = "\
    SELECT least( \
        current_setting('max_connections')::bigint \
            - CASE WHEN role.rolsuper THEN 0 \
              ELSE current_setting('superuser_reserved_connections')::bigint \
                 + coalesce(current_setting('reserved_connections', true)::bigint, 0) END \
            - (SELECT sum(numbackends) FROM pg_stat_database), \
        CASE WHEN 0 <= role.rolconnlimit AND NOT role.rolsuper THEN role.rolconnlimit \
            - (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user) END, \
        CASE WHEN 0 <= place.datconnlimit AND NOT role.rolsuper THEN place.datconnlimit \
            - (SELECT numbackends FROM pg_stat_database WHERE datid = place.oid) END)::bigint \
    FROM pg_roles role, pg_database place \
    WHERE role.rolname = current_user AND place.datname = current_database()";

/// A copy of a data directory has the same identifier, and another start.
const INSTANCE: &str = "\
    SELECT system_identifier || ' ' || extract(epoch FROM pg_postmaster_start_time()) \
    FROM pg_control_system()";

const PROBES_MAX: usize = 300;
const COMMITS_MAX: usize = 100;
const PROBE_TIME_MAX: Duration = Duration::from_millis(700);

pub(super) async fn collect(target: &PgTarget) -> Result<ServerInfo, Error> {
    let admin = &*target.admin.as_it_is().await;
    let version: String = admin.query_one("SELECT version()", &[]).await?.get(0);
    let mut durability = BTreeMap::new();
    for name in DURABILITY {
        durability.insert(name.to_owned(), show(admin, name).await?);
    }
    let query = format!(
        "SELECT name, current_setting(name) FROM pg_settings \
         WHERE source NOT IN ('default', 'override', 'client', 'session') AND {NOT_RECORDED}"
    );
    let settings = admin.query(&query, &[]).await?;
    let tls = "SELECT version || ' ' || cipher FROM pg_stat_ssl \
               WHERE ssl AND pid = pg_backend_pid()";
    let tls = admin.query_opt(tls, &[]).await?;
    let checkpoint = target.checkpoint(admin).await;
    let sessions_free: Option<i64> = admin.query_one(SESSIONS_FREE, &[]).await?.get(0);
    Ok(ServerInfo {
        version,
        version_num: target.version,
        address: target.options.address(),
        // A provider may keep it to itself.
        instance: admin.query_one(INSTANCE, &[]).await.ok().map(|row| row.get(0)),
        unix_socket: target.options.is_unix_socket(),
        tls: tls.map(|row| row.get(0)),
        may_checkpoint: checkpoint.is_ok() && target.may_checkpoint(),
        sessions_free: sessions_free.map(|free| u32::try_from(free.max(0)).unwrap_or(u32::MAX)),
        settings: settings
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .filter(|(name, _): &(String, String)| !durability.contains_key(name))
            .collect(),
        durability,
        round_trip: probe_round_trip(admin).await?,
        commit: probe_commit(admin, &target.schema).await?,
    })
}

async fn probe_round_trip(admin: &Client) -> Result<Probe, Error> {
    let statement = admin.prepare("SELECT 1").await?;
    let (mut latencies, started) = (Vec::new(), clock::now());
    while latencies.len() < PROBES_MAX && clock::since(started) < PROBE_TIME_MAX {
        let sent = clock::now();
        admin.query_one(&statement, &[]).await?;
        latencies.push(clock::since(sent));
    }
    Ok(summarize(latencies))
}

async fn probe_commit(admin: &Client, schema: &str) -> Result<Probe, Error> {
    let table = format!("{}.batchpilot_probe", quoted(schema));
    admin.batch_execute(&format!("CREATE TABLE {table} (n int)")).await?;
    let insert = admin.prepare(&format!("INSERT INTO {table} VALUES (1)")).await?;
    let (mut latencies, started) = (Vec::new(), clock::now());
    while latencies.len() < COMMITS_MAX && clock::since(started) < PROBE_TIME_MAX {
        admin.batch_execute("begin").await?;
        admin.execute(&insert, &[]).await?;
        let sent = clock::now();
        admin.batch_execute("commit").await?;
        latencies.push(clock::since(sent));
    }
    admin.batch_execute(&format!("DROP TABLE {table}")).await?;
    Ok(summarize(latencies))
}

fn summarize(mut latencies: Vec<Duration>) -> Probe {
    latencies.sort_unstable();
    // Nearest rank: the smallest value that so many hundredths of all do not exceed.
    let at = |hundredths: usize| {
        let rank = (latencies.len() * hundredths).div_ceil(100);
        latencies
            .get(rank.saturating_sub(1))
            .map_or(0, |it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX))
    };
    Probe { n: latencies.len() as u64, latency_ns_p50: at(50), latency_ns_p99: at(99) }
}

/// From here on a session can be asked to report its counters at once (`pg_stat_force_next_flush`).
pub(super) const VERSION_THAT_FLUSHES: u32 = 150_000;

/// Reads the counters. Their views moved: checkpoints went from `pg_stat_bgwriter` to
/// `pg_stat_checkpointer` in 17 (PostgreSQL manual, release notes of 17).
pub(super) async fn sample(admin: &Session, version: u32) -> Result<ServerSample, Error> {
    let checkpoints = if version < 170_000 {
        "SELECT checkpoints_timed + checkpoints_req FROM pg_stat_bgwriter"
    } else {
        "SELECT num_timed + num_requested FROM pg_stat_checkpointer"
    };
    let query = format!(
        "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, \
                (SELECT wal_fpi FROM pg_stat_wal), \
                ({checkpoints})::bigint, \
                count(*) FILTER (WHERE backend_type = 'autovacuum worker'), \
                array_agg(coalesce(wait_event_type || ':' || wait_event, 'CPU')) FILTER ( \
                    WHERE application_name = current_setting('application_name') \
                      AND backend_type = 'client backend' \
                      AND state <> 'idle' AND pid <> pg_backend_pid()) \
         FROM pg_stat_activity"
    );
    let statement = admin.sample_statement(&query).await?;
    let row = admin.query_one(statement, &[]).await?;
    let count = |column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    let wait_events: Option<Vec<String>> = row.get(4);
    Ok(ServerSample {
        wal_bytes: count(0),
        // Before 15, what a session did minutes ago may count only now.
        wal_full_page_images: (VERSION_THAT_FLUSHES <= version).then(|| count(1)),
        checkpoints: count(2),
        autovacuum_workers: count(3),
        wait_events: wait_events.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_of_the_nearest_rank() {
        // Latencies of 1 ns, 2 ns, … n ns.
        for (n, p50, p99) in [(0, 0, 0), (1, 1, 1), (2, 1, 2), (3, 2, 3), (100, 50, 99)] {
            let probe = summarize((1..=n).map(Duration::from_nanos).collect());
            assert_eq!((probe.n, probe.latency_ns_p50, probe.latency_ns_p99), (n, p50, p99));
        }
    }
}
