//! Blocks on a server that has a bad day: sessions end, locks are held, constraints say no. Each
//! row ends in one of five ways, and what is said about it is what the table holds.

use std::{fs, time::Duration};

use batchpilot::{
    engine::{BlockOutcome, Ended},
    target::{Target as _, TargetError, postgres::PgTarget},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    proxy::Proxy,
    support::{Place, brief, cell, cluster, database, run, run_until, target, verify},
};

/// Holds what is said about rows to the table: confirmed and settled ones are there, others not.
async fn check_settled(place: &Place, target: &PgTarget, outcome: &BlockOutcome) {
    let verification = verify(target, outcome).await;
    assert!(verification.is_exact(), "{:?} {}", verification.complaint(), brief(outcome));
    let query = format!("SELECT count(*) FROM \"{}\".users", target.schema());
    let count: i64 = place.client().await.query_one(&query, &[]).await.unwrap().get(0);
    let said = outcome.confirmed.row_count() + verification.in_doubt_present;
    assert_eq!(u64::try_from(count).unwrap(), said, "{}", brief(outcome));
    let in_doubt = verification.in_doubt_present + verification.in_doubt_absent;
    assert_eq!(in_doubt, outcome.in_doubt.row_count(), "{}", brief(outcome));
}

/// Waits until a count is as wanted; returns it.
async fn wait_for(client: &Client, query: &str, is_wanted: impl Fn(i64) -> bool) -> i64 {
    for _ in 0..3_000 {
        let count: i64 = client.query_one(query, &[]).await.unwrap().get(0);
        if is_wanted(count) {
            return count;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 30 s: {query}");
}

/// Waits until the table holds more than `rows` rows; returns how many.
async fn wait_for_rows(client: &Client, target: &PgTarget, rows: i64) -> i64 {
    let query = format!("SELECT count(*) FROM \"{}\".users", target.schema());
    wait_for(client, &query, |count| rows < count).await
}

/// Ends a session that inserts, and returns whether there was one.
async fn terminate_one(client: &Client) -> bool {
    let query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE application_name LIKE 'batchpilot %' AND datname = current_database() \
                 AND query ~ '^(INSERT|begin|commit)' ORDER BY state = 'active' DESC LIMIT 1";
    client.query_opt(query, &[]).await.unwrap().is_some()
}

/// Sessions ended in each block.
const TERMINATED: u64 = 3;

const STRATEGIES: [&str; 4] = [
    "strategy = \"single_row\"",
    "strategy = \"pipelined\"\nbatch_rows = 20",
    "strategy = \"multi_row\"\nbatch_rows = 20",
    "strategy = \"copy_binary\"\nbatch_rows = 200",
];

#[tokio::test]
async fn a_crash_in_the_middle_of_a_block_leaves_no_row_unaccounted_for() {
    let cluster = cluster(&[]).await;
    let place = Place::of(&cluster);
    let target = target(place.options()).await;
    for (strategy, transaction, on_error) in [
        (STRATEGIES[0], "\"autocommit\"", "collect"),
        (STRATEGIES[1], "\"autocommit\"", "fail_fast"),
        (STRATEGIES[2], "{ every = 3 }", "collect"),
        (STRATEGIES[3], "\"explicit\"", "fail_fast"),
    ] {
        target.reset_table().await.unwrap();
        let cell = cell(&format!(
            "{strategy}\nworkers = 4\ntransaction = {transaction}\non_error = \"{on_error}\"\n\
             stop = {{ seconds = 60.0 }}\n"
        ));
        let stop = CancellationToken::new();
        let crash = async {
            let client = place.client().await;
            // More than four workers have on their way at first: some have been confirmed.
            wait_for_rows(&client, &target, 1_000).await;
            // On a busy machine all of them might have been answered, and none be on its way.
            wait_until_blocked(&client, &target).await;
            // The postmaster ends all sessions when one is killed, recovers, and goes on.
            let victim = sessions(cluster.postmaster_pid()).pop().expect("sessions are at work");
            kill(victim, Signal::SIGKILL).unwrap();
            // The postmaster needs a moment to learn of it, and lets new sessions in until then.
            while client.batch_execute("").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if on_error == "collect" {
                let client = when_up(&place).await;
                let rows = wait_for_rows(&client, &target, -1).await;
                wait_for_rows(&client, &target, rows).await;
                stop.cancel();
            }
        };
        let (outcome, ()) = tokio::join!(run_until(&target, &cell, &stop), crash);
        let outcome = outcome.unwrap();
        assert!(0 < outcome.confirmed.row_count(), "{}", brief(&outcome));
        assert!(outcome.measurement.errors.contains_key("connection_lost"), "{}", brief(&outcome));
        let is_lost = matches!(outcome.error, Some(TargetError::ConnectionLost { .. }));
        assert!(is_lost, "{}", brief(&outcome));
        match on_error {
            "collect" => assert_eq!(outcome.ended, Ended::Stopped, "{}", brief(&outcome)),
            _ => assert_eq!(outcome.ended, Ended::Failed, "{}", brief(&outcome)),
        }
        check_settled(&place, &target, &outcome).await;
    }
    target.close().await.unwrap();
    assert_eq!(place.schemas().await, Vec::<String>::new());
    cluster.stop().await.unwrap();
}

/// Locks the table until the session ends, and waits until an operation waits for that.
async fn wait_until_blocked(client: &Client, target: &PgTarget) {
    let lock = format!("BEGIN; LOCK TABLE \"{}\".users IN SHARE MODE", target.schema());
    client.batch_execute(&lock).await.unwrap();
    let blocked = "SELECT FROM pg_locks WHERE NOT granted";
    while client.query(blocked, &[]).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the server takes connections again.
async fn when_up(place: &Place) -> Client {
    for _ in 0..300 {
        if let Ok(client) = place.try_client().await {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the server is not back after 30 s");
}

/// Returns the processes of sessions on the database.
fn sessions(postmaster: u32) -> Vec<Pid> {
    let is_session = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let parent = format!("PPid:\t{postmaster}");
        status.lines().any(|line| line == parent) && command.contains("postgres postgres")
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
    pids.filter(is_session).map(Pid::from_raw).collect()
}

#[tokio::test]
async fn a_session_that_is_terminated_costs_its_operation_and_no_more() {
    let place = database().await;
    let target = target(place.options()).await;
    let client = place.client().await;
    let mut losses = 0;
    for transaction in ["\"autocommit\"", "\"explicit\"", "{ every = 5 }"] {
        for strategy in &STRATEGIES[..3] {
            target.reset_table().await.unwrap();
            let cell = cell(&format!(
                "{strategy}\nworkers = 3\ntransaction = {transaction}\non_error = \"collect\"\n\
                 stop = {{ seconds = 60.0 }}\n"
            ));
            let stop = CancellationToken::new();
            let terminate = async {
                // Not while statements are being prepared: that would fail the block.
                let mut rows = wait_for_rows(&client, &target, 0).await;
                for _ in 0..TERMINATED {
                    assert!(terminate_one(&client).await);
                    rows = wait_for_rows(&client, &target, rows).await;
                }
                stop.cancel();
            };
            let (outcome, ()) = tokio::join!(run_until(&target, &cell, &stop), terminate);
            let outcome = outcome.unwrap();
            assert_eq!(outcome.ended, Ended::Stopped, "{}", brief(&outcome));
            let lost = outcome.measurement.errors.get("connection_lost").copied().unwrap_or(0);
            assert!(lost <= TERMINATED, "{}", brief(&outcome));
            losses += lost;
            check_settled(&place, &target, &outcome).await;
        }
    }
    // A session that is idle when it ends costs nothing, but not all of them were.
    assert!(0 < losses);
    target.close().await.unwrap();
}

#[tokio::test]
async fn what_is_in_doubt_is_settled_for_good() {
    let place = database().await;
    let proxy = Proxy::start(&place).await;
    let target = target(proxy.options()).await;
    let cell = cell("strategy = \"single_row\"\nworkers = 3\nstop = { seconds = 60.0 }\n");
    let (mut client, watcher) = (place.client().await, place.client().await);
    let lock = format!("LOCK TABLE \"{}\".users IN SHARE MODE", target.schema());
    // The network goes while the server waits for a lock. The server does not notice, and goes on
    // when it has the lock: after the check, if the check does not see to it.
    let cut = async {
        wait_for_rows(&watcher, &target, 0).await;
        let transaction = client.transaction().await.unwrap();
        transaction.batch_execute(&lock).await.unwrap();
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                       AND datname = current_database()";
        // All three: one that opened a session after the cut would wait for the lock.
        wait_for(&watcher, waiting, |count| count == 3).await;
        proxy.cut();
        transaction
    };
    let (outcome, transaction) = tokio::join!(run(&target, &cell), cut);
    let outcome = outcome.unwrap();
    assert_eq!(outcome.ended, Ended::Failed, "{}", brief(&outcome));
    assert!(!outcome.in_doubt.is_empty(), "{}", brief(&outcome));
    let verification = verify(&target, &outcome).await;
    transaction.commit().await.unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND application_name LIKE 'batchpilot %'";
    // One is left: the one that checks the table.
    wait_for(&watcher, sessions, |count| count == 1).await;
    check_settled(&place, &target, &outcome).await;
    assert_eq!(verify(&target, &outcome).await, verification);
    target.close().await.unwrap();
}

#[tokio::test]
async fn a_server_that_lets_nobody_in_for_a_while_is_waited_for() {
    let place = database().await;
    let proxy = Proxy::start(&place).await;
    let target = target(proxy.options()).await;
    let cell = cell(
        "strategy = \"single_row\"\non_error = \"collect\"\nstop.rows = 40\n\
         pace = { rate = 100.0 }\n",
    );
    let watcher = place.client().await;
    let cut = async {
        wait_for_rows(&watcher, &target, 0).await;
        proxy.refuse(3);
        proxy.cut();
    };
    let (outcome, ()) = tokio::join!(run(&target, &cell), cut);
    let outcome = outcome.unwrap();
    // What was on its way is in doubt; what came next waited, and no row is given up.
    assert_eq!((outcome.ended, outcome.rows_failed), (Ended::Done, 0), "{}", brief(&outcome));
    assert!(outcome.in_doubt.row_count() <= 1, "{}", brief(&outcome));
    assert_eq!(outcome.confirmed.row_count() + outcome.in_doubt.row_count(), 40);
    assert_eq!(outcome.measurement.errors.get("connect"), Some(&3), "{}", brief(&outcome));
    assert_eq!(outcome.measurement.pushed_back, 3, "{}", brief(&outcome));
    check_settled(&place, &target, &outcome).await;
    target.close().await.unwrap();
}

/// Adds a trigger that raises an error for every fifth row. The sequence counts attempts, since it
/// is not rolled back.
async fn raise_for_every_fifth_row(client: &Client, target: &PgTarget, sqlstate: &str) {
    let schema = target.schema();
    let add = format!(
        "SET search_path TO \"{schema}\"; DROP SEQUENCE IF EXISTS attempts; \
         CREATE SEQUENCE attempts; \
         CREATE OR REPLACE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF nextval('\"{schema}\".attempts') % 5 = 0 THEN \
             RAISE EXCEPTION 'every fifth' USING ERRCODE = '{sqlstate}'; \
           END IF; \
           RETURN NEW; \
         END $$; \
         CREATE TRIGGER complain BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION complain()"
    );
    client.batch_execute(&add).await.unwrap();
}

#[tokio::test]
async fn push_back_is_retried_and_counted_and_loses_nothing() {
    let place = database().await;
    let target = target(place.options()).await;
    let client = place.client().await;
    for sqlstate in ["40001", "40P01", "55P03", "57014", "53300"] {
        for (strategy, transaction) in [
            ("strategy = \"single_row\"", "autocommit"),
            ("strategy = \"single_row\"", "explicit"),
            ("strategy = \"multi_row\"\nbatch_rows = 2", "autocommit"),
            ("strategy = \"copy_text\"\nbatch_rows = 2", "explicit"),
        ] {
            target.reset_table().await.unwrap();
            raise_for_every_fifth_row(&client, &target, sqlstate).await;
            let cell = cell(&format!(
                "{strategy}\ntransaction = \"{transaction}\"\nworkers = 2\nstop.rows = 40\n"
            ));
            let outcome = run(&target, &cell).await.unwrap();
            assert_eq!(outcome.ended, Ended::Done, "{}", brief(&outcome));
            let measured = &outcome.measurement;
            assert_eq!(outcome.confirmed.row_count(), 40, "{}", brief(&outcome));
            assert_eq!(measured.operations, 40 / cell.batch_rows, "{}", brief(&outcome));
            assert!(8 <= measured.pushed_back, "{}", brief(&outcome));
            assert_eq!(measured.errors.get(sqlstate), Some(&measured.pushed_back));
            assert_eq!((outcome.rows_failed, outcome.error.is_none()), (0, true));
            check_settled(&place, &target, &outcome).await;
        }
    }
    target.close().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_is_held_for_a_while_is_waited_out() {
    let place = database().await;
    let waits = format!("ALTER DATABASE {} SET lock_timeout = '30ms'", place.database);
    place.client().await.batch_execute(&waits).await.unwrap();
    let target = target(place.options()).await;
    let mut client = place.client().await;
    let cell = cell("strategy = \"single_row\"\nworkers = 3\nstop = { seconds = 1.0 }\n");
    let table = format!("\"{}\".users", target.schema());
    let lock = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let transaction = client.transaction().await.unwrap();
        // INSERT waits for it; a plan of INSERT that exists does not become invalid by it.
        let lock = format!("SET LOCAL lock_timeout = 0; LOCK TABLE {table} IN SHARE MODE");
        transaction.batch_execute(&lock).await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        transaction.commit().await.unwrap();
    };
    let (outcome, ()) = tokio::join!(run(&target, &cell), lock);
    let outcome = outcome.unwrap();
    assert_eq!(outcome.ended, Ended::Done, "{}", brief(&outcome));
    let measured = &outcome.measurement;
    assert!(0 < measured.pushed_back, "{}", brief(&outcome));
    assert_eq!(measured.errors.get("55P03"), Some(&measured.pushed_back), "{}", brief(&outcome));
    assert_eq!((outcome.rows_failed, outcome.error.is_none()), (0, true), "{}", brief(&outcome));
    assert_eq!(measured.operations, outcome.confirmed.row_count(), "{}", brief(&outcome));
    check_settled(&place, &target, &outcome).await;
    target.close().await.unwrap();
}

#[tokio::test]
async fn what_sessions_wait_for_is_sampled() {
    let place = database().await;
    let target = target(place.options()).await;
    let (client, watcher) = (place.client().await, place.client().await);
    let lock = format!("BEGIN; LOCK TABLE \"{}\".users IN SHARE MODE", target.schema());
    let cell = cell("strategy = \"single_row\"\nworkers = 2\nstop = { seconds = 1.5 }\n");
    let hold = async {
        wait_for_rows(&watcher, &target, 0).await;
        client.batch_execute(&lock).await.unwrap();
        // Several windows of 100 ms.
        tokio::time::sleep(Duration::from_millis(800)).await;
        client.batch_execute("COMMIT").await.unwrap();
    };
    let (outcome, ()) = tokio::join!(run(&target, &cell), hold);
    let outcome = outcome.unwrap();
    let waits = outcome.wait_events.get("Lock:relation").copied().unwrap_or(0);
    assert!(0 < waits, "{:?}", outcome.wait_events);
    check_settled(&place, &target, &outcome).await;
    target.close().await.unwrap();
}

#[tokio::test]
async fn push_back_without_end_fails_the_operation() {
    let place = database().await;
    let target = target(place.options()).await;
    let always = format!(
        "SET search_path TO \"{}\"; CREATE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql \
         AS $$ BEGIN RAISE EXCEPTION 'never' USING ERRCODE = '40001'; END $$; \
         CREATE TRIGGER complain BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION complain()",
        target.schema()
    );
    place.client().await.batch_execute(&always).await.unwrap();
    let outcome = run(&target, &cell("strategy = \"single_row\"\nstop.rows = 5\n")).await.unwrap();
    assert_eq!((outcome.ended, outcome.rows_failed), (Ended::Failed, 1), "{}", brief(&outcome));
    // Six attempts after the first, then the operation's own end.
    assert_eq!(outcome.measurement.pushed_back, 6, "{}", brief(&outcome));
    assert_eq!(outcome.measurement.errors.get("40001"), Some(&7), "{}", brief(&outcome));
    check_settled(&place, &target, &outcome).await;
    target.close().await.unwrap();
}

#[tokio::test]
async fn rows_that_are_rejected_are_named_and_the_rest_is_exact() {
    let place = database().await;
    let target = target(place.options()).await;
    let client = place.client().await;
    for (sqlstate, strategy, transaction) in [
        ("23505", "strategy = \"single_row\"", "autocommit"),
        ("22001", "strategy = \"single_row\"", "explicit"),
        ("23514", "strategy = \"multi_row\"\nbatch_rows = 4", "autocommit"),
        ("23505", "strategy = \"copy_binary\"\nbatch_rows = 4", "explicit"),
        ("23505", "strategy = \"pipelined\"\nbatch_rows = 4", "explicit"),
        ("23505", "strategy = \"pipelined\"\nbatch_rows = 4", "autocommit"),
    ] {
        for on_error in ["collect", "fail_fast"] {
            target.reset_table().await.unwrap();
            raise_for_every_fifth_row(&client, &target, sqlstate).await;
            let cell = cell(&format!(
                "{strategy}\ntransaction = \"{transaction}\"\non_error = \"{on_error}\"\n\
                 stop.rows = 40\n"
            ));
            let outcome = run(&target, &cell).await.unwrap();
            let about = format!("{strategy} {transaction} {on_error} {}", brief(&outcome));
            match on_error {
                "collect" => assert_eq!(outcome.ended, Ended::Done, "{about}"),
                _ => assert_eq!((outcome.ended, outcome.rejections.len()), (Ended::Failed, 1)),
            }
            let errors = outcome.measurement.errors.get(sqlstate).copied().unwrap_or(0);
            assert!(0 < errors && errors == outcome.rejections.len() as u64, "{about}");
            for rejection in &outcome.rejections {
                assert_eq!(rejection.code, sqlstate);
                assert!(rejection.message.contains("every fifth"), "{rejection:?}");
                let rows: u64 = rejection.rows.iter().map(|range| range.row_count()).sum();
                // Of the rows of a pipeline, those before the error went in.
                assert!(0 < rows && rows <= cell.batch_rows, "{about}");
            }
            let rows =
                outcome.confirmed.row_count() + outcome.in_doubt.row_count() + outcome.rows_failed;
            let sent = if on_error == "collect" { 40 } else { rows };
            assert_eq!(rows, sent, "{about}");
            check_settled(&place, &target, &outcome).await;
        }
    }
    target.close().await.unwrap();
}

/// Rows 0 to 3 are confirmed, the fifth is rejected: nothing that the server had answered for is in
/// doubt, and nothing is sent after the error if only one statement may be in flight.
#[tokio::test]
async fn what_a_pipeline_had_confirmed_before_its_error_stays_confirmed() {
    let place = database().await;
    let target = target(place.options()).await;
    let client = place.client().await;
    for (in_flight, transaction, confirmed, in_doubt, failed) in
        [(1, "autocommit", 4, 16, 0), (7, "autocommit", 4, 16, 0), (1, "explicit", 0, 0, 20)]
    {
        target.reset_table().await.unwrap();
        raise_for_every_fifth_row(&client, &target, "23505").await;
        let cell = cell(&format!(
            "strategy = \"pipelined\"\nbatch_rows = 20\nin_flight = {in_flight}\n\
             transaction = \"{transaction}\"\nstop.rows = 20\n"
        ));
        let outcome = run(&target, &cell).await.unwrap();
        let (sure, doubt) = (outcome.confirmed.row_count(), outcome.in_doubt.row_count());
        let about = brief(&outcome);
        assert_eq!((sure, doubt, outcome.rows_failed), (confirmed, in_doubt, failed), "{about}");
        let rejected: u64 = outcome.rejections[0].rows.iter().map(|it| it.row_count()).sum();
        assert_eq!(rejected, 20 - confirmed, "{about}");
        check_settled(&place, &target, &outcome).await;
    }
    target.close().await.unwrap();
}

#[tokio::test]
async fn a_pipeline_that_is_pushed_back_inserts_no_row_twice() {
    let place = database().await;
    let target = target(place.options()).await;
    let client = place.client().await;
    for transaction in ["autocommit", "explicit"] {
        target.reset_table().await.unwrap();
        raise_for_every_fifth_row(&client, &target, "40001").await;
        let cell = cell(&format!(
            "strategy = \"pipelined\"\nbatch_rows = 4\ntransaction = \"{transaction}\"\n\
             on_error = \"collect\"\nstop.rows = 40\n"
        ));
        let outcome = run(&target, &cell).await.unwrap();
        assert!(outcome.measurement.errors.contains_key("40001"), "{}", brief(&outcome));
        check_settled(&place, &target, &outcome).await;
    }
    target.close().await.unwrap();
}

#[tokio::test]
async fn workers_share_a_pool_that_is_smaller_than_they_are_many() {
    use batchpilot::measure::Kind;
    let place = database().await;
    let target = target(place.options()).await;
    let client = place.client().await;
    let cell = cell(
        "strategy = \"multi_row\"\nbatch_rows = 20\nworkers = 6\nstop = { seconds = 0.7 }\n\
         pool = { size_max = 2 }\n",
    );
    let most = async {
        let mut most = 0_i64;
        for _ in 0..50 {
            let query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT%' \
                         AND application_name LIKE 'batchpilot %' AND datname = current_database()";
            most = most.max(client.query_one(query, &[]).await.unwrap().get(0));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        most
    };
    let (outcome, most) = tokio::join!(run(&target, &cell), most);
    let outcome = outcome.unwrap();
    assert_eq!((outcome.ended, most), (Ended::Done, 2), "{}", brief(&outcome));
    // Four of six wait at any time: about two operations' time each. Half of that is enough here.
    let total = |kind: Kind| {
        let histogram = outcome.measurement.histograms.of(kind);
        histogram.mean() * histogram.len() as f64
    };
    let (wait, service) = (total(Kind::PoolWait), total(Kind::Service));
    assert!(service < wait, "pool wait {wait:.0} ns, service {service:.0} ns");
    check_settled(&place, &target, &outcome).await;
    target.close().await.unwrap();
}

#[tokio::test]
async fn a_pool_that_cannot_be_filled_is_closed_again() {
    let place = database().await;
    let plain = place.with_plain_role().await;
    let client = place.client().await;
    let limit = format!("ALTER ROLE {} CONNECTION LIMIT 3", plain.user);
    client.batch_execute(&limit).await.unwrap();
    let target = target(plain.options()).await;
    let error = run(&target, &cell("strategy = \"unnest\"\nworkers = 5\n")).await.unwrap_err();
    assert!(error.to_string().contains("session 3 of 5"), "{error}");
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND application_name LIKE 'batchpilot %'";
    wait_for(&client, sessions, |count| count == 1).await;
    target.close().await.unwrap();
}

#[tokio::test]
async fn a_session_that_does_not_become_free_in_time_is_said() {
    let place = database().await;
    let target = target(place.options()).await;
    // One worker keeps the only session for its transaction; the other cannot have it. No scenario
    // can ask for that.
    let mut cell = cell(
        "strategy = \"single_row\"\nworkers = 2\ntransaction = \"whole\"\n\
         stop = { seconds = 3.0 }\npool = { acquire_timeout_ms = 200 }\n",
    );
    cell.pool.size_max = 1;
    let outcome = run(&target, &cell).await.unwrap();
    assert_eq!(outcome.ended, Ended::Failed, "{}", brief(&outcome));
    let error = outcome.error.as_ref().unwrap().to_string();
    let expected =
        "no session became free within 200 ms; raise pool.size_max or acquire_timeout_ms";
    assert_eq!(error, expected);
    assert_eq!(outcome.measurement.errors.get("pool_timeout"), Some(&1), "{}", brief(&outcome));
    assert_eq!(outcome.rows_failed, 1, "{}", brief(&outcome));
    check_settled(&place, &target, &outcome).await;
    target.close().await.unwrap();
}
