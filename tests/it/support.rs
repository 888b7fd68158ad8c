//! What the tests on a real PostgreSQL share: servers, blocks, and batchpilot as a person starts it.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{LazyLock, mpsc},
    time::Duration,
};

use batchpilot::{
    cluster::{Binaries, Cluster, ClusterOptions, Lookup, find},
    controller::{Fixed, Setting},
    engine::{self, BlockOutcome, BlockSpec},
    plan::{CellPlan, Plan},
    rows::Verification,
    scenario::Scenario,
    target::{
        TableSource, Target as _, TargetError,
        postgres::{ConnectOptions, PgTarget},
    },
};
use tokio::process::Command;
use tokio_postgres::{Client, Config, NoTls};
use tokio_util::sync::CancellationToken;

pub(crate) const BATCHPILOT: &str = env!("CARGO_BIN_EXE_batchpilot");

/// Variables by which batchpilot, or a test, would end up on somebody's own server.
const SERVER_VARIABLES: [&str; 7] =
    ["DATABASE_URL", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGSSLMODE"];

/// One database of one server, and who connects to it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) socket_dir: PathBuf,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) database: String,
}

impl Place {
    pub(crate) fn of(cluster: &Cluster) -> Place {
        Place {
            socket_dir: cluster.socket_dir().to_owned(),
            port: cluster.port(),
            user: cluster.user().to_owned(),
            password: cluster.password().to_owned(),
            database: cluster.database().to_owned(),
        }
    }

    /// Its URL, by TCP: a socket's directory would have to be escaped.
    pub(crate) fn url(&self) -> String {
        let Place { port, user, password, database, .. } = self;
        format!("postgresql://{user}:{password}@127.0.0.1:{port}/{database}")
    }

    pub(crate) fn options(&self) -> ConnectOptions {
        let Place { user, password, database, .. } = self;
        ConnectOptions::private(Some(&self.socket_dir), self.port, user, password, database)
    }

    pub(crate) async fn client(&self) -> Client {
        self.try_client().await.unwrap()
    }

    pub(crate) async fn try_client(&self) -> Result<Client, tokio_postgres::Error> {
        let mut config = Config::new();
        config.host_path(&self.socket_dir).port(self.port).user(&self.user);
        config.password(&self.password).dbname(&self.database);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Makes a role that may log in and make schemas in this database, and nothing else.
    pub(crate) async fn with_plain_role(&self) -> Place {
        let role = format!("plain_{}", unique());
        let database = &self.database;
        let make = format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'plain'; \
             GRANT CREATE ON DATABASE {database} TO {role}"
        );
        self.client().await.batch_execute(&make).await.unwrap();
        Place { user: role, password: "plain".to_owned(), ..self.clone() }
    }

    /// Returns batchpilot's schemas in the database.
    pub(crate) async fn schemas(&self) -> Vec<String> {
        let query = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'batchpilot%'";
        let rows = self.client().await.query(query, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// Twelve characters that no other call returns, in this process or another.
pub(crate) fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:08x}{number:04x}", std::process::id())
}

/// A server of this process, without fsync: what is tested on it is not durability. It ends with
/// the process, because its guardian sees the pipe close.
static SHARED: LazyLock<Place> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cluster = cluster(&[("fsync", "off"), ("log_min_messages", "fatal")]).await;
            sender.send(Place::of(&cluster)).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().expect("the server is up")
});

/// Starts a server that a test has to itself.
pub(crate) async fn cluster(settings: &[(&str, &str)]) -> Cluster {
    // To test with another major: BATCHPILOT_PG_BIN.
    let binaries = find(&Lookup::from_env(), None).unwrap_or_else(|error| panic!("{error}"));
    start(binaries, settings).await
}

/// Starts a server of a major version.
///
/// Where it cannot be installed, `scripts/test` says so in the environment and at its end.
pub(crate) async fn cluster_of(major: u32) -> Option<Cluster> {
    let found = find(&Lookup::from_env(), Some(major));
    if found.is_err() && std::env::var_os("BATCHPILOT_WITHOUT_MAJORS").is_some() {
        return None;
    }
    let binaries =
        found.unwrap_or_else(|error| panic!("{error}; scripts/install-postgres {major}"));
    Some(start(binaries, &[("fsync", "off"), ("log_min_messages", "fatal")]).await)
}

async fn start(binaries: Binaries, settings: &[(&str, &str)]) -> Cluster {
    let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let guardian = PathBuf::from(BATCHPILOT);
    let options = ClusterOptions { binaries, guardian, settings: settings.collect() };
    Cluster::start(options).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Makes a database of a test's own on the server that tests share.
pub(crate) async fn database() -> Place {
    let shared = tokio::task::spawn_blocking(|| SHARED.clone()).await.unwrap();
    let database = format!("test_{}", unique());
    // `template0` has no sessions on it, ever; a copy of `template1` waits for there to be none.
    let create = format!("CREATE DATABASE {database} TEMPLATE template0");
    shared.client().await.batch_execute(&create).await.unwrap();
    Place { database, ..shared }
}

pub(crate) fn plan(text: &str) -> Plan {
    let file = Scenario::parse(text, "test.toml").unwrap_or_else(|error| panic!("{error}"));
    Plan::resolve(&file.scenario).unwrap_or_else(|error| panic!("{error}"))
}

/// Resolves one cell from its keys.
pub(crate) fn cell(keys: &str) -> CellPlan {
    plan(&format!("name = \"test\"\n[[cells]]\nname = \"cell\"\n{keys}")).cells.remove(0)
}

/// Seed of the rows of all blocks.
const SEED: u64 = 1;

/// A target with its table `users` made.
pub(crate) async fn target(options: ConnectOptions) -> PgTarget {
    own_target(options, "", "").await.unwrap_or_else(|error| panic!("{error}"))
}

/// A target with the table made that `keys` of a scenario and `ddl` describe.
pub(crate) async fn own_target(
    options: ConnectOptions,
    keys: &str,
    ddl: &str,
) -> Result<PgTarget, TargetError> {
    let cell = "[[cells]]\nname = \"cell\"\nstrategy = \"unnest\"\n";
    let mut table = plan(&format!("name = \"test\"\n{keys}\n{cell}")).table;
    if let TableSource::Ddl { text, .. } = &mut table.source {
        ddl.clone_into(text);
    }
    if let Some(csv) = &mut table.csv {
        csv.path = csv.file.clone().into();
    }
    let target = PgTarget::connect(options, &unique(), &table).await?;
    target.reset_table().await?;
    Ok(target)
}

/// Runs one block of a cell.
pub(crate) async fn run(target: &PgTarget, cell: &CellPlan) -> Result<BlockOutcome, TargetError> {
    run_until(target, cell, &CancellationToken::new()).await
}

/// Runs one block of a cell until it ends or is told to stop.
pub(crate) async fn run_until(
    target: &PgTarget,
    cell: &CellPlan,
    stop: &CancellationToken,
) -> Result<BlockOutcome, TargetError> {
    let generator = target.generator(SEED);
    let spec = BlockSpec {
        cell,
        seed: 1,
        window: Duration::from_millis(100),
        client_threads: 1,
        generator: &generator,
        time: batchpilot::clock::Time::Real,
    };
    let setting = Setting { batch_rows: cell.batch_rows, workers: cell.workers };
    engine::run_block(target, spec, &mut Fixed(setting), stop, &mut |_, _| ()).await
}

pub(crate) async fn verify(target: &PgTarget, outcome: &BlockOutcome) -> Verification {
    let (confirmed, in_doubt) = (outcome.confirmed.clone(), outcome.in_doubt.clone());
    target.verify(target.generator(SEED), confirmed, in_doubt).await.unwrap()
}

/// Says what came of a block, without its histograms.
pub(crate) fn brief(outcome: &BlockOutcome) -> String {
    let measured = &outcome.measurement;
    format!(
        "{:?} after {:?}: {} operations, {} rows confirmed, {} in doubt, {} failed, {} pushed back, \
         {} never started, errors {:?}, the first {:?}",
        outcome.ended,
        outcome.elapsed,
        measured.operations,
        outcome.confirmed.row_count(),
        outcome.in_doubt.row_count(),
        outcome.rows_failed,
        measured.pushed_back,
        outcome.never_started,
        measured.errors,
        outcome.error,
    )
}

/// What a batchpilot that ended left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A folder with a scenario, and a place for results.
#[derive(Debug)]
pub(crate) struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        Desk { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path().join("results")
    }

    /// Writes the scenario file.
    pub(crate) fn scenario(&self, text: &str) -> PathBuf {
        let file = self.path().join("scenario.toml");
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Prepares `batchpilot run` of a scenario, with everything that a test looks at piped.
    pub(crate) fn run(&self, scenario: &str) -> Command {
        let mut command = batchpilot();
        command.arg("run").arg(self.scenario(scenario)).arg("--out").arg(self.out());
        command
    }

    /// Returns the directories of runs.
    pub(crate) fn runs(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.out()) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Returns the directory of the only run.
    pub(crate) fn only_run(&self) -> PathBuf {
        let mut runs = self.runs();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs.remove(0)
    }
}

pub(crate) fn batchpilot() -> Command {
    batchpilot_by(BATCHPILOT)
}

/// Prepares batchpilot to be started by another program, or none.
pub(crate) fn batchpilot_by(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    for name in SERVER_VARIABLES {
        command.env_remove(name);
    }
    command
}

pub(crate) async fn ended(mut command: Command) -> Ended {
    command.output().await.unwrap().into()
}
