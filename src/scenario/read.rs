//! Reads a scenario file, and says of the first thing wrong with it where, what and the way out.

use std::{fs, io, path::Path};

use serde::Deserialize as _;
use thiserror::Error;
use toml::de::{DeTable, Deserializer};

use super::{
    Scenario,
    check::{check, listed, nearest},
    schema::{Expected, Node, schema},
    source::{Entry, Position, Source, entries, help, join, parent},
};

/// A scenario with the text that it was read from, so that `plan` can still name the place of a
/// value that is out of range.
#[derive(Clone, Debug)]
pub struct ScenarioFile {
    pub scenario: Scenario,
    pub source: Source,
}

/// Why there is no scenario.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The file could not be read at all.
    #[error("cannot read {file}{}", did_you_mean(.nearest.as_deref()))]
    Unreadable {
        file: String,
        /// A file beside it with nearly the same name.
        nearest: Option<String>,
        source: io::Error,
    },
    /// The file says something that no scenario says.
    #[error(transparent)]
    Wrong(#[from] Fault),
}

/// One thing wrong with a scenario file.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{file}:{position}: {problem}{}", on_next_line(.help.as_deref()))]
pub struct Fault {
    pub file: String,
    pub position: Position,
    /// The key, as a path such as `cells[2].batch_rows`; empty for the file as a whole.
    pub path: String,
    /// What is wrong, what was expected, and what was probably meant.
    pub problem: String,
    /// One more line: the known keys, or what the key means.
    pub help: Option<String>,
}

impl Scenario {
    /// Reads a scenario file.
    pub fn read(path: &Path) -> Result<ScenarioFile, ScenarioError> {
        let file = path.display().to_string();
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(source) => {
                let nearest = nearest_file(path, &source);
                return Err(ScenarioError::Unreadable { file, nearest, source });
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(&text, &file),
            Err(error) => Err(not_utf8(&file, &error).into()),
        }
    }

    /// Reads a scenario from a text; `file` is its name in messages.
    pub fn parse(text: &str, file: &str) -> Result<ScenarioFile, ScenarioError> {
        let source = Source::new(file, text);
        let schema = schema();
        let schema = Node::root(&schema);
        let (document, errors) = DeTable::parse_recoverable(text);
        if let Some(error) = errors.first() {
            return Err(syntax_fault(error, document.get_ref(), &source, schema).into());
        }
        if document.get_ref().is_empty() {
            return Err(empty_fault(&source, schema).into());
        }
        check(&document, &source, schema)?;
        let entries = entries(document.get_ref());
        let scenario = Self::deserialize(Deserializer::from(document))
            .map_err(|error| fault_near(&error, error.message(), &entries, &source, schema))?;
        Ok(ScenarioFile { scenario, source })
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|it| format!(", did you mean `{it}`?")).unwrap_or_default()
}

fn on_next_line(help: Option<&str>) -> String {
    help.map(|it| format!("\n  {it}")).unwrap_or_default()
}

/// Returns the file in the same folder that was probably meant by the name of one that is not.
fn nearest_file(path: &Path, error: &io::Error) -> Option<String> {
    if error.kind() != io::ErrorKind::NotFound {
        return None;
    }
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let names: Vec<String> = fs::read_dir(folder.unwrap_or(Path::new(".")))
        .ok()?
        .filter_map(|it| it.ok()?.file_name().into_string().ok())
        .filter(|it| it.ends_with(".toml"))
        .collect();
    // The extension is left out: with it, any two names would be alike.
    let name = path.file_stem()?.to_str()?;
    let stems = names.iter().filter_map(|it| it.strip_suffix(".toml"));
    let meant = format!("{}.toml", nearest(name, stems)?);
    Some(path.with_file_name(meant).display().to_string())
}

fn not_utf8(file: &str, error: &std::string::FromUtf8Error) -> Fault {
    let start = error.utf8_error().valid_up_to();
    let byte = error.as_bytes()[start];
    let source = Source::new(file, String::from_utf8_lossy(&error.as_bytes()[..start]));
    let (document, _) = DeTable::parse_recoverable(&source.text);
    let path = key_at(start, &entries(document.get_ref()), &source.text).unwrap_or_default();
    Fault {
        file: file.to_owned(),
        position: source.position(start),
        problem: format!("{}byte 0x{byte:02x} is not UTF-8, expected UTF-8 text", of_key(&path)),
        path,
        help: None,
    }
}

fn empty_fault(source: &Source, schema: Node<'_>) -> Fault {
    let keys = schema.keys();
    Fault {
        file: source.file.clone(),
        position: source.position(0),
        path: String::new(),
        problem: format!("the file has no keys, expected at least {}", listed(schema.required())),
        help: Some(format!("known keys: {}", listed(keys.iter().map(|(name, _)| *name)))),
    }
}

fn syntax_fault(
    error: &toml::de::Error,
    document: &DeTable<'_>,
    source: &Source,
    schema: Node<'_>,
) -> Fault {
    let span = error.span().unwrap_or(0..0);
    // toml has no kinds of errors, so the wording has to tell. Should it change, a test fails, and
    // the message stays right but says less.
    if error.message() == "duplicate key"
        && let Some(fault) = duplicate_fault(span.clone(), source, schema)
    {
        return fault;
    }
    let line = source.text.get(..span.start).and_then(|it| it.rsplit('\n').next());
    let is_value_missing = span.is_empty()
        && line.is_some_and(|it| it.trim_end().ends_with('='))
        && error.message().starts_with("string values must be quoted");
    let message = if is_value_missing { "expected a value after `=`" } else { error.message() };
    let message = message.trim_end_matches(", expected nothing");
    fault_near(error, &format!("invalid TOML: {message}"), &entries(document), source, schema)
}

/// Says which key is given twice, and where it was given first.
///
/// The parser drops the second key, so its table is found by parsing again with the second key
/// renamed.
fn duplicate_fault(
    span: std::ops::Range<usize>,
    source: &Source,
    schema: Node<'_>,
) -> Option<Fault> {
    let written = source.text.get(span.clone())?;
    let key = written.trim_matches(['"', '\'']);
    let mut renamed = "second".to_owned();
    while source.text.contains(&renamed) {
        renamed.push('_');
    }
    let before = source.text.get(..span.start)?;
    let text = format!("{before}{renamed}{}", source.text.get(span.end..)?);
    let (document, _) = DeTable::parse_recoverable(&text);
    let entries = entries(document.get_ref());
    let is_second = |it: &&Entry| it.key.as_ref().is_some_and(|key| key.start == span.start);
    let second = entries.iter().find(is_second)?;
    let path = join(parent(&second.path), key);
    let first = entries.iter().find(|it| it.path == path)?.key.clone()?;
    let is_list = matches!(
        schema.find(&path).map(Node::expected),
        Some(Expected::Array(Some(items))) if matches!(*items, Expected::Table)
    );
    let way_out = if is_list { format!("; write `[[{path}]]` each time") } else { String::new() };
    let line = source.position(first.start).line;
    Some(Fault {
        file: source.file.clone(),
        position: source.position(span.start),
        problem: format!("duplicate key `{path}`, already given in line {line}{way_out}"),
        help: help(&path, schema),
        path,
    })
}

/// Puts what the TOML crate says beside the key in which it says so.
fn fault_near(
    error: &toml::de::Error,
    message: &str,
    entries: &[Entry],
    source: &Source,
    schema: Node<'_>,
) -> Fault {
    let offset = error.span().unwrap_or(0..0).start;
    let path = key_at(offset, entries, &source.text).unwrap_or_default();
    Fault {
        file: source.file.clone(),
        position: source.position(offset),
        problem: format!("{}{message}", of_key(&path)),
        help: help(&path, schema),
        path,
    }
}

fn of_key(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("key `{path}`: ") }
}

/// Returns the key that was last begun before the offset and whose value or line it is in.
fn key_at(offset: usize, entries: &[Entry], text: &str) -> Option<String> {
    entries
        .iter()
        .filter_map(|it| Some((it, it.key.as_ref()?.start)))
        .filter(|(_, start)| *start <= offset)
        .max_by_key(|(_, start)| *start)
        .filter(|(entry, start)| {
            let is_same_line = text.get(*start..offset).is_some_and(|it| !it.contains('\n'));
            is_same_line || entry.value.contains(&offset)
        })
        .map(|(entry, _)| entry.path.clone())
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    /// What the texts below begin with; they go on in line 5.
    const CELL: &str = "name = 'a'\n[[cells]]\nname = 'c'\nstrategy = 'unnest'\n";

    const ROOT_KEYS: &str = "known keys: `cells`, `claims`, `client_threads`, `columns`, `name`, \
        `pool`, `repetitions`, `rows`, `seed`, `sim`, `stop`, `table`, `target`, `title`, \
        `window_ms`";
    const CELL_KEYS: &str = "known keys: `batch_rows`, `controller`, `in_flight`, `name`, `on_error`, `pace`, \
        `pool`, `prepared`, `returning`, `stop`, `strategy`, `transaction`, `workers`";
    const STRATEGIES: &str =
        "one of `single_row`, `pipelined`, `multi_row`, `unnest`, `copy_text`, `copy_binary`";
    const TRANSACTIONS: &str = "one of `autocommit`, `explicit`, `whole`, `{ every = … }`";

    const BATCH_ROWS: &str = "`batch_rows`: Rows an operation carries. Default 1 for \
        `single_row`, else 1,000. `multi_row` takes at most 65,535 divided by the number of \
        columns (PostgreSQL's limit on parameters).";
    const NAME: &str =
        "`name`: Short name; part of the results directory's name. Letters, digits, `-` and `_`.";
    const RATE: &str = "`rate`: Operations a second, over all workers.";
    const SEED: &str =
        "`seed`: Seed of the rows, of the order of blocks and of Poisson arrivals. Default 1.";
    const STRATEGY: &str = "`strategy`: How an operation carries its batch.";
    const TRANSACTION: &str =
        "`transaction`: Where transactions begin and end. Default `autocommit`.";

    /// Text, first line of the message without the file, second line.
    type Row<'a> = (&'a str, &'a str, &'a str);

    fn check_messages(before: &str, rows: &[Row<'_>]) {
        for (text, first, second) in rows {
            let text = format!("{before}{text}");
            let error = Scenario::parse(&text, "a.toml").expect_err(&text);
            assert_eq!(error.to_string(), format!("a.toml:{first}\n  {second}"), "{text}");
        }
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        check_messages(
            "",
            &[
                (
                    "naem = 'a'",
                    "1:1: unknown key `naem` at the top level, did you mean `name`?",
                    ROOT_KEYS,
                ),
                (
                    "[[cell]]",
                    "1:3: unknown key `cell` at the top level, did you mean `cells`?",
                    ROOT_KEYS,
                ),
                (
                    "workers = 3",
                    "1:1: unknown key `workers` at the top level; it belongs in cells[] or \
                     in cells[].controller",
                    ROOT_KEYS,
                ),
                ("color = 3", "1:1: unknown key `color` at the top level", ROOT_KEYS),
                (
                    "\"\\u001b[31m\" = 3",
                    "1:1: unknown key `\"\\u{1b}[31m\"` at the top level",
                    ROOT_KEYS,
                ),
                (
                    "[target]\nuri = ''",
                    "2:1: unknown key `uri` in target, did you mean `url`?",
                    "known keys: `connection`, `url`",
                ),
            ],
        );
        check_messages(
            CELL,
            &[
                (
                    "batchsize = 1",
                    "5:1: unknown key `batchsize` in cells[0], did you mean `batch_rows`?",
                    CELL_KEYS,
                ),
                (
                    "Batch-Rows = 1",
                    "5:1: unknown key `Batch-Rows` in cells[0], did you mean `batch_rows`?",
                    CELL_KEYS,
                ),
                (
                    "title = ''",
                    "5:1: unknown key `title` in cells[0]; it belongs at the top level",
                    CELL_KEYS,
                ),
                (
                    "seconds = 3",
                    "5:1: unknown key `seconds` in cells[0]; it belongs in cells[].stop or in stop",
                    CELL_KEYS,
                ),
                (
                    "transaction = { evry = 3 }",
                    "5:17: unknown key `evry` in cells[0].transaction, did you mean `every`?",
                    "known keys: `every`",
                ),
                (
                    "transaction = { every = 3, x = 1 }",
                    "5:28: unknown key `x` in cells[0].transaction",
                    "known keys: `every`",
                ),
            ],
        );
    }

    #[test]
    fn an_unknown_value_names_the_nearest() {
        let transactions = format!("expected {TRANSACTIONS}");
        check_messages(
            "name = 'a'\n[[cells]]\nname = 'c'\n",
            &[
                (
                    "strategy = 'copy'",
                    "4:12: key `cells[0].strategy`: unknown value \"copy\", did you mean \
                    `copy_text`?",
                    &format!("expected {STRATEGIES}"),
                ),
                (
                    "strategy = 'Multi-Row'",
                    "4:12: key `cells[0].strategy`: unknown value \"Multi-Row\", did you mean \
                    `multi_row`?",
                    &format!("expected {STRATEGIES}"),
                ),
                (
                    "strategy = 'bulk'",
                    "4:12: key `cells[0].strategy`: unknown value \"bulk\"",
                    &format!("expected {STRATEGIES}"),
                ),
            ],
        );
        check_messages(
            CELL,
            &[
                (
                    "transaction = 'implicit'",
                    "5:15: key `cells[0].transaction`: unknown value \"implicit\", did you mean \
                    `explicit`?",
                    &transactions,
                ),
                (
                    "transaction = 'every'",
                    "5:15: key `cells[0].transaction`: unknown value \"every\", did you mean `{ \
                    every = … }`?",
                    &transactions,
                ),
                (
                    "transaction = 'evry'",
                    "5:15: key `cells[0].transaction`: unknown value \"evry\", did you mean `{ \
                    every = … }`?",
                    &transactions,
                ),
                (
                    "[rows]\nkind = 'user'",
                    "6:8: key `rows.kind`: unknown value \"user\"",
                    "expected `article_user`",
                ),
                (
                    "[[claims]]\nunit = 'row/s'",
                    "6:8: key `claims[0].unit`: unknown value \"row/s\", did you mean `rows/s`?",
                    "expected one of `rows/s`, `speedup`",
                ),
            ],
        );
    }

    #[test]
    fn a_wrong_type_names_the_right_one() {
        check_messages(
            CELL,
            &[
                (
                    "batch_rows = 'many'",
                    "5:14: key `cells[0].batch_rows`: expected an integer from 0 to 2^64 - 1, \
                    found the string \"many\"",
                    BATCH_ROWS,
                ),
                (
                    "batch_rows = '1000'",
                    "5:14: key `cells[0].batch_rows`: expected an integer from 0 to 2^64 - 1, \
                    found the string \"1000\"; write it without quotes",
                    BATCH_ROWS,
                ),
                (
                    "batch_rows = [1]",
                    "5:14: key `cells[0].batch_rows`: expected an integer from 0 to 2^64 - 1, \
                    found an array",
                    BATCH_ROWS,
                ),
                (
                    "transaction = 5",
                    &format!("5:15: key `cells[0].transaction`: expected {TRANSACTIONS}, found 5"),
                    TRANSACTION,
                ),
                (
                    "returning = 1",
                    "5:13: key `cells[0].returning`: expected `true` or `false`, found 1",
                    "`returning`: `true` asks `RETURNING \"id\"` and reads the answer, as an ORM \
                    does. Default `false`.",
                ),
                (
                    "pace = 5",
                    "5:8: key `cells[0].pace`: expected a table, found 5",
                    "`pace`: Open loop at a rate; without it, closed loop: as fast as possible.",
                ),
                (
                    "pace = { rate = 'a long story, and one that does not end' }",
                    "5:17: key `cells[0].pace.rate`: expected a number, found the string \"a long \
                    story, and one that does not end\"",
                    RATE,
                ),
                (
                    "pace = { rate = 'a longer story, and one that does not end' }",
                    "5:17: key `cells[0].pace.rate`: expected a number, found the string \"a \
                    longer story, and one that does not en…\"",
                    RATE,
                ),
            ],
        );
    }

    #[test]
    fn a_wrong_shape_names_the_right_one() {
        check_messages(
            CELL,
            &[
                (
                    "[[cells.pace]]\nrate = 3",
                    "5:1: key `cells[0].pace`: expected a table, found an array; write \
                    `[cells.pace]`",
                    "`pace`: Open loop at a rate; without it, closed loop: as fast as possible.",
                ),
                (
                    "[table]\nname = 5",
                    "6:8: key `table.name`: expected a string, found 5; write it in quotes",
                    "`name`: Name of the table. Default `users`; with `ddl`, the only table that it \
                    makes.",
                ),
                (
                    "[table]\nindexes = 'age'",
                    "6:11: key `table.indexes`: expected an array of strings, found the string \
                    \"age\"; write it in brackets",
                    "`indexes`: Columns with a secondary B-tree index each. Default none.",
                ),
                (
                    "[table]\nindexes = [\n'age', true]",
                    "7:8: key `table.indexes[1]`: expected a string, found true; write it in \
                    quotes",
                    "`indexes`: Columns with a secondary B-tree index each. Default none.",
                ),
            ],
        );
        check_messages(
            "",
            &[
                (
                    "seed = 2024-01-01",
                    "1:8: key `seed`: expected an integer from 0 to 2^64 - 1, found 2024-01-01",
                    SEED,
                ),
                (
                    "[cells]\nname = 'a'",
                    "1:1: key `cells`: expected an array of tables, found a table; write \
                    `[[cells]]`",
                    "`cells`: What to measure.",
                ),
            ],
        );
    }

    #[test]
    fn no_message_shows_a_password() {
        for text in [
            "target = 'postgresql://user:secret@host/database'",
            "target.connection = 'postgresql://user:secret@host/database'",
            "seed = 'host=localhost password=secret'",
            "target.url = 'postgresql://user:secret@host/database\nname = 'a'",
            "target.url = postgresql://user:secret@host/database",
            "target.url = 'postgresql://user:secret@host/database'",
        ] {
            let error = Scenario::parse(text, "a.toml").expect_err(text);
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn a_number_must_fit() {
        let every =
            "5:25: key `cells[0].transaction.every`: expected an integer from 0 to 4,294,967,295";
        let batch_rows = "5:14: key `cells[0].batch_rows`: expected an integer from 0 to 2^64 - 1";
        check_messages(
            CELL,
            &[
                ("batch_rows = -5", &format!("{batch_rows}, found -5"), BATCH_ROWS),
                ("batch_rows = 1.5", &format!("{batch_rows}, found 1.5"), BATCH_ROWS),
                (
                    "batch_rows = 0x1_0000_0000_0000_0000",
                    &format!("{batch_rows}, found 0x1_0000_0000_0000_0000"),
                    BATCH_ROWS,
                ),
                ("transaction = { every = -1 }", &format!("{every}, found -1"), TRANSACTION),
                (
                    "transaction = { every = 4_294_967_296 }",
                    &format!("{every}, found 4_294_967_296"),
                    TRANSACTION,
                ),
                (
                    "pace = { rate = 100000000000000000000 }",
                    "5:17: key `cells[0].pace.rate`: expected a number, found \
                    100000000000000000000; write it with a decimal point",
                    RATE,
                ),
                // What the schema cannot say, serde says.
                (
                    "pace = { rate = 1e999 }",
                    "5:17: key `cells[0].pace.rate`: floating-point number overflowed",
                    RATE,
                ),
            ],
        );
    }

    #[test]
    fn a_missing_key_names_its_table() {
        check_messages(
            "",
            &[
                ("seed = 3", "1:1: missing key `name` at the top level, expected a string", NAME),
                (
                    "name = 'a'",
                    "1:1: missing key `cells` at the top level, expected an array of tables",
                    "`cells`: What to measure.",
                ),
                (
                    "name = 'a'\n[[cells]]\nname = 'b'",
                    &format!("2:1: missing key `strategy` in cells[0], expected {STRATEGIES}"),
                    STRATEGY,
                ),
            ],
        );
        check_messages(
            CELL,
            &[
                (
                    "[[cells]]\nstrategy = 'unnest'",
                    "5:1: missing key `name` in cells[1], expected a string",
                    "`name`: Name of the cell, unique in the file.",
                ),
                ("pace = {}", "5:8: missing key `rate` in cells[0].pace, expected a number", RATE),
                (
                    "transaction = {}",
                    "5:15: missing key `every` in cells[0].transaction, expected an integer from \
                    0 to 4,294,967,295",
                    TRANSACTION,
                ),
            ],
        );
        let none = "1:1: the file has no keys, expected at least `name`, `cells`";
        check_messages(
            "",
            &[
                ("", none, ROOT_KEYS),
                (" \n# Nothing.\n", none, ROOT_KEYS),
                ("\u{feff}", none, ROOT_KEYS),
            ],
        );
    }

    #[test]
    fn a_duplicate_key_names_the_first() {
        check_messages(
            CELL,
            &[
                (
                    "name = 'd'",
                    "5:1: duplicate key `cells[0].name`, already given in line 3",
                    "`name`: Name of the cell, unique in the file.",
                ),
                (
                    "[target]\n[rows]\n[target]",
                    "7:2: duplicate key `target`, already given in line 5",
                    "`target`: Where to insert.",
                ),
            ],
        );
        check_messages(
            "",
            &[
                (
                    "name = 'a'\n\"name\" = 'b'",
                    "2:1: duplicate key `name`, already given in line 1",
                    NAME,
                ),
                // The nearest `rows` above is another table's.
                (
                    "rows = {}\nstop = { rows = 1 }\nrows = {}",
                    "3:1: duplicate key `rows`, already given in line 1",
                    "`rows`: The rows to insert.",
                ),
                (
                    "[cells]\n[cells]",
                    "2:2: duplicate key `cells`, already given in line 1; write `[[cells]]` each \
                    time",
                    "`cells`: What to measure.",
                ),
            ],
        );
    }

    #[test]
    fn a_syntax_error_names_the_key_around_it() {
        let strategy = "name = 'a'\n[[cells]]\nstrategy =";
        check_messages(
            strategy,
            &[
                (
                    " unnest",
                    "3:12: key `cells[0].strategy`: invalid TOML: string values must be quoted, \
                    expected literal string",
                    STRATEGY,
                ),
                (
                    " \nname = 'c'",
                    "3:12: key `cells[0].strategy`: invalid TOML: expected a value after `=`",
                    STRATEGY,
                ),
                (
                    " 'unnest\nname = 'c'",
                    "3:19: key `cells[0].strategy`: invalid TOML: invalid literal string, \
                    expected `'`",
                    STRATEGY,
                ),
            ],
        );
        check_messages(
            "",
            &[
                (
                    "[[cells]\n",
                    "1:9: key `cells`: invalid TOML: unclosed array table, expected `]`",
                    "`cells`: What to measure.",
                ),
                ("seed = 01", "1:8: key `seed`: invalid TOML: unexpected leading zero", SEED),
            ],
        );
        for (text, expected) in [
            ("seed\n", "a.toml:1:5: invalid TOML: key with no value, expected `=`"),
            ("seed = 3\n\nname 'a'", "a.toml:3:6: invalid TOML: key with no value, expected `=`"),
        ] {
            let error = Scenario::parse(text, "a.toml").expect_err(text);
            assert_eq!(error.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("article.toml"), "").unwrap();
        fs::write(folder.path().join("latin1.toml"), b"name = 'a'\ntitle = 'na\xefve'").unwrap();
        let not_found = Some("No such file or directory (os error 2)");
        for (name, expected, cause) in [
            (
                "artcle.toml",
                "cannot read FOLDER/artcle.toml, did you mean `FOLDER/article.toml`?",
                not_found,
            ),
            ("other.toml", "cannot read FOLDER/other.toml", not_found),
            ("no/other.toml", "cannot read FOLDER/no/other.toml", not_found),
            (".", "cannot read FOLDER/.", Some("Is a directory (os error 21)")),
            (
                "latin1.toml",
                "FOLDER/latin1.toml:2:12: key `title`: byte 0xef is not UTF-8, expected UTF-8 text",
                None,
            ),
            (
                "article.toml",
                &format!(
                    "FOLDER/article.toml:1:1: the file has no keys, expected at least `name`, \
                    `cells`\n  {ROOT_KEYS}"
                ),
                None,
            ),
        ] {
            let error = Scenario::read(&folder.path().join(name)).expect_err(name);
            let folder = folder.path().display().to_string();
            assert_eq!(error.to_string(), expected.replace("FOLDER", &folder));
            assert_eq!(error.source().map(ToString::to_string).as_deref(), cause, "{name}");
        }
    }

    #[test]
    fn ranges_are_left_to_the_plan() {
        for text in [
            "transaction = { every = 0 }",
            "batch_rows = 0xFFFF_FFFF_FFFF_FFFF",
            "workers = -0",
            "pace = { rate = nan }",
            "pace = { rate = -1 }",
        ] {
            Scenario::parse(&format!("{CELL}{text}"), "a.toml").expect(text);
        }
    }

    #[test]
    fn keeps_the_source_for_later_errors() {
        let file = Scenario::parse(&format!("{CELL}batch_rows = 0"), "a.toml").unwrap();
        assert_eq!(file.scenario.cells[0].batch_rows, Some(0));
        assert_eq!(file.source.locate("cells[0].batch_rows"), Position { line: 5, column: 14 });
    }

    /// Cuts, drops, doubles and renames: whatever the file, a message with a place in it.
    #[test]
    fn any_damage_gives_a_place_in_the_file() {
        let example = include_str!("../../scenarios/example.toml");
        let lines: Vec<&str> =
            example.lines().filter(|it| !it.is_empty() && !it.starts_with('#')).collect();
        let mut damaged = Vec::new();
        for index in 0..lines.len() {
            let (before, after) = (lines[..index].join("\n"), lines[index + 1..].join("\n"));
            let line = lines[index];
            let half = &line[..line.len() / 2];
            for middle in
                ["", half, "x = 1", "\u{0}", "]", &format!("{line}\n{line}"), &format!("x{line}")]
            {
                damaged.push(format!("{before}\n{middle}\n{after}"));
            }
            damaged.push(format!("{before}\n{half}"));
        }
        for text in &damaged {
            let Err(error) = Scenario::parse(text, "a.toml") else { continue };
            let ScenarioError::Wrong(fault) = error else { panic!("{error}: {text}") };
            let line = text.lines().nth(fault.position.line - 1).unwrap_or_default();
            assert!(fault.position.column <= line.chars().count() + 1, "{fault}: {text}");
        }
    }
}
