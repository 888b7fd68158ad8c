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
    rows::{Generator, RowRange, RowSlice, TableRows},
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
    /// Tries `rows` out; returns them without comparing the columns that triggers change.
    pub(super) async fn run(
        &self,
        rows: TableRows,
        facts: &TableFacts,
        notes: &mut Vec<String>,
    ) -> Result<TableRows, TargetError> {
        let generator = Generator::table(0, rows.clone());
        // What would be looked at when the transaction commits is looked at at once.
        let begin = "BEGIN; SET CONSTRAINTS ALL IMMEDIATE";
        self.client.batch_execute(begin).await.map_err(|error| failed(&error))?;
        let changed = self.one_by_one(&generator, facts).await?;
        self.all_at_once(&generator).await?;
        let reset = self.client.batch_execute(self.reset).await;
        reset.map_err(|error| self.problem(format!("it cannot be emptied: {}", said(&error))))?;
        let who = format!("inserting into `{}` (its triggers or defaults)", self.table);
        refuse_traces_outside(self.client, self.schema, &who).await?;
        self.client.batch_execute("ROLLBACK").await.map_err(|error| failed(&error))?;
        for (name, expression) in &self.checks {
            notes.push(format!(
                "CHECK {name} ({expression}) was not understood; {ROWS} rows on trial met it"
            ));
        }
        if !changed.is_empty() {
            let names: Vec<&str> =
                changed.iter().map(|&column| rows.specs()[column].name.as_str()).collect();
            let (names, triggers) = (names.join(", "), facts.triggers.join(", "));
            notes.push(format!(
                "columns that a trigger ({triggers}) changes are not compared: {names}"
            ));
        }
        Ok(rows.without_comparing(&changed))
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
        for index in 0..SINGLE_ROWS.min(generator.rows_max().unwrap_or(SINGLE_ROWS)) {
            parameters.clear();
            parameters.push_rows(&slice(generator, index, index + 1));
            let all = (0..parameters.count()).map(|place| Encoded(parameters.get(place)));
            client.batch_execute("SAVEPOINT trial").await.map_err(|error| failed(&error))?;
            client.execute_raw(&statement, all).await.map_err(|error| self.refused(&error))?;
            let found = client.query(&query, &[]).await.map_err(|error| failed(&error))?;
            let [row] = found.as_slice() else {
                return Err(self.problem(format!(
                    "a row was inserted and {} were there: a trigger or rule decides which; \
                     batchpilot cannot check such a table",
                    found.len()
                )));
            };
            changed.extend(different(generator, index, row));
            let undo = "ROLLBACK TO trial; RELEASE trial";
            client.batch_execute(undo).await.map_err(|error| failed(&error))?;
        }
        changed.sort_unstable();
        changed.dedup();
        if let (Some(&column), []) = (changed.first(), facts.triggers.as_slice()) {
            let name = &columns[column].name;
            return Err(self.problem(format!(
                "column `{name}` does not come back as it was sent, so that it cannot be checked; \
                 list values for it with [[columns]], as the server would print them"
            )));
        }
        Ok(changed)
    }

    async fn all_at_once(&self, generator: &Generator) -> Result<(), TargetError> {
        let end = ROWS.min(generator.rows_max().unwrap_or(ROWS));
        let copied = copy(self.client, self.table, generator, RowRange { start: 0, end }).await;
        copied.map_err(|error| self.refused(&error))
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
