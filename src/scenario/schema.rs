//! The JSON schema of a scenario file, derived from the types and their doc comments.
//!
//! **Invariant:** nothing else in the crate lists keys, values or ranges of types: the reader asks
//! the schema, and so a new field is known to its error messages at once.

use std::fmt;

use schemars::{Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::Value;

use super::Scenario;

/// Returns the JSON schema (draft 2020-12) of a scenario file.
///
/// It describes the TOML file: what is optional may be left out, but never be null, since TOML
/// has no null.
pub fn schema() -> Value {
    SchemaSettings::draft2020_12()
        .with_transform(RecursiveTransform(fit_to_toml as fn(&mut Schema)))
        .with_transform(RecursiveTransform(describe as fn(&mut Schema)))
        .into_generator()
        .into_root_schema_for::<Scenario>()
        .to_value()
}

/// Takes null out, and says how large an integer may be.
fn fit_to_toml(schema: &mut Schema) {
    // `additionalProperties: false` is a schema too, and has nothing in it.
    let Some(node) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = node.get_mut("type") {
        types.retain(|it| it != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            node.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(mut variants)) = node.remove("anyOf") {
        variants.retain(|it| it["type"] != "null");
        match variants.as_slice() {
            [Value::Object(only)] => node.extend(only.clone()),
            _ => _ = node.insert("anyOf".to_owned(), Value::Array(variants)),
        }
    }
    if let Some(Value::Object(default)) = node.get_mut("default") {
        default.retain(|_, value| !value.is_null());
    }
    let maximum = match node.get("format").and_then(Value::as_str) {
        Some("uint32") => u64::from(u32::MAX),
        Some("uint64") => u64::MAX,
        _ => return,
    };
    node.entry("maximum").or_insert(maximum.into());
}

/// Makes one line of each description, and its first sentence the title where there is none.
fn describe(schema: &mut Schema) {
    let Some(node) = schema.as_object_mut() else { return };
    let Some(text) = node.get("description").and_then(Value::as_str) else { return };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let title = text.split(". ").next().unwrap_or(&text).trim_end_matches('.').to_owned();
    node.entry("title").or_insert(title.into());
    node.insert("description".to_owned(), text.into());
}

/// A place in the schema: what may stand there, and what that means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'s> {
    root: &'s Value,
    value: &'s Value,
}

impl<'s> Node<'s> {
    pub(super) fn root(schema: &'s Value) -> Self {
        Self { root: schema, value: schema }
    }

    /// Returns what the value here must be.
    pub(super) fn expected(self) -> Expected<'s> {
        let value = self.resolved();
        match value["type"].as_str() {
            Some("object") => Expected::Table,
            Some("array") => Expected::Array(self.items().map(|it| Box::new(it.expected()))),
            Some("boolean") => Expected::Boolean,
            Some("number") => Expected::Number,
            Some("integer") => match (value["minimum"].as_u64(), value["maximum"].as_u64()) {
                (Some(min), Some(max)) => Expected::Integer { min, max },
                _ => Expected::Anything,
            },
            Some("string") if value["enum"].is_null() && value["const"].is_null() => Expected::Text,
            _ if self.words().is_empty() => Expected::Anything,
            _ => Expected::Choice { words: self.words(), tables: self.keys() },
        }
    }

    /// Returns the doc comment of a key, or else of its type; of one variant, or else none.
    pub(super) fn description(self) -> Option<&'s str> {
        self.value["description"].as_str().or(self.resolved()["description"].as_str())
    }

    /// Returns each key of the table here; of an enum, the keys of the variants that are tables.
    pub(super) fn keys(self) -> Vec<(&'s str, Self)> {
        self.variants()
            .filter_map(|it| it.value["properties"].as_object())
            .flatten()
            .map(|(key, value)| (key.as_str(), self.at(value)))
            .collect()
    }

    /// Returns the node of the key, if the table here has it.
    pub(super) fn key(self, name: &str) -> Option<Self> {
        self.keys().into_iter().find_map(|(key, node)| (key == name).then_some(node))
    }

    /// Returns the keys without which the table here is not complete.
    pub(super) fn required(self) -> Vec<&'s str> {
        let mut tables = self.variants().filter_map(|it| it.value["required"].as_array());
        match (tables.next(), tables.next()) {
            (Some(only), None) => only.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a key that the table here does not know is an error.
    pub(super) fn denies_unknown_keys(self) -> bool {
        self.variants()
            .filter(|it| it.value["properties"].is_object())
            .all(|it| it.value["additionalProperties"] == false)
    }

    /// Returns the node of the entries of the array here.
    pub(super) fn items(self) -> Option<Self> {
        self.resolved().get("items").map(|it| self.at(it))
    }

    /// Returns the node at a path such as `cells[2].batch_rows`.
    pub(super) fn find(self, path: &str) -> Option<Self> {
        let mut node = self;
        for part in path.split('.').filter(|it| !it.is_empty()) {
            let mut steps = part.split('[');
            node = node.key(steps.next()?)?;
            for _ in steps {
                node = node.items()?;
            }
        }
        Some(node)
    }

    /// Returns the paths of all tables that have this key, such as `cells[].stop`.
    pub(super) fn tables_with(self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        // It ends, because no type of a scenario holds itself.
        let mut open = vec![(String::new(), self)];
        while let Some((path, node)) = open.pop() {
            if node.key(name).is_some() {
                found.push(path.clone());
            }
            for (key, child) in node.keys() {
                let dot = if path.is_empty() { "" } else { "." };
                match child.items() {
                    Some(items) => open.push((format!("{path}{dot}{key}[]"), items)),
                    None => open.push((format!("{path}{dot}{key}"), child)),
                }
            }
        }
        found.sort();
        found
    }

    fn words(self) -> Vec<&'s str> {
        self.variants()
            .flat_map(|it| {
                let listed = it.value["enum"].as_array().into_iter().flatten();
                listed.chain([&it.value["const"]]).filter_map(Value::as_str)
            })
            .collect()
    }

    /// Returns the variants of an enum; anything else is its own only variant.
    fn variants(self) -> impl Iterator<Item = Self> {
        let value = self.resolved();
        let variants = match value["oneOf"].as_array() {
            Some(variants) => variants.as_slice(),
            None => std::slice::from_ref(value),
        };
        variants.iter().map(move |it| self.at(it))
    }

    fn resolved(self) -> &'s Value {
        let target = self.value["$ref"].as_str().and_then(|it| it.strip_prefix('#'));
        target.and_then(|it| self.root.pointer(it)).unwrap_or(self.value)
    }

    fn at(self, value: &'s Value) -> Self {
        Self { root: self.root, value }
    }
}

/// What a value must be; its text goes into error messages.
#[derive(Clone, Debug)]
pub(super) enum Expected<'s> {
    Table,
    Array(Option<Box<Expected<'s>>>),
    Text,
    Boolean,
    Integer {
        min: u64,
        max: u64,
    },
    Number,
    /// An enum: words, and keys of tables such as `{ every = N }`.
    Choice {
        words: Vec<&'s str>,
        tables: Vec<(&'s str, Node<'s>)>,
    },
    /// Beyond what this reader understands of a schema: serde decides.
    Anything,
}

impl Expected<'_> {
    fn plural(&self) -> &'static str {
        match self {
            Self::Table => "tables",
            Self::Text => "strings",
            Self::Integer { .. } => "integers",
            Self::Number => "numbers",
            _ => "values",
        }
    }
}

impl fmt::Display for Expected<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table => formatter.write_str("a table"),
            Self::Array(None) => formatter.write_str("an array"),
            Self::Array(Some(items)) => write!(formatter, "an array of {}", items.plural()),
            Self::Text => formatter.write_str("a string"),
            Self::Boolean => formatter.write_str("`true` or `false`"),
            Self::Integer { min, max } => {
                write!(formatter, "an integer from {} to {}", grouped(*min), grouped(*max))
            }
            Self::Number => formatter.write_str("a number"),
            Self::Choice { words, tables } => {
                let words = words.iter().map(|it| format!("`{it}`"));
                let tables = tables.iter().map(|(key, _)| format!("`{{ {key} = … }}`"));
                let all: Vec<String> = words.chain(tables).collect();
                let one_of = if all.len() == 1 { "" } else { "one of " };
                write!(formatter, "{one_of}{}", all.join(", "))
            }
            Self::Anything => formatter.write_str("another value"),
        }
    }
}

/// Writes a number with a comma after every third digit, as the doc comments do.
fn grouped(number: u64) -> String {
    if number == u64::MAX {
        // Nobody counts twenty digits.
        return "2^64 - 1".to_owned();
    }
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index != 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use toml::de::DeTable;

    use super::{
        super::source::{entries, parent},
        *,
    };

    const EXAMPLE: &str = include_str!("../../scenarios/example.toml");

    #[test]
    fn is_a_valid_schema() {
        let schema = schema();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        jsonschema::draft202012::meta::validate(&schema).unwrap();
        let text = schema.to_string();
        for null in ["\"null\"", ":null", "[null", ",null"] {
            assert!(!text.contains(null), "TOML has no null: {text}");
        }
    }

    #[test]
    fn every_key_and_type_is_described_and_every_table_closed() {
        let schema = schema();
        let types = schema["$defs"].as_object().unwrap().values().chain([&schema]);
        for node in types {
            assert!(node["title"].is_string() && node["description"].is_string(), "{node}");
            let Some(keys) = node["properties"].as_object() else { continue };
            assert_eq!(node["additionalProperties"], false, "{node}");
            for (name, key) in keys {
                assert!(key["title"].is_string() && key["description"].is_string(), "{name}");
            }
        }
    }

    #[test]
    fn says_what_a_key_takes_in_terms_of_toml() {
        let schema = schema();
        let cell = &schema["$defs"]["Cell"]["properties"];
        for (key, expected) in [
            (
                "workers",
                serde_json::json!({
                    "title": "Workers: tasks that run operations at the same time",
                    "description": "Workers: tasks that run operations at the same time. Default \
                    1.",
                    "type": "integer", "format": "uint32", "minimum": 0, "maximum": u32::MAX,
                }),
            ),
            (
                "transaction",
                serde_json::json!({
                    "title": "Where transactions begin and end",
                    "description": "Where transactions begin and end. Default `autocommit`.",
                    "$ref": "#/$defs/Transaction",
                }),
            ),
        ] {
            assert_eq!(cell[key], expected, "{key}");
        }
    }

    #[test]
    fn every_scenario_here_is_read_and_valid() {
        let schema = jsonschema::draft202012::new(&schema()).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut count = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "toml") {
                let file = Scenario::read(&path).unwrap_or_else(|error| panic!("{error}"));
                let value: Value = toml::from_str(&file.source.text).unwrap();
                schema.validate(&value).unwrap_or_else(|error| panic!("{path:?}: {error}"));
                count += 1;
            }
        }
        assert!(0 < count, "scenarios/example.toml is one");
    }

    #[test]
    fn the_schema_and_the_reader_deny_the_same() {
        let schema = jsonschema::draft202012::new(&schema()).unwrap();
        let cell = "name = 'a'\n[[cells]]\nname = 'c'\nstrategy = 'unnest'\n";
        for (text, is_valid) in [
            ("", true),
            ("workers = 3", true),
            ("workers = -3", false),
            ("workers = 4_294_967_296", false),
            ("workers = 'three'", false),
            ("worker = 3", false),
            ("transaction = 'whole'", true),
            ("transaction = 'all'", false),
            ("transaction = { every = 3 }", true),
            ("transaction = { evry = 3 }", false),
            ("transaction = {}", false),
            ("pace = {}", false),
            ("pace = { rate = 3 }", true),
            ("name = 3\n[table]\nname = 3", false),
        ] {
            let text = format!("{cell}{text}");
            assert_eq!(Scenario::parse(&text, "a.toml").is_ok(), is_valid, "{text}");
            let value = toml::from_str::<Value>(&text);
            assert_eq!(value.is_ok_and(|it| schema.is_valid(&it)), is_valid, "{text}");
        }
    }

    /// A simulated server has scenarios of its own: with `[sim]`, half of the example's keys would
    /// say nothing.
    #[test]
    fn the_examples_use_every_key() {
        // `#url = …` is a key; `# A sentence.` is not.
        let is_key = |it: &str| it.starts_with(|it: char| it == '[' || it.is_ascii_lowercase());
        let uncommented = |line: &'static str| line.strip_prefix('#').filter(|it| is_key(it));
        let lines: Vec<&str> =
            EXAMPLE.lines().map(|line| uncommented(line).unwrap_or(line)).collect();
        let mut texts = vec![lines.join("\n")];
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/sim");
        for file in fs::read_dir(folder).unwrap() {
            texts.push(fs::read_to_string(file.unwrap().path()).unwrap());
        }
        let schema = schema();
        let root = Node::root(&schema);
        let mut used = BTreeSet::new();
        for text in &texts {
            Scenario::parse(text, "example.toml").unwrap_or_else(|error| panic!("{error}"));
            let document = DeTable::parse(text).unwrap();
            let entries = entries(document.get_ref());
            used.extend(entries.iter().filter(|it| it.key.is_some()).map(|it| {
                let key = it.path[parent(&it.path).len()..].trim_start_matches('.').to_owned();
                (key, root.find(&it.path).unwrap().description())
            }));
        }
        let mut known = BTreeSet::new();
        let mut open = vec![root];
        while let Some(node) = open.pop() {
            for (key, child) in node.keys() {
                known.insert((key.to_owned(), child.description()));
                open.push(child.items().unwrap_or(child));
            }
        }
        assert_eq!(used, known);
    }

    #[test]
    fn groups_digits_by_three() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (65_535, "65,535"),
            (4_294_967_295, "4,294,967,295"),
            (u64::MAX, "2^64 - 1"),
        ] {
            assert_eq!(grouped(number), expected);
        }
    }
}
