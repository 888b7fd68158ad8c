//! What a path was worth, against what could be known only from outside.

use crate::{
    controller::{Bounds, Grid, Setting},
    target::sim::{Case, Course, TICK_S, tick},
};

/// Time over which the end of a run, and the time before a change, is averaged.
const END_S: f64 = 30.0;
/// The start does not count as instability.
const SETTLED_AFTER_S: f64 = 60.0;
/// A share is reached once it is held for most of this time.
const HELD_FOR_S: f64 = 10.0;
const HELD_SHARE: f64 = 0.8;
/// What lies this far above the limit violates it: nobody can measure closer.
const LIMIT_MARGIN: f64 = 1.02;
/// How often the article's setting, which no controller may be much worse than, is looked at: it does
/// not move, the server might.
const ARTICLE_EVERY_S: f64 = 0.5;

/// What was in force for some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// Start in seconds.
    pub start_s: f64,
    /// Length in seconds.
    pub length_s: f64,
    /// The setting of the operations that were in flight; the same but in a change.
    pub before: Setting,
    /// The setting of those that started.
    pub setting: Setting,
}

/// The way a controller took.
#[derive(Clone, Debug)]
pub struct Path {
    /// Without gaps.
    pub segments: Vec<Segment>,
    /// What the controller called the best at the end.
    pub incumbent: Setting,
    /// When it took the server for another one and looked around anew, in seconds.
    pub retunes_s: Vec<f64>,
}

/// What a path was worth. Shares are of the rows/s of the best setting at that time, which with a
/// limit is the best that keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Mean share over the last 30 s, probes included.
    pub last: f64,
    /// What was lost over the whole time: 1 - mean share. Time in violation of a limit is lost.
    pub regret: f64,
    /// Time until 90 % is held.
    pub time_to_90_s: f64,
    /// Time until 95 % is held.
    pub time_to_95_s: f64,
    /// Share of the time, after the first 60 s and after 60 s from a change, below 90 %.
    pub unstable: f64,
    /// Time from a change until 90 % is held again.
    pub recovery_90_s: Option<f64>,
    /// Time from a change until 95 % is held again.
    pub recovery_95_s: Option<f64>,
    /// Share of the time in which p99 was above the limit, stalls apart.
    pub violating: Option<f64>,
    /// The same, after the first 60 s.
    pub violating_settled: Option<f64>,
    /// Time until a setting that keeps the limit was in force.
    pub keeps_limit_s: Option<f64>,
    /// Times that it took the server for another one before there was any change.
    pub false_retunes: Option<f64>,
    /// Rows/s over the whole time against those of the article's 1,000 x 5, less 1.
    pub over_article: f64,
    /// Share that the setting called the best at the end reaches; 0 if it violates the limit.
    pub deployed: f64,
}

/// Scores a path against the best that there is within bounds.
pub fn score(case: &Case, path: &Path, bounds: &Bounds) -> Score {
    let truth = Truth::of(case, bounds);
    let ticks = tick(case.horizon_s);
    let mut shares = vec![0.0; ticks];
    let mut violations = vec![false; ticks];
    for segment in &path.segments {
        let end = tick(segment.start_s + segment.length_s + TICK_S / 2.0).min(ticks);
        for at in tick(segment.start_s + TICK_S / 2.0).min(end)..end {
            let at_s = at as f64 * TICK_S;
            let both = truth.share(at_s, segment.before) + truth.share(at_s, segment.setting);
            shares[at] = both / 2.0;
            violations[at] = truth.violates(at_s, segment.setting);
        }
    }
    let worth = |share: f64, violates: bool| if violates { 0.0 } else { share.min(1.0) };
    let worths: Vec<f64> =
        shares.iter().zip(&violations).map(|(share, violates)| worth(*share, *violates)).collect();
    let article = mean((0..ticks).step_by(tick(ARTICLE_EVERY_S)).map(|at| {
        let at_s = at as f64 * TICK_S;
        worth(truth.share(at_s, Setting::ARTICLE), truth.violates(at_s, Setting::ARTICLE))
    }));
    let change_s = match case.course {
        Course::At { s } => Some(s),
        _ => None,
    };
    let (before, after) = shares.split_at(change_s.map_or(ticks, tick));
    let recovery = |level| change_s.map(|_| time_to(after, level));
    let has_limit = case.p99_limit_s.is_some();
    let violating = |from_s: f64| {
        let shares =
            violations[tick(from_s).min(ticks)..].iter().map(|it| f64::from(u8::from(*it)));
        has_limit.then(|| mean(shares))
    };
    let keeps = violations.iter().position(|it| !it).unwrap_or(ticks) as f64 * TICK_S;
    let end_s = case.horizon_s - TICK_S;
    let deployed = truth.share(end_s, path.incumbent);
    Score {
        last: mean(worths[ticks.saturating_sub(tick(END_S))..].iter().copied()),
        regret: 1.0 - mean(worths.iter().copied()),
        time_to_90_s: time_to(before, 0.90),
        time_to_95_s: time_to(before, 0.95),
        unstable: unstable([before, after]),
        recovery_90_s: recovery(0.90),
        recovery_95_s: recovery(0.95),
        violating: violating(0.0),
        violating_settled: violating(SETTLED_AFTER_S),
        keeps_limit_s: has_limit.then_some(keeps),
        false_retunes: false_retunes(case, path),
        over_article: if 0.0 < article {
            mean(worths.into_iter()) / article - 1.0
        } else {
            f64::MAX
        },
        deployed: if truth.violates(end_s, path.incumbent) { 0.0 } else { deployed },
    }
}

fn false_retunes(case: &Case, path: &Path) -> Option<f64> {
    let until_s = match case.course {
        Course::Steady => case.horizon_s,
        Course::At { s } => s,
        Course::Drift => return None,
    };
    Some(path.retunes_s.iter().filter(|it| **it <= until_s).count() as f64)
}

/// The best rate there is, by how far the change has gone.
struct Truth<'a> {
    case: &'a Case,
    /// At even steps of the change, from 0 to 1.
    best: Vec<f64>,
}

/// Steps of a drift at which the best is looked up.
const DRIFT_STEPS: usize = 60;

impl Truth<'_> {
    fn of<'a>(case: &'a Case, bounds: &Bounds) -> Truth<'a> {
        let grid = Grid::new(bounds);
        let steps = match case.course {
            Course::Steady => vec![0.0],
            Course::At { .. } => vec![0.0, 1.0],
            Course::Drift => (0..=DRIFT_STEPS).map(|it| it as f64 / DRIFT_STEPS as f64).collect(),
        };
        let best = |share: f64| {
            let settings = grid.cells().map(|cell| grid.setting(cell));
            settings
                .map(|it| {
                    let before = case.before.rows_per_s(it.batch_rows, it.workers);
                    let after = case.after.rows_per_s(it.batch_rows, it.workers);
                    let latency_s = latency_s(it, before.powf(1.0 - share) * after.powf(share));
                    if exceeds(case, latency_s, 1.0) { 0.0 } else { rate(it, latency_s) }
                })
                .fold(0.0, f64::max)
        };
        Truth { case, best: steps.into_iter().map(best).collect() }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "up to 60")]
    fn share(&self, at_s: f64, setting: Setting) -> f64 {
        let last = self.best.len() - 1;
        let step = self.case.progress(at_s) * last as f64;
        let low = (step as usize).min(last);
        let high = (low + 1).min(last);
        let best = self.best[low] + (step - step.floor()) * (self.best[high] - self.best[low]);
        let latency_s = self.case.latency_s(at_s, setting.batch_rows, setting.workers);
        // Where nothing keeps the limit there is no best to have a share of.
        if 0.0 < best { rate(setting, latency_s) / best } else { 0.0 }
    }

    fn violates(&self, at_s: f64, setting: Setting) -> bool {
        let latency_s = self.case.latency_s(at_s, setting.batch_rows, setting.workers);
        exceeds(self.case, latency_s, LIMIT_MARGIN)
    }
}

fn exceeds(case: &Case, latency_s: f64, margin: f64) -> bool {
    let p99_s = latency_s * case.before.tail_factor();
    case.p99_limit_s.is_some_and(|limit_s| limit_s * margin < p99_s)
}

fn rate(setting: Setting, latency_s: f64) -> f64 {
    setting.batch_rows as f64 * f64::from(setting.workers) / latency_s
}

fn latency_s(setting: Setting, rows_per_s: f64) -> f64 {
    setting.batch_rows as f64 * f64::from(setting.workers) / rows_per_s
}

/// The first moment at which a level is reached and held; all of the time if there is none.
fn time_to(shares: &[f64], level: f64) -> f64 {
    let held_for = tick(HELD_FOR_S).min(shares.len());
    let is_held = |at: &usize| {
        let ahead = &shares[*at..*at + held_for];
        let reached = ahead.iter().filter(|it| level <= **it).count();
        level <= shares[*at] && HELD_SHARE * held_for as f64 <= reached as f64
    };
    let first = (0..=shares.len() - held_for).filter(|at| *at < shares.len()).find(is_held);
    first.unwrap_or(shares.len()) as f64 * TICK_S
}

fn unstable(parts: [&[f64]; 2]) -> f64 {
    let skip = tick(SETTLED_AFTER_S);
    let settled = parts.iter().flat_map(|part| part.iter().skip(skip));
    mean(settled.map(|share| f64::from(u8::from(*share < 0.90))))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), it| (sum + it, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::sim::Family;

    #[test]
    fn a_level_is_reached_when_it_is_held() {
        let mut shares = vec![0.5; 400];
        shares[20..40].fill(1.0);
        shares[100..400].fill(0.92);
        assert!((time_to(&shares, 0.9) - 5.0).abs() < 1e-9, "a second at 20 does not count");
        assert!((time_to(&shares, 0.95) - 20.0).abs() < 1e-9, "never: all of the time");
    }

    #[test]
    fn a_setting_that_changes_from_bad_to_best_is_scored_by_time() {
        let case = super::super::draw(Family::Cores, 4);
        let grid = Grid::new(&Bounds::WIDE);
        let best = |surface: &crate::target::sim::Surface| {
            let (batch_rows, workers, _) =
                surface.best(grid.batches(), grid.workers(), None).unwrap();
            Setting { batch_rows, workers }
        };
        let (first, second) = (best(&case.before), best(&case.after));
        let segment =
            |start_s, length_s, setting| Segment { start_s, length_s, before: setting, setting };
        let segments = vec![segment(0.0, 160.0, first), segment(160.0, 140.0, second)];
        let path = Path { segments, incumbent: second, retunes_s: vec![20.0, 155.0] };
        let score = score(&case, &path, &Bounds::WIDE);
        assert!(score.time_to_95_s < 1e-9 && (score.last - 1.0).abs() < 1e-9, "{score:?}");
        assert!((score.recovery_95_s.unwrap() - 10.0).abs() < 0.1, "{score:?}");
        assert_eq!(score.false_retunes, Some(1.0), "that after the change was right");
        assert!((score.deployed - 1.0).abs() < 1e-9, "{score:?}");
    }

    #[test]
    fn time_in_violation_is_lost() {
        let case = super::super::draw(Family::Limit, 2);
        let setting = Setting { batch_rows: 65_535, workers: 64 };
        let whole = Segment { start_s: 0.0, length_s: 300.0, before: setting, setting };
        let path = Path { segments: vec![whole], incumbent: setting, retunes_s: Vec::new() };
        let score = score(&case, &path, &Bounds::WIDE);
        assert_eq!((score.violating, score.violating_settled), (Some(1.0), Some(1.0)));
        assert_eq!(score.keeps_limit_s, Some(300.0));
        assert!((score.regret - 1.0).abs() < 1e-9 && score.deployed.abs() < 1e-9, "{score:?}");
    }
}
