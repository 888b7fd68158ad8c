//! Starts a private PostgreSQL and holds it until its input ends: the cluster without the rest.
//!
//! `cargo run --example hold_cluster target/debug/batchpilot [busy]` prints where it is, as one line
//! of JSON. The first argument is the program that guards it. Tests kill this one.

use std::{
    env,
    error::Error,
    ffi::OsStr,
    io::{self, Write},
    process::ExitCode,
};

use batchpilot::cluster::{Cluster, ClusterOptions, Lookup, find};
use serde_json::json;
use tokio_postgres::{Config, NoTls};

/// With this argument, a backend is kept at work that it does not interrupt for I/O.
const BUSY: &str = "busy";
const BUSY_QUERY: &str = "SELECT sum(i) FROM generate_series(1, 1000000000000) AS i";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "{error}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let guardian = arguments.next().ok_or("the first argument is the program of batchpilot")?;
    let is_busy = arguments.next().as_deref() == Some(OsStr::new(BUSY));
    let options = ClusterOptions {
        binaries: find(&Lookup::from_env(), None)?,
        guardian: guardian.into(),
        settings: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(hold(options, is_busy));
    // Its thread for standard input may be waiting still.
    runtime.shutdown_background();
    outcome
}

/// Starts a cluster, prints where it is, and stops it when the input ends.
async fn hold(options: ClusterOptions, is_busy: bool) -> Result<(), Box<dyn Error>> {
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
