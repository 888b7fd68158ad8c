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

use tokio::sync::Mutex;
use tokio_postgres::{Client, Error, error::SqlState};

use super::{ConnectOptions, error, tls};
use crate::{clock, target::TargetError};

/// How long a server may refuse connections before it counts as gone.
const REFUSED_MAX: Duration = Duration::from_secs(10);
/// How long a server that answers may be starting, recovering or full.
const STARTING_MAX: Duration = Duration::from_secs(60);
const RETRY_PERIOD: Duration = Duration::from_millis(100);
/// How long sessions whose end was asked for may take.
const SESSION_END_MAX: Duration = Duration::from_secs(10);
const SESSION_END_PERIOD: Duration = Duration::from_millis(10);

/// The session, or how to open another.
#[derive(Debug)]
pub(super) struct Admin {
    options: ConnectOptions,
    tls: tls::Connector,
    schema: String,
    client: Mutex<Arc<Client>>,
    /// Set when the server was waited for in vain: it is not waited for again.
    is_gone: AtomicBool,
}

impl Admin {
    /// Connects, and marks `schema` as in use.
    pub(super) async fn open(
        options: &ConnectOptions,
        tls: &tls::Connector,
        schema: &str,
    ) -> Result<Admin, TargetError> {
        let client = connect(options, tls).await?;
        lock(&client, schema).await.map_err(|error| error::of_session(&error))?;
        Ok(Admin {
            options: options.clone(),
            tls: tls.clone(),
            schema: schema.to_owned(),
            client: Mutex::new(Arc::new(client)),
            is_gone: AtomicBool::new(false),
        })
    }

    /// Returns the session, whether or not it is still there.
    pub(super) async fn as_it_is(&self) -> Arc<Client> {
        Arc::clone(&*self.client.lock().await)
    }

    /// Returns a session that was there just now.
    pub(super) async fn client(&self) -> Result<Arc<Client>, TargetError> {
        let mut client = self.client.lock().await;
        if client.batch_execute("").await.is_err() {
            *client = Arc::new(self.connect_again().await?);
        }
        Ok(Arc::clone(&client))
    }

    async fn connect_again(&self) -> Result<Client, TargetError> {
        let started = clock::now();
        let error = loop {
            let error = match connect(&self.options, &self.tls).await {
                Ok(client) => {
                    let locked = lock(&client, &self.schema).await;
                    return locked.map(|()| client).map_err(|error| error::of_session(&error));
                }
                Err(error) => error,
            };
            let patience = match &error {
                TargetError::Connect { sqlstate: None, .. } => REFUSED_MAX,
                other if will_pass(other.code()) => STARTING_MAX,
                _ => Duration::ZERO,
            };
            if patience <= started.elapsed() || self.is_gone.load(Ordering::Relaxed) {
                break error;
            }
            tokio::time::sleep(RETRY_PERIOD).await;
        };
        self.is_gone.store(true, Ordering::Relaxed);
        Err(error)
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
            if SESSION_END_MAX <= started.elapsed() {
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
    tls: &tls::Connector,
) -> Result<Client, TargetError> {
    let address = options.address();
    let (client, connection) = options
        .config
        .connect(tls.clone())
        .await
        .map_err(|error| error::of_connecting(&error, &address))?;
    // It ends with the client; what went wrong shows in the client's next call.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

async fn lock(client: &Client, schema: &str) -> Result<(), Error> {
    let lock = format!("SELECT pg_advisory_lock(hashtextextended('{schema}', 0))");
    client.batch_execute(&lock).await
}

/// Whether the server lets nobody in for now.
fn will_pass(sqlstate: &str) -> bool {
    [SqlState::CANNOT_CONNECT_NOW, SqlState::TOO_MANY_CONNECTIONS]
        .iter()
        .any(|code| code.code() == sqlstate)
}
