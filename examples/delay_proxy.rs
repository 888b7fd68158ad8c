//! Stands between a client and a server and delays what the server says: `scripts/follow` changes a
//! server's distance with it.
//!
//! Takes the server's address, prints the port of 127.0.0.1 that leads there, and reads the delay in
//! milliseconds from standard input, a line each time that it is to change. Ends with its input.
//!
//! What is on its way is delayed, and nothing else: bytes that come meanwhile do not wait for each
//! other, as they would if each were held in turn.

use std::{
    io::{self, BufRead as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
    sync::mpsc,
    time::Instant,
};

/// Messages on their way, at most: a client that does not read is not held in memory without end.
const ON_ITS_WAY: usize = 4_096;

#[tokio::main]
async fn main() -> io::Result<()> {
    let upstream = std::env::args().nth(1).ok_or_else(|| io::Error::other("name HOST:PORT"))?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "{}", listener.local_addr()?.port())?;
    let delay_ms = Arc::new(AtomicU64::new(0));
    let accepting = tokio::spawn(accept(listener, upstream, Arc::clone(&delay_ms)));
    tokio::task::spawn_blocking(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            match line.trim().parse() {
                Ok(ms) => delay_ms.store(ms, Ordering::Relaxed),
                Err(_) => complain(&format!("not a number of milliseconds: {line}")),
            }
        }
    })
    .await?;
    accepting.abort();
    Ok(())
}

fn complain(what: &str) {
    writeln!(io::stderr(), "delay_proxy: {what}").ok();
}

async fn accept(listener: TcpListener, upstream: String, delay_ms: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        let (upstream, delay_ms) = (upstream.clone(), Arc::clone(&delay_ms));
        tokio::spawn(async move {
            if let Err(error) = join(client, &upstream, &delay_ms).await {
                complain(&error.to_string());
            }
        });
    }
}

async fn join(client: TcpStream, upstream: &str, delay_ms: &AtomicU64) -> io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let (sender, receiver) = mpsc::channel(ON_ITS_WAY);
    let there = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let back = async {
        tokio::try_join!(take(from_server, sender, delay_ms), deliver(receiver, to_client))
    };
    // Either side's end is the end of both.
    tokio::select! {
        ended = there => ended,
        ended = back => ended.map(drop),
    }
}

/// Reads what the server says, and says when it is due.
async fn take(
    mut server: tcp::OwnedReadHalf,
    sender: mpsc::Sender<(Instant, Vec<u8>)>,
    delay_ms: &AtomicU64,
) -> io::Result<()> {
    loop {
        let mut bytes = Vec::with_capacity(16 * 1024);
        if server.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        let due =
            batchpilot::clock::now() + Duration::from_millis(delay_ms.load(Ordering::Relaxed));
        if sender.send((due, bytes)).await.is_err() {
            return Ok(());
        }
    }
}

async fn deliver(
    mut receiver: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut client: tcp::OwnedWriteHalf,
) -> io::Result<()> {
    while let Some((due, bytes)) = receiver.recv().await {
        tokio::time::sleep_until(due).await;
        client.write_all(&bytes).await?;
    }
    client.shutdown().await
}
