//! `replay`: lets controllers play on simulated servers, and prints the league table.

use std::io::{self, Write};

use super::{
    Exit,
    args::{Replay, TableFormat},
    replay_record,
};
use crate::{
    arena::{self, Layout, Standing},
    controller::Policy,
};

/// Columns that a note is wrapped at.
const NOTE_WIDTH: usize = 80;

pub(super) fn run(arguments: &Replay) -> anyhow::Result<Exit> {
    let policies = match arguments.controller.as_slice() {
        [] => Policy::ALL.to_vec(),
        named => named.to_vec(),
    };
    if let Some(record) = &arguments.record {
        return replay_record::run(record, &policies);
    }
    let (first, last) = arguments.seeds;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let matches = arena::league(&policies, &arguments.family, first..last + 1, threads);
    let out = &mut io::stdout().lock();
    let layout = match arguments.format {
        TableFormat::Text => Layout::Text,
        TableFormat::Markdown => Layout::Markdown,
    };
    for family in &arguments.family {
        let name = family.name();
        let heading =
            if layout == Layout::Markdown { format!("## {name}\n\n") } else { format!("{name}, ") };
        writeln!(out, "{heading}servers {first} to {last}, {} s each", arena::HORIZON_S)?;
        if layout == Layout::Markdown {
            writeln!(out)?;
        }
        let standings: Vec<Standing> = policies
            .iter()
            .filter_map(|policy| arena::standing(&matches, *policy, *family))
            .collect();
        arena::write_table(&standings, layout, out)?;
        writeln!(out)?;
    }
    for note in arena::NOTES {
        let bullet = if layout == Layout::Markdown { "- " } else { "" };
        writeln!(out, "{}", textwrap::fill(&format!("{bullet}{note}"), NOTE_WIDTH))?;
    }
    Ok(Exit::Done)
}
