//! What a person sees while a check goes on: one line on the terminal, nothing when piped.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    gate::{Metric, Session},
    stats::format::{number, times},
};

/// The line.
#[derive(Debug)]
pub(super) struct Live {
    bar: ProgressBar,
    /// What stands before all that is said, where there are several cells.
    prefix: String,
}

impl Live {
    /// Shows nothing if `quiet` or if standard error is not a terminal.
    pub(super) fn new(quiet: bool) -> Live {
        let target =
            if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{wide_msg}").expect("the template is valid"));
        Live { bar, prefix: String::new() }
    }

    /// Names the cell that is checked.
    pub(super) fn name(&mut self, cell: &str) {
        self.prefix = format!("{cell}: ");
    }

    pub(super) fn say(&self, what: &str) {
        self.bar.set_message(format!("{}{what}", self.prefix));
        self.bar.tick();
    }

    /// A window of the warm-up ended.
    pub(super) fn warm_up(&self, arm: &str, rows_per_s: f64) {
        self.say(&format!("warming up: {arm} {} rows/s", number(rows_per_s.round())));
    }

    /// A pair ended.
    pub(super) fn pair(&self, session: &Session, is_confirming: bool, next_look: usize) {
        let ratio = |metric: Metric| {
            let ratio = session.running(metric);
            let name = metric.words().trim_end_matches(" latency");
            ratio.map(|it| format!("{name} {}", times(it))).unwrap_or_default()
        };
        let confirming = if is_confirming { "to confirm: " } else { "" };
        self.say(&format!(
            "{confirming}pair {} of {next_look}: {} · {}",
            session.pairs().len(),
            ratio(Metric::RowsPerS),
            ratio(Metric::LatencyP95),
        ));
    }

    /// Says what must not be missed, on a terminal or not.
    pub(super) fn warn(&self, warning: &str) {
        self.bar.suspend(|| crate::cli::warn(warning));
    }

    /// Prints a line above.
    pub(super) fn note(&self, line: &str) {
        self.bar.println(line);
    }

    /// Clears the line.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
