//! COPY in text format: a line a row, a tab between columns.
//!
//! Source: PostgreSQL manual, COPY, "Text Format".

use jiff::{Timestamp, tz::TimeZone};

use super::{Shape, text};
use crate::rows::{RowSlice, Value};

/// PostgreSQL's epoch, 2000-01-01 00:00 UTC, in seconds since 1970.
const EPOCH_SECONDS: i64 = 946_684_800;
const MICROS_PER_DAY: i64 = 86_400 * 1_000_000;

/// Returns the statement.
pub fn statement(shape: Shape<'_>) -> String {
    format!("COPY {} ({}) FROM STDIN", super::quoted(shape.table), shape.column_list())
}

/// Appends rows as lines. It keeps the date last written: the calendar is asked once a day of
/// `created_at`, not once a row.
#[derive(Debug, Default)]
pub struct Encoder {
    day: Option<i64>,
    date: String,
    text: String,
}

impl Encoder {
    /// Appends the rows of `slice`.
    pub fn encode(&mut self, slice: &RowSlice, out: &mut Vec<u8>) {
        let (columns, rows) = slice.columns();
        let last = columns.len() - 1;
        for row in rows {
            for (index, column) in columns.iter().enumerate() {
                match column.value(row) {
                    Value::Int8(value) => {
                        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
                    }
                    Value::Text(text) => put_text(text, out),
                    Value::TimestampTz(micros) => self.put_timestamp(micros, out),
                    Value::Binary(kind, bytes) => {
                        self.text.clear();
                        text::put(kind, bytes, &mut self.text);
                        put_text(self.text.as_bytes(), out);
                    }
                    Value::Null => out.extend_from_slice(b"\\N"),
                }
                out.push(if index == last { b'\n' } else { b'\t' });
            }
        }
    }

    fn put_timestamp(&mut self, micros: i64, out: &mut Vec<u8>) {
        let day = micros.div_euclid(MICROS_PER_DAY);
        if self.day != Some(day) {
            let seconds = day * 86_400 + EPOCH_SECONDS;
            let midnight = Timestamp::from_second(seconds).expect("a date that PostgreSQL has");
            self.date = midnight.to_zoned(TimeZone::UTC).date().to_string();
            self.day = Some(day);
        }
        out.extend_from_slice(self.date.as_bytes());
        let micros = micros.rem_euclid(MICROS_PER_DAY);
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let mut time = *b" 00:00:00.000000+00";
        put_digits(&mut time[1..3], seconds / 3_600);
        put_digits(&mut time[4..6], seconds / 60 % 60);
        put_digits(&mut time[7..9], seconds % 60);
        put_digits(&mut time[10..16], fraction);
        out.extend_from_slice(&time);
    }
}

fn put_digits(digits: &mut [u8], mut value: i64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).expect("one digit");
        value /= 10;
    }
}

fn put_text(text: &[u8], out: &mut Vec<u8>) {
    if !text.iter().any(|byte| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r')) {
        out.extend_from_slice(text);
        return;
    }
    for &byte in text {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::fixture;

    #[test]
    fn a_line_reads_as_psql_would_write_it() {
        let mut bytes = Vec::new();
        Encoder::default().encode(&fixture::slice(86_399, 86_401), &mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let fields: Vec<&str> = text.lines().flat_map(|line| line.split('\t')).collect();
        assert_eq!(fields.len(), 8);
        assert_eq!(fields[1], "user_86399@example.com");
        assert!(fields[3].starts_with("2025-01-01 23:59:59."), "{}", fields[3]);
        assert!(fields[7].starts_with("2025-01-02 00:00:00."), "{}", fields[7]);
        assert!(fields[7].ends_with("+00"));
    }

    #[test]
    fn separators_in_text_are_escaped() {
        let mut bytes = Vec::new();
        put_text(b"a\tb\\c\nd\re", &mut bytes);
        assert_eq!(bytes, b"a\\tb\\\\c\\nd\\re");
    }
}
