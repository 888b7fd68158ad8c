//! The controller on servers and sequences of windows of which the answer is known.

use std::time::Duration;

use super::{probe::SURE, *};
use crate::controller::{Bounds, Grid, Setting};

fn pilot(bounds: Bounds, limit_ms: Option<u64>) -> Pilot {
    let p99_limit = limit_ms.map(Duration::from_millis);
    Pilot::new(&Goal { bounds, p99_limit, seed: 1, is_search: false })
}

/// 1 ms an operation, 10 µs a row on each of 8 cores; p99 twice the mean. No noise.
fn latency_s(setting: Setting) -> f64 {
    let cpu_s = 10e-6 * setting.batch_rows as f64 + 0.1e-3;
    let workers = f64::from(setting.workers);
    (1e-3 + cpu_s).max(cpu_s * workers / 8.0) * (1.0 + 0.01 * workers)
}

/// The window that a decision's setting would be measured in, from `start_s` on.
fn window(setting: Setting, start_s: f64, slowdown: f64) -> WindowSummary {
    let latency_s = latency_s(setting) * slowdown;
    window_of(setting, start_s, latency_s, (6.0 * latency_s).max(0.5))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive")]
fn window_of(setting: Setting, start_s: f64, latency_s: f64, length_s: f64) -> WindowSummary {
    let operations = length_s * f64::from(setting.workers) / latency_s;
    WindowSummary {
        start: Duration::from_secs_f64(start_s),
        length: Duration::from_secs_f64(length_s),
        batch_rows: setting.batch_rows,
        workers: setting.workers,
        operations: operations as u64,
        rows_within: operations * setting.batch_rows as f64,
        service_ns_mean: latency_s * 1e9,
        service_ns_p99: (2e9 * latency_s) as u64,
        ..WindowSummary::default()
    }
}

/// Runs for some windows; `change` sees and alters each.
fn run(pilot: &mut Pilot, windows: u32, change: impl Fn(&mut WindowSummary)) -> Vec<Decision> {
    let mut decision = pilot.start();
    let mut start_s = pilot.terrain.now_s;
    let mut decisions = Vec::new();
    for _ in 0..windows {
        let mut window = window(decision.setting, start_s, 1.0);
        start_s += window.length.as_secs_f64();
        change(&mut window);
        decision = pilot.decide(&window);
        decisions.push(decision.clone());
    }
    decisions
}

fn rate(setting: Setting) -> f64 {
    setting.batch_rows as f64 * f64::from(setting.workers) / latency_s(setting)
}

#[test]
fn finds_the_best_of_a_steady_server() {
    let grid = Grid::new(&Bounds::WIDE);
    let best = grid.cells().map(|it| rate(grid.setting(it))).fold(0.0, f64::max);
    let decisions = run(&mut pilot(Bounds::WIDE, None), 200, |_| ());
    let found = rate(decisions.last().unwrap().incumbent);
    // The knee of this server is sharper than the model can bend: only a look at the next
    // workers either way finds it.
    assert!(0.98 * best < found, "{found} of {best}");
}

/// A search of `tune` once rested after six probes, with half of its time left: on 73 of 400
/// quiet servers what it found was more than 3 % short, and on 26 when it used its time.
#[test]
fn a_search_looks_around_before_it_rests() {
    let seen_before_rest = |is_search| {
        let goal = Goal { bounds: Bounds::WIDE, p99_limit: None, seed: 1, is_search };
        let decisions = run(&mut Pilot::new(&goal), 300, |_| ());
        let active: Vec<Setting> =
            decisions.iter().take_while(|it| it.state != "cruise").map(|it| it.setting).collect();
        assert!(active.len() < decisions.len(), "it rests in the end");
        let seen: std::collections::BTreeSet<(u64, u32)> =
            active.iter().map(|it| (it.batch_rows, it.workers)).collect();
        seen.len()
    };
    let (search, live) = (seen_before_rest(true), seen_before_rest(false));
    assert!(live + 4 <= search, "{live} places, and {search} where only what is found counts");
}

/// A search that is cut off once went on looking around in what followed it.
#[test]
fn where_a_search_is_over_it_looks_around_no_longer() {
    let goal = Goal { bounds: Bounds::WIDE, p99_limit: None, seed: 1, is_search: true };
    let windows_to_rest = |is_over: bool| {
        let mut pilot = Pilot::new(&goal);
        run(&mut pilot, 30, |_| ());
        assert!(pilot.mode == Mode::Search && pilot.is_settled, "it is not in its search");
        if is_over {
            pilot.search_is_over(None);
        }
        run(&mut pilot, 300, |_| ()).iter().take_while(|it| it.state != "cruise").count()
    };
    let (goes_on, is_over) = (windows_to_rest(false), windows_to_rest(true));
    assert!(2 * is_over < goes_on, "{is_over} windows to rest, and {goes_on} in a search");
}

/// It once went on from what the search had found, where what was measured after it gave twice as much.
#[test]
fn where_a_search_is_over_it_goes_on_from_the_answer() {
    let goal = Goal { bounds: Bounds::WIDE, p99_limit: None, seed: 1, is_search: true };
    let mut pilot = Pilot::new(&goal);
    run(&mut pilot, 30, |_| ());
    let answer = Grid::new(&Bounds::WIDE).setting(Cell { batch: 3, workers: 2 });
    assert_ne!(pilot.start().incumbent, answer);
    pilot.search_is_over(Some(answer));
    let start = pilot.start();
    assert_eq!((start.setting, start.incumbent), (answer, answer), "{start:?}");
    // A slow one is left again: the answer is a start.
    assert_ne!(run(&mut pilot, 60, |_| ()).last().unwrap().incumbent, answer);
}

/// Of bounds that leave it out the nearest edge is nothing that is usually taken.
#[test]
fn what_is_usually_taken_is_no_rival_outside_the_bounds() {
    let usual = |least, most| pilot(Bounds::new(least, most).unwrap(), None).usual();
    assert!(usual((1, 65_536), (1, 64)).is_some());
    assert_eq!(usual((1, 500), (1, 64)), None);
    assert_eq!(usual((1, 65_536), (1, 4)), None);
}

#[test]
fn keeps_a_limit() {
    let decisions = run(&mut pilot(Bounds::WIDE, Some(50)), 200, |_| ());
    let last = decisions.last().unwrap();
    assert!(2.0 * latency_s(last.incumbent) <= 0.05, "{last:?}");
}

#[test]
fn narrow_bounds_hold_a_single_setting_or_axis() {
    for (batch_rows, workers) in [((7, 7), (3, 3)), ((1, 65_535), (4, 4)), ((100, 100), (1, 64))] {
        let bounds = Bounds::new(batch_rows, workers).unwrap();
        for decision in run(&mut pilot(bounds, None), 100, |_| ()) {
            assert_eq!(bounds.nearest(decision.setting), decision.setting);
        }
    }
}

#[test]
fn windows_without_operations_change_nothing() {
    let empty = |window: &mut WindowSummary| (window.operations, window.rows) = (0, 0);
    let mut pilot = pilot(Bounds::WIDE, None);
    let first = pilot.start().setting;
    let decisions = run(&mut pilot, 50, empty);
    assert!(decisions.iter().all(|it| it.setting == first));
}

/// Above 6 workers the server refuses: the ceiling is learned, and never is there nobody left.
#[test]
fn a_server_that_pushes_back_gets_fewer_workers() {
    let refuse = |window: &mut WindowSummary| {
        window.pushed_back = if 6 < window.workers { 10 } else { 0 };
    };
    let mut pilot = pilot(Bounds::WIDE, None);
    let decisions = run(&mut pilot, 300, refuse);
    let over = decisions.iter().skip(50).filter(|it| 6 < it.setting.workers).count();
    // Within these 150 s a place is tried again 30 and 90 s after it was refused; up to 3
    // places above 6 workers can be in reach: 8, 12 and 16.
    assert!(over <= 3 * 3, "{over} of 250 windows asked for more than the server gives");
    assert!((1..=6).contains(&decisions.last().unwrap().incumbent.workers));
    let all = run(&mut pilot, 100, |window| window.pushed_back = 10);
    assert!(all.iter().all(|it| 0 < it.setting.workers));
}

#[test]
fn where_the_client_is_the_limit_it_stops_growing() {
    let bound = |window: &mut WindowSummary| window.client_bound = 4 < window.workers;
    let decisions = run(&mut pilot(Bounds::WIDE, None), 300, bound);
    assert!(decisions.last().unwrap().incumbent.workers <= 4);
}

/// The jumps run out before the best of the model was seen: what was measured is home.
#[test]
fn a_place_that_nobody_measured_is_no_home() {
    let mut pilot = pilot(Bounds::WIDE, None);
    let slow_operations = |it: Setting| 0.1 + 1e-6 * it.batch_rows as f64;
    follow(&mut pilot, 5, 0, [slow_operations; 2]);
    let Step::Jump { visits, at, .. } = pilot.step.clone() else {
        panic!("a design of five places is over after five windows");
    };
    pilot.step = Step::Jump { visits, left: 0, at };
    follow(&mut pilot, 1, 0, [slow_operations; 2]);
    let measured = pilot.terrain.data.cells();
    let best = pilot.terrain.best(pilot.home).unwrap();
    assert!(!measured.contains(&best), "there was nothing to be tempted by");
    assert!(measured.contains(&pilot.home), "{:?}", pilot.home);
}

/// The larger the batch the faster, but a window of the largest takes 27 s: the search gets
/// there by steps that each take little longer than the last.
#[test]
fn nothing_that_takes_long_is_tried() {
    let latency_s = |it: Setting| 0.8 + 0.4e-3 * it.batch_rows as f64;
    let window_s =
        |it: Setting| latency_s(it) * (Wish::OPERATIONS as f64 / f64::from(it.workers)).max(1.0);
    let mut pilot = pilot(Bounds::WIDE, None);
    let mut decision = pilot.start();
    let mut start_s = 0.0;
    for _ in 0..200 {
        let setting = decision.setting;
        let longest_s = (1.5 * window_s(decision.incumbent)).max(4.0);
        // The first places are the same on every server. The model may be off by a tenth.
        let is_cheap = window_s(setting) < 1.1 * longest_s;
        assert!(decision.state == "survey" || is_cheap, "{decision:?}");
        let length_s = window_s(setting).max(0.25);
        decision = pilot.decide(&window_of(setting, start_s, latency_s(setting), length_s));
        start_s += length_s;
    }
}

/// Holds a limit of 20 ms on a server that gets this many times as slow for 5 s. Returns home
/// before, the settings asked for in the stall, and home 20 s after it.
fn live_through_a_stall(slowdown: f64) -> (Setting, Vec<Setting>, Setting) {
    let mut pilot = pilot(Bounds::WIDE, Some(20));
    run(&mut pilot, 150, |_| ());
    while pilot.place() != pilot.home {
        run(&mut pilot, 1, |_| ());
    }
    let mut decision = pilot.go("resume");
    let before = decision.incumbent;
    let mut start_s = pilot.terrain.now_s;
    let end_s = start_s + 5.0;
    let mut asked = Vec::new();
    while start_s < end_s + 20.0 {
        let slowdown = if start_s < end_s { slowdown } else { 1.0 };
        let window = window(decision.setting, start_s, slowdown);
        start_s += window.length.as_secs_f64();
        decision = pilot.decide(&window);
        if start_s < end_s {
            asked.push(decision.setting);
        }
    }
    assert!(!asked.is_empty(), "no window ended within the stall");
    (before, asked, decision.incumbent)
}

/// In a deep stall p99 exceeds the limit whatever the batch is: halving it ended at 1 row.
#[test]
fn a_stall_in_which_nothing_keeps_the_limit_is_waited_for() {
    let (before, asked, after) = live_through_a_stall(50.0);
    assert!(asked.iter().all(|it| *it == before), "{before:?} {asked:?}");
    assert_eq!(before, after);
}

/// A stall is not the model's fault: fitted to it, home would be another one after it.
#[test]
fn in_a_stall_the_limit_is_kept_with_as_many_rows_as_it_lets() {
    let (before, asked, after) = live_through_a_stall(3.0);
    for setting in asked {
        let p99_s = 3.0 * 2.0 * latency_s(setting);
        assert!((0.010..=0.020).contains(&p99_s), "{p99_s} s at {setting:?}");
    }
    assert_eq!(before, after);
}

/// Runs on a server of its own; from window `at` on with another one.
fn follow(
    pilot: &mut Pilot,
    windows: usize,
    at: usize,
    latency_s: [fn(Setting) -> f64; 2],
) -> Vec<Decision> {
    let mut decision = pilot.start();
    let mut start_s = 0.0;
    let mut decisions = Vec::new();
    for index in 0..windows {
        let truth = latency_s[usize::from(at <= index)](decision.setting);
        let slowdown = truth / self::latency_s(decision.setting);
        let window = window(decision.setting, start_s, slowdown);
        start_s += window.length.as_secs_f64();
        decision = pilot.decide(&window);
        decisions.push(decision.clone());
    }
    decisions
}

fn share_of_best(setting: Setting, latency_s: fn(Setting) -> f64) -> f64 {
    let rate = |it: Setting| it.batch_rows as f64 * f64::from(it.workers) / latency_s(it);
    let grid = Grid::new(&Bounds::WIDE);
    rate(setting) / grid.cells().map(|it| rate(grid.setting(it))).fold(0.0, f64::max)
}

/// Above 180 rows a row costs more.
fn cliff_s(setting: Setting, operation_s: f64, row_above_s: f64) -> f64 {
    let row_s = if 180 < setting.batch_rows { row_above_s } else { 10e-6 };
    let cpu_s = row_s * setting.batch_rows as f64 + 0.1e-3;
    let workers = f64::from(setting.workers);
    (operation_s + cpu_s).max(cpu_s * workers / 8.0) * (1.0 + 0.01 * workers)
}

/// Twice as much: a smooth model does not see it from above.
fn with_cliff(setting: Setting) -> f64 {
    cliff_s(setting, 0.2e-3, 20e-6)
}

#[test]
fn finds_the_best_left_of_a_cliff() {
    let decisions = follow(&mut pilot(Bounds::WIDE, None), 300, 0, [with_cliff; 2]);
    let share = share_of_best(decisions.last().unwrap().incumbent, with_cliff);
    assert!(0.95 < share, "{share} at {:?}", decisions.last().unwrap().incumbent);
}

/// Five times as much.
fn with_steep_cliff(setting: Setting) -> f64 {
    cliff_s(setting, 1e-3, 50e-6)
}

/// The place of the design left of the cliff was seen to be the fastest; the model once called one
/// the best that gave a third of it.
#[test]
fn the_first_home_is_the_best_that_was_seen() {
    let decisions = follow(&mut pilot(Bounds::WIDE, None), 30, 0, [with_steep_cliff; 2]);
    let settled = decisions.iter().find(|it| it.state == "search").unwrap();
    let share = share_of_best(settled.incumbent, with_steep_cliff);
    let seen = share_of_best(Setting { batch_rows: 128, workers: 8 }, with_steep_cliff);
    assert!(seen <= share, "{share} of {seen} at {:?}", settled.incumbent);
}

/// Scouts, the first of them 1,000 x 5, once went out before what the model promised most of.
#[test]
fn what_promises_most_is_probed_before_scouts_go_out() {
    let decisions = follow(&mut pilot(Bounds::WIDE, None), 60, 0, [with_cliff; 2]);
    let probe = decisions.iter().find(|it| it.state == "search" && it.setting != it.incumbent);
    let usual = Grid::new(&Bounds::WIDE).nearest(Setting::ARTICLE);
    assert_ne!(Grid::new(&Bounds::WIDE).nearest(probe.unwrap().setting), usual);
}

/// Two cores, on which more than two workers get into each other's way.
fn with_a_convoy(setting: Setting) -> f64 {
    let cpu_s = 5e-6 * setting.batch_rows as f64 + 0.1e-3;
    let workers = f64::from(setting.workers);
    (1.05 * cpu_s).max(cpu_s * workers / 2.0) * if 2 < setting.workers { 1.3 } else { 1.0 }
}

/// The survey has 4 workers and more, between which nothing lies: the model foresaw less with fewer,
/// and a search never tried them.
#[test]
fn a_search_tries_fewer_workers_whatever_the_model_says() {
    let goal = Goal { bounds: Bounds::WIDE, p99_limit: None, seed: 1, is_search: true };
    let decisions = follow(&mut Pilot::new(&goal), 150, 0, [with_a_convoy; 2]);
    let share = share_of_best(decisions.last().unwrap().incumbent, with_a_convoy);
    assert!(0.95 < share, "{share} at {:?}", decisions.last().unwrap().incumbent);
}

/// Places as good as home but for noise took all of a search once, and four times the rows were never
/// tried: 16,384 x 2 was 20 % better.
#[test]
fn a_search_looks_far_away_though_what_is_near_may_be_better() {
    let goal = Goal { bounds: Bounds::WIDE, p99_limit: None, seed: 1, is_search: true };
    let noisy = |window: &mut WindowSummary| {
        let moment = window.start.as_secs_f64();
        window.rows_within *= 1.0 + 0.08 * (moment * 1e3).sin();
    };
    let decisions = run(&mut Pilot::new(&goal), 40, noisy);
    let probes = decisions.iter().filter(|it| it.state == "search" && it.setting != it.incumbent);
    let is_far = |it: &&Decision| {
        let [here, there] = [it.incumbent, it.setting].map(|it| (it.batch_rows as f64).log2());
        1.9 < (here - there).abs()
    };
    let far: std::collections::BTreeSet<Setting> =
        probes.filter(is_far).map(|it| it.setting).collect();
    assert!(5 <= far.len(), "{far:?}");
    let is_wide = |it: &Decision| {
        let [here, there] = [it.incumbent, it.setting];
        there.workers * 4 <= here.workers.next_power_of_two()
            && 3 * here.batch_rows < there.batch_rows
    };
    assert!(decisions.iter().any(is_wide), "none has as many rows in flight with fewer workers");
}

/// The model foresaw the same for 4,096 x 8 and for 65,536 x 8, whose windows took a second: of 17 s
/// there were six probes.
#[test]
fn of_places_that_are_as_good_it_jumps_to_one_of_short_operations() {
    let with_a_plateau =
        |it: Setting| 1e-3 + 5e-6 * it.batch_rows as f64 * (f64::from(it.workers) / 8.0).max(1.0);
    let decisions = follow(&mut pilot(Bounds::WIDE, None), 30, 0, [with_a_plateau; 2]);
    let jumps = decisions.iter().filter(|it| it.state == "jump").map(|it| it.setting.batch_rows);
    let longest = jumps.max().expect("there was nothing to jump to");
    assert!(longest < 8_192, "98.6 % of what can be reached is at 5,793 x 12: {longest}");
}

/// A row costs so much that the largest place of the design takes 8 s.
fn with_slow_rows(setting: Setting) -> f64 {
    let workers = f64::from(setting.workers);
    1e-3 + 0.5e-3 * setting.batch_rows as f64 * (workers / 2.0).max(1.0)
}

fn surveyed(latency_s: fn(Setting) -> f64) -> Vec<Setting> {
    let decisions = follow(&mut pilot(Bounds::WIDE, None), 10, 0, [latency_s; 2]);
    let first = std::iter::once(pilot(Bounds::WIDE, None).start());
    let survey = first.chain(decisions).take_while(|it| it.state == "survey");
    survey.map(|it| it.setting).collect()
}

/// A place is left in as long as it took: two that took 10 s each once cost 23 s.
#[test]
fn the_survey_has_no_place_that_takes_long() {
    let places = surveyed(with_slow_rows);
    assert_eq!(places.len(), 5, "it was cut short: {places:?}");
    // Before there are two windows nothing is foreseen: 128 x 8. Each may take half as much again.
    let times: Vec<f64> = places.iter().map(|it| with_slow_rows(*it)).collect();
    assert!(times.windows(2).skip(1).all(|it| it[1] < 1.6 * it[0]), "{times:?} at {places:?}");
    let decisions = follow(&mut pilot(Bounds::WIDE, None), 60, 0, [with_slow_rows; 2]);
    let share = share_of_best(decisions.last().unwrap().incumbent, with_slow_rows);
    assert!(0.95 < share, "{share} at {:?}", decisions.last().unwrap().incumbent);
}

/// Where each operation is slow, whatever it carries, many rows are all the better.
#[test]
fn the_survey_is_not_cut_where_only_operations_are_slow() {
    let places = surveyed(|it| 1.0 + 1e-6 * it.batch_rows as f64);
    assert_eq!(places.last(), Some(&Setting { batch_rows: 4_096, workers: 8 }), "{places:?}");
}

/// Three quarters of the cores are lost.
fn with_2_cores(setting: Setting) -> f64 {
    let cpu_s = 10e-6 * setting.batch_rows as f64 + 0.1e-3;
    let workers = f64::from(setting.workers);
    (1e-3 + cpu_s).max(cpu_s * workers / 2.0) * (1.0 + 0.05 * workers)
}

/// Forty old windows in one cell outvote the new ones: on a changed server they are dropped.
#[test]
fn finds_the_best_of_a_server_that_changed() {
    let mut pilot = pilot(Bounds::WIDE, None);
    let decisions = follow(&mut pilot, 330, 250, [latency_s, with_2_cores]);
    let share = share_of_best(decisions.last().unwrap().incumbent, with_2_cores);
    assert!(0.95 < share, "{share} at {:?}", decisions.last().unwrap().incumbent);
}

/// The second worker waits for the group commit of the first; the third costs no more. From 1
/// and 2 workers a line says that every larger count breaks the limit. A row costs so little
/// that the fewest workers reach the limit with large batches, and stay there.
fn with_group_commit(setting: Setting) -> f64 {
    let commit_s = if 1 < setting.workers { 9e-3 } else { 3e-3 };
    1e-6 * setting.batch_rows as f64 + commit_s
}

#[test]
fn a_group_commit_does_not_keep_a_limit_from_more_workers() {
    let mut pilot = pilot(Bounds::WIDE, Some(26));
    let last = follow(&mut pilot, 200, 0, [with_group_commit; 2]).last().unwrap().incumbent;
    assert_eq!(last.workers, 64, "{last:?}");
}

fn with_dearer_rows(setting: Setting) -> f64 {
    with_group_commit(setting) + 2e-6 * setting.batch_rows as f64
}

/// Were commits slower, too, nothing would keep the limit; rows alone are, and a place that
/// keeps it is found within three windows. It was once held for 7 s at twice the limit.
#[test]
fn a_limit_is_kept_when_rows_alone_get_dearer() {
    let mut pilot = pilot(Bounds::WIDE, Some(26));
    let decisions = follow(&mut pilot, 240, 200, [with_group_commit, with_dearer_rows]);
    let p99_s = |it: &Decision| 2.0 * with_dearer_rows(it.setting);
    assert!(0.026 < p99_s(&decisions[199]), "the change does not break the limit");
    let braced = decisions[203..].iter().take_while(|it| it.state == "brace");
    assert!(braced.clone().all(|it| p99_s(it) <= 0.026), "{decisions:?}");
    assert!(10 < braced.count(), "it was not waited for");
}

/// A place that looks better by one probe is probed again at once, and not after ten others.
#[test]
fn what_is_likely_better_is_looked_at_again_at_once() {
    let mut pilot = pilot(Bounds::WIDE, None);
    while !(pilot.is_settled && pilot.last_home.is_some()) {
        run(&mut pilot, 1, |_| ());
    }
    let home = pilot.last_home.expect("it was just looked at");
    let cell = pilot.terrain.grid.offset(pilot.home, 3, 0);
    let mut again = Vec::new();
    for gain in [-0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5] {
        let mut pilot = pilot.clone();
        let probe = Evidence { log_rate: home.log_rate + gain, ..home };
        pilot.away = Some((cell, probe));
        let stays = pilot.weigh(&home) == "not surely better: stay";
        pilot.last_home = Some(home);
        pilot.choose();
        let is_again = matches!(pilot.step, Step::Away { cell: next } if next == cell);
        again.push((stays, is_again));
    }
    assert_eq!(again[0], (true, false), "a place that looks worse is left");
    assert!(again.contains(&(true, true)), "{again:?}");
}

/// At home after the survey, with noise of 0.3 from window to window.
fn settled_in_noise() -> Pilot {
    let mut pilot = pilot(Bounds::WIDE, None);
    while !(pilot.is_settled && pilot.last_home.is_some()) {
        run(&mut pilot, 1, |_| ());
    }
    pilot.pairs.forget();
    (0..30).for_each(|_| make_noise(&mut pilot));
    pilot
}

fn make_noise(pilot: &mut Pilot) {
    let window = |log_rate: f64| pairs::Window { log_rate, counting: 0.0 };
    pilot.pairs.at_home(&window(10.0), &window(10.3));
    pilot.pairs.at_home(&window(10.3), &window(10.0));
}

/// Takes in a probe that gained this much.
fn probed(pilot: &mut Pilot, cell: Cell, gain: f64) -> &'static str {
    make_noise(pilot);
    let home = pilot.last_home.expect("it was just looked at");
    pilot.away = Some((cell, Evidence { log_rate: home.log_rate + gain, ..home }));
    pilot.weigh(&home)
}

/// On a server of few operations a window the model was sure of a place, whatever its probes said.
#[test]
fn the_model_alone_moves_nobody() {
    let mut pilot = settled_in_noise();
    pilot.home = pilot.terrain.grid.nearest(Setting { batch_rows: 16, workers: 1 });
    pilot.terrain.misfit = 0.005;
    let cell = pilot.terrain.grid.offset(pilot.home, 2, 0);
    for _ in 0..2 {
        assert_eq!(probed(&mut pilot, cell, -0.1), "not surely better: stay");
    }
    let belief = pilot.belief(cell);
    assert!(SURE < belief.gains(), "the model is not sure of it: {belief:?}");
    let mut probes = (0..20).map(|_| probed(&mut pilot, cell, 0.3));
    assert!(probes.any(|it| it == "surely better: move"), "its probes move nobody either");
}

/// Where 1,000 x 5 is as good as home by all that is known, home is held to it until one of the
/// two is surely better: one that was 4 % worse was once kept to the end.
#[test]
fn home_is_held_to_what_is_usually_taken_until_that_is_decided() {
    let cruising = || {
        let mut pilot = settled_in_noise();
        pilot.mode = Mode::Cruise;
        pilot.home = pilot.terrain.grid.offset(pilot.usual().unwrap(), 1, 0);
        pilot.last_probe_s = pilot.terrain.now_s;
        pilot
    };
    let goes_to_rival = |pilot: &mut Pilot| {
        pilot.likely = None;
        pilot.choose();
        matches!(pilot.step, Step::Away { cell } if Some(cell) == pilot.usual())
    };
    let mut pilot = cruising();
    assert!(!goes_to_rival(&mut pilot), "it was not probed yet");
    let cell = pilot.usual().unwrap();
    probed(&mut pilot, cell, 0.0);
    assert!(goes_to_rival(&mut pilot), "{:?}", pilot.belief(cell));
    for _ in 0..200 {
        probed(&mut pilot, cell, -0.045);
    }
    assert!(!goes_to_rival(&mut pilot), "it is surely worse: {:?}", pilot.belief(cell));
    let mut pilot = cruising();
    for _ in 0..6 {
        probed(&mut pilot, cell, -0.4);
    }
    assert!(!goes_to_rival(&mut pilot), "it costs too much: {:?}", pilot.belief(cell));
}

/// Another place that was always worth a probe once kept the rival from its turn for 5 minutes; and
/// a model that was sure of 16 % less, across a cliff, from any after its first.
#[test]
fn the_rival_takes_its_turn_whatever_the_model_says() {
    let mut pilot = settled_in_noise();
    let cell = pilot.usual().unwrap();
    pilot.home = pilot.terrain.grid.offset(cell, -8, 0);
    pilot.terrain.misfit = 0.03;
    let gain = pilot.terrain.gain(cell, pilot.home).unwrap();
    assert!(0.1 < gain.abs(), "the model takes both for alike: {gain}");
    probed(&mut pilot, cell, 0.0);
    let mut turns = Vec::new();
    for _ in 0..6 {
        pilot.likely = Some(pilot.terrain.grid.offset(pilot.home, 1, 0));
        pilot.choose();
        let Step::Away { cell: next } = pilot.step else { panic!("it stays at home") };
        turns.push(next == cell);
        pilot.terrain.now_s += 1.0;
        let home = Evidence { at_s: pilot.terrain.now_s, ..pilot.last_home.unwrap() };
        pilot.away = Some((next, home));
        pilot.weigh(&home);
    }
    assert_eq!(turns, [false, false, true, false, false, true]);
}

/// What is usually taken is gone to sooner than other places, and left later.
#[test]
fn it_takes_less_to_go_to_what_is_usually_taken_than_to_leave_it() {
    let probes_to_move = |from: (isize, isize), to: (isize, isize)| {
        let mut pilot = settled_in_noise();
        let usual = pilot.usual().unwrap();
        pilot.home = pilot.terrain.grid.offset(usual, from.0, from.1);
        pilot.terrain.misfit = 0.1;
        let cell = pilot.terrain.grid.offset(usual, to.0, to.1);
        let moves = |_: &usize| probed(&mut pilot, cell, 0.1) == "surely better: move";
        (0..1_000).find(moves).expect("it never moved")
    };
    let (to, other, from) = (
        probes_to_move((2, 0), (0, 0)),
        probes_to_move((-2, 0), (-1, 0)),
        probes_to_move((0, 0), (1, 0)),
    );
    assert!(to < other && other < from, "{to} {other} {from} probes");
}

/// Who has looked around holds what it found for most of the time: with windows of 0.5 s one in
/// three is a probe, and where that is likely better, one in two for a while.
#[test]
fn probes_are_few_once_it_has_looked_around() {
    let decisions = run(&mut pilot(Bounds::WIDE, None), 200, |_| ());
    let cruising = decisions.iter().filter(|it| it.state == "cruise");
    let (away, all) = cruising
        .fold((0, 0), |(away, all), it| (away + u32::from(it.setting != it.incumbent), all + 1));
    assert!(100 < all && 5 * away <= 2 * all, "{away} of {all} windows are probes");
}

/// A statement may be too large for the server: a place of the survey where every operation failed
/// was once asked for until the end.
#[test]
fn a_place_where_operations_fail_is_left() {
    let fail = |window: &mut WindowSummary| {
        window.errors = if 2_000 <= window.batch_rows { 10 } else { 0 };
    };
    let mut pilot = pilot(Bounds::WIDE, None);
    let decisions = run(&mut pilot, 300, fail);
    let failing = decisions.iter().filter(|it| 2_000 <= it.setting.batch_rows).count();
    // Within these 150 s a place is tried again 30 and 90 s after it failed, for 4 windows each;
    // up to 4 places from 2,000 rows on can be in reach of home.
    assert!(failing <= 4 * 3 * 4, "{failing} of 300 windows failed");
    assert!(decisions.last().unwrap().incumbent.batch_rows < 2_000);
}

/// Where there are no fewer workers, a place that pushed back was once held for good.
#[test]
fn large_batches_that_push_back_are_left_where_workers_are_fixed() {
    let push_back = |window: &mut WindowSummary| {
        window.pushed_back = if 2_000 <= window.batch_rows { 10 } else { 0 };
    };
    let mut pilot = pilot(Bounds { workers: (4, 4), ..Bounds::WIDE }, None);
    let decisions = run(&mut pilot, 300, push_back);
    let over = decisions.iter().filter(|it| 2_000 <= it.setting.batch_rows).count();
    assert!(over <= 4 * 3, "{over} of 300 windows pushed back");
    assert!(decisions.last().unwrap().incumbent.batch_rows < 2_000);
}

/// Retries of a storm that all fail must not be learned from, nor starve what comes after:
/// vector#21340, where the limit went to zero and stayed there. The storm lasts 200 s: bars on
/// the last worker, each twice as long as the one before, would by then leave no place at all
/// for minutes.
#[test]
fn a_storm_of_push_backs_passes() {
    let mut pilot = pilot(Bounds::WIDE, None);
    let before = run(&mut pilot, 150, |_| ()).last().unwrap().incumbent;
    let storm = run(&mut pilot, 400, |window| window.pushed_back = 100);
    assert!(storm.iter().all(|it| 0 < it.setting.workers));
    assert_eq!(storm.last().unwrap().incumbent.workers, 1);
    let after = run(&mut pilot, 100, |_| ());
    assert!(0.9 * rate(before) < rate(after.last().unwrap().incumbent), "{before:?}");
}
