//! The text of a value that is in binary format, as PostgreSQL's input functions read it.
//!
//! It need not be letter for letter what the server would print; it must mean the same value.

use std::{fmt::Write as _, net::IpAddr};

use crate::rows::{ColumnKind, calendar, numeric_text};

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
        ColumnKind::Numeric => numeric_text::put(bytes, out),
        ColumnKind::Text => out.push_str(utf8(bytes)),
        ColumnKind::Jsonb => out.push_str(utf8(&bytes[1..])),
        ColumnKind::Bytea => {
            out.push_str("\\x");
            put_hex(bytes, out);
        }
        ColumnKind::Date => match reader.i32() {
            days @ (i32::MIN | i32::MAX) => put_infinity(days == i32::MIN, out),
            days => put_date(i64::from(days), out),
        },
        ColumnKind::Time => put_time(reader.i64(), out),
        ColumnKind::TimeTz => {
            put_time(reader.i64(), out);
            put_zone(-reader.i32(), out);
        }
        ColumnKind::Timestamp | ColumnKind::TimestampTz => match reader.i64() {
            micros @ (i64::MIN | i64::MAX) => put_infinity(micros == i64::MIN, out),
            micros => {
                let zone = if *kind == ColumnKind::TimestampTz { "+00" } else { "" };
                put_timestamp(micros, zone, out);
            }
        },
        ColumnKind::Interval => {
            let (micros, days, months) = (reader.i64(), reader.i32(), reader.i32());
            let sign = if micros < 0 { "-" } else { "" };
            put_shown(format_args!("{months} months {days} days {sign}"), out);
            put_clock(micros.unsigned_abs(), out);
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

fn put_date(days: i64, out: &mut String) {
    let (year, month, day) = calendar::date_of_days(days);
    let (year, era) = if 0 < year { (year, "") } else { (1 - year, " BC") };
    put_shown(format_args!("{year:04}-{month:02}-{day:02}{era}"), out);
}

fn put_time(micros: i64, out: &mut String) {
    put_clock(u64::try_from(micros).expect("a time is not negative"), out);
}

fn put_clock(micros: u64, out: &mut String) {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    put_shown(format_args!("{hours:02}:{minutes:02}:{seconds:02}.{fraction:06}"), out);
}

fn put_timestamp(micros: i64, zone: &str, out: &mut String) {
    const MICROS_PER_DAY: i64 = 86_400 * 1_000_000;
    let (days, micros) = (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
    let (year, month, day) = calendar::date_of_days(days);
    let (year, era) = if 0 < year { (year, "") } else { (1 - year, " BC") };
    put_shown(format_args!("{year:04}-{month:02}-{day:02} "), out);
    put_time(micros, out);
    out.push_str(zone);
    out.push_str(era);
}

/// Source: PostgreSQL's `datatype/timestamp.h`: the first and the last number stand for infinity.
fn put_infinity(is_first: bool, out: &mut String) {
    out.push_str(if is_first { "-infinity" } else { "infinity" });
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
    let dimensions = 0..usize::try_from(dimensions).expect("a count");
    let counts: Vec<i32> = dimensions.map(|_| (reader.i32(), reader.i32()).0).collect();
    if counts.is_empty() {
        out.push_str("{}");
        return;
    }
    put_dimension(element, &counts, &mut reader, out);
}

fn put_dimension(element: &ColumnKind, counts: &[i32], reader: &mut Reader<'_>, out: &mut String) {
    let Some((count, inner)) = counts.split_first() else {
        match reader.value() {
            None => out.push_str("NULL"),
            Some(value) => {
                let mut text = String::new();
                put(element, value, &mut text);
                put_quoted(&text, out);
            }
        }
        return;
    };
    out.push('{');
    for index in 0..*count {
        if 0 < index {
            out.push(',');
        }
        put_dimension(element, inner, reader, out);
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
    use crate::rows::{SqlType, TypeFacts, TypeShape, put_value};

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

    fn facts(shape: TypeShape, kind: ColumnKind) -> TypeFacts {
        let sql_type = SqlType { kind, name: "it".to_owned(), oid: 23, array_oid: 0 };
        TypeFacts { sql_type, shape }
    }

    fn of_parts(part: TypeFacts) -> [TypeFacts; 2] {
        let kind = part.kind().clone();
        let array = ColumnKind::Array(Box::new(kind.clone()));
        let range = ColumnKind::Range(Box::new(kind));
        [
            facts(TypeShape::Array(Box::new(part.clone())), array),
            facts(TypeShape::Range(Box::new(part)), range),
        ]
    }

    /// What a CSV file says of a value, what that is, and that its text means the same.
    fn check(facts: &TypeFacts, cases: &[(&str, &str)]) {
        for (field, expected) in cases {
            let (mut bytes, mut again) = (Vec::new(), Vec::new());
            put_value(facts, field.as_bytes(), &mut bytes)
                .unwrap_or_else(|expected| panic!("{field}: expected {expected}"));
            let text = text(facts.kind(), &bytes);
            assert_eq!(text, *expected, "{field}");
            put_value(facts, text.as_bytes(), &mut again).unwrap();
            assert_eq!(again, bytes, "{field}");
        }
    }

    fn refused(facts: &TypeFacts, fields: &[&str]) {
        for field in fields {
            let mut bytes = Vec::new();
            assert!(put_value(facts, field.as_bytes(), &mut bytes).is_err(), "{field}: {bytes:?}");
        }
    }

    #[test]
    fn numbers_are_read_and_written() {
        let int2 = facts(TypeShape::SmallInt, ColumnKind::Int2);
        check(&int2, &[("-32768", "-32768"), (" +32767 ", "32767"), ("007", "7"), ("-0", "0")]);
        refused(&int2, &["32768", "", "-", "1.0", "0x1f", "1_000", "one", "1 2"]);
        let int8 = facts(TypeShape::BigInt, ColumnKind::Int8);
        let extremes = ["-9223372036854775808", "9223372036854775807"];
        check(&int8, &extremes.map(|it| (it, it)));
        refused(&int8, &["-9223372036854775809", "9223372036854775808"]);
        let single = facts(TypeShape::Real, ColumnKind::Float4);
        check(&single, &[("1.5e3", "1500"), ("-0", "-0"), ("nan", "NaN"), ("-Infinity", "-inf")]);
        refused(&single, &["1e39", "1e-60", "1,5", "1e", "yes"]);
        let double = facts(TypeShape::DoublePrecision, ColumnKind::Float8);
        check(&double, &[("0.1", "0.1"), (".5", "0.5"), ("0e-999", "0")]);
        refused(&double, &["1e309", "1e-400"]);
        let numeric =
            |precision, scale| facts(TypeShape::Numeric { precision, scale }, ColumnKind::Numeric);
        let digits = "123456789012345678901234567890123456789012345678901234567890123456789.5";
        check(
            &numeric(None, 0),
            &[
                ("0", "0"),
                ("-0.00", "0.00"),
                ("000120000", "120000"),
                ("-12345.6700", "-12345.6700"),
                (".0005", "0.0005"),
                ("1e5", "100000"),
                ("1.50e1", "15.0"),
                ("1e-7", "0.0000001"),
                (digits, digits),
                ("NaN", "NaN"),
                ("-inf", "-Infinity"),
            ],
        );
        check(
            &numeric(Some(5), 2),
            &[("1.005", "1.01"), ("999.994", "999.99"), ("-0.004", "0.00"), ("9.995", "10.00")],
        );
        check(&numeric(Some(3), -2), &[("149", "100"), ("-150", "-200"), ("99949", "99900")]);
        refused(&numeric(Some(5), 2), &["999.995", "1000", "Infinity", "1.2.3", "--1", ".", "12a"]);
    }

    #[test]
    fn times_are_read_and_written() {
        let date = facts(TypeShape::Date, ColumnKind::Date);
        let dates = ["4714-11-24 BC", "0001-01-01 BC", "9999-12-31", "5874897-12-31", "-infinity"];
        check(&date, &dates.map(|it| (it, it)));
        refused(&date, &["yesterday", "2023-02-29", "4714-11-23 BC", "5874898-01-01", "1/2/2024"]);
        refused(&date, &["0000-01-01", "2024-01-01 x", "", "24-01-01"]);
        let time = facts(TypeShape::Time { step: 1_000 }, ColumnKind::Time);
        check(
            &time,
            &[
                ("24:00:00", "24:00:00.000000"),
                ("1:02", "01:02:00.000000"),
                ("23:59:59.9995", "24:00:00.000000"),
                // Rounded to microseconds first, as the server does.
                ("00:00:00.0004999", "00:00:00.001000"),
                ("00:00:00.000499", "00:00:00.000000"),
            ],
        );
        refused(&time, &["24:00:01", "23:60", "now", "12", "12:00:00+00"]);
        let zoned = facts(TypeShape::TimeTz { step: 1 }, ColumnKind::TimeTz);
        check(
            &zoned,
            &[
                ("01:00:00+05:30", "01:00:00.000000+05:30:00"),
                ("1:00Z", "01:00:00.000000+00:00:00"),
            ],
        );
        refused(&zoned, &["01:00:00", "01:00:00+16", "01:00:00 CET"]);
        let moment = facts(TypeShape::Timestamp { step: 1 }, ColumnKind::TimestampTz);
        check(
            &moment,
            &[
                ("2024-01-31T23:59:59.123456Z", "2024-01-31 23:59:59.123456+00"),
                ("2024-01-31 23:59:59-0130", "2024-02-01 01:29:59.000000+00"),
                ("4714-11-24 00:00:00+00 BC", "4714-11-24 00:00:00.000000+00 BC"),
                ("294276-12-31 23:59:59.999999+00", "294276-12-31 23:59:59.999999+00"),
                ("infinity", "infinity"),
            ],
        );
        refused(&moment, &["2024-01-31 23:59:59", "2024-01-31", "294277-01-01 00:00:00+00"]);
        let local = facts(TypeShape::Timestamp { step: 10_000 }, ColumnKind::Timestamp);
        check(
            &local,
            &[
                ("2024-01-31", "2024-01-31 00:00:00.000000"),
                ("1999-12-31 23:59:59.985", "1999-12-31 23:59:59.980000"),
                ("1999-12-31 23:59:59.995001", "2000-01-01 00:00:00.000000"),
            ],
        );
        let interval = facts(TypeShape::Interval { step: 1 }, ColumnKind::Interval);
        check(
            &interval,
            &[
                ("1 year 2 mons -3 days +04:05:06.7", "14 months -3 days 04:05:06.700000"),
                ("-00:00:01.5", "0 months 0 days -00:00:01.500000"),
                ("2562047788:00:54.775807", "0 months 0 days 2562047788:00:54.775807"),
                ("1 week 2 hours 90 secs", "0 months 7 days 02:01:30.000000"),
            ],
        );
        refused(&interval, &["", "soon", "1", "3 fortnights", "1.5 days", "@ 1 day ago"]);
        let months = facts(TypeShape::Months { step: 12 }, ColumnKind::Interval);
        check(&months, &[("2 years 7 mons 3 days", "24 months 0 days 00:00:00.000000")]);
    }

    #[test]
    fn other_types_are_read_and_written() {
        let flag = facts(TypeShape::Boolean, ColumnKind::Bool);
        check(&flag, &[("TRUE", "t"), ("y", "t"), ("1", "t"), ("of", "f"), ("Fal", "f")]);
        refused(&flag, &["o", "2", "", "truest", "nope"]);
        let short = facts(TypeShape::Text { length_max: Some(3) }, ColumnKind::Text);
        check(&short, &[("äöü", "äöü"), ("abc   ", "abc"), ("", "")]);
        refused(&short, &["abcd", "a\0"]);
        let fixed = facts(TypeShape::Char { length: 4 }, ColumnKind::Text);
        check(&fixed, &[("ä", "ä   "), ("abcd  ", "abcd")]);
        let bytes = facts(TypeShape::Bytea, ColumnKind::Bytea);
        check(&bytes, &[("\\x00fF", "\\x00ff"), ("a\\\\\\377", "\\x615cff"), ("", "\\x")]);
        refused(&bytes, &["\\x0", "\\xzz", "\\9"]);
        let uuid = facts(TypeShape::Uuid, ColumnKind::Uuid);
        let digits = "a0eebc999c0b4ef8bb6d6bb9bd380a11";
        check(&uuid, &[("{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}", digits), (digits, digits)]);
        refused(&uuid, &["a0eebc99-9c0b4ef8-bb6d-6bb9bd380a11-", "a0ee"]);
        let inet = facts(TypeShape::Inet, ColumnKind::Inet);
        check(&inet, &[("10.1.2.3", "10.1.2.3/32"), ("fe80::1/64", "fe80::1/64")]);
        refused(&inet, &["10.1", "10.1.2.3/33", "host"]);
        let cidr = facts(TypeShape::Cidr, ColumnKind::Inet);
        check(&cidr, &[("10.1.0.0/16", "10.1.0.0/16"), ("0.0.0.0/0", "0.0.0.0/0")]);
        refused(&cidr, &["10.1.2.3/16"]);
        let mac = facts(TypeShape::Macaddr { bytes: 8 }, ColumnKind::Macaddr);
        check(&mac, &[("0800.2b01.0203", "08:00:2b:ff:fe:01:02:03")]);
        refused(&mac, &["08:00:2b:01:02", "0:8:0"]);
        let bits = facts(TypeShape::Bits { length: (10, 10) }, ColumnKind::Bits);
        check(&bits, &[("1010000001", "1010000001")]);
        refused(&bits, &["101", "1010000002"]);
        let mood = facts(TypeShape::Enum(vec!["sad".into(), "ok".into()]), ColumnKind::Text);
        check(&mood, &[("ok", "ok")]);
        refused(&mood, &["OK", ""]);
        let document = facts(TypeShape::Jsonb, ColumnKind::Jsonb);
        check(
            &document,
            &[
                (
                    "{\"bb\":[1,2.50,-0,1E2] ,\"a\":{}, \"bb\":null,\"c\":\"\\u00e4\\/\\u0001\"}",
                    "{\"a\": {}, \"c\": \"ä/\\u0001\", \"bb\": null}",
                ),
                (" [1,2.50,-0,1E2,true] ", "[1, 2.50, 0, 100, true]"),
            ],
        );
        refused(&document, &["{", "{a:1}", "\"\\u0000\"", ""]);
        let json = facts(TypeShape::Json, ColumnKind::Text);
        check(&json, &[("{\"b\" : 1}", "{\"b\" : 1}")]);
        refused(&json, &["{b: 1}", "nul"]);
    }

    #[test]
    fn what_has_parts_is_read_and_written() {
        let [array, range] = of_parts(facts(TypeShape::Integer, ColumnKind::Int4));
        check(
            &array,
            &[
                ("{1, 2,NULL}", "{\"1\",\"2\",NULL}"),
                ("{}", "{}"),
                ("{{1,2},{3,4},{5,6}}", "{{\"1\",\"2\"},{\"3\",\"4\"},{\"5\",\"6\"}}"),
            ],
        );
        refused(
            &array,
            &["{1,2", "1,2", "{1,}", "{{1},{2,3}}", "{{1},2}", "{1}x", "{a}", "[0:1]={1,2}"],
        );
        check(
            &range,
            &[
                ("[1,9]", "[\"1\",\"10\")"),
                ("(0,)", "[\"1\",)"),
                ("(1,2)", "empty"),
                ("(,5]", "(,\"6\")"),
                ("Empty", "empty"),
            ],
        );
        refused(&range, &["[2,1]", "[1,2", "1,2", "[1,2147483647]", "[a,b]", "[1,2]x"]);
        let [texts, _] = of_parts(TypeFacts::text());
        check(
            &texts,
            &[("{a b,\"c,\\\"d\\\\\",\"NULL\",\"\"}", "{\"a b\",\"c,\\\"d\\\\\",\"NULL\",\"\"}")],
        );
        let numeric = TypeShape::Numeric { precision: None, scale: 0 };
        let [_, numbers] = of_parts(facts(numeric, ColumnKind::Numeric));
        check(
            &numbers,
            &[("[-1.5,-1]", "[\"-1.5\",\"-1\"]"), ("[10,100.5)", "[\"10\",\"100.5\")")],
        );
        check(&numbers, &[("[2.0,2.00]", "[\"2.0\",\"2.00\"]"), ("(2,2]", "empty")]);
        refused(&numbers, &["[-1,-1.5]", "[1,0.5]", "[100,20)"]);
        let day = facts(TypeShape::Date, ColumnKind::Date);
        let [_, days] = of_parts(day);
        check(&days, &[("[2024-01-31,2024-02-29]", "[\"2024-01-31\",\"2024-03-01\")")]);
    }
}
