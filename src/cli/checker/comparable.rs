//! Whether both arms of a check insert the same rows.

use std::collections::BTreeMap;

use crate::{
    gate::{Arm, Arms},
    rows::{ColumnKind, Generator, RowRange, Value},
};

/// Rows of both arms that are compared before the first is inserted.
const ROWS_COMPARED: u64 = 1_000;

/// How the rows of both arms differ: in names and types of what is sent, or else in values. A value
/// follows from more than its type: from UNIQUE, CHECKs, lengths and labels.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Columns that only one arm sends.
    pub(super) only: Arms<Vec<String>>,
    /// Columns of different types, in words.
    types: Vec<String>,
    /// Columns of the same type and of different values.
    values: Vec<String>,
}

impl Difference {
    pub(super) fn of(generators: &Arms<Generator>) -> Difference {
        let of = |generator: &Generator| -> BTreeMap<String, String> {
            let columns = generator.columns().iter();
            columns.map(|it| (it.name.clone(), it.sql_type.name.to_string())).collect()
        };
        let (base, head) = (of(&generators.base), of(&generators.head));
        let only = |these: &BTreeMap<String, String>, others: &BTreeMap<String, String>| {
            these.keys().filter(|name| !others.contains_key(*name)).cloned().collect()
        };
        let types = base.iter().filter_map(|(name, base)| {
            let head = head.get(name).filter(|it| *it != base)?;
            Some(format!("`{name}` is {base} in base and {head} in head"))
        });
        Difference {
            only: Arms { base: only(&base, &head), head: only(&head, &base) },
            types: types.collect(),
            values: values(generators, |name| base.get(name) == head.get(name)),
        }
    }

    /// Whether leaving columns out would make the rows the same.
    pub(super) fn is_of_columns_alone(&self) -> bool {
        self.types.is_empty()
            && self.values.is_empty()
            && !(self.only.base.is_empty() && self.only.head.is_empty())
    }

    /// Says what differs, and the way out; nothing if nothing does.
    pub(super) fn words(&self) -> Option<String> {
        let only = |arm: Arm| {
            let names: Vec<String> = self.only.of(arm).iter().map(|it| format!("`{it}`")).collect();
            let words = format!("only {}'s rows have {}", arm.name(), names.join(", "));
            (!names.is_empty()).then_some(words)
        };
        let values = self.values.iter().map(|name| {
            format!(
                "`{name}` gets other values in head than in base, as its UNIQUE, CHECKs, length or \
                 labels differ (say `range`, `length` or `values` in [[columns]])"
            )
        });
        let problems = Arm::BOTH.into_iter().filter_map(only).chain(self.types.iter().cloned());
        let problems = problems.chain(values);
        let problems: Vec<String> = problems.collect();
        if problems.is_empty() {
            return None;
        }
        let way_out = match self.is_of_columns_alone() {
            true => {
                "; both arms must insert the same rows: give the column a default, which leaves it \
                 to the server, or send only what both have with --common-columns"
            }
            false => "; both arms must insert the same rows",
        };
        Some(format!("{}{way_out}", problems.join("; ")))
    }
}

/// The columns that both send, and of which some value differs among the first rows.
fn values(generators: &Arms<Generator>, is_comparable: impl Fn(&str) -> bool) -> Vec<String> {
    let rows_max = Arm::BOTH.iter().filter_map(|arm| generators.of(*arm).rows_max()).min();
    let end = rows_max.unwrap_or(ROWS_COMPARED).min(ROWS_COMPARED);
    let range = RowRange { start: 0, end };
    let chunks = Arms { base: generators.base.build(range), head: generators.head.build(range) };
    let place = |arm: Arm, name: &str| {
        generators.of(arm).columns().iter().position(|column| column.name == name)
    };
    let differs = |name: &str| {
        let Some((base, head)) = place(Arm::Base, name).zip(place(Arm::Head, name)) else {
            return false;
        };
        let value =
            |arm: Arm, column: usize, row: usize| plain(chunks.of(arm).columns[column].value(row));
        let rows = usize::try_from(end).expect("not many");
        (0..rows).any(|row| value(Arm::Base, base, row) != value(Arm::Head, head, row))
    };
    let names = generators.base.columns().iter().map(|column| &column.name);
    names.filter(|name| is_comparable(name) && differs(name)).cloned().collect()
}

/// A value's bytes; of an array without its element's OID, which each schema's types have their own
/// of.
fn plain(value: Value<'_>) -> Option<Vec<u8>> {
    match value {
        Value::Int8(value) | Value::TimestampTz(value) => Some(value.to_be_bytes().to_vec()),
        Value::Text(bytes) => Some(bytes.to_vec()),
        Value::Binary(kind, bytes) => {
            let mut bytes = bytes.to_vec();
            if matches!(kind, ColumnKind::Array(_)) && 12 <= bytes.len() {
                bytes[8..12].fill(0);
            }
            Some(bytes)
        }
        Value::Null => None,
    }
}
