//! Whole runs from the command line, as a person or a script sees them: exit code, what is said and
//! where, and what is left behind.

use std::{fs, io::Write as _, path::Path, time::Duration};

use batchpilot::{
    clock,
    record::{self, BlockEnd, Record},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};
use tokio::process::Child;

use crate::{
    cluster::{processes_of, wait_until},
    frozen::Frozen,
    support::{
        BATCHPILOT, Desk, Ended, Place, batchpilot, batchpilot_by, cluster, database, ended,
    },
};

/// Copies 30 rows in batches of 10.
pub(crate) const SHORT: &str = "name = \"short\"\nrepetitions = 2\nstop = { rows = 30 }\n[[cells]]\n\
                     name = \"copy\"\nstrategy = \"copy_binary\"\nbatch_rows = 10\n";

async fn run_on(place: &Place, desk: &Desk, scenario: &str) -> Ended {
    let mut command = desk.run(scenario);
    command.arg("--url").arg(place.url());
    ended(command).await
}

/// Holds a failed run to: said in a line or two on standard error, nothing else left anywhere.
fn check_failed(ended: &Ended, desk: &Desk, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    assert!(ended.stderr.starts_with("batchpilot: "), "{ended:?}");
    assert!((1..=2).contains(&ended.stderr.lines().count()), "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is not in {ended:?}");
    }
    assert!(!desk.out().exists(), "{ended:?}");
}

#[tokio::test]
async fn a_good_run_is_valid_and_leaves_only_its_results() {
    let (place, desk) = (database().await, Desk::new());
    let ended = run_on(&place, &desk, SHORT).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.starts_with("VALID: 2 of 2 blocks"), "{ended:?}");
    let record = record::read(&desk.only_run()).unwrap();
    assert!(record.complete && record.finished_at.is_some());
    assert_eq!(place.schemas().await, Vec::<String>::new());
}

/// Runs a scenario with files of at most `units` times 512 bytes, or 1,024: shells differ. A write
/// beyond that fails as on a full disk.
async fn run_with_small_files(place: &Place, desk: &Desk, scenario: &str, units: u32) -> Ended {
    let mut command = batchpilot_by("/bin/sh");
    let limit = format!("trap '' XFSZ; ulimit -f {units}; exec \"$0\" \"$@\"");
    command.args(["-c", &limit, BATCHPILOT, "run"]).arg(desk.scenario(scenario));
    command.arg("--out").arg(desk.out()).arg("--url").arg(place.url());
    ended(command).await
}

#[tokio::test]
async fn a_record_that_cannot_be_written_leaves_no_schema() {
    let (place, desk) = (database().await, Desk::new());
    let ended = run_with_small_files(&place, &desk, SHORT, 1).await;
    check_failed(&ended, &desk, 1, &["record.json", "File too large"]);
    assert_eq!(place.schemas().await, Vec::<String>::new());
}

#[tokio::test]
async fn windows_that_cannot_be_written_cost_no_block() {
    let (place, desk) = (database().await, Desk::new());
    // 400 windows of 200 bytes.
    let scenario = "name = \"long\"\nrepetitions = 2\nwindow_ms = 10\n\
                    stop = { seconds = 4.0 }\n[[cells]]\nname = \"copy\"\n\
                    strategy = \"copy_binary\"\nbatch_rows = 10\npace = { rate = 100.0 }\n";
    let ended = run_with_small_files(&place, &desk, scenario, 48).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("windows.csv: "), "{ended:?}");
    assert!(ended.stderr.contains("File too large"), "{ended:?}");
    let record = record::read(&desk.only_run()).unwrap();
    assert!(!record.complete && record.finished_at.is_some());
    assert_eq!(record.blocks.len(), 1);
    assert!(record.blocks[0].is_valid() && 0 < record.blocks[0].rows_confirmed);
    assert_eq!(place.schemas().await, Vec::<String>::new());
}

/// Has `body` run for every table `users` that is made; `made.object_identity` is its name.
async fn on_new_table(place: &Place, body: &str) {
    let text = format!(
        "CREATE FUNCTION on_new_table() RETURNS event_trigger LANGUAGE plpgsql AS $$ \
         DECLARE made record; BEGIN \
           FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() \
               WHERE command_tag = 'CREATE TABLE' AND object_identity LIKE '%.users' LOOP \
             {body} \
           END LOOP; \
         END $$; \
         CREATE EVENT TRIGGER on_new_table ON ddl_command_end WHEN TAG IN ('CREATE TABLE') \
         EXECUTE FUNCTION on_new_table()"
    );
    place.client().await.batch_execute(&text).await.unwrap();
}

/// Has `body` run for row 6, whose id is 7, before or after it is inserted.
pub(crate) async fn meddle(place: &Place, timing: &str, body: &str) {
    let function = format!(
        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
    );
    place.client().await.batch_execute(&function).await.unwrap();
    let trigger = format!(
        "EXECUTE format('CREATE TRIGGER meddle {timing} INSERT ON %s FOR EACH ROW \
                         WHEN (NEW.id = 7) EXECUTE FUNCTION public.meddle()', \
                        made.object_identity);"
    );
    on_new_table(place, &trigger).await;
}

#[tokio::test]
async fn a_table_that_lies_makes_the_run_invalid_and_that_is_said_first() {
    let insert = |values: &str| {
        format!(
            "EXECUTE format('INSERT INTO %I.%I (name, email, age, created_at) SELECT {values}', \
             TG_TABLE_SCHEMA, TG_TABLE_NAME) USING NEW; RETURN NULL;"
        )
    };
    let twice = insert("($1).name, ($1).email, ($1).age, ($1).created_at");
    let stranger = insert("''eve'', ''eve@example.com'', 40, now()");
    let delete = "EXECUTE format('DELETE FROM %I.%I WHERE id = 7', TG_TABLE_SCHEMA, \
                  TG_TABLE_NAME); RETURN NULL;";
    for (timing, body, expected) in [
        ("AFTER", delete, "30 rows confirmed, 29 found: 1 missing (row 6)"),
        ("BEFORE", "RETURN NULL;", "30 rows confirmed, 29 found: 1 missing (row 6)"),
        ("AFTER", &twice, "30 rows confirmed, 31 found: 1 duplicate (row 6)"),
        ("AFTER", &stranger, "30 rows confirmed, 31 found: 1 foreign (\"eve@example.com\")"),
        ("BEFORE", "NEW.age := NEW.age + 1; RETURN NEW;", "1 changed (row 6: age)"),
    ] {
        for strategy in ["copy_binary", "multi_row", "unnest"] {
            let (place, desk) = (database().await, Desk::new());
            meddle(&place, timing, body).await;
            let scenario = SHORT.replace("copy_binary", strategy);
            let ended = run_on(&place, &desk, &format!("{scenario}on_error = \"collect\"\n")).await;
            assert_eq!(ended.code, Some(13), "{ended:?}");
            assert!(ended.stdout.starts_with("INVALID: 0 of 2 blocks"), "{ended:?}");
            assert!(ended.stdout.contains("block 0 (copy, repetition 0): "), "{ended:?}");
            assert!(ended.stdout.contains(expected), "{expected}: {ended:?}");
            assert_eq!(place.schemas().await, Vec::<String>::new());

            // The record says so too, whenever it is asked.
            let mut again = batchpilot();
            again.arg("report").arg(desk.only_run());
            let again = crate::support::ended(again).await;
            assert_eq!(again.code, Some(13), "{again:?}");
            assert!(again.stdout.starts_with("INVALID: "), "{again:?}");
        }
    }
}

#[tokio::test]
async fn an_invalid_run_is_not_forgotten_over_what_comes_next() {
    let good = database().await;
    let refused = Place { user: format!("nobody_{}", good.database), ..good.clone() };
    for (next, said) in [(&good, ""), (&refused, "cannot connect")] {
        let (place, desk) = (database().await, Desk::new());
        meddle(&place, "BEFORE", "RETURN NULL;").await;
        let scenario = |place: &Place| {
            format!("{SHORT}on_error = \"collect\"\n[target]\nurl = \"{}\"\n", place.url())
        };
        let second = desk.path().join("second.toml");
        fs::write(&second, scenario(next)).unwrap();
        let mut command = desk.run(&scenario(&place));
        command.arg(second);
        let ended = ended(command).await;
        assert_eq!(ended.code, Some(13), "{ended:?}");
        assert!(ended.stdout.starts_with("INVALID: "), "{ended:?}");
        assert!(ended.stderr.contains(said), "{ended:?}");
    }
}

/// Who may insert and not select: the first block's rows cannot be checked, so there is no second.
#[tokio::test]
async fn a_table_that_cannot_be_read_back_ends_the_run_and_says_why() {
    let (place, desk) = (database().await, Desk::new());
    let revoke =
        "EXECUTE format('REVOKE SELECT ON %s FROM %I', made.object_identity, current_user);";
    on_new_table(&place, revoke).await;
    let plain = place.with_plain_role().await;
    let ended = run_on(&plain, &desk, SHORT).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.starts_with("INCOMPLETE: "), "{ended:?}");
    assert!(ended.stderr.contains("the table could not be read back: "), "{ended:?}");
    assert!(ended.stderr.contains("permission denied"), "{ended:?}");
    let record = record::read(&desk.only_run()).unwrap();
    assert_eq!(record.blocks.len(), 1);
    let why = record.blocks[0].verification_error.as_ref().unwrap();
    assert!(why.contains("permission denied"), "{why}");
    assert!(record.notes.iter().any(|it| it.starts_with("an error ended the run: ")), "{record:?}");
    assert_eq!(place.schemas().await, Vec::<String>::new());
}

/// As libpq does: so that no password need be in a list of processes.
#[tokio::test]
async fn a_url_without_a_password_takes_that_of_the_environment() {
    let (place, desk) = (database().await, Desk::new());
    let Place { port, database: name, user, password, .. } = place.with_plain_role().await;
    let url = format!("postgresql://{user}@127.0.0.1:{port}/{name}");
    for (password, code) in [(password.as_str(), Some(0)), ("", Some(1))] {
        let mut command = desk.run(SHORT);
        command.env("PGPASSWORD", password).args(["--url", &url]);
        let ended = ended(command).await;
        assert_eq!(ended.code, code, "{ended:?}");
    }
}

#[tokio::test]
async fn an_operation_that_was_confirmed_in_part_makes_the_run_invalid() {
    for transaction in ["\"autocommit\"", "\"explicit\"", "{ every = 2 }", "\"whole\""] {
        let (place, desk) = (database().await, Desk::new());
        meddle(&place, "BEFORE", "RETURN NULL;").await;
        let scenario = format!("{SHORT}transaction = {transaction}\n");
        let ended = run_on(&place, &desk, &scenario).await;
        assert_eq!(ended.code, Some(13), "{ended:?}");
        assert!(ended.stdout.starts_with("INVALID: "), "{ended:?}");
        assert!(ended.stdout.contains("1 missing (row 6)"), "{ended:?}");
        let said = "10 rows were sent and the server confirmed 9";
        assert!(ended.stderr.contains(said), "{ended:?}");
        assert_eq!(place.schemas().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_said_with_the_way_out() {
    let place = database().await;
    let plain = place.with_plain_role().await;
    let Place { port, database: name, user, .. } = &plain;
    let refused = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let nobody = Place { user: format!("{user}_nobody"), ..plain.clone() };
    let limited = Place { user: format!("{user}_limited"), ..plain.clone() };
    let setup = format!(
        "CREATE ROLE {} LOGIN PASSWORD 'plain'; \
         CREATE ROLE {} LOGIN PASSWORD 'plain' CONNECTION LIMIT 3; \
         GRANT CREATE ON DATABASE {name} TO {}",
        nobody.user, limited.user, limited.user
    );
    place.client().await.batch_execute(&setup).await.unwrap();
    let five = "[[cells]]\nname = \"five\"\nstrategy = \"unnest\"\nworkers = 5\n";
    let wrong = Place { password: "s3cret-and-wrong".to_owned(), ..plain.clone() };
    let absent = Place { database: "no_such_database".to_owned(), ..plain.clone() };
    let local = format!("127.0.0.1:{port}");
    for (url, words) in [
        (
            "postgresql://me@no-such-host.invalid/db".to_owned(),
            &["no-such-host.invalid:5432", "check the host's name"][..],
        ),
        (format!("postgresql://me@127.0.0.1:{refused}/db"), &["refused", "check host and port"]),
        (wrong.url(), &[&local, "password authentication failed", "set PGPASSWORD"]),
        (absent.url(), &[&local, "\"no_such_database\" does not exist", "createdb"]),
        (nobody.url(), &["permission denied", "GRANT CREATE ON DATABASE"]),
        (
            limited.url(),
            &["session 3 of 5", "too many connections", "fewer workers or a smaller pool"],
        ),
        (
            format!("{}?options=-c%20default_transaction_read_only%3Don", plain.url()),
            &["read-only", "name the primary"],
        ),
    ] {
        let desk = Desk::new();
        let mut command = desk.run(&format!("name = \"short\"\n{five}"));
        command.args(["--url", &url]);
        let ended = ended(command).await;
        check_failed(&ended, &desk, 1, words);
        assert!(!ended.stderr.contains("s3cret"), "{ended:?}");
        assert_eq!(place.schemas().await, Vec::<String>::new(), "{url}");
    }
}

#[tokio::test]
async fn a_table_that_cannot_be_made_is_said() {
    let (place, desk) = (database().await, Desk::new());
    on_new_table(&place, "RAISE EXCEPTION 'no users here';").await;
    let ended = run_on(&place, &desk, SHORT).await;
    check_failed(&ended, &desk, 1, &["cannot make table users", "no users here"]);
    assert_eq!(place.schemas().await, Vec::<String>::new());
}

#[tokio::test]
async fn fewer_connections_than_workers_are_said() {
    let cluster = cluster(&[("max_connections", "8"), ("fsync", "off")]).await;
    let (place, desk) = (Place::of(&cluster), Desk::new());
    let many = SHORT.to_owned() + "workers = 20\n";
    let ended = run_on(&place, &desk, &many).await;
    check_failed(&ended, &desk, 1, &["cell `copy`", "of 20", "too many clients", "fewer workers"]);
    assert_eq!(place.schemas().await, Vec::<String>::new());
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn results_that_cannot_be_written_are_said_before_a_server_is_touched() {
    let desk = Desk::new();
    let file = desk.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let mut command = batchpilot();
    command.arg("run").arg(desk.scenario(SHORT)).arg("--out").arg(file.join("below"));
    // The server named here does not exist: nobody must have asked for it.
    command.args(["--url", "postgresql://me@127.0.0.1:1/db"]);
    let ended = ended(command).await;
    check_failed(&ended, &desk, 1, &["cannot make the results directory", "--out", "file/below"]);
}

#[tokio::test]
async fn a_scenario_that_cannot_run_is_a_usage_error_with_its_place() {
    for (scenario, words) in [
        ("name = [", &["scenario.toml:1:9"][..]),
        ("}{ nonsense", &["scenario.toml:1:1", "invalid TOML"]),
        ("name = \"x\"\n", &["cells"]),
        ("name = \"x\"\ncells = []\n", &["no cell to measure"]),
        (&SHORT.replace("batch_rows", "batchsize"), &["unknown key `batchsize`", "`batch_rows`"]),
        (&SHORT.replace("batch_rows = 10", "batch_rows = 0"), &["0 is out of range", "1 to"]),
        (&SHORT.replace("batch_rows = 10", "batch_rows = -1"), &["batch_rows", "-1"]),
        (&SHORT.replace("batch_rows = 10", "batch_rows = 1e3"), &["batch_rows", "integer"]),
        (&SHORT.replace("repetitions = 2", "repetitions = 0"), &["repetitions", "1 to 1000"]),
        (&SHORT.replace("rows = 30", "rows = 0"), &["stop.rows", "0 is out of range"]),
        (&SHORT.replace("rows = 30", "seconds = -1.0"), &["stop.seconds", "-1 is out of range"]),
        (&SHORT.replace("rows = 30", "seconds = nan"), &["stop.seconds", "out of range"]),
        (&(SHORT.to_owned() + "workers = 0\n"), &["workers", "0 is out of range"]),
        (&(SHORT.to_owned() + "workers = -5\n"), &["workers", "-5"]),
        (&(SHORT.to_owned() + "workers = 99999999999999999999\n"), &["workers"]),
        (&(SHORT.to_owned() + "pace = { rate = 0.0 }\n"), &["pace.rate", "0.001 to"]),
        (&(SHORT.to_owned() + "pool = { size_max = 0 }\n"), &["pool.size_max", "1 to"]),
    ] {
        let desk = Desk::new();
        let ended = ended(desk.run(scenario)).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{scenario}: {ended:?}");
        for word in words {
            assert!(ended.stderr.contains(word), "{word:?} is not in {ended:?}");
        }
        assert!(ended.stderr.contains("scenario.toml:"), "{ended:?}");
        assert_eq!(desk.runs(), Vec::<std::path::PathBuf>::new());
    }
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_usage_errors() {
    for arguments in [
        &["run"][..],
        &["run", "no-such-file.toml"],
        &["run", "scenarios/example.toml", "--seed", "-1"],
        &["run", "scenarios/example.toml", "--url", "nonsense"],
        &["reproduce", "--repetitions", "0"],
        &["reproduce", "--repetitions", "-3"],
        &["report"],
    ] {
        let desk = Desk::new();
        let mut command = batchpilot();
        command.args(arguments).current_dir(desk.path());
        fs::create_dir(desk.path().join("scenarios")).unwrap();
        fs::write(desk.path().join("scenarios/example.toml"), SHORT).unwrap();
        let ended = ended(command).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?} {ended:?}");
        assert!(!ended.stderr.is_empty(), "{arguments:?}");
        assert!(!desk.path().join("results").exists(), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_batch_above_the_limit_is_clamped_and_that_is_said() {
    let desk = Desk::new();
    let large =
        SHORT.replace("copy_binary", "multi_row").replace("batch_rows = 10", "batch_rows = 20_000");
    let mut command = desk.run(&large);
    command.arg("--check");
    let ended = ended(command).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.contains("batch_rows 20000 clamped to 16383"), "{ended:?}");
    assert_eq!(desk.runs(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn rejected_rows_are_dead_lettered() {
    for (on_error, code) in [("collect", 0), ("fail_fast", 1)] {
        let (place, desk) = (database().await, Desk::new());
        // The first row whose id can be divided by 8 has its place; those after it find it taken.
        let index = "EXECUTE format('CREATE UNIQUE INDEX eighths ON %s \
                                     ((CASE WHEN id %% 8 = 0 THEN 0 ELSE id END))', \
                                    made.object_identity);";
        on_new_table(&place, index).await;
        let scenario = format!(
            "name = \"short\"\nrepetitions = 1\nstop = {{ rows = 40 }}\n[[cells]]\n\
             name = \"single\"\nstrategy = \"single_row\"\non_error = \"{on_error}\"\n"
        );
        let ended = run_on(&place, &desk, &scenario).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let run = desk.only_run();
        let text = fs::read_to_string(run.join("dead_letters.jsonl")).unwrap();
        let letters: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // Ids 16, 24, 32 and 40 are rows 15, 23, 31 and 39.
        let rows: Vec<u64> =
            letters.iter().map(|it| it["rows"][0]["start"].as_u64().unwrap()).collect();
        let record = record::read(&run).unwrap();
        let block = &record.blocks[0];
        match on_error {
            "collect" => {
                assert_eq!(rows, [15, 23, 31, 39]);
                assert_eq!((block.rows_confirmed, block.rows_failed), (36, 4));
                assert!(ended.stdout.starts_with("VALID: "), "{ended:?}");
                let said = "single: 4 rows were sent and not inserted (23505 x 4)";
                assert!(ended.stdout.replace("\n  ", " ").contains(said), "{ended:?}");
            }
            _ => {
                assert_eq!(rows, [15]);
                assert_eq!((block.rows_confirmed, block.ended), (15, BlockEnd::Failed));
                assert!(ended.stdout.starts_with("INCOMPLETE: "), "{ended:?}");
                assert!(ended.stderr.contains("cell `single`: "), "{ended:?}");
                assert!(ended.stderr.contains("(23505)"), "{ended:?}");
            }
        }
        assert_eq!(block.errors.get("23505"), Some(&(rows.len() as u64)));
        assert!(block.complaint().is_none());
        for letter in &letters {
            assert_eq!(letter["sqlstate"], "23505");
            assert!(letter["message"].as_str().unwrap().contains("eighths"), "{letter}");
        }
        assert_eq!(place.schemas().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_password_is_written_nowhere() {
    let (shared, desk) = (database().await, Desk::new());
    let place = shared.with_plain_role().await;
    let password = "pass-w0rd-of-the-test";
    let set = format!("ALTER ROLE {} PASSWORD '{password}'", place.user);
    shared.client().await.batch_execute(&set).await.unwrap();
    let place = Place { password: password.to_owned(), ..place };
    let url = place.url();
    let refused = url.replace(&place.database, "no_such_database");
    let in_file = format!("{SHORT}[target]\nurl = \"{url}\"\n");
    let misspelt = in_file.replace("url =", "urls =");
    let nonsense = format!("postgresql://me:{password}@:x/");
    for (scenario, arguments, environment, code) in [
        (SHORT, &["--url", &url][..], None, 0),
        (SHORT, &[], Some(("DATABASE_URL", &url)), 0),
        (&in_file, &[], None, 0),
        (SHORT, &["--url", &refused], None, 1),
        (SHORT, &["--url", &nonsense], None, 2),
        (&misspelt, &[], None, 2),
    ] {
        let mut command = desk.run(scenario);
        command.arg("-v").args(arguments).envs(environment);
        let ended = ended(command).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(!ended.stdout.contains(password) && !ended.stderr.contains(password), "{ended:?}");
    }
    assert_eq!(desk.runs().len(), 3);
    let mut files = Vec::new();
    for run in desk.runs() {
        files.extend(files_below(&run));
    }
    for name in ["record.json", "windows.csv", "blocks.csv", "latency.hlog"] {
        assert_eq!(files.iter().filter(|file| file.ends_with(name)).count(), 3, "{name}");
    }
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let is_in = bytes.windows(password.len()).any(|it| it == password.as_bytes());
        assert!(!is_in, "{}", file.display());
    }
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

/// Makes a folder that the server's own user can get into when root runs the test.
fn folder_for_servers() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(folder.path(), open).unwrap();
    folder
}

#[tokio::test]
async fn push_back_is_said() {
    let (place, desk) = (database().await, Desk::new());
    let setup = "CREATE SEQUENCE attempts; \
                 CREATE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                   IF nextval('public.attempts') % 5 = 0 THEN \
                     RAISE EXCEPTION 'every fifth' USING ERRCODE = '40001'; \
                   END IF; RETURN NEW; END $$";
    place.client().await.batch_execute(setup).await.unwrap();
    let trigger = "EXECUTE format('CREATE TRIGGER complain BEFORE INSERT ON %s FOR EACH ROW \
                                   EXECUTE FUNCTION public.complain()', made.object_identity);";
    on_new_table(&place, trigger).await;
    let scenario = "name = \"short\"\nrepetitions = 1\nstop = { rows = 40 }\n[[cells]]\n\
                    name = \"single\"\nstrategy = \"single_row\"\n";
    let ended = run_on(&place, &desk, scenario).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // 40 rows and 9 attempts in vain: the 5th, 10th, … and 45th of 49.
    let said =
        "single: 9 attempts were pushed back, or found no server (40001 x 9); all were tried again";
    assert!(ended.stdout.replace("\n  ", " ").contains(said), "{ended:?}");
}

/// Many short blocks: there is always one under way and one that has ended.
const LONG: &str = "name = \"long\"\nrepetitions = 500\nstop = { seconds = 0.1 }\n[[cells]]\n\
                    name = \"copy\"\nstrategy = \"copy_binary\"\nworkers = 2\n";

/// A batchpilot that is running.
struct Running {
    process: Child,
    run: std::path::PathBuf,
}

impl Running {
    /// Starts a run and waits until two blocks are on disk.
    async fn start(desk: &Desk, mut command: tokio::process::Command) -> Running {
        let earlier = desk.runs();
        let process = command.spawn().unwrap();
        let new_run = || desk.runs().into_iter().find(|run| !earlier.contains(run));
        let has_two = || {
            new_run().and_then(|run| record::read(&run).ok()).is_some_and(|it| 2 <= it.blocks.len())
        };
        wait_until(Duration::from_secs(60), has_two).await;
        Running { process, run: new_run().unwrap() }
    }

    fn send(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    async fn ended(self) -> (Ended, Record) {
        let ended = self.process.wait_with_output().await.unwrap().into();
        (ended, record::read(&self.run).unwrap())
    }
}

/// Holds the record of a run that was cut short to: what was measured before is all there.
fn check_cut_short(record: &Record, blocks_min: usize) {
    assert!(!record.complete);
    assert!(blocks_min <= record.blocks.len() && record.blocks.len() < 500);
    for block in &record.blocks[..record.blocks.len() - 1] {
        assert!(block.is_valid(), "{block:?}");
    }
    assert_eq!(record.blocks.last().unwrap().complaint(), None);
}

/// Holds what `report` says about the record of a run that was cut short.
async fn check_report_of_cut_short(run: &Path) {
    let mut command = batchpilot();
    command.arg("report").arg(run);
    let ended = ended(command).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.starts_with("INCOMPLETE: "), "{ended:?}");
    assert!(ended.stdout.contains(" of 500 blocks were run"), "{ended:?}");
}

#[tokio::test]
async fn kill_9_leaves_a_readable_record_and_no_server() {
    let (desk, place) = (Desk::new(), folder_for_servers());
    let mut command = desk.run(LONG);
    command.env("TMPDIR", place.path());
    let running = Running::start(&desk, command).await;
    let directories = || -> Vec<std::path::PathBuf> {
        fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let before = directories();
    let servers: Vec<i32> = before.iter().flat_map(|it| processes_of(it)).collect();
    assert!(4 < servers.len(), "{before:?} {servers:?}");

    running.send(Signal::SIGKILL);
    let is_gone =
        || before.iter().all(|it| processes_of(it).is_empty()) && directories().is_empty();
    wait_until(Duration::from_secs(5), is_gone).await;
    let run = running.run.clone();
    let (ended, record) = running.ended().await;
    assert_eq!(ended.code, None, "{ended:?}");
    check_cut_short(&record, 2);
    assert_eq!(record.finished_at, None);
    check_report_of_cut_short(&run).await;
}

#[tokio::test]
async fn a_signal_ends_the_run_in_good_order() {
    let place = database().await;
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let desk = Desk::new();
        let mut command = desk.run(LONG);
        command.args(["--url", &place.url()]);
        let running = Running::start(&desk, command).await;
        assert_eq!(place.schemas().await.len(), 1);
        running.send(signal);
        let run = running.run.clone();
        let (ended, record) = running.ended().await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), ""), "{ended:?}");
        assert!(ended.stdout.starts_with("INCOMPLETE: "), "{ended:?}");
        assert!(ended.stdout.contains("stopped by a signal"), "{ended:?}");
        check_cut_short(&record, 2);
        assert!(record.finished_at.is_some());
        check_report_of_cut_short(&run).await;
        assert_eq!(place.schemas().await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_signal_does_not_wait_for_a_checkpoint() {
    let cluster = cluster(&[("fsync", "off")]).await;
    let (place, desk) = (Place::of(&cluster), Desk::new());
    let mut command = desk.run(LONG);
    command.args(["--url", &place.url()]);
    let running = Running::start(&desk, command).await;
    let client = place.client().await;
    let paused = Frozen::checkpointer(&client).await;
    let waiting = "SELECT FROM pg_stat_activity WHERE query = 'CHECKPOINT' AND state = 'active'";
    while client.query(waiting, &[]).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.send(Signal::SIGTERM);
    let ended = tokio::time::timeout(Duration::from_secs(10), running.ended()).await;
    drop(paused);
    let (ended, record) = ended.expect("it does not wait for the checkpoint");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(143), ""), "{ended:?}");
    check_cut_short(&record, 2);
    assert_eq!(place.schemas().await, Vec::<String>::new());
    cluster.stop().await.unwrap();
}

/// A run's first CHECKPOINT, before any block, may take minutes too.
#[tokio::test]
async fn a_signal_does_not_wait_for_the_first_checkpoint() {
    let cluster = cluster(&[("fsync", "off")]).await;
    let (place, desk) = (Place::of(&cluster), Desk::new());
    let client = place.client().await;
    let paused = Frozen::checkpointer(&client).await;
    let mut command = desk.run(LONG);
    let process = command.args(["--url", &place.url()]).spawn().unwrap();
    let waiting = "SELECT FROM pg_stat_activity WHERE query = 'CHECKPOINT' AND state = 'active'";
    while client.query(waiting, &[]).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pid = Pid::from_raw(i32::try_from(process.id().unwrap()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), process.wait_with_output()).await;
    drop(paused);
    let ended: Ended = ended.expect("it does not wait for the checkpoint").unwrap().into();
    let said = (ended.code, ended.stdout.as_str(), ended.stderr.as_str());
    let words = "batchpilot: stopped before the first block\n";
    assert_eq!(said, (Some(143), "", words), "{ended:?}");
    assert_eq!(desk.runs(), Vec::<std::path::PathBuf>::new(), "nothing was measured");
    assert_eq!(place.schemas().await, Vec::<String>::new());
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_signal_does_not_wait_for_a_server_that_lets_nobody_in() {
    let (cluster, desk) = (cluster(&[]).await, Desk::new());
    let place = Place::of(&cluster);
    let frozen = Frozen::new(i32::try_from(cluster.postmaster_pid()).unwrap());
    let mut command = desk.run(LONG);
    let process = command.args(["--url", &place.url()]).spawn().unwrap();
    wait_until(Duration::from_secs(60), || !desk.runs().is_empty()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pid = Pid::from_raw(i32::try_from(process.id().unwrap()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(30), process.wait_with_output()).await;
    drop(frozen);
    let ended: Ended = ended.expect("it does not wait for the server").unwrap().into();
    let said = (ended.code, ended.stdout.as_str(), ended.stderr.as_str());
    let words = "batchpilot: stopped, and not waited for the server; what it made is left to the next \
                 run\n";
    assert_eq!(said, (Some(130), "", words), "{ended:?}");
    assert_eq!(desk.runs(), Vec::<std::path::PathBuf>::new(), "nothing was measured");
    cluster.stop().await.unwrap();
}

/// Operations on a server that stands still never end: a signal gives them 10 s and then the run
/// ends without them, and says so.
#[tokio::test]
async fn a_signal_ends_the_run_on_a_frozen_server() {
    let (cluster, desk) = (cluster(&[]).await, Desk::new());
    let mut command = desk.run(LONG);
    command.args(["--url", &Place::of(&cluster).url()]);
    let mut running = Running::start(&desk, command).await;
    let frozen = Frozen::new(i32::try_from(cluster.postmaster_pid()).unwrap());
    running.send(Signal::SIGINT);
    let has_ended = tokio::time::timeout(Duration::from_secs(120), running.process.wait()).await;
    drop(frozen);
    assert!(has_ended.is_ok(), "it waits for a server that does not answer");
    let (ended, record) = running.ended().await;
    // Not 130: the server failed, and something is left on it.
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.starts_with("INCOMPLETE: "), "{ended:?}");
    assert!(ended.stderr.contains("left behind"), "the schema is said to stay: {ended:?}");
    check_cut_short(&record, 2);
    cluster.stop().await.unwrap();
}

/// Why the run ended hides nothing: what it leaves on the server is said as well.
#[tokio::test]
async fn a_server_that_dies_is_said_with_what_is_left_on_it() {
    let settings = [("fsync", "off"), ("log_min_messages", "panic")];
    let (cluster, desk) = (cluster(&settings).await, Desk::new());
    let mut command = desk.run(LONG);
    command.args(["--url", &Place::of(&cluster).url()]);
    let running = Running::start(&desk, command).await;
    let postmaster = Pid::from_raw(i32::try_from(cluster.postmaster_pid()).unwrap());
    kill(postmaster, Signal::SIGQUIT).unwrap();
    let (ended, record) = running.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{ended:?}");
    assert!(lines[0].starts_with("batchpilot: schema batchpilot_"), "{ended:?}");
    assert!(lines[0].contains(" is left behind: "), "{ended:?}");
    assert!(lines[1].contains("connect"), "{ended:?}");
    assert!(!record.complete);
    drop(cluster);
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let (place, desk) = (database().await, Desk::new());
    let mut command = desk.run(LONG);
    command.args(["--url", &place.url()]);
    let mut running = Running::start(&desk, command).await;
    // No operation can end while this lock is held. The run waits for those in flight, for 10 s.
    let client = place.client().await;
    let schema = place.schemas().await.remove(0);
    let lock = format!("BEGIN; LOCK TABLE \"{schema}\".users IN SHARE MODE");
    client.batch_execute(&lock).await.unwrap();
    running.send(Signal::SIGINT);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(running.process.try_wait().unwrap().is_none(), "it waits");
    let second = clock::now();
    running.send(Signal::SIGINT);
    let (ended, _) = running.ended().await;
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(clock::since(second) < Duration::from_secs(8), "it waited all the same");
}

#[tokio::test]
async fn the_schema_of_a_killed_run_is_dropped_by_the_next_and_no_other() {
    let (place, desk) = (database().await, Desk::new());
    let start = || {
        let mut command = desk.run(LONG);
        command.args(["--url", &place.url()]);
        command
    };
    let alive = Running::start(&desk, start()).await;
    let schema_alive = place.schemas().await;
    let killed = Running::start(&desk, start()).await;
    assert_eq!(place.schemas().await.len(), 2);
    killed.send(Signal::SIGKILL);
    killed.ended().await;
    assert_eq!(place.schemas().await.len(), 2, "it is left behind");

    // The server ends the sessions of the dead when it notices, and by that frees the lock.
    let client = place.client().await;
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    for _ in 0..1_000 {
        let count: i64 = client.query_one(locks, &[]).await.unwrap().get(0);
        if count == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let other = Desk::new();
    let ended = run_on(&place, &other, SHORT).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(place.schemas().await, schema_alive);

    alive.send(Signal::SIGINT);
    let (ended, record) = alive.ended().await;
    assert_eq!(ended.code, Some(130), "{ended:?}");
    check_cut_short(&record, 2);
    assert_eq!(place.schemas().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_is_left() {
    // In a mount namespace of its own, which ends with batchpilot: nothing to unmount afterwards.
    let namespace: &[&str] = match Uid::effective().is_root() {
        true => &["--mount"],
        false => &["--user", "--map-current-user", "--keep-caps", "--mount"],
    };
    // A private server avoids what is in memory: an overlay does not look it.
    let mount = "cd \"$0\" && mount -t tmpfs -o size=110m,mode=755 tmpfs . && cd \"$0\" && \
                 mkdir -m 777 lower upper work disk && \
                 mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay disk && \
                 export TMPDIR=\"$0/disk\" && exec \"$@\"";
    let (desk, disk) = (Desk::new(), folder_for_servers());
    let in_small_disk = |arguments: &[&std::ffi::OsStr]| {
        let mut command = batchpilot_by("unshare");
        command.args(namespace).args(["/bin/sh", "-c", mount]).arg(disk.path());
        command.args(arguments);
        command
    };
    let probe = in_small_disk(&["true".as_ref()]).output().await;
    if !probe.is_ok_and(|output| output.status.success()) {
        // Not by a macro: what those print is shown only if a test fails.
        let said = b"NOT TESTED: a full disk; this system lets us mount none of our own\n";
        std::io::stderr().write_all(said).unwrap();
        return;
    }
    // Without WAL, so that it is the table that finds no room, and not the log of all of it.
    let scenario = "name = \"full\"\nrepetitions = 1\nstop = { rows = 5_000_000 }\n[table]\n\
                    unlogged = true\n[[cells]]\nname = \"copy\"\nstrategy = \"copy_binary\"\n\
                    batch_rows = 10_000\n";
    let (file, out) = (desk.scenario(scenario), desk.out());
    let arguments =
        [BATCHPILOT.as_ref(), "run".as_ref(), file.as_os_str(), "--out".as_ref(), out.as_os_str()];
    let ended = ended(in_small_disk(&arguments)).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.starts_with("INCOMPLETE: "), "{ended:?}");
    for word in [
        "cell `copy`",
        "out of resources (53100)",
        "could not extend file",
        "Check free disk space",
    ] {
        assert!(ended.stderr.contains(word), "{word:?} is not in {ended:?}");
    }
    assert_eq!(processes_of(disk.path()), Vec::<i32>::new());
    let record = record::read(&desk.only_run()).unwrap();
    let block = &record.blocks[0];
    assert_eq!((block.ended, block.complaint()), (BlockEnd::Failed, None));
    assert!(0 < block.rows_confirmed && block.errors.contains_key("53100"));
}

/// By hand: the best is a share of 100 %, and the cells of the file are below it.
#[tokio::test]
async fn the_truth_of_a_simulated_server_can_be_asked_for_and_of_no_other() {
    let truth = |scenario: &str| {
        let mut command = batchpilot();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(scenario);
        command.arg("run").arg(path).args(["--sim-truth", "--format", "json"]);
        ended(command)
    };
    let told = truth("sim/cores.toml").await;
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{told:?}");
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    let rate = |time: usize, setting: usize| told[time]["settings"][setting]["rows_per_s"].as_f64();
    assert_eq!(told[0]["when"], "before the change");
    assert_eq!(told[0]["settings"][0]["name"], "best of all");
    assert!(rate(0, 1) < rate(0, 0), "1,000 x 5 is not the best: {told}");
    assert!(rate(1, 0) < rate(0, 0), "a quarter of the cores gives less: {told}");

    let refused = truth("example.toml").await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{refused:?}");
    assert!(refused.stderr.contains("no [sim]"), "{refused:?}");
}
