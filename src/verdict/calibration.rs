//! What null checks say of a machine: how far an arm lies from itself, and which bounds that asks
//! for.

use serde::Serialize;

use crate::{
    gate::{Bounds, Metric, Options, Outcome},
    record::CheckRecord,
    stats::Spread,
};

/// One metric of one cell of a null check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NullCheck {
    /// Which metric.
    pub metric: Metric,
    /// Logarithm of head over base, where both are the same: of the first session.
    pub log_ratio: f64,
    /// The worsening, as a share, that the first look could not rule out.
    pub not_ruled_out: f64,
    /// Whether the check failed: falsely.
    pub failed: bool,
}

/// What a machine asks for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proposal {
    /// Of each gated metric.
    pub metrics: Vec<ProposedBounds>,
    /// Null checks of a cell.
    pub checks: usize,
    /// Those that failed.
    pub failed: usize,
}

/// What a machine asks for in a metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ProposedBounds {
    /// Which metric.
    pub metric: Metric,
    /// How far an arm lies from itself: the deviation of the ratio's logarithm.
    pub deviation: f64,
    /// Its upper limit, 90 %, one-sided.
    pub deviation_upper: f64,
    /// What the checks ran with.
    pub given: Bounds,
    /// What is proposed.
    pub proposed: Bounds,
}

/// Deviations that a margin should hold: 2 are passed by one session in 44 on one side, by two in a
/// row in one of two thousand.
const DEVIATIONS: f64 = 2.0;
/// Chance that the true deviation is above the limit that is used.
const ALPHA: f64 = 0.1;
/// Bounds are proposed in whole steps.
const STEP: f64 = 0.005;

impl NullCheck {
    /// Those of a record: none of a cell without a look.
    pub fn of(record: &CheckRecord) -> Vec<NullCheck> {
        let mut all = Vec::new();
        for cell in &record.cells {
            let session = &cell.check.sessions()[0];
            let Some(inspection) = session.inspections().first() else { continue };
            for finding in &inspection.findings {
                let metric = finding.metric;
                let Some(ratio) = session.running(metric) else { continue };
                let worse = finding.pass_limit.map_or(1.0, |limit| metric.worse_of_ratio(limit));
                all.push(NullCheck {
                    metric,
                    log_ratio: ratio.value.ln(),
                    not_ruled_out: worse,
                    failed: matches!(&cell.outcome, Outcome::Fail(it) if it.contains(&metric)),
                });
            }
        }
        all
    }
}

impl Proposal {
    /// Proposes a margin that covers what this machine makes up in a session, which more pairs do not
    /// take away; and a tolerance that most unchanged arms pass at the first look. Neither is below
    /// what the checks ran with.
    pub fn of(nulls: &[NullCheck], options: &Options) -> Proposal {
        let gated =
            [(Metric::RowsPerS, options.rows_per_s), (Metric::LatencyP95, options.latency_p95)];
        let of = |metric: Metric| nulls.iter().filter(move |it| it.metric == metric);
        let metrics = gated.into_iter().filter_map(|(metric, given)| {
            let given = given?;
            let logs: Vec<f64> = of(metric).map(|it| it.log_ratio).collect();
            let spread = Spread::about_zero(&logs, ALPHA)?;
            // Deviations are of a logarithm, and margins are shares.
            let margin = metric.worse_of_gain(-DEVIATIONS * spread.upper);
            let margin = stepped(margin).max(given.margin);
            let not_ruled_out = of(metric).map(|it| it.not_ruled_out).fold(0.0, f64::max);
            let tolerance = stepped(not_ruled_out).max(given.tolerance).max(2.0 * margin);
            // A rate cannot fall by more than all of it.
            let most = if metric.is_latency() { f64::INFINITY } else { 1.0 - STEP };
            let tolerance = tolerance.min(most);
            let proposed = Bounds { margin: margin.min(tolerance - STEP), tolerance };
            Some(ProposedBounds {
                metric,
                deviation: spread.deviation,
                deviation_upper: spread.upper,
                given,
                proposed,
            })
        });
        let metrics: Vec<ProposedBounds> = metrics.collect();
        let checks = metrics.iter().map(|it| of(it.metric).count()).max().unwrap_or(0);
        // Of a check, each metric stands in its place.
        let has_failed = |check: usize| {
            metrics.iter().any(|it| of(it.metric).nth(check).is_some_and(|it| it.failed))
        };
        let failed = (0..checks).filter(|&check| has_failed(check)).count();
        Proposal { failed, checks, metrics }
    }
}

/// Up to the next step.
fn stepped(share: f64) -> f64 {
    (share / STEP - 1e-9).ceil() * STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nulls(metric: Metric, log_ratios: &[f64], not_ruled_out: f64) -> Vec<NullCheck> {
        let of = |&log_ratio: &f64| NullCheck { metric, log_ratio, not_ruled_out, failed: false };
        log_ratios.iter().map(of).collect()
    }

    #[test]
    fn a_quiet_machine_keeps_the_defaults_and_a_bad_one_gets_wider_ones() {
        let options = Options::default();
        let quiet = nulls(Metric::RowsPerS, &[0.002, -0.003, 0.001, 0.002, -0.001], 0.03);
        let proposal = Proposal::of(&quiet, &options);
        assert_eq!(proposal.metrics.len(), 1, "there are none of p95");
        assert_eq!(proposal.metrics[0].proposed, options.rows_per_s.unwrap());
        // A deviation of 2 %; of 5 checks, up to 3.5 %: χ² is 1.610 (10 %, 5 degrees).
        let bad = nulls(Metric::RowsPerS, &[0.02, -0.02, 0.02, 0.02, -0.02], 0.163);
        let got = Proposal::of(&bad, &options).metrics[0];
        assert!((got.deviation_upper - 0.02 * (5.0_f64 / 1.610_3).sqrt()).abs() < 1e-5, "{got:?}");
        // 1 - exp(-2 x 0.0352) is 6.8 %.
        assert!((got.proposed.margin - 0.07).abs() < 1e-9, "{got:?}");
        assert!((got.proposed.tolerance - 0.165).abs() < 1e-9, "{got:?}");
    }

    /// On a bad machine two deviations of a latency's logarithm are far more than twice as many percent.
    #[test]
    fn a_margin_holds_two_deviations_on_the_side_of_worse() {
        let options = Options::default();
        let logs = [0.2, -0.2, 0.2, 0.2, -0.2];
        for (metric, share_of) in [
            (Metric::RowsPerS, (|gain: f64| 1.0 - (-gain).exp()) as fn(f64) -> f64),
            (Metric::LatencyP95, |gain| gain.exp() - 1.0),
        ] {
            let got = Proposal::of(&nulls(metric, &logs, 0.0), &options).metrics[0];
            let share = share_of(DEVIATIONS * got.deviation_upper);
            let margin = got.proposed.margin;
            assert!((share - 1e-9..share + STEP).contains(&margin), "{share}: {got:?}");
        }
    }
}
