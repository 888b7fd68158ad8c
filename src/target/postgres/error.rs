//! Turns errors of tokio-postgres and deadpool into the terms that the engine acts on.

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::{Error, error::SqlState};

use crate::target::TargetError;

/// Conditions that pass: worth another attempt. Source: PostgreSQL manual, appendix A.
const PUSHED_BACK: [SqlState; 7] = [
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::LOCK_NOT_AVAILABLE,
    SqlState::QUERY_CANCELED,
    SqlState::TOO_MANY_CONNECTIONS,
    SqlState::CONFIGURATION_LIMIT_EXCEEDED,
    SqlState::CANNOT_CONNECT_NOW,
];

/// The server ends the session in these.
const CONNECTION_LOST: [SqlState; 3] = [
    SqlState::ADMIN_SHUTDOWN,
    SqlState::CRASH_SHUTDOWN,
    SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
];

/// Says what an error of an open session means.
pub(super) fn of_session(error: &Error) -> TargetError {
    let Some(reply) = error.as_db_error() else {
        let message = with_cause(error);
        return if error.is_closed() || is_io(error) {
            TargetError::ConnectionLost { message }
        } else {
            TargetError::Failed { message, sqlstate: None }
        };
    };
    of_reply(Reply {
        sqlstate: reply.code().code().to_owned(),
        message: reply.message().to_owned(),
        detail: reply.detail().map(str::to_owned),
        hint: reply.hint().map(str::to_owned),
    })
}

/// An ErrorResponse's fields that say what happened.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) sqlstate: String,
    pub(super) message: String,
    pub(super) detail: Option<String>,
    pub(super) hint: Option<String>,
}

/// Says what the server's answer to a statement means.
pub(super) fn of_reply(reply: Reply) -> TargetError {
    let Reply { sqlstate, mut message, detail, hint } = reply;
    for more in [detail, hint].into_iter().flatten() {
        message.push_str("; ");
        message.push_str(&more);
    }
    let code = SqlState::from_code(&sqlstate);
    let class = sqlstate.get(..2).unwrap_or_default();
    if CONNECTION_LOST.contains(&code) || class == "08" {
        TargetError::ConnectionLost { message }
    } else if PUSHED_BACK.contains(&code) {
        TargetError::PushedBack { sqlstate, message }
    } else if class == "22" || class == "23" {
        TargetError::Rejected { sqlstate, message }
    } else if class == "53" {
        let message = format!("the server is out of resources ({sqlstate}): {message}");
        TargetError::Failed { message, sqlstate: Some(sqlstate) }
    } else {
        let message = format!("{message} ({sqlstate})");
        TargetError::Failed { message, sqlstate: Some(sqlstate) }
    }
}

/// Says what an error of opening a session means, and the way out.
pub(super) fn of_connecting(error: &Error, address: &str) -> TargetError {
    let (code, what) = match error.as_db_error() {
        Some(reply) => (Some(reply.code().clone()), reply.message().to_owned()),
        None => (None, with_cause(error)),
    };
    let advice = match &code {
        Some(code) if *code == SqlState::INVALID_PASSWORD => {
            "; set PGPASSWORD, or put the password into the URL"
        }
        Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "; see the server's pg_hba.conf"
        }
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
            "; create it with `createdb`, or name another in the URL"
        }
        Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => {
            "; use fewer workers or a smaller pool, or raise max_connections on the server"
        }
        Some(_) => "",
        None if what.contains("password") => "; set PGPASSWORD, or put the password into the URL",
        None if what.contains("lookup") => "; check the host's name",
        None if what.contains("TLS") || what.contains("tls") => "; check sslmode in the URL",
        None => "; check host and port, and that the server runs and accepts connections",
    };
    let message = format!("cannot connect to {address}: {what}{advice}");
    TargetError::Connect { message, sqlstate: code.map(|code| code.code().to_owned()) }
}

/// Says what an error of the pool means. Only the first sessions of a run end it: a later refusal
/// is push-back.
pub(super) fn of_pool(error: PoolError, address: &str, waited_ms: u64) -> TargetError {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => TargetError::PoolTimeout { waited_ms },
        PoolError::Timeout(_) => {
            let message = format!("cannot connect to {address}: the server does not answer");
            TargetError::Connect { message, sqlstate: None }
        }
        PoolError::Backend(error) => {
            let is_busy = error.code().is_some_and(|code| PUSHED_BACK.contains(code));
            match of_connecting(&error, address) {
                TargetError::Connect { message, sqlstate: Some(sqlstate) } if is_busy => {
                    TargetError::PushedBack { sqlstate, message }
                }
                other => other,
            }
        }
        other => TargetError::Failed { message: other.to_string(), sqlstate: None },
    }
}

fn is_io(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

fn with_cause(error: &Error) -> String {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = cause.source();
    }
    message
}
