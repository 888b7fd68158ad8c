//! A proxy that writes down what batchpilot sends to the server, message by message.

use std::sync::{Arc, Mutex};

use batchpilot::target::postgres::ConnectOptions;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support::Place;

/// One message from the client: its type byte, and what follows its length.
///
/// Source: PostgreSQL manual, "Message Formats".
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Message {
    pub(crate) kind: char,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Returns the first string, such as the text of a Query.
    pub(crate) fn text(&self) -> String {
        let text = self.body.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

/// Stands between batchpilot and a server.
#[derive(Debug)]
pub(crate) struct Proxy {
    place: Place,
    port: u16,
    sessions: Arc<Mutex<Vec<Vec<Message>>>>,
    cut: watch::Sender<u32>,
}

impl Proxy {
    pub(crate) async fn start(place: &Place) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, was_cut) = watch::channel(0);
        let proxy = Proxy { place: place.clone(), port, sessions: Arc::default(), cut };
        let (sessions, server_port) = (Arc::clone(&proxy.sessions), place.port);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = {
                    let mut sessions = sessions.lock().unwrap();
                    sessions.push(Vec::new());
                    sessions.len() - 1
                };
                let server = TcpStream::connect(("127.0.0.1", server_port)).await.unwrap();
                let (sessions, mut was_cut) = (Arc::clone(&sessions), was_cut.clone());
                was_cut.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry(client, server, number, &sessions) => (),
                        _ = was_cut.changed() => (),
                    }
                });
            }
        });
        proxy
    }

    /// How to reach the server through the proxy.
    pub(crate) fn options(&self) -> ConnectOptions {
        let Place { user, password, database, .. } = &self.place;
        ConnectOptions::private(None, self.port, user, password, database)
    }

    /// Returns what each session has sent after its start, the first session first.
    pub(crate) fn sessions(&self) -> Vec<Vec<Message>> {
        self.sessions.lock().unwrap().clone()
    }

    /// Ends all connections without a word, as a network does.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

async fn carry(
    client: TcpStream,
    server: TcpStream,
    number: usize,
    sessions: &Mutex<Vec<Vec<Message>>>,
) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let upstream = async {
        let mut unread = Vec::new();
        let mut is_started = false;
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            unread.extend_from_slice(&buffer[..count]);
            while let Some(message) = take(&mut unread, &mut is_started) {
                sessions.lock().unwrap()[number].push(message);
            }
            if to_server.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = upstream => (),
        _ = copy(&mut from_server, &mut to_client) => (),
    }
}

/// Takes the first whole message after the start of a session off `unread`.
fn take(unread: &mut Vec<u8>, is_started: &mut bool) -> Option<Message> {
    // The first message has no type byte, only a length that counts itself.
    if !*is_started {
        let length = u32::from_be_bytes(unread.get(..4)?.try_into().unwrap()) as usize;
        if unread.len() < length {
            return None;
        }
        unread.drain(..length);
        *is_started = true;
    }
    let length = u32::from_be_bytes(unread.get(1..5)?.try_into().unwrap()) as usize;
    if unread.len() < 1 + length {
        return None;
    }
    let message: Vec<u8> = unread.drain(..=length).collect();
    Some(Message { kind: char::from(message[0]), body: message[5..].to_vec() })
}
