//! What a decision of `pilot` costs, at the end of each window: after few and after hundreds of
//! windows, within 64 workers and within 1,024.

use std::hint::black_box;

use batchpilot::{
    arena::{self, Windows},
    controller::{Bounds, Controller, Goal, Pilot},
    measure::WindowSummary,
    target::sim::Family,
};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};

/// A pilot after this many windows, and the next one.
fn after(windows: usize, workers: u32) -> (Pilot, WindowSummary) {
    let mut case = arena::draw(Family::Weird, 1);
    case.before.cores = 64.0;
    case.after = case.before.clone();
    let bounds = Bounds::new((1, 65_535), (1, workers)).expect("they hold something");
    let mut pilot = Pilot::new(&Goal { bounds, ..arena::goal(&case, 1) });
    let mut server = Windows::new(&case, 1);
    let mut decision = pilot.start();
    for _ in 0..windows {
        decision = pilot.decide(&server.next(decision.setting, decision.wish));
    }
    // A probe is weighed, and the next one chosen, at home only: nothing dearer happens.
    while decision.setting != decision.incumbent {
        decision = pilot.decide(&server.next(decision.setting, decision.wish));
    }
    let window = server.next(decision.setting, decision.wish);
    (pilot, window)
}

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    for workers in [64, 1_024] {
        for windows in [20, 100, 800] {
            let (pilot, window) = after(windows, workers);
            let id = BenchmarkId::new(format!("{workers}_workers"), windows);
            group.bench_function(id, |bencher| {
                let decide = |mut pilot: Pilot| (pilot.decide(black_box(&window)), pilot);
                bencher.iter_batched(|| pilot.clone(), decide, BatchSize::SmallInput);
            });
        }
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
