//! What a server is, as the record keeps it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the server is. No secrets.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ServerInfo {
    /// `version()`.
    pub version: String,
    /// `server_version_num`, such as 150018.
    pub version_num: u32,
    /// Where it was reached, without password.
    pub address: String,
    /// Which running server it is, whatever it was called by: its system identifier and the start of
    /// its postmaster; `None` where that is not known.
    #[serde(default)]
    pub instance: Option<String>,
    /// Whether through a Unix-domain socket.
    pub unix_socket: bool,
    /// TLS version and cipher, if the connection has any.
    pub tls: Option<String>,
    /// Whether the role may ask for a CHECKPOINT before each block.
    pub may_checkpoint: bool,
    /// Sessions that the role may still open, as far as the limits of server, database and role say;
    /// `None` where that is not known.
    #[serde(default)]
    pub sessions_free: Option<u32>,
    /// Settings that decide what a commit is worth and costs.
    pub durability: BTreeMap<String, String>,
    /// Every other setting whose value is not the default one.
    pub settings: BTreeMap<String, String>,
    /// Round trip of an empty prepared statement.
    pub round_trip: Probe,
    /// COMMIT of a transaction that inserted one row.
    pub commit: Probe,
}

/// A latency measured before the run, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Probe {
    /// How often it was measured.
    pub n: u64,
    /// Median.
    pub latency_ns_p50: u64,
    /// 99th percentile.
    pub latency_ns_p99: u64,
}
