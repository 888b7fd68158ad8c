//! Which server to insert into: the user's, or a private one that is started for the run.

use anyhow::Context as _;

use super::{UsageError, args::Common};
use crate::{
    cluster::{Cluster, ClusterOptions, Lookup, find},
    plan::Connection,
    target::postgres::ConnectOptions,
};

/// A server to insert into.
#[derive(Debug)]
pub(super) struct Server {
    /// How to reach it.
    pub(super) options: ConnectOptions,
    /// Set if batchpilot started it, and then must stop it.
    pub(super) cluster: Option<Cluster>,
}

impl Server {
    /// Takes the server that `--url`, `DATABASE_URL`, `PG*` or the scenario names, in this order;
    /// starts a private one if none does.
    pub(super) async fn open(
        common: &Common,
        scenario_url: Option<&str>,
        connection: Connection,
    ) -> anyhow::Result<Server> {
        if let Some(options) = named(common, scenario_url)? {
            if common.pg_bin.is_some() || common.pg_major.is_some() {
                let problem = "--pg-bin and --pg-major choose a private PostgreSQL, but a server \
                               is named by --url, DATABASE_URL, PG* or the scenario";
                return Err(UsageError(problem.to_owned()).into());
            }
            return Ok(Server { options, cluster: None });
        }
        let mut lookup = Lookup::from_env();
        lookup.pg_bin.clone_from(&common.pg_bin);
        let binaries = find(&lookup, common.pg_major)?;
        let guardian = std::env::current_exe().context("cannot find the batchpilot program")?;
        let options = ClusterOptions { binaries, guardian, settings: Vec::new() };
        let cluster = Cluster::start(options).await?;
        let socket = (connection == Connection::Unix).then(|| cluster.socket_dir());
        let options = ConnectOptions::private(
            socket,
            cluster.port(),
            cluster.user(),
            cluster.password(),
            cluster.database(),
        );
        Ok(Server { options, cluster: Some(cluster) })
    }

    /// Stops the server if batchpilot started it.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        if let Some(cluster) = self.cluster {
            cluster.stop().await?;
        }
        Ok(())
    }
}

/// Returns a variable of the environment that is set to something.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What names the server before a scenario's `target.url` is asked, if anything does.
pub(super) fn outranking(common: &Common) -> anyhow::Result<Option<&'static str>> {
    Ok(match (&common.url, variable("DATABASE_URL")) {
        (Some(_), _) => Some("--url"),
        (None, Some(_)) => Some("DATABASE_URL"),
        (None, None) => named(common, None)?.map(|_| "PGHOST and the like"),
    })
}

fn named(common: &Common, scenario_url: Option<&str>) -> anyhow::Result<Option<ConnectOptions>> {
    let usage = |error: crate::target::postgres::OptionsError| UsageError(error.to_string());
    let url = common
        .url
        .clone()
        .map(|url| (url, "--url"))
        .or_else(|| variable("DATABASE_URL").map(|url| (url, "DATABASE_URL")));
    if let Some((url, source)) = url {
        return Ok(Some(ConnectOptions::parse(&url, source, variable).map_err(usage)?));
    }
    if let Some(options) = ConnectOptions::from_environment(variable).map_err(usage)? {
        return Ok(Some(options));
    }
    let scenario = scenario_url.map(|url| ConnectOptions::parse(url, "target.url", variable));
    Ok(scenario.transpose().map_err(usage)?)
}
