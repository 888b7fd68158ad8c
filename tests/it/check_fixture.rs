//! Plausible checks, made without a server: pairs of known ratios, with noise from a seed.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers made up here are small and positive"
)]

use std::{collections::BTreeMap, time::Duration};

use batchpilot::{
    gate::{
        Advice, Arm, Arms, Block, Check, Evidence, Options, Pair, Step, Timing, WarmUp,
        created_first, orders,
    },
    record::{
        ArmRecord, CHECK_SCHEMA_VERSION, CellCheck, CheckRecord, Comparison, Record, SessionRecord,
        TablesRead,
    },
};
use rand::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::report_fixture as fixture;

/// How head does in a cell, as multiples of base.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    /// Rows a second in the first session.
    pub(crate) rate: f64,
    /// The same in a second session, if there is one.
    pub(crate) rate_again: f64,
    /// p95 latency.
    pub(crate) p95: f64,
    /// Standard deviation of the logarithm of a block's rate.
    pub(crate) noise: f64,
    /// Blocks out of 10 in which head stands still for a while.
    pub(crate) stalls: u32,
}

pub(crate) const SAME: Head = Head { rate: 1.0, rate_again: 1.0, p95: 1.0, noise: 0.05, stalls: 0 };

/// Returns a check of cells by name.
pub(crate) fn check(cells: &[(&str, Head)]) -> CheckRecord {
    let options = Options::default();
    let plain: Vec<(&str, &str, f64)> =
        cells.iter().map(|(name, _)| (*name, "strategy = 'multi_row'", 0.0)).collect();
    let (record, _) = fixture::measured(fixture::plan("name = 'check'\nseed = 7\n", &plain, ""));
    let mut random = Pcg64Mcg::seed_from_u64(11);
    let cells = cells
        .iter()
        .enumerate()
        .map(|(index, (name, head))| cell((index, name), *head, cells.len(), &options, &mut random))
        .collect();
    CheckRecord {
        check_schema_version: CHECK_SCHEMA_VERSION,
        batchpilot: "0.1.0 (abcdef0)".to_owned(),
        command: "check --base-ddl old.sql --head-ddl new.sql".to_owned(),
        name: "check".to_owned(),
        started_at: "2026-11-22T13:05:09.123Z".to_owned(),
        finished_at: Some("2026-11-22T13:05:51.004Z".to_owned()),
        complete: true,
        comparison: Comparison::Schemas,
        arms: Arms { base: arm("old.sql", &record), head: arm("new.sql", &record) },
        client: record.environment.client.clone(),
        load_before: 0.08,
        cpu_busy_before: Some(0.02),
        seed: 7,
        options,
        cells,
        error: None,
        notes: vec!["a note for the reader".to_owned()],
    }
}

/// A check after so many pairs, stopped there.
pub(crate) fn stopped(pairs: usize) -> CheckRecord {
    let mut record = check(&[("multi_row", Head { noise: 0.3, ..SAME })]);
    let all = record.cells[0].check.sessions()[0].pairs().to_vec();
    let mut check = Check::new(record.options.rule(1).unwrap());
    for pair in all.into_iter().take(pairs) {
        check.push(pair);
    }
    let cell = &mut record.cells[0];
    cell.outcome = check.outcome(&cell.evidence, &record.options);
    cell.advice = Advice::of(check.sessions().last().unwrap(), &record.options);
    cell.check = check;
    cell.sessions[0].first.truncate(pairs);
    (record.complete, record.finished_at) = (false, None);
    record
}

/// The same check with this evidence against it.
pub(crate) fn with_evidence(mut record: CheckRecord, evidence: &Evidence) -> CheckRecord {
    for cell in &mut record.cells {
        cell.evidence = evidence.clone();
        cell.outcome = cell.check.outcome(evidence, &record.options);
    }
    record
}

fn arm(label: &str, record: &Record) -> ArmRecord {
    ArmRecord {
        label: label.to_owned(),
        plan: record.plan.clone(),
        server: Some(record.environment.server.clone()),
        private_server: true,
        storage: record.environment.storage.clone(),
    }
}

fn cell(
    (index, name): (usize, &str),
    head: Head,
    cells: usize,
    options: &Options,
    random: &mut Pcg64Mcg,
) -> CellCheck {
    let rule = options.rule(cells).unwrap();
    let mut check = Check::new(rule.clone());
    let mut step = Step::GoOn;
    while step != Step::Done {
        let rate = if check.sessions().len() == 1 { head.rate } else { head.rate_again };
        step = check.push(pair(Head { rate, ..head }, random));
    }
    let evidence = Evidence {
        windows: Arms { base: 200, head: 200 },
        windows_client_bound: Arms { base: 2, head: 1 },
        ..Evidence::default()
    };
    let sessions = check.sessions().iter().zip(0..).map(|(session, number)| SessionRecord {
        started_at: "2026-11-22T13:05:10.000Z".to_owned(),
        created_first: created_first(number),
        warm_up: WarmUp::Steady,
        warm_up_s: 3.1,
        warm_up_rows_per_s: Arms { base: vec![1e5; 3], head: vec![1e5; 3] },
        first: orders(&rule, 7, number)
            .into_iter()
            .take(session.pairs().len())
            .collect::<Vec<Arm>>(),
    });
    CellCheck {
        cell: index,
        name: name.to_owned(),
        timing: Some(Timing { block: Duration::from_secs(1), guard: Duration::from_millis(200) }),
        sessions: sessions.collect(),
        outcome: check.outcome(&evidence, options),
        advice: Advice::of(check.sessions().last().unwrap(), options),
        check,
        evidence,
        tables: TablesRead { tables: 12, rows: 2_400_000, seconds: 4.1, problems: Vec::new() },
        errors: Arms { base: BTreeMap::new(), head: BTreeMap::new() },
        error: None,
    }
}

fn pair(head: Head, random: &mut Pcg64Mcg) -> Pair {
    // What the machine does hits both.
    let machine = (0.1 * normal(random)).exp();
    let mut block = |rate: f64, p95: f64, stalls: u32| {
        let stalled = random.next_u32() % 10 < stalls;
        let rate = rate * machine * (head.noise * normal(random)).exp();
        let rate = if stalled { rate * 0.2 } else { rate };
        let latency_s = 5e-3 * p95 / machine * (head.noise * normal(random)).exp();
        Block {
            rows: (rate * 0.8 * 100_000.0) as u64,
            seconds: 0.8,
            latency_s_p95: latency_s,
            latency_s_p99: latency_s * 1.7,
            steal: 0.001,
        }
    };
    Pair { base: block(1.0, 1.0, 0), head: block(head.rate, head.p95, head.stalls) }
}

fn normal(random: &mut Pcg64Mcg) -> f64 {
    (0..12).map(|_| f64::from(random.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0
}
