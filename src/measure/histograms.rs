//! One HDR histogram a kind of latency: 3 significant digits, up to 1 h, in nanoseconds.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::OperationSample;

/// What a latency is of.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// From asking the pool for a session to having it.
    PoolWait,
    /// From the intended start to the moment a worker took the operation up. Zero in a closed loop.
    QueueWait,
    /// What the client spent on turning rows into parameters or COPY data; part of `Service`.
    Encode,
    /// COMMIT alone, where the operation sends one; part of `Service`.
    Commit,
    /// From the operation's first step on its session (BEGIN, or encoding: before the first byte is
    /// sent) to the confirmation.
    Service,
    /// From the intended start to the confirmation: queue and pool wait included.
    Response,
}

impl Kind {
    /// All kinds, in the order of an operation's life.
    pub const ALL: [Kind; 6] = [
        Kind::PoolWait,
        Kind::QueueWait,
        Kind::Encode,
        Kind::Commit,
        Kind::Service,
        Kind::Response,
    ];

    /// Returns the name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Kind::PoolWait => "pool_wait",
            Kind::QueueWait => "queue_wait",
            Kind::Encode => "encode",
            Kind::Commit => "commit",
            Kind::Service => "service",
            Kind::Response => "response",
        }
    }
}

/// Longest latency that is told apart, in nanoseconds: 1 h. Longer ones count as this.
const HIGHEST_NS: u64 = 3_600 * 1_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// One histogram a [`Kind`], in nanoseconds.
///
/// Each grows with the longest latency that it was given: 80 KiB up to 1 ms, 170 KiB up to 1 s, 270 KiB
/// up to 1 h, whatever the number of operations.
#[derive(Clone, Debug)]
pub struct Histograms {
    of: [Histogram<u64>; Kind::ALL.len()],
}

impl Default for Histograms {
    fn default() -> Histograms {
        Histograms { of: Kind::ALL.map(|_| Histograms::empty()) }
    }
}

impl Histograms {
    /// Returns an empty histogram of the kind that all of batchpilot's are: it grows.
    pub fn empty() -> Histogram<u64> {
        // The lowest value told apart is 1 ns, not 1 µs: encoding one row takes less than 1 µs.
        Histogram::new(SIGNIFICANT_DIGITS).expect("valid digits")
    }

    /// Returns the histogram of `kind`.
    pub fn of(&self, kind: Kind) -> &Histogram<u64> {
        &self.of[kind as usize]
    }

    /// Records one latency.
    pub fn record(&mut self, kind: Kind, latency: Duration) {
        record(&mut self.of[kind as usize], latency);
    }

    /// Records all latencies of an operation.
    pub fn record_operation(&mut self, sample: &OperationSample) {
        self.record(Kind::PoolWait, sample.pool_wait);
        self.record(Kind::QueueWait, sample.queue_wait);
        self.record(Kind::Encode, sample.encode);
        if let Some(commit) = sample.commit {
            self.record(Kind::Commit, commit);
        }
        self.record(Kind::Service, sample.service);
        self.record(Kind::Response, sample.response);
    }

    /// Takes those of `other` of which there are none.
    #[must_use]
    pub fn or(mut self, other: &Histograms) -> Histograms {
        for (own, others) in self.of.iter_mut().zip(&other.of) {
            if own.is_empty() {
                own.clone_from(others);
            }
        }
        self
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Histograms) {
        for (sum, part) in self.of.iter_mut().zip(&other.of) {
            sum.add(part).expect("histograms grow up to an hour");
        }
    }

    /// Empties all histograms that hold anything.
    pub fn reset(&mut self) {
        self.of.iter_mut().filter(|histogram| !histogram.is_empty()).for_each(Histogram::reset);
    }
}

/// Records one latency in a histogram; more than an hour counts as an hour.
fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).min(HIGHEST_NS);
    histogram.record(nanos).expect("a histogram grows up to an hour");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_from_added_histograms() {
        let (mut fast, mut slow) = (Histograms::default(), Histograms::default());
        (0..900).for_each(|_| fast.record(Kind::Service, Duration::from_millis(1)));
        (0..100).for_each(|_| slow.record(Kind::Service, Duration::from_millis(100)));
        fast.add(&slow);
        let sum = fast.of(Kind::Service);
        assert_eq!(sum.len(), 1_000);
        assert!(sum.value_at_quantile(0.89) < 2_000_000);
        assert!(99_000_000 < sum.value_at_quantile(0.95));
    }

    /// A stall comes late: what was counted before stays, in the sum as well.
    #[test]
    fn a_histogram_that_grew_keeps_what_it_held() {
        let (mut sum, mut window) = (Histograms::default(), Histograms::default());
        for latency in [Duration::from_micros(3), Duration::from_secs(2_000), Duration::ZERO] {
            window.record(Kind::Service, latency);
            sum.add(&window);
            window.reset();
        }
        let service = sum.of(Kind::Service);
        assert_eq!((service.len(), service.count_between(3_000, 3_001)), (3, 1));
        assert_eq!((service.min(), service.max() / 1_000_000_000), (0, 2_000));
        assert_eq!(window.of(Kind::Service).len(), 0);
    }

    #[test]
    fn longer_than_an_hour_counts_as_an_hour() {
        let mut histograms = Histograms::default();
        histograms.record(Kind::Response, Duration::from_secs(9_000));
        let max = histograms.of(Kind::Response).max();
        assert!((3_590_000_000_000..3_610_000_000_000).contains(&max), "{max}");
    }
}
