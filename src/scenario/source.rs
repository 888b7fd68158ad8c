//! The text of a scenario file, and where in it each key stands.
//!
//! **Invariant:** works on any text. What is not valid TOML is understood as far as it goes, so
//! that even a syntax error can name the key in which it stands.

use std::{fmt, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    read::Fault,
    schema::{Node, schema},
};

/// A scenario file as it was read: what turns a key into a place in the file.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file's name, as errors show it.
    pub file: String,
    /// All that the file says.
    pub text: String,
}

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

impl Source {
    /// Keeps a text under the name of the file that it came from.
    pub fn new(file: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file: file.into(), text: text.into() }
    }

    /// Returns where the value at a path such as `cells[2].batch_rows` begins.
    ///
    /// A table begins at its header. A path that the file does not have is at its nearest parent
    /// that the file has, in the end at the top: 1:1.
    pub fn locate(&self, path: &str) -> Position {
        let (document, _) = DeTable::parse_recoverable(&self.text);
        let entries = entries(document.get_ref());
        let mut path = path;
        while !path.is_empty() {
            if let Some(entry) = entries.iter().find(|it| it.path == path) {
                return self.position(entry.value.start);
            }
            path = parent(path);
        }
        self.position(0)
    }

    /// Returns whether the file has something at a path.
    pub fn has(&self, path: &str) -> bool {
        let (document, _) = DeTable::parse_recoverable(&self.text);
        entries(document.get_ref()).iter().any(|entry| entry.path == path)
    }

    /// Says what is wrong at a path, in the manner of this module's own errors: with the place
    /// before, and what the key means after it.
    pub fn fault(&self, path: &str, problem: &str) -> Fault {
        let schema = schema();
        Fault {
            file: self.file.clone(),
            position: self.locate(path),
            path: path.to_owned(),
            problem: format!("key `{path}`: {problem}"),
            help: help(path, Node::root(&schema)),
        }
    }

    pub(super) fn position(&self, offset: usize) -> Position {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |it| it + 1);
        Position {
            line: before.matches('\n').count() + 1,
            // A byte order mark is not a column.
            column: before[line_start..].chars().filter(|it| *it != '\u{feff}').count() + 1,
        }
    }
}

/// A key or an array's entry, as it stands in the text.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: String,
    /// Where the key is written; an array's entry has none.
    pub(super) key: Option<Range<usize>>,
    pub(super) value: Range<usize>,
}

/// Lists all keys of a document, and the entries of its arrays.
pub(super) fn entries(document: &DeTable<'_>) -> Vec<Entry> {
    let mut entries = Vec::new();
    add_table(&mut entries, document, "");
    entries
}

fn add_table(entries: &mut Vec<Entry>, table: &DeTable<'_>, path: &str) {
    for (key, value) in table.iter() {
        let path = join(path, key.get_ref());
        add_value(entries, value, path, Some(key.span()));
    }
}

fn add_value(
    entries: &mut Vec<Entry>,
    value: &Spanned<DeValue<'_>>,
    path: String,
    key: Option<Range<usize>>,
) {
    match value.get_ref() {
        DeValue::Table(table) => add_table(entries, table, &path),
        DeValue::Array(array) => {
            for (index, item) in array.iter().enumerate() {
                add_value(entries, item, format!("{path}[{index}]"), None);
            }
        }
        _ => (),
    }
    entries.push(Entry { path, key, value: value.span() });
}

/// Appends a key to a path, in quotes where TOML wants them.
pub(super) fn join(path: &str, key: &str) -> String {
    let key = shown(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// Writes a key as TOML does. What a terminal could take for a command is escaped.
pub(super) fn shown(key: &str) -> String {
    let is_bare = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    if !key.is_empty() && key.chars().all(is_bare) { key.to_owned() } else { format!("{key:?}") }
}

/// Returns the path without its last key or index.
pub(super) fn parent(path: &str) -> &str {
    path.rfind(['.', '[']).map_or("", |it| &path[..it])
}

/// Says in one line what a key means: its doc comment, or else that of the nearest parent with one.
pub(super) fn help(path: &str, schema: Node<'_>) -> Option<String> {
    let mut path = path;
    while !path.is_empty() {
        if let Some(description) = schema.find(path).and_then(Node::description) {
            let key = path.rsplit('.').next().unwrap_or(path);
            return Some(format!("`{key}`: {description}"));
        }
        path = parent(path);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\u{feff}name = \"ä\" # first
stop.rows = 5
[target]
url = 'x'
[[cells]]
name = \"a\"
transaction = { every = 3 }
[[cells]]
name = \"b\"
pool.size_max = 1
[cells.stop]
  rows = 2
[table]
indexes = [\"email\",
  \"age\"]
";

    #[test]
    fn finds_a_key_or_its_nearest_parent() {
        let source = Source::new("a.toml", TEXT);
        for (path, expected) in [
            ("name", "1:8"),
            ("stop", "2:1"),
            ("stop.rows", "2:13"),
            ("target", "3:1"),
            ("target.url", "4:7"),
            ("cells", "5:1"),
            ("cells[0]", "5:1"),
            ("cells[0].name", "6:8"),
            ("cells[0].transaction", "7:15"),
            ("cells[0].transaction.every", "7:25"),
            ("cells[1]", "8:1"),
            ("cells[1].pool.size_max", "10:17"),
            ("cells[1].stop", "11:1"),
            ("cells[1].stop.rows", "12:10"),
            ("table.indexes[1]", "15:3"),
            // Absent: the nearest parent.
            ("seed", "1:1"),
            ("target.connection", "3:1"),
            ("cells[0].batch_rows", "5:1"),
            ("cells[1].stop.seconds", "11:1"),
            ("cells[2].name", "5:1"),
            ("claims[0].cell", "1:1"),
            ("", "1:1"),
            ("no path at all [[", "1:1"),
        ] {
            assert_eq!(source.locate(path).to_string(), expected, "{path}");
        }
    }

    #[test]
    fn locates_in_broken_text_too() {
        let source = Source::new("a.toml", "name = \nseed = 3\n[[cells]\n");
        assert_eq!(source.locate("seed").to_string(), "2:8");
        assert_eq!(source.locate("cells[0].name").to_string(), "3:1");
    }

    #[test]
    fn a_fault_of_another_module_reads_like_those_of_this_one() {
        let source = Source::new("a.toml", TEXT);
        let fault = source.fault("cells[1].pool.size_max", "expected 2 to 10, found 1");
        assert_eq!(
            fault.to_string(),
            "a.toml:10:17: key `cells[1].pool.size_max`: expected 2 to 10, found 1\n  `size_max`: \
             Most sessions open at once (Go's `SetMaxOpenConns`, HikariCP's `maximumPoolSize`). \
             Default: the cell's workers. Below the workers, workers wait for each other; not \
             possible where each keeps a session, as transactions of several operations ask."
        );
    }
}
