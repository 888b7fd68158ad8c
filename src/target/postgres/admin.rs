//! The session that makes the table and checks it, and holds the lock on batchpilot's schema.
//!
//! It is opened anew when it was lost: a server that restarts in the middle of a block must keep
//! neither the rows in doubt from being settled nor the schema from being dropped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::{Client, Error, Statement, error::SqlState};

use super::{ConnectOptions, error, socket::Connector};
use crate::{clock, target::TargetError};

/// How long a server may refuse connections before it counts as gone.
const REFUSED_MAX: Duration = Duration::from_secs(10);
/// How long a server that answers may be starting, recovering or full.
const STARTING_MAX: Duration = Duration::from_secs(60);
const RETRY_PERIOD: Duration = Duration::from_millis(100);
/// How long a server may take to answer what costs it nothing; one that stands still never does.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long sessions whose end was asked for may take.
const SESSION_END_MAX: Duration = Duration::from_secs(10);
const SESSION_END_PERIOD: Duration = Duration::from_millis(10);

/// The session, or how to open another.
#[derive(Debug)]
pub(super) struct Admin {
    options: ConnectOptions,
    connector: Connector,
    schema: String,
    session: Mutex<Arc<Session>>,
    /// Set when the server was waited for in vain: it is not waited for again.
    is_gone: AtomicBool,
}

/// One session, and the statement that is sent on it again and again.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    /// Reads the counters. Planning it anew would cost the server more than ten times as much, in
    /// each window.
    sample: OnceCell<Statement>,
}

impl Session {
    fn new(client: Client) -> Session {
        Session { client, sample: OnceCell::new() }
    }

    /// Returns the statement `text`, prepared the first time.
    pub(super) async fn sample_statement(&self, text: &str) -> Result<&Statement, Error> {
        self.sample.get_or_try_init(|| self.client.prepare(text)).await
    }
}

impl std::ops::Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Admin {
    /// Connects, and marks `schema` as in use.
    pub(super) async fn open(
        options: &ConnectOptions,
        connector: &Connector,
        schema: &str,
    ) -> Result<Admin, TargetError> {
        let client = connect(options, connector).await?;
        lock(&client, schema).await?;
        Ok(Admin {
            options: options.clone(),
            connector: connector.clone(),
            schema: schema.to_owned(),
            session: Mutex::new(Arc::new(Session::new(client))),
            is_gone: AtomicBool::new(false),
        })
    }

    /// Returns the session, whether or not it is still there.
    pub(super) async fn as_it_is(&self) -> Arc<Session> {
        Arc::clone(&*self.session.lock().await)
    }

    /// Returns a session that was there just now.
    pub(super) async fn client(&self) -> Result<Arc<Session>, TargetError> {
        let mut session = self.session.lock().await;
        let answer = tokio::time::timeout(ANSWER_MAX, session.batch_execute("")).await;
        let Ok(answer) = answer else {
            let message = "the server does not answer".to_owned();
            return Err(TargetError::ConnectionLost { message });
        };
        match answer {
            Ok(()) => (),
            Err(error) if is_lost(&session, &error) => {
                *session = Arc::new(Session::new(self.connect_again().await?));
            }
            // It is there, and holds the lock: a second one would wait for that.
            Err(error) => return Err(error::of_session(&error)),
        }
        Ok(Arc::clone(&session))
    }

    async fn connect_again(&self) -> Result<Client, TargetError> {
        let started = clock::now();
        let error = loop {
            let error = match connect(&self.options, &self.connector).await {
                Ok(client) => return lock(&client, &self.schema).await.map(|()| client),
                Err(error) => error,
            };
            let patience = match &error {
                TargetError::Connect { sqlstate: None, .. } => REFUSED_MAX,
                other if will_pass(other.code()) => STARTING_MAX,
                _ => Duration::ZERO,
            };
            if patience <= clock::since(started) || self.is_gone.load(Ordering::Relaxed) {
                break error;
            }
            tokio::time::sleep(RETRY_PERIOD).await;
        };
        self.is_gone.store(true, Ordering::Relaxed);
        Err(error)
    }

    /// Asks the server to give up what this session waits for, so that it can be used again. If that
    /// cannot be asked, whoever uses it next waits.
    pub(super) async fn cancel(&self) {
        // By another session: tokio-postgres cannot send a cancel request to a socket of our own.
        let Ok(client) = connect(&self.options, &self.connector).await else { return };
        let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
                      WHERE application_name = current_setting('application_name') \
                        AND usename = current_user AND pid <> pg_backend_pid()";
        drop(client.batch_execute(cancel).await);
    }

    /// Ends this run's sessions other than this one, and waits until they are gone: what was on its
    /// way when a connection was lost is then committed or never will be.
    pub(super) async fn end_sessions(&self) -> Result<(), TargetError> {
        let client = self.client().await?;
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE application_name = current_setting('application_name') \
                     AND usename = current_user AND pid <> pg_backend_pid()";
        let started = clock::now();
        loop {
            let ended = client.query_one(end, &[]).await;
            let left: i64 = ended.map_err(|error| error::of_session(&error))?.get(0);
            if left == 0 {
                return Ok(());
            }
            if SESSION_END_MAX <= clock::since(started) {
                let message = format!(
                    "{left} sessions of this run do not end; what they had been sent may still be \
                     committed"
                );
                return Err(TargetError::Failed { message, sqlstate: None });
            }
            tokio::time::sleep(SESSION_END_PERIOD).await;
        }
    }
}

pub(super) async fn connect(
    options: &ConnectOptions,
    connector: &Connector,
) -> Result<Client, TargetError> {
    let address = options.address();
    let connected = tokio::time::timeout(ANSWER_MAX, connector.connect(&options.config)).await;
    let Ok(connected) = connected else {
        let message = format!("cannot connect to {address}: the server does not answer");
        return Err(TargetError::Connect { message, sqlstate: None });
    };
    let opened = connected.map_err(|error| error::of_connecting(&error, &address))?;
    Ok(opened.client)
}

/// Takes the lock that marks `schema` as in use. Nobody else asks for it but a session of the same
/// run that was lost here, and that the server has not yet noticed to be gone.
async fn lock(client: &Client, schema: &str) -> Result<(), TargetError> {
    // Rows are read back on this session, however long that takes: what the role's statements are
    // given is for the workers' sessions.
    let lock = format!(
        "SET statement_timeout = 0; SELECT pg_advisory_lock(hashtextextended('{schema}', 0))"
    );
    match tokio::time::timeout(ANSWER_MAX, client.batch_execute(&lock)).await {
        Ok(locked) => locked.map_err(|error| error::of_session(&error)),
        Err(_) => {
            let seconds = ANSWER_MAX.as_secs();
            let message = format!("the lock on schema {schema} was not to be had for {seconds} s");
            Err(TargetError::Failed { message, sqlstate: None })
        }
    }
}

/// Whether the session is gone: closed, broken, or ended by the server (class 57P: an operator).
fn is_lost(client: &Client, error: &Error) -> bool {
    let is_ended = error.code().is_some_and(|code| code.code().starts_with("57P"));
    client.is_closed() || error.as_db_error().is_none() || is_ended
}

/// Whether the server lets nobody in for now.
fn will_pass(sqlstate: &str) -> bool {
    [SqlState::CANNOT_CONNECT_NOW, SqlState::TOO_MANY_CONNECTIONS]
        .iter()
        .any(|code| code.code() == sqlstate)
}
