//! `hold-cluster`, hidden: starts a private PostgreSQL and holds it, for tests to kill.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
};

use serde_json::json;
use tokio_postgres::{Config, NoTls};

use crate::cluster::{Cluster, ClusterOptions, Lookup, find};

/// The name of the hidden subcommand.
pub(super) const SUBCOMMAND: &str = "hold-cluster";
/// With this argument, a backend is kept at work that it does not interrupt for I/O.
const BUSY: &str = "busy";
const BUSY_QUERY: &str = "SELECT sum(i) FROM generate_series(1, 1000000000000) AS i";

/// Starts a cluster, prints where it is as one line of JSON, and stops it when its input ends.
pub(super) fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(hold(arguments.iter().any(|it| it == BUSY)));
    // Its thread for standard input may be waiting still.
    runtime.shutdown_background();
    outcome
}

async fn hold(is_busy: bool) -> anyhow::Result<()> {
    let binaries = find(&Lookup::from_env(), None)?;
    let guardian = env::current_exe()?;
    let options = ClusterOptions { binaries, guardian, settings: Vec::new() };
    let cluster = Cluster::start(options).await?;
    if is_busy {
        tokio::spawn(keep_busy(config(&cluster)));
    }
    let place = json!({
        "socket_dir": cluster.socket_dir(),
        "port": cluster.port(),
        "postmaster_pid": cluster.postmaster_pid(),
        "guardian_pid": cluster.guardian_pid(),
    });
    writeln!(io::stdout(), "{place}")?;
    let input = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    input.await??;
    cluster.stop().await?;
    Ok(())
}

fn config(cluster: &Cluster) -> Config {
    let mut config = Config::new();
    config.host_path(cluster.socket_dir()).port(cluster.port());
    config.user(cluster.user()).password(cluster.password()).dbname(cluster.database());
    config
}

async fn keep_busy(config: Config) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    let query = client.batch_execute(BUSY_QUERY);
    tokio::try_join!(connection, query).map(drop)
}
