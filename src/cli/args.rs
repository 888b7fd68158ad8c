//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

use crate::{controller::Policy, target::sim::Family};

const AFTER_HELP: &str = "\
Exit codes:
  0    done; with --strict: every claim holds
  1    tool or server error
  2    usage, or a scenario that cannot run
  10   --strict: a claim is refuted
  11   --strict: a claim is undecided
  13   INVALID: a table did not hold what the server had confirmed
  130  stopped by Ctrl-C (143: by SIGTERM); what was measured is on disk

Examples:
  batchpilot reproduce
  batchpilot reproduce --url postgresql://me@db.example/test
  batchpilot run scenarios/example.toml --check
  batchpilot report results/20261122T130509Z-reproduce";

/// Measures how fast PostgreSQL takes inserts, and says with intervals what the numbers mean.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, max_term_width = 100, arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The documented table here: measured beside claimed, verdict, report.
    ///
    /// Inserts the article's rows in fourteen ways: the article's three cells exactly as GORM sends
    /// them, the same three as PostgreSQL allows at best, and pipelined, unnest and COPY with 1 and
    /// 5 workers. Every row is read back and checked. Done in under 3 minutes.
    Reproduce(Reproduce),
    /// Runs scenario files.
    Run(Run),
    /// Draws the report of a record again.
    Report(Report),
    /// Lets controllers play on simulated servers, and prints the league table.
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
  batchpilot run mine.toml --url postgresql://me@db.example/test --strict
  batchpilot run mine.toml --ddl schema.sql --table orders
  batchpilot run mine.toml --url postgresql://me@db.example/test --table public.orders")]
pub(super) struct Run {
    /// Scenario files, run one after the other.
    #[arg(required = true, value_name = "SCENARIO")]
    pub(super) scenarios: Vec<PathBuf>,
    /// Resolve and print the plan; run nothing, connect to nothing.
    #[arg(long)]
    pub(super) check: bool,
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
    /// Leave foreign keys out; a table that has some is refused otherwise.
    #[arg(long)]
    pub(super) without_foreign_keys: bool,
    /// Leave the triggers of --table schema.table out.
    #[arg(long)]
    pub(super) without_triggers: bool,
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
  batchpilot replay --arena
  batchpilot replay --arena --seeds 0-19 --family mid,cores --controller fixed,climb")]
pub(super) struct Replay {
    /// Play on simulated servers, where the best setting is known.
    #[arg(long, required = true)]
    pub(super) arena: bool,
    /// Seeds of the servers, both ends included.
    #[arg(long, value_name = "FIRST-LAST", default_value = "0-99", value_parser = seeds)]
    pub(super) seeds: (u64, u64),
    /// Kinds of servers.
    #[arg(long, value_delimiter = ',', default_value = "quiet,mid,noisy,weird")]
    #[arg(value_parser = families())]
    pub(super) family: Vec<Family>,
    /// Controllers; all, if none is named.
    #[arg(long, value_delimiter = ',', value_parser = policies())]
    pub(super) controller: Vec<Policy>,
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
    /// Exit with 10 if a claim is refuted, with 11 if one is undecided.
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
