//! Holds a parsed file against the schema, and says of the first mismatch where it is, what was
//! expected, and what was probably meant.
//!
//! serde would find the same mismatches, but its messages name neither the path nor the nearest
//! key, and taking them apart would rest on their wording. What the schema cannot say is left to
//! serde, which reads the file afterwards in any case.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use super::{
    read::Fault,
    schema::{Expected, Node},
    source::{Source, help, join, shown},
};

/// Least similarity (Jaro-Winkler, 0 to 1) at which a name is suggested for another. At 0.8
/// `batchsize` still finds `batch_rows` (0.85), and `grade` does not find `rate` (0.78).
const SIMILARITY_MIN: f64 = 0.8;

/// Longest string that a message repeats.
const SHOWN_CHARACTERS_MAX: usize = 40;

/// Returns the first mismatch, if any, in the order of the file within each table.
pub(super) fn check(
    document: &Spanned<DeTable<'_>>,
    source: &Source,
    schema: Node<'_>,
) -> Result<(), Fault> {
    let checker = Checker { source, schema };
    checker.check_table(document.get_ref(), document.span(), schema, "")
}

/// Returns the candidate that was probably meant, if one is near enough.
pub(super) fn nearest<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let plain = |it: &str| it.to_lowercase().replace(['-', ' '], "_");
    let name = plain(name);
    candidates
        .into_iter()
        .map(|it| (strsim::jaro_winkler(&name, &plain(it)), it))
        .filter(|(similarity, _)| SIMILARITY_MIN <= *similarity)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, it)| it)
}

/// Lists names for a message.
pub(super) fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
}

struct Checker<'a> {
    source: &'a Source,
    schema: Node<'a>,
}

impl Checker<'_> {
    fn check_table(
        &self,
        table: &DeTable<'_>,
        span: Range<usize>,
        node: Node<'_>,
        path: &str,
    ) -> Result<(), Fault> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            match node.key(key.get_ref()) {
                Some(child) => self.check_value(value, child, &join(path, key.get_ref()))?,
                None if node.denies_unknown_keys() => {
                    return Err(self.unknown_key(key, node, path));
                }
                None => (),
            }
        }
        match node.required().into_iter().find(|it| !table.contains_key(*it)) {
            Some(name) => Err(self.missing_key(name, span.start, node, path)),
            None => Ok(()),
        }
    }

    fn check_value(
        &self,
        value: &Spanned<DeValue<'_>>,
        node: Node<'_>,
        path: &str,
    ) -> Result<(), Fault> {
        match (node.expected(), value.get_ref()) {
            (Expected::Anything, _)
            | (Expected::Text, DeValue::String(_))
            | (Expected::Boolean, DeValue::Boolean(_))
            | (Expected::Number, DeValue::Float(_)) => Ok(()),
            // serde takes no integer beyond 64 bits for a floating-point number.
            (Expected::Number, DeValue::Integer(integer))
                if is_within(integer, i64::MIN.into(), u64::MAX.into()) =>
            {
                Ok(())
            }
            (Expected::Integer { min, max }, DeValue::Integer(integer))
                if is_within(integer, min.into(), max.into()) =>
            {
                Ok(())
            }
            (Expected::Choice { words, .. }, DeValue::String(word)) => {
                if words.contains(&&**word) {
                    return Ok(());
                }
                Err(self.unknown_word(word, value.span().start, node, path))
            }
            (Expected::Choice { tables, .. }, DeValue::Table(table)) if !tables.is_empty() => {
                self.check_table(table, value.span(), node, path)
            }
            (Expected::Table, DeValue::Table(table)) => {
                self.check_table(table, value.span(), node, path)
            }
            (Expected::Array(_), DeValue::Array(array)) => {
                let Some(items) = node.items() else { return Ok(()) };
                array.iter().enumerate().try_for_each(|(index, item)| {
                    self.check_value(item, items, &format!("{path}[{index}]"))
                })
            }
            (expected, _) => Err(self.wrong_type(value, &expected, path)),
        }
    }

    fn unknown_key(&self, key: &Spanned<impl AsRef<str>>, node: Node<'_>, path: &str) -> Fault {
        let name = key.get_ref().as_ref();
        let known: Vec<&str> = node.keys().into_iter().map(|(name, _)| name).collect();
        let way_out = match nearest(name, known.iter().copied()) {
            Some(meant) => format!(", did you mean `{meant}`?"),
            None => match self.schema.tables_with(name).as_slice() {
                [] => String::new(),
                tables => {
                    let places: Vec<String> = tables.iter().map(|it| place(it)).collect();
                    format!("; it belongs {}", places.join(" or "))
                }
            },
        };
        Fault {
            help: Some(format!("known keys: {}", listed(known))),
            ..self.fault(
                key.span().start,
                &join(path, name),
                format!("unknown key `{}` {}{way_out}", shown(name), place(path)),
            )
        }
    }

    fn unknown_word(&self, word: &str, offset: usize, node: Node<'_>, path: &str) -> Fault {
        let expected = node.expected();
        let Expected::Choice { words, tables } = &expected else {
            unreachable!("check_value calls this for a choice only")
        };
        let way_out = match (nearest(word, words.iter().copied()), node.key(word)) {
            (_, Some(_)) => format!(", did you mean `{{ {word} = … }}`?"),
            (Some(meant), None) => format!(", did you mean `{meant}`?"),
            (None, None) => match nearest(word, tables.iter().map(|(key, _)| *key)) {
                Some(meant) => format!(", did you mean `{{ {meant} = … }}`?"),
                None => String::new(),
            },
        };
        Fault {
            help: Some(format!("expected {expected}")),
            ..self.fault(
                offset,
                path,
                format!("key `{path}`: unknown value {}{way_out}", quoted(word)),
            )
        }
    }

    fn wrong_type(
        &self,
        value: &Spanned<DeValue<'_>>,
        expected: &Expected<'_>,
        path: &str,
    ) -> Fault {
        let span = value.span();
        let found = match value.get_ref() {
            DeValue::String(text) => format!("the string {}", quoted(text)),
            DeValue::Array(_) => "an array".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
            _ => self.source.text.get(span.clone()).unwrap_or_default().to_owned(),
        };
        let way_out = way_out(value.get_ref(), expected, path);
        self.fault(
            span.start,
            path,
            format!("key `{path}`: expected {expected}, found {found}{way_out}"),
        )
    }

    fn missing_key(&self, name: &str, offset: usize, node: Node<'_>, path: &str) -> Fault {
        let expected = node.key(name).map_or(Expected::Anything, Node::expected);
        let problem = format!("missing key `{name}` {}, expected {expected}", place(path));
        self.fault(offset, &join(path, name), problem)
    }

    fn fault(&self, offset: usize, path: &str, problem: String) -> Fault {
        Fault {
            file: self.source.file.clone(),
            position: self.source.position(offset),
            path: path.to_owned(),
            problem,
            help: help(path, self.schema),
        }
    }
}

/// Says where a key is.
fn place(path: &str) -> String {
    if path.is_empty() { "at the top level".to_owned() } else { format!("in {path}") }
}

fn is_within(integer: &DeInteger<'_>, min: i128, max: i128) -> bool {
    i128::from_str_radix(integer.as_str(), integer.radix()).is_ok_and(|it| min <= it && it <= max)
}

/// Says how to write what was probably meant; empty where there is nothing to say.
fn way_out(value: &DeValue<'_>, expected: &Expected<'_>, path: &str) -> String {
    let items = match expected {
        Expected::Array(Some(items)) => Some(&**items),
        _ => None,
    };
    match (value, expected, items) {
        (DeValue::String(text), _, _) if needs_no_quotes(text, expected) => {
            "; write it without quotes".to_owned()
        }
        (DeValue::String(_), _, Some(Expected::Text)) => "; write it in brackets".to_owned(),
        (DeValue::Table(_), _, Some(Expected::Table)) => format!("; write `[[{}]]`", header(path)),
        (DeValue::Array(array), Expected::Table, _)
            if array.iter().any(|it| it.get_ref().is_table()) =>
        {
            format!("; write `[{}]`", header(path))
        }
        (DeValue::Integer(_), Expected::Number, _) => "; write it with a decimal point".to_owned(),
        (DeValue::Array(_) | DeValue::Table(_), _, _) => String::new(),
        (_, Expected::Text, _) => "; write it in quotes".to_owned(),
        _ => String::new(),
    }
}

fn needs_no_quotes(text: &str, expected: &Expected<'_>) -> bool {
    match expected {
        Expected::Boolean => text.parse::<bool>().is_ok(),
        Expected::Integer { .. } => text.parse::<u64>().is_ok(),
        Expected::Number => text.parse::<f64>().is_ok(),
        _ => false,
    }
}

/// Returns the path as a table's header has it: without indexes.
fn header(path: &str) -> String {
    let keys: Vec<&str> = path.split('.').filter_map(|it| it.split('[').next()).collect();
    keys.join(".")
}

/// Writes a string in quotes and without line breaks, cut where it is long or may hold a password.
fn quoted(text: &str) -> String {
    let secret = ["://", "password"].iter().filter_map(|it| Some(text.find(it)? + it.len())).min();
    let open = secret.map_or(text, |it| &text[..it]);
    let cut: String = open.chars().take(SHOWN_CHARACTERS_MAX).collect();
    if cut.len() < text.len() { format!("{:?}", cut + "…") } else { format!("{cut:?}") }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn suggests_what_is_near_and_nothing_else() {
        let keys = ["batch_rows", "every", "rate", "size_max", "transaction", "workers"];
        for (name, expected) in [
            ("batchsize", Some("batch_rows")),
            ("batchRows", Some("batch_rows")),
            ("batch-rows", Some("batch_rows")),
            ("evry", Some("every")),
            ("size", Some("size_max")),
            ("transactions", Some("transaction")),
            ("wrokers", Some("workers")),
            ("WORKERS", Some("workers")),
            ("grade", None),
            ("threads", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, keys), expected, "{name}");
        }
    }
}
