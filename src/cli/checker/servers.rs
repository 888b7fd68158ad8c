//! Where the arms of a check insert: servers, the user's or private ones, or simulated ones.

use super::Side;
use crate::{
    cli::{
        UsageError,
        args::Common,
        runner::schema_name,
        server::{Server, outranking},
    },
    clock::Time,
    gate::{Arm, Arms},
    plan::Connection,
    record::Host,
    target::{
        TableSettings, Target, TargetError,
        postgres::PgTarget,
        sim::{SimSettings, SimTarget},
    },
};

/// Opens the target of an arm, anew for each session.
pub(super) trait Open {
    type Target: Target;

    const TIME: Time;

    async fn open(
        &self,
        arm: Arm,
        session: u64,
        table: &TableSettings,
    ) -> Result<Self::Target, TargetError>;

    /// Whether both arms are on one server.
    fn is_one_server(&self) -> bool;

    /// Whether batchpilot started the server of an arm, and on what its data lies.
    fn is_private(&self, arm: Arm) -> (bool, Option<String>);
}

/// One server for both arms, or one for each.
#[derive(Debug)]
pub(super) struct Servers {
    servers: Vec<Server>,
    of: Arms<usize>,
}

/// What tells the servers of two sides apart.
#[derive(Debug, Eq, PartialEq)]
struct Key<'a> {
    url: Option<&'a str>,
    connection: Connection,
    pg_major: Option<u32>,
}

impl Servers {
    /// Takes the servers that the sides or the command line name; starts private ones if none does.
    pub(super) async fn open(common: &Common, sides: &Arms<Side>) -> anyhow::Result<Servers> {
        let Arms { base, head } = sides;
        let is_of_scenarios = !base.is_own_url && !head.is_own_url;
        let both_name_one = base.url.is_some() && head.url.is_some();
        if is_of_scenarios
            && both_name_one
            && base.url != head.url
            && let Some(first) = outranking(common)?
        {
            let problem = format!(
                "base and head name different servers (target.url), and {first} outranks both, so that \
                 one server would be checked against itself; leave {first} out"
            );
            return Err(UsageError(problem).into());
        }
        let mut servers = vec![open(common, &sides.base).await?];
        let mut of = Arms { base: 0, head: 0 };
        if key(common, &sides.base) != key(common, &sides.head) {
            match open(common, &sides.head).await {
                Ok(server) => servers.push(server),
                Err(error) => {
                    // That the first does not stop either says less.
                    drop(Servers { servers, of }.close().await);
                    return Err(error);
                }
            }
            of.head = 1;
        }
        Ok(Servers { servers, of })
    }

    /// Stops the servers that batchpilot started.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let mut first_error = None;
        for server in self.servers {
            if let Err(error) = server.close().await {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

fn key<'a>(common: &'a Common, side: &'a Side) -> Key<'a> {
    let url = if side.is_own_url { None } else { common.url.as_deref() };
    Key {
        url: url.or(side.url.as_deref()),
        connection: side.plan.connection,
        pg_major: side.pg_major,
    }
}

async fn open(common: &Common, side: &Side) -> anyhow::Result<Server> {
    let mut common = common.clone();
    if side.is_own_url {
        common.url.clone_from(&side.url);
    }
    common.pg_major = side.pg_major.or(common.pg_major);
    let url = side.url.as_deref().filter(|_| !side.is_own_url);
    Server::open(&common, url, side.plan.connection).await
}

impl Open for Servers {
    type Target = PgTarget;

    const TIME: Time = Time::Real;

    async fn open(&self, arm: Arm, _: u64, table: &TableSettings) -> Result<PgTarget, TargetError> {
        let options = self.servers[*self.of.of(arm)].options.clone();
        PgTarget::connect(options, &schema_name(), table).await
    }

    fn is_one_server(&self) -> bool {
        self.of.base == self.of.head
    }

    fn is_private(&self, arm: Arm) -> (bool, Option<String>) {
        let cluster = self.servers[*self.of.of(arm)].cluster.as_ref();
        let storage = cluster.and_then(|it| Host::storage_of(&it.data_dir()));
        (cluster.is_some(), storage)
    }
}

/// Distance of the seeds of sessions: their weather has nothing in common. Blocks of a session are
/// `SimSettings::case` apart.
const SEEDS_APART: u64 = 0x9E37_79B9_7F4A_7C15;

/// Simulated servers. Arms of one seed have the same weather at the same time: one machine.
#[derive(Debug)]
pub(super) struct Simulated(pub(super) Arms<SimSettings>);

impl Open for Simulated {
    type Target = SimTarget;

    const TIME: Time = Time::Virtual;

    async fn open(
        &self,
        arm: Arm,
        session: u64,
        _: &TableSettings,
    ) -> Result<SimTarget, TargetError> {
        let settings = self.0.of(arm);
        let seed = settings.seed ^ session.wrapping_mul(SEEDS_APART);
        Ok(SimTarget::new(SimSettings { seed, ..settings.clone() }))
    }

    fn is_one_server(&self) -> bool {
        false
    }

    fn is_private(&self, _: Arm) -> (bool, Option<String>) {
        (false, None)
    }
}
