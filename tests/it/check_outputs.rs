//! What a check writes for other programs: that they can read it, and that it says the same.

use std::{fs, path::Path, process::Command};

use batchpilot::{
    gate::{Check, Conclusion, Evidence, Metric},
    record::{CellCheck, CheckRecord},
    report::ci::{action, bencher, junit, markdown},
    verdict::CheckVerdict,
};
use serde_json::{Value, json};

use crate::{
    check_fixture::{self as fixture, Head, SAME},
    support::{Desk, batchpilot, ended},
};

const SLOWER: Head = Head { rate: 0.8, rate_again: 0.8, ..SAME };

/// Checks of every conclusion, by name.
pub(crate) fn checks() -> Vec<(&'static str, CheckRecord, Conclusion)> {
    let one = |head| fixture::check(&[("multi_row, 1,000 rows, 5 workers", head)]);
    let errors = Evidence { insert_errors: 3, ..Evidence::default() };
    let mut nothing = one(SAME);
    nothing.cells.clear();
    nothing.error = Some("connection refused\n(\u{1b}[31mport 5432\u{1b}[0m)".to_owned());
    let mut hostile = fixture::check(&[("<b>a|b</b> `@all` [x](y) & \"q\"", SAME), ("二", SLOWER)]);
    hostile.arms.base.label = "old<script>.sql".to_owned();
    hostile.notes.push("line\nbreak | and *stars*".to_owned());
    vec![
        ("pass", one(SAME), Conclusion::Pass),
        ("fail", one(SLOWER), Conclusion::Fail),
        ("latency", one(Head { p95: 1.6, ..SAME }), Conclusion::Fail),
        ("not_reproduced", one(Head { rate: 0.8, ..SAME }), Conclusion::Inconclusive),
        ("noisy", one(Head { rate: 0.9, p95: 1.2, noise: 0.4, ..SAME }), Conclusion::Inconclusive),
        ("stalls", one(Head { stalls: 3, ..SAME }), Conclusion::Inconclusive),
        ("stopped", fixture::stopped(17), Conclusion::Inconclusive),
        ("too_few", fixture::stopped(3), Conclusion::Invalid),
        ("no_pair", fixture::stopped(0), Conclusion::Invalid),
        ("invalid", fixture::with_evidence(one(SLOWER), &errors), Conclusion::Invalid),
        ("two_cells", fixture::check(&[("one", SAME), ("two", SLOWER)]), Conclusion::Fail),
        ("hostile", hostile, Conclusion::Fail),
        ("nothing", nothing, Conclusion::Invalid),
    ]
}

fn text(write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut text = Vec::new();
    write(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn junit_of(record: &CheckRecord) -> String {
    text(|out| junit::write(record, &CheckVerdict::of(record), out))
}

fn markdown_of(record: &CheckRecord) -> String {
    text(|out| markdown::write(record, &CheckVerdict::of(record), out))
}

#[test]
fn the_checks_of_these_tests_say_what_they_should() {
    for (name, record, conclusion) in checks() {
        assert_eq!(record.conclusion(), conclusion, "{name}");
    }
}

/// A kill, or Ctrl-C between cells: what was not checked is no PASS, for people and for CI.
#[test]
fn a_check_that_did_not_run_to_its_end_is_no_pass() {
    let both = |one, two| fixture::check(&[("one", one), ("two", two)]);
    let cut = |mut record: CheckRecord| {
        record.complete = false;
        record.cells.truncate(1);
        record
    };
    let begun = |mut record: CheckRecord| {
        record.complete = false;
        let rule = record.options.rule(2).unwrap();
        record.cells[1] = CellCheck::new(1, "two", Check::new(rule), &record.options);
        record
    };
    let ended = |mut record: CheckRecord| {
        record.complete = false;
        record
    };
    for (name, record, conclusion) in [
        ("killed between", cut(both(SAME, SAME)), Conclusion::Inconclusive),
        ("killed in the second", begun(both(SAME, SAME)), Conclusion::Inconclusive),
        ("killed at the end", ended(both(SAME, SAME)), Conclusion::Inconclusive),
        ("failed before", cut(both(SLOWER, SAME)), Conclusion::Fail),
        ("failed before, begun", begun(both(SLOWER, SAME)), Conclusion::Fail),
        ("ran to its end", both(SAME, SAME), Conclusion::Pass),
    ] {
        assert_eq!(record.conclusion(), conclusion, "{name}");
        let (markdown, junit) = (markdown_of(&record), junit_of(&record));
        assert!(markdown.contains(&format!("\n**{}**: ", conclusion.word())), "{name}: {markdown}");
        assert_eq!(violations(&junit).unwrap_or_default(), "", "{name}: {junit}");
        let is_green = !["failure", "error", "skipped"]
            .iter()
            .any(|kind| junit.contains(&format!("<{kind} type=")));
        assert_eq!(is_green, conclusion == Conclusion::Pass, "{name}: {junit}");
        if name.starts_with("killed") {
            assert!(markdown.contains("it did not run to its end"), "{name}: {markdown}");
        }
        if name.ends_with("begun") || name == "killed in the second" {
            assert!(markdown.contains("stopped after 0 pairs"), "{name}: {markdown}");
            assert!(!junit.contains("<error type="), "{name}: {junit}");
        }
    }
}

/// What xmllint says of a document by the schema of Jenkins' xUnit plugin; nothing if it is valid.
///
/// Where it cannot be installed, `scripts/test` says so in the environment and at its end.
pub(crate) fn violations(xml: &str) -> Option<String> {
    if std::env::var_os("BATCHPILOT_WITHOUT_XMLLINT").is_some() {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("junit.xml");
    fs::write(&file, xml).unwrap();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/junit-10.xsd");
    let mut xmllint = Command::new("xmllint");
    let output = xmllint.args(["--noout", "--nonet", "--schema"]).arg(schema).arg(file).output();
    let output = output.unwrap_or_else(|error| panic!("xmllint: {error}; scripts/install-xmllint"));
    if output.status.success() {
        return Some(String::new());
    }
    Some(String::from_utf8(output.stderr).unwrap())
}

#[test]
fn junit_is_valid_by_jenkins_schema() {
    for (name, record, _) in checks() {
        let xml = junit_of(&record);
        let Some(said) = violations(&xml) else { return };
        assert_eq!(said, "", "{name}: {xml}");
        if name != "fail" {
            continue;
        }
        // That not everything is called valid.
        for (part, wrong) in [
            ("<testsuites name=", "<testsuites nome="),
            ("<testsuites name=", "<testsuites skipped=\"0\" name="),
            (" time=\"", " time=\"-"),
            ("<properties>", "<property name=\"x\"/><properties>"),
            ("</testcase>", "<case/></testcase>"),
            ("</testcase>", "text</testcase>"),
        ] {
            let broken = xml.replacen(part, wrong, 1);
            let said = violations(&broken).unwrap();
            assert!(broken != xml && said.contains("validity error"), "{wrong}: {said}");
        }
    }
}

/// Failure, skipped, error: element of each test case, in order.
#[test]
fn a_junit_case_ends_as_its_number_did() {
    let kinds = |record: &CheckRecord| -> Vec<&'static str> {
        let xml = junit_of(record);
        let cases = xml.split("<testcase ").skip(1).map(|case| {
            let case = case.split("</testcase>").next().unwrap();
            ["failure", "skipped", "error"]
                .into_iter()
                .find(|kind| case.contains(&format!("<{kind} type=")))
                .unwrap_or("passed")
        });
        cases.collect()
    };
    for (name, record, _) in checks() {
        let want: &[&str] = match name {
            "pass" => &["passed", "passed"],
            "fail" => &["failure", "passed"],
            "latency" => &["passed", "failure"],
            "not_reproduced" => &["skipped", "passed"],
            "noisy" | "stalls" | "stopped" => &["skipped", "passed"],
            "too_few" | "invalid" => &["error", "error"],
            "no_pair" | "nothing" => &["error"],
            "two_cells" | "hostile" => &["passed", "passed", "failure", "passed"],
            other => panic!("{other}"),
        };
        assert_eq!(kinds(&record), want, "{name}: {}", junit_of(&record));
    }
}

/// Counts in the head of the file are those of its cases.
#[test]
fn junit_counts_its_cases() {
    for (name, record, _) in checks() {
        let xml = junit_of(&record);
        let count = |element: &str| xml.matches(&format!("<{element} type=")).count();
        let tests = xml.matches("<testcase ").count();
        let (failures, errors) = (count("failure"), count("error"));
        let want = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" time=");
        assert_eq!(xml.matches(&want).count(), 2, "{name}: no {want} in {xml}");
        assert!(xml.contains(&format!(" skipped=\"{}\"", count("skipped"))), "{name}");
        assert!(!xml.contains('\u{1b}'), "{name}");
    }
}

#[test]
fn markdown_says_the_verdict_first_and_is_short() {
    for (name, record, conclusion) in checks() {
        let text = markdown_of(&record);
        let first = text.lines().next().unwrap();
        assert!(first.starts_with("## ") && first.contains(conclusion.word()), "{name}: {first}");
        assert!(text.len() <= markdown::BYTES_MAX, "{name}: {} bytes", text.len());
        assert_eq!(text.matches("<details>").count(), text.matches("</details>").count(), "{name}");
        let table = text.lines().filter(|line| line.starts_with('|'));
        let unescaped = |line: &str| line.replace("\\|", "").matches('|').count();
        assert!(table.map(unescaped).all(|count| [8, 10].contains(&count)), "{name}: {text}");
    }
}

#[test]
fn markdown_takes_no_markup_from_names() {
    let (_, record, _) = checks().into_iter().find(|it| it.0 == "hostile").unwrap();
    let text = markdown_of(&record);
    for bad in ["<b>", "<script>", "`@all`", "[x](y)", "| and *stars*"] {
        assert!(!text.contains(bad), "{bad} in {text}");
    }
    assert!(text.contains("&lt;b&gt;a\\|b&lt;/b&gt;"), "{text}");
    assert!(text.contains("line break \\| and \\*stars\\*"), "{text}");
}

/// Many cells with long names, as a generated scenario may have them.
#[test]
fn markdown_of_many_cells_is_cut_and_says_so() {
    let names: Vec<String> = (0..60).map(|it| format!("cell {it} {}", "x".repeat(400))).collect();
    let cells: Vec<(&str, Head)> = names.iter().map(|name| (name.as_str(), SAME)).collect();
    let text = markdown_of(&fixture::check(&cells));
    assert!(text.len() <= markdown::BYTES_MAX, "{} bytes", text.len());
    assert!(text.contains("more numbers are in report.html"), "{text}");
    assert!(text.contains("Looks: too long"), "{text}");
    assert!(text.contains("<summary>What was compared"), "{text}");
}

/// Published with the format.
fn bencher_schema() -> Value {
    let number = json!({"type": "number"});
    json!({
        "type": "object",
        "patternProperties": {".+": {
            "type": "object",
            "patternProperties": {".+": {
                "type": "object",
                "properties": {
                    "value": number, "lower_value": number, "upper_value": number
                },
                "required": ["value"],
            }},
        }},
    })
}

#[test]
fn bencher_reads_its_format() {
    let schema = jsonschema::validator_for(&bencher_schema()).unwrap();
    for (name, record, conclusion) in checks() {
        let verdict = CheckVerdict::of(&record);
        let bmf: Value = serde_json::from_str(&text(|out| bencher::write(&verdict, out))).unwrap();
        assert!(schema.is_valid(&bmf), "{name}: {bmf}");
        let benchmarks = bmf.as_object().unwrap();
        if conclusion == Conclusion::Invalid {
            assert!(benchmarks.is_empty(), "{name}: {bmf}");
            continue;
        }
        assert_eq!(benchmarks.len(), verdict.cells.len(), "{name}");
        for cell in &verdict.cells {
            let of = |measure: &str| bmf[&cell.name][measure]["value"].as_f64().unwrap();
            for (metric, measure) in
                cell.metrics.iter().zip(["rows-per-second", "latency-p95", "latency-p99"])
            {
                let ratio = of(&format!("{measure}-ratio"));
                assert!((ratio - metric.ratio.value).abs() < 1e-9, "{name}");
                assert!((of(measure) - metric.head.unwrap().value).abs() < 1e-6, "{name}");
            }
            let measures = bmf[&cell.name].as_object().unwrap();
            assert!(measures.keys().all(|it| it.len() <= 64), "{name}: {bmf}");
            for value in measures.values() {
                let of = |key: &str| value[key].as_f64().unwrap();
                assert!(of("lower_value") <= of("value") && of("value") <= of("upper_value"));
            }
        }
    }
}

/// `name`, `unit` and `value` are required; `range` and `extra` are texts.
#[test]
fn github_action_benchmark_reads_both_files() {
    let schema = json!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "name": {"type": "string"}, "unit": {"type": "string"},
                "value": {"type": "number"}, "range": {"type": "string"},
                "extra": {"type": "string"},
            },
            "required": ["name", "unit", "value"],
            "additionalProperties": false,
        },
    });
    let schema = jsonschema::validator_for(&schema).unwrap();
    for (name, record, conclusion) in checks() {
        let verdict = CheckVerdict::of(&record);
        let files = action::files(&verdict);
        assert_eq!(files.each_ref().map(|it| it.0), [action::BIGGER, action::SMALLER]);
        let cells = if conclusion == Conclusion::Invalid { 0 } else { verdict.cells.len() };
        for ((file, bytes), each) in files.iter().zip([1, 2]) {
            let entries: Value = serde_json::from_slice(bytes).unwrap();
            assert!(schema.is_valid(&entries), "{name}: {entries}");
            assert_eq!(entries.as_array().unwrap().len(), cells * each, "{name}: {file}");
            let units = entries.as_array().unwrap().iter().map(|it| it["unit"].as_str().unwrap());
            let unit = if *file == action::BIGGER { "rows/s" } else { "ms" };
            assert!(units.into_iter().all(|it| it == unit), "{name}: {entries}");
        }
        if name == "pass" {
            let head = |metric: Metric| {
                let cell = &verdict.cells[0];
                cell.metrics.iter().find(|it| it.metric == metric).unwrap().head.unwrap().value
            };
            let of = |file: usize| -> Value { serde_json::from_slice(&files[file].1).unwrap() };
            let rate = of(0)[0]["value"].as_f64().unwrap();
            assert!((rate - head(Metric::RowsPerS)).abs() < 1e-6, "{rate}");
            let p95 = of(1)[0]["value"].as_f64().unwrap();
            assert!((p95 - head(Metric::LatencyP95) / 1e6).abs() < 1e-9, "{p95} ms");
        }
    }
}

/// Leaves them in `target/tmp/check` for people to look at.
#[test]
fn draws_every_check_however_odd() {
    for (name, record, conclusion) in checks() {
        let verdict = CheckVerdict::of(&record);
        let mut files = batchpilot::report::files_of_check(&record, &verdict);
        let page = String::from_utf8(files[0].1.clone()).unwrap();
        assert!(page.contains(&format!("<strong>{}:</strong>", conclusion.word())), "{name}");
        for outside in ["<script", "<link", " src=", " href=", "url("] {
            assert!(!page.contains(outside), "{name}: {outside}");
        }
        let has_pairs = !["nothing", "no_pair"].contains(&name);
        assert_eq!(files.len(), if has_pairs { 3 } else { 1 }, "{name}");
        assert_eq!(page.matches("<svg ").count(), files.len() - 1, "{name}");
        assert_eq!(batchpilot::report::files_of_check(&record, &verdict), files, "{name}");
        files.push(("check.md", markdown_of(&record).into_bytes()));
        files.push(("junit.xml", junit_of(&record).into_bytes()));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("check").join(name);
        for (file, bytes) in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

/// What a plot shows of a session: a dot or an arrow a pair, and a label a look.
#[test]
fn plots_show_every_pair_and_look() {
    let (_, record, _) = checks().into_iter().find(|it| it.0 == "fail").unwrap();
    let verdict = CheckVerdict::of(&record);
    let files = batchpilot::report::files_of_check(&record, &verdict);
    let plot = |name: &str| {
        let bytes = &files.iter().find(|it| it.0 == name).unwrap().1;
        String::from_utf8(bytes.clone()).unwrap()
    };
    let pairs = plot("plots/pairs.svg");
    let sessions = record.cells[0].check.sessions();
    let count: usize = sessions.iter().map(|it| it.pairs().len()).sum();
    // Two panels; the legend has one dot.
    assert!(2 * count - 6 <= pairs.matches("<circle ").count(), "{count} pairs");
    assert!(pairs.contains("session 2, to confirm"));
    for inspection in sessions.iter().flat_map(|it| it.inspections()) {
        assert!(pairs.contains(&format!("\n{}\n", inspection.look.pairs)), "{inspection:?}");
    }
    assert!(plot("plots/arms.svg").contains("rows/s of a block"));
}

/// From the command line, on a simulated server: what is there is kept or replaced as its flag says.
#[tokio::test]
async fn a_check_writes_the_files_it_is_asked_for() {
    let desk = Desk::new();
    let scenario = "name = \"sim\"\n[sim]\nseed = 7\n[[cells]]\nname = \"one\"\n\
                    strategy = \"multi_row\"\nworkers = 4\n";
    let at = |name: &str| desk.path().join("ci").join(name);
    for times in 1..=2 {
        let mut command = batchpilot();
        command.arg("check").arg("--null").arg("--scenario").arg(desk.scenario(scenario));
        for (flag, name) in [
            ("--junit", "junit.xml"),
            ("--markdown", "summary.md"),
            ("--bmf", "bmf.json"),
            ("--action-bench", "action"),
            ("--out", "results"),
        ] {
            command.arg(flag).arg(at(name));
        }
        let ended = ended(command).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        let read = |name: &str| fs::read_to_string(at(name)).unwrap();
        assert_eq!(violations(&read("junit.xml")).unwrap_or_default(), "");
        assert_eq!(read("junit.xml").matches("<testcase ").count(), 2);
        assert_eq!(read("summary.md").matches("\n**PASS**: head is").count(), times);
        assert!(read("summary.md").contains("**SIMULATED**"));
        let bmf: Value = serde_json::from_str(&read("bmf.json")).unwrap();
        assert!(0.0 < bmf["one"]["rows-per-second"]["value"].as_f64().unwrap());
        for file in [action::BIGGER, action::SMALLER] {
            let entries: Value = serde_json::from_str(&read(&format!("action/{file}"))).unwrap();
            assert!(!entries.as_array().unwrap().is_empty(), "{file}");
        }
    }
    let run = fs::read_dir(at("results")).unwrap().next().unwrap().unwrap().path();
    let page = run.join("report.html");
    let first = fs::read(&page).unwrap();
    fs::remove_file(&page).unwrap();
    let mut command = batchpilot();
    command.arg("report").arg(&run);
    let ended = ended(command).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.starts_with("PASS: "), "{ended:?}");
    assert_eq!(fs::read(&page).unwrap(), first, "the same check, the same page");
}
