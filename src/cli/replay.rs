//! `replay`: lets controllers play on simulated servers, and prints the league table.

use std::{
    io::{self, Write},
    path::Path,
};

use super::{
    Exit, UsageError,
    args::{Replay, TableFormat},
    replay_record,
    run::{read, resolve},
};
use crate::{
    arena::{self, Ground, Layout, Standing, Way},
    controller::Policy,
};

/// Columns that a note is wrapped at.
const NOTE_WIDTH: usize = 80;

pub(super) fn run(arguments: &Replay) -> anyhow::Result<Exit> {
    let policies = match arguments.controller.as_slice() {
        [] => Policy::ALL.to_vec(),
        named => named.to_vec(),
    };
    if !arguments.arena {
        let [record] = arguments.paths.as_slice() else {
            let problem = "one record is replayed at a time; simulated servers need --arena";
            return Err(UsageError(problem.to_owned()).into());
        };
        return replay_record::run(record, &policies);
    }
    let grounds: Vec<Ground> = match arguments.paths.as_slice() {
        [] => arguments.family.iter().copied().map(Ground::Family).collect(),
        scenarios => scenarios.iter().map(|path| simulated(path)).collect::<Result<_, _>>()?,
    };
    let (first, last) = arguments.seeds;
    let way = if arguments.engine { Way::Engine } else { Way::Windows };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let matches = arena::league(&policies, &grounds, first..last + 1, way, threads)?;
    let out = &mut io::stdout().lock();
    for (number, ground) in grounds.iter().enumerate() {
        let standings: Vec<Standing> = policies
            .iter()
            .filter_map(|policy| arena::standing(&matches, *policy, number))
            .collect();
        write_ground(ground, &standings, arguments, out)?;
    }
    for note in arena::NOTES {
        let bullet = if arguments.format == TableFormat::Markdown { "- " } else { "" };
        writeln!(out, "{}", textwrap::fill(&format!("{bullet}{note}"), NOTE_WIDTH))?;
    }
    Ok(Exit::Done)
}

/// The simulated server of a scenario file.
fn simulated(path: &Path) -> anyhow::Result<Ground> {
    let file = read(path)?;
    let plan = resolve(&file, &file.scenario)?;
    let Some(settings) = plan.sim else {
        let problem =
            format!("{}: the arena is of simulated servers; it has no [sim]", path.display());
        return Err(UsageError(problem).into());
    };
    Ok(Ground::Server { name: plan.name, settings: Box::new(settings) })
}

fn write_ground(
    ground: &Ground,
    standings: &[Standing],
    arguments: &Replay,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (first, last) = arguments.seeds;
    let servers = match ground {
        Ground::Family(_) => "servers",
        Ground::Server { .. } => "weathers",
    };
    let way = if arguments.engine { ", through the engine" } else { "" };
    let seconds = ground.server(first).horizon_s;
    let what = format!("{servers} {first} to {last}, {seconds} s each{way}");
    let layout = match arguments.format {
        TableFormat::Text => {
            writeln!(out, "{}, {what}", ground.name())?;
            Layout::Text
        }
        TableFormat::Markdown => {
            writeln!(out, "## {}\n\n{what}\n", ground.name())?;
            Layout::Markdown
        }
    };
    arena::write_table(standings, layout, out)?;
    writeln!(out)
}
