//! The main job, whole: the documented table on a real PostgreSQL, and its files as other tools read
//! them; and what servers of each major count while a block runs.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use batchpilot::{
    engine::Ended,
    measure::Kind,
    plan::Transaction,
    record::{self, Record},
    target::Target as _,
};
use hdrhistogram::{
    Histogram,
    serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    },
};

use crate::support::{
    Desk, Place, batchpilot, brief, cell, cluster, cluster_of, database, ended, run, target, verify,
};

#[tokio::test]
async fn the_documented_table_is_measured_whole_and_its_latencies_are_as_recorded() {
    let (place, desk) = (database().await, Desk::new());
    let mut command = batchpilot();
    command.args(["reproduce", "--repetitions", "1", "--url", &place.url()]);
    command.arg("--out").arg(desk.out());
    let finished = ended(command).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    assert!(
        finished.stdout.starts_with("VALID: 14 of 14 blocks read back and exact, "),
        "{finished:?}"
    );
    for claim in ["781 rows/s for GORM", "3,125 rows/s for GORM", "6,250 rows/s for GORM"] {
        assert!(finished.stdout.contains(claim), "{finished:?}");
    }
    assert_eq!(place.schemas().await, Vec::<String>::new());
    let run = desk.only_run();
    let record = record::read(&run).unwrap();
    assert!(record.complete && record.blocks.iter().all(record::BlockRecord::is_valid));
    check_log(&record, &std::fs::read(run.join("latency.hlog")).unwrap());
    check_empty_fields(&record, &std::fs::read_to_string(run.join("blocks.csv")).unwrap());
}

/// A line a block and kind, in the order of the record, with the same figures.
fn check_log(record: &Record, log: &[u8]) {
    let mut lines = IntervalLogIterator::new(log).filter_map(|entry| match entry.unwrap() {
        LogEntry::Interval(interval) => Some(interval),
        _ => None,
    });
    for block in &record.blocks {
        for kind in Kind::ALL {
            let Some(kept) = block.latency.get(kind.name()) else { continue };
            let line = lines.next().unwrap();
            let tag = line.tag().unwrap();
            assert!(tag.as_str().ends_with(&format!(".{}", kind.name())), "{}", tag.as_str());
            let bytes = STANDARD.decode(line.encoded_histogram()).unwrap();
            let read: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
            let figures = |of: fn(&Histogram<u64>) -> u64| of(&read);
            assert_eq!(figures(Histogram::len), kept.count);
            assert_eq!(figures(|it| it.value_at_quantile(0.5)), kept.ns_p50);
            assert_eq!(figures(|it| it.value_at_quantile(0.99)), kept.ns_p99);
            assert_eq!(figures(Histogram::max), kept.ns_max);
            assert!(0 < kept.count);
        }
    }
    assert!(lines.next().is_none(), "the log has more than the record");
}

/// Where nothing was committed apart, COMMIT took no time: that is no 0.
fn check_empty_fields(record: &Record, blocks: &str) {
    let mut reader = csv::Reader::from_reader(blocks.as_bytes());
    let headers = reader.headers().unwrap().clone();
    let commit = headers.iter().position(|it| it == "commit_ns_p50").unwrap();
    let mut with = 0;
    for (row, block) in reader.records().zip(&record.blocks) {
        let row = row.unwrap();
        let transaction = record.plan.cells[block.cell].transaction;
        assert_eq!(row[commit].is_empty(), transaction == Transaction::Autocommit, "{row:?}");
        assert_ne!(&row[commit], "0", "{row:?}");
        with += usize::from(!row[commit].is_empty());
    }
    assert!((1..record.blocks.len()).contains(&with), "{with} cells commit apart");
}

/// A name of a counter that a new major gave up would else go unseen: a sample that fails is none.
#[tokio::test]
async fn every_major_counts_what_a_block_did() {
    for major in [None, Some(14), Some(18)] {
        // What is installed, whatever it is, and the oldest and newest that batchpilot knows.
        let cluster = match major {
            None => Some(cluster(&[("fsync", "off")]).await),
            Some(major) => cluster_of(major).await,
        };
        let Some(cluster) = cluster else { continue };
        let place = Place::of(&cluster);
        let client = place.client().await;
        let version = client.query_one("SHOW server_version_num", &[]).await.unwrap();
        let version: u32 = version.get::<_, String>(0).parse().unwrap();
        let no_vacuum = "ALTER SYSTEM SET autovacuum = off";
        client.batch_execute(no_vacuum).await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let target = target(place.options()).await;
        let slow = "strategy = \"single_row\"\npace = { rate = 200.0 }\nstop.seconds = 1.5\n";
        // Twice: what making the second table wrote must not count in its block.
        for _ in 0..2 {
            target.reset_table().await.unwrap();
            let outcome = run(&target, &cell(slow)).await.unwrap();
            assert_eq!(outcome.ended, Ended::Done, "{version} {}", brief(&outcome));
            let (before, after) = outcome.samples.clone().unwrap();
            let rows = outcome.confirmed.row_count();
            let wal = after.wal_bytes - before.wal_bytes;
            // A row of the table takes 100 bytes and more; its commit and index entry come on top.
            assert!((100 * rows..10_000 * rows).contains(&wal), "{version}: {wal} for {rows} rows");
            let images = after.wal_full_page_images.zip(before.wal_full_page_images);
            match images.map(|(after, before)| after - before) {
                None => assert!(version < 150_000, "{version}"),
                // Making a table touches 30 pages and more of the catalog after the CHECKPOINT.
                Some(images) => assert!(images < 20, "{version}: {images} images for {rows} rows"),
            }
            assert!(verify(&target, &outcome).await.is_exact());
        }
        target.reset_table().await.unwrap();
        let cell = cell(slow);
        let checkpoint = async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            client.batch_execute("CHECKPOINT").await.unwrap();
        };
        let (outcome, ()) = tokio::join!(run(&target, &cell), checkpoint);
        let (before, after) = outcome.unwrap().samples.unwrap();
        assert!(before.checkpoints < after.checkpoints, "{version}: {before:?} {after:?}");
        target.close().await.unwrap();
        drop(client);
        cluster.stop().await.unwrap();
    }
}
