//! What a check says of pairs that are given: words, tables within 80 columns, caveats.

use batchpilot::{
    gate::{Arm, Arms, Block, Check, Conclusion, Confirmation, Options, Pair, Step, WarmUp},
    plan::Plan,
    record::{
        ArmRecord, CHECK_SCHEMA_VERSION, CellCheck, CheckRecord, Comparison, Host, SessionRecord,
    },
    report::{check::write_within, ci::markdown},
    verdict::{CheckVerdict, Standing},
};

use crate::support::plan;

/// A pair whose head has this share of base's rows a second, and this multiple of its latencies.
fn pair(rows: f64, latency: f64, at: usize) -> Pair {
    // Neighbours differ a little, so that limits are no points.
    let noise = 1.0 + 0.004 * ((at * 7 % 11) as f64 - 5.0);
    let block = |rows_per_s: f64, latency_s: f64| Block {
        rows: 240_000,
        seconds: 240_000.0 / rows_per_s,
        latency_s_p95: latency_s,
        latency_s_p99: latency_s * 1.5,
        steal: 0.0,
    };
    Pair {
        base: block(300_000.0, 0.020),
        head: block(300_000.0 * rows * noise, 0.020 * latency / noise),
    }
}

/// A check that fails, stopped after so many pairs of the session that was to confirm it.
fn stopped_again(pairs: usize) -> CheckRecord {
    let mut record = check(|_, at| pair(0.8, 1.0, at), 60);
    let sessions = record.cells[0].check.sessions().to_vec();
    let kept = sessions[0].pairs().iter().chain(&sessions[1].pairs()[..pairs]);
    record.cells[0].check = Check::new(record.options.rule(1).unwrap());
    for pair in kept {
        assert_ne!(record.cells[0].check.push(*pair), Step::Done);
    }
    let options = record.options.clone();
    record.cells[0].judge(&options);
    record.complete = false;
    record
}

fn arm(label: &str) -> ArmRecord {
    let plan: Plan = plan(
        "name = \"check\"\n[[cells]]\nname = \"multi_row, 1,000 x 5\"\nstrategy = \"multi_row\"\n\
         workers = 5\n",
    );
    ArmRecord { label: label.to_owned(), plan, server: None, private_server: true, storage: None }
}

/// A check of such pairs, at most so many of each session.
fn check(of: impl Fn(usize, usize) -> Pair, pairs_most: usize) -> CheckRecord {
    let options = Options::default();
    let mut cell =
        CellCheck::new(0, "multi_row, 1,000 x 5", Check::new(options.rule(1).unwrap()), &options);
    let begin = |created_first: Arm| SessionRecord {
        started_at: "2026-11-22T00:00:00Z".to_owned(),
        created_first,
        warm_up: WarmUp::Steady,
        warm_up_s: 3.0,
        warm_up_rows_per_s: Arms::default(),
        first: Vec::new(),
    };
    cell.sessions.push(begin(Arm::Base));
    let (mut session, mut at) = (0, 0);
    while at < pairs_most {
        let step = cell.check.push(of(session, at));
        at += 1;
        match step {
            Step::GoOn => (),
            Step::Confirm => {
                (session, at) = (1, 0);
                cell.sessions.push(begin(Arm::Head));
            }
            Step::Done => break,
        }
    }
    cell.judge(&options);
    CheckRecord {
        check_schema_version: CHECK_SCHEMA_VERSION,
        batchpilot: "test".to_owned(),
        command: "check --base-ddl old.sql --head-ddl new.sql".to_owned(),
        name: "check".to_owned(),
        started_at: "2026-11-22T00:00:00Z".to_owned(),
        finished_at: None,
        complete: true,
        comparison: Comparison::Schemas,
        arms: Arms { base: arm("old.sql"), head: arm("new.sql") },
        client: Host::default(),
        load_before: 0.0,
        cpu_busy_before: None,
        seed: 1,
        options,
        cells: vec![cell],
        error: None,
        notes: Vec::new(),
    }
}

fn text(record: &CheckRecord, columns: u16) -> String {
    let mut out = Vec::new();
    write_within(Some(columns), record, &CheckVerdict::of(record), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    // Styles are for a writer that drops them.
    let mut plain = String::new();
    let mut is_style = false;
    for character in text.chars() {
        match character {
            '\u{1b}' => is_style = true,
            'm' if is_style => is_style = false,
            _ if is_style => (),
            other => plain.push(other),
        }
    }
    plain
}

#[test]
fn each_outcome_has_its_word_and_fits_on_a_terminal() {
    let slower_once = |session, at| pair(if session == 0 { 0.8 } else { 1.0 }, 1.0, at);
    // From a seventh to seven times as fast, in no order.
    let swinging = |_, at: usize| pair(((at * 37 % 61) as f64 / 15.0 - 2.0).exp(), 1.0, at);
    let mut unsure = check(|_, at| pair(1.0, 1.0, at), 60);
    unsure.cells[0].evidence.insert_errors = 3;
    unsure.cells[0].error = Some("head: the server rejected the rows (22000): bad data".to_owned());
    let options = unsure.options.clone();
    unsure.cells[0].judge(&options);
    for (record, starts) in [
        (
            check(|_, at| pair(1.0, 1.0, at), 60),
            "PASS: head is not worse than base by 10 % of rows/s or 25 % of p95 latency, as 15",
        ),
        (check(|_, at| pair(0.8, 1.0, at), 60), "FAIL: head is slower than base: rows/s 0.80 [0."),
        (check(|_, at| pair(1.0, 1.4, at), 60), "FAIL: head is slower than base: p95 latency 1.4"),
        (check(slower_once, 60), "INCONCLUSIVE: a first session failed (rows/s 0.80 [0."),
        (check(swinging, 60), "INCONCLUSIVE: 60 pairs prove neither that head is slower nor"),
        (check(|_, at| pair(1.0, 1.0, at), 7), "INVALID: 7 pairs were measured, and it takes 15"),
        (stopped_again(0), "INCONCLUSIVE: a first session failed (rows/s 0.80 [0."),
        (stopped_again(2), "INCONCLUSIVE: a first session failed (rows/s 0.80 [0."),
        (unsure, "INVALID: 3 operations were not confirmed (head: the server rejected the rows"),
    ] {
        for columns in [80, 120] {
            let text = text(&record, columns);
            let joined = text.replace("\n    ", " ");
            assert!(joined.starts_with(starts), "{text}");
            for line in text.lines() {
                assert!(line.chars().count() <= usize::from(columns), "{columns}: {line}\n{text}");
            }
        }
    }
}

#[test]
fn an_arm_against_itself_that_fails_is_called_a_false_alarm() {
    let mut record = check(|_, at| pair(0.8, 1.0, at), 60);
    record.comparison = Comparison::Null(Arm::Base);
    assert!(text(&record, 120).contains("this FAIL is a false one, and this machine needs larger"));
}

/// What fails is not remarked on as well, and what passes may be.
#[test]
fn remarks_are_about_what_is_not_gated() {
    let slow_tail = |_, at: usize| {
        let mut pair = pair(1.0, 1.0, at);
        pair.head.latency_s_p99 *= 1.5;
        pair
    };
    let text_of = |record: CheckRecord| text(&record, 120);
    assert!(text_of(check(slow_tail, 60)).contains("The p99 latency of head is 1.50"));
    assert!(!text_of(check(|_, at| pair(1.0, 1.4, at), 60)).contains("The p99 latency of head"));
    assert!(!text_of(check(|_, at| pair(0.8, 1.0, at), 60)).contains("Head inserted"));
    let mut late = check(|_, at| pair(1.0, 1.0, at), 60);
    late.cells[0].sessions[0].warm_up = WarmUp::TimedOut;
    assert!(text_of(late).contains("the warm-up was ended by its time limit in 1 session"));
}

#[test]
fn a_check_in_parts_says_how_much_it_could_have_seen() {
    let record = check(|_, at| pair(1.0, 1.0, at), 60);
    let verdict = CheckVerdict::of(&record);
    let rows = &verdict.cells[0].metrics[0];
    let detectable = rows.detectable.unwrap();
    // The margin and the width of the limit, which is 2 % of noise in 15 pairs.
    assert!((0.02..0.06).contains(&detectable), "{detectable}");
    assert!(verdict.cells[0].reasons[0].starts_with("The last look, after 15 pairs, would have"));
}

/// The words beside the numbers of a check, in order: rows/s, p95, p99.
fn standings(record: &CheckRecord) -> [Standing; 3] {
    let metrics = &CheckVerdict::of(record).cells[0].metrics;
    [0, 1, 2].map(|at| metrics[at].standing)
}

/// A session that confirms may fail in another metric, and passes none: neither is what follows.
#[test]
fn the_word_beside_a_number_is_what_both_sessions_come_to() {
    use Standing::{Invalid, NotConfirmed, NotGated, NotWorse, Worse};
    let turned = |session, at| {
        if session == 0 { pair(0.8, 1.0, at) } else { pair(1.0, 1.6, at) }
    };
    let record = check(turned, 60);
    assert_eq!(record.conclusion(), Conclusion::Inconclusive);
    assert_eq!(standings(&record), [NotConfirmed, NotConfirmed, NotGated]);
    let mut markdown = Vec::new();
    markdown::write(&record, &CheckVerdict::of(&record), &mut markdown).unwrap();
    let markdown = String::from_utf8(markdown).unwrap();
    let table = markdown.split("<details>").next().unwrap();
    assert!(!table.contains("worse") && !table.contains("| **"), "{markdown}");
    let slower = check(|_, at| pair(0.8, 1.0, at), 60);
    assert_eq!(slower.cells[0].check.sessions().len(), 2);
    assert_eq!(standings(&slower), [Worse, NotWorse, NotGated]);
    let mut wrong = check(|_, at| pair(0.8, 1.0, at), 60);
    wrong.cells[0].evidence.tables_wrong = 1;
    let options = wrong.options.clone();
    wrong.cells[0].judge(&options);
    assert_eq!(standings(&wrong), [Invalid, Invalid, NotGated]);
}

/// What was measured does not go with the session that was stopped.
#[test]
fn a_failure_that_was_not_yet_confirmed_is_told_of() {
    use Standing::{NotConfirmed, NotGated, NotWorse};
    for pairs in [0, 2] {
        let record = stopped_again(pairs);
        assert_eq!(standings(&record), [NotConfirmed, NotWorse, NotGated]);
        let text = text(&record, 120).replace("\n    ", " ");
        let end = format!("and the one that was to confirm it was stopped after {pairs} pairs\n");
        assert!(text.contains(&end), "{text}");
        assert!(text.contains("0.800 [0.") && text.contains("workers; 15 pairs"), "{text}");
    }
}

fn page(record: &CheckRecord) -> String {
    let files = batchpilot::report::files_of_check(record, &CheckVerdict::of(record));
    String::from_utf8(files[0].1.clone()).unwrap()
}

#[test]
fn settings_of_both_arms_are_shown_where_they_differ() {
    let same = check(|_, at| pair(1.0, 1.0, at), 60);
    let line = "multi_row, 1,000 rows an operation, 5 workers; 15 pairs";
    assert!(text(&same, 120).contains(&format!("\n{line}\n")), "{}", text(&same, 120));
    let mut other = same.clone();
    other.arms.head.plan.cells[0].batch_rows = 500;
    other.arms.head.plan.cells[0].workers = 8;
    other.arms.head.plan.cells[0].prepared = false;
    other.arms.head.plan.cells[0].pool.idle_min = 3;
    let lines = [
        "base: multi_row, 1,000 rows an operation, 5 workers, prepared, 5 idle sessions kept; 15 \
         pairs",
        "head: multi_row, 500 rows an operation, 8 workers, not prepared, 3 idle sessions kept",
    ];
    let mut markdown = Vec::new();
    markdown::write(&other, &CheckVerdict::of(&other), &mut markdown).unwrap();
    let markdown = String::from_utf8(markdown).unwrap().replace('\\', "");
    for shown in [text(&other, 120), markdown, page(&other)] {
        for line in &lines {
            assert!(shown.contains(line), "no {line:?} in {shown}");
        }
    }
}

#[test]
fn the_page_says_when_a_failure_counts() {
    let mut record = check(|_, at| pair(1.0, 1.0, at), 60);
    assert!(page(&record).contains("A failure counts after a second session"));
    record.options.confirmation = Confirmation::Off;
    assert!(!page(&record).contains("A failure counts after a second session"));
    assert!(page(&record).contains("no second session was asked for"));
}
