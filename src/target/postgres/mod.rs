//! PostgreSQL: the only place that names tokio-postgres and deadpool.
//!
//! Everything happens in a schema of batchpilot's own, made at the start and dropped at the end. A
//! session-level advisory lock marks it as in use, so that a later run can tell a schema that a
//! killed run left behind from one that is being filled. The session that holds it also makes and
//! checks the table; if it is lost, another takes its place.

mod admin;
mod catalog;
mod ddl;
mod error;
mod info;
mod options;
mod own_table;
mod pool;
mod session;
mod socket;
mod tls;
mod trial;
mod verify;
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::{Client, error::SqlState};

use self::{admin::Admin, own_table::OwnTable, socket::Connector};
pub use self::{
    options::{ConnectOptions, OptionsError},
    pool::{PgLease, PgPool},
    session::PgSession,
};
use crate::{
    rows::{Generator, RowSet, Verification},
    strategy::quoted,
    target::{
        Operation, PoolSettings, ServerInfo, ServerSample, TableInfo, TableSettings, TableSource,
        Target, TargetError,
    },
};

/// A PostgreSQL server, and batchpilot's schema on it.
#[derive(Debug)]
pub struct PgTarget {
    options: ConnectOptions,
    connector: Connector,
    admin: Admin,
    version: u32,
    schema: String,
    table: String,
    generator: Generator,
    /// The column that identifies a row to those who ask for it back.
    key: Option<String>,
    /// Makes the table fresh.
    reset: String,
    /// Reads it.
    copy_out: String,
    /// What is known of the table, if it is the user's own.
    own_table: Option<TableInfo>,
    checkpoint_is_refused: AtomicBool,
}

/// Oldest major version whose counters are known.
const VERSION_MIN: u32 = 140_000;

impl PgTarget {
    /// Connects, and makes a schema named after `run`; the user's own table is made in it and tried
    /// out.
    ///
    /// # Errors
    ///
    /// [`TargetError::Connect`] with the address and what to try, [`TargetError::Failed`] if the
    /// server is too old, read-only, or does not let the role make a schema, and
    /// [`TargetError::Table`] if the table cannot be made or does not take rows.
    pub async fn connect(
        options: ConnectOptions,
        run: &str,
        settings: &TableSettings,
    ) -> Result<PgTarget, TargetError> {
        let connector = Connector { tls: tls::connector(options.trust) };
        let options = options.named_after(run);
        let schema = format!("batchpilot_{run}");
        let admin = Admin::open(&options, &connector, &schema).await?;
        let client = admin.as_it_is().await;
        let failed = |error: tokio_postgres::Error| error::of_session(&error);
        let version: String = show(&client, "server_version_num").await.map_err(failed)?;
        let version: u32 = version.parse().unwrap_or(0);
        let address = options.address();
        if version < VERSION_MIN {
            let message = format!(
                "{address}: PostgreSQL {} is older than 14, the oldest that batchpilot knows",
                version / 10_000
            );
            return Err(TargetError::Failed { message, sqlstate: None });
        }
        drop_schemas_left_behind(&client).await;
        create_schema(&client, &schema, &address).await?;
        let table = match &settings.source {
            TableSource::Article => Ok(article_table(&schema, settings)),
            _ => own_table::make(&client, &schema, settings).await,
        };
        let table = match table {
            Ok(table) => table,
            Err(error) => {
                drop(client.batch_execute("ROLLBACK").await);
                let drop_schema = format!("DROP SCHEMA {} CASCADE", quoted(&schema));
                drop(client.batch_execute(&drop_schema).await);
                return Err(error);
            }
        };
        let is_own = settings.source != TableSource::Article;
        let own_table = is_own.then(|| table.info());
        Ok(PgTarget {
            options,
            connector,
            admin,
            version,
            schema,
            table: table.name,
            generator: table.generator,
            key: table.key,
            reset: table.reset,
            copy_out: table.copy_out,
            own_table,
            checkpoint_is_refused: AtomicBool::new(false),
        })
    }

    /// Returns the name of batchpilot's schema on the server.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Returns whether the role may ask for a CHECKPOINT; known once it was tried.
    pub fn may_checkpoint(&self) -> bool {
        !self.checkpoint_is_refused.load(Ordering::Relaxed)
    }

    async fn checkpoint(&self, client: &Client) -> Result<(), TargetError> {
        if !self.may_checkpoint() {
            return Ok(());
        }
        match client.batch_execute("CHECKPOINT").await {
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                self.checkpoint_is_refused.store(true, Ordering::Relaxed);
                Ok(())
            }
            other => other.map_err(|error| error::of_session(&error)),
        }
    }
}

/// The article's table; it is made anew for each block.
fn article_table(schema: &str, settings: &TableSettings) -> OwnTable {
    let generator = Generator::article_user(0);
    let table = quoted(&settings.name);
    let logged = if settings.unlogged { "UNLOGGED " } else { "" };
    let columns: Vec<String> = generator
        .columns()
        .iter()
        .map(|column| format!("{} {}", quoted(&column.name), column.sql_type.name))
        .collect();
    let mut reset = format!(
        "SET search_path TO {}; DROP TABLE IF EXISTS {table}; \
         CREATE {logged}TABLE {table} (\"id\" bigserial PRIMARY KEY, {})",
        quoted(schema),
        columns.join(", ")
    );
    for column in &settings.indexes {
        reset.push_str(&format!("; CREATE INDEX ON {table} ({})", quoted(column)));
    }
    let source = format!("{}.{table} ({})", quoted(schema), verify::compared(&generator));
    OwnTable {
        name: settings.name.clone(),
        generator,
        key: Some("id".to_owned()),
        reset,
        copy_out: verify::copy_out(&source),
        notes: Vec::new(),
        warnings: Vec::new(),
    }
}

impl Target for PgTarget {
    type Pool = PgPool;

    fn generator(&self, seed: u64) -> Generator {
        self.generator.with_seed(seed)
    }

    fn own_table(&self) -> Option<&TableInfo> {
        self.own_table.as_ref()
    }

    async fn reset_table(&self) -> Result<(), TargetError> {
        self.empty_table().await?;
        let client = self.admin.client().await?;
        self.checkpoint(&client).await?;
        if info::VERSION_THAT_FLUSHES <= self.version {
            // What making the table wrote would else be reported, and counted, within the block.
            let flush = client.batch_execute("SELECT pg_stat_force_next_flush()").await;
            flush.map_err(|error| error::of_session(&error))?;
        }
        Ok(())
    }

    async fn empty_table(&self) -> Result<(), TargetError> {
        let client = self.admin.client().await?;
        client.batch_execute(&self.reset).await.map_err(|error| {
            let error = error::of_session(&error);
            let message = format!("cannot make table {}: {error}", self.table);
            TargetError::Failed { message, sqlstate: None }
        })
    }

    async fn open_pool(
        &self,
        settings: PoolSettings,
        sessions_warm: u32,
        operation: Operation,
        batch_rows: &[u64],
    ) -> Result<PgPool, TargetError> {
        let pool = pool::open(self, settings)?;
        pool.warm(sessions_warm, operation, batch_rows).await?;
        Ok(pool)
    }

    async fn sample(&self) -> Result<ServerSample, TargetError> {
        let mut client = self.admin.as_it_is().await;
        if client.is_closed() {
            // The caller bounds how long this may take: nobody waits for it in the middle of a block.
            client = self.admin.client().await?;
        }
        info::sample(&client, self.version).await.map_err(|error| error::of_session(&error))
    }

    async fn verify(
        &self,
        generator: Generator,
        confirmed: RowSet,
        in_doubt: RowSet,
    ) -> Result<Verification, TargetError> {
        if !in_doubt.is_empty() {
            self.admin.end_sessions().await?;
        }
        let client = self.admin.client().await?;
        let outcome = verify::verify(&client, &self.copy_out, generator, confirmed, in_doubt).await;
        outcome.map_err(|error| error::of_session(&error))
    }

    async fn info(&self) -> Result<ServerInfo, TargetError> {
        info::collect(self).await.map_err(|error| error::of_session(&error))
    }

    async fn cancel(&self) {
        self.admin.cancel().await;
    }

    /// Drops the schema and everything in it.
    async fn close(self) -> Result<(), TargetError> {
        let left_behind = |error: TargetError| {
            let message = format!("schema {} is left behind: {error}", self.schema);
            TargetError::Failed { message, sqlstate: None }
        };
        let drop_schema = format!("DROP SCHEMA IF EXISTS {} CASCADE", quoted(&self.schema));
        let client = self.admin.client().await.map_err(left_behind)?;
        let dropped = client.batch_execute(&drop_schema).await;
        dropped.map_err(|error| left_behind(error::of_session(&error)))
    }
}

async fn show(client: &Client, setting: &str) -> Result<String, tokio_postgres::Error> {
    let row = client.query_one("SELECT current_setting($1)", &[&setting]).await?;
    Ok(row.get(0))
}

async fn create_schema(admin: &Client, schema: &str, address: &str) -> Result<(), TargetError> {
    let name = quoted(schema);
    let comment = format!("COMMENT ON SCHEMA {name} IS 'made by batchpilot'");
    let create = format!("CREATE SCHEMA {name}; {comment}");
    admin.batch_execute(&create).await.map_err(|error| {
        let advice = match error.code() {
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                "; grant it with `GRANT CREATE ON DATABASE … TO …`"
            }
            Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                "; the server is read-only (a standby?): name the primary"
            }
            _ => "",
        };
        let error = error::of_session(&error);
        let message = format!("{address}: cannot make schema {schema}: {error}{advice}");
        TargetError::Failed { message, sqlstate: None }
    })
}

/// Drops schemas of killed runs: named and commented as ours, owned by this role, and with nobody at the lock
/// that a run holds on its schema. Fails silently: it is a courtesy.
async fn drop_schemas_left_behind(admin: &Client) {
    let find = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^batchpilot_[0-9a-z]{12}$' \
                AND obj_description(oid, 'pg_namespace') = 'made by batchpilot' \
                AND nspowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)";
    let Ok(rows) = admin.query(find, &[]).await else { return };
    for row in rows {
        let schema: String = row.get(0);
        let try_lock = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";
        let Ok(is_ours) = admin.query_one(try_lock, &[&schema]).await else { return };
        if is_ours.get(0) {
            let text = format!("DROP SCHEMA IF EXISTS {} CASCADE", quoted(&schema));
            drop(admin.batch_execute(&text).await);
            let unlock = "SELECT pg_advisory_unlock(hashtextextended($1, 0))";
            drop(admin.query_one(unlock, &[&schema]).await);
        }
    }
}
