//! Whether records may be compared: what else than the server's speed differs between them.
//!
//! A machine's class is what a fleet of alike machines has in common. Its name is not part of it, nor
//! is its clock: a processor that says 2,600 MHz today and 2,596 tomorrow is the same one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{plan::Plan, record::Record};

/// Longest value of a setting that is shown, in characters.
const SHOWN_MAX: usize = 60;

/// What differs between an earlier record and the last one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Difference {
    /// What.
    pub what: String,
    /// What it is in the earlier record.
    pub here: String,
    /// What it is in the last one.
    pub last: String,
}

/// Facts by name; `None` where a record does not know.
type Facts = BTreeMap<String, Option<String>>;

/// Returns what differs, and the names of what could not be told.
pub(super) fn differences(here: &Record, last: &Record) -> (Vec<Difference>, BTreeSet<String>) {
    let (mut found, mut unknown) = (Vec::new(), BTreeSet::new());
    let (facts_here, facts_last) = (facts(here), facts(last));
    let names: BTreeSet<&String> = facts_here.keys().chain(facts_last.keys()).collect();
    for name in names {
        let value = |facts: &Facts| facts.get(name).cloned().flatten();
        match (value(&facts_here), value(&facts_last)) {
            (Some(one), Some(two)) if one == two => (),
            (Some(one), Some(two)) => found.push(Difference {
                what: name.clone(),
                here: shortened(&one),
                last: shortened(&two),
            }),
            _ => _ = unknown.insert(name.clone()),
        }
    }
    found.extend(scenario(&here.plan, &last.plan));
    (found, unknown)
}

/// What a record ran on. In virtual time that is nothing.
fn facts(record: &Record) -> Facts {
    let (environment, mut facts) = (&record.environment, Facts::new());
    let mut fact = |name: &str, value: Option<String>| {
        facts.insert(name.to_owned(), value.filter(|it| !it.is_empty()));
    };
    if record.plan.sim.is_some() {
        fact("server", Some("simulated".to_owned()));
        return facts;
    }
    let (server, host) = (&environment.server, &environment.client);
    let private = if environment.private_server { "private" } else { "named by the user" };
    let way = match (server.unix_socket, &server.tls) {
        (true, _) => "Unix-domain socket",
        (false, Some(_)) => "TCP with TLS",
        (false, None) => "TCP without TLS",
    };
    fact("server", Some(private.to_owned()));
    fact("reached by", Some(way.to_owned()));
    fact("PostgreSQL major", Some((server.version_num / 10_000).to_string()));
    fact("architecture", Some(host.architecture.clone()));
    fact("processor", Some(model(&host.cpu)));
    fact("processors", Some(host.cpus.to_string()));
    // Machines of one kind differ by what their firmware keeps.
    let gibibytes = host.memory_bytes as f64 / f64::from(1 << 30);
    fact("memory", Some(format!("{gibibytes:.0} GiB")));
    fact("virtualisation", host.virtualization.clone());
    if environment.private_server {
        let kind = environment.storage.as_deref().and_then(|it| it.split(" on ").next());
        fact("file system", kind.map(str::to_owned));
    }
    for (name, value) in &server.durability {
        // An empty value is one: no standby.
        facts.insert(name.clone(), Some(value.clone()));
    }
    facts
}

/// A processor's model without its clock: `Xeon(R) Gold 6148 CPU @ 2.40GHz`.
fn model(cpu: &str) -> String {
    let words = cpu.split_whitespace().filter(|it| *it != "@" && !it.ends_with("Hz"));
    words.collect::<Vec<_>>().join(" ")
}

/// What two scenarios measure differently. Names, seeds, repetitions and claims may differ.
fn scenario(here: &Plan, last: &Plan) -> Vec<Difference> {
    let mut found = settings_that_differ("", &settings(here), &settings(last));
    let cell = |plan: &Plan, name: &str| plan.cells.iter().find(|it| it.name == name).cloned();
    let names: BTreeSet<&str> =
        here.cells.iter().chain(&last.cells).map(|cell| cell.name.as_str()).collect();
    for name in names {
        let what = format!("cell `{name}`");
        match (cell(here, name), cell(last, name)) {
            (Some(one), Some(two)) => {
                let [one, two] = [one, two].map(|cell| leaves("", &cell));
                found.extend(settings_that_differ(&format!("{what}, "), &one, &two));
            }
            (one, two) => {
                let [here, last] = [one, two].map(|it| {
                    if it.is_some() { "measured".to_owned() } else { "not measured".to_owned() }
                });
                found.push(Difference { what, here, last });
            }
        }
    }
    found
}

fn settings_that_differ(prefix: &str, here: &Settings, last: &Settings) -> Vec<Difference> {
    let names: BTreeSet<&String> = here.keys().chain(last.keys()).collect();
    let shown = |it: Option<&String>| it.map_or("absent".to_owned(), |it| shortened(it));
    names
        .into_iter()
        .filter(|name| here.get(*name) != last.get(*name))
        .map(|name| Difference {
            what: format!("{prefix}{name}"),
            here: shown(here.get(name)),
            last: shown(last.get(name)),
        })
        .collect()
}

/// Settings by their path, such as `table.indexes.0`.
type Settings = BTreeMap<String, String>;

/// What a plan says of all cells. Of files, what they hold, and not where they lie.
fn settings(plan: &Plan) -> Settings {
    let mut all = leaves("table", &plan.table);
    all.retain(|name, _| !["table.source.ddl.file", "table.csv.file"].contains(&name.as_str()));
    if let Some(csv) = &plan.csv {
        all.insert("table.csv content (XXH3)".to_owned(), csv.xxh3.clone());
    }
    all.extend(leaves("rows_max", &plan.rows_max));
    all.extend(leaves("client_threads", &plan.client_threads));
    all.extend(leaves("sim", &plan.sim));
    all
}

fn leaves(path: &str, of: &impl Serialize) -> Settings {
    let mut all = Settings::new();
    flatten(path, &serde_json::to_value(of).expect("a plan is plain data"), &mut all);
    all
}

/// Adds every leaf of a value under its path.
fn flatten(path: &str, value: &Value, into: &mut Settings) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, it)| flatten(&below(key), it, into)),
        Value::Array(list) if !list.is_empty() => {
            list.iter().enumerate().for_each(|(at, it)| flatten(&below(&at.to_string()), it, into));
        }
        Value::Null => (),
        Value::String(text) => _ = into.insert(path.to_owned(), text.clone()),
        other => _ = into.insert(path.to_owned(), other.to_string()),
    }
}

fn shortened(text: &str) -> String {
    let count = text.chars().count();
    if count <= SHOWN_MAX {
        return text.to_owned();
    }
    let start: String = text.chars().take(SHOWN_MAX - 20).collect();
    format!("{start}… ({count} characters)")
}
