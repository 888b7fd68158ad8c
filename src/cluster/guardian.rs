//! The guardian: a small process that starts the server, and ends it when its owner is gone.
//!
//! The owner holds the other end of the guardian's standard input. However the owner ends, kill -9
//! included, the kernel closes that end, and the guardian shuts the server down.
//!
//! **Invariant:** when the guardian has returned, no process of the server and nothing of its
//! directory is left.

use std::{
    ffi::OsString,
    io::{self, Write},
    os::fd::AsFd,
    path::PathBuf,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::unix::pipe,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{
    directory::{ClusterDirectory, remove_stale},
    error::{ClusterError, Stage},
    server::{HASTY, PATIENT, Server, free_port},
    user::ServerUser,
    wire::{Order, Report, STOP},
};

/// The hidden subcommand that runs [`run`].
pub const SUBCOMMAND: &str = "guard-cluster";

/// Guards a server until its owner says stop or is gone. `args` are those after the subcommand.
///
/// Call it outside of any runtime: it makes a small one for itself.
///
/// # Errors
///
/// Fails when the server could not be made, or ended by itself. The owner has been told by then.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<(), ClusterError> {
    let mut args = args.into_iter();
    let (Some(binaries), None) = (args.next(), args.next()) else {
        return Err(protocol("it takes one argument, the directory of initdb and postgres"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(ClusterError::io("start the guardian's runtime"))?;
    runtime.block_on(guard(PathBuf::from(binaries)))
}

async fn guard(binaries: PathBuf) -> Result<(), ClusterError> {
    let mut owner = Owner::listen()?;
    let order = owner.order().await?;
    let outcome = serve(binaries, &order, &mut owner).await;
    if let Err(error) = &outcome {
        owner.tell(&as_report(error));
    }
    outcome
}

async fn serve(binaries: PathBuf, order: &Order, owner: &mut Owner) -> Result<(), ClusterError> {
    let user = ServerUser::pick()?;
    remove_stale(user).await;
    let mut server = Server::new(ClusterDirectory::create(user)?, binaries, user);
    let served = attend(&mut server, order, owner).await;
    match served {
        Ok(Word::Stop) => tokio::select! {
            () = server.end(PATIENT) => (),
            // A second word, or the owner's end, cuts the patience short.
            _ = owner.word() => server.end(HASTY).await,
        },
        Ok(Word::Gone) | Err(_) => server.end(HASTY).await,
    }
    let removed = server.remove().await;
    served.and(removed)
}

/// Brings the server up and waits for the owner's word, or for what should not happen.
async fn attend(
    server: &mut Server,
    order: &Order,
    owner: &mut Owner,
) -> Result<Word, ClusterError> {
    let up = tokio::select! {
        up = server.bring_up(order, free_port) => up?,
        word = owner.word() => return Ok(word),
    };
    owner.tell(&Report::Ready {
        directory: server.directory().to_owned(),
        port: up.port,
        postmaster_pid: up.postmaster_pid,
    });
    tokio::select! {
        error = server.ended() => Err(error),
        word = owner.word() => Ok(word),
    }
}

/// What the owner, or whoever ends processes here, wants.
#[derive(Clone, Copy)]
enum Word {
    /// Stop in good order.
    Stop,
    /// The owner is gone, or a signal asks the guardian to go.
    Gone,
}

/// The guardian's side of the pipes, and the signals that it heeds.
struct Owner {
    lines: Lines<BufReader<pipe::Receiver>>,
    signals: [Signal; 3],
}

impl Owner {
    fn listen() -> Result<Self, ClusterError> {
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        let pipe = stdin.and_then(pipe::Receiver::from_owned_fd);
        let pipe = pipe.map_err(|error| protocol(format!("standard input: {error}")))?;
        let listen =
            |kind| signal(kind).map_err(ClusterError::io("listen to signals as the guardian"));
        let signals = [
            listen(SignalKind::terminate())?,
            listen(SignalKind::interrupt())?,
            listen(SignalKind::hangup())?,
        ];
        Ok(Self { lines: BufReader::new(pipe).lines(), signals })
    }

    async fn order(&mut self) -> Result<Order, ClusterError> {
        let line = self.lines.next_line().await;
        let line = line.map_err(ClusterError::io("read the owner's order"))?;
        // The text of a JSON error could quote the order, and with it the password: leave it out.
        line.and_then(|it| serde_json::from_str(&it).ok()).ok_or_else(|| protocol("no order came"))
    }

    /// Waits for the next word. Cancel safe.
    async fn word(&mut self) -> Word {
        let [terminate, interrupt, hangup] = &mut self.signals;
        tokio::select! {
            line = self.lines.next_line() => match line {
                Ok(Some(text)) if text == STOP => Word::Stop,
                _ => Word::Gone,
            },
            _ = terminate.recv() => Word::Gone,
            _ = interrupt.recv() => Word::Gone,
            _ = hangup.recv() => Word::Gone,
        }
    }

    /// Writes to standard output, which is the pipe to the owner. An owner that is gone does not
    /// listen, and its end comes as the next word anyway.
    fn tell(&mut self, report: &Report) {
        let text = serde_json::to_string(report).expect("a report is plain data");
        let mut stdout = io::stdout().lock();
        drop(writeln!(stdout, "{text}").and_then(|()| stdout.flush()));
    }
}

fn as_report(error: &ClusterError) -> Report {
    match error {
        ClusterError::Failed { stage, cause, log } => {
            Report::Failed { stage: *stage, cause: cause.clone(), log: log.clone() }
        }
        other => {
            let source = std::error::Error::source(other);
            let cause = source.map_or_else(|| other.to_string(), |it| format!("{other}: {it}"));
            Report::Failed { stage: Stage::Preparing, cause, log: String::new() }
        }
    }
}

fn protocol(problem: impl Into<String>) -> ClusterError {
    ClusterError::Protocol { problem: problem.into() }
}
