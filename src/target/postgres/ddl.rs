//! Takes a file of DDL apart, and lets only that through which makes tables in batchpilot's schema.
//!
//! What is let through is run with nothing but that schema on the search path, in one transaction,
//! and the locks that it took are looked at before it is committed (`own_table`). The text is
//! checked first, because that can say what is wrong with it, and where.

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
}

/// Words that stand before a dot and are no schema.
const NO_SCHEMA: [&str; 4] = ["new", "old", "pg_catalog", "information_schema"];

/// Returns the statements to run, in order. What changes nothing in a fresh schema (SET, comments,
/// owners, rights, BEGIN and COMMIT) is left out. The name of a schema is left out too, if there is
/// only one.
pub(super) fn statements(text: &str) -> Result<Vec<Statement>, String> {
    // pg_dump writes them for psql; they only restrict what psql does.
    let is_guard = |line: &str| line.starts_with("\\restrict") || line.starts_with("\\unrestrict");
    let text: Vec<&str> = text.split('\n').map(|it| if is_guard(it) { "" } else { it }).collect();
    let text = text.join("\n");
    let mut tokenizer = Tokenizer::new(&PostgreSqlDialect {}, &text);
    let tokens = tokenizer.tokenize_with_location().map_err(|error| error.to_string())?;
    let tokens = with_text(tokens, &text);
    let parts = split(&tokens);
    let mut schema = None;
    let mut statements = Vec::new();
    for part in &parts {
        let Some(first) = part.iter().find(|it| !is_space(it)) else { continue };
        let line = first.line;
        let at = |problem: String| format!("line {line}: {problem}");
        if is_wanted(part).map_err(at)? {
            check_schemas(part, &mut schema).map_err(at)?;
            let words = words(part).into_iter().take(3).collect::<Vec<_>>().join(" ");
            statements.push(Statement { line, words, text: written(part, schema.as_deref()) });
        }
    }
    if statements.is_empty() {
        return Err("there is no statement that makes a table".to_owned());
    }
    Ok(statements)
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
fn is_wanted(part: &[Part<'_>]) -> Result<bool, String> {
    let all = words(part);
    let mut words: Vec<&str> = all.iter().map(String::as_str).collect();
    let shown = words.iter().take(3).copied().collect::<Vec<_>>().join(" ");
    let refused = |why: &str| Err(format!("`{shown} …` is not run: {why}"));
    if words.starts_with(&["CREATE", "OR", "REPLACE"]) {
        words.drain(1..3);
    }
    let has = |phrase: &[&str]| words.windows(phrase.len()).any(|it| it == phrase);
    match words.as_slice() {
        ["SET" | "BEGIN" | "COMMIT" | "START" | "GRANT" | "REVOKE" | "ANALYZE" | "COMMENT", ..]
        | ["SELECT", "PG_CATALOG", "SET_CONFIG", ..] => Ok(false),
        ["ALTER", ..] if has(&["OWNER", "TO"]) => Ok(false),
        ["ALTER", ..] if has(&["SET", "SCHEMA"]) => {
            refused("it would leave batchpilot's schema; remove the statement")
        }
        ["ALTER", _, "ALL", ..] => refused("it would change what the file did not make"),
        ["CREATE", "SCHEMA", ..] => {
            refused("tables are made in a schema of batchpilot's own; remove the statement")
        }
        ["CREATE", "EXTENSION", ..] => {
            refused("it would change the database; create the extension there yourself")
        }
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

/// The places of names of schemas and of the dots behind them: a word, a dot, and a word, with space
/// or comments between or not.
fn schemas<'p>(part: &'p [Part<'_>]) -> Vec<([usize; 2], &'p str)> {
    let dense: Vec<(usize, &Part<'_>)> =
        part.iter().enumerate().filter(|(_, token)| !is_space(token)).collect();
    let schema = |window: &[(usize, &'p Part<'_>)]| {
        let [(place, first), (dot_place, dot), (_, last)] = window else { return None };
        match (&first.token, &dot.token, &last.token) {
            (Token::Word(name), Token::Period, Token::Word(_)) => {
                let is_schema = !NO_SCHEMA.contains(&name.value.to_lowercase().as_str());
                is_schema.then_some(([*place, *dot_place], name.value.as_str()))
            }
            _ => None,
        }
    };
    dense.windows(3).filter_map(schema).collect()
}

fn check_schemas(part: &[Part<'_>], known: &mut Option<String>) -> Result<(), String> {
    for (_, name) in schemas(part) {
        match known {
            None => *known = Some(name.to_owned()),
            Some(known) if known == name => (),
            Some(known) => {
                return Err(format!(
                    "it names the schemas `{known}` and `{name}`; all tables are made in one \
                     schema of batchpilot's own, so leave the names of schemas out"
                ));
            }
        }
    }
    Ok(())
}

/// Writes a statement out again, without the schema's name.
fn written(part: &[Part<'_>], schema: Option<&str>) -> String {
    let left_out: Vec<usize> = schemas(part)
        .into_iter()
        .filter(|(_, name)| Some(*name) == schema)
        .flat_map(|(places, _)| places)
        .collect();
    let kept = part.iter().enumerate().filter(|(place, _)| !left_out.contains(place));
    let text: String = kept.map(|(_, it)| it.text).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let statements = statements(text).unwrap_or_else(|error| panic!("{error}: {text}"));
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
        let statements = statements(two).unwrap();
        assert_eq!(statements.iter().map(|it| it.line).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(statements[1].words, "ALTER TABLE A");
    }

    #[test]
    fn a_dump_of_one_schema_is_run_without_its_name() {
        let dump = "\\restrict abc\nSET statement_timeout = 0;\n\
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
            ("CREATE EXTENSION citext", "create the extension there yourself"),
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
            let error = statements(text).expect_err(text);
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
