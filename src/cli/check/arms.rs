//! What the arms of a check are, from the words of the command line.

use std::path::{Path, PathBuf};

use super::git;
use crate::{
    cli::{
        NotComparable, UsageError,
        args::{Check, Format},
        checker::Side,
        run,
        server::variable,
    },
    gate::{Arm, Arms},
    plan::{Pace, Plan, PlanError, Transaction},
    record::Comparison,
    scenario::{Scenario, ScenarioFile},
    target::{TableSource, postgres::ConnectOptions},
};

const BUILT_IN: &str = include_str!("../../../scenarios/check.toml");
const BUILT_IN_NAME: &str = "scenarios/check.toml";

/// What makes an arm what it is.
#[derive(Clone, Debug, Eq, PartialEq)]
enum What {
    Scenario(PathBuf),
    Url(String),
    PgMajor(u32),
    Schema(PathBuf),
    /// A schema as it was at a git reference.
    SchemaAt(String, PathBuf),
    /// Nothing of its own: what both arms run.
    Common,
}

impl What {
    /// Reads a word that no flag names.
    fn of_word(word: &str) -> What {
        let is_url = ["postgres://", "postgresql://"].iter().any(|it| word.starts_with(it));
        match Path::new(word).extension() {
            _ if is_url => What::Url(word.to_owned()),
            Some(extension) if extension == "sql" => What::Schema(PathBuf::from(word)),
            _ => What::Scenario(PathBuf::from(word)),
        }
    }

    fn comparison(&self) -> Comparison {
        match self {
            What::Scenario(_) | What::Common => Comparison::Scenarios,
            What::Url(_) | What::PgMajor(_) => Comparison::Servers,
            What::Schema(_) | What::SchemaAt(..) => Comparison::Schemas,
        }
    }

    /// What it is called in the record: no URL, which may hold a password.
    fn words(&self) -> String {
        match self {
            What::Scenario(path) | What::Schema(path) => path.display().to_string(),
            What::SchemaAt(reference, path) => format!("{} at {reference}", path.display()),
            What::PgMajor(major) => format!("PostgreSQL {major}"),
            What::Url(_) => "a URL".to_owned(),
            What::Common => "itself".to_owned(),
        }
    }
}

/// Finds both arms and makes their plans.
pub(super) fn resolve(arguments: &Check) -> anyhow::Result<(Comparison, Arms<Side>)> {
    let named = named(arguments)?;
    let null = arguments.null.map(Arm::from);
    let null = null.or(arguments.calibrate.map(|_| Arm::Base));
    if let Some(arm) = null {
        let other = named.of(arm.other()).clone();
        let what = match named.of(arm).clone().or(other.filter(|_| arm == Arm::Base)) {
            Some(what) => what,
            None if named.base.is_none() && named.head.is_none() => What::Common,
            None => return Err(UsageError("--null=head: no head is named".to_owned()).into()),
        };
        let side = side(&what, arguments)?;
        refuse_blind_cells(&side.plan)?;
        return Ok((Comparison::Null(arm), Arms { base: side.clone(), head: side }));
    }
    let (base, head) = match (named.base, named.head) {
        (Some(base), Some(head)) => (base, head),
        (None, None) => {
            let problem = "what is to be compared? Name two scenario files, two URLs or two schemas, \
                           or check an arm against itself with --null; see check --help";
            return Err(UsageError(problem.to_owned()).into());
        }
        (base, _) => {
            let (named, missing) = if base.is_some() { ("base", "head") } else { ("head", "base") };
            let problem = format!(
                "{named} is named and {missing} is not; name both, or check an arm against itself \
                 with --null"
            );
            return Err(UsageError(problem).into());
        }
    };
    if base.comparison() != head.comparison() {
        let problem = format!(
            "base is {} and head is {}: name two of a kind, scenario files, URLs or schemas",
            kind(&base),
            kind(&head)
        );
        return Err(UsageError(problem).into());
    }
    let comparison = base.comparison();
    let mut sides = Arms { base: side(&base, arguments)?, head: side(&head, arguments)? };
    // The same rows for both.
    sides.head.plan.seed = sides.base.plan.seed;
    refuse_blind_cells(&sides.base.plan)?;
    comparable(&sides)?;
    Ok((comparison, sides))
}

fn kind(what: &What) -> &'static str {
    match what {
        What::Scenario(_) | What::Common => "a scenario file",
        What::Url(_) | What::PgMajor(_) => "a server",
        What::Schema(_) | What::SchemaAt(..) => "a schema",
    }
}

/// What the words name: arms are told apart by one thing, or nobody could say what made the
/// difference.
fn named(arguments: &Check) -> anyhow::Result<Arms<Option<What>>> {
    let url = |url: &Option<String>| url.clone().map(What::Url);
    let ddl = |file: &Option<PathBuf>| file.clone().map(What::Schema);
    let word = |word: &Option<String>| word.as_deref().map(What::of_word);
    let at_ref = arguments.base_ref.clone().zip(arguments.table.ddl.clone());
    let ways = [
        ("BASE and HEAD", word(&arguments.base), word(&arguments.head)),
        ("--base-url and --head-url", url(&arguments.base_url), url(&arguments.head_url)),
        (
            "--base-pg-major and --head-pg-major",
            arguments.base_pg_major.map(What::PgMajor),
            arguments.head_pg_major.map(What::PgMajor),
        ),
        ("--base-ddl and --head-ddl", ddl(&arguments.base_ddl), ddl(&arguments.head_ddl)),
        (
            "--base-ref",
            at_ref.clone().map(|(reference, file)| What::SchemaAt(reference, file)),
            at_ref.map(|(_, file)| What::Schema(file)),
        ),
    ];
    let given: Vec<_> = ways.into_iter().filter(|(_, a, b)| a.is_some() || b.is_some()).collect();
    if let [one, other, ..] = given.as_slice() {
        let problem = format!(
            "the arms are named by {} and by {}: choose one, so that what differs is one thing",
            one.0, other.0
        );
        return Err(UsageError(problem).into());
    }
    let named = given.into_iter().next().map(|(_, base, head)| Arms { base, head });
    let named = named.unwrap_or_default();
    refuse_contradictions(arguments, &named)?;
    Ok(named)
}

fn refuse_contradictions(arguments: &Check, named: &Arms<Option<What>>) -> anyhow::Result<()> {
    let all = || [&named.base, &named.head].into_iter().flatten();
    let are_servers = all().any(|what| what.comparison() == Comparison::Servers);
    let are_files = all().any(|what| matches!(what, What::Scenario(_)));
    let are_schemas = all().any(|what| matches!(what, What::Schema(_)));
    let server = [
        (arguments.common.url.is_some(), "--url"),
        (arguments.common.pg_major.is_some(), "--pg-major"),
    ];
    let rules = [
        (are_files && arguments.scenario.is_some(), "--scenario", "the arms are scenarios"),
        (
            are_schemas && arguments.base_ref.is_none() && arguments.table.ddl.is_some(),
            "--ddl",
            "the arms are schemas",
        ),
        (
            arguments.calibrate.is_some() && arguments.outputs.is_asked_for(),
            "--junit, --markdown, --bmf or --action-bench",
            "a calibration judges no head; each of its checks has its check.json",
        ),
        (
            arguments.calibrate.is_some() && super::format(arguments) == Format::Json,
            "--json",
            "a calibration is printed as text, and each of its checks has its check.json",
        ),
    ];
    let servers = server.into_iter().map(|(is_given, flag)| {
        (are_servers && is_given, flag, "the arms are servers of their own")
    });
    for (is_wrong, flag, why) in rules.into_iter().chain(servers) {
        if is_wrong {
            return Err(UsageError(format!("{flag}: {why}; remove it")).into());
        }
    }
    Ok(())
}

/// Makes the plan of an arm.
fn side(what: &What, arguments: &Check) -> anyhow::Result<Side> {
    let (file, folder) = scenario_of(what, arguments)?;
    let mut scenario = file.scenario.clone();
    scenario.seed = arguments.common.seed.or(scenario.seed);
    // A claim is about a run, and blocks are the gate's.
    scenario.claims.clear();
    (scenario.stop, scenario.repetitions) = (None, Some(1));
    scenario.cells.iter_mut().for_each(|cell| cell.stop = None);
    let mut table = arguments.table.clone();
    match what {
        What::Schema(path) | What::SchemaAt(_, path) => table.ddl = Some(path.clone()),
        _ => (),
    }
    let is_named_here = table.ddl.is_some();
    run::own_table(&mut scenario, &table);
    let mut plan = resolve_plan(&file, &scenario)?;
    plan.blocks.clear();
    plan.cells.iter_mut().for_each(|cell| cell.stop.rows = None);
    run::locate_csv(&mut plan, Some(folder.as_path()).filter(|_| table.csv.is_none()));
    let mut label = what.words();
    let mut url = scenario.target.url;
    match what {
        What::SchemaAt(reference, path) => {
            let (text, commit) = git::read(reference, path)?;
            label = format!("{} at {reference} ({commit})", path.display());
            plan.table.source = TableSource::Ddl { file: label.clone(), text };
        }
        _ => run::read_ddl(&mut plan, if is_named_here { Path::new("") } else { &folder })?,
    }
    if let What::Url(own) = what {
        let options = ConnectOptions::parse(own, "the arm's URL", variable);
        label = options.map_err(|error| UsageError(error.to_string()))?.address();
        url = Some(own.clone());
    }
    if *what == What::Common {
        let ddl = arguments.table.ddl.as_ref().map(|file| file.display().to_string());
        label = ddl.unwrap_or_else(|| plan.name.clone());
    }
    let pg_major = match what {
        What::PgMajor(major) => Some(*major),
        _ => None,
    };
    let is_own_url = matches!(what, What::Url(_));
    Ok(Side { label, plan, url, is_own_url, pg_major, source: Some(file.source) })
}

/// The file that says what an arm runs, and the folder that names in it start from.
fn scenario_of(what: &What, arguments: &Check) -> anyhow::Result<(ScenarioFile, PathBuf)> {
    let path = match what {
        What::Scenario(path) => Some(path),
        _ => arguments.scenario.as_ref(),
    };
    match path {
        Some(path) => {
            let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
            Ok((run::read(path)?, folder))
        }
        None => Ok((Scenario::parse(BUILT_IN, BUILT_IN_NAME)?, PathBuf::new())),
    }
}

fn resolve_plan(file: &ScenarioFile, scenario: &Scenario) -> anyhow::Result<Plan> {
    if file.source.file != BUILT_IN_NAME {
        return run::resolve(file, scenario);
    }
    // The user has not written this file: what is wrong was said with flags.
    let in_flags = |error: PlanError| UsageError(error.problem);
    Ok(Plan::resolve(scenario).map_err(in_flags)?)
}

/// Refuses cells whose numbers would not show a slower server: what moves a setting would take part
/// in the comparison; at a rate, only queues grow; and one COMMIT at the end comes after what counts.
fn refuse_blind_cells(plan: &Plan) -> anyhow::Result<()> {
    for cell in &plan.cells {
        let why = if cell.controller.is_some() {
            "has a controller, which would move the setting of each arm; give it batch_rows and \
             workers"
        } else if cell.pace != Pace::Closed {
            "has a rate, and inserts as fast on a slower server; leave `pace` out"
        } else if cell.transaction == Transaction::Whole {
            "commits once, after the part of a block that is compared; take `every = N`"
        } else {
            continue;
        };
        return Err(UsageError(format!("cell `{}` {why}", cell.name)).into());
    }
    Ok(())
}

/// Refuses arms that do not do the same work, as far as their plans tell.
fn comparable(sides: &Arms<Side>) -> anyhow::Result<()> {
    let (base, head) = (&sides.base.plan, &sides.head.plan);
    let refused = |problem: String| Err(NotComparable(problem).into());
    let names = |plan: &Plan| -> Vec<String> {
        plan.cells.iter().map(|cell| format!("`{}`", cell.name)).collect()
    };
    if names(base) != names(head) {
        return refused(format!(
            "base has the cells {} and head has {}; cells are paired by name, so give both the same",
            names(base).join(", "),
            names(head).join(", ")
        ));
    }
    if base.sim.is_some() != head.sim.is_some() {
        return refused("one arm is a simulated server and the other is not".to_owned());
    }
    if base.client_threads != head.client_threads {
        return refused(format!(
            "base runs on {} client threads and head on {}: that would be compared, and not the \
             server",
            base.client_threads, head.client_threads
        ));
    }
    if base.table.columns != head.table.columns {
        return refused("the arms' [[columns]] differ, and with them the rows".to_owned());
    }
    let reading = |plan: &Plan| {
        let csv = plan.table.csv.as_ref();
        csv.map(|csv| (csv.header, csv.delimiter, csv.null.clone()))
    };
    if reading(base) != reading(head) {
        return refused(
            "the arms' rows come from files that are read in different ways, or one arm's from none; \
             give both the same `csv`, `header`, `delimiter` and `null_text` in [rows]"
                .to_owned(),
        );
    }
    if sides.base.url.is_some() != sides.head.url.is_some() {
        return refused(
            "one arm names a server in `target.url` and the other does not; name both, or none"
                .to_owned(),
        );
    }
    Ok(())
}

/// The command's words, for the record: all that the check follows from. Not the URLs, which may hold
/// a password and must be put in to repeat it, and not where the answer is to go.
pub(super) fn command(arguments: &Check) -> String {
    let mut words = vec!["check".to_owned()];
    let mut add = |flag: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("{flag}{value}")));
    };
    let path = |path: &Option<PathBuf>| path.as_ref().map(|it| it.display().to_string());
    let word = |word: &Option<String>| word.as_deref().map(|it| What::of_word(it).words());
    let some = |is_given: bool| is_given.then(String::new);
    add("", word(&arguments.base));
    add("", word(&arguments.head));
    add("--base-url …", some(arguments.base_url.is_some()));
    add("--head-url …", some(arguments.head_url.is_some()));
    add("--base-pg-major ", arguments.base_pg_major.map(|it| it.to_string()));
    add("--head-pg-major ", arguments.head_pg_major.map(|it| it.to_string()));
    add("--base-ddl ", path(&arguments.base_ddl));
    add("--head-ddl ", path(&arguments.head_ddl));
    add("--base-ref ", arguments.base_ref.clone());
    add("--ddl ", path(&arguments.table.ddl));
    add("--table ", arguments.table.table.clone());
    add("--scenario ", path(&arguments.scenario));
    add("--null=", arguments.null.map(|it| Arm::from(it).name().to_owned()));
    add("--calibrate ", arguments.calibrate.map(|it| it.to_string()));
    add("--csv ", path(&arguments.table.csv));
    add("--without-foreign-keys", some(arguments.table.without_foreign_keys));
    add("--without-triggers", some(arguments.table.without_triggers));
    add("--common-columns", some(arguments.common_columns));
    add("--url …", some(arguments.common.url.is_some()));
    add("--pg-bin ", path(&arguments.common.pg_bin));
    add("--pg-major ", arguments.common.pg_major.map(|it| it.to_string()));
    add("--seed ", arguments.common.seed.map(|it| it.to_string()));
    add("--strict", some(arguments.common.strict));
    words.extend(arguments.gate.words());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn arguments(words: &str) -> Check {
        let words = format!("batchpilot check {words}");
        match Cli::try_parse_from(words.split_whitespace()).unwrap().command {
            Command::Check(arguments) => *arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn words_name_arms_of_three_kinds() {
        let schema = |file: &str| Some(What::Schema(PathBuf::from(file)));
        let url = |url: &str| Some(What::Url(url.to_owned()));
        let at = |reference: &str| Some(What::SchemaAt(reference.to_owned(), "s.sql".into()));
        for (words, base, head) in [
            (
                "a.toml b.toml",
                Some(What::Scenario("a.toml".into())),
                Some(What::Scenario("b.toml".into())),
            ),
            ("postgres://a postgresql://b", url("postgres://a"), url("postgresql://b")),
            ("--base-url x --head-url y", url("x"), url("y")),
            ("a.sql b.sql", schema("a.sql"), schema("b.sql")),
            ("--base-ddl a.sql --head-ddl b", schema("a.sql"), schema("b")),
            ("--base-ref main --ddl s.sql", at("main"), schema("s.sql")),
            ("--base-pg-major 15", Some(What::PgMajor(15)), None),
            ("--null --ddl s.sql", None, None),
        ] {
            let got = named(&arguments(words)).unwrap();
            assert_eq!((got.base, got.head), (base, head), "{words}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_said() {
        for (words, problem) in [
            ("", "what is to be compared?"),
            ("scenarios/check.toml", "base is named and head is not"),
            ("--head-ddl a.sql", "head is named and base is not"),
            ("a.toml b.sql", "base is a scenario file and head is a schema"),
            ("a.toml b.toml --base-ddl a.sql", "BASE and HEAD and by --base-ddl and --head-ddl"),
            ("--base-url a --head-url b --base-ddl c --head-ddl d", "choose one"),
            ("a.toml b.toml --scenario c.toml", "--scenario: the arms are scenarios"),
            ("--base-ddl a --head-ddl b --ddl c", "--ddl: the arms are schemas"),
            ("--base-url a --head-url b --url c", "--url: the arms are servers"),
            ("--base-pg-major 14 --head-pg-major 15 --pg-major 18", "--pg-major: the arms are"),
            ("--base-ddl a.sql --null=head", "--null=head: no head is named"),
            ("--base-ref=-x --ddl a.sql", "is no reference"),
        ] {
            let error = resolve(&arguments(words)).expect_err(words);
            assert!(error.is::<UsageError>(), "{words}: {error:#}");
            assert!(format!("{error:#}").contains(problem), "{words}: {error:#}");
        }
    }

    #[test]
    fn an_arm_against_itself_is_twice_the_same_plan() {
        for (words, arm) in [
            ("--null", Arm::Base),
            ("--null=base scenarios/check.toml", Arm::Base),
            ("--null=head scenarios/example.toml scenarios/check.toml", Arm::Head),
            ("--calibrate 3 scenarios/check.toml", Arm::Base),
        ] {
            let (comparison, sides) = resolve(&arguments(words)).unwrap();
            assert_eq!(comparison, Comparison::Null(arm), "{words}");
            assert_eq!(sides.base.plan, sides.head.plan);
            assert_eq!(sides.base.plan.name, "check", "{words}");
        }
    }

    /// Every flag is in the words, or does not change what is checked.
    #[test]
    fn the_words_repeat_the_check() {
        let answer = [
            "json",
            "junit",
            "markdown",
            "bmf",
            "action-bench",
            "out",
            "format",
            "quiet",
            "verbose",
            "help",
        ];
        let given = "--base-url u --head-url u --base-pg-major 14 --head-pg-major 15 --base-ddl a.sql \
                     --head-ddl b.sql --base-ref main --ddl c.sql --table t --scenario s.toml \
                     --null=head --calibrate 3 --csv rows.csv --without-foreign-keys \
                     --without-triggers --common-columns --url u --pg-bin /bin --pg-major 16 --seed 9 \
                     --strict --gate rows,p95 --margin 0.03 --tolerance 0.11 --p95-margin 0.06 \
                     --p95-tolerance 0.26 --looks 7:0.01,9:0.02 --pass-alpha 0.03 --confirm same \
                     --block-operations 21 --block-min 0.3 --block-max 2 --guard-min 0.01 \
                     --guard-operations 3 --warm-up-window 0.4 --warm-up-windows 4 \
                     --warm-up-spread 0.21 --warm-up-max 9 --pairs-a-table 6 --pairs-min 8 \
                     --steal-max 0.22 --client-bound-max 0.12 --p99-worse 0.13 --totals-worse 0.14 \
                     --totals-gap 0.15 --stalled-below 0.51";
        let command = command(&arguments(given));
        let hidden =
            ["--base-url", "--head-url", "--url"].iter().fold(given.to_owned(), |text, flag| {
                text.replace(&format!("{flag} u"), &format!("{flag} …"))
            });
        assert_eq!(command, format!("check {hidden}"));
        let mut cli = Cli::command();
        let check = cli.find_subcommand_mut("check").unwrap();
        let flags = check.get_arguments().filter_map(|it| it.get_long());
        for flag in flags.filter(|flag| !answer.contains(flag)) {
            let flag = format!("--{flag}");
            let is_there = command.split([' ', '=']).any(|word| word == flag);
            assert!(is_there, "no {flag} in {command}");
        }
    }

    #[test]
    fn the_record_names_no_url() {
        let words = "postgresql://me:secret@a/b postgresql://me:secret@c/d --table x.y";
        assert_eq!(command(&arguments(words)), "check a URL a URL --table x.y");
        let words = "--base-url postgresql://me:secret@a/b --head-url c --null=head";
        assert_eq!(command(&arguments(words)), "check --base-url … --head-url … --null=head");
    }
}
