//! A private PostgreSQL.

pub mod find;

pub use self::find::{Binaries, FindError, Lookup, find};
