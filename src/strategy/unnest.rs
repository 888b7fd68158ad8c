//! An array for each column, unnested by the server: as many parameters as columns, at any size.

use super::{Parameters, Shape, put_length};
use crate::rows::{Column, RowSlice, Value};

/// Returns the statement; it is the same for every number of rows.
pub fn statement(shape: Shape<'_>) -> String {
    let arrays: Vec<String> = (1..)
        .zip(shape.columns)
        .map(|(number, column)| format!("${number}::{}[]", column.kind.sql_type()))
        .collect();
    format!(
        "{} SELECT * FROM unnest({}){}",
        shape.insert_into(),
        arrays.join(","),
        shape.returning_clause()
    )
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
        for word in [1, 0] {
            out.bytes.extend_from_slice(&i32::to_be_bytes(word));
        }
        out.bytes.extend_from_slice(&column.kind.oid().to_be_bytes());
        for word in [rows, 1] {
            out.bytes.extend_from_slice(&word.to_be_bytes());
        }
        for slice in slices {
            let (columns, range) = slice.columns();
            put_elements(&columns[index], range, &mut out.bytes);
        }
        out.ends.push(out.bytes.len());
    }
}

fn put_elements(column: &Column, rows: std::ops::Range<usize>, out: &mut Vec<u8>) {
    for row in rows {
        match column.value(row) {
            Value::Int8(value) | Value::TimestampTz(value) => {
                put_length(out, 8);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Value::Text(text) => {
                put_length(out, text.len());
                out.extend_from_slice(text);
            }
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
