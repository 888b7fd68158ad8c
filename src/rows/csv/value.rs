//! The text of a value, into PostgreSQL's binary format: the inverse of what writes text for COPY.
//!
//! Read are the forms in which a server prints values, and variants of them that mean the same
//! everywhere. What only a server could understand ("yesterday", a time without its zone) is no value.
//! What comes out is what the server would give back: rounded to the column's scale, padded to its
//! length.

use std::{borrow::Cow, net::IpAddr};

use super::{compound, json, number, time};
use crate::rows::{ColumnKind, TypeFacts, TypeShape};

/// What stands in place of a value that can be read, in words after "expected".
pub type Expected = Cow<'static, str>;
pub(super) type Result<T> = std::result::Result<T, Expected>;

/// Source: PostgreSQL's `inet.h`, `PGSQL_AF_INET` and `PGSQL_AF_INET6`.
const INET_V4: u8 = 2;
const INET_V6: u8 = 3;

/// Returns whether values of a type can be read.
pub(super) fn is_readable(facts: &TypeFacts) -> bool {
    match &facts.shape {
        TypeShape::Other => false,
        TypeShape::Array(part) | TypeShape::Range(part) => is_readable(part),
        _ => true,
    }
}

/// Appends the value that `field` says, in binary format.
///
/// # Errors
///
/// What was expected, in words. What was appended until then is to be taken off again.
pub fn put_value(facts: &TypeFacts, field: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match &facts.shape {
        TypeShape::Boolean => out.push(u8::from(boolean(field)?)),
        TypeShape::SmallInt => {
            let number = number::whole(field, i64::from(i16::MIN), i64::from(i16::MAX))?;
            out.extend_from_slice(&i16::try_from(number).expect("was checked").to_be_bytes());
        }
        TypeShape::Integer => {
            let number = number::whole(field, i64::from(i32::MIN), i64::from(i32::MAX))?;
            out.extend_from_slice(&i32::try_from(number).expect("was checked").to_be_bytes());
        }
        TypeShape::BigInt => {
            out.extend_from_slice(&number::whole(field, i64::MIN, i64::MAX)?.to_be_bytes());
        }
        TypeShape::Real => {
            let number = number::float(field, |it: &f32| it.abs() == 0.0, |it| it.is_infinite())?;
            let number = if number.is_nan() { f32::NAN } else { number };
            out.extend_from_slice(&number.to_be_bytes());
        }
        TypeShape::DoublePrecision => {
            let number = number::float(field, |it: &f64| it.abs() == 0.0, |it| it.is_infinite())?;
            let number = if number.is_nan() { f64::NAN } else { number };
            out.extend_from_slice(&number.to_be_bytes());
        }
        TypeShape::Numeric { precision, scale } => {
            number::put_numeric(field, (*precision, *scale), out)?;
        }
        TypeShape::Text { length_max } => put_text(field, *length_max, out)?,
        TypeShape::Char { length } => put_padded(field, *length, out)?,
        TypeShape::Json => {
            json::check(text_of(field)?)?;
            out.extend_from_slice(field);
        }
        TypeShape::Jsonb => {
            // A version number stands before the text. Source: PostgreSQL's `jsonb_send`.
            out.push(1);
            json::put_normal(text_of(field)?, out)?;
        }
        TypeShape::Bytea => put_bytea(field, out)?,
        TypeShape::Enum(labels) => {
            if !labels.iter().any(|label| label.as_bytes() == field) {
                return Err(format!("one of {}", labels.join(", ")).into());
            }
            out.extend_from_slice(field);
        }
        TypeShape::Uuid => put_uuid(field, out)?,
        TypeShape::Inet => put_inet(field, false, out)?,
        TypeShape::Cidr => put_inet(field, true, out)?,
        TypeShape::Macaddr { bytes } => put_macaddr(field, *bytes, out)?,
        TypeShape::Bits { length } => put_bits(field, *length, out)?,
        TypeShape::Range(bound) => compound::put_range(bound, text_of(field)?, out)?,
        TypeShape::Array(element) => compound::put_array(element, text_of(field)?, out)?,
        TypeShape::Other => unreachable!("such a column is refused before any line is read"),
        _ => put_time(facts, field, out)?,
    }
    Ok(())
}

fn put_time(facts: &TypeFacts, field: &[u8], out: &mut Vec<u8>) -> Result<()> {
    match facts.shape {
        TypeShape::Date => out.extend_from_slice(&time::date(field)?.to_be_bytes()),
        TypeShape::Time { step } => {
            out.extend_from_slice(&time::time(field, step)?.to_be_bytes());
        }
        TypeShape::TimeTz { step } => {
            let (micros, west) = time::zoned_time(field, step)?;
            out.extend_from_slice(&micros.to_be_bytes());
            out.extend_from_slice(&west.to_be_bytes());
        }
        TypeShape::Timestamp { step } => {
            let is_zoned = *facts.kind() == ColumnKind::TimestampTz;
            out.extend_from_slice(&time::timestamp(field, step, is_zoned)?.to_be_bytes());
        }
        TypeShape::Interval { step } => {
            put_interval(time::cut_interval(time::interval(field)?, step), out);
        }
        TypeShape::Months { step } => {
            let months = time::interval(field)?.months / step * step;
            put_interval(time::Interval { months, ..time::Interval::default() }, out);
        }
        _ => unreachable!("the other types are read elsewhere"),
    }
    Ok(())
}

fn put_interval(interval: time::Interval, out: &mut Vec<u8>) {
    out.extend_from_slice(&interval.micros.to_be_bytes());
    out.extend_from_slice(&interval.days.to_be_bytes());
    out.extend_from_slice(&interval.months.to_be_bytes());
}

pub(super) fn text_of(field: &[u8]) -> Result<&str> {
    std::str::from_utf8(field).map_err(|_| Cow::Borrowed("UTF-8"))
}

/// As PostgreSQL reads it: the words and their beginnings, in any case.
fn boolean(field: &[u8]) -> Result<bool> {
    const EXPECTED: Expected = Cow::Borrowed("true or false");
    let mut lower = [0; 5];
    let field = field.trim_ascii();
    let lower = lower.get_mut(..field.len()).ok_or(EXPECTED)?;
    lower.copy_from_slice(field);
    lower.make_ascii_lowercase();
    match &*lower {
        b"1" | b"on" => Ok(true),
        b"0" | b"of" | b"off" => Ok(false),
        b"" => Err(EXPECTED),
        it if b"true".starts_with(it) || b"yes".starts_with(it) => Ok(true),
        it if b"false".starts_with(it) || b"no".starts_with(it) => Ok(false),
        _ => Err(EXPECTED),
    }
}

fn checked_text(field: &[u8]) -> Result<&str> {
    if field.contains(&0) {
        return Err(Cow::Borrowed("a text without a zero byte"));
    }
    text_of(field)
}

fn put_text(field: &[u8], length_max: Option<u32>, out: &mut Vec<u8>) -> Result<()> {
    let text = checked_text(field)?;
    let most = length_max.unwrap_or(u32::MAX) as usize;
    // A text has no more characters than bytes.
    if field.len() <= most {
        out.extend_from_slice(field);
        return Ok(());
    }
    out.extend_from_slice(cut(text, most)?.as_bytes());
    Ok(())
}

/// Cuts off spaces beyond the length, as SQL asks; anything else there is too much.
fn cut(text: &str, most: usize) -> Result<&str> {
    let Some((end, _)) = text.char_indices().nth(most) else { return Ok(text) };
    if text[end..].bytes().all(|byte| byte == b' ') {
        return Ok(&text[..end]);
    }
    Err(format!("at most {most} characters").into())
}

fn put_padded(field: &[u8], length: u32, out: &mut Vec<u8>) -> Result<()> {
    let length = length as usize;
    let text = cut(checked_text(field)?, length)?;
    out.extend_from_slice(text.as_bytes());
    out.resize(out.len() + length - text.chars().count(), b' ');
    Ok(())
}

/// `\x` and hexadecimal digits, or the older form with backslashes.
fn put_bytea(field: &[u8], out: &mut Vec<u8>) -> Result<()> {
    const EXPECTED: Expected = Cow::Borrowed("bytes such as \\x00ff");
    if let Some(digits) = field.strip_prefix(b"\\x") {
        let (pairs, rest) = digits.as_chunks::<2>();
        for [high, low] in pairs {
            out.push(nibble(*high).ok_or(EXPECTED)? << 4 | nibble(*low).ok_or(EXPECTED)?);
        }
        return if rest.is_empty() { Ok(()) } else { Err(EXPECTED) };
    }
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match rest {
            [b'\\', after @ ..] => {
                out.push(b'\\');
                rest = after;
            }
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => return Err(EXPECTED),
        }
    }
    Ok(())
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn put_uuid(field: &[u8], out: &mut Vec<u8>) -> Result<()> {
    const EXPECTED: Expected = Cow::Borrowed("a UUID such as a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    let field = field.strip_prefix(b"{").and_then(|it| it.strip_suffix(b"}")).unwrap_or(field);
    let has_hyphens = field.len() == 36;
    if !has_hyphens && field.len() != 32 {
        return Err(EXPECTED);
    }
    let mut high = None;
    for (place, &byte) in field.iter().enumerate() {
        if has_hyphens && matches!(place, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return Err(EXPECTED);
            }
            continue;
        }
        let digit = nibble(byte).ok_or(EXPECTED)?;
        match high.take() {
            None => high = Some(digit),
            Some(high) => out.push(high << 4 | digit),
        }
    }
    Ok(())
}

/// Family, bits of the network, whether a `cidr`, length of the address, address.
fn put_inet(field: &[u8], is_cidr: bool, out: &mut Vec<u8>) -> Result<()> {
    const EXPECTED: Expected = Cow::Borrowed("an address such as 10.1.2.3, 10.1.2.0/24 or ::1");
    let text = text_of(field.trim_ascii())?;
    let (address, bits) = match text.split_once('/') {
        None => (text, None),
        Some((address, bits)) => (address, Some(number::whole(bits.as_bytes(), 0, 128)?)),
    };
    let address: IpAddr = address.parse().map_err(|_| EXPECTED)?;
    let (family, most, number) = match address {
        IpAddr::V4(address) => (INET_V4, 32, u128::from(address.to_bits()) << 96),
        IpAddr::V6(address) => (INET_V6, 128, address.to_bits()),
    };
    let bits = u8::try_from(bits.unwrap_or(i64::from(most))).expect("at most 128");
    if most < bits {
        return Err(EXPECTED);
    }
    if is_cidr && number.checked_shl(u32::from(bits)).unwrap_or(0) != 0 {
        return Err(Cow::Borrowed("a network, with no bit set to the right of its mask"));
    }
    let length = most / 8;
    out.extend_from_slice(&[family, bits, u8::from(is_cidr), length]);
    out.extend_from_slice(&number.to_be_bytes()[..usize::from(length)]);
    Ok(())
}

/// Digits with or without colons, hyphens or dots between them.
fn put_macaddr(field: &[u8], bytes: usize, out: &mut Vec<u8>) -> Result<()> {
    const EXPECTED: Expected = Cow::Borrowed("a MAC address such as 08:00:2b:01:02:03");
    let start = out.len();
    let mut high = None;
    for &byte in field.trim_ascii() {
        if matches!(byte, b':' | b'-' | b'.') && high.is_none() {
            continue;
        }
        let digit = nibble(byte).ok_or(EXPECTED)?;
        match high.take() {
            None => high = Some(digit),
            Some(high) => out.push(high << 4 | digit),
        }
    }
    // Source: PostgreSQL's `macaddr8_in`: a shorter address gets FF FE in its middle.
    if bytes == 8 && out.len() - start == 6 {
        out.splice(start + 3..start + 3, [0xff, 0xfe]);
    }
    if high.is_some() || out.len() - start != bytes { Err(EXPECTED) } else { Ok(()) }
}

/// How many, then the bits.
fn put_bits(field: &[u8], (least, most): (u32, u32), out: &mut Vec<u8>) -> Result<()> {
    let count = u32::try_from(field.len()).unwrap_or(u32::MAX);
    if !(least..=most).contains(&count) || field.iter().any(|it| !matches!(it, b'0' | b'1')) {
        return Err(match (least == most, most) {
            (true, _) => format!("{least} bits, each 0 or 1").into(),
            (false, u32::MAX) => Cow::Borrowed("bits, each 0 or 1"),
            (false, _) => format!("at most {most} bits, each 0 or 1").into(),
        });
    }
    out.extend_from_slice(&count.to_be_bytes());
    for eight in field.chunks(8) {
        let bits = eight.iter().fold(0, |bits, bit| bits << 1 | (bit - b'0'));
        out.push(bits << (8 - eight.len()));
    }
    Ok(())
}
