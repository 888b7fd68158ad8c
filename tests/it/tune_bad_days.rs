//! `tune` where the server has a bad day, or none at all: whole runs in virtual time.

use std::{collections::BTreeSet, fs, path::PathBuf};

use batchpilot::{
    controller::{Bounds, Grid, Policy, Setting},
    plan::Role,
    record::{self, JournalRow, Record, WindowRow},
    verdict::{Judgement, Verdict},
};

use crate::support::{Desk, batchpilot, ended};

struct Tuned {
    stdout: String,
    windows: Vec<WindowRow>,
    journal: Vec<JournalRow>,
    verdict: Verdict,
    record: Record,
    plots: Vec<(String, String)>,
}

impl Tuned {
    /// Windows of the search, but for its last: operations end in it, and none starts.
    fn search(&self) -> &[WindowRow] {
        let count = self.windows.iter().take_while(|it| it.block == 0).count();
        &self.windows[..count - 1]
    }

    /// What the best that was found gives over the article's setting.
    fn best_over_article(&self) -> f64 {
        let tuning = self.verdict.tuning.as_ref().unwrap();
        let is_article = |role: &Role| role.name() == "article";
        let article = tuning.contenders.iter().find(|it| it.roles.iter().any(is_article));
        article.unwrap().best_over_it.unwrap().value
    }

    /// What the search found gives by the simulated server's own truth, of the best there is.
    fn found_share(&self) -> f64 {
        let contenders = &self.verdict.tuning.as_ref().unwrap().contenders;
        let is_found = |role: &Role| role.name() == "found";
        let found = contenders.iter().find(|it| it.roles.iter().any(is_found)).unwrap().setting;
        let surface = &self.record.plan.sim.as_ref().unwrap().before;
        let grid = Grid::new(&Bounds::WIDE);
        let (batch_rows, workers, _) = surface.best(grid.batches(), grid.workers(), None).unwrap();
        surface.rows_per_s(found.batch_rows, found.workers)
            / surface.rows_per_s(batch_rows, workers)
    }
}

/// Tunes one cell on the simulated server that `sim` describes.
async fn tune(sim: &str, policy: Policy, arguments: &[&str]) -> Tuned {
    let desk = Desk::new();
    let scenario = desk.path().join("day.toml");
    let cell = format!(
        "[[cells]]\nname = \"steered\"\nstrategy = \"copy_binary\"\non_error = \"collect\"\n\
         controller = {{ policy = \"{}\" }}\n",
        policy.name()
    );
    fs::write(&scenario, format!("name = \"day\"\n{sim}\n{cell}")).unwrap();
    let mut command = batchpilot();
    command.arg("tune").arg(&scenario).args(arguments).arg("--out").arg(desk.out());
    let finished = ended(command).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{policy:?} {finished:?}");
    let run = desk.only_run();
    let (record, windows) = (record::read(&run).unwrap(), record::read_windows(&run).unwrap());
    let journal = record::read_journal(&run).unwrap();
    let verdict = Verdict::of_run(&record, &journal, &windows);
    assert_eq!(verdict.validity.judgement, Judgement::Valid, "{policy:?} {finished:?}");
    let files = fs::read_dir(run.join("plots")).unwrap().map(|it| it.unwrap().path());
    let plot = |it: PathBuf| (it.display().to_string(), fs::read_to_string(&it).unwrap());
    let plots = files.map(plot).collect();
    Tuned { stdout: finished.stdout, windows, journal, verdict, record, plots }
}

/// While a neighbour took half of the machine, tune once chose what suffers least from that.
#[tokio::test]
async fn a_time_in_which_the_machine_was_slower_does_not_count() {
    for (first, last) in [(6, 18), (60, 85)] {
        let sim = format!(
            "[sim]\nseed = 3\n[sim.server]\ncores = 2.0\n[sim.weather]\nnoise = 0.03\n\
             [sim.change]\nblocks = [{first}, {last}]\ncores_divisor = 2.0\n"
        );
        let tuned = tune(&sim, Policy::Pilot, &["--search", "10s"]).await;
        let plan = &tuned.record.plan;
        let disturbed = &plan.tuning.as_ref().unwrap().disturbed;
        let (right, wrong): (Vec<usize>, Vec<usize>) =
            disturbed.iter().copied().partition(|it| (first..=last).contains(it));
        let missed = last + 1 - first - right.len();
        assert!(missed <= 3 && wrong.len() <= 3, "{first} to {last}: {disturbed:?}");
        assert!(tuned.stdout.contains("blocks after the search do not count"), "{}", tuned.stdout);
        let tuning = tuned.verdict.tuning.as_ref().unwrap();
        let answer = plan.cells[tuning.recommended.unwrap()].setting();
        let surface = &plan.sim.as_ref().unwrap().before;
        let grid = Grid::new(&Bounds::WIDE);
        let best = surface.best(grid.batches(), grid.workers(), None).unwrap().2;
        let share = surface.rows_per_s(answer.batch_rows, answer.workers) / best;
        assert!(0.97 <= share, "{share}: {}", tuned.stdout);
        for contender in &tuning.contenders {
            let (it, Some(rate)) = (contender.setting, contender.rows_per_s) else { continue };
            let off = (rate.value / surface.rows_per_s(it.batch_rows, it.workers)).ln();
            assert!(off.abs() < 0.1, "{}: {rate:?}, {off}", it.words());
        }
    }
}

/// The plots of what a search did once had the title of a measurement.
#[tokio::test]
async fn every_plot_says_that_it_was_simulated() {
    let tuned = tune("[sim]\nseed = 4\n", Policy::Pilot, &["--search", "2s"]).await;
    for name in ["search.svg", "steering.svg", "rates.svg"] {
        assert!(tuned.plots.iter().any(|it| it.0.ends_with(name)), "{name} was not drawn");
    }
    for (path, plot) in &tuned.plots {
        let title = plot.split_once("<title>").and_then(|it| it.1.split_once("</title>"));
        assert!(title.is_some_and(|it| it.0.starts_with("SIMULATED: ")), "{path}: {title:?}");
    }
}

/// Settings that may be the best meet again: the ratios once left out what that gave.
#[tokio::test]
async fn a_rematch_counts_in_the_ratios() {
    let sim = "[sim]\nseed = 9\n[sim.weather]\nnoise = 0.1\n";
    let tuned = tune(sim, Policy::Pilot, &["--search", "5s", "--repetitions", "2"]).await;
    let tuning = tuned.verdict.tuning.as_ref().unwrap();
    let repetitions = |cell| -> BTreeSet<u32> {
        tuned.record.valid_blocks_of(cell).map(|it| it.repetition).collect()
    };
    let best = repetitions(tuning.best.unwrap());
    let mut met_again = 0;
    for contender in &tuning.contenders {
        let shared = best.intersection(&repetitions(contender.cell)).count();
        assert_eq!(contender.best_over_it.map_or(0, |it| it.n), shared, "{contender:?}");
        met_again += usize::from(2 < shared);
    }
    assert!(1 < met_again, "nothing met again: {best:?}");
}

/// On a real server a search of 17 s with 6 workers, of 16, never saw 2, of which 4,096 rows gave a
/// fifth more.
#[tokio::test]
async fn what_lies_around_the_best_is_measured_too() {
    let sim = "[sim]\nseed = 9\n[sim.weather]\nnoise = 0.1\n";
    let arguments = ["--search", "1s", "--repetitions", "4", "--workers", "1-16"];
    let tuned = tune(sim, Policy::Pilot, &arguments).await;
    let tuning = tuned.verdict.tuning.as_ref().unwrap();
    let of = |cell: usize| tuning.contenders.iter().find(|it| it.cell == cell).unwrap();
    let best = of(tuning.best.unwrap());
    let around: Vec<Setting> = tuning
        .contenders
        .iter()
        .filter(|it| it.roles.contains(&Role::Neighbour))
        .map(|it| it.setting)
        .collect();
    assert!(4 <= around.len(), "{tuning:?}");
    let found = tuning.contenders.iter().find(|it| it.roles.contains(&Role::Found)).unwrap();
    let gain = found.best_over_it.unwrap();
    assert!(best.cell == found.cell || 1.0 < gain.value, "{tuning:?}");
    // What it has to beat met it in new blocks, as often as was asked for.
    for role in [Role::Found, Role::Article, Role::StaticDefault] {
        let rival = tuning.contenders.iter().find(|it| it.roles.contains(&role)).unwrap();
        assert!(4 <= rival.best_over_it.unwrap().n, "{role:?}: {rival:?}");
    }
}

/// What the search called its next best was once compared with nothing.
#[tokio::test]
async fn where_nothing_lies_around_the_runner_up_is_measured_all_the_same() {
    let arguments = ["--search", "5s", "--batch-rows", "100-200", "--workers", "3-3"];
    let tuned = tune("[sim]\nseed = 3\n", Policy::Pilot, &arguments).await;
    let contenders = &tuned.verdict.tuning.as_ref().unwrap().contenders;
    let second = contenders.iter().find(|it| it.roles.contains(&Role::RunnerUp)).unwrap();
    assert!(3 <= second.best_over_it.or(second.rows_per_s).unwrap().n, "{contenders:?}");
    assert!(tuned.stdout.contains(" has the most "), "{}", tuned.stdout);
    let note = "article: it runs with 1,000 x 5; within the bounds, 200 x 3 is nearest";
    assert!(tuned.stdout.contains(note), "{}", tuned.stdout);
}

/// No noise, no tail: operations of one setting take the same time, and variances are 0.
#[tokio::test]
async fn a_perfectly_steady_server_stops_no_controller() {
    let sim = "[sim]\nseed = 4\n[sim.server]\ntail = 0.0\n";
    for policy in Policy::ALL {
        let tuned = tune(sim, policy, &["--search", "12s", "--repetitions", "2"]).await;
        let windows = tuned.search();
        let is_steady = |it: &&WindowRow| it.service_ns_stddev <= 1e-6 * it.service_ns_mean;
        let steady = windows.iter().filter(|it| !it.mixed && 1 < it.operations).filter(is_steady);
        assert!(5 < steady.count(), "{policy:?}: the server is not as steady as it should be");
        let tuning = tuned.verdict.tuning.as_ref().unwrap();
        assert!(tuning.recommended.is_some(), "{policy:?}: {tuning:?}");
        let ratio = tuned.best_over_article();
        assert!(ratio.is_finite() && 0.999 < ratio, "{policy:?}: {ratio}");
        let bounds = tuned.record.plan.cells[0].controller.unwrap().bounds;
        let is_within = |it: &JournalRow| bounds.nearest(it.after) == it.after;
        assert!(tuned.journal.iter().all(is_within), "{policy:?}");
        let said = tuned.journal.iter().flat_map(|it| it.grounds.values());
        assert!(said.clone().all(Option::is_some), "{policy:?}: a number that is none");
        if policy == Policy::Pilot {
            assert!(1.1 < ratio, "what it found gives {ratio} of the article's");
        }
    }
}

/// A restart in second 3 and half a minute in which nothing is answered: windows without an
/// operation, and then the search goes on.
#[tokio::test]
async fn a_restart_and_half_a_minute_of_silence_end_no_search() {
    let sim = "[sim]\nseed = 9\n[sim.weather]\nnoise = 0.1\n[sim.errors]\n\
               restart = { at_s = 3.0, lasting_s = 2.0 }\n\
               silence = { at_s = 7.0, lasting_s = 30.0 }\n";
    for policy in [Policy::Pilot, Policy::Climb, Policy::Gradient] {
        let tuned = tune(sim, policy, &["--search", "60s", "--repetitions", "2"]).await;
        let windows = tuned.search();
        assert!(windows.iter().any(|it| 0 < it.errors), "{policy:?}: no restart was met");
        let empty = windows.iter().filter(|it| it.operations == 0);
        let silent_s: f64 = empty.map(|it| it.length_ms / 1e3).sum();
        // A window in which something had ended may wait for more of it for 10 s.
        assert!((19.0..33.0).contains(&silent_s), "{policy:?}: silent for {silent_s} s");
        assert!(
            tuned.stdout.contains(" s of the search, or more, no operation ended."),
            "{}",
            tuned.stdout
        );
        let after = windows.iter().filter(|it| 38_000.0 < it.start_ms);
        let (count, busy) = after.fold((0, 0), |(count, busy), it| {
            (count + 1, busy + u32::from(0 < it.operations && it.errors == 0))
        });
        assert!(4 < count && count <= busy + 1, "{policy:?}: {busy} of {count} windows are busy");
        let tuning = tuned.verdict.tuning.as_ref().unwrap();
        assert!(tuning.recommended.is_some(), "{policy:?}: {tuning:?}");
        if policy == Policy::Pilot {
            // The article's gives .905: what two noisy blocks of each say of that is chance.
            let share = tuned.found_share();
            assert!(0.95 < share, "what it found gives {share} of the best");
        }
    }
}
