//! One session: statements prepared on it, buffers that are used again, and the six ways to insert.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use deadpool_postgres::ClientWrapper;
use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _, pin_mut, stream};
use tokio_postgres::{
    Error, RowStream, Statement,
    types::{Format, IsNull, Kind, ToSql, Type},
};

use super::{
    error,
    wire::{Name, Wire},
};
use crate::{
    clock,
    rows::{ColumnSpec, RowSlice, SqlType},
    strategy::{
        Parameters, Shape, Strategy, copy_binary, copy_text, multi_row, single_row, unnest,
    },
    target::{Batch, Inserted, Operation, Session, TargetError},
};

/// COPY data is sent as soon as there are this many bytes; a slice of rows may add 300 KiB.
///
/// The size is worth nothing that could be told: from 8 KiB to 1 MiB a message, 1,000,000 rows in
/// one COPY kept PostgreSQL 15's backend at work for 1.1 µs a row and this client for 0.07.
const COPY_CHUNK_BYTES: usize = 64 * 1024;
/// Statements kept prepared: full batches, the last one, and what a controller came from.
const STATEMENTS_MAX: usize = 16;
/// Rows of all statements kept, at most: the server keeps tree and plan of each, for every session.
const STATEMENT_ROWS_MAX: u64 = 32_768;

/// One session of PostgreSQL.
#[derive(Debug)]
pub struct PgSession {
    pub(super) client: ClientWrapper,
    /// The short way to the server, past the connection's task, if there is one.
    wire: Option<Wire>,
    /// Whether all that the connection's task was asked for has been answered.
    is_quiet: bool,
    table: String,
    columns: Arc<[ColumnSpec]>,
    /// The column that an operation asks back.
    key: Option<String>,
    /// The types of parameters that are values, and of those that are arrays of values.
    types: [Arc<[Type]>; 2],
    statements: HashMap<(Operation, u64), Kept>,
    /// Counts uses of statements.
    uses: u64,
    parameters: Parameters,
    copy_text: copy_text::Encoder,
    /// Set once the connection was lost: tokio-postgres may learn of its end later than we do.
    is_lost: bool,
}

/// A statement as it is sent: prepared before, or as text in every operation.
#[derive(Clone, Debug)]
enum Prepared {
    /// On the wire.
    Name(Name),
    Statement(Statement),
    Text(Arc<str>),
}

/// A statement, and when it was last used, by the count of uses.
#[derive(Debug)]
struct Kept {
    prepared: Prepared,
    used: u64,
}

impl PgSession {
    pub(super) fn new(
        client: ClientWrapper,
        wire: Option<Wire>,
        table: String,
        columns: Arc<[ColumnSpec]>,
        key: Option<String>,
    ) -> PgSession {
        let values = columns.iter().map(|column| type_of(&column.sql_type, column.sql_type.oid));
        let arrays = columns.iter().map(|column| {
            let element = unnest::element(&column.sql_type);
            type_of(&element, element.array_oid)
        });
        PgSession {
            client,
            wire,
            is_quiet: true,
            table,
            types: [values.collect(), arrays.collect()],
            columns,
            key,
            statements: HashMap::new(),
            uses: 0,
            parameters: Parameters::default(),
            copy_text: copy_text::Encoder::default(),
            is_lost: false,
        }
    }

    /// Returns whether the connection was lost, as far as this session has seen.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost || self.client.is_closed() || self.wire.as_ref().is_some_and(Wire::is_lost)
    }

    fn failed(&mut self, error: TargetError) -> TargetError {
        self.is_lost |= matches!(error, TargetError::ConnectionLost { .. });
        error
    }

    /// Returns the short way, once the connection's task has nothing to do.
    async fn quiet_wire(&mut self) -> Result<Option<&mut Wire>, TargetError> {
        if self.wire.is_some() && !self.is_quiet {
            // Answers come in order: this one is the last.
            self.client.batch_execute("").await.map_err(|error| error::of_session(&error))?;
            self.is_quiet = true;
        }
        Ok(self.wire.as_mut())
    }

    async fn batch_execute(&mut self, text: &str) -> Result<(), TargetError> {
        let done = match &mut self.wire {
            Some(wire) if self.is_quiet => wire.batch_execute(text).await,
            _ => {
                let done = self.client.batch_execute(text).await;
                done.map_err(|error| error::of_session(&error))
            }
        };
        done.map_err(|error| self.failed(error))
    }

    fn shape(&self, operation: Operation) -> Shape<'_> {
        let returning = self.key.as_deref().filter(|_| operation.returning);
        Shape { table: &self.table, columns: &self.columns, returning }
    }

    fn statement_text(&self, operation: Operation, batch_rows: u64) -> String {
        let shape = self.shape(operation);
        match operation.strategy {
            Strategy::SingleRow | Strategy::Pipelined { .. } => single_row::statement(shape),
            Strategy::MultiRow => multi_row::statement(shape, batch_rows),
            Strategy::Unnest => unnest::statement(shape),
            Strategy::CopyText => copy_text::statement(shape),
            Strategy::CopyBinary => copy_binary::statement(shape),
        }
    }

    /// Prepares a statement where operations of its kind are sent.
    async fn prepare_text(
        &mut self,
        operation: Operation,
        text: &str,
    ) -> Result<Prepared, TargetError> {
        if takes_the_wire(operation.strategy)
            && let Some(wire) = self.quiet_wire().await?
        {
            return wire.prepare(text).await.map(Prepared::Name);
        }
        let statement = self.client.prepare(text).await;
        statement.map(Prepared::Statement).map_err(|error| error::of_session(&error))
    }

    fn statement(&mut self, operation: Operation, batch_rows: u64) -> Prepared {
        let key = statement_key(operation, batch_rows);
        let kept = self.statements.get_mut(&key).expect("the engine prepares before it inserts");
        self.uses += 1;
        kept.used = self.uses;
        kept.prepared.clone()
    }

    /// Forgets the statements used longest ago, until there is room for one of `rows` rows.
    fn make_room(&mut self, rows: u64) {
        let rows_kept =
            |it: &HashMap<(Operation, u64), Kept>| -> u64 { it.keys().map(|(_, rows)| rows).sum() };
        while STATEMENTS_MAX <= self.statements.len()
            || STATEMENT_ROWS_MAX < rows_kept(&self.statements) + rows
        {
            let oldest = self.statements.iter().min_by_key(|(_, kept)| kept.used);
            let Some(key) = oldest.map(|(key, _)| *key) else { return };
            match (self.statements.remove(&key).map(|kept| kept.prepared), &mut self.wire) {
                (Some(Prepared::Name(name)), Some(wire)) => wire.forget(&name),
                // The connection's task closes it.
                (Some(Prepared::Statement(_)), _) => self.is_quiet = false,
                _ => (),
            }
        }
    }

    async fn insert_rows<B: Batch>(
        &mut self,
        operation: Operation,
        batch: &mut B,
    ) -> Result<Inserted, TargetError> {
        let statement = self.statement(operation, batch.row_count());
        let mut encode = Duration::ZERO;
        self.parameters.clear();
        let mut slices = Vec::new();
        while let Some(slice) = batch.next().await {
            if operation.strategy == Strategy::Unnest {
                slices.push(slice);
                continue;
            }
            let started = clock::now();
            self.parameters.push_rows(&slice);
            encode += clock::since(started);
        }
        if operation.strategy == Strategy::Unnest {
            let started = clock::now();
            let shape = Shape { table: &self.table, columns: &self.columns, returning: None };
            unnest::encode(shape, &slices, &mut self.parameters);
            encode += clock::since(started);
        }
        let types = Arc::clone(&self.types[usize::from(operation.strategy == Strategy::Unnest)]);
        let rows = self.execute(&statement, &types).await?;
        Ok(Inserted { rows, encode })
    }

    async fn execute(&mut self, statement: &Prepared, types: &[Type]) -> Result<u64, TargetError> {
        let parameters = std::mem::take(&mut self.parameters);
        let rows = match (self.quiet_wire().await?, statement) {
            (Some(wire), Prepared::Name(name)) => wire.execute(name, &parameters).await,
            (Some(wire), Prepared::Text(text)) => wire.execute_text(text, types, &parameters).await,
            _ => {
                let all = 0..parameters.count();
                let sent = send(&self.client, statement, &parameters, all, types);
                let rows = async { returned(sent.await?).await }.await;
                rows.map_err(|error| error::of_session(&error))
            }
        };
        self.parameters = parameters;
        rows
    }

    async fn insert_pipelined<B: Batch>(
        &mut self,
        operation: Operation,
        in_flight: u32,
        batch: &mut B,
    ) -> Result<Inserted, Error> {
        let statement = self.statement(operation, 1);
        let columns = self.columns.len();
        let types = &Arc::clone(&self.types[0]);
        let mut inserted = Inserted::default();
        while let Some(slice) = batch.next().await {
            let started = clock::now();
            self.parameters.clear();
            self.parameters.push_rows(&slice);
            inserted.encode += clock::since(started);
            let (client, parameters) = (&self.client, &self.parameters);
            let has_failed = AtomicBool::new(false);
            let rows = 0..parameters.count() / columns;
            // No statement is sent after the first error. Those sent before it are waited for: what
            // they did must be over when the operation is.
            let rows = rows.take_while(|_| !has_failed.load(Ordering::Relaxed));
            let statements = rows.map(|row| {
                let range = row * columns..(row + 1) * columns;
                let sent = send(client, &statement, parameters, range, types);
                async { returned(sent.await?).await }
            });
            let mut answers = pin!(stream::iter(statements).buffered(in_flight as usize));
            let mut sum = Ok(0);
            while let Some(rows) = answers.next().await {
                has_failed.fetch_or(rows.is_err(), Ordering::Relaxed);
                sum = sum.and_then(|sum| Ok(sum + rows?));
                if sum.is_ok() {
                    batch.acknowledge_row();
                }
            }
            inserted.rows += sum?;
        }
        Ok(inserted)
    }

    async fn insert_copy<B: Batch>(
        &mut self,
        operation: Operation,
        batch: &mut B,
    ) -> Result<Inserted, Error> {
        let sink = match self.statement(operation, 0) {
            Prepared::Text(text) => self.client.copy_in::<_, Bytes>(&*text).await?,
            prepared => self.client.copy_in::<_, Bytes>(prepared.on_connection()).await?,
        };
        pin_mut!(sink);
        let is_binary = operation.strategy == Strategy::CopyBinary;
        let mut encode = Duration::ZERO;
        let mut data = Vec::with_capacity(COPY_CHUNK_BYTES);
        if is_binary {
            data.extend_from_slice(copy_binary::HEADER);
        }
        while let Some(slice) = batch.next().await {
            let started = clock::now();
            self.encode_copy(is_binary, &slice, &mut data);
            encode += clock::since(started);
            if COPY_CHUNK_BYTES <= data.len() {
                let next = Vec::with_capacity(data.capacity());
                sink.send(Bytes::from(std::mem::replace(&mut data, next))).await?;
            }
        }
        if is_binary {
            data.extend_from_slice(copy_binary::TRAILER);
        }
        if !data.is_empty() {
            sink.send(Bytes::from(data)).await?;
        }
        let rows = sink.finish().await?;
        Ok(Inserted { rows, encode })
    }

    fn encode_copy(&mut self, is_binary: bool, slice: &RowSlice, data: &mut Vec<u8>) {
        if is_binary {
            copy_binary::encode(slice, data);
        } else {
            self.copy_text.encode(slice, data);
        }
    }
}

impl Prepared {
    fn on_connection(&self) -> &Statement {
        match self {
            Prepared::Statement(statement) => statement,
            _ => panic!("a statement is executed where it was prepared"),
        }
    }
}

impl Session for PgSession {
    async fn prepare(
        &mut self,
        operation: Operation,
        batch_rows: u64,
    ) -> Result<bool, TargetError> {
        let key = statement_key(operation, batch_rows);
        if self.statements.contains_key(&key) {
            return Ok(false);
        }
        let text = self.statement_text(operation, batch_rows);
        let prepared = if operation.prepared {
            self.prepare_text(operation, &text).await.map_err(|error| self.failed(error))?
        } else {
            Prepared::Text(text.into())
        };
        self.make_room(key.1);
        self.statements.insert(key, Kept { prepared, used: self.uses });
        Ok(true)
    }

    async fn begin(&mut self) -> Result<(), TargetError> {
        self.batch_execute("begin").await
    }

    async fn commit(&mut self) -> Result<(), TargetError> {
        self.batch_execute("commit").await
    }

    async fn rollback(&mut self) {
        // A session that cannot roll back is gone, and the pool will see that.
        self.is_lost |= self.batch_execute("rollback").await.is_err();
    }

    async fn insert<B: Batch>(
        &mut self,
        operation: Operation,
        batch: &mut B,
    ) -> Result<Inserted, TargetError> {
        let of_session = |error: Error| error::of_session(&error);
        let inserted = match operation.strategy {
            Strategy::SingleRow | Strategy::MultiRow | Strategy::Unnest => {
                self.insert_rows(operation, batch).await
            }
            Strategy::Pipelined { in_flight } => {
                self.is_quiet = false;
                self.insert_pipelined(operation, in_flight, batch).await.map_err(of_session)
            }
            Strategy::CopyText | Strategy::CopyBinary => {
                self.is_quiet = false;
                self.insert_copy(operation, batch).await.map_err(of_session)
            }
        };
        inserted.map_err(|error| self.failed(error))
    }
}

/// Only the statement of `multi_row` depends on the number of rows.
fn statement_key(operation: Operation, batch_rows: u64) -> (Operation, u64) {
    match operation.strategy {
        Strategy::MultiRow => (operation, batch_rows),
        _ => (operation, 0),
    }
}

/// One statement, one answer: those need no task beside the worker's.
fn takes_the_wire(strategy: Strategy) -> bool {
    matches!(strategy, Strategy::SingleRow | Strategy::MultiRow | Strategy::Unnest)
}

async fn send(
    client: &tokio_postgres::Client,
    statement: &Prepared,
    parameters: &Parameters,
    range: std::ops::Range<usize>,
    types: &[Type],
) -> Result<RowStream, Error> {
    match statement {
        Prepared::Text(text) => {
            let type_of = |index: usize| types[index % types.len()].clone();
            let typed = range.map(|index| (Encoded(parameters.get(index)), type_of(index)));
            client.query_typed_raw(text, typed).await
        }
        prepared => {
            let parameters = range.map(|index| Encoded(parameters.get(index)));
            client.query_raw(prepared.on_connection(), parameters).await
        }
    }
}

/// Reads a statement's answer to its end and returns how many rows it inserted.
async fn returned(rows: RowStream) -> Result<u64, Error> {
    pin_mut!(rows);
    while rows.try_next().await?.is_some() {}
    Ok(rows.rows_affected().unwrap_or(0))
}

/// A type for a statement that is not prepared: only its object identifier is sent.
fn type_of(sql_type: &SqlType, oid: u32) -> Type {
    let custom = || Type::new(sql_type.name.clone(), oid, Kind::Simple, String::new());
    Type::from_oid(oid).unwrap_or_else(custom)
}

/// A parameter that is in binary format already, or NULL.
#[derive(Debug)]
pub(super) struct Encoded<'a>(pub(super) Option<&'a [u8]>);

impl ToSql for Encoded<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let Some(bytes) = self.0 else { return Ok(IsNull::Yes) };
        out.put_slice(bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Binary
    }

    tokio_postgres::types::to_sql_checked!();
}
