//! The types of columns: what their values look like in PostgreSQL's binary format.

use std::sync::Arc;

/// The binary format of a type's values. Types whose format is their text share one kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ColumnKind {
    /// `boolean`: one byte.
    Bool,
    /// `smallint`.
    Int2,
    /// `integer`.
    Int4,
    /// `bigint`.
    Int8,
    /// `real`.
    Float4,
    /// `double precision`.
    Float8,
    /// `numeric`: digits to the base 10,000. Source: PostgreSQL's `numeric_send`.
    Numeric,
    /// `text`, `varchar(n)`, `char(n)`, `json` and enums: the text itself.
    Text,
    /// `bytea`.
    Bytea,
    /// `date`, in days since 2000-01-01.
    Date,
    /// `time`, in microseconds since midnight.
    Time,
    /// `time with time zone`: a `time`, and the zone in seconds west of UTC.
    TimeTz,
    /// `timestamp`, in microseconds since 2000-01-01 00:00.
    Timestamp,
    /// `timestamptz`, in microseconds since 2000-01-01 00:00 UTC (PostgreSQL's epoch).
    TimestampTz,
    /// `interval`: microseconds, days, months.
    Interval,
    /// `uuid`.
    Uuid,
    /// `jsonb`: a version byte before the text.
    Jsonb,
    /// `inet` and `cidr`.
    Inet,
    /// `macaddr` and `macaddr8`.
    Macaddr,
    /// `bit(n)` and `varbit(n)`: how many, then the bits.
    Bits,
    /// A range of values of this kind.
    Range(Box<ColumnKind>),
    /// An array of values of this kind.
    Array(Box<ColumnKind>),
    /// Any other type: its values, each in binary format and as text.
    Listed(Arc<[(Vec<u8>, String)]>),
}

/// A type as the server knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SqlType {
    /// What its values look like.
    pub kind: ColumnKind,
    /// Its name in SQL, without length or precision; for a domain, that of the type below it.
    pub name: String,
    /// Its object identifier.
    pub oid: u32,
    /// That of arrays of it; 0 if there are none.
    pub array_oid: u32,
}

impl SqlType {
    /// `text`. Object identifiers here and below: PostgreSQL's `pg_type.dat`.
    pub fn text() -> SqlType {
        SqlType::built_in(ColumnKind::Text, "text", (25, 1009))
    }

    /// `bigint`.
    pub fn int8() -> SqlType {
        SqlType::built_in(ColumnKind::Int8, "bigint", (20, 1016))
    }

    /// `timestamptz`.
    pub fn timestamptz() -> SqlType {
        SqlType::built_in(ColumnKind::TimestampTz, "timestamptz", (1184, 1185))
    }

    fn built_in(kind: ColumnKind, name: &str, (oid, array_oid): (u32, u32)) -> SqlType {
        SqlType { kind, name: name.to_owned(), oid, array_oid }
    }

    /// Returns whether `unnest` would take values of this type apart.
    pub fn is_array(&self) -> bool {
        matches!(self.kind, ColumnKind::Array(_))
    }
}

/// A column that is sent with every row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ColumnSpec {
    /// Its name in the table.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
}
