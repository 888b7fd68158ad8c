//! `replay`: lets controllers play on simulated servers, and prints the league table.

use std::io::{self, Write};

use super::{Exit, args::Replay, replay_record};
use crate::{
    arena::{self, Standing},
    controller::Policy,
};

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
    for family in &arguments.family {
        writeln!(out, "{}, servers {first} to {last}, {} s each", family.name(), arena::HORIZON_S)?;
        header(out)?;
        for policy in &policies {
            if let Some(standing) = arena::standing(&matches, *policy, *family) {
                line(out, &standing)?;
            }
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "Shares are of the rows/s of the best setting at that time. last: mean over the last 30 s. \
         p10: 10th percentile over servers.\nregret: lost over the whole time. t90, t95, rec: \
         median seconds until that share is held; 300 (150 before and after a change) is never.\n\
         deployed: share of the setting called the best at the end, median and p10."
    )?;
    Ok(Exit::Done)
}

fn header(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{:10} {:>6} {:>6} {:>7} {:>6} {:>6} {:>9} {:>6} {:>6} {:>10} {:>9} {:>6}",
        "controller",
        "last",
        "p10",
        "regret",
        "t90",
        "t95",
        "unstable",
        "rec90",
        "rec95",
        "violating",
        "deployed",
        "p10"
    )
}

fn line(out: &mut dyn Write, standing: &Standing) -> io::Result<()> {
    let score = &standing.score;
    let maybe = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |it| format!("{it:.digits$}"))
    };
    writeln!(
        out,
        "{:10} {:6.3} {:6.3} {:7.3} {:6.1} {:6.1} {:9.3} {:>6} {:>6} {:>10} {:9.3} {:6.3}",
        standing.policy.name(),
        score.last,
        standing.last_p10,
        score.regret,
        score.time_to_90_s,
        score.time_to_95_s,
        score.unstable,
        maybe(score.recovery_90_s, 1),
        maybe(score.recovery_95_s, 1),
        maybe(score.violating, 3),
        standing.deployed_p50,
        standing.deployed_p10,
    )
}
