//! What a run ran on and how it was measured, a line each.

use serde::Serialize;

use crate::{
    record::{Host, Record, ServerInfo},
    stats::format::{number, time_ns, time_us},
};

/// A name and what is known under it.
#[derive(Serialize)]
pub(super) struct Fact {
    name: String,
    value: String,
}

impl Fact {
    pub(super) fn new(name: &str, value: impl Into<String>) -> Fact {
        Fact { name: name.to_owned(), value: value.into() }
    }
}

/// What a simulated server was, in a sentence or two; `None` of a real one.
pub(super) fn simulation(record: &Record) -> Option<String> {
    let sim = record.plan.sim.as_ref()?;
    Some(format!(
        "This run took place in virtual time on a simulated server (seed {}): no number here was \
         measured on a database. It has {} cores, a round trip of {}, commits in {}, and {} of CPU \
         time a row; record.json holds all of it.",
        sim.seed,
        number(sim.before.cores),
        time_us(sim.before.round_trip_s * 1e6),
        time_us(sim.before.fsync_s * 1e6),
        time_us(sim.before.row_cpu_s * 1e6),
    ))
}

pub(super) fn environment(record: &Record) -> Vec<Fact> {
    if let Some(simulation) = simulation(record) {
        return vec![Fact::new("Server", simulation), Fact::new("batchpilot", &record.batchpilot)];
    }
    let environment = &record.environment;
    let steal = environment.steal.map_or("not known".to_owned(), |steal| {
        format!("{} % of the CPU time during the run", number(steal * 100.0))
    });
    let mut facts = server(&environment.server, environment.private_server);
    facts.extend([
        machine(&environment.client),
        Fact::new("Storage of the data", environment.storage.as_deref().unwrap_or("not known")),
        busy(environment.cpu_busy_before),
        load(environment.load_before),
        Fact::new("Taken by the hypervisor", steal),
        Fact::new("batchpilot", &record.batchpilot),
        Fact::new(
            "Memory of batchpilot",
            record.client_memory_peak_bytes.map_or("not known".to_owned(), |bytes| {
                format!("{} MiB resident at most", number(bytes as f64 / f64::from(1 << 20)))
            }),
        ),
    ]);
    facts
}

/// A server: what it is and how it was reached.
pub(super) fn server(server: &ServerInfo, is_private: bool) -> Vec<Fact> {
    let (trip, commit) = (server.round_trip, server.commit);
    let private = if is_private { ", started for this run" } else { "" };
    let way = match (server.unix_socket, &server.tls) {
        (true, _) => "Unix-domain socket".to_owned(),
        (false, Some(tls)) => format!("TCP, TLS: {tls}"),
        (false, None) => "TCP, no TLS".to_owned(),
    };
    let durability: Vec<String> =
        server.durability.iter().map(|(name, value)| format!("{name} {}", set(value))).collect();
    vec![
        Fact::new("Server", format!("{}{private}", known(&server.version))),
        Fact::new("Durability", known(&durability.join(", "))),
        Fact::new("Reached by", way),
        Fact::new(
            "Round trip of SELECT 1",
            probe(trip.n, trip.latency_ns_p50, trip.latency_ns_p99),
        ),
        Fact::new(
            "COMMIT of one row",
            probe(commit.n, commit.latency_ns_p50, commit.latency_ns_p99),
        ),
        Fact::new("CHECKPOINT before each block", may(server.may_checkpoint)),
    ]
}

pub(super) fn machine(client: &Host) -> Fact {
    let gibibytes = client.memory_bytes as f64 / f64::from(1 << 30);
    Fact::new(
        "Client machine",
        format!(
            "{} x {}, {} GiB memory, {}, kernel {}",
            client.cpus,
            known(&client.cpu),
            number(gibibytes),
            known(&client.system),
            known(&client.kernel)
        ),
    )
}

pub(super) fn busy(share: Option<f64>) -> Fact {
    let busy = share.map_or("not known".to_owned(), |busy| {
        format!("{} % of the CPU time, over half a second", number(busy * 100.0))
    });
    Fact::new("CPU busy before the run", busy)
}

pub(super) fn load(load: f64) -> Fact {
    Fact::new("Load before the run", format!("{load:.2}, 1-minute average"))
}

/// Settings of the server that are not the default ones.
pub(super) fn settings(record: &Record) -> Vec<Fact> {
    let settings = &record.environment.server.settings;
    settings.iter().map(|(name, value)| Fact::new(name, set(value))).collect()
}

pub(super) fn method(record: &Record) -> Vec<String> {
    let plan = &record.plan;
    let indexes = match plan.table.indexes.len() {
        0 => "no secondary index".to_owned(),
        _ => format!("an index on each of {}", plan.table.indexes.join(", ")),
    };
    let ended =
        record.finished_at.as_ref().map_or("did not end".to_owned(), |it| format!("ended {it}"));
    vec![
        format!(
            "{} blocks: {} cells, {} repetitions each. The cells of a repetition run one after \
             the other in a random order (seed {}), and insert the same rows; what drifts hits \
             all cells alike.",
            plan.blocks.len(),
            plan.cells.len(),
            plan.repetitions,
            plan.seed,
        ),
        format!(
            "Each block fills the table {} anew{} ({indexes}){}; when it ends, every row is read \
             back and compared with what was sent.",
            plan.table.name,
            if plan.table.unlogged { ", UNLOGGED" } else { "" },
            if record.environment.server.may_checkpoint { ", after a CHECKPOINT" } else { "" },
        ),
        "A rate is the geometric mean of the blocks' rates, with Student's 95 % interval of the \
         mean of their logarithms; n counts blocks. A ratio of cells is taken within each \
         repetition. What lies inside a block is not independent and never enters an interval."
            .to_owned(),
        "Latencies are of one operation: a batch, from its first step on its session to the \
         confirmation (service), or from its intended start (response). Percentiles are of all \
         operations of the valid blocks together; histograms are added, percentiles never averaged."
            .to_owned(),
        format!(
            "Windows of {} ms; the client ran on {} thread{}. Encoding is part of every \
             operation, building rows of none.",
            plan.window_ms,
            plan.client_threads,
            if plan.client_threads == 1 { "" } else { "s" },
        ),
        format!("Begun {}, {ended}.", record.started_at),
    ]
}

fn probe(n: u64, ns_p50: u64, ns_p99: u64) -> String {
    if n == 0 {
        return "not measured".to_owned();
    }
    format!("p50 {}, p99 {}, n = {n}", time_ns(ns_p50), time_ns(ns_p99))
}

fn known(text: &str) -> &str {
    if text.is_empty() { "not known" } else { text }
}

/// An empty value reads as a mistake.
fn set(value: &str) -> &str {
    if value.is_empty() { "(empty)" } else { value }
}

fn may(allowed: bool) -> &'static str {
    if allowed { "yes" } else { "no, the role may not" }
}
