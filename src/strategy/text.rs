//! The text of a value that is in binary format, as PostgreSQL's input functions read it.
//!
//! It need not be letter for letter what the server would print; it must mean the same value.

use std::{fmt::Write as _, net::IpAddr};

use jiff::{ToSpan as _, civil};

use crate::rows::ColumnKind;

/// Digits of a group of `numeric`. Source: PostgreSQL's `numeric.c`, `DEC_DIGITS`.
const GROUP_DIGITS: usize = 4;
const NUMERIC_NEGATIVE: i16 = 0x4000;
/// Source: PostgreSQL's `inet.h`, `PGSQL_AF_INET6`.
const INET_V6: u8 = 3;
/// Source: PostgreSQL's `rangetypes.h`.
const RANGE_EMPTY: u8 = 0x01;
const RANGE_LOWER_INCLUSIVE: u8 = 0x02;
const RANGE_UPPER_INCLUSIVE: u8 = 0x04;
const RANGE_LOWER_INFINITE: u8 = 0x08;
const RANGE_UPPER_INFINITE: u8 = 0x10;

/// Appends the text of a value of `kind`.
///
/// # Panics
///
/// If `bytes` is no value of `kind`: rows are made by this program.
pub(super) fn put(kind: &ColumnKind, bytes: &[u8], out: &mut String) {
    let mut reader = Reader(bytes);
    match kind {
        ColumnKind::Bool => out.push(if bytes == [1] { 't' } else { 'f' }),
        ColumnKind::Int2 => put_shown(reader.i16(), out),
        ColumnKind::Int4 => put_shown(reader.i32(), out),
        ColumnKind::Int8 => put_shown(reader.i64(), out),
        ColumnKind::Float4 => put_shown(f32::from_be_bytes(reader.array()), out),
        ColumnKind::Float8 => put_shown(f64::from_be_bytes(reader.array()), out),
        ColumnKind::Numeric => put_numeric(reader, out),
        ColumnKind::Text => out.push_str(utf8(bytes)),
        ColumnKind::Jsonb => out.push_str(utf8(&bytes[1..])),
        ColumnKind::Bytea => {
            out.push_str("\\x");
            put_hex(bytes, out);
        }
        ColumnKind::Date => put_date(i64::from(reader.i32()), out),
        ColumnKind::Time => put_time(reader.i64(), out),
        ColumnKind::TimeTz => {
            put_time(reader.i64(), out);
            put_zone(-reader.i32(), out);
        }
        ColumnKind::Timestamp => put_timestamp(reader.i64(), out),
        ColumnKind::TimestampTz => {
            put_timestamp(reader.i64(), out);
            out.push_str("+00");
        }
        ColumnKind::Interval => {
            let (micros, days, months) = (reader.i64(), reader.i32(), reader.i32());
            let sign = if micros < 0 { "-" } else { "" };
            put_shown(format_args!("{months} months {days} days {sign}"), out);
            put_time(micros.abs(), out);
        }
        ColumnKind::Uuid => put_hex(bytes, out),
        ColumnKind::Inet => put_inet(bytes, out),
        ColumnKind::Macaddr => {
            for (index, byte) in bytes.iter().enumerate() {
                let colon = if index == 0 { "" } else { ":" };
                put_shown(format_args!("{colon}{byte:02x}"), out);
            }
        }
        ColumnKind::Bits => {
            let count = usize::try_from(reader.i32()).expect("a count");
            let bit = |index: usize| reader.0[index / 8] >> (7 - index % 8) & 1;
            out.extend((0..count).map(|index| if bit(index) == 1 { '1' } else { '0' }));
        }
        ColumnKind::Range(bound) => put_range(bound, reader, out),
        ColumnKind::Array(element) => put_array(element, reader, out),
        ColumnKind::Listed(values) => {
            let (_, text) = values.iter().find(|(it, _)| it == bytes).expect("a value of the list");
            out.push_str(text);
        }
    }
}

fn put_shown(value: impl std::fmt::Display, out: &mut String) {
    write!(out, "{value}").expect("writes to memory");
}

fn put_hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        put_shown(format_args!("{byte:02x}"), out);
    }
}

/// Groups of four digits from the weight down, then as many decimals as the scale says.
fn put_numeric(mut reader: Reader<'_>, out: &mut String) {
    let count = reader.i16();
    let (weight, sign, scale) = (reader.i16(), reader.i16(), reader.i16());
    let groups: Vec<i16> = (0..count).map(|_| reader.i16()).collect();
    let group = |place: i16| {
        let index = usize::try_from(weight - place).ok();
        index.and_then(|index| groups.get(index)).copied().unwrap_or(0)
    };
    if sign == NUMERIC_NEGATIVE {
        out.push('-');
    }
    let start = out.len();
    (0..=weight.max(0)).rev().for_each(|place| put_shown(format_args!("{:04}", group(place)), out));
    let zeros = out[start..].len() - out[start..].trim_start_matches('0').len();
    let zeros = zeros.min(out.len() - start - 1);
    out.replace_range(start..start + zeros, "");
    let scale = usize::try_from(scale).expect("a scale as sent is not negative");
    if 0 < scale {
        out.push('.');
        let end = out.len() + scale;
        let places = i16::try_from(scale.div_ceil(GROUP_DIGITS)).expect("below 16,384");
        (1..=places).for_each(|place| put_shown(format_args!("{:04}", group(-place)), out));
        out.truncate(end);
    }
}

fn put_date(days: i64, out: &mut String) {
    let date = civil::date(2000, 1, 1).checked_add(days.days());
    put_shown(date.expect("rows have dates of the years 1 to 9999"), out);
}

fn put_time(micros: i64, out: &mut String) {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    put_shown(format_args!("{hours:02}:{minutes:02}:{seconds:02}.{fraction:06}"), out);
}

fn put_timestamp(micros: i64, out: &mut String) {
    const MICROS_PER_DAY: i64 = 86_400 * 1_000_000;
    put_date(micros.div_euclid(MICROS_PER_DAY), out);
    out.push(' ');
    put_time(micros.rem_euclid(MICROS_PER_DAY), out);
}

fn put_zone(seconds_east: i32, out: &mut String) {
    let sign = if seconds_east < 0 { '-' } else { '+' };
    let seconds = seconds_east.abs();
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    put_shown(format_args!("{sign}{hours:02}:{minutes:02}:{seconds:02}"), out);
}

/// Family, bits of the network, whether a `cidr`, length of the address, address.
fn put_inet(bytes: &[u8], out: &mut String) {
    let (family, bits, address) = (bytes[0], bytes[1], &bytes[4..]);
    let address = if family == INET_V6 {
        IpAddr::from(<[u8; 16]>::try_from(address).expect("16 bytes"))
    } else {
        IpAddr::from(<[u8; 4]>::try_from(address).expect("4 bytes"))
    };
    put_shown(format_args!("{address}/{bits}"), out);
}

fn put_range(bound: &ColumnKind, mut reader: Reader<'_>, out: &mut String) {
    let [flags] = reader.array();
    if flags & RANGE_EMPTY != 0 {
        out.push_str("empty");
        return;
    }
    out.push(if flags & RANGE_LOWER_INCLUSIVE != 0 { '[' } else { '(' });
    for (infinite, end) in [(RANGE_LOWER_INFINITE, ','), (RANGE_UPPER_INFINITE, ']')] {
        if flags & infinite == 0 {
            let mut text = String::new();
            put(bound, reader.value().expect("a bound is not NULL"), &mut text);
            put_quoted(&text, out);
        }
        let is_open = end == ']' && flags & RANGE_UPPER_INCLUSIVE == 0;
        out.push(if is_open { ')' } else { end });
    }
}

/// Dimensions, whether there are NULLs, element type; each dimension; each element.
fn put_array(element: &ColumnKind, mut reader: Reader<'_>, out: &mut String) {
    let (dimensions, _, _) = (reader.i32(), reader.i32(), reader.i32());
    assert!(dimensions <= 1, "rows have arrays of one dimension");
    let count = if dimensions == 0 { 0 } else { reader.i32() };
    if dimensions == 1 {
        reader.i32();
    }
    out.push('{');
    for index in 0..count {
        if 0 < index {
            out.push(',');
        }
        match reader.value() {
            None => out.push_str("NULL"),
            Some(value) => {
                let mut text = String::new();
                put(element, value, &mut text);
                put_quoted(&text, out);
            }
        }
    }
    out.push('}');
}

fn put_quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("rows hold UTF-8")
}

/// Takes a value in binary format apart.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (first, rest) = self.0.split_first_chunk().expect("a value of its kind");
        self.0 = rest;
        *first
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.array())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.array())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.array())
    }

    /// A value behind its length.
    fn value(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.i32()).ok()?;
        let (value, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: &ColumnKind, bytes: &[u8]) -> String {
        let mut text = String::new();
        put(kind, bytes, &mut text);
        text
    }

    fn words(words: &[i16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn numerics_have_all_their_digits() {
        // Count, weight, sign, scale, then groups of four digits.
        for (numeric, expected) in [
            (&[0, 0, 0, 0][..], "0"),
            (&[0, 0, 0, 2], "0.00"),
            (&[1, 0, 0, 0, 7], "7"),
            (&[1, 1, 0, 0, 12], "120000"),
            (&[3, 1, 0, 2, 1, 2345, 6700], "12345.67"),
            (&[1, -1, 0x4000, 3, 50], "-0.005"),
            (&[1, -2, 0, 8, 1], "0.00000001"),
        ] {
            assert_eq!(text(&ColumnKind::Numeric, &words(numeric)), expected, "{numeric:?}");
        }
    }

    #[test]
    fn times_read_as_postgresql_does() {
        let micros = |text: i64| text.to_be_bytes();
        assert_eq!(text(&ColumnKind::Date, &(-1_i32).to_be_bytes()), "1999-12-31");
        assert_eq!(text(&ColumnKind::Timestamp, &micros(-1)), "1999-12-31 23:59:59.999999");
        assert_eq!(text(&ColumnKind::TimestampTz, &micros(0)), "2000-01-01 00:00:00.000000+00");
        // PostgreSQL keeps the zone in seconds west.
        let zoned = [&micros(3_600_000_000)[..], &(-19_800_i32).to_be_bytes()].concat();
        assert_eq!(text(&ColumnKind::TimeTz, &zoned), "01:00:00.000000+05:30:00");
        let interval = [&micros(5)[..], &[0, 0, 0, 2], &[0, 0, 0, 1]].concat();
        assert_eq!(text(&ColumnKind::Interval, &interval), "1 months 2 days 00:00:00.000005");
    }

    #[test]
    fn what_has_parts_is_put_together() {
        let int = |value: i32| [&4_i32.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let null = (-1_i32).to_be_bytes().to_vec();
        let header = |count: i32| [1, 1, 23, count, 1].map(i32::to_be_bytes).concat();
        let array = [header(2), int(7), null].concat();
        let of_int = ColumnKind::Array(Box::new(ColumnKind::Int4));
        assert_eq!(text(&of_int, &array), "{\"7\",NULL}");
        assert_eq!(text(&of_int, &[0, 0, 23].map(i32::to_be_bytes).concat()), "{}");
        let range = [vec![RANGE_LOWER_INCLUSIVE], int(1), int(9)].concat();
        let of_int = ColumnKind::Range(Box::new(ColumnKind::Int4));
        assert_eq!(text(&of_int, &range), "[\"1\",\"9\")");
        let open = [vec![RANGE_LOWER_INFINITE | RANGE_UPPER_INCLUSIVE], int(9)].concat();
        assert_eq!(text(&of_int, &open), "(,\"9\"]");
        assert_eq!(text(&ColumnKind::Inet, &[2, 24, 1, 4, 10, 0, 0, 0]), "10.0.0.0/24");
        assert_eq!(text(&ColumnKind::Bits, &[0, 0, 0, 10, 0b1010_0000, 0b0100_0000]), "1010000001");
        assert_eq!(text(&ColumnKind::Bytea, &[0, 255]), "\\x00ff");
    }
}
