//! What a person sees while a run goes on: one line on the terminal, nothing when piped.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    clock,
    clock::Instant,
    controller::{Decision, Setting},
    measure::WindowSummary,
    plan::Plan,
    stats::format::{number, time_ns},
};

/// Time that a block costs beside its measured part, before the first one has been seen.
const OVERHEAD_GUESS: Duration = Duration::from_millis(600);
/// Length of a block without time limit, before the first one has been seen.
const LENGTH_GUESS: Duration = Duration::from_secs(10);

/// Progress of a run.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    /// What a block of each cell took in all, as last seen.
    seen: Vec<Option<Duration>>,
    left: Vec<usize>,
    block_started: Instant,
}

impl Progress {
    /// Shows nothing if `quiet` or if standard error is not a terminal.
    pub(super) fn new(plan: &Plan, quiet: bool) -> Progress {
        let target =
            if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(plan.blocks.len() as u64), target);
        // A search needs the room for what it says, and has no end that a bar could show.
        let template = match plan.tuning {
            None => "{bar:24} {pos}/{len}  {wide_msg}",
            Some(_) => "{pos}/{len}  {wide_msg}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is valid");
        bar.set_style(style.progress_chars("━╸ "));
        Progress {
            bar,
            seen: vec![None; plan.cells.len()],
            left: plan.blocks.iter().map(|block| block.cell).collect(),
            block_started: clock::now(),
        }
    }

    /// Says what is being done outside blocks.
    pub(super) fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.tick();
    }

    /// A block begins.
    pub(super) fn begin(&mut self, plan: &Plan, cell: usize) {
        self.block_started = clock::now();
        self.show(plan, cell, None);
    }

    /// A window of the block ended.
    pub(super) fn show(&self, plan: &Plan, cell: usize, rows_per_s: Option<f64>) {
        let rate = rows_per_s.map_or(String::new(), |rate| format!("  {rate:.0} rows/s"));
        let left = humane(self.time_left(plan));
        self.bar.set_message(format!("{}{rate}  about {left} left", plan.cells[cell].name));
        self.bar.tick();
    }

    /// A window of a block that is steered ended.
    pub(super) fn show_decision(
        &self,
        plan: &Plan,
        cell: usize,
        window: &WindowSummary,
        decision: &Decision,
    ) {
        let here = Setting { batch_rows: window.batch_rows, workers: window.workers }.words();
        let best = decision.incumbent.words();
        let at_s = (window.start + window.length).as_secs();
        self.bar.set_message(format!(
            "{} {at_s} s: {here}  {} rows/s  p99 {}  {}  best {best}",
            plan.cells[cell].name,
            number(window.rows_per_s().round()),
            time_ns(window.service_ns_p99),
            decision.state,
        ));
        self.bar.tick();
    }

    /// The block ended.
    pub(super) fn end(&mut self, cell: usize) {
        self.seen[cell] = Some(clock::since(self.block_started));
        if !self.left.is_empty() {
            self.left.remove(0);
        }
        self.bar.inc(1);
    }

    /// Blocks were added to the plan.
    pub(super) fn add(&mut self, plan: &Plan, blocks: std::ops::Range<usize>) {
        self.bar.inc_length(blocks.len() as u64);
        self.seen.resize(plan.cells.len(), None);
        self.left.extend(plan.blocks[blocks].iter().map(|block| block.cell));
    }

    /// Has something printed without the progress in its way.
    pub(super) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bar.suspend(print)
    }

    /// Prints a line above the progress.
    pub(super) fn note(&self, line: &str) {
        self.bar.println(line);
    }

    /// Clears the line.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Returns about how long the blocks left will take.
    pub(super) fn time_left(&self, plan: &Plan) -> Duration {
        let guess = |cell: usize| {
            let seconds = plan.cells[cell].stop.seconds.map(Duration::from_secs_f64);
            seconds.unwrap_or(LENGTH_GUESS) + OVERHEAD_GUESS
        };
        self.left.iter().map(|&cell| self.seen[cell].unwrap_or_else(|| guess(cell))).sum()
    }
}

fn humane(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds < 100 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}
