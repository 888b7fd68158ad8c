//! Tables of the user's own: from DDL, and like one of the database.

use batchpilot::{
    plan::{CellPlan, Plan},
    target::{Target as _, TargetError, postgres::PgTarget},
};
use tokio_postgres::Client;

use crate::{
    postgres::check_whole,
    support::{
        Desk, Ended, Place, batchpilot, cell, cluster_of, database, ended, own_target, run, verify,
    },
};

const EVERY_TYPE: &str = include_str!("../../../scenarios/every-type.sql");
const STRATEGIES: [&str; 6] =
    ["single_row", "pipelined", "multi_row", "unnest", "copy_text", "copy_binary"];
/// NULLs where they may be, values of a list, a range, a length, other distributions.
const RULES: &str = "table.ddl = \"every_type.sql\"\n\
    columns = [\n\
    { name = \"day\", range = [\"2024-01-01\", \"2024-12-31\"], distribution = \"normal\" },\n\
    { name = \"document\", null_share = 0.5 },\n\
    { name = \"numbers\", null_share = 0.1, length = [2, 3] },\n\
    { name = \"big\", distribution = \"scattered\" },\n\
    { name = \"thousands\", distribution = \"zipf\" },\n\
    { name = \"data\", length = [4, 400] },\n\
    { name = \"created\", range = [\"2020-01-01\", \"2021-01-01\"] },\n\
    { name = \"any_number\", values = [1, -2.50, \"12345678901234567890.123\", 0] },\n\
    ]\n";

async fn own(place: &Place, keys: &str, ddl: &str) -> PgTarget {
    let target = own_target(place.options(), keys, ddl).await;
    target.unwrap_or_else(|error| panic!("{error}"))
}

async fn refused(place: &Place, keys: &str, ddl: &str) -> String {
    let target = own_target(place.options(), keys, ddl).await;
    match target.map(|_| ()) {
        Err(TargetError::Table { problem, .. }) => {
            assert_eq!(place.schemas().await, Vec::<String>::new());
            problem
        }
        other => panic!("{other:?}: {ddl}"),
    }
}

async fn count(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap_or_else(|error| panic!("{error}: {query}")).get(0)
}

fn cell_of(strategy: &str, more: &str) -> CellPlan {
    let batch_rows = if strategy == "single_row" { 1 } else { 70 };
    cell(&format!("strategy = \"{strategy}\"\nbatch_rows = {batch_rows}\nstop.rows = 300\n{more}"))
}

async fn check_every_strategy(place: &Place) {
    for keys in ["table.ddl = \"every_type.sql\"", RULES] {
        let target = own(place, keys, EVERY_TYPE).await;
        let notes = target.own_table().unwrap().notes.join("; ");
        assert!(notes.contains("trigger (touch) changes are not compared: touched"), "{notes}");
        let compared = target.generator(1).compared().len();
        assert_eq!(compared, target.generator(1).columns().len() - 1);
        for strategy in STRATEGIES {
            for more in ["", "prepared = false\n"] {
                check_whole(&target, &cell_of(strategy, more)).await;
            }
        }
        let client = place.client().await;
        let table = format!("\"{}\".every_type", target.schema());
        let touched = format!("SELECT count(*) FROM {table} WHERE touched IS NOT NULL");
        assert_eq!(count(&client, &touched).await, 300);
        let ids = format!("SELECT max(id) - min(id) FROM {table}");
        assert_eq!(count(&client, &ids).await, 299);
        if keys == RULES {
            let nulls = format!("SELECT count(*) FROM {table} WHERE document IS NULL");
            assert!((110..190).contains(&count(&client, &nulls).await));
            let days = format!(
                "SELECT count(*) FROM {table} WHERE day BETWEEN '2024-01-01' AND '2024-12-31' \
                 AND created BETWEEN '2020-01-01' AND '2021-01-01' \
                 AND length(data) BETWEEN 4 AND 400 AND any_number <> 7"
            );
            assert_eq!(count(&client, &days).await, 300);
        }
        target.close().await.unwrap();
    }
}

#[tokio::test]
async fn every_type_goes_in_by_every_strategy() {
    check_every_strategy(&database().await).await;
}

/// The oldest and the newest major version that batchpilot knows.
#[tokio::test]
async fn every_type_goes_into_other_major_versions() {
    for major in [14, 18] {
        if let Some(cluster) = cluster_of(major).await {
            check_every_strategy(&Place::of(&cluster)).await;
            cluster.stop().await.unwrap();
        }
    }
}

/// Does something to a table that was filled with 50 rows, and returns what the check says of it.
async fn tampered(target: &PgTarget, client: &Client, tampering: &str) -> String {
    target.reset_table().await.unwrap();
    let cell = cell("strategy = \"copy_binary\"\nbatch_rows = 50\nstop.rows = 50\n");
    let outcome = run(target, &cell).await.unwrap();
    let statement = format!("SET search_path TO \"{}\"; {tampering}", target.schema());
    client.batch_execute(&statement).await.unwrap_or_else(|error| panic!("{error}: {tampering}"));
    let verification = verify(target, &outcome).await;
    assert_eq!(verification.is_exact(), verification.complaint().is_none(), "{tampering}");
    verification.complaint().unwrap_or_default()
}

#[tokio::test]
async fn rows_that_name_themselves_are_checked_one_by_one() {
    let place = database().await;
    let target = own(&place, "table.ddl = \"it.sql\"", EVERY_TYPE).await;
    let client = place.client().await;
    let all_but_big = "SELECT whole, flag, moment, amount";
    for (tampering, expected) in [
        ("UPDATE every_type SET created = created + interval '1 day'", ""),
        ("UPDATE every_type SET touched = 7", ""),
        ("DELETE FROM every_type WHERE id = 7", "49 found: 1 missing (row 6)"),
        ("UPDATE every_type SET price = price + 0.01 WHERE id = 7", "1 changed (row 6: price)"),
        ("UPDATE every_type SET numbers = numbers || 1 WHERE id = 7", "1 changed (row 6: numbers)"),
        ("UPDATE every_type SET document = NULL WHERE id = 7", "1 changed (row 6: document)"),
        ("UPDATE every_type SET big = 1000000 WHERE id = 7", "1 missing (row 6); 1 foreign (0x"),
        (
            &format!(
                "INSERT INTO every_type (whole, flag, moment, amount) {all_but_big} FROM every_type WHERE id = 7"
            ),
            "51 found: 1 foreign",
        ),
    ] {
        let complaint = tampered(&target, &client, tampering).await;
        assert!(complaint.contains(expected), "{tampering}: {complaint}");
        assert_eq!(complaint.is_empty(), expected.is_empty(), "{tampering}: {complaint}");
    }
    target.close().await.unwrap();
}

#[tokio::test]
async fn rows_without_a_key_are_checked_as_a_multiset() {
    let place = database().await;
    let ddl = "CREATE TABLE it (id bigserial, a integer, b text, c numeric(8, 2), d boolean)";
    let target = own(&place, "table.ddl = \"it.sql\"", ddl).await;
    let client = place.client().await;
    let again = "INSERT INTO it (a, b, c, d) SELECT a, b, c, d FROM it WHERE id = 7";
    for (tampering, expected) in [
        ("UPDATE it SET id = id + 1000", ""),
        ("DELETE FROM it WHERE id = 7", "50 rows confirmed, 49 found: 1 missing (row 6)"),
        (again, "50 rows confirmed, 51 found: 1 duplicate (row 6)"),
        (
            &format!("{again}; DELETE FROM it WHERE id = 9"),
            "50 found: 1 missing (row 8); 1 duplicate (row 6)",
        ),
        ("UPDATE it SET c = c + 0.01 WHERE id = 7", "50 found: 1 changed (row 6: c)"),
        ("UPDATE it SET b = NULL WHERE id = 7", "50 found: 1 changed (row 6: b)"),
        ("INSERT INTO it (a) VALUES (1)", "51 found: 1 foreign (a row that was never sent)"),
        (
            "UPDATE it SET a = 1, b = 'x', c = 1 WHERE id = 7",
            "1 missing (row 6); 1 foreign (a row that was never sent)",
        ),
        (
            "UPDATE it x SET a = y.a FROM it y WHERE x.id IN (7, 9) AND y.id = 16 - x.id",
            "50 found: 2 changed (row",
        ),
        ("TRUNCATE it", "50 missing (row 0, row 1, row 2, row 3, row 4, …)"),
    ] {
        let complaint = tampered(&target, &client, tampering).await;
        assert!(complaint.contains(expected), "{tampering}: {complaint}");
        assert_eq!(complaint.is_empty(), expected.is_empty(), "{tampering}: {complaint}");
    }
    target.close().await.unwrap();
}

#[tokio::test]
async fn a_table_that_rows_cannot_be_made_for_is_refused_with_the_way_out() {
    let place = database().await;
    let ddl = "table.ddl = \"it.sql\"\n";
    let range = "columns = [{ name = \"a\", range = [\"x\", \"y\"] }]";
    for (keys, text, words) in [
        (
            "",
            "CREATE TABLE a (b int);\nCREATE TABLE c (d int)",
            "it.sql makes 2 tables; name one with --table: a, c",
        ),
        ("table.name = \"x\"", "CREATE TABLE a (b int)", "makes no table `x`; it makes a"),
        ("", "CREATE TYPE a AS ENUM ('b')", "no statement makes a table"),
        (
            "",
            "CREATE TABLE a (b int);\nCREATE INDEX ON a (x)",
            "it.sql:2: statement 2 (CREATE INDEX ON …): column \"x\" does not exist",
        ),
        ("", "CREATE TABLE a (b int); DROP TABLE a", "`DROP TABLE A …` is not run"),
        (
            "",
            "CREATE TABLE a (b text CHECK (b ~ '^[A-Z]+$'))",
            "CHECK a_b_check ((b ~ '^[A-Z]+$'::text)) is not understood: say with `values`",
        ),
        (
            "",
            "CREATE TABLE a (b int CHECK (b > 5 AND b < 6))",
            "column `b`: no value is within all its bounds",
        ),
        ("", "CREATE TABLE a (b point)", "values of type point cannot be made up; list some"),
        (
            "",
            "CREATE TABLE a (b bigserial, c timestamptz DEFAULT now())",
            "the server makes every column",
        ),
        (
            "",
            "CREATE TABLE a (b int PRIMARY KEY);\nCREATE TABLE c (d int REFERENCES a);",
            "name one with --table",
        ),
        (
            "table.name = \"c\"",
            "CREATE TABLE a (b int PRIMARY KEY);\nCREATE TABLE c (d int REFERENCES a);",
            "foreign key c_d_fkey (d) refers to a, whose rows are not here; leave it out with --without-foreign-keys",
        ),
        (range, "CREATE TABLE a (a int)", "invalid input syntax for type integer: \"x\""),
        (
            "columns = [{ name = \"z\" }]",
            "CREATE TABLE a (b int)",
            "the table has no column `z`; it has b",
        ),
        (
            "columns = [{ name = \"b\" }]",
            "CREATE TABLE a (b int GENERATED ALWAYS AS IDENTITY)",
            "only the server makes values of `b`",
        ),
        (
            "columns = [{ name = \"b\", null_share = 0.1 }]",
            "CREATE TABLE a (b int NOT NULL)",
            "column `b`: is NOT NULL; remove `null_share`",
        ),
        (
            "columns = [{ name = \"b\", distribution = \"zipf\" }]",
            "CREATE TABLE a (b int UNIQUE)",
            "is UNIQUE; use `distribution = \"sequential\"`",
        ),
        (
            "",
            "CREATE TABLE p (day date) PARTITION BY RANGE (day); CREATE TABLE q PARTITION OF p FOR VALUES FROM ('1999-01-01') TO ('2000-01-01')",
            "no partition of relation \"p\" found for row",
        ),
        (
            "",
            "CREATE TABLE a (b int);\n\
             CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;\n\
             CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()",
            "a row was inserted and 0 were there",
        ),
    ] {
        let problem = refused(&place, &format!("{ddl}{keys}"), text).await;
        assert!(problem.contains(words), "{text}: {problem}");
    }
    for (keys, text) in [
        (
            "columns = [{ name = \"b\", values = [\"ABC\", \"X\"] }]",
            "CREATE TABLE a (b text CHECK (b ~ '^[A-Z]+$'))",
        ),
        (
            "columns = [{ name = \"b\", values = [\"(1,2)\", \"(3,4)\"] }]",
            "CREATE TABLE a (b point)",
        ),
        ("", "CREATE TABLE a (b real UNIQUE)"),
        ("", "CREATE TABLE a (b double precision UNIQUE)"),
        (
            "columns = [{ name = \"b\", distribution = \"sequential\" }]",
            "CREATE TABLE a (b double precision, c int)",
        ),
        (
            "table = { ddl = \"it.sql\", name = \"c\", without_foreign_keys = true }",
            "CREATE TABLE a (b int PRIMARY KEY); CREATE TABLE c (d int REFERENCES a)",
        ),
    ] {
        let keys =
            if keys.starts_with("table =") { keys.to_owned() } else { format!("{ddl}{keys}") };
        let target = own(&place, &keys, text).await;
        for strategy in STRATEGIES {
            check_whole(&target, &cell_of(strategy, "")).await;
        }
        target.close().await.unwrap();
    }
}

const ORIGINAL: &str = "CREATE SCHEMA app; CREATE SCHEMA log;
    CREATE TABLE app.customers (id int PRIMARY KEY); INSERT INTO app.customers VALUES (1);
    CREATE TABLE app.orders (id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES app.customers,
        code varchar(10) UNIQUE, total numeric(10, 2) CHECK (total > 0), note text)
        WITH (fillfactor = 70);
    CREATE INDEX orders_note ON app.orders (lower(note));
    INSERT INTO app.orders (customer, code, total) VALUES (1, 'a', 1);
    CREATE TABLE log.entries (note text);
    CREATE FUNCTION app.loud() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.note := upper(NEW.note); RETURN NEW; END $$;
    CREATE TRIGGER loud BEFORE INSERT ON app.orders FOR EACH ROW EXECUTE FUNCTION app.loud();
    CREATE FUNCTION app.never() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'only on a replica'; END $$;
    CREATE TRIGGER never BEFORE INSERT ON app.orders FOR EACH ROW EXECUTE FUNCTION app.never();
    ALTER TABLE app.orders ENABLE REPLICA TRIGGER never;";

/// A dump names everything with its schema, also in literals; what the database has under these names
/// stays as it was, also its sequence, which no ROLLBACK would turn back.
#[tokio::test]
async fn a_dump_is_run_beside_what_it_was_made_of() {
    let place = database().await;
    let client = place.client().await;
    let dump = include_str!("dump.sql");
    let original = dump.lines().filter(|it| !it.starts_with('\\') && !it.contains(" OWNER TO "));
    client.batch_execute(&original.collect::<Vec<_>>().join("\n")).await.unwrap();
    let target = own(&place, "table.ddl = \"dump.sql\"\n", dump).await;
    for strategy in STRATEGIES {
        check_whole(&target, &cell_of(strategy, "")).await;
    }
    target.close().await.unwrap();
    let counted = "SELECT last_value + is_called::int FROM public.orders_id_seq";
    assert_eq!(count(&client, counted).await, 1);
    assert_eq!(count(&client, "SELECT count(*) FROM public.orders").await, 0);
    for (default, words) in [
        ("nextval('public.orders_id_seq')", "`'public.orders_id_seq'` is not of this file"),
        (
            "nextval('public.orders_id_seq'::regclass)",
            "`'public.orders_id_seq'` is not of this file",
        ),
        ("nextval('16384')", "`'16384'` is not of this file"),
        ("nextval(16384::oid::regclass)", "name it as a literal"),
    ] {
        let text = format!("CREATE TABLE app.a (b bigint DEFAULT {default}, c int)");
        let problem = refused(&place, "table.ddl = \"it.sql\"\n", &text).await;
        assert!(problem.contains(words), "{default}: {problem}");
    }
    // Defaults that the server copies are not to be seen in the text, and must not be tried.
    let text = "CREATE TABLE a (LIKE public.orders INCLUDING ALL)";
    let problem = refused(&place, "table.ddl = \"it.sql\"\n", text).await;
    let words = "the DDL would write to public.orders_id_seq, outside of batchpilot's own schema; \
                 nothing was changed";
    assert!(problem.ends_with(words), "{problem}");
    assert_eq!(count(&client, counted).await, 1);
    // A function's body is not looked into: what it counts with is found by what it does.
    let text = "CREATE TABLE a (b bigint);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.b := nextval('public.orders_id_seq'); RETURN NEW; END $$;
        CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f();";
    let problem = refused(&place, "table.ddl = \"it.sql\"\n", text).await;
    let words = "nothing was changed but for public.orders_id_seq: numbers were drawn";
    assert!(problem.contains(words), "{problem}");
    assert!(1 < count(&client, counted).await);
}

#[tokio::test]
async fn a_table_like_one_of_the_database_leaves_that_as_it_was() {
    let place = database().await;
    let client = place.client().await;
    client.batch_execute(ORIGINAL).await.unwrap();
    let like = "table = { like = \"app.orders\", without_foreign_keys = true }";
    let problem = refused(&place, "table.like = \"app.orders\"", "").await;
    assert!(
        problem.contains("orders_customer_fkey (customer) refers to app.customers"),
        "{problem}"
    );
    let problem = refused(&place, "table.like = \"app.order\"", "").await;
    assert!(problem.contains("there is no table `app.order`"), "{problem}");

    let target = own(&place, like, "").await;
    let notes = target.own_table().unwrap().notes.join("; ");
    for words in ["foreign key orders_customer_fkey", "like app.orders", "(loud)", "compared: note"]
    {
        assert!(notes.contains(words), "{words}: {notes}");
    }
    // What its function does is not known for rows that were not on trial.
    let warnings = &target.own_table().unwrap().warnings;
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(warning.starts_with("trigger loud runs app.loud, which is not"), "{warning}");
    for strategy in STRATEGIES {
        check_whole(&target, &cell_of(strategy, "returning = false")).await;
    }
    check_whole(&target, &cell_of("unnest", "returning = true")).await;
    let copy = format!("\"{}\".orders", target.schema());
    let count_of = async |query: &str| count(&client, query).await;
    assert_eq!(
        count_of(&format!("SELECT count(*) FROM {copy} WHERE note = upper(note)")).await,
        300
    );
    let indexes = format!("SELECT count(*) FROM pg_index WHERE indrelid = '{copy}'::regclass");
    assert_eq!(count_of(&indexes).await, 3);
    let options = format!(
        "SELECT count(*) FROM pg_class WHERE oid = '{copy}'::regclass AND reloptions = '{{fillfactor=70}}'"
    );
    assert_eq!(count_of(&options).await, 1);
    // What was there is as it was; its sequence did not count on.
    assert_eq!(count_of("SELECT count(*) FROM app.orders").await, 1);
    assert_eq!(count_of("SELECT last_value FROM app.orders_id_seq").await, 1);
    target.close().await.unwrap();
    assert_eq!(place.schemas().await, Vec::<String>::new());
    assert_eq!(count_of("SELECT count(*) FROM app.orders").await, 1);
}

/// A trigger that writes to the user's tables is found before a row of the run is inserted.
#[tokio::test]
async fn a_trigger_that_writes_elsewhere_is_refused() {
    let place = database().await;
    let client = place.client().await;
    let spy = "CREATE FUNCTION app.spy() RETURNS trigger LANGUAGE plpgsql AS
                   $$ BEGIN INSERT INTO log.entries VALUES (NEW.note); RETURN NEW; END $$;
               CREATE TRIGGER spy AFTER INSERT ON app.orders FOR EACH ROW EXECUTE FUNCTION app.spy();";
    client.batch_execute(&format!("{ORIGINAL}{spy}")).await.unwrap();
    let like = "table = { like = \"app.orders\", without_foreign_keys = true }";
    let problem = refused(&place, like, "").await;
    assert!(
        problem.contains("would write to log.entries, outside of batchpilot's own schema"),
        "{problem}"
    );
    let outside = "CREATE TABLE a (b int);\n\
                   CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM log.entries; RETURN NEW; END $$;\n\
                   CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f();";
    client.batch_execute("INSERT INTO log.entries VALUES ('mine')").await.unwrap();
    let problem = refused(&place, "table.ddl = \"it.sql\"", outside).await;
    assert!(problem.contains("would write to log.entries"), "{problem}");
    assert_eq!(count(&client, "SELECT count(*) FROM log.entries").await, 1);
    let without =
        "table = { like = \"app.orders\", without_foreign_keys = true, without_triggers = true }";
    let target = own(&place, without, "").await;
    check_whole(&target, &cell_of("copy_binary", "")).await;
    target.close().await.unwrap();
    assert_eq!(count(&client, "SELECT count(*) FROM log.entries").await, 1);
}

/// What is made or changed outside takes no lock that is shown: the catalog tells who wrote a row of it.
/// So it does where the writing was a subtransaction's.
#[tokio::test]
async fn a_trigger_that_makes_or_changes_a_function_or_type_elsewhere_is_refused() {
    let place = database().await;
    let client = place.client().await;
    let log = "CREATE SCHEMA log; CREATE TABLE log.entries (note text);
               CREATE FUNCTION log.was_there() RETURNS int LANGUAGE sql AS 'SELECT 1';
               CREATE TYPE log.mood AS ENUM ('good'); CREATE DOMAIN log.small AS int;";
    client.batch_execute(log).await.unwrap();
    let rows = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&rows, "b\n1\n2\n3\n900\n").unwrap();
    let csv = format!("table.ddl = \"it.sql\"\nrows.csv = {:?}", rows.path());
    let made_up = "table.ddl = \"it.sql\"".to_owned();
    for (what, expected) in [
        ("CREATE FUNCTION log.made() RETURNS int LANGUAGE sql AS ''SELECT 1''", "log.made()"),
        (
            "CREATE OR REPLACE FUNCTION log.was_there() RETURNS int LANGUAGE sql AS ''SELECT 2''",
            "log.was_there()",
        ),
        ("CREATE TYPE log.made AS ENUM (''a'')", "log.made"),
        ("ALTER TYPE log.mood ADD VALUE ''bad''", "log.mood"),
        ("ALTER DOMAIN log.small ADD CHECK (VALUE < 9)", "log.small"),
        ("INSERT INTO log.entries VALUES (''it'')", "log.entries"),
    ] {
        for body in [
            format!("EXECUTE '{what}';"),
            format!("BEGIN EXECUTE '{what}'; EXCEPTION WHEN division_by_zero THEN NULL; END;"),
        ] {
            let ddl = format!(
                "CREATE TABLE a (b int CHECK (b < 500));\n\
                 CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$\n\
                 BEGIN {body} RETURN NULL; END $$;\n\
                 CREATE TRIGGER t AFTER INSERT ON a FOR EACH STATEMENT EXECUTE FUNCTION f();"
            );
            // With a line that the server refuses, what all lines at once left is undone.
            for keys in [&made_up, &csv] {
                let problem = refused(&place, keys, &ddl).await;
                let words = format!("would write to {expected}");
                assert!(problem.contains(&words), "{body} {keys}: {problem}");
                assert!(problem.contains("nothing was changed"), "{problem}");
            }
        }
    }
    let count_of = async |query: &str| count(&client, query).await;
    let functions = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'log'::regnamespace";
    assert_eq!(
        (count_of(functions).await, count_of("SELECT log.was_there()::bigint").await),
        (1, 1)
    );
    assert_eq!(count_of("SELECT count(*) FROM pg_enum").await, 1);
    let types = "SELECT count(*) FROM pg_type WHERE typnamespace = 'log'::regnamespace \
                 AND typtype IN ('e', 'd')";
    assert_eq!(count_of(types).await, 2);
    assert_eq!(count_of("SELECT count(*) FROM log.entries").await, 0);
}

/// Others may make functions and types in the same database meanwhile: that is no trace of ours.
#[tokio::test]
async fn what_others_make_meanwhile_is_not_held_against_a_table() {
    let place = database().await;
    let client = place.client().await;
    client.batch_execute("CREATE SCHEMA other").await.unwrap();
    // Slow enough for some to be committed between the first row on trial and the last look.
    let ddl = "CREATE TABLE a (b int);\n\
               CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$\n\
               BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END $$;\n\
               CREATE TRIGGER t AFTER INSERT ON a FOR EACH STATEMENT EXECUTE FUNCTION f();";
    let busy = async {
        for number in 0..1_000 {
            let make = format!(
                "CREATE FUNCTION other.f{number}() RETURNS int LANGUAGE sql AS 'SELECT 1'; \
                 CREATE TYPE other.t{number} AS ENUM ('a')"
            );
            client.batch_execute(&make).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = busy => panic!("the table takes too long"),
        target = own(&place, "table.ddl = \"it.sql\"", ddl) => target.close().await.unwrap(),
    }
}

const SCENARIO: &str = "name = \"own\"\nrepetitions = 2\nstop = { rows = 200 }\n\
    [table]\nddl = \"schema.sql\"\n[[columns]]\nname = \"price\"\nrange = [1, \"x\"]\n\
    [[cells]]\nname = \"copy\"\nstrategy = \"copy_binary\"\nbatch_rows = 50\n";
const SCHEMA: &str = "CREATE TABLE public.orders (id bigserial PRIMARY KEY, price numeric(8, 2));\n\
    CREATE TABLE public.parts (id smallint PRIMARY KEY, name text);\n";

async fn run_with(place: &Place, desk: &Desk, scenario: &str, arguments: &[&str]) -> Ended {
    std::fs::write(desk.path().join("schema.sql"), SCHEMA).unwrap();
    let mut command = desk.run(scenario);
    command.arg("--url").arg(place.url()).args(arguments);
    ended(command).await
}

#[tokio::test]
async fn the_command_line_names_the_table_and_says_where_a_mistake_is() {
    let (place, desk) = (database().await, Desk::new());
    let file = desk.path().join("schema.sql").display().to_string();
    let good = SCENARIO.replace("\"x\"", "\"9.99\"");
    let plain = good.replace("[[columns]]\nname = \"price\"\nrange = [1, \"9.99\"]\n", "");
    for (scenario, arguments, words) in [
        (good.as_str(), &[][..], "makes 2 tables; name one with --table: orders, parts"),
        (
            SCENARIO,
            &["--table", "orders"],
            "scenario.toml:8:9: key `columns[0].range`: invalid input syntax",
        ),
        (
            &good,
            &["--table", "parts"],
            "scenario.toml:7:8: key `columns[0].name`: the table has no column `price`",
        ),
        (&good, &["--ddl", "missing.sql"], "cannot read missing.sql: No such file"),
        (&plain, &["--table", "other.table"], "there is no table `other.table` in the database"),
        (
            &plain.replace("rows = 200", "rows = 40_000"),
            &["--table", "parts"],
            "UNIQUE columns of `parts` have values for 32767 rows",
        ),
    ] {
        let ended = run_with(&place, &desk, scenario, arguments).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
        assert!(!desk.out().exists(), "{ended:?}");
        assert_eq!(place.schemas().await, Vec::<String>::new());
    }
    let ended = run_with(&place, &desk, &plain, &["--ddl", &file, "--table", "parts"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.starts_with("VALID: 2 of 2 blocks"), "{ended:?}");
    let record = batchpilot::record::read(&desk.only_run()).unwrap();
    let plan: &Plan = &record.plan;
    assert_eq!(plan.table.name, "parts");
    assert_eq!(place.schemas().await, Vec::<String>::new());
}

/// A trigger is copied with its table, and its function is not: that is said at once, and kept.
#[tokio::test]
async fn a_copied_trigger_is_named_with_its_function() {
    let (place, desk) = (database().await, Desk::new());
    place.client().await.batch_execute(ORIGINAL).await.unwrap();
    let scenario = "name = \"own\"\nrepetitions = 2\nstop = { rows = 200 }\n\
        [[cells]]\nname = \"copy\"\nstrategy = \"copy_binary\"\nbatch_rows = 50\n";
    let table = ["--table", "app.orders", "--without-foreign-keys"];
    let said = "trigger loud runs app.loud, which is not batchpilot's";
    let finished = run_with(&place, &desk, scenario, &table).await;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stderr.matches(said).count(), 1, "{finished:?}");
    let record = batchpilot::record::read(&desk.only_run()).unwrap();
    assert_eq!(record.notes.iter().filter(|it| it.starts_with(said)).count(), 1);

    let desk = Desk::new();
    let finished =
        run_with(&place, &desk, scenario, &[&table[..], &["--without-triggers"]].concat()).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");

    // Both arms of a check have it; it is said once.
    let desk = Desk::new();
    let mut command = batchpilot();
    command.args(["check", "--null"]).args(table).args(["--url", &place.url()]);
    command.args(["--block-min", "100ms", "--block-max", "100ms", "--guard-min", "10ms"]);
    command.args(["--guard-operations", "0", "--warm-up-max", "1s", "--pairs-min", "6"]);
    command.args(["--client-bound-max", "100%", "--steal-max", "100%", "--looks", "7:0.02"]);
    command.arg("--out").arg(desk.out());
    let finished = ended(command).await;
    assert!(matches!(finished.code, Some(0 | 10)), "{finished:?}");
    assert_eq!(finished.stderr.matches(said).count(), 1, "{finished:?}");
    let record = batchpilot::record::read_check(&desk.only_run()).unwrap();
    assert_eq!(record.notes.iter().filter(|it| it.starts_with(said)).count(), 1);
}

/// What a search measures after it runs within the same limits: 5 columns a row, 32,767 keys.
#[tokio::test]
async fn a_search_keeps_to_the_columns_and_to_the_keys_there_are() {
    let (place, desk) = (database().await, Desk::new());
    let schema = "CREATE TABLE parts (id smallint PRIMARY KEY, a int, b int, c text, d boolean)";
    std::fs::write(desk.path().join("schema.sql"), schema).unwrap();
    let scenario = desk.scenario(
        "name = \"own\"\ntable.ddl = \"schema.sql\"\n\
         [[cells]]\nname = \"search\"\nstrategy = \"multi_row\"\n",
    );
    let mut command = batchpilot();
    command.arg("tune").arg(scenario).args(["--workers", "1-2", "--search", "2s"]);
    command.args(["--repetitions", "2", "--url", &place.url()]).arg("--out").arg(desk.out());
    let ended = ended(command).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.starts_with("VALID: "), "{ended:?}");
    let record = batchpilot::record::read(&desk.only_run()).unwrap();
    let plan: &Plan = &record.plan;
    assert_eq!(plan.cells[0].controller.unwrap().bounds.batch_rows(), (1, 13_107));
    assert!(2 <= plan.tuning.as_ref().unwrap().contenders.len(), "{:?}", plan.tuning);
    for block in &record.blocks {
        assert!(block.is_valid() && block.rows_confirmed <= 32_767, "{block:?}");
        assert_eq!(block.errors.len(), 0, "{block:?}");
    }
    assert!(record.complete);
    assert_eq!(place.schemas().await, Vec::<String>::new());
}
