//! COPY in binary format: what the server need not parse.
//!
//! Source: PostgreSQL manual, COPY, "Binary Format".

use super::{Shape, put_value};
use crate::rows::RowSlice;

/// Signature, flags and length of the header extension.
pub const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// A field count of -1 ends the data.
pub const TRAILER: &[u8; 2] = &(-1_i16).to_be_bytes();

/// Returns the statement.
pub fn statement(shape: Shape<'_>) -> String {
    let table = super::quoted(shape.table);
    format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", shape.column_list())
}

/// Appends the rows of `slice`.
pub fn encode(slice: &RowSlice, out: &mut Vec<u8>) {
    let (columns, rows) = slice.columns();
    let field_count = i16::try_from(columns.len()).expect("a table has at most 1,600 columns");
    for row in rows {
        out.extend_from_slice(&field_count.to_be_bytes());
        for column in columns {
            put_value(out, column.value(row));
        }
    }
}

/// Reads one tuple, without header: its fields, or `None` if `bytes` is not a whole tuple.
pub fn decode<'a>(bytes: &'a [u8], fields: &mut Vec<Option<&'a [u8]>>) -> Option<()> {
    fields.clear();
    let (count, mut rest) = bytes.split_first_chunk::<2>()?;
    for _ in 0..i16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        rest = after;
        fields.push(match usize::try_from(length) {
            Ok(length) => {
                let (field, after) = rest.split_at_checked(length)?;
                rest = after;
                Some(field)
            }
            Err(_) => None,
        });
    }
    rest.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::fixture;

    #[test]
    fn a_tuple_is_read_back_as_written() {
        let mut bytes = Vec::new();
        encode(&fixture::slice(5, 6), &mut bytes);
        let mut fields = Vec::new();
        decode(&bytes, &mut fields).unwrap();
        assert_eq!(fields.len(), 4);
        assert_eq!(fields[0], Some(&b"user_5"[..]));
        assert_eq!(decode(&bytes[..bytes.len() - 1], &mut Vec::new()), None);
    }

    #[test]
    fn the_header_is_as_the_manual_has_it() {
        assert_eq!(&HEADER[..11], b"PGCOPY\n\xff\r\n\0");
        assert_eq!(HEADER[11..], [0; 8]);
    }
}
