//! `check --calibrate`: how far an arm lies from itself on this machine, and which margins that asks
//! for.

use std::io::Write as _;

use crate::{
    cli::{
        Exit,
        args::Check,
        checker::{self, Job},
    },
    gate::Conclusion,
    record::Comparison,
    verdict::{CheckVerdict, NullCheck, Proposal},
};

pub(super) fn run(job: &Job, checks: u32, arguments: &Check) -> anyhow::Result<Exit> {
    assert!(matches!(job.comparison, Comparison::Null(_)), "a calibration compares with itself");
    let mut out = anstream::stdout();
    let mut nulls = Vec::new();
    for number in 0..checks {
        let mut job = job.clone();
        // The order of blocks is drawn anew; and so are the rows, and the weather where it is
        // simulated.
        for side in [&mut job.sides.base, &mut job.sides.head] {
            let seeds = side.plan.sim.iter_mut().map(|sim| &mut sim.seed);
            for seed in seeds.chain([&mut side.plan.seed]) {
                *seed = seed.wrapping_add(u64::from(number));
            }
        }
        let checked = match checker::run(job, &arguments.common)? {
            Ok(checked) => checked,
            Err(told) => return Ok(told),
        };
        let verdict = CheckVerdict::of(&checked.record);
        let (word, path) = (verdict.conclusion.word(), checked.path.display());
        writeln!(out, "{} of {checks}: {word}: {}\n    {path}", number + 1, verdict.headline)?;
        if let Some(error) = checked.error {
            return Err(error);
        }
        if let Some(told) = checked.told {
            return Ok(told);
        }
        nulls.extend(NullCheck::of(&checked.record));
        if verdict.conclusion == Conclusion::Invalid {
            writeln!(out, "A machine on which checks are INVALID is not to be calibrated.")?;
            return Ok(Exit::Invalid);
        }
    }
    let proposal = Proposal::of(&nulls, &arguments.gate.options());
    crate::report::check::write_proposal(&proposal, &mut out)?;
    Ok(Exit::Done)
}
