//! Takes in operations as they end, and rolls windows.

use std::{collections::BTreeMap, time::Duration};

use slab::Slab;

use super::{Activity, Histograms, Kind, WindowSummary};

/// One operation that ended well.
#[derive(Clone, Copy, Debug)]
pub struct OperationSample {
    /// Rows it carried.
    pub rows: u64,
    /// Epoch of the setting under which it started.
    pub epoch: u64,
    /// Wait for a session.
    pub pool_wait: Duration,
    /// Wait from the intended start.
    pub queue_wait: Duration,
    /// Client's work on the wire format.
    pub encode: Duration,
    /// COMMIT alone, if it sent one.
    pub commit: Option<Duration>,
    /// From the operation's first step on its session to the confirmation.
    pub service: Duration,
    /// From intended start to confirmation.
    pub response: Duration,
    /// Wait for rows to be built while the operation was on.
    pub rows_wait: Duration,
    /// Whether its session, or its statement there, was made for it.
    pub was_made_ready: bool,
}

/// The part of a block that counts where blocks are compared: from its start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// Its first moment: what happens earlier is still of the block before.
    pub from: Duration,
    /// Its last: operations that end later are no longer as many at a time.
    pub to: Duration,
}

/// What was measured in a [`Span`].
#[derive(Clone, Debug)]
pub struct Kept {
    /// From where to where it goes.
    pub span: Span,
    /// Rows of the operations in it; of one that began before it or ended after it, the part that its
    /// time in the span is of its latency. Counted whole, a few long operations that all began with
    /// the block would make a step of what is a slope.
    pub rows: f64,
    /// Latencies of those, and of the ones that ended after it: left out, a stall that outlasts the
    /// span would not show. A COMMIT that belongs to no single operation is not among them.
    pub histograms: Histograms,
}

/// What a block measured.
#[derive(Clone, Debug, Default)]
pub struct Measurement {
    /// Latencies of all operations that ended well.
    pub histograms: Histograms,
    /// Operations that ended well.
    pub operations: u64,
    /// Their rows.
    pub rows: u64,
    /// Operations among them whose transaction was rolled back later, by another's error.
    pub operations_rolled_back: u64,
    /// Attempts that the server pushed back.
    pub pushed_back: u64,
    /// Errors by SQLSTATE, or by kind where there is none.
    pub errors: BTreeMap<String, u64>,
    /// Time that workers waited for rows to be built, added over workers.
    pub rows_wait: Duration,
    /// Windows that were client bound.
    pub windows_client_bound: u64,
    /// Windows.
    pub windows: u64,
    /// Of the part that counts, if there is one.
    pub kept: Option<Kept>,
}

/// What the engine knows at a window's end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Roll {
    /// Time since the block's start.
    pub at: Duration,
    /// Setting in force: epoch, rows an operation, workers.
    pub epoch: u64,
    /// Rows an operation carries.
    pub batch_rows: u64,
    /// Workers.
    pub workers: u32,
    /// Operations due and not started.
    pub backlog: u64,
    /// CPU time of this process in the window.
    pub client_cpu: Duration,
    /// CPU time of the threads that run the workers in the window.
    pub worker_cpu: Duration,
    /// Threads that run the workers.
    pub client_threads: u32,
    /// What the server did.
    pub activity: Option<Activity>,
}

/// Is being filled. One for each block.
#[derive(Debug)]
pub struct Recorder {
    window: Counts,
    window_histograms: Histograms,
    window_index: u64,
    window_start: Duration,
    window_epoch: u64,
    /// Operations that the window waits for; more than there can be if it waits for none.
    operations_wanted: u64,
    running: Slab<Running>,
    total: Measurement,
}

/// An operation under way.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// When it was taken up, from the block's start.
    began: Duration,
    /// Its part that windows before this one were credited with.
    credited: f64,
    /// Its time in windows that mix settings, which are credited with nothing of it.
    skipped: Duration,
}

impl Running {
    /// The part of it that the window under way gets of it, as it ends.
    fn rest(&self, at: Duration) -> f64 {
        let skipped = share(self.skipped, at.saturating_sub(self.began));
        (1.0 - self.credited - skipped).max(0.0)
    }
}

/// `part` of `whole`, from 0 to 1; of nothing, none.
fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { (part.as_secs_f64() / whole.as_secs_f64()).min(1.0) }
}

#[derive(Debug, Default)]
struct Counts {
    operations: u64,
    rows: u64,
    /// Rows, of the operations that ended, that the window is credited with.
    rows_within: f64,
    /// From taking up to end, in seconds, added over the operations that ended; and its square.
    lives_s: [f64; 2],
    pushed_back: u64,
    unreachable: u64,
    errors: u64,
    mixed: bool,
    rows_wait: Duration,
}

/// Share of the client threads' time above which the client is called the limit.
const CLIENT_BOUND_CPU: f64 = 0.9;
/// Share of the workers' time spent waiting for rows above which the client is called the limit.
const CLIENT_BOUND_ROWS_WAIT: f64 = 0.1;

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder {
            window: Counts::default(),
            window_histograms: Histograms::default(),
            window_index: 0,
            window_start: Duration::ZERO,
            window_epoch: 0,
            operations_wanted: u64::MAX,
            running: Slab::new(),
            total: Measurement::default(),
        }
    }
}

impl Recorder {
    /// Creates a recorder that measures a part of the block on its own, too.
    pub fn keeping(span: Span) -> Recorder {
        let kept = Some(Kept { span, rows: 0.0, histograms: Histograms::default() });
        let total = Measurement { kept, ..Measurement::default() };
        Recorder { total, ..Recorder::default() }
    }

    /// Takes an operation that ended well, so long after the block's start, into the part that
    /// counts, if it belongs there. It was recorded before.
    pub fn keep(&mut self, sample: &OperationSample, at: Duration) {
        let Some(kept) = self.total.kept.as_mut() else { return };
        let span = kept.span;
        if at < span.from {
            return;
        }
        kept.histograms.record_operation(sample);
        let began = at.saturating_sub(sample.service).max(span.from);
        let within = at.min(span.to).saturating_sub(began);
        let share = if sample.service.is_zero() { 1.0 } else { share(within, sample.service) };
        kept.rows += sample.rows as f64 * share;
    }

    /// Takes note of an operation that begins, so long after the block's start. Returns its number
    /// until it ends.
    pub fn begin(&mut self, at: Duration) -> usize {
        self.running.insert(Running { began: at, credited: 0.0, skipped: Duration::ZERO })
    }

    /// Forgets an operation that ended otherwise than well.
    pub fn forget(&mut self, number: usize) {
        self.running.remove(number);
    }

    /// Forgets all that are under way: nobody waits for them.
    pub fn forget_all(&mut self) {
        self.running.clear();
    }

    /// Takes in an operation that ended well, so long after the block's start. Returns whether it is the
    /// last of those that the window waits for.
    pub fn record(&mut self, number: usize, sample: &OperationSample, at: Duration) -> bool {
        let running = self.running.remove(number);
        self.window.rows_within += sample.rows as f64 * running.rest(at);
        let life_s = at.saturating_sub(running.began).as_secs_f64();
        self.window.lives_s[0] += life_s;
        self.window.lives_s[1] += life_s * life_s;
        self.window_histograms.record_operation(sample);
        self.window.operations += 1;
        self.window.rows += sample.rows;
        self.window.rows_wait += sample.rows_wait;
        self.window.mixed |= sample.epoch != self.window_epoch || sample.was_made_ready;
        self.window.operations == self.operations_wanted
    }

    /// Takes in a COMMIT that belongs to no single operation.
    pub fn record_commit(&mut self, latency: Duration) {
        self.window_histograms.record(Kind::Commit, latency);
    }

    /// Takes in an attempt that the server pushed back, by SQLSTATE.
    pub fn record_pushed_back(&mut self, code: &str) {
        self.window.pushed_back += 1;
        *self.total.errors.entry(code.to_owned()).or_default() += 1;
    }

    /// Takes in an attempt that found no server, by SQLSTATE or kind. It says nothing of how much the
    /// server would take: in windows it counts as an error.
    pub fn record_unreachable(&mut self, code: &str) {
        self.window.unreachable += 1;
        *self.total.errors.entry(code.to_owned()).or_default() += 1;
    }

    /// Notes that operations taken in before were rolled back. They stay in windows and histograms:
    /// held back until their COMMIT, all of a transaction would fall into one window.
    pub fn record_rolled_back(&mut self, operations: u32) {
        self.total.operations_rolled_back += u64::from(operations);
    }

    /// Takes in an operation that ended in an error, by SQLSTATE.
    pub fn record_error(&mut self, code: &str) {
        self.window.errors += 1;
        *self.total.errors.entry(code.to_owned()).or_default() += 1;
    }

    /// Returns how many operations ended in the window so far, and whether it mixes settings.
    pub fn so_far(&self) -> (u64, bool) {
        (self.window.operations, self.window.mixed)
    }

    /// Returns when the window began, from the block's start.
    pub fn window_start(&self) -> Duration {
        self.window_start
    }

    /// Says how many operations the window waits for; [`Recorder::record`] tells when they are there.
    pub fn wait_for(&mut self, operations: Option<u64>) {
        self.operations_wanted = operations.unwrap_or(u64::MAX);
    }

    /// Says that all operations from now on are of this epoch: the setting changed while none was in
    /// flight.
    pub fn begin_epoch(&mut self, epoch: u64) {
        self.window.mixed |= 0 < self.window.operations && epoch != self.window_epoch;
        self.window_epoch = epoch;
    }

    /// Ends the window and starts the next.
    pub fn roll(&mut self, roll: &Roll) -> WindowSummary {
        let mut counts = std::mem::take(&mut self.window);
        counts.mixed |= roll.epoch != self.window_epoch;
        counts.rows_within += self.credit_running(&counts, roll.at);
        let length = roll.at.saturating_sub(self.window_start);
        let service = self.window_histograms.of(Kind::Service);
        let response = self.window_histograms.of(Kind::Response);
        let deviation = service.stdev();
        let mut summary = WindowSummary {
            index: self.window_index,
            start: self.window_start,
            length,
            epoch: roll.epoch,
            mixed: counts.mixed,
            batch_rows: roll.batch_rows,
            workers: roll.workers,
            operations: counts.operations,
            rows: counts.rows,
            rows_within: counts.rows_within,
            pushed_back: counts.pushed_back,
            errors: counts.errors + counts.unreachable,
            service_ns_mean: service.mean(),
            service_ns2_variance: deviation * deviation,
            service_ns_p50: service.value_at_quantile(0.5),
            service_ns_p99: service.value_at_quantile(0.99),
            service_ns_max: service.max(),
            response_ns_p50: response.value_at_quantile(0.5),
            response_ns_p99: response.value_at_quantile(0.99),
            response_ns_max: response.max(),
            pool_wait_ns_mean: self.window_histograms.of(Kind::PoolWait).mean(),
            backlog: roll.backlog,
            client_cpu: roll.client_cpu,
            rows_wait: counts.rows_wait,
            client_bound: false,
            activity: roll.activity,
        };
        summary.client_bound = is_client_bound(&summary, roll);
        self.total.histograms.add(&self.window_histograms);
        self.window_histograms.reset();
        self.total.operations += counts.operations;
        self.total.rows += counts.rows;
        self.total.pushed_back += counts.pushed_back + counts.unreachable;
        self.total.rows_wait += counts.rows_wait;
        self.total.windows += 1;
        self.total.windows_client_bound += u64::from(summary.client_bound);
        self.window_index += 1;
        self.window_start = roll.at;
        self.window_epoch = roll.epoch;
        summary
    }

    /// Credits the window with its part of the operations under way, told by those that ended in it.
    /// Returns its rows: none, if no operation ended.
    ///
    /// A part of the mean for the age would be too much. Of workers that begin together, each a renewal
    /// process of mean `m` and relative variance `c²`, `t/m - (1 - c²)/2` operations a worker end by `t`,
    /// and the ages have a mean of `m (1 + c²)/2` (Cox, "Renewal theory", 1962, sections 4.2 and 5.4): what
    /// makes `t/m` of both is `(1 - c²)/(1 + c²)` of that part.
    fn credit_running(&mut self, window: &Counts, at: Duration) -> f64 {
        let start = self.window_start;
        let within = |it: &Running| at.saturating_sub(it.began.max(start));
        if window.mixed {
            self.running.iter_mut().for_each(|(_, it)| it.skipped += within(it));
            return 0.0;
        }
        if window.operations == 0 {
            return 0.0;
        }
        let operations = window.operations as f64;
        let [mean_s, square] = window.lives_s.map(|it| it / operations);
        let variance = if 0.0 < mean_s { (square / (mean_s * mean_s) - 1.0).max(0.0) } else { 0.0 };
        let part_of_age = ((1.0 - variance) / (1.0 + variance)).max(0.0);
        let mean = Duration::from_secs_f64(mean_s);
        let mut credited = 0.0;
        for (_, it) in &mut self.running {
            let whole = mean.max(at.saturating_sub(it.began));
            let part = (part_of_age * share(within(it), whole)).min(1.0 - it.credited);
            it.credited += part;
            credited += part;
        }
        credited * window.rows as f64 / operations
    }

    /// Ends the block. Every window has been rolled.
    pub fn finish(self) -> Measurement {
        assert_eq!(self.window.operations, 0, "the last window is rolled before the end");
        self.total
    }
}

fn is_client_bound(window: &WindowSummary, roll: &Roll) -> bool {
    let seconds = window.length.as_secs_f64();
    let cpu = CLIENT_BOUND_CPU * f64::from(roll.client_threads) * seconds;
    let rows_wait = CLIENT_BOUND_ROWS_WAIT * f64::from(window.workers) * seconds;
    0.0 < seconds
        && (cpu < roll.worker_cpu.as_secs_f64() || rows_wait < window.rows_wait.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(epoch: u64) -> OperationSample {
        let ms = Duration::from_millis;
        OperationSample {
            rows: 10,
            epoch,
            pool_wait: ms(1),
            queue_wait: ms(0),
            encode: ms(1),
            commit: None,
            service: ms(5),
            response: ms(6),
            rows_wait: ms(0),
            was_made_ready: false,
        }
    }

    /// An operation of 5 ms that ends so long after the block's start.
    fn run(recorder: &mut Recorder, sample: &OperationSample, at_ms: u64) -> bool {
        let at = Duration::from_millis(at_ms);
        let number = recorder.begin(at.saturating_sub(sample.service));
        recorder.record(number, sample, at)
    }

    fn roll(at_ms: u64, epoch: u64) -> Roll {
        let at = Duration::from_millis(at_ms);
        Roll { at, epoch, client_threads: 1, workers: 1, ..Roll::default() }
    }

    #[test]
    fn a_window_says_when_it_has_what_it_waits_for() {
        let mut recorder = Recorder::default();
        assert!(!run(&mut recorder, &sample(0), 5), "it waits for nothing");
        recorder.wait_for(Some(3));
        let told: Vec<bool> = (0..3).map(|_| run(&mut recorder, &sample(0), 9)).collect();
        assert_eq!(told, [false, true, false], "once, with the third of the window");
        assert_eq!(recorder.so_far(), (4, false));
    }

    #[test]
    fn an_epoch_that_begins_between_operations_is_not_mixed() {
        let mut recorder = Recorder::default();
        recorder.roll(&roll(250, 0));
        recorder.begin_epoch(1);
        run(&mut recorder, &sample(1), 400);
        assert!(!recorder.roll(&roll(500, 1)).mixed);
        run(&mut recorder, &sample(1), 700);
        recorder.begin_epoch(2);
        assert!(recorder.roll(&roll(750, 2)).mixed, "an operation had ended before");
    }

    #[test]
    fn windows_add_up_to_the_block() {
        let mut recorder = Recorder::default();
        let (mut rows, mut within) = (0, 0.0);
        for window in 1..=3 {
            for _ in 0..window * 4 {
                run(&mut recorder, &sample(0), window * 250 - 10);
            }
            recorder.record_pushed_back("40001");
            let summary = recorder.roll(&roll(window * 250, 0));
            rows += summary.rows;
            within += summary.rows_within;
        }
        assert!((within - 240.0).abs() < 1e-9, "{within}");
        let measurement = recorder.finish();
        assert_eq!((measurement.operations, measurement.rows, rows), (24, 240, 240));
        assert_eq!(measurement.histograms.of(Kind::Response).len(), 24);
        assert_eq!((measurement.pushed_back, measurement.errors["40001"]), (3, 3));
    }

    /// A window in which an operation of an earlier setting ended is no evidence on the new one.
    #[test]
    fn an_operation_of_an_earlier_epoch_mixes_the_window() {
        let mut recorder = Recorder::default();
        run(&mut recorder, &sample(0), 200);
        assert!(!recorder.roll(&roll(250, 0)).mixed);
        run(&mut recorder, &sample(0), 400);
        assert!(recorder.roll(&roll(500, 1)).mixed, "the setting changed in it");
        run(&mut recorder, &sample(0), 700);
        assert!(recorder.roll(&roll(750, 1)).mixed, "an old operation ended in it");
        run(&mut recorder, &sample(1), 900);
        assert!(!recorder.roll(&roll(1_000, 1)).mixed);
    }

    #[test]
    fn what_counts_lies_between_two_moments_and_a_late_latency_counts_too() {
        let ms = Duration::from_millis;
        let mut recorder = Recorder::keeping(Span { from: ms(200), to: ms(1_000) });
        for (at_ms, service_ms) in [(199, 1), (200, 2), (999, 3), (1_000, 4), (5_000, 4_000)] {
            let sample = OperationSample { service: ms(service_ms), ..sample(0) };
            run(&mut recorder, &sample, at_ms);
            recorder.keep(&sample, ms(at_ms));
        }
        recorder.roll(&roll(5_000, 0));
        let measurement = recorder.finish();
        let kept = measurement.kept.unwrap();
        let service = kept.histograms.of(Kind::Service);
        assert_eq!((measurement.rows, service.len()), (50, 4));
        assert!(
            (kept.rows - 20.0).abs() < 1e-9,
            "one of 2 ms before, two within, one of 4 s after"
        );
        assert!(3_990_000_000 < service.max() && 1_990_000 < service.min());
    }

    /// Blocks begin with all workers at once: with whole operations, 1.02 s each would count for as
    /// much as 1.22 s.
    #[test]
    fn long_operations_count_by_their_part_in_the_span() {
        let ms = Duration::from_millis;
        let rows = |service_ms: u64| {
            let mut recorder = Recorder::keeping(Span { from: ms(2_440), to: ms(5_000) });
            for operation in 1..=5 {
                let sample = OperationSample { rows: 100, service: ms(service_ms), ..sample(0) };
                recorder.keep(&sample, ms(operation * service_ms));
            }
            recorder.total.kept.unwrap().rows
        };
        for (service_ms, rows_expected) in [(1_020, 2.56 / 1.02), (1_220, 2.56 / 1.22)] {
            assert!(
                (rows(service_ms) - 100.0 * rows_expected).abs() < 1e-6,
                "{}",
                rows(service_ms)
            );
        }
    }

    /// 8 workers whose operations last 200 ms and all began 50 ms before a window of 250 ms are worth 10
    /// operations in it, of which 8 end: whole ones made a third less of settings with long operations
    /// than of others, and no search left the short ones. The window before mixes settings.
    #[test]
    fn operations_that_windows_cut_count_by_their_part_in_each() {
        let ms = Duration::from_millis;
        let mut recorder = Recorder::default();
        let sample = OperationSample { service: ms(200), ..sample(1) };
        let begin = |recorder: &mut Recorder, at_ms| -> Vec<usize> {
            (0..8).map(|_| recorder.begin(ms(at_ms))).collect()
        };
        let end = |recorder: &mut Recorder, numbers: Vec<usize>, at_ms| {
            for number in numbers {
                recorder.record(number, &sample, ms(at_ms));
            }
        };
        let first = begin(&mut recorder, 150);
        assert!(recorder.roll(&roll(200, 1)).mixed);
        end(&mut recorder, first, 350);
        let second = begin(&mut recorder, 350);
        let within = recorder.roll(&roll(450, 1)).rows_within;
        assert!((within - 8.0 * 10.0 * 1.25).abs() < 1e-9, "{within}: 3/4 of 8, and half of 8");

        // A stall: nobody knows of what goes on for how long it does; the window in which it ends gets
        // the rest of it.
        let within = recorder.roll(&roll(5_000, 1)).rows_within;
        assert!(within.abs() < 1e-9, "{within}: no operation ended");
        end(&mut recorder, second, 5_100);
        let within = recorder.roll(&roll(5_100, 1)).rows_within;
        assert!((within - 8.0 * 10.0 * 0.5).abs() < 1e-9, "{within}");
    }

    /// Workers that begin together, whose operations vary: a window is worth what they do in the long run.
    /// By the ages alone, 2.5 operations a worker gave 3 % too much and 1.25 of them 10 %; by whole
    /// operations it was 18 % and 38 % too little.
    #[test]
    fn windows_of_few_operations_that_vary_are_worth_what_they_do() {
        let ms = Duration::from_millis;
        // Evenly from 96 to 304 ms: a mean of 200, and a relative variance of 0.09.
        let life = |number: u64| ms(96 + (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 209);
        let mut number = 0;
        for (length_ms, tolerance) in [(250, 0.05), (500, 0.015)] {
            let mut within = 0.0;
            for _ in 0..2_000 {
                let mut recorder = Recorder::default();
                for _ in 0..8 {
                    let mut at = ms(0);
                    loop {
                        number += 1;
                        let running = recorder.begin(at);
                        at += life(number);
                        if ms(length_ms) < at {
                            break;
                        }
                        recorder.record(running, &sample(0), at);
                    }
                }
                within += recorder.roll(&roll(length_ms, 0)).rows_within;
            }
            let worth = within / 10.0 / 8.0 / 2_000.0 / (length_ms as f64 / 200.0);
            assert!((worth - 1.0).abs() < tolerance, "{worth} in {length_ms} ms");
        }
    }

    /// One that lasts longer than the others is taken for as long as it is already, and never for more
    /// than one; what ends in an error is forgotten.
    #[test]
    fn an_operation_that_hangs_counts_once_at_most() {
        let ms = Duration::from_millis;
        let mut recorder = Recorder::default();
        let hanging = recorder.begin(ms(0));
        let failing = recorder.begin(ms(0));
        let mut within = 0.0;
        for window in 1..=4 {
            run(&mut recorder, &sample(0), window * 250);
            within += recorder.roll(&roll(window * 250, 0)).rows_within;
        }
        recorder.forget(failing);
        assert!((within - 60.0).abs() < 1e-9, "{within}: 4 that ended, and 2 that might have");
        recorder.record(hanging, &sample(0), ms(1_010));
        let within = recorder.roll(&roll(1_010, 0)).rows_within;
        assert!(within.abs() < 1e-9, "{within}");
    }

    #[test]
    fn a_window_without_operations_divides_by_nothing() {
        let summary = Recorder::default().roll(&roll(0, 0));
        assert!(summary.rows_per_s() < 1e-9);
        assert!(summary.service_ns_mean.abs() < 1.0 && !summary.client_bound);
    }
}
