//! Speaks PostgreSQL's extended query protocol on a session's own socket, for the statements that
//! are timed one by one.
//!
//! tokio-postgres has a task of its own drive each connection. An application wants that; a harness
//! pays for it with two hand-overs between tasks and the buffers between them, in every operation.
//! Here a statement goes from the worker to the socket, and its answer from the socket to the
//! worker. Everything else stays with tokio-postgres: connecting, TLS, COPY, pipelines, the catalog.
//!
//! Source: PostgreSQL manual, "Message Flow" and "Message Formats".

use std::{future::poll_fn, io, ops::Range, sync::Arc};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::{
    IsNull,
    message::{
        backend::{Header, Message},
        frontend,
    },
};
use tokio_postgres::types::Type;

use super::{error, socket::Socket};
use crate::{strategy::Parameters, target::TargetError};

/// Bytes asked for in one read: the answer to a statement that asks nothing back is 40 long.
const READ_BYTES: usize = 4 * 1024;
/// Format code of binary parameters and results.
const BINARY: i16 = 1;

/// A session's socket, while its connection has nothing to do.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Arc<Socket>,
    /// Messages to be sent.
    messages: BytesMut,
    /// What the server sent and nobody has read: `answer[..filled]`.
    answer: Vec<u8>,
    filled: usize,
    /// Counts statements prepared, for their names.
    statements: u64,
    /// Set while an answer is due: a session left in the middle of one is of no use.
    is_lost: bool,
}

/// A statement prepared here, by its name on the server.
#[derive(Clone, Debug)]
pub(super) struct Name(Arc<str>);

/// What the messages up to a ReadyForQuery said.
#[derive(Debug, Default)]
struct Answer {
    rows: u64,
    error: Option<TargetError>,
    is_over: bool,
}

impl Wire {
    pub(super) fn new(socket: Arc<Socket>) -> Wire {
        let (messages, answer) = (BytesMut::new(), vec![0; READ_BYTES]);
        Wire { socket, messages, answer, filled: 0, statements: 0, is_lost: false }
    }

    /// Returns whether the session was lost, or left in the middle of an answer.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Prepares a statement.
    pub(super) async fn prepare(&mut self, text: &str) -> Result<Name, TargetError> {
        self.statements += 1;
        let name = Name(format!("batchpilot_{}", self.statements).into());
        self.put(|messages| frontend::parse(&name.0, text, [], messages))?;
        self.exchange().await?;
        Ok(name)
    }

    /// Has the server forget a statement, with the next message to it.
    pub(super) fn forget(&mut self, name: &Name) {
        // A name without a zero byte always fits.
        drop(frontend::close(b'S', &name.0, &mut self.messages));
    }

    /// Executes a prepared statement and returns how many rows it inserted.
    pub(super) async fn execute(
        &mut self,
        name: &Name,
        parameters: &Parameters,
    ) -> Result<u64, TargetError> {
        self.put(|messages| bind_and_execute(&name.0, parameters, messages))?;
        self.exchange().await
    }

    /// Executes a statement that is sent as text, with the types of its parameters, taken in turn.
    pub(super) async fn execute_text(
        &mut self,
        text: &str,
        types: &[Type],
        parameters: &Parameters,
    ) -> Result<u64, TargetError> {
        self.put(|messages| {
            let oids = types.iter().map(Type::oid).cycle().take(parameters.count());
            frontend::parse("", text, oids, messages)?;
            bind_and_execute("", parameters, messages)
        })?;
        self.exchange().await
    }

    /// Executes statements without parameters, by the simple protocol.
    pub(super) async fn batch_execute(&mut self, text: &str) -> Result<(), TargetError> {
        self.put(|messages| frontend::query(text, messages))?;
        self.talk().await.map(drop)
    }

    /// Adds messages to those to be sent; all of them, or none.
    fn put(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), TargetError> {
        let length = self.messages.len();
        write(&mut self.messages).map_err(|error| {
            self.messages.truncate(length);
            TargetError::Failed { message: error.to_string(), sqlstate: None }
        })
    }

    async fn exchange(&mut self) -> Result<u64, TargetError> {
        frontend::sync(&mut self.messages);
        self.talk().await
    }

    /// Sends what is to be sent and reads the answer to its end.
    async fn talk(&mut self) -> Result<u64, TargetError> {
        // Also if this future is dropped before the answer's end.
        self.is_lost = true;
        self.socket.take_from_connection();
        let mut answer = Answer::default();
        if let Err(error) = self.send_and_receive(&mut answer).await {
            let message = format!("error communicating with the server: {error}");
            return Err(answer.error.unwrap_or(TargetError::ConnectionLost { message }));
        }
        self.socket.give_back();
        self.is_lost = false;
        answer.error.map_or(Ok(answer.rows), Err)
    }

    async fn send_and_receive(&mut self, answer: &mut Answer) -> io::Result<()> {
        // Asked for first, the answer wakes this task and not the connection's.
        poll_fn(|context| self.socket.poll_expect(context)).await?;
        let mut sent = 0;
        while sent < self.messages.len() {
            let rest = &self.messages[sent..];
            sent += poll_fn(|context| self.socket.poll_send(context, rest)).await?;
        }
        self.messages.clear();
        while !answer.is_over {
            if self.filled == self.answer.len() {
                self.answer.resize(2 * self.filled, 0);
            }
            let free = &mut self.answer[self.filled..];
            match poll_fn(|context| self.socket.poll_receive(context, free)).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                received => self.filled += received,
            }
            let read = answer.read(&self.answer[..self.filled])?;
            self.answer.copy_within(read..self.filled, 0);
            self.filled -= read;
        }
        Ok(())
    }
}

impl Answer {
    /// Reads whole messages and returns how many bytes they are.
    fn read(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut start = 0;
        while let Some(header) = Header::parse(&bytes[start..])? {
            let length = usize::try_from(header.len()).map_err(io::Error::other)? + 1;
            let Some(message) = bytes.get(start..start + length) else { break };
            match header.tag() {
                b'C' => self.rows += rows_of_tag(&message[5..]),
                b'E' => self.error = Some(error_of(message)?),
                b'Z' => self.is_over = true,
                // Parse, Bind and Close are complete; rows; notices and settings.
                _ => (),
            }
            start += length;
        }
        Ok(start)
    }
}

fn bind_and_execute(name: &str, all: &Parameters, messages: &mut BytesMut) -> io::Result<()> {
    let indexes: Range<usize> = 0..all.count();
    let write = |index: usize, messages: &mut BytesMut| {
        let Some(bytes) = all.get(index) else { return Ok(IsNull::Yes) };
        messages.extend_from_slice(bytes);
        Ok(IsNull::No)
    };
    frontend::bind("", name, [BINARY], indexes, write, [BINARY], messages).map_err(|error| {
        match error {
            frontend::BindError::Conversion(error) => io::Error::other(error),
            frontend::BindError::Serialization(error) => error,
        }
    })?;
    frontend::execute("", 0, messages)
}

/// Reads the rows of a command tag such as `INSERT 0 1000`.
fn rows_of_tag(tag: &[u8]) -> u64 {
    let tag = std::str::from_utf8(tag).unwrap_or_default().trim_end_matches('\0');
    tag.rsplit(' ').next().and_then(|rows| rows.parse().ok()).unwrap_or(0)
}

/// Reads an ErrorResponse.
fn error_of(message: &[u8]) -> io::Result<TargetError> {
    let mut reply = error::Reply::default();
    if let Some(Message::ErrorResponse(body)) = Message::parse(&mut BytesMut::from(message))? {
        let mut fields = body.fields();
        while let Some(field) = fields.next()? {
            let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'C' => reply.sqlstate = value,
                b'M' => reply.message = value,
                b'D' => reply.detail = Some(value),
                b'H' => reply.hint = Some(value),
                _ => (),
            }
        }
    }
    Ok(error::of_reply(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag][..], &length, body].concat()
    }

    #[test]
    fn an_answer_may_come_in_any_pieces() {
        let all = [
            message(b'2', b""),
            message(b'D', &[0, 1, 0, 0, 0, 1, 7]),
            message(b'N', b"SNOTICE\0\0"),
            message(b'C', b"INSERT 0 1000\0"),
            message(b'Z', b"I"),
        ]
        .concat();
        for cut in 0..all.len() {
            let mut answer = Answer::default();
            let read = answer.read(&all[..cut]).unwrap();
            assert!(!answer.is_over && read <= cut);
            assert_eq!(answer.read(&all[read..]).unwrap(), all.len() - read);
            assert_eq!((answer.rows, answer.is_over), (1_000, true), "cut at {cut}");
        }
    }

    #[test]
    fn an_error_keeps_its_code_and_its_words() {
        let body =
            b"SERROR\0C23505\0Mduplicate key\0DKey (id)=(1) already exists.\0Htry another\0\0";
        let all = [message(b'E', body), message(b'Z', b"I")].concat();
        let mut answer = Answer::default();
        assert_eq!(answer.read(&all).unwrap(), all.len());
        let Some(TargetError::Rejected { sqlstate, message }) = answer.error else {
            panic!("{:?}", answer.error)
        };
        assert_eq!(sqlstate, "23505");
        assert_eq!(message, "duplicate key; Key (id)=(1) already exists.; try another");
    }

    #[test]
    fn what_is_not_the_protocol_is_an_error() {
        assert!(Answer::default().read(&[b'Z', 0, 0, 0, 3]).is_err());
    }
}
