//! What is known of a table before rows are made for it: its columns, and what limits their values.

use serde::{Deserialize, Serialize};

use crate::rows::{ColumnKind, SqlType};

/// A type with its length, precision or labels.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeFacts {
    /// The type on the wire.
    pub sql_type: SqlType,
    /// What its values are.
    pub shape: TypeShape,
}

/// What the values of a type are.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is the type of its name")]
pub enum TypeShape {
    Boolean,
    SmallInt,
    Integer,
    BigInt,
    Real,
    DoublePrecision,
    /// `numeric(precision, scale)`.
    Numeric {
        precision: Option<u32>,
        scale: i32,
    },
    /// `text` and `varchar(n)`.
    Text {
        length_max: Option<u32>,
    },
    /// `char(n)`.
    Char {
        length: u32,
    },
    Json,
    Jsonb,
    Bytea,
    Date,
    /// With so many microseconds a step.
    Time {
        step: i64,
    },
    /// With so many microseconds a step.
    TimeTz {
        step: i64,
    },
    /// `timestamp` and `timestamptz`, with so many microseconds a step.
    Timestamp {
        step: i64,
    },
    /// With so many microseconds a step.
    Interval {
        step: i64,
    },
    /// An interval of so many months a step.
    Months {
        step: i32,
    },
    Uuid,
    Inet,
    Cidr,
    /// `macaddr` and `macaddr8`, by the bytes they have.
    Macaddr {
        bytes: usize,
    },
    /// `bit(n)` and `varbit(n)`.
    Bits {
        length: (u32, u32),
    },
    /// An enum and its labels.
    Enum(Vec<String>),
    Range(Box<TypeFacts>),
    Array(Box<TypeFacts>),
    /// A type that only a list of values can fill.
    Other,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnFacts {
    /// Its name.
    pub name: String,
    /// Its type; of a domain, the type below it.
    pub facts: TypeFacts,
    /// Whether it is NOT NULL.
    pub is_required: bool,
    /// Who makes its values.
    pub maker: Maker,
}

/// Who makes the values of a column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Maker {
    /// Rows carry them.
    Client,
    /// The server, from an expression or a default.
    Server,
    /// The server, and no two are the same: an identity, a sequence, a UUID.
    ServerUnique,
}

/// A bound of values, in binary format.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// The value.
    pub value: Vec<u8>,
    /// Whether the value itself is allowed.
    pub is_inclusive: bool,
}

/// Between which bounds, which belong to them, the values of a column are made up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// Whole numbers.
    Integers {
        /// The least.
        least: i128,
        /// The greatest.
        most: i128,
    },
    /// Texts, by their length in characters.
    Lengths {
        /// The least.
        least: u32,
        /// The greatest.
        most: u32,
    },
}

impl Reach {
    /// Returns the bounds of values that both columns take, if they differ now: what both numbers
    /// have, or the lengths of the shorter texts, which fit into the longer ones.
    pub fn shared(self, other: Reach) -> Option<Reach> {
        let shared = match (self, other) {
            _ if self == other => return None,
            (Reach::Integers { least: a, most: b }, Reach::Integers { least: c, most: d }) => {
                Reach::Integers { least: a.max(c), most: b.min(d) }
            }
            (Reach::Lengths { least: a, most: b }, Reach::Lengths { least: c, most: d }) => {
                if (b, c) < (d, a) { self } else { other }
            }
            _ => return None,
        };
        match shared {
            Reach::Integers { least, most } if most < least => None,
            shared => Some(shared),
        }
    }
}

/// What limits the values of a column: its CHECKs, and what the scenario says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// No value is below any of these.
    pub least: Vec<Bound>,
    /// No value is above any of these.
    pub most: Vec<Bound>,
    /// All values, in binary format.
    pub values: Option<Vec<Vec<u8>>>,
    /// The least length, in characters, bytes, bits or elements.
    pub length_min: Option<u32>,
    /// The greatest length.
    pub length_max: Option<u32>,
    /// In which order values come.
    pub distribution: Option<Distribution>,
    /// The share of rows without a value, 0 to 1.
    pub null_share: f64,
}

/// In which order the values of a column come.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Any, all alike.
    Uniform,
    /// Most near the middle.
    Normal,
    /// The first ones most often, by Zipf's law.
    Zipf,
    /// One after the other.
    Sequential,
    /// Each once, in an order that looks random.
    Scattered,
}

impl Limits {
    /// Holds the values to a list as well.
    pub fn allow_only(&mut self, values: Vec<Vec<u8>>) {
        match &mut self.values {
            Some(known) => known.retain(|value| values.contains(value)),
            None => self.values = Some(values),
        }
    }

    /// Holds the length to these bounds as well.
    pub fn bound_length(&mut self, least: Option<u32>, most: Option<u32>) {
        self.length_min = self.length_min.max(least);
        self.length_max = match (self.length_max, most) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// Why rows cannot be made for a table.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("column `{column}`: {problem}")]
pub struct TableError {
    /// The column.
    pub column: String,
    /// What is wrong, and the way out.
    pub problem: String,
}

impl TypeFacts {
    /// `text` without a limit.
    pub fn text() -> TypeFacts {
        TypeFacts { sql_type: SqlType::text(), shape: TypeShape::Text { length_max: None } }
    }

    /// Returns what values look like.
    pub fn kind(&self) -> &ColumnKind {
        &self.sql_type.kind
    }
}
