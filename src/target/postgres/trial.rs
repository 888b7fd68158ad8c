//! Inserts some rows and rolls them back: whether the table takes them, and what it makes of them.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures_util::{SinkExt as _, pin_mut};
use tokio_postgres::{Client, Error, Row, error::SqlState};

use super::{
    catalog::{Raw, TableFacts},
    own_table::{failed, refuse_traces_outside, said},
    session::Encoded,
};
use crate::{
    rows::{Generator, RowRange, RowSlice},
    strategy::{Parameters, Shape, copy_binary, quoted, single_row},
    target::TargetError,
};

/// Rows inserted one at a time and read back: what triggers and types make of them.
const SINGLE_ROWS: u64 = 16;
/// Rows inserted at once: CHECKs and UNIQUE constraints meet more values.
const ROWS: u64 = 1_000;

pub(super) struct Trial<'a> {
    pub(super) client: &'a Client,
    pub(super) schema: &'a str,
    pub(super) table: &'a str,
    /// Makes the table fresh.
    pub(super) reset: &'a str,
    /// CHECKs that could not be read, by name.
    pub(super) checks: BTreeMap<String, String>,
}

impl Trial<'_> {
    /// Tries rows out; returns what makes them, without comparing the columns that triggers change.
    pub(super) async fn run(
        &self,
        generator: Generator,
        facts: &TableFacts,
        notes: &mut Vec<String>,
    ) -> Result<Generator, TargetError> {
        // What would be looked at when the transaction commits is looked at at once.
        let begin = "BEGIN; SET CONSTRAINTS ALL IMMEDIATE";
        self.client.batch_execute(begin).await.map_err(|error| failed(&error))?;
        let changed = self.one_by_one(&generator, facts).await?;
        self.all_at_once(&generator, notes).await?;
        let reset = self.client.batch_execute(self.reset).await;
        reset.map_err(|error| self.problem(format!("it cannot be emptied: {}", said(&error))))?;
        self.refuse_traces().await?;
        self.client.batch_execute("ROLLBACK").await.map_err(|error| failed(&error))?;
        for (name, expression) in &self.checks {
            notes.push(format!(
                "CHECK {name} ({expression}) was not understood; {ROWS} rows on trial met it"
            ));
        }
        if !changed.is_empty() {
            let names: Vec<&str> =
                changed.iter().map(|&column| generator.columns()[column].name.as_str()).collect();
            let (names, triggers) = (names.join(", "), facts.triggers.join(", "));
            notes.push(format!(
                "columns that a trigger ({triggers}) changes are not compared: {names}"
            ));
        }
        Ok(generator.without_comparing(&changed))
    }

    async fn refuse_traces(&self) -> Result<(), TargetError> {
        let who = format!("inserting into `{}` (its triggers or defaults)", self.table);
        refuse_traces_outside(self.client, self.schema, &who).await
    }

    /// Returns the columns that do not come back as they were sent.
    async fn one_by_one(
        &self,
        generator: &Generator,
        facts: &TableFacts,
    ) -> Result<Vec<usize>, TargetError> {
        let client = self.client;
        let columns = generator.columns();
        let shape = Shape { table: self.table, columns, returning: None };
        let statement = client.prepare(&single_row::statement(shape)).await;
        let statement = statement.map_err(|error| failed(&error))?;
        let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
        let query = format!("SELECT {} FROM {}", names.join(", "), quoted(self.table));
        let query = client.prepare(&query).await.map_err(|error| failed(&error))?;
        let mut parameters = Parameters::default();
        let mut changed = Vec::new();
        let (mut taken, mut refused) = (0, None);
        let undo = "ROLLBACK TO trial; RELEASE trial";
        for index in 0..SINGLE_ROWS.min(generator.rows_max().unwrap_or(SINGLE_ROWS)) {
            parameters.clear();
            parameters.push_rows(&slice(generator, index, index + 1));
            let all = (0..parameters.count()).map(|place| Encoded(parameters.get(place)));
            client.batch_execute("SAVEPOINT trial").await.map_err(|error| failed(&error))?;
            if let Err(error) = client.execute_raw(&statement, all).await {
                if !is_refusal_of_a_line(generator, &error) {
                    return Err(self.refused(&error));
                }
                refused = refused.or(Some((index, error)));
                client.batch_execute(undo).await.map_err(|error| failed(&error))?;
                continue;
            }
            taken += 1;
            let found = client.query(&query, &[]).await.map_err(|error| failed(&error))?;
            let [row] = found.as_slice() else {
                return Err(self.problem(format!(
                    "a row was inserted and {} were there: a trigger or rule decides which; \
                     batchpilot cannot check such a table",
                    found.len()
                )));
            };
            changed.extend(different(generator, index, row));
            if generator.csv_facts().is_some() {
                // With a line that the server refuses, those inserted at once are undone, and so are
                // their traces.
                self.refuse_traces().await?;
            }
            client.batch_execute(undo).await.map_err(|error| failed(&error))?;
        }
        if let (0, Some((index, error))) = (taken, &refused) {
            return Err(self.problem(format!(
                "it takes none of the first rows of the file; {}: {}",
                generator.name_of(*index),
                said(error)
            )));
        }
        changed.sort_unstable();
        changed.dedup();
        if let (Some(&column), []) = (changed.first(), facts.triggers.as_slice()) {
            let name = &columns[column].name;
            return Err(self.problem(format!(
                "column `{name}` does not come back as it was sent, so that it cannot be checked; \
                 {}",
                match generator.csv_facts() {
                    Some(_) => "leave it out with `left_out = true` in [[columns]]",
                    None => "list values for it with [[columns]], as the server would print them",
                }
            )));
        }
        Ok(changed)
    }

    async fn all_at_once(
        &self,
        generator: &Generator,
        notes: &mut Vec<String>,
    ) -> Result<(), TargetError> {
        let begin = self.client.batch_execute("SAVEPOINT trial").await;
        begin.map_err(|error| failed(&error))?;
        let end = ROWS.min(generator.rows_max().unwrap_or(ROWS));
        let copied = copy(self.client, self.table, generator, RowRange { start: 0, end }).await;
        match copied {
            Err(error) if is_refusal_of_a_line(generator, &error) => {
                notes.push(format!(
                    "the server refuses a row among the first {end} of the file: {}; what it refuses \
                     ends a block, unless the cell says `on_error = \"collect\"`",
                    said(&error)
                ));
                let undo = self.client.batch_execute("ROLLBACK TO trial").await;
                undo.map_err(|error| failed(&error))
            }
            other => other.map_err(|error| self.refused(&error)),
        }
    }

    fn problem(&self, problem: String) -> TargetError {
        TargetError::Table { key: None, problem: format!("table `{}`: {problem}", self.table) }
    }

    /// Says why the table does not take a row, and the way out.
    fn refused(&self, error: &Error) -> TargetError {
        let said = said(error);
        let reply = error.as_db_error();
        let constraint = reply.and_then(|reply| reply.constraint());
        let advice = match (error.code(), constraint) {
            (Some(code), Some(name)) if *code == SqlState::CHECK_VIOLATION => {
                match self.checks.get(name) {
                    Some(expression) => format!(
                        "; CHECK {name} ({expression}) is not understood: say with `values`, \
                         `range` or `length` in [[columns]] which values meet it"
                    ),
                    None => "; say with `values`, `range` or `length` in [[columns]] which values \
                             meet it"
                        .to_owned(),
                }
            }
            (Some(code), _) if *code == SqlState::UNIQUE_VIOLATION => {
                "; use `distribution = \"sequential\"` in [[columns]] for one of its columns"
                    .to_owned()
            }
            (Some(code), _) if code.code().starts_with("23") => {
                "; say in [[columns]] which values meet the constraint".to_owned()
            }
            _ => reply.and_then(|reply| reply.where_()).map_or_else(String::new, |place| {
                format!("; in {}", place.lines().next().unwrap_or_default())
            }),
        };
        self.problem(format!("it does not take a row of those made up for it: {said}{advice}"))
    }
}

/// Lines of a file that the server refuses, as data or by a constraint, are a result: they are counted
/// when they are inserted. Source: PostgreSQL manual, "Error Codes", classes 22 and 23.
fn is_refusal_of_a_line(generator: &Generator, error: &Error) -> bool {
    let class = error.code().map(|code| &code.code()[..2]);
    generator.csv_facts().is_some() && matches!(class, Some("22" | "23"))
}

/// Copies some rows into a table of the schema.
pub(super) async fn copy(
    client: &Client,
    table: &str,
    generator: &Generator,
    range: RowRange,
) -> Result<(), Error> {
    let shape = Shape { table, columns: generator.columns(), returning: None };
    let mut data = copy_binary::HEADER.to_vec();
    copy_binary::encode(&slice(generator, range.start, range.end), &mut data);
    data.extend_from_slice(copy_binary::TRAILER);
    let sink = client.copy_in::<_, Bytes>(&copy_binary::statement(shape)).await?;
    pin_mut!(sink);
    sink.send(Bytes::from(data)).await?;
    sink.finish().await.map(drop)
}

fn slice(generator: &Generator, start: u64, end: u64) -> RowSlice {
    let range = RowRange { start, end };
    RowSlice::new(Arc::new(generator.build(range)), range)
}

/// Returns the columns of a row that differ from those of row `index`.
fn different(generator: &Generator, index: u64, row: &Row) -> Vec<usize> {
    let is_different = |column: &usize| {
        let mut sent = Vec::new();
        let is_there = generator.write_value(index, *column, &mut sent);
        let found = row.get::<_, Option<Raw>>(*column);
        found.map(|Raw(bytes)| bytes) != is_there.then_some(sent)
    };
    (0..generator.columns().len()).filter(is_different).collect()
}
