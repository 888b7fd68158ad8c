//! What a guardian and its owner say to each other: one JSON value a line, over pipes.
//!
//! **Invariant:** the password travels only here, never in arguments or environment.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::{ClusterError, Stage};

/// The second line that an owner may send: stop in good order. The end of the pipe means the same,
/// in haste.
pub(super) const STOP: &str = "stop";

/// Settings that decide where the server is found; changing them would cut the owner off.
const RESERVED: &[&str] = &[
    "cluster_name",
    "config_file",
    "data_directory",
    "hba_file",
    "ident_file",
    "listen_addresses",
    "port",
    "unix_socket_directories",
];

/// The first line that an owner sends. No Debug: it holds the password.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) password: String,
    pub(super) settings: Vec<(String, String)>,
}

/// What a guardian answers: `Ready` or `Failed`, and `Failed` once more if the server dies.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    Ready { directory: PathBuf, port: u16, postmaster_pid: u32 },
    Failed { stage: Stage, cause: String, log: String },
}

/// Renders `settings` as lines of postgresql.conf, or says which of them cannot be set.
pub(super) fn config_lines(settings: &[(String, String)]) -> Result<String, ClusterError> {
    settings.iter().map(|(name, value)| config_line(name, value)).collect()
}

fn config_line(name: &str, value: &str) -> Result<String, ClusterError> {
    let refuse = |problem| Err(ClusterError::Setting { name: name.to_owned(), problem });
    let plain = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '.';
    if name.is_empty() || !name.chars().all(plain) {
        return refuse("a name is made of letters, digits, `_` and `.`");
    }
    if RESERVED.iter().any(|it| it.eq_ignore_ascii_case(name)) {
        return refuse("batchpilot sets this itself, to find the server again");
    }
    if value.contains(['\n', '\r', '\0']) {
        return refuse("a value is one line");
    }
    let quoted = value.replace('\\', r"\\").replace('\'', "''");
    Ok(format!("{name} = '{quoted}'\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_quoted_as_postgresql_reads_them() {
        let line = config_line("log_line_prefix", r"it's \n %m").unwrap();
        assert_eq!(line, "log_line_prefix = 'it''s \\\\n %m'\n");
    }

    #[test]
    fn settings_that_would_lose_the_server_are_refused() {
        for (name, value) in [("port", "1"), ("Listen_Addresses", "*"), ("", "1"), ("a b", "1")] {
            assert!(config_line(name, value).is_err(), "{name}");
        }
        assert!(config_line("fsync", "on\nport = 1").is_err());
    }
}
