//! Whether both arms of a check insert the same rows.

use std::collections::BTreeMap;

use crate::{
    gate::{Arm, Arms},
    rows::ColumnSpec,
};

/// How the rows of both arms differ. Names and types of what is sent decide: rows follow from them
/// and the seed.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Columns that only one arm sends.
    pub(super) only: Arms<Vec<String>>,
    /// Columns of different types, in words.
    types: Vec<String>,
}

impl Difference {
    pub(super) fn of(columns: &Arms<&[ColumnSpec]>) -> Difference {
        let of = |columns: &[ColumnSpec]| -> BTreeMap<String, String> {
            let column = |it: &ColumnSpec| (it.name.clone(), it.sql_type.name.to_string());
            columns.iter().map(column).collect()
        };
        let (base, head) = (of(columns.base), of(columns.head));
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
        }
    }

    /// Whether leaving columns out would make the rows the same.
    pub(super) fn is_of_columns_alone(&self) -> bool {
        self.types.is_empty() && !(self.only.base.is_empty() && self.only.head.is_empty())
    }

    /// Says what differs, and the way out; nothing if nothing does.
    pub(super) fn words(&self) -> Option<String> {
        let only = |arm: Arm| {
            let names: Vec<String> = self.only.of(arm).iter().map(|it| format!("`{it}`")).collect();
            let words = format!("only {}'s rows have {}", arm.name(), names.join(", "));
            (!names.is_empty()).then_some(words)
        };
        let problems = Arm::BOTH.into_iter().filter_map(only).chain(self.types.iter().cloned());
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
