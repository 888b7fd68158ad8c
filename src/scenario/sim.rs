//! What a scenario file says of a simulated server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A simulated server in place of a real one: the run takes place in virtual time, seconds for
/// minutes, and its record says so. Strategies cost the same on it. Each block begins at second 0.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sim {
    /// Kind of server to draw, with its weather and what happens to it; keys below win over what was
    /// drawn. Without it: a plain server without weather.
    pub family: Option<SimFamily>,
    /// Seed of the server, its weather, latencies and errors. Default: the scenario's.
    pub seed: Option<u64>,
    /// Length of what a family draws, in seconds: changes come at half of it. Default 300, 1 to
    /// 86,400.
    pub horizon_s: Option<f64>,
    /// Most that p99 may be, in milliseconds: the true optimum then is the best that keeps it.
    pub p99_limit_ms: Option<f64>,
    /// What the server can do.
    #[serde(default)]
    pub server: SimServer,
    /// What makes it faster or slower from moment to moment.
    #[serde(default)]
    pub weather: SimWeather,
    /// What is different from some moment on.
    pub change: Option<SimChange>,
    /// What goes wrong.
    #[serde(default)]
    pub errors: SimErrors,
}

/// Kinds of simulated servers, as `replay --arena` has them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SimFamily {
    /// 5 % noise, no stalls.
    Quiet,
    /// 10 % noise, a stall of 5 s every 25 to 35 s; so have all families below.
    Mid,
    /// 15 % noise.
    Noisy,
    /// Cliffs in both directions, and 7 % that no model explains.
    Weird,
    /// Noise with a memory of 5 s instead of 0.5 s.
    SlowNoise,
    /// The capacity falls to a quarter over the whole time.
    Drift,
    /// The round trip goes from 0.1 to 2 ms at half time.
    RoundTrip,
    /// The round trip goes from 0.1 to 10 ms at half time.
    RoundTripFar,
    /// Three quarters of the cores are lost at half time.
    Cores,
    /// A row costs three times as much from half time on.
    Slow,
    /// A limit on p99.
    Limit,
    /// A limit on p99, and a row costs three times as much from half time on.
    LimitSlow,
    /// A limit on p99, and the round trip goes from 0.1 to 2 ms at half time.
    LimitRoundTrip,
}

/// What a simulated server can do.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SimServer {
    /// Cores; a share of one is possible. Default 4.
    pub cores: Option<f64>,
    /// Round trip, in milliseconds. Default 1.
    pub round_trip_ms: Option<f64>,
    /// Making a commit durable, in milliseconds. Default 1.
    pub fsync_ms: Option<f64>,
    /// CPU time of an operation, whatever it carries, in microseconds. Default 100.
    pub operation_cpu_us: Option<f64>,
    /// CPU time of a row, in microseconds. Default 10.
    pub row_cpu_us: Option<f64>,
    /// Time that a row needs of the one log, in microseconds. Default 1.
    pub row_log_us: Option<f64>,
    /// Batch rows at which a row costs half as much again. Default 10,000.
    pub row_knee: Option<f64>,
    /// What each further operation in flight adds to the CPU time of all (the universal scalability
    /// law's contention). Default 0.01.
    pub contention: Option<f64>,
    /// What each pair of them adds (its coherence). Default 0.0001.
    pub coherence: Option<f64>,
    /// A cliff in the cost of a row, by batch rows.
    pub batch_cliff: Option<SimCliff>,
    /// A cliff in all CPU time, by operations in flight.
    pub worker_cliff: Option<SimCliff>,
    /// Standard deviation of the logarithm of an operation's latency. Default 0.3.
    pub tail: Option<f64>,
    /// Standard deviation of what no model of this form explains, drawn by the seed. Default 0, or
    /// as the family draws it.
    pub misfit: Option<f64>,
}

/// Costs rise by a factor from somewhat below a place to somewhat above it.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SimCliff {
    /// Where, in rows or operations in flight.
    pub at: f64,
    /// By how much; 1 is no cliff.
    pub factor: f64,
}

/// What makes a simulated server faster or slower from moment to moment.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SimWeather {
    /// Standard deviation that the logarithm of the rate has over half a second. Default 0.
    pub noise: Option<f64>,
    /// Memory of this noise, in seconds. Default 0.5.
    pub noise_memory_s: Option<f64>,
    /// Stalls, which the server's counters explain as checkpoints.
    pub stalls: Option<SimDips>,
    /// Bursts of somebody else's work, which nothing explains.
    pub bursts: Option<SimDips>,
    /// Standard deviation of the logarithm of a drift that comes and goes within minutes. Default 0.
    pub wander: Option<f64>,
}

/// Times at which a simulated server does less, again and again. Each number is drawn evenly between
/// both ends.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SimDips {
    /// Seconds from the start of one to that of the next, `[least, most]`.
    pub every_s: [f64; 2],
    /// Seconds that one lasts.
    pub lasting_s: [f64; 2],
    /// Share of its rate that the server keeps.
    pub rate: [f64; 2],
}

/// What is different from some moment on.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SimChange {
    /// From this second on; without it, and without `blocks`, evenly, over the whole of `horizon_s`.
    pub at_s: Option<f64>,
    /// Only in these blocks, from their start: first and last, counted from 0 as they ran.
    pub blocks: Option<[u64; 2]>,
    /// A new round trip, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Factor on what a row costs. Default 1.
    pub row_cost: Option<f64>,
    /// Divisor of the cores. Default 1.
    pub cores_divisor: Option<f64>,
    /// Factor on `coherence`. Default 1.
    pub coherence: Option<f64>,
}

/// What goes wrong on a simulated server.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SimErrors {
    /// Most sessions: further ones are refused (53300).
    pub sessions_max: Option<u32>,
    /// The second from which on they are refused; those open then stay. Default 0.
    pub sessions_max_from_s: Option<f64>,
    /// Chance that an operation ends as the victim of a deadlock (40P01), for each other operation
    /// in flight. Default 0.
    pub deadlocks: Option<f64>,
    /// Chance that an operation loses its connection before its commit, and the same after it.
    /// Default 0.
    pub disconnects: Option<f64>,
    /// The server ends all sessions, and lets nobody in for a while.
    pub restart: Option<SimSpan>,
    /// The server answers nothing for a while.
    pub silence: Option<SimSpan>,
}

/// A time that something lasts.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SimSpan {
    /// Its first second.
    pub at_s: f64,
    /// How many seconds it lasts.
    pub lasting_s: f64,
}
