//! Whether both arms of a check insert the same rows.

use std::collections::BTreeMap;

use crate::{gate::Arms, rows::ColumnSpec};

/// Says why the rows of both arms differ, if they do. Names and types of what is sent decide: rows
/// follow from them and the seed.
pub(super) fn difference(columns: &Arms<&[ColumnSpec]>) -> Option<String> {
    let of = |columns: &[ColumnSpec]| -> BTreeMap<String, String> {
        let column = |it: &ColumnSpec| (it.name.clone(), it.sql_type.name.to_string());
        columns.iter().map(column).collect()
    };
    let (base, head) = (of(columns.base), of(columns.head));
    let only = |these: &BTreeMap<String, String>, others: &BTreeMap<String, String>| {
        let own = these.keys().filter(|name| !others.contains_key(*name));
        own.map(|name| format!("`{name}`")).collect::<Vec<_>>()
    };
    let (only_base, only_head) = (only(&base, &head), only(&head, &base));
    let other_types: Vec<String> = base
        .iter()
        .filter_map(|(name, base)| {
            let head = head.get(name).filter(|it| *it != base)?;
            Some(format!("`{name}` is {base} in base and {head} in head"))
        })
        .collect();
    let mut problems = Vec::new();
    if !only_base.is_empty() {
        problems.push(format!("only base's rows have {}", only_base.join(", ")));
    }
    if !only_head.is_empty() {
        problems.push(format!("only head's rows have {}", only_head.join(", ")));
    }
    problems.extend(other_types);
    if problems.is_empty() {
        return None;
    }
    Some(format!(
        "{}; both arms must insert the same rows. Columns with a default are left to the server, \
         and then do not count",
        problems.join("; ")
    ))
}
