//! Reads the table back and has every row checked.

use futures_util::{TryStreamExt as _, pin_mut};
use tokio_postgres::{Client, Error};

use crate::{
    rows::{Checker, Generator, RowSet, Verification},
    strategy::{copy_binary, quoted},
};

pub(super) async fn verify(
    admin: &Client,
    copy: &str,
    generator: Generator,
    confirmed: RowSet,
    in_doubt: RowSet,
) -> Result<Verification, Error> {
    let mut checker = Checker::new(generator.clone(), confirmed, in_doubt);
    read(admin, copy, &mut checker).await?;
    while checker.needs_another_pass() {
        checker = checker.again();
        read(admin, copy, &mut checker).await?;
    }
    Ok(checker.finish())
}

/// Returns what reads `source` in binary format: the server sends a tuple a message, and the client
/// converts nothing.
pub(super) fn copy_out(source: &str) -> String {
    format!("COPY {source} TO STDOUT (FORMAT binary)")
}

/// Returns the names of the columns that are compared.
pub(super) fn compared(generator: &Generator) -> String {
    let name = |&column: &usize| quoted(&generator.columns()[column].name);
    generator.compared().iter().map(name).collect::<Vec<_>>().join(", ")
}

async fn read(admin: &Client, copy: &str, checker: &mut Checker) -> Result<(), Error> {
    let stream = admin.copy_out(copy).await?;
    pin_mut!(stream);
    let mut is_first = true;
    while let Some(message) = stream.try_next().await? {
        let mut tuple = &message[..];
        if std::mem::take(&mut is_first) {
            tuple = tuple.strip_prefix(&copy_binary::HEADER[..]).unwrap_or(tuple);
        }
        if tuple.is_empty() || tuple == copy_binary::TRAILER {
            continue;
        }
        let mut fields = Vec::with_capacity(8);
        // A tuple that cannot be read is no row of ours, and is counted as such.
        if copy_binary::decode(tuple, &mut fields).is_none() {
            fields.clear();
        }
        checker.row(&fields);
    }
    Ok(())
}
