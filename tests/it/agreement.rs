//! The simulated server gives the same windows at once, as the arena makes them, and through the
//! engine, operation by operation.

use batchpilot::{
    arena::{self, Live, Windows},
    controller::{Bounds, Controller, Fixed, Policy, Setting, Wish},
    measure::WindowSummary,
    target::sim::Family,
};

const STEADY: [Family; 4] = [Family::Quiet, Family::Mid, Family::Noisy, Family::Weird];

fn play(family: Family, seed: u64, seconds: f64, controller: &mut dyn Controller) -> Live {
    arena::play(&arena::server(family, seed), seconds, controller).unwrap()
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.into_iter().collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// Rows a second over all windows, and the mean of their p99 in seconds.
fn rate_and_p99(windows: &[WindowSummary]) -> (f64, f64) {
    let rows: f64 = windows.iter().map(|it| it.rows as f64).sum();
    let seconds: f64 = windows.iter().map(|it| it.length.as_secs_f64()).sum();
    (rows / seconds, mean(windows.iter().map(|it| it.service_ns_p99 as f64 * 1e-9)))
}

/// Operations of a window below which its p99 is about its longest, which depends on how many there
/// are: windows of the engine and those made at once need not hold the same number.
const OPERATIONS_FOR_P99: f64 = 100.0;

/// Over a minute of the same weather: 1.5 % between the rates, 6 % between the p99s. Those of the
/// arena are of 400 operations drawn at most.
#[test]
fn both_ways_give_the_same_rates_and_p99() {
    let mut p99s_compared = 0;
    for family in STEADY {
        for seed in 0..3 {
            for (batch_rows, workers) in [(1, 1), (16, 4), (512, 8), (2_048, 24)] {
                let setting = Setting { batch_rows, workers };
                let live = play(family, seed, 60.0, &mut Fixed(setting));
                let (rate, p99) = rate_and_p99(&live.windows[..live.windows.len() - 1]);
                let case = arena::draw(family, seed);
                let mut windows = Windows::new(&case, seed);
                let mut made = Vec::new();
                while windows.at_s() < 60.0 {
                    made.push(windows.next(setting, Wish::NONE));
                }
                let (expected, expected_p99) = rate_and_p99(&made);
                let what = format!("{family:?} {seed} {setting:?}");
                let (rates, p99s) = (rate / expected, p99 / expected_p99);
                assert!((rates - 1.0).abs() < 0.015, "{what}: {rate} is not {expected}");
                let operations = mean(live.windows.iter().map(|it| it.operations as f64));
                if OPERATIONS_FOR_P99 <= operations {
                    assert!((p99s - 1.0).abs() < 0.06, "{what}: {p99} is not {expected_p99}");
                    p99s_compared += 1;
                }
            }
        }
    }
    assert!(20 <= p99s_compared, "of 48: {p99s_compared}");
}

/// Ten servers of each family, 300 s each: what a controller loses, and what it calls the best, is
/// the same within noise.
#[test]
fn pilot_does_as_well_through_the_engine_as_in_the_arena() {
    for family in STEADY {
        let mut regrets = Vec::new();
        let mut deployed = Vec::new();
        for seed in 0..10 {
            let case = arena::draw(family, seed);
            let pilot = || Policy::Pilot.build(&arena::goal(&case, seed));
            let live = play(family, seed, case.horizon_s, pilot().as_mut());
            let live = arena::score(&case, &live.path, &Bounds::WIDE);
            let made =
                arena::score(&case, &arena::run(&case, seed, pilot().as_mut()), &Bounds::WIDE);
            regrets.push(live.regret - made.regret);
            deployed.push(live.deployed - made.deployed);
        }
        for (what, differences) in [("regret", regrets), ("deployed", deployed)] {
            let n = differences.len() as f64;
            let middle = mean(differences.iter().copied());
            let variance =
                differences.iter().map(|it| (it - middle).powi(2)).sum::<f64>() / (n - 1.0);
            let error = (variance / n).sqrt();
            assert!(middle.abs() < 3.0 * error + 0.005, "{family:?}: {what} {middle} +- {error}");
        }
    }
}
