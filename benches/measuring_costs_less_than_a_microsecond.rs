//! What measuring costs: on every operation `Recorder::begin` and `record`, on every window the roll. A
//! single-row operation takes tens of microseconds, and all workers share one recorder.

use std::{hint::black_box, time::Duration};

use batchpilot::measure::{OperationSample, Recorder, Roll};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const OPERATIONS: u64 = 1_000;

/// Latencies spread over two decades, as a server's are: equal ones would stay in one cache line.
fn samples() -> Vec<OperationSample> {
    let spread = |index: u64| Duration::from_nanos(40_000 + index * 7_919 % 4_000_000);
    let sample = |index| OperationSample {
        rows: 1,
        epoch: 0,
        pool_wait: Duration::from_nanos(200 + index % 300),
        queue_wait: Duration::ZERO,
        encode: Duration::from_nanos(80 + index % 100),
        commit: None,
        service: spread(index),
        response: spread(index) + Duration::from_nanos(500),
        rows_wait: Duration::ZERO,
        was_made_ready: false,
    };
    (0..OPERATIONS).map(sample).collect()
}

fn roll(window: u64) -> Roll {
    let at = Duration::from_millis(250) * u32::try_from(window).expect("few windows");
    Roll { at, batch_rows: 1, workers: 1, client_threads: 1, ..Roll::default() }
}

/// Takes an operation in, from its begin to its end.
fn run(recorder: &mut Recorder, sample: &OperationSample) -> bool {
    let number = recorder.begin(Duration::ZERO);
    recorder.record(number, sample, sample.service)
}

/// The cost of an operation's record: the time shown is of 1,000.
fn record(criterion: &mut Criterion) {
    let samples = samples();
    let mut recorder = Recorder::default();
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Elements(OPERATIONS));
    group.bench_function("1000_operations", |bencher| {
        bencher
            .iter(|| samples.iter().filter(|sample| run(&mut recorder, black_box(sample))).count());
    });
    group.finish();
}

/// The cost of a window's end: summing up, adding to the block's histograms, starting anew.
fn end_window(criterion: &mut Criterion) {
    let samples = samples();
    let mut group = criterion.benchmark_group("roll");
    for operations in [0, 10, 1_000] {
        let filled = || {
            let mut recorder = Recorder::default();
            for sample in samples.iter().take(operations) {
                run(&mut recorder, sample);
            }
            recorder
        };
        let id = BenchmarkId::new("operations", operations);
        group.bench_function(id, |bencher| {
            let end = |mut recorder: Recorder| (recorder.roll(black_box(&roll(1))), recorder);
            bencher.iter_batched(filled, end, BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, record, end_window);
criterion_main!(benches);
