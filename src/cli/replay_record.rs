//! `replay RECORD`: feeds the windows of a run to another controller, and compares what it decides.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
};

use super::{
    Exit, UsageError,
    steering::{ENDS, Steering},
};
use crate::{
    controller::{Controller as _, Decision, Policy},
    plan::{CellPlan, ControlPlan, Plan},
    record::{self, JournalRow, WindowRow},
};

/// How a controller compares with the journal of one cell.
#[derive(Debug, Default)]
struct Comparison {
    decisions: usize,
    agreed: usize,
    first_difference: Option<(JournalRow, Decision)>,
    /// What both called the best in the end: the journal, and the controller.
    last: Option<(JournalRow, Decision)>,
}

pub(super) fn run(directory: &Path, policies: &[Policy]) -> anyhow::Result<Exit> {
    let plan = record::read(directory)?.plan;
    let windows = record::read_windows(directory)?;
    let journal = record::read_journal(directory)?;
    if journal.is_empty() {
        let problem = format!(
            "{}: no controller decided anything in it; `tune`, and `run` of cells with a controller, \
             keep a journal",
            directory.display()
        );
        return Err(UsageError(problem).into());
    }
    let out = &mut io::stdout().lock();
    if plan.sim.is_some() {
        writeln!(out, "{}", plan.heading())?;
    }
    for policy in policies {
        for (cell, comparison) in compare(&plan, &windows, &journal, *policy) {
            say(&plan.cells[cell].name, *policy, &comparison, out)?;
        }
    }
    writeln!(
        out,
        "The windows were measured under the settings of the controller that ran. What another one \
         would have seen\nafter its first other decision is not in them: from there on agreement says \
         little."
    )?;
    Ok(Exit::Done)
}

/// Feeds the windows of each cell that was steered to a controller of this policy.
fn compare(
    plan: &Plan,
    windows: &[WindowRow],
    journal: &[JournalRow],
    policy: Policy,
) -> BTreeMap<usize, Comparison> {
    let mut comparisons: BTreeMap<usize, Comparison> = BTreeMap::new();
    let mut steering: BTreeMap<usize, Steering> = BTreeMap::new();
    for (number, block) in plan.blocks.iter().enumerate() {
        let cell = &plan.cells[block.cell];
        let Some(controller) = cell.controller else { continue };
        // A search goes on in the next block of its cell, and so does what follows it.
        let (who, seed) = match &plan.tuning {
            Some(tuning) if tuning.follow == Some(block.cell) => {
                (tuning.winner.unwrap_or(block.cell), plan.seed)
            }
            Some(_) => (block.cell, plan.seed),
            None => {
                steering.remove(&block.cell);
                (block.cell, block.seed)
            }
        };
        let like = CellPlan { controller: Some(other(controller, policy)), ..cell.clone() };
        let steering = steering.entry(who).or_insert_with(|| Steering::of(&like, seed));
        steering.helm.begin(None);
        if !controller.is_search {
            let first = journal.iter().find(|it| it.block == number);
            steering.helm.search_is_over(first.map(|it| it.incumbent));
        }
        let comparison = comparisons.entry(block.cell).or_default();
        for row in journal.iter().filter(|it| it.block == number) {
            let window =
                windows.iter().find(|it| it.block == number && Some(it.window) == row.window);
            let decision = match (row.window, window) {
                (None, _) => steering.helm.start(),
                (Some(_), Some(window)) if row.reason != ENDS => {
                    steering.helm.decide(&window.summary())
                }
                // The controller that ran was not shown it, or it is not on disk.
                (Some(_), _) => continue,
            };
            comparison.take(row, decision);
        }
    }
    comparisons
}

/// The same bounds and limit under another policy.
fn other(controller: ControlPlan, policy: Policy) -> ControlPlan {
    let variance = controller.variance.filter(|_| policy == Policy::Variance);
    ControlPlan { policy, variance, ..controller }
}

impl Comparison {
    fn take(&mut self, row: &JournalRow, decision: Decision) {
        self.decisions += 1;
        if decision.setting == row.after {
            self.agreed += 1;
        } else if self.first_difference.is_none() {
            self.first_difference = Some((row.clone(), decision.clone()));
        }
        self.last = Some((row.clone(), decision));
    }
}

fn say(cell: &str, policy: Policy, comparison: &Comparison, out: &mut dyn Write) -> io::Result<()> {
    let Comparison { decisions, agreed, first_difference, last } = comparison;
    writeln!(out, "{cell}: {} agrees in {agreed} of {decisions} decisions", policy.name())?;
    if let Some((row, decision)) = first_difference {
        writeln!(
            out,
            "  first difference at {:.1} s: {} ({}), where {} went to {} ({})",
            row.at_s,
            decision.setting.words(),
            decision.reason,
            row.policy.name(),
            row.after.words(),
            row.reason,
        )?;
    }
    if let Some((row, decision)) = last {
        writeln!(
            out,
            "  best in the end: {} for {}, and {} for {}, as recorded",
            decision.incumbent.words(),
            policy.name(),
            row.incumbent.words(),
            row.policy.name(),
        )?;
    }
    Ok(())
}
