//! JSON as text, and in the form that `jsonb` keeps.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer as _,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    number::put_numeric,
    value::{Expected, Result},
};
use crate::rows::numeric_text;

const EXPECTED: &str = "JSON";

/// Checks that a text is JSON. `json` keeps the text as it is.
pub(super) fn check(text: &str) -> Result<()> {
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(expected)
}

/// Appends JSON as `jsonb` prints it: keys in order of length and then of bytes, the last of equal ones,
/// numbers as `numeric` has them. Source: PostgreSQL's `jsonb.c` and `jsonb_util.c`.
pub(super) fn put_normal(text: &str, out: &mut Vec<u8>) -> Result<()> {
    let raw: &RawValue = serde_json::from_str(text).map_err(expected)?;
    put(raw, out)
}

fn expected(error: serde_json::Error) -> Expected {
    format!("{EXPECTED} ({error})").into()
}

fn put(raw: &RawValue, out: &mut Vec<u8>) -> Result<()> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{') => put_object(text, out),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(expected)?;
            out.push(b'[');
            for (index, item) in items.into_iter().enumerate() {
                if 0 < index {
                    out.extend_from_slice(b", ");
                }
                put(item, out)?;
            }
            out.push(b']');
            Ok(())
        }
        Some(b'"') => {
            let string: String = serde_json::from_str(text).map_err(expected)?;
            put_string(&string, out)
        }
        Some(b'-' | b'0'..=b'9') => {
            let mut binary = Vec::new();
            put_numeric(text.as_bytes(), (None, 0), &mut binary)?;
            let mut shown = String::new();
            numeric_text::put(&binary, &mut shown);
            out.extend_from_slice(shown.as_bytes());
            Ok(())
        }
        _ => {
            out.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
}

fn put_object(text: &str, out: &mut Vec<u8>) -> Result<()> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut pairs = deserializer.deserialize_map(Pairs).map_err(expected)?;
    // Stable: of equal keys, the last stays last.
    pairs.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    out.push(b'{');
    let mut is_first = true;
    for (index, (key, value)) in pairs.iter().enumerate() {
        if pairs.get(index + 1).is_some_and(|(next, _)| next == key) {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.extend_from_slice(b", ");
        }
        put_string(key, out)?;
        out.extend_from_slice(b": ");
        put(value, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// Source: PostgreSQL's `escape_json`.
fn put_string(text: &str, out: &mut Vec<u8>) -> Result<()> {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            0 => return Err(Cow::Borrowed("JSON without \\u0000, which jsonb cannot hold")),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            1..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
    Ok(())
}

/// The keys and values of an object, in the order of the text, equal keys included.
struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}
