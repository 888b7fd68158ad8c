//! The report: what it shows of a record, whatever became of the run.

use std::{fs, path::Path};

use batchpilot::{
    record::{self, BlockEnd, Record, WindowRow},
    report,
    rows::{Finding, Verification},
    verdict::Verdict,
};

use crate::report_fixture as fixture;

/// A report's files, by name.
struct Files(Vec<(&'static str, String)>);

impl Files {
    fn of(record: &Record, windows: &[WindowRow]) -> Files {
        let files = report::files(record, &Verdict::of(record), windows, &[]);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Files(files.into_iter().map(|(name, bytes)| (name, text(bytes))).collect())
    }

    fn get(&self, name: &str) -> &str {
        &self.0.iter().find(|file| file.0 == name).unwrap().1
    }

    fn plots(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|file| file.0.ends_with(".svg")).map(|file| file.1.as_str())
    }

    fn write_to(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report").join(name);
        for (file, text) in &self.0 {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
}

/// Runs that did not go as planned, or had little to say.
fn odd_records() -> Vec<(&'static str, Record, Vec<WindowRow>)> {
    let (full, windows) = fixture::record();
    let mut empty = full.clone();
    empty.blocks.clear();
    (empty.complete, empty.finished_at) = (false, None);

    let mut incomplete = full.clone();
    incomplete.blocks.truncate(12);
    incomplete.blocks[11].ended = BlockEnd::Failed;
    incomplete.blocks[11].error = Some("connection <lost> & gone".to_owned());
    incomplete.blocks[11].verification = None;
    (incomplete.complete, incomplete.finished_at) = (false, None);
    let cut: Vec<WindowRow> = windows.iter().filter(|it| it.block < 12).cloned().collect();

    let mut invalid = full.clone();
    for block in invalid.blocks.iter_mut().filter(|block| block.cell == 1) {
        let rows = block.rows_confirmed;
        block.verification = Some(Verification {
            rows_expected: rows,
            rows_found: rows - 1,
            missing: Finding { count: 1, examples: vec!["row 17".to_owned()] },
            ..Verification::default()
        });
    }
    let (one, one_windows) = fixture::measured(fixture::short_plan());
    vec![
        ("empty", empty, Vec::new()),
        ("incomplete", incomplete, cut),
        ("invalid", invalid, windows),
        ("one_repetition", one, one_windows),
    ]
}

/// Leaves them in `target/tmp/report` for people to look at.
#[test]
fn draws_every_record_however_odd() {
    let (record, windows) = fixture::record();
    Files::of(&record, &windows).write_to("full");
    let (record, windows) = fixture::measured(fixture::nine_plan());
    Files::of(&record, &windows).write_to("nine_repetitions");
    for (name, record, windows) in odd_records() {
        Files::of(&record, &windows).write_to(name);
    }
}

#[test]
fn every_cell_is_in_every_plot_and_on_the_page() {
    let (record, windows) = fixture::record();
    let files = Files::of(&record, &windows);
    let names: Vec<&str> = files.0.iter().map(|file| file.0).collect();
    let want = ["plots/rates.svg", "plots/latency.svg", "plots/over_time.svg", "report.html"];
    assert_eq!(names, want);
    for cell in &record.plan.cells {
        for plot in files.plots() {
            // A long name may be broken into lines; its first words stand on the first.
            let start: String = cell.name.chars().take(16).collect();
            assert!(plot.contains(&start), "{}", cell.name);
        }
        assert!(files.get("report.html").contains(&format!("{}</th>", cell.name)));
    }
}

#[test]
fn measured_numbers_stand_beside_claimed_ones() {
    let (record, windows) = fixture::record();
    let verdict = Verdict::of(&record);
    let files = Files::of(&record, &windows);
    let rates = files.get("plots/rates.svg");
    for cell in &verdict.cells {
        let rate = cell.rows_per_s.unwrap();
        let whole = |value: f64| {
            let digits = format!("{value:.0}");
            let (thousands, rest) = digits.split_at(digits.len() - 3);
            format!("{thousands},{rest}")
        };
        let text = format!(
            "\n{} [{}, {}]\n",
            whole(rate.value),
            whole(rate.low.unwrap()),
            whole(rate.high.unwrap())
        );
        assert!(rates.contains(&text), "{text} of {}", cell.name);
        assert!(files.get("report.html").contains(&format!("{} <small>[", whole(rate.value))));
    }
    for claim in ["\n781\n", "\n3,125\n", "\n6,250\n"] {
        assert!(rates.contains(claim), "{claim}");
    }
    // A claim has a marker, and so has the legend: diamonds, the plot's only polygons.
    assert_eq!(rates.matches("<polygon").count(), 3 + 1);
}

#[test]
fn validity_comes_first() {
    let (record, windows) = fixture::record();
    let page = Files::of(&record, &windows);
    let page = page.get("report.html");
    let rows: u64 = record.blocks.iter().map(|block| block.rows_confirmed).sum();
    let band = format!("rows of {} blocks were read back and are exact.", record.blocks.len());
    assert!(page.contains(&band) && 1_000_000 < rows);
    let order = ["VALID.", "<h2>Answer", "<h2>Results", "<h2>Why", "<h2>Caveats", "<h2>Plots"];
    let positions = order.map(|it| page.find(it).unwrap());
    assert!(positions.is_sorted(), "{positions:?}");
}

#[test]
fn what_went_wrong_is_said_and_drawn() {
    for (name, record, windows) in odd_records() {
        let files = Files::of(&record, &windows);
        let page = files.get("report.html");
        let want: &[&str] = match name {
            "empty" => &["band doubt", "INCOMPLETE.", "No block was run."],
            "incomplete" => &[
                "band doubt",
                "12 of 75 blocks were run; 11 of 12 blocks were read back and are exact",
                "connection &lt;lost&gt; &amp; gone",
            ],
            "invalid" => &["band bad", "INVALID.", "1 missing (row 17)", "no valid block"],
            _ => &["band good", "one block, no interval"],
        };
        for text in want {
            assert!(page.contains(text), "{name}: {text}");
        }
        let rates = files.get("plots/rates.svg");
        assert_eq!(rates.contains("no valid block"), name != "one_repetition", "{name}");
        assert_eq!(rates.contains("claimed"), name != "one_repetition", "{name}");
        for plot in files.plots() {
            assert!(!plot.contains("NaN") && !plot.contains("inf"), "{name}");
        }
    }
}

#[test]
fn the_same_record_gives_the_same_bytes() {
    let (record, windows) = fixture::record();
    assert_eq!(Files::of(&record, &windows).0, Files::of(&record, &windows).0);
}

#[test]
fn names_are_escaped() {
    let cells =
        [("a <script>alert(1)</script>", "strategy = \"single_row\"", 900.0), fixture::CELLS[4]];
    let plan = fixture::plan("name = 'x'\ntitle = '<b>odd</b> & co'\n", &cells, "");
    let (record, windows) = fixture::measured(plan);
    for (name, text) in &Files::of(&record, &windows).0 {
        assert!(!text.contains("<script") && !text.contains("<b>"), "{name}");
        assert!(text.contains("&lt;b&gt;odd&lt;"), "{name}");
    }
}

#[test]
fn the_page_needs_nothing_else() {
    let (record, windows) = fixture::record();
    let files = Files::of(&record, &windows);
    let page = files.get("report.html");
    for outside in ["<link", "<script", "<img", "@import", "url(", "src=", "href="] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("<svg").count(), 3);
}

#[test]
fn text_is_large_enough_to_read() {
    let (record, windows) = fixture::record();
    for plot in Files::of(&record, &windows).plots() {
        let size = |name: &str, text: &str| -> f64 {
            let (_, rest) = text.split_once(&format!("{name}=\"")).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        let view_box = plot.split("viewBox=\"0 0 ").nth(1).unwrap();
        let units: f64 = view_box.split(' ').next().unwrap().parse().unwrap();
        let pixels_a_unit = size("width", plot) / units;
        for text in plot.split("<text").skip(1) {
            assert!(11.0 <= size("font-size", text) * pixels_a_unit, "{text}");
        }
    }
}

#[test]
fn the_text_fits_the_terminal() {
    let text = |record: &Record, columns| {
        let mut bytes = Vec::new();
        let verdict = Verdict::of(record);
        report::text::write_within(columns, record, &verdict, &mut bytes).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(bytes).unwrap()).to_string()
    };
    let (record, _) = fixture::record();
    for (columns, has_claims, has_ratio) in
        [(Some(80), false, false), (Some(100), true, false), (None, true, true)]
    {
        let text = text(&record, columns);
        let header = text.lines().find(|line| line.starts_with("cell ")).unwrap();
        assert_eq!(header.matches("claimed").count(), if has_claims { 2 } else { 0 }, "{header}");
        assert_eq!(header.contains("/ claim"), has_ratio, "{header}");
        let names: Vec<&str> = header.split_whitespace().collect();
        assert!(names.starts_with(&["cell"]) && names.ends_with(&["p50", "p99", "n"]), "{header}");
        let width = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(columns.is_none_or(|columns| width <= usize::from(columns)), "{width}\n{text}");
        // A number is never broken.
        let rate = Verdict::of(&record).cells[13].rows_per_s.unwrap();
        assert!(text.contains(&format!("{:.0},", (rate.value / 1e3).floor())), "{text}");
    }
    // What went wrong is wrapped, too.
    let (_, invalid, _) = odd_records().remove(2);
    assert!(text(&invalid, Some(80)).lines().all(|line| line.chars().count() <= 80));
}

/// The last window of a block may be a millisecond long and hold a whole batch.
#[test]
fn short_windows_make_no_spikes() {
    let (record, windows) = fixture::record();
    let short = windows.iter().filter(|it| it.length_ms < 50.0).count();
    assert!(0 < short);
    let files = Files::of(&record, &windows);
    let plot = files.get("plots/over_time.svg");
    assert!(plot.contains(&format!("Left out: {short} of {} windows", windows.len())));
    let mut spiked = windows;
    spiked.iter_mut().filter(|it| it.length_ms < 50.0).for_each(|window| window.rows *= 100);
    assert_eq!(plot, Files::of(&record, &spiked).get("plots/over_time.svg"));
}

#[test]
fn checkpoints_and_autovacuum_are_marked() {
    let (record, mut windows) = fixture::record();
    let triangles = |windows: &[WindowRow]| {
        let files = Files::of(&record, windows);
        files.get("plots/over_time.svg").matches("<polygon").count()
    };
    let checkpoints = windows.iter().filter(|it| it.checkpoints == Some(1)).count();
    assert_eq!(triangles(&windows), checkpoints + 1);
    windows.iter_mut().for_each(|window| window.checkpoints = None);
    assert_eq!(triangles(&windows), 1);
}

#[test]
fn response_latency_is_drawn_for_open_loops_alone() {
    let (record, windows) = fixture::record();
    let files = Files::of(&record, &windows);
    let latency = files.get("plots/latency.svg");
    assert!(latency.contains("Dashed") && latency.contains("\n15r\n"));
    assert!(!latency.contains("\n1r\n"));
    let (closed, windows) = fixture::measured(fixture::short_plan());
    let files = Files::of(&closed, &windows);
    let latency = files.get("plots/latency.svg");
    assert!(!latency.contains("Dashed"));
    // The clock of an operation runs before its first byte is sent: encoding is inside.
    assert!(latency.contains("from the operation's first step on its session"), "{latency}");
}

#[test]
fn a_record_with_its_verdict_is_still_a_record() {
    let (record, _) = fixture::record();
    let verdict = Verdict::of(&record);
    let mut text = Vec::new();
    report::json::write(&record, &verdict, &mut text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("record.json"), &text).unwrap();
    let again = record::read(folder.path()).unwrap();
    let plain = |record: &Record| serde_json::to_value(record).unwrap();
    assert_eq!(plain(&again), plain(&record));
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let read: Verdict = serde_json::from_value(value["verdict"].clone()).unwrap();
    assert_eq!(read.claims.len(), verdict.claims.len());
    assert_eq!(value["verdict"]["validity"]["judgement"], "valid");
}

/// More repetitions than have room, and more windows than a panel has pixels.
#[test]
fn long_runs_are_thinned_and_say_so() {
    let head = "name = 'long'\nrepetitions = 30\nwindow_ms = 10\n";
    let plan = fixture::plan(head, &fixture::CELLS[..1], "");
    let (record, windows) = fixture::measured(plan);
    let files = Files::of(&record, &windows);
    let plot = files.get("plots/over_time.svg");
    assert!(plot.contains("Shown: repetitions 0 to 9 of 30"), "{}", plot.len());
    assert!(plot.contains("neighbours are added up"));
    assert!(plot.len() < 200_000, "{} bytes", plot.len());
}

#[test]
fn a_damaged_histogram_is_an_error_that_names_file_and_block() {
    let folder = tempfile::tempdir().unwrap();
    let (mut damaged, _) = fixture::record();
    let text = &mut damaged.blocks[3].latency.get_mut("service").unwrap().hdr_v2_deflate;
    text.truncate(text.len() / 2);
    let json = serde_json::to_vec(&damaged).unwrap();
    fs::write(folder.path().join(record::RECORD), json).unwrap();
    let error = record::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("record.json: damaged record: block 3: latency `service`"), "{error}");
}

#[test]
fn operations_that_were_rolled_back_are_said() {
    let (mut record, _) = fixture::record();
    record.blocks[3].operations_rolled_back = 2;
    let caveats = Verdict::of(&record).caveats.join("\n");
    let said = "2 operations ended well and were rolled back with their transaction";
    assert!(caveats.contains(said), "{caveats}");
}
