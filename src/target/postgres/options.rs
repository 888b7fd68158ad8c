//! How to reach a server: a URL, or the environment variables that every PostgreSQL client knows.

use std::{path::Path, time::Duration};

use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

use super::tls::Trust;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach a server. Its debug output never shows the password.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    pub(super) config: Config,
    pub(super) trust: Trust,
}

/// Why a URL or the environment names no server.
#[derive(Debug, thiserror::Error)]
#[error("{source_name}: {problem}")]
pub struct OptionsError {
    /// Where the value came from: `--url`, `DATABASE_URL`, `PGPORT`, …
    pub source_name: String,
    /// What is wrong, and what was expected. Never the value: it may hold a password.
    pub problem: String,
}

impl ConnectOptions {
    /// Reads a connection URL or a libpq connection string. `source_name` says where it came from.
    /// Where it names no password or no `sslmode`, `PGPASSWORD` and `PGSSLMODE` count, as they do for
    /// libpq.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without showing it.
    pub fn parse(
        text: &str,
        source_name: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<ConnectOptions, OptionsError> {
        let bad = |problem: String| OptionsError { source_name: source_name.to_owned(), problem };
        let (text, trust) = match text.replace("sslmode=verify-full", "sslmode=require") {
            replaced if replaced == text => (replaced, Trust::Anyone),
            replaced => (replaced, Trust::VerifyFull),
        };
        let mut config: Config = text.trim().parse().map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            bad(format!(
                "not a connection URL ({}); expected postgresql://user@host:5432/database",
                cause.unwrap_or_else(|| error.to_string())
            ))
        })?;
        if config.get_hosts().is_empty() {
            return Err(bad("no host; expected postgresql://user@host:5432/database".to_owned()));
        }
        if config.get_password().is_none()
            && let Some(password) = variable("PGPASSWORD")
        {
            config.password(password);
        }
        let mode = variable("PGSSLMODE").filter(|_| !text.contains("sslmode"));
        let trust = mode.map_or(Ok(trust), |mode| set_ssl_mode(&mut config, &mode))?;
        Ok(ConnectOptions::with_defaults(config, trust))
    }

    /// Reads `PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`, `PGPASSWORD`, `PGSSLMODE`. `None` if
    /// neither host, port, user nor database is set.
    ///
    /// # Errors
    ///
    /// The variable that cannot be read.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<ConnectOptions>, OptionsError> {
        let names = ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE"];
        if names.iter().all(|name| variable(name).is_none()) {
            return Ok(None);
        }
        let mut config = Config::new();
        let host = variable("PGHOST").unwrap_or_else(|| "localhost".to_owned());
        if host.starts_with('/') {
            config.host_path(&host)
        } else {
            config.host(&host)
        };
        if let Some(port) = variable("PGPORT") {
            let problem = format!("`{port}` is no port; expected 1 to 65535");
            let source_name = "PGPORT".to_owned();
            config.port(port.parse().map_err(|_| OptionsError { source_name, problem })?);
        }
        if let Some(database) = variable("PGDATABASE") {
            config.dbname(database);
        }
        if let Some(user) = variable("PGUSER").or_else(|| variable("USER")) {
            config.user(user);
        }
        if let Some(password) = variable("PGPASSWORD") {
            config.password(password);
        }
        let mode = variable("PGSSLMODE");
        let trust = mode.map_or(Ok(Trust::Anyone), |mode| set_ssl_mode(&mut config, &mode))?;
        Ok(Some(ConnectOptions::with_defaults(config, trust)))
    }

    /// A private server: its socket directory or 127.0.0.1, and the password made for it.
    pub fn private(
        socket_directory: Option<&Path>,
        port: u16,
        user: &str,
        password: &str,
        database: &str,
    ) -> ConnectOptions {
        let mut config = Config::new();
        match socket_directory {
            Some(directory) => config.host_path(directory),
            None => config.host("127.0.0.1"),
        };
        config.port(port).user(user).password(password).dbname(database);
        config.ssl_mode(SslMode::Disable);
        ConnectOptions::with_defaults(config, Trust::Anyone)
    }

    fn with_defaults(mut config: Config, trust: Trust) -> ConnectOptions {
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("batchpilot");
        }
        // As libpq does: no TLS inside the machine, where there is no host name to check.
        if matches!(config.get_hosts().first(), Some(Host::Unix(_))) {
            config.ssl_mode(SslMode::Disable);
        }
        ConnectOptions { config, trust }
    }

    /// Has all sessions carry the run in their `application_name`: the server's lists tell them from
    /// those of other runs by it.
    pub(super) fn named_after(mut self, run: &str) -> ConnectOptions {
        let base = self.config.get_application_name().unwrap_or_default();
        // PostgreSQL cuts it at 63 bytes, and replaces what is not ASCII.
        let base: String = base.chars().filter(char::is_ascii).take(50).collect();
        self.config.application_name(format!("{base} {run}"));
        self
    }

    /// Returns `host:port/database as user`, without password.
    pub fn address(&self) -> String {
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                #[cfg(unix)]
                Host::Unix(path) => format!("{}/.s.PGSQL.{port}", path.display()),
            })
            .collect();
        let user = self.config.get_user().unwrap_or("?");
        let database = self.config.get_dbname().unwrap_or(user);
        format!("{}, database {database}, user {user}", hosts.join(","))
    }

    /// Returns whether the server is reached through a Unix-domain socket.
    pub fn is_unix_socket(&self) -> bool {
        matches!(self.config.get_hosts().first(), Some(Host::Unix(_)))
    }
}

/// Takes the value of `PGSSLMODE`.
fn set_ssl_mode(config: &mut Config, mode: &str) -> Result<Trust, OptionsError> {
    let (mode, trust) = match mode {
        "verify-full" => ("require", Trust::VerifyFull),
        mode => (mode, Trust::Anyone),
    };
    let problem = format!("`{mode}` is unknown; expected disable, prefer, require, verify-full");
    let source_name = "PGSSLMODE".to_owned();
    let parsed: Config =
        format!("sslmode={mode}").parse().map_err(|_| OptionsError { source_name, problem })?;
    config.ssl_mode(parsed.get_ssl_mode());
    Ok(trust)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn a_url_without_password_or_sslmode_takes_those_of_the_environment() {
        let variable = |name: &str| match name {
            "PGPASSWORD" => Some("s3cret".to_owned()),
            "PGSSLMODE" => Some("verify-full".to_owned()),
            _ => None,
        };
        let parse = |url: &str| ConnectOptions::parse(url, "--url", variable).unwrap();
        let bare = parse("postgresql://ann@db.example/shop");
        assert_eq!(bare.config.get_password(), Some(&b"s3cret"[..]));
        assert_eq!(bare.config.get_ssl_mode(), SslMode::Require);
        assert!(matches!(bare.trust, Trust::VerifyFull));
        let full = parse("postgresql://ann:own@db.example/shop?sslmode=disable");
        assert_eq!(full.config.get_password(), Some(&b"own"[..]));
        assert_eq!(full.config.get_ssl_mode(), SslMode::Disable);
        assert!(matches!(full.trust, Trust::Anyone));
        let wrong = |name: &str| (name == "PGSSLMODE").then(|| "maybe".to_owned());
        let error = ConnectOptions::parse("postgresql://ann@db.example/shop", "--url", wrong);
        assert!(error.unwrap_err().to_string().starts_with("PGSSLMODE: `maybe` is unknown"));
    }

    #[test]
    fn errors_and_debug_output_hide_the_password() {
        let url = "postgresql://ann:s3cret@db.example:5433/shop";
        let options = ConnectOptions::parse(url, "--url", nothing).unwrap();
        assert_eq!(options.address(), "db.example:5433, database shop, user ann");
        assert!(!format!("{options:?}").contains("s3cret"));
        let url = "postgresql://ann:s3cret@:x/";
        let error = ConnectOptions::parse(url, "--url", nothing).unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn the_environment_names_a_server_only_if_it_says_where_or_who() {
        let none =
            ConnectOptions::from_environment(|name| (name == "PGPASSWORD").then(|| "x".to_owned()));
        assert!(none.unwrap().is_none());
        let some = ConnectOptions::from_environment(|name| match name {
            "PGHOST" => Some("/run/postgresql".to_owned()),
            "PGUSER" => Some("ann".to_owned()),
            _ => None,
        });
        let address = some.unwrap().unwrap().address();
        assert_eq!(address, "/run/postgresql/.s.PGSQL.5432, database ann, user ann");
        let bad =
            ConnectOptions::from_environment(|name| (name == "PGPORT").then(|| "x".to_owned()));
        assert!(bad.unwrap_err().to_string().starts_with("PGPORT: `x` is no port"));
    }
}
