//! What the client does to each row, apart from any server: build it, encode it, write its
//! statement. A server takes about a million rows a second; these must be far above that.

use std::{
    hint::black_box,
    sync::{Arc, LazyLock},
};

use batchpilot::{
    rows::{Generator, RowRange, RowSlice},
    strategy::{Parameters, Shape, copy_binary, copy_text, multi_row, unnest},
};
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};

/// Far from zero, so that a row's index has as many digits as in a long run.
const FIRST_ROW: u64 = 1_000_000;
const BATCH_ROWS: u64 = 1_000;

fn generator() -> Generator {
    Generator::article_user(1)
}

fn range(rows: u64) -> RowRange {
    RowRange { start: FIRST_ROW, end: FIRST_ROW + rows }
}

fn slice() -> RowSlice {
    RowSlice::new(Arc::new(generator().build(range(BATCH_ROWS))), range(BATCH_ROWS))
}

fn shape() -> Shape<'static> {
    static COLUMNS: LazyLock<Generator> = LazyLock::new(generator);
    Shape { table: "users", columns: COLUMNS.columns(), returning: None }
}

/// Rows a second that one thread builds, by rows a chunk.
fn building(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build_rows");
    for rows in [64, 512, 2_048, 16_384] {
        group.throughput(Throughput::Elements(rows));
        group.bench_with_input(BenchmarkId::from_parameter(rows), &rows, |bencher, &rows| {
            bencher.iter(|| generator().build(black_box(range(rows))));
        });
    }
    group.finish();
}

/// Runs `encode` twice: its throughput in rows, and in the bytes it makes.
fn encoding(
    group: &mut BenchmarkGroup<'_, WallTime>,
    strategy: &str,
    bytes: usize,
    mut encode: impl FnMut(),
) {
    for (unit, throughput) in
        [("rows", Throughput::Elements(BATCH_ROWS)), ("bytes", Throughput::Bytes(bytes as u64))]
    {
        group.throughput(throughput);
        group.bench_function(BenchmarkId::new(strategy, unit), |bencher| bencher.iter(&mut encode));
    }
}

/// Each strategy's encoding of one batch of 1,000 rows into a buffer that is used again.
fn encodings(criterion: &mut Criterion) {
    let slice = slice();
    let mut group = criterion.benchmark_group("encode_1000_rows");

    let mut parameters = Parameters::default();
    parameters.push_rows(&slice);
    encoding(&mut group, "multi_row", byte_count(&parameters), || {
        parameters.clear();
        parameters.push_rows(black_box(&slice));
    });

    let slices = [slice.clone()];
    unnest::encode(shape(), &slices, &mut parameters);
    encoding(&mut group, "unnest", byte_count(&parameters), || {
        unnest::encode(shape(), black_box(&slices), &mut parameters);
    });

    let mut data = Vec::new();
    let mut encoder = copy_text::Encoder::default();
    encoder.encode(&slice, &mut data);
    encoding(&mut group, "copy_text", data.len(), || {
        data.clear();
        encoder.encode(black_box(&slice), &mut data);
    });

    data.clear();
    copy_binary::encode(&slice, &mut data);
    encoding(&mut group, "copy_binary", data.len(), || {
        data.clear();
        copy_binary::encode(black_box(&slice), &mut data);
    });
    group.finish();
}

fn byte_count(parameters: &Parameters) -> usize {
    (0..parameters.count()).map(|index| parameters.get(index).map_or(0, <[u8]>::len)).sum()
}

/// The text of a statement of many rows: written once for each size of batch and session.
fn statement_text(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("multi_row_statement");
    for rows in [1, 100, 1_000, 16_383] {
        group.throughput(Throughput::Elements(rows));
        group.bench_with_input(BenchmarkId::from_parameter(rows), &rows, |bencher, &rows| {
            bencher.iter(|| multi_row::statement(shape(), black_box(rows)));
        });
    }
    group.finish();
}

criterion_group!(benches, building, encodings, statement_text);
criterion_main!(benches);
