//! Takes a file of DDL apart, and lets only that through which makes tables in batchpilot's schema.
//!
//! What is let through is run with nothing but that schema on the search path, in one transaction,
//! and the locks that it took are looked at before it is committed (`own_table`). The text is
//! checked first, because that can say what is wrong with it, and where.

use std::collections::BTreeSet;

use sqlparser::{
    dialect::PostgreSqlDialect,
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};

/// One statement to run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Statement {
    /// The line in which it begins.
    pub(super) line: u64,
    /// Its first words, for messages.
    pub(super) words: String,
    /// What to run.
    pub(super) text: String,
    /// What is not run as it stands there.
    pub(super) note: Option<String>,
}

/// Words that stand before a dot and are no schema of the file's.
const NO_SCHEMA: [&str; 4] = ["new", "old", "pg_catalog", "information_schema"];

/// Words behind which a name is a table's, to which something is done or which a row may be held
/// against. Not LIKE: it only reads a structure, and what is copied with it is looked at when it is made.
const TABLE_FOLLOWS: [&str; 7] =
    ["REFERENCES", "INHERIT", "OF", "PARTITION", "UPDATE", "INTO", "ONLY"];

/// Settings that say what a table is like, and their values that change nothing.
const OF_TABLES: [(&str, &str); 3] = [
    ("DEFAULT_TABLE_ACCESS_METHOD", "heap"),
    ("DEFAULT_TABLESPACE", ""),
    ("DEFAULT_TOAST_COMPRESSION", "pglz"),
];

/// Functions whose first argument names a sequence, and that no ROLLBACK takes back.
const COUNTS: [&str; 3] = ["nextval", "currval", "setval"];

/// What the database has that a file may use, and does not make.
#[derive(Debug, Default)]
pub(super) struct Installed {
    /// Names of extensions.
    pub(super) extensions: BTreeSet<String>,
    /// Schemas and names of their types, functions and operator classes.
    pub(super) members: BTreeSet<(String, String)>,
}

/// Returns the statements to run, in order. What changes nothing in a fresh schema (SET, comments,
/// owners, rights, BEGIN and COMMIT, extensions that are there) is left out. The name of the schema in
/// which the file makes things is left out too, if there is only one.
pub(super) fn statements(text: &str, installed: &Installed) -> Result<Vec<Statement>, String> {
    // pg_dump writes them for psql; they only restrict what psql does.
    let is_guard = |line: &str| line.starts_with("\\restrict") || line.starts_with("\\unrestrict");
    let text: Vec<&str> = text.split('\n').map(|it| if is_guard(it) { "" } else { it }).collect();
    let text = text.join("\n");
    let mut tokenizer = Tokenizer::new(&PostgreSqlDialect {}, &text);
    let tokens = tokenizer.tokenize_with_location().map_err(|error| error.to_string())?;
    let tokens = with_text(tokens, &text);
    let mut wanted = Vec::new();
    for part in split(&tokens) {
        let Some(first) = part.iter().find(|it| !is_space(it)) else { continue };
        let line = first.line;
        if is_wanted(part, installed).map_err(|problem| format!("line {line}: {problem}"))? {
            wanted.push((line, part));
        }
    }
    if wanted.is_empty() {
        return Err("there is no statement that makes a table".to_owned());
    }
    let mut schema = None;
    for (line, part) in &wanted {
        own_schema(part, &mut schema).map_err(|problem| format!("line {line}: {problem}"))?;
    }
    // What the file makes goes before what an extension has by the same name.
    let made = wanted.iter().filter_map(|(_, part)| object(&dense(part)));
    let made: BTreeSet<Vec<String>> = made.map(|it| it.names).collect();
    let is_installed = |names: &[String]| {
        let [first, second] = names else { return false };
        installed.members.contains(&(first.clone(), second.clone())) && !made.contains(names)
    };
    let statement = |(line, part): (u64, &[Part<'_>])| {
        let text = written(part, schema.as_deref(), &is_installed);
        let text = text.map_err(|problem| format!("line {line}: {problem}"))?;
        let words = words(part).into_iter().take(3).collect::<Vec<_>>().join(" ");
        let note = concurrently(part).map(|_| {
            format!("line {line}: the index is made without CONCURRENTLY: the table is empty")
        });
        Ok(Statement { line, words, text, note })
    };
    wanted.into_iter().map(statement).collect()
}

/// A token, and the text that it was read from: what a token would be written as is not always the
/// same (`E'\\n'`).
struct Part<'a> {
    token: Token,
    line: u64,
    text: &'a str,
}

/// Gives each token its text: all from where it begins to where the next one does.
fn with_text(tokens: Vec<TokenWithSpan>, text: &str) -> Vec<Part<'_>> {
    let mut starts = Vec::new();
    let mut places = text.char_indices();
    let (mut line, mut column, mut offset) = (1, 1, 0);
    for token in &tokens {
        let start = token.span.start;
        while (line, column) < (start.line, start.column) {
            let Some((_, character)) = places.next() else { break };
            (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
            offset += character.len_utf8();
        }
        starts.push(offset);
    }
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([text.len()]).collect();
    let part = |((token, start), end): ((TokenWithSpan, usize), usize)| Part {
        line: token.span.start.line,
        token: token.token,
        text: &text[start..end],
    };
    tokens.into_iter().zip(starts).zip(ends).map(part).collect()
}

/// Splits at each semicolon that ends a statement, not at those in a function's body.
fn split<'p, 't>(tokens: &'p [Part<'t>]) -> Vec<&'p [Part<'t>]> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    let mut last_word = Keyword::NoKeyword;
    for (index, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) => {
                match (word.keyword, last_word) {
                    (Keyword::ATOMIC, Keyword::BEGIN) if makes_function(&tokens[start..index]) => {
                        depth = 1;
                    }
                    (Keyword::CASE, _) if 0 < depth => depth += 1,
                    (Keyword::END, _) if 0 < depth => depth -= 1,
                    _ => (),
                }
                last_word = word.keyword;
                continue;
            }
            Token::SemiColon if depth == 0 => {
                parts.push(&tokens[start..index]);
                start = index + 1;
            }
            _ => (),
        }
        last_word = Keyword::NoKeyword;
    }
    parts.push(&tokens[start..]);
    parts
}

fn makes_function(part: &[Part<'_>]) -> bool {
    let words = words(part);
    let words: Vec<&str> = words.iter().map(String::as_str).take(4).collect();
    matches!(words.as_slice(), ["CREATE", "FUNCTION", ..] | ["CREATE", "OR", "REPLACE", "FUNCTION"])
}

fn is_space(token: &Part<'_>) -> bool {
    matches!(token.token, Token::Whitespace(_) | Token::EOF)
}

/// The words of a statement that are not in quotes, in capitals.
fn words(part: &[Part<'_>]) -> Vec<String> {
    let word = |token: &Part<'_>| match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
        _ => None,
    };
    part.iter().filter_map(word).collect()
}

/// Returns whether the statement is to be run; an error says why it must not be.
fn is_wanted(part: &[Part<'_>], installed: &Installed) -> Result<bool, String> {
    let all = words(part);
    let mut words: Vec<&str> = all.iter().map(String::as_str).collect();
    let shown = words.iter().take(3).copied().collect::<Vec<_>>().join(" ");
    let refused = |why: &str| Err(format!("`{shown} …` is not run: {why}"));
    if words.starts_with(&["CREATE", "OR", "REPLACE"]) {
        words.drain(1..3);
    }
    let has = |phrase: &[&str]| words.windows(phrase.len()).any(|it| it == phrase);
    match words.as_slice() {
        ["SET", ..] if shapes_tables(part) => refused(
            "tables would be made by it, and batchpilot makes them as the server does; remove the \
             statement, and say it where the table is made",
        ),
        ["SET" | "BEGIN" | "COMMIT" | "START" | "GRANT" | "REVOKE" | "ANALYZE" | "COMMENT", ..]
        | ["SELECT", "PG_CATALOG", "SET_CONFIG", ..] => Ok(false),
        ["ALTER", "DEFAULT", "PRIVILEGES", ..] => Ok(false),
        ["ALTER", ..] if changes_owner(part)? => Ok(false),
        ["ALTER", ..] if has(&["SET", "SCHEMA"]) => {
            refused("it would leave batchpilot's schema; remove the statement")
        }
        ["ALTER", _, "ALL", ..] => refused("it would change what the file did not make"),
        ["CREATE", "SCHEMA", ..] => {
            refused("tables are made in a schema of batchpilot's own; remove the statement")
        }
        ["CREATE", "EXTENSION", ..] if has_extension(part, installed) => Ok(false),
        ["CREATE", "EXTENSION", ..] => refused(
            "the database does not have the extension, and it would change the database; create it \
             there yourself",
        ),
        ["CREATE", "TEMP" | "TEMPORARY", ..] | ["CREATE", _, "TEMP" | "TEMPORARY", ..] => {
            refused("only one session would see the table")
        }
        ["CREATE", "TABLE" | "UNLOGGED", ..]
            if ["SELECT", "VALUES", "TABLE", "WITH", "EXECUTE"]
                .iter()
                .any(|it| has(&["AS", it])) =>
        {
            refused("a query may do anything; write the columns out")
        }
        [
            "CREATE",
            "TABLE" | "UNLOGGED" | "INDEX" | "UNIQUE" | "TYPE" | "DOMAIN" | "SEQUENCE" | "FUNCTION"
            | "TRIGGER" | "CONSTRAINT" | "VIEW" | "STATISTICS",
            ..,
        ]
        | ["ALTER", "TABLE" | "SEQUENCE" | "TYPE" | "DOMAIN" | "INDEX", ..] => Ok(true),
        _ => refused("only CREATE and ALTER of tables and what belongs to them are"),
    }
}

/// Returns whether a SET changes what tables are like that are made behind it.
fn shapes_tables(part: &[Part<'_>]) -> bool {
    let dense = dense(part);
    let Some((_, value)) = dense.last() else { return false };
    let value = match &value.token {
        Token::SingleQuotedString(value) => value.to_lowercase(),
        _ => value.name().unwrap_or_default(),
    };
    let is_other = |(name, usual): &(&str, &str)| {
        dense.iter().any(|it| it.1.is_word(name)) && value != *usual && value != "default"
    };
    OF_TABLES.iter().any(is_other)
}

/// Returns whether an owner is all that a statement changes.
fn changes_owner(part: &[Part<'_>]) -> Result<bool, String> {
    let dense = dense(part);
    let is =
        |place: usize, word: &str| dense.get(place).is_some_and(|(_, token)| token.is_word(word));
    let mut depth = 0_i32;
    let mut has_comma = false;
    for (_, token) in &dense {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::Comma if depth == 0 => has_comma = true,
            _ => (),
        }
    }
    let owners = (0..dense.len()).filter(|at| is(*at, "OWNER") && is(at + 1, "TO"));
    // Else it is the name of what is renamed.
    let is_name = |at: usize| {
        at.checked_sub(1).is_some_and(|before| {
            ["RENAME", "COLUMN", "CONSTRAINT", "ATTRIBUTE"].iter().any(|it| is(before, it))
        })
    };
    let owners: Vec<usize> = owners.filter(|at| !is_name(*at)).collect();
    match owners.as_slice() {
        [] => Ok(false),
        [only] if !has_comma && only + 3 == dense.len() => Ok(true),
        _ => {
            Err("`OWNER TO` stands beside other changes; give it a statement of its own, which is \
                  not run"
                .to_owned())
        }
    }
}

fn has_extension(part: &[Part<'_>], installed: &Installed) -> bool {
    let name = dense(part).into_iter().skip(2).filter_map(|(_, token)| token.name());
    let mut name = name.skip_while(|it| ["if", "not", "exists"].contains(&it.as_str()));
    name.next().is_some_and(|it| installed.extensions.contains(&it))
}

/// The place of the word in `CREATE INDEX CONCURRENTLY`, which no transaction may run.
fn concurrently(part: &[Part<'_>]) -> Option<usize> {
    let head: Vec<(usize, &Part<'_>)> = dense(part).into_iter().take(4).collect();
    let at = head.iter().position(|(_, token)| token.is_word("CONCURRENTLY"))?;
    let is_index = head.get(at.checked_sub(1)?).is_some_and(|(_, token)| token.is_word("INDEX"));
    is_index.then(|| head[at].0)
}

/// All but space and comments, with their places.
fn dense<'p, 't>(part: &'p [Part<'t>]) -> Vec<(usize, &'p Part<'t>)> {
    part.iter().enumerate().filter(|(_, token)| !is_space(token)).collect()
}

impl Part<'_> {
    /// Whether it is this word, which is in capitals, and not in quotes.
    fn is_word(&self, expected: &str) -> bool {
        matches!(&self.token, Token::Word(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
    }

    /// The name that it is, as the catalogs have it.
    fn name(&self) -> Option<String> {
        match &self.token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
            Token::Word(word) => Some(word.value.clone()),
            _ => None,
        }
    }
}

/// Names with dots between them: of a thing in a schema, or of a column in a table.
struct Chain {
    /// Index of the first one among what is no space.
    start: usize,
    /// Index behind the last one.
    end: usize,
    /// As the catalogs have them.
    names: Vec<String>,
}

/// All names of a statement that have a dot in them.
fn chains(dense: &[(usize, &Part<'_>)]) -> Vec<Chain> {
    let mut chains = Vec::new();
    let mut start = 0;
    while start < dense.len() {
        let chain = chain_at(dense, start);
        start = chain.end.max(start + 1);
        if 2 <= chain.names.len() {
            chains.push(chain);
        }
    }
    chains
}

/// The name that stands there; without any if it is none.
fn chain_at(dense: &[(usize, &Part<'_>)], start: usize) -> Chain {
    let (mut names, mut end) = (Vec::new(), start);
    while let Some(name) = dense.get(end).and_then(|(_, token)| token.name()) {
        names.push(name);
        end += 1;
        let is_dot = |at: usize| dense.get(at).is_some_and(|it| it.1.token == Token::Period);
        let goes_on = is_dot(end) && dense.get(end + 1).is_some_and(|it| it.1.name().is_some());
        if !goes_on {
            break;
        }
        end += 1;
    }
    Chain { start, end, names }
}

/// The name of what a statement makes or changes.
fn object(dense: &[(usize, &Part<'_>)]) -> Option<Chain> {
    let is = |at: usize, words: &[&str]| {
        dense.get(at).is_some_and(|(_, token)| words.iter().any(|it| token.is_word(it)))
    };
    let kinds = ["TABLE", "SEQUENCE", "TYPE", "DOMAIN", "FUNCTION", "VIEW", "STATISTICS"];
    let is_alter = is(0, &["ALTER"]);
    let mut at = 1;
    while !(is(at, &kinds) || is_alter && is(at, &["INDEX"])) {
        if !is_alter && is(at, &["INDEX", "TRIGGER"]) {
            // Their own names have no schema: that of the table says it.
            at = (at..dense.len()).find(|at| is(*at, &["ON"]))?;
            break;
        }
        at += 1;
        (at < dense.len()).then_some(())?;
    }
    at += 1;
    while is(at, &["IF", "NOT", "EXISTS", "ONLY"]) {
        at += 1;
    }
    let chain = chain_at(dense, at);
    (!chain.names.is_empty()).then_some(chain)
}

/// Notes the schema in which a statement makes something; there may be one only.
fn own_schema(part: &[Part<'_>], known: &mut Option<String>) -> Result<(), String> {
    let Some(mut chain) = object(&dense(part)).filter(|it| 2 <= it.names.len()) else {
        return Ok(());
    };
    let name = chain.names.swap_remove(0);
    match known {
        None => *known = Some(name),
        Some(known) if *known == name => (),
        Some(known) => {
            return Err(format!(
                "it names the schemas `{known}` and `{name}`; all tables are made in one schema of \
                 batchpilot's own, so leave the names of schemas out"
            ));
        }
    }
    Ok(())
}

/// Writes a statement out again, without the schema's name.
///
/// What stands before a dot is that schema, or it is a table, an alias or a schema whose types are used,
/// and stays. Whatever would have the statement use another schema's functions or tables is an error.
fn written(
    part: &[Part<'_>],
    schema: Option<&str>,
    is_installed: &impl Fn(&[String]) -> bool,
) -> Result<String, String> {
    let dense = dense(part);
    let inherits = dense.iter().position(|it| it.1.is_word("INHERITS")).unwrap_or(dense.len());
    let mut left_out: Vec<usize> = concurrently(part).into_iter().collect();
    for chain in chains(&dense) {
        let first = &chain.names[0];
        if is_installed(&chain.names[..2]) || NO_SCHEMA.contains(&first.as_str()) {
            continue;
        }
        if schema == Some(first.as_str()) {
            left_out.extend(dense[chain.start..chain.start + 2].iter().map(|it| it.0));
            continue;
        }
        let is = |back: usize, words: &[&str]| {
            let token = chain.start.checked_sub(back).and_then(|at| dense.get(at));
            token.is_some_and(|(_, token)| words.iter().any(|it| token.is_word(it)))
        };
        let is_table = inherits < chain.start
            || is(1, &TABLE_FOLLOWS)
            || is(1, &["FROM"]) && is(2, &["DELETE"]);
        let is_called = dense.get(chain.end).is_some_and(|it| it.1.token == Token::LParen);
        // `OWNED BY` and expressions name columns of tables.
        if 3 <= chain.names.len() || is_called || is_table {
            let names = chain.names.join(".");
            return Err(match schema {
                Some(known) => format!(
                    "it names `{names}`, and all else is of schema `{known}`; only what this file \
                     makes, and what an extension of the database has, is to be used"
                ),
                None => format!(
                    "it names `{names}`, and the file makes nothing in schema `{first}`; only what \
                     this file makes, and what an extension of the database has, is to be used"
                ),
            });
        }
    }
    let mut text = String::new();
    for (place, token) in part.iter().enumerate().filter(|(place, _)| !left_out.contains(place)) {
        match sequence(&dense, place, schema)? {
            Some(own) => text.push_str(&own),
            None => text.push_str(token.text),
        }
    }
    Ok(text.trim().to_owned())
}

/// What a literal that names a sequence or a table is to be, if it has a schema in it.
fn sequence(
    dense: &[(usize, &Part<'_>)],
    place: usize,
    schema: Option<&str>,
) -> Result<Option<String>, String> {
    let Some(at) = dense.iter().position(|it| it.0 == place) else { return Ok(None) };
    let name = |at: usize| dense.get(at).and_then(|it| it.1.name());
    let token = |at: usize| dense.get(at).map(|it| &it.1.token);
    let counts = |at: usize| {
        token(at) == Some(&Token::LParen)
            && at.checked_sub(1).and_then(name).is_some_and(|it| COUNTS.contains(&it.as_str()))
    };
    let Token::SingleQuotedString(value) = &dense[at].1.token else {
        return match at.checked_sub(1).is_some_and(counts) {
            true => {
                Err("which sequence it counts with is not to be seen; name it as a literal, such \
                         as nextval('orders_id_seq')"
                    .to_owned())
            }
            false => Ok(None),
        };
    };
    let is_class =
        token(at + 1) == Some(&Token::DoubleColon) && name(at + 2).as_deref() == Some("regclass");
    if !is_class && !at.checked_sub(1).is_some_and(counts) {
        return Ok(None);
    }
    let refused =
        || format!("`'{value}'` is not of this file, and no ROLLBACK takes back what counts");
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, value).tokenize_with_location();
    let tokens = with_text(tokens.map_err(|_| refused())?, value);
    let parts = self::dense(&tokens);
    let chain = chain_at(&parts, 0);
    match chain.names.as_slice() {
        _ if chain.end != parts.len() => Err(refused()),
        [_] => Ok(None),
        [first, _] if Some(first.as_str()) == schema => {
            let own: String = tokens[parts[2].0..].iter().map(|it| it.text).collect();
            let written = |name: &str| name.replace('\'', "''");
            Ok(Some(dense[at].1.text.replacen(&written(value), &written(&own), 1)))
        }
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed() -> Installed {
        let member = |name: &str| ("public".to_owned(), name.to_owned());
        Installed {
            extensions: ["uuid-ossp".to_owned(), "citext".to_owned()].into(),
            members: ["uuid_generate_v4", "citext"].map(member).into(),
        }
    }

    fn texts(text: &str) -> Vec<String> {
        let statements =
            statements(text, &installed()).unwrap_or_else(|error| panic!("{error}: {text}"));
        statements.into_iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn statements_come_out_as_they_went_in() {
        for text in [
            "CREATE TABLE t (a int DEFAULT 1, b text DEFAULT 'it''s; \"x\"')",
            "create unique index on \"T\" (lower(\"b\")) where a > 0",
            "CREATE TABLE t (a text DEFAULT E'a\\n\\'b', b bytea DEFAULT '\\x00', c int[] DEFAULT '{1}')",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.a := 1; RETURN NEW; END $$",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END",
            "CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.a > 0) EXECUTE FUNCTION f()",
            "CREATE TABLE t (a numeric(10,2) CHECK (a >= -1.5e3::numeric), b timestamptz)",
            "CREATE TABLE t (a jsonb CHECK (a ? 'x' AND a->>'y' <> '' AND a @> '{}'))",
        ] {
            assert_eq!(texts(text), [text]);
        }
        let two =
            "-- a; comment\nCREATE TABLE a (b int); /* another; */ ALTER TABLE a ADD c int;\n";
        let statements = statements(two, &installed()).unwrap();
        assert_eq!(statements.iter().map(|it| it.line).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(statements[1].words, "ALTER TABLE A");
    }

    #[test]
    fn a_dump_of_one_schema_is_run_without_its_name() {
        let dump = "\\restrict abc\nSET statement_timeout = 0;\n\
                    SET default_tablespace = '';\nSET default_table_access_method = heap;\n\
                    ALTER DEFAULT PRIVILEGES FOR ROLE me IN SCHEMA public GRANT ALL ON TABLES TO me;\n\
                    SELECT pg_catalog.set_config('search_path', '', false);\n\
                    CREATE TABLE public.orders (id bigint NOT NULL, at pg_catalog.timestamptz);\n\
                    ALTER TABLE public.orders OWNER TO me;\n\
                    CREATE SEQUENCE public.orders_id_seq;\n\
                    ALTER TABLE ONLY public.orders ADD CONSTRAINT p PRIMARY KEY (id);\n\
                    GRANT SELECT ON TABLE public.orders TO you;\n\\unrestrict abc\n";
        assert_eq!(
            texts(dump),
            [
                "CREATE TABLE orders (id bigint NOT NULL, at pg_catalog.timestamptz)",
                "CREATE SEQUENCE orders_id_seq",
                "ALTER TABLE ONLY orders ADD CONSTRAINT p PRIMARY KEY (id)",
            ]
        );
    }

    /// What pg_dump 15 writes of a table with a serial key, an index and a trigger, shortened.
    #[test]
    fn a_serial_column_counts_with_its_own_sequence() {
        let dump = "CREATE TABLE public.orders (id integer NOT NULL, state public.mood);\n\
                    CREATE SEQUENCE public.orders_id_seq AS integer START WITH 1;\n\
                    ALTER TABLE public.orders_id_seq OWNER TO me;\n\
                    ALTER SEQUENCE public.orders_id_seq OWNED BY public.orders.id;\n\
                    CREATE VIEW public.v AS SELECT o.id, p.id AS q FROM public.orders o JOIN \
                    public.orders p ON (o.id = p.id);\n\
                    ALTER TABLE ONLY public.orders ALTER COLUMN id SET DEFAULT \
                    nextval('public.orders_id_seq'::regclass);\n\
                    CREATE TABLE public.\"Odd\" (n int DEFAULT nextval('public.\"Odd_seq\"'), \
                    m int DEFAULT nextval('public.\"o''x\"'::regclass));\n";
        assert_eq!(
            texts(dump),
            [
                "CREATE TABLE orders (id integer NOT NULL, state mood)",
                "CREATE SEQUENCE orders_id_seq AS integer START WITH 1",
                "ALTER SEQUENCE orders_id_seq OWNED BY orders.id",
                "CREATE VIEW v AS SELECT o.id, p.id AS q FROM orders o JOIN orders p ON (o.id = p.id)",
                "ALTER TABLE ONLY orders ALTER COLUMN id SET DEFAULT nextval('orders_id_seq'::regclass)",
                "CREATE TABLE \"Odd\" (n int DEFAULT nextval('\"Odd_seq\"'), m int DEFAULT \
                 nextval('\"o''x\"'::regclass))",
            ]
        );
        let plain = "CREATE SEQUENCE s OWNED BY orders.id";
        assert_eq!(texts(plain), [plain], "a table, and no schema");
    }

    #[test]
    fn what_is_left_out_is_all_that_a_statement_does() {
        for text in [
            "ALTER TABLE t RENAME COLUMN owner TO owner_id",
            "ALTER TABLE t RENAME owner TO owner_id",
            "ALTER TABLE t RENAME CONSTRAINT owner TO o",
            "ALTER TABLE t ADD owner text, ADD CHECK (owner <> 'x')",
        ] {
            assert_eq!(texts(text), [text]);
        }
        let owners = "ALTER TABLE t OWNER TO me; ALTER FUNCTION public.f(int, int) OWNER TO me; \
                      CREATE TABLE t (a int); ALTER TYPE m OWNER TO \"Me\"";
        assert_eq!(texts(owners), ["CREATE TABLE t (a int)"]);
    }

    #[test]
    fn what_extensions_have_is_used_where_it_is() {
        let text = "CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public;\n\
                    CREATE TABLE public.t (id uuid DEFAULT public.uuid_generate_v4(), b public.citext, \
                    c public.own)";
        assert_eq!(
            texts(text),
            ["CREATE TABLE t (id uuid DEFAULT public.uuid_generate_v4(), b public.citext, c own)"]
        );
        let own = "CREATE TABLE public.citext (a int); CREATE INDEX ON public.citext (a)";
        assert_eq!(texts(own), ["CREATE TABLE citext (a int)", "CREATE INDEX ON citext (a)"]);
    }

    #[test]
    fn an_index_of_an_empty_table_is_made_in_the_transaction() {
        let text = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (concurrently)";
        let statements = statements(text, &installed()).unwrap();
        assert_eq!(statements[0].text, "CREATE UNIQUE INDEX  IF NOT EXISTS i ON t (concurrently)");
        assert!(
            statements[0].note.as_ref().unwrap().starts_with("line 1: the index is made without")
        );
    }

    #[test]
    fn a_schema_is_found_behind_spaces_and_comments() {
        assert_eq!(texts("CREATE TABLE public . t (a int)"), ["CREATE TABLE   t (a int)"]);
        assert_eq!(
            texts("CREATE TABLE public/* a */.t (a int)"),
            ["CREATE TABLE /* a */t (a int)"]
        );
    }

    #[test]
    fn what_could_leave_the_schema_is_refused() {
        for (text, problem) in [
            ("DROP TABLE orders", "`DROP TABLE ORDERS …` is not run"),
            ("CREATE TABLE a (b int);\nTRUNCATE users", "line 2: `TRUNCATE USERS …`"),
            ("INSERT INTO a VALUES (1)", "only CREATE and ALTER"),
            ("CREATE TABLE a (b int); ALTER TABLE a SET SCHEMA public", "would leave"),
            ("ALTER TABLE ALL IN TABLESPACE x SET TABLESPACE y", "did not make"),
            ("CREATE TABLE a AS SELECT pg_reload_conf()", "write the columns out"),
            ("CREATE OR REPLACE LANGUAGE plx", "is not run"),
            ("CREATE SCHEMA app", "remove the statement"),
            ("CREATE EXTENSION IF NOT EXISTS hstore", "the database does not have the extension"),
            (
                "CREATE TABLE a (b int); ALTER TABLE a ADD CHECK (b > 0), OWNER TO me",
                "beside other",
            ),
            ("CREATE TABLE a (b int); ALTER TABLE a OWNER TO me, ADD c int", "beside other"),
            ("CREATE TABLE a (b int DEFAULT audit.f())", "nothing in schema `audit`"),
            ("CREATE TABLE p.a (b int DEFAULT nextval('q.s'::regclass))", "`'q.s'` is not of this"),
            ("CREATE TABLE a (b int DEFAULT nextval('q.s'))", "`'q.s'` is not of this file"),
            ("CREATE TABLE p.a (b int DEFAULT nextval(('p.s'::text)::regclass))", "as a literal"),
            ("CREATE TABLE p.a (b int REFERENCES q.c (d))", "it names `q.c`, and all else"),
            ("CREATE TABLE p.a (c int) INHERITS (p.b, app.b)", "it names `app.b`, and all else"),
            ("CREATE TABLE a PARTITION OF app.b DEFAULT", "it names `app.b`"),
            ("CREATE TABLE p.a (c int); ALTER TABLE p.a INHERIT app.b", "line 1: it names `app.b`"),
            ("CREATE TABLE p.a (c int); ALTER TABLE p.a ATTACH PARTITION app.b DEFAULT", "`app.b`"),
            (
                "CREATE FUNCTION p.f() RETURNS void BEGIN ATOMIC UPDATE app.b SET c = 1; END",
                "it names `app.b`",
            ),
            (
                "CREATE FUNCTION p.f() RETURNS void BEGIN ATOMIC DELETE FROM app.b; END",
                "it names `app.b`",
            ),
            ("SET default_toast_compression = 'lz4'; CREATE TABLE a (b int)", "is not run: tables"),
            ("SET default_tablespace TO fast; CREATE TABLE a (b int)", "is not run: tables"),
            ("CREATE VIEW p.v AS SELECT q.t.id FROM p.t", "it names `q.t.id`"),
            ("CREATE FUNCTION a . f() RETURNS int; CREATE TABLE b/**/. t (a int)", "`a` and `b`"),
            ("CREATE TABLE begin (atomic int); COMMIT; DROP TABLE users", "`DROP TABLE USERS …`"),
            ("CREATE TABLE t (begin atomic); DROP TABLE users", "`DROP TABLE USERS …`"),
            ("CREATE TEMP TABLE a (b int)", "only one session"),
            ("CREATE TABLE a.t (b int); CREATE INDEX ON b.t (b)", "the schemas `a` and `b`"),
            ("DO $$ BEGIN DROP TABLE x; END $$", "`DO …` is not run"),
            ("COPY a FROM '/etc/passwd'", "is not run"),
            ("ALTER SYSTEM SET fsync = off", "is not run"),
            ("ALTER ROLE me SUPERUSER", "is not run"),
            ("", "no statement that makes a table"),
            ("SELECT 1", "is not run"),
            ("CREATE TABLE a (b text DEFAULT 'x)", "Unterminated string literal"),
        ] {
            let error = statements(text, &installed()).expect_err(text);
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
