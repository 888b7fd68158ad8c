//! An array for each column, unnested by the server: as many parameters as columns, at any size.
//!
//! `unnest` takes arrays of arrays apart to the last element. A column that is itself an array is
//! therefore sent as an array of texts, and cast row by row.

use super::{Parameters, Shape, put_length, put_value, quoted, text};
use crate::rows::{Column, ColumnSpec, RowSlice, SqlType, Value};

/// Source: PostgreSQL's `pg_type.dat`.
const TEXT_OID: u32 = 25;

/// Returns the statement; it is the same for every number of rows.
pub fn statement(shape: Shape<'_>) -> String {
    let arrays: Vec<String> = (1..)
        .zip(shape.columns)
        .map(|(number, column)| format!("${number}::{}[]", element(&column.sql_type).name))
        .collect();
    let source = if shape.columns.iter().any(|column| column.sql_type.is_array()) {
        let names = shape.column_list();
        format!("SELECT {} FROM unnest({}) AS \"rows\" ({names})", casts(shape), arrays.join(","))
    } else {
        format!("SELECT * FROM unnest({})", arrays.join(","))
    };
    format!("{} {source}{}", shape.insert_into(), shape.returning_clause())
}

fn casts(shape: Shape<'_>) -> String {
    let cast = |column: &ColumnSpec| {
        let name = quoted(&column.name);
        if column.sql_type.is_array() { format!("{name}::{}", column.sql_type.name) } else { name }
    };
    shape.columns.iter().map(cast).collect::<Vec<_>>().join(",")
}

/// Returns the type of the elements that are sent for a column.
pub fn element(sql_type: &SqlType) -> SqlType {
    if sql_type.is_array() { SqlType::text() } else { sql_type.clone() }
}

/// Encodes the rows of `slices` as one array a column.
///
/// The binary format of an array: dimensions, whether there are NULLs, element type, then length
/// and lower bound of each dimension, then each element behind its length. Source: PostgreSQL's
/// `array_recv`.
pub fn encode(shape: Shape<'_>, slices: &[RowSlice], out: &mut Parameters) {
    out.clear();
    let rows: u64 = slices.iter().map(|slice| slice.range().row_count()).sum();
    let rows = i32::try_from(rows).expect("the plan holds batches to a million rows");
    for (index, column) in shape.columns.iter().enumerate() {
        // The server looks for NULLs itself: what is said of them here must only be 0 or 1.
        for word in [1, 0] {
            out.bytes.extend_from_slice(&i32::to_be_bytes(word));
        }
        let oid = if column.sql_type.is_array() { TEXT_OID } else { column.sql_type.oid };
        out.bytes.extend_from_slice(&oid.to_be_bytes());
        for word in [rows, 1] {
            out.bytes.extend_from_slice(&word.to_be_bytes());
        }
        for slice in slices {
            let (columns, range) = slice.columns();
            if column.sql_type.is_array() {
                put_texts(&columns[index], range, &mut out.bytes);
            } else {
                range.for_each(|row| put_value(&mut out.bytes, columns[index].value(row)));
            }
        }
        out.ends.push(out.bytes.len());
    }
}

fn put_texts(column: &Column, rows: std::ops::Range<usize>, out: &mut Vec<u8>) {
    let mut text = String::new();
    for row in rows {
        match column.value(row) {
            Value::Binary(kind, bytes) => {
                text.clear();
                text::put(kind, bytes, &mut text);
                put_length(out, text.len());
                out.extend_from_slice(text.as_bytes());
            }
            value => put_value(out, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::fixture;

    #[test]
    fn casts_each_array() {
        let text = statement(fixture::shape(false));
        assert!(
            text.ends_with(
                "SELECT * FROM unnest($1::text[],$2::text[],$3::bigint[],$4::timestamptz[])"
            ),
            "{text}"
        );
    }

    #[test]
    fn slices_join_into_one_array() {
        let (mut one, mut two) = (Parameters::default(), Parameters::default());
        encode(fixture::shape(false), &[fixture::slice(0, 9)], &mut one);
        encode(fixture::shape(false), &[fixture::slice(0, 4), fixture::slice(4, 9)], &mut two);
        assert_eq!(one.count(), 4);
        assert_eq!(one.bytes, two.bytes);
    }
}
