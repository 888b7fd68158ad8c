//! The user's own table, made anew in batchpilot's schema: from DDL, or like one of the database.
//!
//! Everything happens in transactions that are looked at before they are committed: a lock on a
//! table outside of batchpilot's schema, beyond that of reading, rolls all back. Before the first
//! block some rows are inserted in a transaction that is always rolled back. That finds out whether
//! CHECKs, triggers and types take the rows as they are made, which columns triggers change, and
//! whether a trigger writes anywhere else. What no transaction can undo (a sequence outside of the
//! schema that a trigger counts with, another connection that it opens) is found, but not undone.

use std::{collections::BTreeMap, sync::Arc};

use tokio_postgres::{Client, Error, error::SqlState};

use super::{
    catalog::{self, CatalogColumn, Check, TableFacts},
    ddl, error, trial, verify,
};
use crate::{
    rows::{
        Bound, ColumnFacts, ColumnKind, CsvColumn, CsvError, CsvRows, CsvSent, CsvSettings,
        Generator, Limit, Limits, Maker, RowRange, TableError, TableRows, TypeShape, conditions,
    },
    strategy::quoted,
    target::{
        ColumnRule, ForeignKeys, TableInfo, TableSettings, TableSource, TargetError, Triggers,
    },
};

/// A table that is ready.
#[derive(Debug)]
pub(super) struct OwnTable {
    pub(super) name: String,
    pub(super) generator: Generator,
    /// The first column of the primary key.
    pub(super) key: Option<String>,
    /// Makes it fresh.
    pub(super) reset: String,
    /// Reads the columns that are compared, in binary format.
    pub(super) copy_out: String,
    /// What a reader of the numbers should know.
    pub(super) notes: Vec<String>,
    /// What whoever starts a run should know before rows go in.
    pub(super) warnings: Vec<String>,
}

impl OwnTable {
    /// What is known of it, for those who plan with it.
    pub(super) fn info(&self) -> TableInfo {
        let columns = self.generator.columns();
        let arrays = columns.iter().filter(|column| column.sql_type.is_array());
        TableInfo {
            name: self.name.clone(),
            columns: columns.len(),
            arrays: arrays.map(|column| column.name.clone()).collect(),
            rows_max: self.generator.rows_max(),
            csv: self.generator.csv_facts().cloned(),
            has_key: self.key.is_some(),
            notes: self.notes.clone(),
            warnings: self.warnings.clone(),
        }
    }
}

/// Makes the table and decides how its rows are made.
pub(super) async fn make(
    client: &Client,
    schema: &str,
    settings: &TableSettings,
) -> Result<OwnTable, TargetError> {
    let mut notes = Vec::new();
    let set_path = format!("SET search_path TO {}", quoted(schema));
    client.batch_execute(&set_path).await.map_err(|error| failed(&error))?;
    begin(client).await?;
    let made = match &settings.source {
        TableSource::Ddl { file, text } => {
            from_ddl(client, file, text, settings, &mut notes).await?
        }
        TableSource::Like { table, triggers } => {
            like(client, table, *triggers, settings, &mut notes).await?
        }
        TableSource::Article => unreachable!("the article's table is no table of the user's"),
    };
    let name = made;
    let oid = table_oid(client, &name).await?;
    let parents = drop_foreign_keys(client, &name, oid, settings, &mut notes).await?;
    for column in &settings.indexes {
        let index = format!("CREATE INDEX ON {} ({})", quoted(&name), quoted(column));
        run(client, &index, "table.indexes").await?;
    }
    refuse_traces_outside(client, schema, "the DDL").await?;
    client.batch_execute("COMMIT").await.map_err(|error| failed(&error))?;
    for parent in &parents {
        fill_parent(client, parent).await?;
        notes.push(format!(
            "{}, to which a foreign key refers, has {} rows, one for each value listed",
            parent.name,
            parent.values.len()
        ));
    }

    let facts = catalog::read(client, oid).await.map_err(|error| failed(&error))?;
    let (generator, checks) = match &settings.csv {
        Some(csv) => (from_csv(&facts, csv, &settings.columns, &mut notes).await?, BTreeMap::new()),
        None => made_up(client, &facts, &settings.columns).await?,
    };
    if generator.columns().is_empty() {
        let problem = format!(
            "the server makes every column of `{name}`, so that there is nothing to insert; name \
             columns to be sent in [[columns]]"
        );
        return Err(TargetError::Table { key: None, problem });
    }
    let kept: Vec<u32> = parents.iter().map(|parent| parent.oid).collect();
    let reset = reset(client, schema, &kept).await.map_err(|error| failed(&error))?;
    let trial = trial::Trial { client, schema, table: &name, reset: &reset, checks };
    let generator = trial.run(generator, &facts, &mut notes).await?;
    // Not the table itself: of a partitioned one, COPY reads only what a query does.
    let compared = verify::compared(&generator);
    let source = format!("(SELECT {compared} FROM {}.{})", quoted(schema), quoted(&name));
    let copy_out = verify::copy_out(&source);
    let warnings = warnings(client, schema).await?;
    Ok(OwnTable { name, generator, key: facts.key, reset, copy_out, notes, warnings })
}

/// A trigger is copied with the table, and the function that it runs is not: for rows that were not on
/// trial, that may do anything.
async fn warnings(client: &Client, schema: &str) -> Result<Vec<String>, TargetError> {
    let triggers = catalog::triggers_outside(client, schema).await;
    let triggers = triggers.map_err(|error| failed(&error))?;
    let warning = |(trigger, function): &(String, String)| {
        format!(
            "trigger {trigger} runs {function}, which is not batchpilot's: the rows on trial left no \
             trace outside of batchpilot's schema, and what it does with others is not known; \
             --without-triggers leaves it out"
        )
    };
    Ok(triggers.iter().map(warning).collect())
}

/// Decides how rows are made; returns the CHECKs that they may break, too.
async fn made_up(
    client: &Client,
    facts: &TableFacts,
    rules: &[ColumnRule],
) -> Result<(Generator, BTreeMap<String, String>), TargetError> {
    let plan = RowPlan::new(client, facts, rules).await?;
    let rows = TableRows::new(&plan.columns, &facts.uniques);
    let rows = rows.map_err(|error| of_column(rules, error))?;
    Ok((Generator::table(0, rows), plan.checks))
}

/// Looks through the user's file, whose lines are to be the rows.
async fn from_csv(
    facts: &TableFacts,
    csv: &CsvSettings,
    rules: &[ColumnRule],
    notes: &mut Vec<String>,
) -> Result<Generator, TargetError> {
    check_rules(facts, rules)?;
    // What a trigger fills in need not be in the file.
    let has_triggers = !facts.triggers.is_empty();
    let column = |column: &CatalogColumn| {
        let ColumnFacts { name, facts, is_required, maker } = column.facts.clone();
        let is_left_out = rules.iter().any(|rule| rule.is_left_out && rule.name == name);
        let is_sent = match (is_left_out, column.is_never_sent) {
            (true, _) => CsvSent::LeftOut,
            (false, true) => CsvSent::Never,
            (false, false) => CsvSent::IfThere,
        };
        let is_required = is_required && !has_triggers;
        CsvColumn { name, facts, is_required, has_default: maker != Maker::Client, is_sent }
    };
    let columns: Vec<CsvColumn> = facts.columns.iter().map(column).collect();
    let settings = csv.clone();
    let opened = tokio::task::spawn_blocking(move || CsvRows::open(&settings, &columns)).await;
    let rows = opened.expect("looking through a file does not panic");
    let rows = rows.map_err(|error| match error {
        CsvError::Problem(words) => problem("rows.csv", words),
        stopped @ CsvError::Stopped(_) => {
            TargetError::Failed { message: stopped.to_string(), sqlstate: None }
        }
    })?;
    let bad = rows.facts().bad_examples.iter();
    notes.extend(bad.map(|line| format!("left out: {line}")));
    Ok(Generator::csv(rows))
}

pub(super) fn failed(error: &Error) -> TargetError {
    error::of_session(error)
}

fn problem(key: &str, problem: impl Into<String>) -> TargetError {
    TargetError::Table { key: Some(key.to_owned()), problem: problem.into() }
}

async fn begin(client: &Client) -> Result<(), TargetError> {
    client.batch_execute("BEGIN").await.map_err(|error| failed(&error))
}

async fn run(client: &Client, statement: &str, key: &str) -> Result<(), TargetError> {
    client.batch_execute(statement).await.map_err(|error| problem(key, said(&error)))
}

/// The server's words, with what it adds to them.
pub(super) fn said(error: &Error) -> String {
    match error::of_session(error) {
        TargetError::Rejected { message, .. } | TargetError::PushedBack { message, .. } => message,
        other => other.to_string(),
    }
}

/// Runs the statements of a file; returns the name of the table to fill.
async fn from_ddl(
    client: &Client,
    file: &str,
    text: &str,
    settings: &TableSettings,
    notes: &mut Vec<String>,
) -> Result<String, TargetError> {
    let installed = catalog::installed(client).await.map_err(|error| failed(&error))?;
    let statements = ddl::statements(text, &installed);
    let statements =
        statements.map_err(|error| problem("table.ddl", format!("{file}: {error}")))?;
    notes.extend(statements.iter().filter_map(|it| it.note.clone()));
    for (number, statement) in (1..).zip(&statements) {
        // Prepared, because the server then takes no second statement, whatever was read here as one.
        client.execute(&statement.text, &[]).await.map_err(|error| {
            let advice = match error.code() {
                Some(code) if *code == SqlState::UNDEFINED_FUNCTION
                    || *code == SqlState::UNDEFINED_OBJECT =>
                {
                    "; only what this file makes, and what PostgreSQL comes with, is to be seen here; what an \
                     extension has, with its schema, such as public.citext"
                }
                _ => "",
            };
            let (line, words) = (statement.line, &statement.words);
            let said = said(&error);
            problem("table.ddl", format!("{file}:{line}: statement {number} ({words} …): {said}{advice}"))
        })?;
    }
    let query = "SELECT relname::text FROM pg_class \
                 WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') \
                   AND NOT relispartition ORDER BY oid";
    let rows = client.query(query, &[]).await.map_err(|error| failed(&error))?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let listed = names.join(", ");
    match (names.as_slice(), settings.name.as_str()) {
        ([], _) => Err(problem("table.ddl", format!("{file}: no statement makes a table"))),
        ([only], "") => Ok(only.clone()),
        (_, "") => {
            let what =
                format!("{file} makes {} tables; name one with --table: {listed}", names.len());
            Err(problem("table.ddl", what))
        }
        (_, name) if names.iter().any(|it| it == name) => Ok(name.to_owned()),
        (_, name) => {
            Err(problem("table.name", format!("{file} makes no table `{name}`; it makes {listed}")))
        }
    }
}

/// Makes a table like one of the database, which is only read; returns its name.
async fn like(
    client: &Client,
    original: &str,
    triggers: Triggers,
    settings: &TableSettings,
    notes: &mut Vec<String>,
) -> Result<String, TargetError> {
    let query = "SELECT c.oid, c.relkind::text, c.relname::text, c.relpersistence::text, \
                        format('%I.%I', n.nspname, c.relname), \
                        array_to_string(c.reloptions, ', '), c.relispartition \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.oid = to_regclass($1)";
    let row = client.query_opt(query, &[&original]).await.map_err(|error| failed(&error))?;
    let Some(row) = row else {
        let what = format!(
            "there is no table `{original}` in the database, or this role may not see it; name it \
             as schema.table"
        );
        return Err(problem("table.like", what));
    };
    let (oid, kind): (u32, String) = (row.get(0), row.get(1));
    let (name, persistence, qualified): (String, String, String) =
        (row.get(2), row.get(3), row.get(4));
    match kind.as_str() {
        "r" => (),
        "p" => notes.push(format!("{qualified} is partitioned; its copy is not")),
        _ => return Err(problem("table.like", format!("{qualified} is no table"))),
    }
    let foreign_keys = catalog::foreign_keys(client, oid).await.map_err(|error| failed(&error))?;
    refuse_foreign_keys(&foreign_keys, settings, notes)?;
    let unlogged = if settings.unlogged || persistence == "u" { "UNLOGGED " } else { "" };
    let options: Option<String> = row.get(5);
    let options = options.map(|it| format!(" WITH ({it})")).unwrap_or_default();
    let table = quoted(&name);
    let create =
        format!("CREATE {unlogged}TABLE {table} (LIKE {qualified} INCLUDING ALL){options}");
    run(client, &create, "table.like").await?;
    own_sequences(client, &name).await?;
    if triggers == Triggers::Copy {
        let query = "SELECT tgname::text, pg_get_triggerdef(oid) FROM pg_trigger \
                     WHERE tgrelid = $1 AND NOT tgisinternal AND tgenabled IN ('O', 'A') \
                       AND tgtype & 4 <> 0 ORDER BY tgname";
        let rows = client.query(query, &[&oid]).await.map_err(|error| failed(&error))?;
        for row in rows {
            let definition: String = row.get(1);
            let copy =
                definition.replacen(&format!(" ON {qualified} "), &format!(" ON {table} "), 1);
            run(client, &copy, "table.like").await?;
        }
    }
    notes.push(format!("the table is made like {qualified}, in a schema of batchpilot's own"));
    Ok(name)
}

/// Gives each default that counts with a sequence of the original one of its own.
async fn own_sequences(client: &Client, table: &str) -> Result<(), TargetError> {
    let query = "SELECT a.attname::text, pg_get_expr(ad.adbin, ad.adrelid), s.oid::regclass::text \
                 FROM pg_attrdef ad \
                 JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = ad.oid \
                 JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S' \
                 JOIN pg_attribute a ON a.attrelid = ad.adrelid AND a.attnum = ad.adnum \
                 WHERE d.refclassid = 'pg_class'::regclass AND ad.adrelid = to_regclass($1)";
    let rows = client.query(query, &[&quoted(table)]).await.map_err(|error| failed(&error))?;
    for row in rows {
        let (column, default, original): (String, String, String) =
            (row.get(0), row.get(1), row.get(2));
        let sequence = quoted(&format!("{column}_of_batchpilot_seq"));
        let (table, column) = (quoted(table), quoted(&column));
        let literal = original.replace('\'', "''");
        let own = default.replace(&format!("'{literal}'"), &format!("'{sequence}'"));
        if own == default {
            let what = format!(
                "the default of column {column} counts with {original}, which only the original \
                 may do; have rows carry the column with [[columns]]"
            );
            return Err(problem("table.like", what));
        }
        let statement = format!(
            "CREATE SEQUENCE {sequence} OWNED BY {table}.{column}; \
             ALTER TABLE {table} ALTER {column} SET DEFAULT {own}"
        );
        run(client, &statement, "table.like").await?;
    }
    Ok(())
}

async fn table_oid(client: &Client, name: &str) -> Result<u32, TargetError> {
    let query = "SELECT to_regclass($1)::oid";
    let row = client.query_one(query, &[&quoted(name)]).await;
    Ok(row.map_err(|error| failed(&error))?.get(0))
}

/// A table that a foreign key refers to, and the values that its rows are to have.
struct Parent {
    name: String,
    oid: u32,
    column: String,
    values: Vec<String>,
}

/// Drops foreign keys where that is asked; returns the tables that the others refer to.
async fn drop_foreign_keys(
    client: &Client,
    table: &str,
    oid: u32,
    settings: &TableSettings,
    notes: &mut Vec<String>,
) -> Result<Vec<Parent>, TargetError> {
    let mut parents = Vec::new();
    for foreign_key in catalog::foreign_keys(client, oid).await.map_err(|error| failed(&error))? {
        if settings.foreign_keys == ForeignKeys::Refuse
            && let Some(parent) = parent(&foreign_key, oid, settings)
        {
            parents.push(parent);
            continue;
        }
        refuse_foreign_keys(std::slice::from_ref(&foreign_key), settings, notes)?;
        let (table, name) = (quoted(table), quoted(&foreign_key.name));
        let drop = format!("ALTER TABLE {table} DROP CONSTRAINT {name}");
        run(client, &drop, "table").await?;
    }
    Ok(parents)
}

/// Returns what a foreign key refers to, if the scenario lists the values of its only column.
fn parent(key: &catalog::ForeignKey, table: u32, settings: &TableSettings) -> Option<Parent> {
    let ([column], [parent_column]) = (key.columns.as_slice(), key.parent_columns.as_slice())
    else {
        return None;
    };
    let rule = settings.columns.iter().find(|rule| rule.name == *column)?;
    let values = rule.values.clone().filter(|_| key.parent_oid != table)?;
    let (name, column) = (key.parent_name.clone(), parent_column.clone());
    Some(Parent { name, oid: key.parent_oid, column, values })
}

/// Inserts a row for each of the values.
async fn fill_parent(client: &Client, parent: &Parent) -> Result<(), TargetError> {
    let facts = catalog::read(client, parent.oid).await.map_err(|error| failed(&error))?;
    let values = Some(parent.values.clone());
    let rule = ColumnRule { values, ..ColumnRule::of(&parent.column) };
    let plan = RowPlan::new(client, &facts, std::slice::from_ref(&rule)).await?;
    let rows = TableRows::new(&plan.columns, &facts.uniques)
        .map_err(|error| TargetError::Table { key: None, problem: error.to_string() })?;
    let generator = Generator::table(0, rows);
    let range = RowRange { start: 0, end: parent.values.len() as u64 };
    let copied = trial::copy(client, &parent.name, &generator, range).await;
    copied.map_err(|error| {
        let (name, said) = (&parent.name, said(&error));
        let problem = format!(
            "`{name}`, to which a foreign key refers, does not take rows of the values listed: \
             {said}; leave foreign keys out with --without-foreign-keys"
        );
        TargetError::Table { key: None, problem }
    })
}

/// Rows made up meet no foreign key: either it goes, or the run does not begin.
fn refuse_foreign_keys(
    foreign_keys: &[catalog::ForeignKey],
    settings: &TableSettings,
    notes: &mut Vec<String>,
) -> Result<(), TargetError> {
    // The rows of a table of the user's are not to be locked, as a foreign key would.
    let or = match settings.source {
        TableSource::Ddl { .. } if settings.csv.is_none() => {
            ", or list the values of its column in [[columns]]"
        }
        _ => "",
    };
    for catalog::ForeignKey { name, columns, parent, .. } in foreign_keys {
        let columns = columns.join(", ");
        match settings.foreign_keys {
            ForeignKeys::LeaveOut => notes.push(format!(
                "foreign key {name} ({columns}) is left out: what it costs an insert is not in the \
                 numbers"
            )),
            ForeignKeys::Refuse => {
                let what = format!(
                    "foreign key {name} ({columns}) refers to {parent}, whose rows are not here; \
                     leave it out with --without-foreign-keys{or}"
                );
                return Err(TargetError::Table { key: None, problem: what });
            }
        }
    }
    Ok(())
}

/// Whether a row of the catalog was written by this transaction, with `$x` for its `xmin`: no older
/// than the transaction, and still in progress. Others' rows are seen when those have committed. The
/// transaction's own number alone would not do: what a savepoint, or a block of PL/pgSQL that catches
/// errors, writes has the number of a subtransaction. Source: PostgreSQL manual, "Transaction ID and
/// Snapshot Information Functions".
const IS_OWN: &str = "CASE WHEN age($x) <= age(pg_current_xact_id()::xid) \
     THEN pg_xact_status((pg_current_xact_id()::text::bigint \
          + age(pg_current_xact_id()::xid) - age($x))::text::xid8) = 'in progress' \
     ELSE false END";

/// Refuses what took more than a reader's lock on a table or sequence outside of the schema, made or
/// changed a function or type there, which takes no lock that is shown, or made a default that would
/// count with a sequence there.
pub(super) async fn refuse_traces_outside(
    client: &Client,
    schema: &str,
    who: &str,
) -> Result<(), TargetError> {
    let is_own = |xmin: &str| IS_OWN.replace("$x", xmin);
    let (function, data_type) = (is_own("p.xmin"), is_own("t.xmin"));
    let (label, constraint) = (is_own("e.xmin"), is_own("c.xmin"));
    let query = format!(
        "SELECT DISTINCT format('%I.%I', n.nspname, c.relname), c.relkind = 'S' FROM pg_locks l \
         JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' \
           AND l.mode <> 'AccessShareLock' AND n.nspname <> $1 \
           AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
         UNION SELECT format('%I.%I', n.nspname, s.relname), false FROM pg_attrdef ad \
         JOIN pg_class c ON c.oid = ad.adrelid \
         JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = ad.oid \
                         AND d.refclassid = 'pg_class'::regclass \
         JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S' \
         JOIN pg_namespace n ON n.oid = s.relnamespace \
         WHERE c.relnamespace = quote_ident($1)::regnamespace AND n.nspname <> $1 \
         UNION SELECT p.oid::regprocedure::text, false FROM pg_proc p \
         JOIN pg_namespace n ON n.oid = p.pronamespace \
         WHERE {function} AND n.nspname <> $1 \
         UNION SELECT t.oid::regtype::text, false FROM pg_type t \
         JOIN pg_namespace n ON n.oid = t.typnamespace \
         WHERE n.nspname NOT IN ($1, 'pg_toast') AND \
               ({data_type} \
                OR EXISTS (SELECT FROM pg_enum e WHERE e.enumtypid = t.oid AND {label}) \
                OR EXISTS (SELECT FROM pg_constraint c WHERE c.contypid = t.oid \
                              AND {constraint})) \
         ORDER BY 1"
    );
    let rows = client.query(&query, &[&schema]).await.map_err(|error| failed(&error))?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if names.is_empty() {
        return Ok(());
    }
    drop(client.batch_execute("ROLLBACK").await);
    let names = names.join(", ");
    let counted: Vec<String> = rows.iter().filter(|row| row.get(1)).map(|row| row.get(0)).collect();
    let changed = match counted.as_slice() {
        [] => String::new(),
        counted => format!(
            " but for {}: numbers were drawn, and no ROLLBACK takes them back",
            counted.join(", ")
        ),
    };
    let problem = format!(
        "{who} would write to {names}, outside of batchpilot's own schema; nothing was changed{changed}"
    );
    Err(TargetError::Table { key: None, problem })
}

/// A table is as fresh after TRUNCATE as after CREATE: new files, empty indexes, sequences at their
/// start. Tables that foreign keys refer to keep their rows.
async fn reset(client: &Client, schema: &str, kept: &[u32]) -> Result<String, Error> {
    let query = "SELECT string_agg(format('%I.%I', $1::text, relname), ', ') FROM pg_class \
                 WHERE relnamespace = quote_ident($1)::regnamespace AND relkind IN ('r', 'p') \
                   AND NOT relispartition AND oid <> ALL ($2)";
    let tables: String = client.query_one(query, &[&schema, &kept]).await?.get(0);
    Ok(format!("SET search_path TO {}; TRUNCATE {tables} RESTART IDENTITY", quoted(schema)))
}

/// What the scenario, the CHECKs and the catalog ask of the rows.
struct RowPlan {
    columns: Vec<(ColumnFacts, Limits)>,
    /// CHECKs that rows may break: none of them could be read.
    checks: BTreeMap<String, String>,
}

/// Refuses rules for columns that the table does not have.
fn check_rules(facts: &TableFacts, rules: &[ColumnRule]) -> Result<(), TargetError> {
    for (number, rule) in rules.iter().enumerate() {
        if !facts.columns.iter().any(|column| column.facts.name == rule.name) {
            let names: Vec<&str> =
                facts.columns.iter().map(|column| column.facts.name.as_str()).collect();
            let what =
                format!("the table has no column `{}`; it has {}", rule.name, names.join(", "));
            return Err(problem(&format!("columns[{number}].name"), what));
        }
    }
    Ok(())
}

impl RowPlan {
    async fn new(
        client: &Client,
        facts: &TableFacts,
        rules: &[ColumnRule],
    ) -> Result<RowPlan, TargetError> {
        check_rules(facts, rules)?;
        let mut plan = RowPlan { columns: Vec::new(), checks: BTreeMap::new() };
        for column in &facts.columns {
            let rule = rules.iter().position(|rule| rule.name == column.facts.name);
            let mut facts = column.facts.clone();
            facts.maker = maker(column, rule.map(|number| (number, &rules[number])))?;
            plan.columns.push((facts, Limits::default()));
        }
        for check in &facts.checks {
            plan.apply(client, &facts.columns, check, None).await?;
        }
        for (place, column) in facts.columns.iter().enumerate() {
            for check in &column.domain_checks {
                plan.apply(client, &facts.columns, check, Some(place)).await?;
            }
        }
        for (number, rule) in rules.iter().enumerate() {
            plan.apply_rule(client, &facts.columns, number, rule).await?;
        }
        Ok(plan)
    }

    /// Has the rows meet a CHECK, if it can be read; `domain` is the column whose type it belongs to.
    async fn apply(
        &mut self,
        client: &Client,
        columns: &[CatalogColumn],
        check: &Check,
        domain: Option<usize>,
    ) -> Result<(), TargetError> {
        let Some(conditions) = conditions(&check.expression) else {
            self.checks.insert(check.name.clone(), check.expression.clone());
            return Ok(());
        };
        for condition in conditions {
            let named = |column: &CatalogColumn| column.facts.name == condition.column;
            let Some(place) = domain.or_else(|| columns.iter().position(named)) else {
                self.checks.insert(check.name.clone(), check.expression.clone());
                continue;
            };
            if self.columns[place].0.maker != Maker::Client {
                continue;
            }
            let cast = &columns[place].cast;
            let read = self.limit(client, place, cast, &condition.limit).await;
            // A literal that is no value of the column's type: what it means is the server's secret.
            if read.is_err() {
                self.checks.insert(check.name.clone(), check.expression.clone());
            }
        }
        Ok(())
    }

    async fn limit(
        &mut self,
        client: &Client,
        place: usize,
        cast: &str,
        limit: &Limit,
    ) -> Result<(), Error> {
        let limits = &mut self.columns[place].1;
        match limit {
            Limit::Least { value, is_inclusive } | Limit::Most { value, is_inclusive } => {
                let values =
                    catalog::read_values(client, cast, std::slice::from_ref(value)).await?;
                let is_inclusive = *is_inclusive;
                let bounds = values.into_iter().map(|(value, _)| Bound { value, is_inclusive });
                let is_least = matches!(limit, Limit::Least { .. });
                if is_least { limits.least.extend(bounds) } else { limits.most.extend(bounds) }
            }
            Limit::OneOf(literals) => {
                let values = catalog::read_values(client, cast, literals).await?;
                limits.allow_only(values.into_iter().map(|(value, _)| value).collect());
            }
            Limit::LengthMin(length) => limits.bound_length(Some(*length), None),
            Limit::LengthMax(length) => limits.bound_length(None, Some(*length)),
            Limit::Required => self.columns[place].0.is_required = true,
        }
        Ok(())
    }

    async fn apply_rule(
        &mut self,
        client: &Client,
        columns: &[CatalogColumn],
        number: usize,
        rule: &ColumnRule,
    ) -> Result<(), TargetError> {
        let place = columns.iter().position(|column| column.facts.name == rule.name);
        let place = place.expect("was looked for before");
        let cast = &columns[place].cast;
        let key = |name: &str| format!("columns[{number}].{name}");
        if let Some(literals) = &rule.values {
            let values = catalog::read_values(client, cast, literals).await;
            let values = values.map_err(|error| problem(&key("values"), said(&error)))?;
            if columns[place].facts.facts.shape == TypeShape::Other {
                let kind = ColumnKind::Listed(Arc::from(values.as_slice()));
                self.columns[place].0.facts.sql_type.kind = kind;
            }
            let limits = &mut self.columns[place].1;
            limits.allow_only(values.into_iter().map(|(value, _)| value).collect());
        }
        if let Some(range) = &rule.range {
            let values = catalog::read_values(client, cast, range).await;
            let values = values.map_err(|error| problem(&key("range"), said(&error)))?;
            let mut bounds =
                values.into_iter().map(|(value, _)| Bound { value, is_inclusive: true });
            let limits = &mut self.columns[place].1;
            limits.least.extend(bounds.next());
            limits.most.extend(bounds.next());
        }
        let limits = &mut self.columns[place].1;
        if let Some((least, most)) = rule.length {
            limits.bound_length(Some(least), Some(most));
        }
        limits.distribution = rule.distribution;
        limits.null_share = rule.null_share;
        Ok(())
    }
}

/// Who makes the values of a column: the scenario may have rows carry what has a default, or leave
/// out what has none.
fn maker(column: &CatalogColumn, rule: Option<(usize, &ColumnRule)>) -> Result<Maker, TargetError> {
    match rule {
        None => Ok(column.facts.maker),
        Some((_, rule)) if rule.is_left_out => Ok(match column.facts.maker {
            Maker::Client => Maker::Server,
            maker => maker,
        }),
        Some((number, rule)) if column.is_never_sent => {
            let what = format!("only the server makes values of `{}`; remove the rule", rule.name);
            Err(problem(&format!("columns[{number}].name"), what))
        }
        Some(_) => Ok(Maker::Client),
    }
}

/// A problem with a column is one of the rule for it, if there is one.
fn of_column(rules: &[ColumnRule], error: TableError) -> TargetError {
    let number = rules.iter().position(|rule| rule.name == error.column);
    let key = number.map(|number| format!("columns[{number}]"));
    TargetError::Table { key, problem: error.to_string() }
}
