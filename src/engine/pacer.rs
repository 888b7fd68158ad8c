//! Intended starts: when each operation of an open loop is due.
//!
//! Arrivals are never skipped: a start that comes late keeps its intended time, and latency counts
//! from there. The queue of arrivals due and not started is bounded; when it is full, later
//! arrivals wait outside it, with their times, and the block is marked overloaded.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{RngCore, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::plan::{Arrival, Pace};

/// Hands out intended starts, in order.
#[derive(Debug)]
pub(crate) struct Pacer {
    open: Option<Mutex<Schedule>>,
}

#[derive(Debug)]
struct Schedule {
    rate: f64,
    arrival: Arrival,
    queue_max: usize,
    random: Pcg64Mcg,
    /// Arrivals made and not handed out, as offsets from the block's start.
    queue: VecDeque<Duration>,
    made: u64,
    last: Duration,
    overloaded: bool,
}

impl Pacer {
    pub(crate) fn new(pace: Pace, seed: u64) -> Pacer {
        let Pace::Open { rate, arrival, queue_max } = pace else { return Pacer { open: None } };
        let schedule = Schedule {
            rate,
            arrival,
            queue_max: usize::try_from(queue_max).unwrap_or(usize::MAX),
            random: Pcg64Mcg::seed_from_u64(seed),
            queue: VecDeque::new(),
            made: 0,
            last: Duration::ZERO,
            overloaded: false,
        };
        Pacer { open: Some(Mutex::new(schedule)) }
    }

    /// Returns the next intended start as an offset from the block's start: the present in a
    /// closed loop, and `None` when it would lie at or past `deadline`.
    pub(crate) fn next(&self, now: Duration, deadline: Option<Duration>) -> Option<Duration> {
        let is_in_time = |at: &Duration| deadline.is_none_or(|deadline| *at < deadline);
        let Some(schedule) = &self.open else { return Some(now).filter(is_in_time) };
        let mut schedule = lock(schedule);
        schedule.make_until(now);
        if schedule.queue.is_empty() {
            schedule.make_one();
        }
        let due = schedule.queue.front().copied().filter(is_in_time)?;
        schedule.queue.pop_front();
        Some(due)
    }

    /// Returns whether starts are scheduled.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Returns how many operations are due at `now`, before `deadline`, and not started.
    pub(crate) fn backlog(&self, now: Duration, deadline: Option<Duration>) -> u64 {
        let Some(schedule) = &self.open else { return 0 };
        let mut schedule = lock(schedule);
        schedule.make_until(now);
        let end = deadline.map_or(now, |deadline| deadline.min(now));
        schedule.queue.iter().filter(|due| **due < end).count() as u64
    }

    /// Returns how many operations were due before `end` and never handed out: those in the queue,
    /// and those that found it full. Nothing is handed out afterwards.
    pub(crate) fn never_started(&self, end: Duration) -> u64 {
        let Some(schedule) = &self.open else { return 0 };
        let mut schedule = lock(schedule);
        let mut count = schedule.queue.iter().filter(|due| **due < end).count() as u64;
        while schedule.last < end {
            schedule.advance();
            count += u64::from(schedule.last < end);
        }
        count
    }

    /// Returns whether the queue was ever full.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.open.as_ref().is_some_and(|schedule| lock(schedule).overloaded)
    }
}

fn lock(schedule: &Mutex<Schedule>) -> MutexGuard<'_, Schedule> {
    schedule.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Schedule {
    fn make_until(&mut self, now: Duration) {
        while self.last <= now {
            if self.queue_max <= self.queue.len() {
                self.overloaded = true;
                return;
            }
            self.make_one();
        }
    }

    fn make_one(&mut self) {
        self.advance();
        self.queue.push_back(self.last);
    }

    fn advance(&mut self) {
        self.last = match self.arrival {
            // From the count, not from the last one: no error adds up over a long run.
            Arrival::Fixed => Duration::from_secs_f64(self.made as f64 / self.rate),
            Arrival::Poisson => self.last + Duration::from_secs_f64(self.exponential() / self.rate),
        };
        self.made += 1;
    }

    /// A draw from the exponential distribution of mean 1.
    fn exponential(&mut self) -> f64 {
        let uniform = (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        -(1.0 - uniform).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn pacer(arrival: Arrival, queue_max: u64) -> Pacer {
        Pacer::new(Pace::Open { rate: 100.0, arrival, queue_max }, 1)
    }

    #[test]
    fn late_starts_keep_their_time() {
        let pacer = pacer(Arrival::Fixed, 1_000);
        let late: Vec<_> = (0..5).map(|_| pacer.next(ms(10_000), None).unwrap()).collect();
        assert_eq!(late, [ms(0), ms(10), ms(20), ms(30), ms(40)]);
        assert_eq!(pacer.backlog(ms(10_000), None), 995);
        assert_eq!(pacer.backlog(ms(10_000), Some(ms(100))), 5);
    }

    #[test]
    fn a_full_queue_marks_overload_and_skips_nothing() {
        let pacer = pacer(Arrival::Fixed, 3);
        let all: Vec<_> = (0..50).map(|_| pacer.next(ms(1_000), None).unwrap()).collect();
        assert!(pacer.is_overloaded());
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] == ms(10)), "{all:?}");
    }

    #[test]
    fn what_found_the_queue_full_is_counted_too() {
        for (queue_max, taken) in [(1, 0), (3, 2), (7, 7), (1_000, 20)] {
            let pacer = pacer(Arrival::Fixed, queue_max);
            for _ in 0..taken {
                assert!(pacer.next(ms(1_000), Some(ms(500))).is_some());
            }
            assert!(pacer.backlog(ms(1_000), Some(ms(500))) <= queue_max);
            // Due at 0, 10, … 490 ms.
            assert_eq!(pacer.never_started(ms(500)), 50 - taken, "{queue_max} {taken}");
        }
    }

    #[test]
    fn nothing_starts_at_or_past_the_deadline() {
        let pacer = pacer(Arrival::Fixed, 1_000);
        let count = std::iter::from_fn(|| pacer.next(ms(0), Some(ms(100)))).count();
        assert_eq!(count, 10);
        assert_eq!(Pacer::new(Pace::Closed, 1).next(ms(100), Some(ms(100))), None);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_its_variance() {
        let pacer = pacer(Arrival::Poisson, 1_000_000);
        let starts: Vec<f64> =
            (0..20_000).map(|_| pacer.next(ms(0), None).unwrap().as_secs_f64()).collect();
        let gaps: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 0.01).abs() < 0.0003, "{mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{}", variance.sqrt());
    }
}
