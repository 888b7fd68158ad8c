//! Connects; and a Unix-domain socket that wakes the client only when there is something to do.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::future::BoxFuture;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd},
    task::JoinHandle,
};
use tokio_postgres::{
    Client, Config, Error, NoTls,
    config::{Host, TargetSessionAttrs},
};

use super::tls;

/// Opens sessions, for deadpool and for us.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) tls: tls::Connector,
}

impl Connector {
    /// Connects, and has a task of its own drive the connection for as long as the client lives.
    /// What goes wrong with it later shows in the client's next call.
    pub(super) async fn connect(&self, config: &Config) -> Result<(Client, JoinHandle<()>), Error> {
        if let Some(path) = unix_path(config)
            && let Ok(socket) = Socket::connect(path).await
        {
            let (client, connection) = config.connect_raw(socket, NoTls).await?;
            return Ok((client, tokio::spawn(async move { drop(connection.await) })));
        }
        let (client, connection) = config.connect(self.tls.clone()).await?;
        Ok((client, tokio::spawn(async move { drop(connection.await) })))
    }
}

impl deadpool_postgres::Connect for Connector {
    fn connect(&self, config: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        let config = config.clone();
        Box::pin(async move { self.connect(&config).await })
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

/// A Unix-domain socket.
///
/// tokio's own waits for room as well as for data, whether or not there is anything to write, and
/// the kernel tells of room each time that the server has read a statement. That is one wake-up more
/// for each operation; it costs the server more than the client, which is asleep on another CPU.
#[derive(Debug)]
struct Socket {
    readable: AsyncFd<UnixStream>,
    /// The same socket, while a write waits for room.
    writable: Option<AsyncFd<UnixStream>>,
}

impl Socket {
    async fn connect(path: PathBuf) -> io::Result<Socket> {
        let stream = tokio::net::UnixStream::connect(path).await?.into_std()?;
        // A smaller buffer is no error.
        drop(SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES));
        let readable = register(stream, Interest::READABLE)?;
        Ok(Socket { readable, writable: None })
    }
}

#[expect(deprecated, reason = "its successor is unsafe; a UnixStream keeps its descriptor")]
fn register(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(socket, interest)
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.readable.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            let Ok(read) = guard.try_io(|socket| socket.get_ref().read(unfilled)) else {
                continue;
            };
            let count = match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            let asked = unfilled.len();
            // What comes after a short read wakes us anew; another read would only say so.
            if 0 < count && count < asked {
                guard.clear_ready();
            }
            buffer.advance(count);
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(WRITE_MAX)];
        loop {
            match self.readable.get_ref().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => {
                    self.writable = None;
                    return Poll::Ready(done);
                }
            }
            if self.writable.is_none() {
                let same = self.readable.get_ref().try_clone()?;
                self.writable = Some(register(same, Interest::WRITABLE)?);
            }
            let writable = self.writable.as_ref().expect("was set above");
            ready!(writable.poll_write_ready(context))?.clear_ready();
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.readable.get_ref().shutdown(std::net::Shutdown::Write))
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
        let socket = Socket::connect(path).await.unwrap();
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
