//! What became of each line of the user's own file, block by block.

use crate::{
    record::{BlockEnd, BlockRecord, Record},
    stats::format::number,
};

/// Blocks that are told one by one.
const BLOCKS_MAX: usize = 20;

/// Returns the account of a run, in sentences whose sums add up; none if rows were made up.
pub(super) fn account(record: &Record) -> Vec<String> {
    let Some(csv) = &record.plan.csv else { return Vec::new() };
    let count = |count: u64| number(count as f64);
    let mut sentences = vec![format!(
        "{}: {} lines = {} header + {} blank + {} left out as unreadable + {} that hold {} rows.",
        csv.file,
        count(csv.lines),
        count(csv.lines_header),
        count(csv.lines_blank),
        count(csv.lines_bad),
        count(csv.lines_rows),
        count(csv.rows),
    )];
    let blocks = record.blocks.iter().take(BLOCKS_MAX);
    sentences.extend(blocks.map(|block| of_block(record, block, csv.rows)));
    if BLOCKS_MAX < record.blocks.len() {
        let rest = record.blocks.len() - BLOCKS_MAX;
        sentences.push(format!("The other {rest} blocks are in blocks.csv and record.json."));
    }
    sentences
}

fn of_block(record: &Record, block: &BlockRecord, rows: u64) -> String {
    let count = |count: u64| number(count as f64);
    let name = format!("Block {} ({})", block.number, record.cell_of(block).name);
    if block.ended == BlockEnd::Abandoned {
        return format!("{name}: operations were abandoned; their rows are not accounted for.");
    }
    let settled = block.verification.as_ref().map_or(0, |it| it.in_doubt_present);
    let in_doubt = block.rows_in_doubt - settled;
    let offered = block.rows_confirmed + block.rows_failed + in_doubt;
    let read_back = match &block.verification {
        Some(verification) => {
            format!("{} were read back and compared", count(verification.rows_found))
        }
        None => "the table was not read back".to_owned(),
    };
    let lost = if block.verification.is_some() { "in doubt and not found" } else { "in doubt" };
    format!(
        "{name}: {} rows = {} confirmed + {} refused or failed + {} {lost} + {} not sent; {read_back}.",
        count(rows),
        count(block.rows_confirmed),
        count(block.rows_failed),
        count(in_doubt),
        count(rows - offered),
    )
}
