//! Arrays and ranges as text, into PostgreSQL's binary format.

use std::{borrow::Cow, cmp::Ordering};

use super::value::{Expected, Result, put_value};
use crate::rows::{TypeFacts, TypeShape};

/// Dimensions of an array. Source: PostgreSQL's `array.h`, `MAXDIM`.
const DIMENSIONS_MAX: usize = 6;
/// Source: PostgreSQL's `rangetypes.h`.
const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

/// Appends dimensions, whether there are NULLs, element type; each dimension; each element.
pub(super) fn put_array(element: &TypeFacts, text: &str, out: &mut Vec<u8>) -> Result<()> {
    let mut array = Array { element, text, counts: Vec::new(), has_null: false, out: Vec::new() };
    array.dimension(0)?;
    if !array.text.trim_ascii().is_empty() {
        return Err(EXPECTED_ARRAY);
    }
    if array.counts.contains(&0) {
        array.counts.clear();
    }
    let word = |it: usize| u32::try_from(it).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&word(array.counts.len()));
    out.extend_from_slice(&word(usize::from(array.has_null)));
    out.extend_from_slice(&element.sql_type.oid.to_be_bytes());
    for count in array.counts {
        out.extend_from_slice(&word(count));
        out.extend_from_slice(&word(1));
    }
    out.extend_from_slice(&array.out);
    Ok(())
}

const EXPECTED_ARRAY: Expected = Cow::Borrowed("an array such as {1,2,NULL}");

/// An array that is read.
struct Array<'a> {
    element: &'a TypeFacts,
    /// What is left to read.
    text: &'a str,
    /// Elements of each dimension, the outermost first.
    counts: Vec<usize>,
    has_null: bool,
    /// Elements read.
    out: Vec<u8>,
}

impl Array<'_> {
    fn dimension(&mut self, depth: usize) -> Result<()> {
        self.text = self.text.trim_ascii_start();
        self.take('{')?;
        if DIMENSIONS_MAX <= depth {
            return Err(EXPECTED_ARRAY);
        }
        let is_first = self.counts.len() == depth;
        if is_first {
            self.counts.push(0);
        }
        let mut count = 0;
        let mut is_nested = false;
        loop {
            self.text = self.text.trim_ascii_start();
            if count == 0 && self.text.starts_with('}') {
                break;
            }
            let opens = self.text.starts_with('{');
            if 0 < count && opens != is_nested {
                return Err(EXPECTED_ARRAY);
            }
            is_nested = opens;
            if opens {
                self.dimension(depth + 1)?;
            } else {
                self.element()?;
            }
            count += 1;
            self.text = self.text.trim_ascii_start();
            if self.take(',').is_err() {
                break;
            }
        }
        self.take('}')?;
        // All parts of a dimension are alike.
        let is_deepest = depth + 1 == self.counts.len();
        if is_first {
            self.counts[depth] = count;
        }
        let is_alike = self.counts[depth] == count && (is_nested || is_deepest || count == 0);
        if is_alike { Ok(()) } else { Err(EXPECTED_ARRAY) }
    }

    fn take(&mut self, character: char) -> Result<()> {
        self.text = self.text.strip_prefix(character).ok_or(EXPECTED_ARRAY)?;
        Ok(())
    }

    fn element(&mut self) -> Result<()> {
        let (value, is_quoted, rest) =
            part(self.text, &[',', '}', '{', '"']).ok_or(EXPECTED_ARRAY)?;
        self.text = rest;
        let start = self.out.len();
        if !is_quoted && value.eq_ignore_ascii_case("null") {
            self.has_null = true;
            self.out.extend_from_slice(&(-1_i32).to_be_bytes());
            return Ok(());
        }
        if !is_quoted && value.is_empty() {
            return Err(EXPECTED_ARRAY);
        }
        self.out.extend_from_slice(&[0; 4]);
        put_value(self.element, value.as_bytes(), &mut self.out)
            .map_err(|expected| format!("an array, each element {expected}"))?;
        close(&mut self.out, start);
        Ok(())
    }
}

/// Puts the length of a value into the four bytes before it.
fn close(out: &mut [u8], start: usize) {
    let length = u32::try_from(out.len() - start - 4).expect("a field is below 1 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Reads a value up to one of `ends`: its text, whether any of it was quoted, and the rest. Outside of
/// quotes, spaces at both ends do not count.
fn part<'a>(text: &'a str, ends: &[char]) -> Option<(Cow<'a, str>, bool, &'a str)> {
    let text = text.trim_ascii_start();
    if !text.starts_with('"') {
        let end = text.find(ends).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        let value = value.trim_ascii_end();
        if !value.contains('\\') {
            return Some((Cow::Borrowed(value), false, rest));
        }
    }
    let mut value = String::new();
    let (mut is_quoted, mut is_inside) = (false, false);
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => {
                value.push(characters.next()?.1);
                is_quoted = true;
            }
            // Within a range, a quote is doubled, too.
            '"' if is_inside && characters.peek().is_some_and(|(_, next)| *next == '"') => {
                value.push('"');
                characters.next();
            }
            '"' => {
                is_inside = !is_inside;
                is_quoted = true;
            }
            _ if !is_inside && ends.contains(&character) => {
                return Some((Cow::Owned(value), is_quoted, &text[at..]));
            }
            _ if !is_inside && character.is_ascii_whitespace() => (),
            _ => value.push(character),
        }
    }
    (!is_inside).then_some((Cow::Owned(value), is_quoted, ""))
}

const EXPECTED_RANGE: Expected = Cow::Borrowed("a range such as [1,10), (,5] or empty");

/// Appends flags and bounds, in the form in which the server keeps the range.
pub(super) fn put_range(bound: &TypeFacts, text: &str, out: &mut Vec<u8>) -> Result<()> {
    let text = text.trim_ascii();
    if text.eq_ignore_ascii_case("empty") {
        out.push(EMPTY);
        return Ok(());
    }
    let (lower_inclusive, rest) = match text.as_bytes().first() {
        Some(b'[') => (true, &text[1..]),
        Some(b'(') => (false, &text[1..]),
        _ => return Err(EXPECTED_RANGE),
    };
    let (lower, lower_quoted, rest) = part(rest, &[',']).ok_or(EXPECTED_RANGE)?;
    let rest = rest.strip_prefix(',').ok_or(EXPECTED_RANGE)?;
    let (upper, upper_quoted, rest) = part(rest, &[']', ')']).ok_or(EXPECTED_RANGE)?;
    let upper_inclusive = match rest {
        "]" => true,
        ")" => false,
        _ => return Err(EXPECTED_RANGE),
    };
    let read = |text: &str, is_quoted: bool| -> Result<Option<Vec<u8>>> {
        if text.is_empty() && !is_quoted {
            return Ok(None);
        }
        let mut value = Vec::new();
        put_value(bound, text.as_bytes(), &mut value)
            .map_err(|expected| format!("a range, each bound {expected}"))?;
        Ok(Some(value))
    };
    let lower = End { value: read(&lower, lower_quoted)?, is_inclusive: lower_inclusive };
    let upper = End { value: read(&upper, upper_quoted)?, is_inclusive: upper_inclusive };
    put_bounds(bound, lower, upper, out)
}

/// One end of a range; no value if it has no end there.
struct End {
    value: Option<Vec<u8>>,
    is_inclusive: bool,
}

fn put_bounds(bound: &TypeFacts, lower: End, upper: End, out: &mut Vec<u8>) -> Result<()> {
    if is_empty(bound, &lower, &upper)? {
        out.push(EMPTY);
        return Ok(());
    }
    let (lower, upper) = (canonical(bound, lower, true)?, canonical(bound, upper, false)?);
    if is_empty(bound, &lower, &upper)? {
        out.push(EMPTY);
        return Ok(());
    }
    let flag = |end: &End, infinite, inclusive| match end.value {
        None => infinite,
        Some(_) if end.is_inclusive => inclusive,
        Some(_) => 0,
    };
    let flags = flag(&lower, LOWER_INFINITE, LOWER_INCLUSIVE);
    out.push(flags | flag(&upper, UPPER_INFINITE, UPPER_INCLUSIVE));
    for value in [lower.value, upper.value].into_iter().flatten() {
        let length = u32::try_from(value.len()).expect("a bound is short");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&value);
    }
    Ok(())
}

/// Returns whether no value is between the bounds.
fn is_empty(bound: &TypeFacts, lower: &End, upper: &End) -> Result<bool> {
    let (Some(a), Some(b)) = (&lower.value, &upper.value) else { return Ok(false) };
    match order(bound, a, b) {
        Some(Ordering::Greater) => {
            Err(Cow::Borrowed("a range whose lower bound is not above its upper bound"))
        }
        Some(Ordering::Equal) => Ok(!(lower.is_inclusive && upper.is_inclusive)),
        _ => Ok(false),
    }
}

/// Ranges of whole numbers and days begin with their first and end before their last value.
/// Source: PostgreSQL's `int4range_canonical` and its like.
fn canonical(bound: &TypeFacts, end: End, is_lower: bool) -> Result<End> {
    let moves = end.is_inclusive != is_lower;
    let Some(value) = end.value.as_deref().filter(|_| moves) else { return Ok(end) };
    const LAST: Expected = Cow::Borrowed("a range that ends before the last value of its type");
    let moved = match (&bound.shape, value) {
        (TypeShape::Integer, &[a, b, c, d]) => {
            let next = i32::from_be_bytes([a, b, c, d]).checked_add(1).ok_or(LAST)?;
            next.to_be_bytes().to_vec()
        }
        (TypeShape::Date, &[a, b, c, d]) => match i32::from_be_bytes([a, b, c, d]) {
            // Infinity is a day like no other.
            i32::MAX | i32::MIN => return Ok(end),
            days => (days + 1).to_be_bytes().to_vec(),
        },
        (TypeShape::BigInt, value) => {
            let number = i64::from_be_bytes(value.try_into().expect("a bigint has 8 bytes"));
            number.checked_add(1).ok_or(LAST)?.to_be_bytes().to_vec()
        }
        _ => return Ok(end),
    };
    Ok(End { value: Some(moved), is_inclusive: is_lower })
}

/// What orders bounds: numbers as they are, decimals by sign, magnitude and digits.
#[derive(PartialEq, PartialOrd)]
enum Rank {
    Whole(i64),
    Float(f64),
    Decimal(i32, Vec<i32>),
    Unknown,
}

/// Compares bounds; those of other types are equal, or in an order that only the server knows.
fn order(bound: &TypeFacts, a: &[u8], b: &[u8]) -> Option<Ordering> {
    match (rank(bound, a), rank(bound, b)) {
        (Rank::Unknown, Rank::Unknown) => (a == b).then_some(Ordering::Equal),
        (a, b) => a.partial_cmp(&b),
    }
}

fn rank(bound: &TypeFacts, value: &[u8]) -> Rank {
    match (&bound.shape, value) {
        (TypeShape::Real, &[a, b, c, d]) => {
            Rank::Float(f64::from(f32::from_be_bytes([a, b, c, d])))
        }
        (TypeShape::DoublePrecision, value) => {
            Rank::Float(f64::from_be_bytes(value.try_into().expect("8 bytes")))
        }
        (TypeShape::Numeric { .. }, value) => decimal_rank(value),
        (TypeShape::SmallInt, &[a, b]) => Rank::Whole(i64::from(i16::from_be_bytes([a, b]))),
        (TypeShape::Integer | TypeShape::Date, &[a, b, c, d]) => {
            Rank::Whole(i64::from(i32::from_be_bytes([a, b, c, d])))
        }
        (TypeShape::BigInt | TypeShape::Timestamp { .. } | TypeShape::Time { .. }, value) => {
            Rank::Whole(i64::from_be_bytes(value.try_into().expect("8 bytes")))
        }
        _ => Rank::Unknown,
    }
}

/// Sign and weight first, then the groups; for negative numbers all of it turned around.
fn decimal_rank(value: &[u8]) -> Rank {
    let word = |at: usize| i32::from(i16::from_be_bytes([value[at], value[at + 1]]));
    let groups = (8..value.len()).step_by(2).map(word);
    let sign = u16::from_be_bytes([value[4], value[5]]);
    match sign {
        0xf000 => Rank::Decimal(-2, Vec::new()),
        0xd000 => Rank::Decimal(2, Vec::new()),
        0xc000 => Rank::Decimal(3, Vec::new()),
        _ if value.len() == 8 => Rank::Decimal(0, Vec::new()),
        0x4000 => {
            // More groups of the same beginning are further from 0: an end above all others.
            let all = std::iter::once(word(2)).chain(groups).map(|it| -it);
            Rank::Decimal(-1, all.chain([1]).collect())
        }
        _ => Rank::Decimal(1, std::iter::once(word(2)).chain(groups).collect()),
    }
}
