//! Whether both arms of a check insert the same rows, or can be made to.

use std::collections::BTreeMap;

use super::Columns;
use crate::{
    gate::{Arm, Arms},
    rows::{ColumnKind, Generator, Reach, RowRange, Value},
    target::ColumnRule,
};

/// Rows of both arms that are compared before the first is inserted.
const ROWS_COMPARED: u64 = 1_000;

/// Types between which a column is made wider or narrower: what fits into the narrower one is the same
/// value in both.
const FAMILIES: [&[&str]; 2] = [&["smallint", "integer", "bigint"], &["character varying", "text"]];

/// How the rows of both arms differ: in names and types of what is sent, in the file that they come
/// from, or else in values. A value follows from more than its type: from UNIQUE, CHECKs, lengths and
/// labels.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Columns that only one arm sends.
    pub(super) only: Arms<Vec<String>>,
    /// Columns of different types, in words.
    types: Vec<String>,
    /// How the files differ whose lines are the rows, in words.
    file: Option<String>,
    /// Columns of types that hold the same values, and of which some value differs.
    values: Vec<Unequal>,
    /// Columns of different types that hold the same values, in words: no difference.
    pub(super) alike: Vec<String>,
}

/// A column of which some value differs.
#[derive(Debug)]
struct Unequal {
    name: String,
    /// The bounds within which both arms would get the same values, if there are any.
    shared: Option<Reach>,
}

impl Difference {
    pub(super) fn of(generators: &Arms<Generator>) -> Difference {
        let (base, head) = (types(&generators.base), types(&generators.head));
        let only = |these: &BTreeMap<&str, &str>, others: &BTreeMap<&str, &str>| {
            let names = these.keys().filter(|name| !others.contains_key(**name));
            names.map(|name| name.to_string()).collect()
        };
        let changed: Vec<(&str, &str, &str)> = base
            .iter()
            .filter_map(|(&name, &base)| {
                let head = *head.get(name).filter(|it| **it != base)?;
                Some((name, base, head))
            })
            .collect();
        let words = |&(name, base, head): &(&str, &str, &str)| {
            format!("`{name}` is {base} in base and {head} in head")
        };
        let (alike, others): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|(_, base, head)| are_alike(base, head));
        let is_comparable = |name: &str| {
            head.contains_key(name) && !others.iter().any(|(other, ..)| *other == name)
        };
        Difference {
            only: Arms { base: only(&base, &head), head: only(&head, &base) },
            types: others.iter().map(words).collect(),
            file: file(generators),
            values: values(generators, is_comparable),
            alike: alike.iter().map(words).collect(),
        }
    }

    /// Whether the arms would insert different rows.
    pub(super) fn is_there(&self) -> bool {
        let has_others = !self.types.is_empty() || !self.values.is_empty() || self.file.is_some();
        self.is_of_columns() || has_others
    }

    /// Whether only one arm sends some column.
    fn is_of_columns(&self) -> bool {
        !(self.only.base.is_empty() && self.only.head.is_empty())
    }

    /// Whether the rows would be the same without some columns, or with values within other bounds.
    fn can_be_mended(&self) -> bool {
        let is_mendable = |it: &Unequal| it.shared.is_some();
        self.types.is_empty() && self.file.is_none() && self.values.iter().all(is_mendable)
    }

    /// Has both arms insert the same rows, by rules for their columns: returns what was done, in words.
    /// `None` if that cannot be, or must not.
    pub(super) fn mend(
        &self,
        columns: Columns,
        rules: Arms<&mut Vec<ColumnRule>>,
    ) -> Option<Vec<String>> {
        let may_leave_out = columns == Columns::Common || !self.is_of_columns();
        if !(self.can_be_mended() && may_leave_out) {
            return None;
        }
        let Arms { base, head } = rules;
        let mut notes = Vec::new();
        for (arm, rules) in [(Arm::Base, &mut *base), (Arm::Head, &mut *head)] {
            let (name, only) = (arm.name(), self.only.of(arm));
            rules.extend(only.iter().map(|column| ColumnRule::left_out(column)));
            let left_out =
                |column: &String| format!("{name}: `{column}` is left out: only {name} has it");
            notes.extend(only.iter().map(left_out));
        }
        for Unequal { name, shared } in &self.values {
            let shared = shared.expect("it can be mended");
            // Both, so that no rule of the one is without its like.
            let changed = [hold(base, name, shared), hold(head, name, shared)];
            if changed == [false, false] {
                return None;
            }
            notes.push(format!("`{name}`: both arms get {}", words(shared)));
        }
        Some(notes)
    }

    /// Says what differs, and the way out.
    pub(super) fn words(&self) -> String {
        let only = |arm: Arm| {
            let names: Vec<String> = self.only.of(arm).iter().map(|it| format!("`{it}`")).collect();
            let words = format!("only {}'s rows have {}", arm.name(), names.join(", "));
            (!names.is_empty()).then_some(words)
        };
        let stands = |it: &&Unequal| it.shared.is_none() || !self.is_of_columns();
        let values = self.values.iter().filter(stands).map(|it| {
            format!(
                "`{}` gets other values in head than in base, as its UNIQUE, CHECKs, length or \
                 labels differ (say `range`, `length`, `values` or `distribution` in [[columns]])",
                it.name
            )
        });
        let problems = Arm::BOTH.into_iter().filter_map(only).chain(self.types.iter().cloned());
        let problems = problems.chain(self.file.clone()).chain(values);
        let problems: Vec<String> = problems.collect();
        let way_out = match self.can_be_mended() && self.is_of_columns() {
            true => {
                "; both arms must insert the same rows: give the column a default, which leaves it \
                 to the server, or send only what both have with --common-columns"
            }
            false => "; both arms must insert the same rows",
        };
        format!("{}{way_out}", problems.join("; "))
    }
}

/// The types of the columns sent, by name.
fn types(generator: &Generator) -> BTreeMap<&str, &str> {
    let columns = generator.columns().iter();
    columns.map(|it| (it.name.as_str(), it.sql_type.name.as_str())).collect()
}

fn are_alike(base: &str, head: &str) -> bool {
    FAMILIES.iter().any(|family| family.contains(&base) && family.contains(&head))
}

/// Holds the values of a column to these bounds; returns whether they were not before.
fn hold(rules: &mut Vec<ColumnRule>, column: &str, reach: Reach) -> bool {
    let place = rules.iter().position(|rule| rule.name == column).unwrap_or_else(|| {
        rules.push(ColumnRule::of(column));
        rules.len() - 1
    });
    let rule = &mut rules[place];
    let before = rule.clone();
    match reach {
        Reach::Integers { least, most } => {
            rule.range = Some([least, most].map(|it| it.to_string()))
        }
        Reach::Lengths { least, most } => rule.length = Some((least, most)),
    }
    *rule != before
}

fn words(reach: Reach) -> String {
    match reach {
        Reach::Integers { least, most } => {
            format!("values from {least} to {most}, which both columns take")
        }
        Reach::Lengths { least, most } if least == most => {
            format!("texts of {most} characters, which both columns take")
        }
        Reach::Lengths { least, most } => {
            format!("texts of {least} to {most} characters, which both columns take")
        }
    }
}

/// How the files differ whose lines are the rows: in any of their bytes, or in what of them a table
/// takes. How a file is read was compared before.
fn file(generators: &Arms<Generator>) -> Option<String> {
    let (base, head) = (generators.base.csv_facts()?, generators.head.csv_facts()?);
    if base.xxh3 != head.xxh3 {
        return Some(format!(
            "{} of base ({} rows, XXH3 {}) and {} of head ({} rows, XXH3 {}) are not the same file",
            base.file, base.rows, base.xxh3, head.file, head.rows, head.xxh3
        ));
    }
    (base.records_bad != head.records_bad).then(|| {
        format!(
            "records of {} that a table cannot take are left out: {} in base and {} in head",
            base.file, base.records_bad, head.records_bad
        )
    })
}

/// The columns that both send, and of which some value differs among the first rows, or among later
/// ones because of its bounds.
fn values(generators: &Arms<Generator>, is_comparable: impl Fn(&str) -> bool) -> Vec<Unequal> {
    let rows_max = Arm::BOTH.iter().filter_map(|arm| generators.of(*arm).rows_max()).min();
    let end = rows_max.unwrap_or(ROWS_COMPARED).min(ROWS_COMPARED);
    let range = RowRange { start: 0, end };
    let chunks = Arms { base: generators.base.build(range), head: generators.head.build(range) };
    let place = |arm: Arm, name: &str| {
        let mut columns = generators.of(arm).columns().iter();
        columns.position(|column| column.name == name).expect("both send it")
    };
    let value =
        |arm: Arm, column: usize, row: usize| plain(chunks.of(arm).columns[column].value(row));
    let rows = usize::try_from(end).expect("not many");
    let mut unequal = Vec::new();
    for column in generators.base.columns().iter().filter(|it| is_comparable(&it.name)) {
        let (base, head) = (place(Arm::Base, &column.name), place(Arm::Head, &column.name));
        let reach = generators.base.reach(base).zip(generators.head.reach(head));
        let is_bound_otherwise = reach.is_some_and(|(base, head)| base != head);
        let differs = |row| value(Arm::Base, base, row) != value(Arm::Head, head, row);
        if is_bound_otherwise || (0..rows).any(differs) {
            let shared = reach.and_then(|(base, head)| base.shared(head));
            unequal.push(Unequal { name: column.name.clone(), shared });
        }
    }
    unequal
}

/// A value's bytes; of a whole number, those that the widest type has; of an array without its
/// element's OID, which each schema's types have their own of.
fn plain(value: Value<'_>) -> Option<Vec<u8>> {
    match value {
        Value::Int8(value) | Value::TimestampTz(value) => Some(value.to_be_bytes().to_vec()),
        Value::Text(bytes) => Some(bytes.to_vec()),
        Value::Binary(ColumnKind::Int2 | ColumnKind::Int4, bytes) => {
            let is_negative = bytes.first().is_some_and(|first| 0x80 <= *first);
            let mut wide = vec![if is_negative { 0xff } else { 0 }; 8 - bytes.len()];
            wide.extend_from_slice(bytes);
            Some(wide)
        }
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
