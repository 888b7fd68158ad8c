//! Connects; and a Unix-domain socket that wakes the client only when there is something to do, and
//! that a connection lends to its session.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd},
    task::JoinHandle,
};
use tokio_postgres::{
    Client, Config, Error, NoTls,
    config::{Host, TargetSessionAttrs},
};

use super::{tls, wire::Wire};

/// Opens sessions, for the pool and for us.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) tls: tls::Connector,
}

/// An open session.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) client: Client,
    /// The task that drives the connection for as long as the client lives. What goes wrong with it
    /// later shows in the client's next call.
    pub(super) task: JoinHandle<()>,
    /// The short way to the server, if the session has one.
    pub(super) wire: Option<Wire>,
}

impl Connector {
    /// Connects.
    pub(super) async fn connect(&self, config: &Config) -> Result<Opened, Error> {
        if let Some(path) = unix_path(config)
            && let Ok(socket) = Socket::connect(path).await
        {
            let socket = Arc::new(socket);
            let stream = Stream(Arc::clone(&socket));
            let (client, connection) = config.connect_raw(stream, NoTls).await?;
            let task = tokio::spawn(async move { drop(connection.await) });
            return Ok(Opened { client, task, wire: Some(Wire::new(socket)) });
        }
        let (client, connection) = config.connect(self.tls.clone()).await?;
        let task = tokio::spawn(async move { drop(connection.await) });
        Ok(Opened { client, task, wire: None })
    }
}

/// The socket's path, if the server is to be reached through one and nothing else is asked.
fn unix_path(config: &Config) -> Option<PathBuf> {
    let [Host::Unix(directory)] = config.get_hosts() else { return None };
    let is_plain = config.get_hostaddrs().is_empty()
        && config.get_target_session_attrs() == TargetSessionAttrs::Any;
    let port = config.get_ports().first().copied().unwrap_or(5432);
    is_plain.then(|| directory.join(format!(".s.PGSQL.{port}")))
}

/// Bytes that the kernel holds for the server; less, if `net.core.wmem_max` is less.
///
/// With the usual 208 KiB a COPY's client is woken for each 2,000 rows, and the server finds nothing
/// to read until the client is awake.
const SEND_BUFFER_BYTES: usize = 1024 * 1024;
/// Most bytes of one write. The kernel lets a writer go on when three quarters of the buffer are
/// free, and frees a write only when it was read to its end: a write as large as the buffer would
/// have the server read all of it before the client may go on.
const WRITE_MAX: usize = 64 * 1024;

/// A Unix-domain socket, which its connection and its session use in turns.
///
/// tokio's own waits for room as well as for data, whether or not there is anything to write, and
/// the kernel tells of room each time that the server has read a statement. That is one wake-up more
/// for each operation; it costs the server more than the client, which is asleep on another CPU.
#[derive(Debug)]
pub(super) struct Socket {
    readable: AsyncFd<UnixStream>,
    turn: Mutex<Turn>,
}

/// Whose turn it is, and what is needed to change turns.
#[derive(Debug, Default)]
struct Turn {
    /// Whether the session reads. The connection then has to wait, for it would take the answer.
    is_sessions: bool,
    /// Wakes the connection's task, which waits for what the server says unasked.
    connection: Option<Waker>,
    /// The same socket, while a write waits for room.
    writable: Option<AsyncFd<UnixStream>>,
}

impl Socket {
    async fn connect(path: PathBuf) -> io::Result<Socket> {
        let stream = tokio::net::UnixStream::connect(path).await?.into_std()?;
        // A smaller buffer is no error.
        drop(SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES));
        let readable = register(stream, Interest::READABLE)?;
        Ok(Socket { readable, turn: Mutex::default() })
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the session's turn.
    pub(super) fn take_from_connection(&self) {
        self.turn().is_sessions = true;
    }

    /// Ends the session's turn: the connection is told again of what the server says.
    pub(super) fn give_back(&self) {
        let mut turn = self.turn();
        turn.is_sessions = false;
        if let Some(waker) = &turn.connection
            && self.readable.poll_read_ready(&mut Context::from_waker(waker)).is_ready()
        {
            waker.wake_by_ref();
        }
    }

    /// Has this task woken by what the server sends next.
    pub(super) fn poll_expect(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.readable.poll_read_ready(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    /// Reads what there is. Zero is the end.
    pub(super) fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.readable.poll_read_ready(context))?;
            let Ok(read) = guard.try_io(|socket| socket.get_ref().read(buffer)) else {
                continue;
            };
            let count = match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            // What comes after a short read wakes us anew; another read would only say so.
            if 0 < count && count < buffer.len() {
                guard.clear_ready();
            }
            return Poll::Ready(Ok(count));
        }
    }

    /// Writes some of `bytes`.
    pub(super) fn poll_send(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(WRITE_MAX)];
        loop {
            match self.readable.get_ref().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => {
                    self.turn().writable = None;
                    return Poll::Ready(done);
                }
            }
            let mut turn = self.turn();
            if turn.writable.is_none() {
                let same = self.readable.get_ref().try_clone()?;
                turn.writable = Some(register(same, Interest::WRITABLE)?);
            }
            let writable = turn.writable.as_ref().expect("was set above");
            ready!(writable.poll_write_ready(context))?.clear_ready();
        }
    }
}

#[expect(deprecated, reason = "its successor is unsafe; a UnixStream keeps its descriptor")]
fn register(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(socket, interest)
}

/// A socket as its connection sees it.
#[derive(Debug)]
struct Stream(Arc<Socket>);

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut turn = self.0.turn();
        if !turn.connection.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            turn.connection = Some(context.waker().clone());
        }
        if turn.is_sessions {
            return Poll::Pending;
        }
        // Under the lock: the session's turn cannot begin between here and the end of the read.
        let read = ready!(self.0.poll_receive(context, buffer.initialize_unfilled()))?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_send(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.readable.get_ref().shutdown(std::net::Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixListener,
    };

    use super::*;

    /// More than the kernel holds, both ways at once: writes wait for room, and reads for data.
    #[tokio::test]
    async fn what_is_written_comes_back_whole() {
        const BYTES: usize = 8 * SEND_BUFFER_BYTES;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap()
        });
        let socket = Stream(Arc::new(Socket::connect(path).await.unwrap()));
        let (mut read, mut write) = tokio::io::split(socket);
        let sent: Vec<u8> = (0..=250).cycle().take(BYTES).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        read.read_to_end(&mut received).await.unwrap();
        writer.await.unwrap();
        assert_eq!(server.await.unwrap(), BYTES as u64);
        assert!(received == expected, "{} of {BYTES} bytes came back", received.len());
    }

    #[test]
    fn only_a_plain_unix_address_takes_the_short_way() {
        let path = |text: &str| unix_path(&text.parse().unwrap());
        assert_eq!(path("host=/run/pg port=5433"), Some("/run/pg/.s.PGSQL.5433".into()));
        assert_eq!(path("host=localhost"), None);
        assert_eq!(path("host=/run/pg,localhost"), None);
        assert_eq!(path("host=/run/pg target_session_attrs=read-write"), None);
    }
}
