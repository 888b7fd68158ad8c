//! The command line, as clap reads it.

mod check;

use std::{path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

pub(super) use self::check::{Check, Outputs};
use crate::{controller::Policy, target::sim::Family};

const AFTER_HELP: &str = "\
Exit codes:
  0    done; with --strict: every claim holds, and the limit of tune is kept
  1    tool or server error
  2    usage, or a scenario that cannot run
  10   a check FAILs; compare --gate: a number is worse; --strict: a claim is refuted, or no
       setting keeps the limit of tune
  11   --strict: a claim, a check or a comparison is undecided
  12   the arms of a check, or the records, cannot be compared
  13   INVALID: a table did not hold what the server had confirmed
  130  stopped by Ctrl-C (143: by SIGTERM); what was measured is on disk

Examples:
  batchpilot reproduce
  batchpilot reproduce --url postgresql://me@db.example/test
  batchpilot run scenarios/example.toml --check
  batchpilot run scenarios/sim/cliff.toml --sim-truth
  batchpilot tune --strategy copy_binary
  batchpilot report results/20261122T130509Z-reproduce";

/// Measures how fast PostgreSQL takes inserts, and says with intervals what the numbers mean.
#[derive(Debug, Parser)]
#[command(version = super::VERSION, after_help = AFTER_HELP, max_term_width = 100, arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The documented table here: measured beside claimed, verdict, report.
    ///
    /// Inserts the article's rows in fourteen ways: the article's three cells with GORM's
    /// statements, transactions and round trips, the same three as PostgreSQL allows at best, and
    /// pipelined, unnest and COPY with 1 and 5 workers. Every row is read back and checked. Done in
    /// under 3 minutes.
    Reproduce(Reproduce),
    /// Runs scenario files.
    Run(Run),
    /// Finds the best setting: batch rows and workers, and which way to insert.
    ///
    /// A controller moves the setting on the live run, then what it found is measured again beside
    /// its runner-up, the article's 1,000 rows x 5 workers and the best static default, and you are
    /// told what to use, what the others give, and how sure that is. Two to four minutes.
    Tune(Tune),
    /// Says whether head inserts more slowly than base: a regression gate for CI.
    ///
    /// The arms are two scenarios, two servers or two schemas. Blocks of both alternate in random
    /// order, and pairs of neighbours are compared, so that what the machine does hits both alike.
    /// PASS and FAIL are proven, or else it is INCONCLUSIVE; a FAIL is repeated in a fresh session
    /// before it is believed. About a minute for what has not changed.
    Check(Box<Check>),
    /// Stored records side by side, and whether the last is worse than those before it.
    ///
    /// A stored record was measured in another session, on a machine that was busier or idler then.
    /// So the answer is advisory, unless --gate is given, and says what slow-down it could have seen
    /// at all; `check`, which measures both sides in turn, sees far smaller ones. Records whose
    /// scenario, PostgreSQL major, durability settings or class of machine differ are not judged.
    Compare(Compare),
    /// Draws the report of a record again.
    Report(Report),
    /// Feeds a run's windows to another controller, or lets controllers play on simulated servers.
    Replay(Replay),
    /// Prints the JSON schema of scenario files.
    Schema,
    /// Prints the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints the manual page.
    Man,
    /// Keeps a private PostgreSQL from outliving batchpilot.
    #[command(hide = true, name = crate::cluster::guardian::SUBCOMMAND)]
    GuardCluster {
        /// What the guardian is told.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
}

/// `reproduce`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  batchpilot reproduce
  batchpilot reproduce --full
  batchpilot reproduce --pg-major 14
  PGHOST=/run/postgresql batchpilot reproduce --out /tmp/results")]
pub(super) struct Reproduce {
    /// Insert the documented 100,000 rows in every cell and every repetition, however long it takes.
    #[arg(long)]
    pub(super) full: bool,
    /// Repetitions of each cell; more give narrower intervals [default: 9].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) repetitions: Option<u32>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// `run`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  batchpilot run scenarios/example.toml
  batchpilot run scenarios/example.toml --check
  batchpilot run scenarios/sim/cliff.toml --sim-truth
  batchpilot run mine.toml --url postgresql://me@db.example/test --strict
  batchpilot run mine.toml --ddl schema.sql --table orders
  batchpilot run mine.toml --ddl schema.sql --csv orders.csv
  batchpilot run mine.toml --url postgresql://me@db.example/test --table public.orders")]
pub(super) struct Run {
    /// Scenario files, run one after the other.
    #[arg(required = true, value_name = "SCENARIO")]
    pub(super) scenarios: Vec<PathBuf>,
    /// Resolve and print the plan; run nothing, connect to nothing.
    #[arg(long)]
    pub(super) check: bool,
    /// Print the best setting of a simulated server and what the scenario's cells give on it, as only
    /// its maker knows, and run nothing.
    #[arg(long, conflicts_with = "check")]
    pub(super) sim_truth: bool,
    #[command(flatten)]
    pub(super) table: OwnTable,
    #[command(flatten)]
    pub(super) common: Common,
}

/// A table of the user's own, in place of the scenario's.
#[derive(Args, Clone, Debug)]
pub(super) struct OwnTable {
    /// Fill a table that the statements of this file make; in a schema of batchpilot's own.
    #[arg(long, value_name = "FILE")]
    pub(super) ddl: Option<PathBuf>,
    /// With --ddl: which of its tables. Else a table of the database, as schema.table: one made
    /// like it is filled; the original is only read.
    #[arg(long, value_name = "NAME")]
    pub(super) table: Option<String>,
    /// Insert the lines of this CSV file, whose header names columns of the table, in place of rows that
    /// are made up. No setting of the server or of the session says what a value means: a time for a
    /// column with a time zone must name its own, such as 2024-01-31 23:59:59+00.
    #[arg(long, value_name = "FILE")]
    pub(super) csv: Option<PathBuf>,
    /// Leave foreign keys out; a table that has some is refused otherwise.
    #[arg(long)]
    pub(super) without_foreign_keys: bool,
    /// Leave the triggers of --table schema.table out.
    #[arg(long)]
    pub(super) without_triggers: bool,
}

/// `tune`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  batchpilot tune
  batchpilot tune --strategy copy_binary --workers 1-8 --search 30s
  batchpilot tune --strategy all --url postgresql://me@db.example/test
  batchpilot tune --slo p99=50ms --batch-rows 1-10000
  batchpilot tune --strategy unnest --follow 10m
  batchpilot tune mine.toml --policy climb")]
pub(super) struct Tune {
    /// Scenario file, of which those cells are tuned that have a controller, or else all; without
    /// one, `--strategy` says what is tuned.
    #[arg(value_name = "SCENARIO")]
    pub(super) scenario: Option<PathBuf>,
    /// Ways to insert, the better half of which goes on in each round of the search; `all` are six
    /// [default: multi_row].
    #[arg(long, value_delimiter = ',', value_parser = STRATEGIES, conflicts_with = "scenario")]
    pub(super) strategy: Vec<String>,
    /// Rows an operation, both ends included [default: 1 to what the strategy carries].
    #[arg(long, value_name = "LEAST-MOST", value_parser = span)]
    pub(super) batch_rows: Option<(u64, u64)>,
    /// Workers, both ends included [default: 1-64].
    #[arg(long, value_name = "LEAST-MOST", value_parser = span)]
    pub(super) workers: Option<(u64, u64)>,
    /// The most rows/s of which p99 of the service latency stays within this time, with a unit.
    #[arg(long, value_name = "p99=TIME", value_parser = limit)]
    pub(super) slo: Option<Duration>,
    /// Time for the search, in seconds or with a unit [default: 20 s, of several strategies 10 s
    /// each]. It ends sooner when the controller has settled.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) search: Option<Duration>,
    /// Who steers [default: pilot].
    #[arg(long, value_parser = policies())]
    pub(super) policy: Option<Policy>,
    /// Blocks of each setting that meets the others in the end, and as many again of what may be the
    /// best; more give narrower intervals. A look around the best so far takes three of each, and there
    /// are up to four.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) repetitions: u32,
    /// Go on steering for this time after the answer, from there on, and say what changes and why.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) follow: Option<Duration>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Names of strategies, as scenario files have them, and one for all.
const STRATEGIES: [&str; 7] =
    ["all", "single_row", "pipelined", "multi_row", "unnest", "copy_text", "copy_binary"];

fn span(text: &str) -> Result<(u64, u64), String> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    let number = |it: &str| it.parse::<u64>().map_err(|error| format!("`{it}`: {error}"));
    let (least, most) = (number(least)?, number(most)?);
    if least <= most {
        return Ok((least, most));
    }
    Err("expected least-most, with least <= most".to_owned())
}

/// `20`, `20s`, `1m 30s`, `50ms`.
fn time(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    let time: jiff::SignedDuration =
        text.parse().map_err(|_| "expected a time such as `20s`, `1m 30s` or `50ms`".to_owned())?;
    Duration::try_from(time).map_err(|_| "expected a time above 0".to_owned())
}

fn limit(text: &str) -> Result<Duration, String> {
    let Some(text) = text.strip_prefix("p99=") else {
        return Err("expected a limit such as `p99=50ms`".to_owned());
    };
    if text.parse::<f64>().is_ok() {
        return Err(format!("expected a unit, such as `p99={text}ms`"));
    }
    time(text)
}

/// `compare`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  batchpilot compare results/20261120T081500Z-nightly results/20261121T081500Z-nightly
  batchpilot compare results/*-nightly --gate
  batchpilot compare baseline/record.json results/20261121T081500Z-nightly --format json

Exit codes: 0 unless --gate is given: 10 worse, 11 undecided (with --strict);
12 not comparable, 13 a record is INVALID.")]
pub(super) struct Compare {
    /// Directories of runs, or their record.json: the last one is held against those before it.
    #[arg(required = true, num_args = 2.., value_name = "RECORD")]
    pub(super) records: Vec<PathBuf>,
    /// Exit with 10 if a number of the last record is worse than sessions differ.
    #[arg(long)]
    pub(super) gate: bool,
    /// With --gate: exit with 11 if nothing could be proven.
    #[arg(long, requires = "gate")]
    pub(super) strict: bool,
    /// By how much sessions differ that measure the same, as a share, until there are five earlier
    /// records to tell. Larger finds less; smaller takes a busy hour for a regression.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share_below_one)]
    pub(super) session_noise: f64,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

fn share_below_one(text: &str) -> Result<f64, String> {
    match check::share(text)? {
        share if 0.0 < share && share < 1.0 => Ok(share),
        _ => Err("expected a share above 0 and below 100%".to_owned()),
    }
}

/// `report`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  batchpilot report results/20261122T130509Z-reproduce")]
pub(super) struct Report {
    /// Directory of a run, or its record.json.
    pub(super) record: PathBuf,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
    /// Exit with 10 if a claim is refuted, with 11 if one is undecided.
    #[arg(long)]
    pub(super) strict: bool,
}

/// `replay`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  batchpilot replay results/20261122T195007Z-tune --controller pilot,climb
  batchpilot replay --arena
  batchpilot replay --arena --seeds 0-19 --family mid,cores --controller fixed,climb
  batchpilot replay --arena --seeds 0-9 --engine scenarios/sim/cliff.toml")]
pub(super) struct Replay {
    /// Directory of a run whose cells had a controller: how many of its decisions another one makes
    /// on the same windows, where they differ first, and what both call the best. With --arena:
    /// scenarios of simulated servers, instead of families.
    #[arg(value_name = "RECORD|SCENARIO", required_unless_present = "arena")]
    pub(super) paths: Vec<PathBuf>,
    /// Play on simulated servers, where the best setting is known, and print the league table.
    #[arg(long)]
    pub(super) arena: bool,
    /// Through the engine, operation by operation in virtual time, and with the errors of scenarios:
    /// seconds a server instead of milliseconds.
    #[arg(long, requires = "arena")]
    pub(super) engine: bool,
    /// Seeds of the servers, both ends included; of a scenario's server, those of its weather.
    #[arg(long, value_name = "FIRST-LAST", default_value = "0-99", value_parser = seeds)]
    pub(super) seeds: (u64, u64),
    /// Kinds of servers.
    #[arg(long, value_delimiter = ',', default_value = "quiet,mid,noisy,weird")]
    #[arg(value_parser = families())]
    pub(super) family: Vec<Family>,
    /// Controllers; all, if none is named.
    #[arg(long, value_delimiter = ',', value_parser = policies())]
    pub(super) controller: Vec<Policy>,
    /// How the table is printed.
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: TableFormat,
}

/// How a table is printed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum TableFormat {
    /// In columns.
    #[default]
    Text,
    /// As a Markdown document.
    Markdown,
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |it: &str| it.parse::<u64>().map_err(|error| format!("`{it}`: {error}"));
    let (first, last) = (number(first)?, number(last)?);
    if first <= last && last < u64::MAX {
        return Ok((first, last));
    }
    Err("expected first-last, with first <= last".to_owned())
}

fn families() -> impl TypedValueParser<Value = Family> {
    let of = |name: String| Family::ALL.into_iter().find(|it| it.name() == name);
    let names = PossibleValuesParser::new(Family::ALL.map(Family::name));
    names.map(move |name| of(name).expect("one of the possible values"))
}

fn policies() -> impl TypedValueParser<Value = Policy> {
    let of = |name: String| Policy::ALL.into_iter().find(|it| it.name() == name);
    let names = PossibleValuesParser::new(Policy::ALL.map(Policy::name));
    names.map(move |name| of(name).expect("one of the possible values"))
}

/// What all measuring commands take.
#[derive(Args, Clone, Debug)]
pub(super) struct Common {
    /// Server to insert into; else DATABASE_URL, else PGHOST, PGPORT, PGUSER, PGDATABASE; else a
    /// private PostgreSQL is started, used and removed.
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// Directory with initdb and postgres for the private PostgreSQL.
    #[arg(long, value_name = "DIR")]
    pub(super) pg_bin: Option<PathBuf>,
    /// Major version of the private PostgreSQL, where several are installed.
    #[arg(long, value_name = "N")]
    pub(super) pg_major: Option<u32>,
    /// Where the run's directory is made.
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub(super) out: PathBuf,
    /// Seed of the rows, of the order of blocks, and of Poisson arrivals; else the scenario's.
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
    /// Exit with 10 if a claim is refuted, or no setting of `tune` keeps its limit, with 11 if a claim or
    /// a check is undecided.
    #[arg(long)]
    pub(super) strict: bool,
    /// No progress.
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Say what is being done.
    #[arg(short, long)]
    pub(super) verbose: bool,
}

/// What to print.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Format {
    /// Table and verdict, for people.
    Text,
    /// Verdict, for programs.
    Json,
}
