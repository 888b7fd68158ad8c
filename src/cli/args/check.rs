//! `check`, as clap reads it: the arms, and every constant of the gate.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::PossibleValue};

use super::{Common, OwnTable, time};
use crate::gate::{Arm, Bounds, Confirmation, Look, Options};

const AFTER_HELP: &str = "\
Exit codes:
  0    PASS; INCONCLUSIVE without --strict
  1    tool or server error
  2    usage, or something that cannot run
  10   FAIL: head is slower than base
  11   INCONCLUSIVE, with --strict
  12   the arms cannot be compared
  13   INVALID: the numbers must not be judged
  130  stopped by Ctrl-C (143: by SIGTERM); what was measured is on disk

Examples:
  batchpilot check --base-ddl old.sql --head-ddl new.sql
  batchpilot check --base-ref main --ddl schema.sql --table orders
  batchpilot check base.toml head.toml --url postgresql://me@db.example/test
  batchpilot check postgresql://me@old.example/test postgresql://me@new.example/test
  batchpilot check --base-pg-major 15 --head-pg-major 18 --ddl schema.sql
  batchpilot check --null --ddl schema.sql
  batchpilot check --calibrate 10 --ddl schema.sql";

/// `check`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct Check {
    /// What is compared with: a scenario file, the URL of a server, or a schema (`.sql`).
    #[arg(value_name = "BASE")]
    pub(in crate::cli) base: Option<String>,
    /// What is judged: another of the same kind.
    #[arg(value_name = "HEAD")]
    pub(in crate::cli) head: Option<String>,
    /// Server of base; both arms have the same table.
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) base_url: Option<String>,
    /// Server of head.
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) head_url: Option<String>,
    /// Base is a private PostgreSQL of this major version.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) base_pg_major: Option<u32>,
    /// Head is a private PostgreSQL of this major version.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) head_pg_major: Option<u32>,
    /// Schema of base: a file whose statements make the table; both arms are on the same server.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) base_ddl: Option<PathBuf>,
    /// Schema of head.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) head_ddl: Option<PathBuf>,
    /// Base is the file of --ddl as it was at this git reference, and head as it is now.
    #[arg(long, value_name = "REF", requires = "ddl")]
    pub(in crate::cli) base_ref: Option<String>,
    /// What both arms run, where they are not scenarios themselves: every cell of this file, one
    /// after the other. Else multi_row with 1,000 rows an operation and 5 workers, the article's
    /// best setting.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) scenario: Option<PathBuf>,
    /// Send only the columns that the tables of both arms have, where one has more; else that is
    /// refused. What the others cost is then not in the numbers.
    #[arg(long)]
    pub(in crate::cli) common_columns: bool,
    /// Check an arm against itself, base if none is named: what this machine makes up. A FAIL is a
    /// false one.
    #[arg(long, value_name = "ARM", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "base")]
    pub(in crate::cli) null: Option<ArmName>,
    /// Run so many null checks, and say which margins this machine asks for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub(in crate::cli) calibrate: Option<u32>,
    /// Print the check as JSON: the same as --format json.
    #[arg(long)]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) outputs: Outputs,
    #[command(flatten)]
    pub(in crate::cli) table: OwnTable,
    #[command(flatten)]
    pub(in crate::cli) common: Common,
    #[command(flatten)]
    pub(in crate::cli) gate: Gate,
}

/// Files for other programs.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Files for CI")]
pub(in crate::cli) struct Outputs {
    /// Write JUnit XML: a test case a gated number; a failure where head is slower, skipped where
    /// nothing is proven, an error where nothing may be judged or the check could not run.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) junit: Option<PathBuf>,
    /// Append Markdown, below 60 kB: for a pull request, or for $GITHUB_STEP_SUMMARY. If the check
    /// could not run, it says why.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) markdown: Option<PathBuf>,
    /// Write Bencher Metric Format, for `bencher run --adapter json --file`; no file if the check
    /// could not run, and one that was there is removed.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) bmf: Option<PathBuf>,
    /// Write bigger-is-better.json and smaller-is-better.json into this directory, for
    /// github-action-benchmark; none if the check could not run: what an earlier one left there is
    /// removed.
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) action_bench: Option<PathBuf>,
}

impl Outputs {
    /// Whether any file is to be written.
    pub(in crate::cli) fn is_asked_for(&self) -> bool {
        [&self.junit, &self.markdown, &self.bmf, &self.action_bench].iter().any(|it| it.is_some())
    }
}

/// An arm, by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum ArmName {
    Base,
    Head,
}

impl From<ArmName> for Arm {
    fn from(name: ArmName) -> Arm {
        match name {
            ArmName::Base => Arm::Base,
            ArmName::Head => Arm::Head,
        }
    }
}

/// A metric that can fail a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(in crate::cli) enum Gated {
    /// Rows a second.
    Rows,
    /// The 95th percentile of an operation's latency.
    P95,
}

/// How a failure is confirmed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Confirm {
    /// Not at all.
    Off,
    /// By a second session that may pass at an early look.
    Same,
    /// By a second session that fails, or goes on to the last look.
    Full,
}

/// The constants of the gate.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Constants of the gate")]
pub(in crate::cli) struct Gate {
    /// What can fail the check. Each metric more is one more chance to be wrong, and takes its part
    /// of the levels [default: rows,p95].
    #[arg(long, value_enum, value_delimiter = ',')]
    gate: Vec<Gated>,
    /// Slow-down of rows/s that is none yet. Larger fails less on machines that favour an arm for a
    /// while; smaller finds smaller slow-downs [default: 2%].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    margin: Option<f64>,
    /// Slow-down of rows/s that must be ruled out to pass. Larger passes sooner; smaller leaves more
    /// undecided [default: 10%].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    tolerance: Option<f64>,
    /// As --margin, for the p95 latency [default: 5%].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    p95_margin: Option<f64>,
    /// As --tolerance, for the p95 latency [default: 25%].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    p95_tolerance: Option<f64>,
    /// When the pairs are looked at, and at which one-sided level a look fails. More looks end
    /// earlier; larger levels fail more, also of what is unchanged; a later last look finds more and
    /// takes longer [default: 15:0.001,20:0.001,30:0.002,45:0.003,60:0.003].
    #[arg(long, value_name = "PAIRS:LEVEL", value_delimiter = ',', value_parser = look)]
    looks: Vec<Look>,
    /// One-sided level of the limit that proves "not slower", at each look: it is not shared among
    /// them, and what is as slow as the tolerance passes 7.5 % of the time on a shared machine, 13.7 %
    /// on a bad one (simulated). Larger passes sooner, and more of that [default: 0.025].
    #[arg(long, value_name = "LEVEL")]
    pass_alpha: Option<f64>,
    /// What a failed session needs before it is believed. `off` is twice as quick, and believes what
    /// lies in the session [default: full].
    #[arg(long, value_enum, value_name = "HOW")]
    confirm: Option<Confirm>,
    /// Operations that a block should hold, one after the other. More make blocks longer and their
    /// rates steadier, and neighbours less alike [default: 20].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    block_operations: Option<u32>,
    /// The shortest block. Shorter ones make more pairs of the same time, and give the guard a larger
    /// share of it [default: 1s].
    #[arg(long, value_name = "TIME", value_parser = time)]
    block_min: Option<Duration>,
    /// The longest block. Longer ones let the machine change between neighbours [default: 5s].
    #[arg(long, value_name = "TIME", value_parser = time)]
    block_max: Option<Duration>,
    /// What is left out after a change of arms, at least. Less lets the other arm's rest into the
    /// block; more leaves less of it [default: 200ms].
    #[arg(long, value_name = "TIME", value_parser = time)]
    guard_min: Option<Duration>,
    /// The same in operations, one after the other [default: 2].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    guard_operations: Option<u32>,
    /// Length of a window of the warm-up. Shorter ones end it sooner, and agree less often
    /// [default: 500ms].
    #[arg(long, value_name = "TIME", value_parser = time)]
    warm_up_window: Option<Duration>,
    /// Windows of each arm that must agree before measuring starts. More wait longer [default: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    warm_up_windows: Option<u32>,
    /// How far windows that agree may lie apart, as a share of their median. Smaller waits longer
    /// [default: 20%].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    warm_up_spread: Option<f64>,
    /// When measuring starts all the same. Longer waits longer for a machine that never settles
    /// [default: 20s].
    #[arg(long, value_name = "TIME", value_parser = time)]
    warm_up_max: Option<Duration>,
    /// After how many pairs both tables are read back, compared row by row and emptied. More take
    /// less time for it, and more room [default: 5].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pairs_a_table: Option<u32>,
    /// Pairs below which nothing is said. Fewer say something about a check that was stopped early
    /// [default: 15].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pairs_min: Option<u32>,
    /// CPU time that the hypervisor may take, in the median block. Above it, the machine is measured.
    /// Larger believes a machine that others use [default: 20%].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    steal_max: Option<f64>,
    /// Windows in which batchpilot itself may be the limit. Above it, a slower server would not show.
    /// Larger believes such numbers [default: 10%].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    client_bound_max: Option<f64>,
    /// How much worse p99 must be proven before it is remarked on. Smaller remarks more
    /// [default: 10%].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    p99_worse: Option<f64>,
    /// How many rows fewer head may have inserted in all before that is remarked on. Smaller remarks
    /// more [default: 15%].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    totals_worse: Option<f64>,
    /// How far totals and estimate may lie apart before that is remarked on. Smaller remarks more
    /// [default: 5%].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    totals_gap: Option<f64>,
    /// A block is stalled below this share of its arm's median rate. Larger calls more blocks so
    /// [default: 50%].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    stalled_below: Option<f64>,
}

impl Gate {
    /// The flags that were given, as words of a command line.
    pub(in crate::cli) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut add = |flag: &str, value: Option<String>| {
            words.extend(value.map(|value| format!("--{flag} {value}")));
        };
        let list = |all: Vec<String>| (!all.is_empty()).then(|| all.join(","));
        let number = |given: Option<f64>| given.map(|it| it.to_string());
        let count = |given: Option<u32>| given.map(|it| it.to_string());
        let seconds = |given: Option<Duration>| given.map(|it| it.as_secs_f64().to_string());
        let name = |value: &dyn Fn() -> Option<PossibleValue>| {
            value().map(|it| it.get_name().to_owned()).expect("none is hidden")
        };
        let gate = self.gate.iter().map(|it| name(&|| it.to_possible_value()));
        add("gate", list(gate.collect()));
        add("margin", number(self.margin));
        add("tolerance", number(self.tolerance));
        add("p95-margin", number(self.p95_margin));
        add("p95-tolerance", number(self.p95_tolerance));
        let looks = self.looks.iter().map(|it| format!("{}:{}", it.pairs, it.alpha));
        add("looks", list(looks.collect()));
        add("pass-alpha", number(self.pass_alpha));
        add("confirm", self.confirm.map(|it| name(&|| it.to_possible_value())));
        add("block-operations", count(self.block_operations));
        add("block-min", seconds(self.block_min));
        add("block-max", seconds(self.block_max));
        add("guard-min", seconds(self.guard_min));
        add("guard-operations", count(self.guard_operations));
        add("warm-up-window", seconds(self.warm_up_window));
        add("warm-up-windows", count(self.warm_up_windows));
        add("warm-up-spread", number(self.warm_up_spread));
        add("warm-up-max", seconds(self.warm_up_max));
        add("pairs-a-table", count(self.pairs_a_table));
        add("pairs-min", count(self.pairs_min));
        add("steal-max", number(self.steal_max));
        add("client-bound-max", number(self.client_bound_max));
        add("p99-worse", number(self.p99_worse));
        add("totals-worse", number(self.totals_worse));
        add("totals-gap", number(self.totals_gap));
        add("stalled-below", number(self.stalled_below));
        words
    }

    /// Puts what was given in place of the defaults.
    pub(in crate::cli) fn options(&self) -> Options {
        let mut options = Options::default();
        let put = |place: &mut f64, given: Option<f64>| *place = given.unwrap_or(*place);
        let put_time = |place: &mut Duration, given: Option<Duration>| {
            *place = given.unwrap_or(*place);
        };
        let put_count = |place: &mut usize, given: Option<u32>| {
            *place = given.map_or(*place, |it| it as usize);
        };
        let is_gated = |metric| self.gate.is_empty() || self.gate.contains(&metric);
        let bounds = |metric, default: Option<Bounds>, margin: Option<f64>, tolerance| {
            let mut bounds = default.expect("is gated by default");
            put(&mut bounds.margin, margin);
            put(&mut bounds.tolerance, tolerance);
            is_gated(metric).then_some(bounds)
        };
        options.rows_per_s = bounds(Gated::Rows, options.rows_per_s, self.margin, self.tolerance);
        options.latency_p95 =
            bounds(Gated::P95, options.latency_p95, self.p95_margin, self.p95_tolerance);
        if !self.looks.is_empty() {
            options.looks.clone_from(&self.looks);
        }
        if let Some(confirm) = self.confirm {
            options.confirmation = match confirm {
                Confirm::Off => Confirmation::Off,
                Confirm::Same => Confirmation::Same,
                Confirm::Full => Confirmation::Full,
            };
        }
        options.block_operations = self.block_operations.unwrap_or(options.block_operations);
        options.guard_operations = self.guard_operations.unwrap_or(options.guard_operations);
        put_time(&mut options.block_min, self.block_min);
        put_time(&mut options.block_max, self.block_max);
        put_time(&mut options.guard_min, self.guard_min);
        put_time(&mut options.warm_up_window, self.warm_up_window);
        put_time(&mut options.warm_up_max, self.warm_up_max);
        put_count(&mut options.warm_up_windows, self.warm_up_windows);
        put_count(&mut options.pairs_a_table, self.pairs_a_table);
        put_count(&mut options.pairs_min, self.pairs_min);
        put(&mut options.pass_alpha, self.pass_alpha);
        put(&mut options.warm_up_spread, self.warm_up_spread);
        put(&mut options.steal_max, self.steal_max);
        put(&mut options.client_bound_max, self.client_bound_max);
        put(&mut options.p99_worse, self.p99_worse);
        put(&mut options.totals_worse, self.totals_worse);
        put(&mut options.totals_gap, self.totals_gap);
        put(&mut options.stalled_below, self.stalled_below);
        options
    }
}

/// `0.02`, `2%`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    // As an exponent: 2.9 x 0.01 is 0.028999999999999998, which the record would repeat.
    let number = match text.strip_suffix('%') {
        Some(percent) => format!("{}e-2", percent.trim()),
        None => text.to_owned(),
    };
    match number.parse().map_err(|_| "expected a share such as 2% or 0.02")? {
        share if (0.0..=10.0).contains(&share) => Ok(share),
        _ => Err("expected a share from 0 to 1000%".to_owned()),
    }
}

/// `15:0.001`.
fn look(text: &str) -> Result<Look, String> {
    let parts = text.split_once(':').and_then(|(pairs, alpha)| {
        Some(Look { pairs: pairs.trim().parse().ok()?, alpha: alpha.trim().parse().ok()? })
    });
    parts.ok_or_else(|| "expected pairs and a level, such as 15:0.001".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// The arguments alone, without the rest of the command line.
    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        gate: Gate,
    }

    fn options(words: &str) -> Options {
        Alone::try_parse_from(format!("check {words}").split_whitespace()).unwrap().gate.options()
    }

    #[test]
    fn without_flags_the_gate_is_the_default_one() {
        assert_eq!(options(""), Options::default());
    }

    /// No constant is out of reach, and none is put in another's place.
    #[test]
    fn every_constant_has_its_flag() {
        let words = "--margin 2.9% --tolerance 0.11 --p95-margin 6% --p95-tolerance 26% \
                     --looks 7:0.01,9:0.02 --pass-alpha 0.03 --confirm same --block-operations 21 \
                     --block-min 300ms --block-max 2 --guard-min 10ms --guard-operations 3 \
                     --warm-up-window 400ms --warm-up-windows 4 --warm-up-spread 21% \
                     --warm-up-max 9s --pairs-a-table 6 --pairs-min 8 --steal-max 22% \
                     --client-bound-max 12% --p99-worse 13% --totals-worse 14% --totals-gap 15% \
                     --stalled-below 51%";
        let ms = Duration::from_millis;
        let want = Options {
            rows_per_s: Some(Bounds { margin: 0.029, tolerance: 0.11 }),
            latency_p95: Some(Bounds { margin: 0.06, tolerance: 0.26 }),
            looks: vec![Look { pairs: 7, alpha: 0.01 }, Look { pairs: 9, alpha: 0.02 }],
            pass_alpha: 0.03,
            confirmation: Confirmation::Same,
            block_operations: 21,
            block_min: ms(300),
            block_max: ms(2_000),
            guard_min: ms(10),
            guard_operations: 3,
            warm_up_window: ms(400),
            warm_up_windows: 4,
            warm_up_spread: 0.21,
            warm_up_max: ms(9_000),
            pairs_a_table: 6,
            pairs_min: 8,
            steal_max: 0.22,
            client_bound_max: 0.12,
            p99_worse: 0.13,
            totals_worse: 0.14,
            totals_gap: 0.15,
            stalled_below: 0.51,
        };
        let got = options(words);
        assert_eq!(rounded(&got), rounded(&want));
    }

    /// 3 % is not 0.03 to the last bit.
    fn rounded(options: &Options) -> String {
        let text = serde_json::to_string(options).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        round(value).to_string()
    }

    fn round(value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::Number(number) => {
                let number = number.as_f64().unwrap();
                Value::from(format!("{number:.9}"))
            }
            Value::Array(values) => values.into_iter().map(round).collect(),
            Value::Object(map) => map.into_iter().map(|(key, it)| (key, round(it))).collect(),
            other => other,
        }
    }

    #[test]
    fn one_metric_can_be_gated_alone() {
        assert!(options("--gate rows").latency_p95.is_none());
        assert!(options("--gate p95").rows_per_s.is_none());
        assert_eq!(options("--gate p95,rows"), Options::default());
    }

    #[test]
    fn what_is_no_share_and_no_look_is_refused() {
        assert!(["", "x", "-1%", "1001%", "nan", "%"].iter().all(|text| share(text).is_err()));
        assert!(["15", "15:", ":0.1", "a:b", "1.5:0.1"].iter().all(|text| look(text).is_err()));
    }
}
