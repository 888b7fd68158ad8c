//! The rule on pairs of which the answer is known.

use std::time::Duration;

use super::*;

/// A pair of steady arms: head's rate and latency as shares of base's.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, rounded")]
fn pair(rate: f64, latency: f64) -> Pair {
    let block = |rows: f64, latency_s: f64| Block {
        rows: rows.round() as u64,
        seconds: 0.8,
        latency_s_p95: latency_s,
        latency_s_p99: 2.0 * latency_s,
        steal: 0.0,
    };
    Pair { base: block(1e6, 0.01), head: block(1e6 * rate, 0.01 * latency) }
}

fn stolen(steal: f64) -> Pair {
    let mut pair = pair(1.0, 1.0);
    (pair.base.steal, pair.head.steal) = (steal, steal);
    pair
}

/// From a seventh to seven times as fast, in no order: too far apart for any limit.
fn swinging(at: usize) -> Pair {
    let gain = (at * 37 % 61) as f64 / 15.0 - 2.0;
    pair(gain.exp(), (-gain).exp())
}

fn start(options: &Options) -> Check {
    Check::new(options.rule(1).unwrap())
}

/// Feeds pairs until the check is done; returns it, and the pairs of each session.
fn run(options: &Options, pairs: impl Fn(usize, usize) -> Pair) -> (Check, Vec<usize>) {
    let mut check = start(options);
    while check.push({
        let session = check.sessions().len() - 1;
        pairs(session, check.sessions()[session].pairs().len())
    }) != Step::Done
    {}
    let counts = check.sessions().iter().map(|it| it.pairs().len()).collect();
    (check, counts)
}

#[track_caller]
fn check(
    options: &Options,
    pairs: impl Fn(usize, usize) -> Pair,
    want: &Outcome,
    counts: &[usize],
) {
    let (check, got) = run(options, pairs);
    assert_eq!(check.outcome(&Evidence::default(), options), *want);
    assert_eq!(got, counts);
}

fn failed(metrics: &[Metric]) -> Outcome {
    Outcome::Fail(metrics.to_vec())
}

#[test]
fn margins_and_tolerances_are_where_the_options_say() {
    use Metric::{LatencyP95, RowsPerS};
    let options = Options::default();
    let cases = [
        ((1.0, 1.0), Outcome::Pass, &[15][..]),
        ((1.3, 0.7), Outcome::Pass, &[15]),
        ((0.981, 1.049), Outcome::Pass, &[15]),
        ((0.979, 1.0), failed(&[RowsPerS]), &[15, 15]),
        ((1.0, 1.051), failed(&[LatencyP95]), &[15, 15]),
        ((0.8, 1.4), failed(&[RowsPerS, LatencyP95]), &[15, 15]),
        // One metric that is better does not make up for the other.
        ((1.5, 1.4), failed(&[LatencyP95]), &[15, 15]),
    ];
    for ((rate, latency), want, counts) in cases {
        check(&options, |_, _| pair(rate, latency), &want, counts);
    }
    let no_latency = Options { latency_p95: None, ..options.clone() };
    check(&no_latency, |_, _| pair(1.0, 9.0), &Outcome::Pass, &[15]);
    let wide = Bounds { margin: 0.1, tolerance: 0.2 };
    let wide = Options { rows_per_s: Some(wide), ..no_latency };
    check(&wide, |_, _| pair(0.901, 1.0), &Outcome::Pass, &[15]);
    check(&wide, |_, _| pair(0.899, 1.0), &failed(&[RowsPerS]), &[15, 15]);
}

#[test]
fn a_failure_is_believed_when_a_fresh_session_repeats_it() {
    let first_only = |session, _| if session == 0 { pair(0.8, 1.0) } else { pair(1.0, 1.0) };
    let other_metric = |session, _| if session == 0 { pair(0.8, 1.0) } else { pair(1.0, 1.4) };
    let not_reproduced = Outcome::Inconclusive(Undecided::NotReproduced);
    let with = |confirmation| Options { confirmation, ..Options::default() };
    let rate = failed(&[Metric::RowsPerS]);
    check(&with(Confirmation::Off), first_only, &rate, &[15]);
    check(&with(Confirmation::Same), first_only, &not_reproduced, &[15, 15]);
    check(&with(Confirmation::Full), first_only, &not_reproduced, &[15, 60]);
    check(&with(Confirmation::Full), other_metric, &not_reproduced, &[15, 60]);
    // A second session that looks well at first is not let off.
    let late = |session, at| if session == 1 && at < 10 { pair(1.0, 1.0) } else { pair(0.8, 1.0) };
    check(&with(Confirmation::Full), late, &rate, &[15, 30]);
}

#[test]
fn what_cannot_be_proven_is_inconclusive() {
    let options = Options::default();
    let last_look = Outcome::Inconclusive(Undecided::LastLook);
    check(&options, |_, at| swinging(at), &last_look, &[60]);
    // Worse than the margin for sure, but not by how much: an open end is no pass.
    let (check, _) = run(&options, |_, at| swinging(at));
    let inspections = check.sessions()[0].inspections();
    assert_eq!(
        inspections.iter().map(|it| it.look.pairs).collect::<Vec<_>>(),
        [15, 20, 30, 45, 60]
    );
    assert!(inspections.iter().flat_map(|it| &it.findings).all(|it| {
        it.judgement == Judgement::Open && it.detectable.is_some_and(|share| 0.2 < share)
    }));
}

/// Otherwise the noise of one metric would give the other more chances to fail.
#[test]
fn a_metric_that_passed_is_done() {
    let pairs = |_, at: usize| {
        let mut pair = swinging(at);
        pair.head.rows = if at < 15 { pair.base.rows } else { pair.base.rows / 2 };
        pair
    };
    let last_look = Outcome::Inconclusive(Undecided::LastLook);
    check(&Options::default(), pairs, &last_look, &[60]);
}

#[test]
fn stolen_time_puts_off_the_decision_and_at_last_makes_it_invalid() {
    let options = Options::default();
    let steal = |share| Outcome::Invalid(vec![Fault::Steal { share }]);
    check(&options, |_, _| stolen(0.5), &steal(0.5), &[60]);
    check(&options, |_, _| stolen(0.2), &Outcome::Pass, &[15]);
    let at_first = |_, at| stolen(if at < 15 { 0.5 } else { 0.0 });
    check(&options, at_first, &Outcome::Pass, &[45]);
    // What a look saw while time was stolen passes nothing later, either.
    let slow_later = |_, at| if at < 15 { stolen(0.5) } else { pair(0.5, 2.0) };
    let (kept, _) = run(&options, slow_later);
    assert!(matches!(kept.outcome(&Evidence::default(), &options), Outcome::Fail(_)));
    let slower = |_, _| Pair { head: pair(0.5, 2.0).head, ..stolen(0.5) };
    let (check, counts) = run(&options, slower);
    let outcome = check.outcome(&Evidence::default(), &options);
    assert_eq!(counts, [60]);
    assert!(matches!(outcome, Outcome::Invalid(_)), "never FAIL: {outcome:?}");
}

#[test]
fn what_makes_numbers_lie_outweighs_them() {
    let options = Options::default();
    let none = Evidence::default();
    let client_bound = |windows: u64, base: u64, head: u64| Evidence {
        windows: Arms { base: windows, head: windows },
        windows_client_bound: Arms { base, head },
        ..Evidence::default()
    };
    let cases = [
        (
            Evidence { insert_errors: 1, ..none.clone() },
            Some(Fault::InsertErrors { operations: 1 }),
        ),
        (Evidence { tables_wrong: 2, ..none.clone() }, Some(Fault::WrongTables { tables: 2 })),
        (client_bound(10, 2, 2), Some(Fault::ClientBound { share: 0.2 })),
        (client_bound(10, 1, 1), None),
        // 9 % of both arms' windows, and base's true rate is hidden.
        (client_bound(100, 18, 0), Some(Fault::ClientBound { share: 0.18 })),
        (client_bound(100, 0, 18), Some(Fault::ClientBound { share: 0.18 })),
    ];
    for rate in [1.0, 0.5] {
        let (check, _) = run(&options, |_, _| pair(rate, 1.0));
        for (evidence, fault) in &cases {
            let outcome = check.outcome(evidence, &options);
            match fault {
                Some(fault) => assert_eq!(outcome, Outcome::Invalid(vec![*fault])),
                None => assert!(!matches!(outcome, Outcome::Invalid(_)), "{outcome:?}"),
            }
        }
    }
}

#[test]
fn a_check_that_is_stopped_says_so() {
    let options = Options::default();
    let mut check = start(&options);
    let mut outcome_after = |pairs: usize| {
        while check.sessions()[0].pairs().len() < pairs {
            let at = check.sessions()[0].pairs().len();
            assert_eq!(check.push(swinging(at)), Step::GoOn);
        }
        check.outcome(&Evidence::default(), &options)
    };
    let too_few = Outcome::Invalid(vec![Fault::TooFewPairs { pairs: 14, pairs_min: 15 }]);
    assert_eq!(outcome_after(14), too_few);
    assert_eq!(outcome_after(16), Outcome::Inconclusive(Undecided::Stopped));
    // A failure that nothing has confirmed yet.
    let mut check = start(&options);
    while check.push(pair(0.5, 1.0)) != Step::Confirm {}
    let outcome = check.outcome(&Evidence::default(), &options);
    assert_eq!(outcome, Outcome::Inconclusive(Undecided::Stopped));
}

#[test]
fn the_running_interval_is_of_the_pairs_so_far_and_in_the_metrics_own_sense() {
    let (check, _) = run(&Options::default(), |_, at| match at % 3 {
        0 => pair(0.8, 1.2),
        1 => pair(0.9, 1.1),
        _ => pair(1.0, 1.0),
    });
    let session = &check.sessions()[0];
    assert_eq!(session.running_at(Metric::RowsPerS, 0), None);
    let one = session.running_at(Metric::RowsPerS, 1).unwrap();
    assert!((one.value - 0.8).abs() < 1e-9 && one.low.is_none() && one.n == 1, "{one:?}");
    for (metric, low, high) in [(Metric::RowsPerS, 0.8, 1.0), (Metric::LatencyP95, 1.0, 1.2)] {
        let all = session.running(metric).unwrap();
        assert_eq!(all.n, session.pairs().len());
        let bounds = [low, all.low.unwrap(), all.value, all.high.unwrap(), high];
        assert!(bounds.is_sorted(), "{metric:?}: {bounds:?}");
        let findings = &session.inspections().last().unwrap().findings;
        let finding = findings.iter().find(|it| it.metric == metric).unwrap();
        assert_eq!(finding.ratio, all);
    }
}

/// Changing the arms turns the ratio round, and nothing else.
#[test]
fn ratios_mirror() {
    let at = |at: usize| pair(0.8 + 0.01 * (at % 7) as f64, 1.1);
    let swap = |it: Pair| Pair { base: it.head, head: it.base };
    let (one, two) = (
        run(&Options::default(), |_, it| at(it)).0,
        run(&Options::default(), |_, it| swap(at(it))).0,
    );
    for metric in [Metric::RowsPerS, Metric::LatencyP95, Metric::LatencyP99] {
        let ratio = |check: &Check| check.sessions()[0].running_at(metric, 15).unwrap();
        let (one, two) = (ratio(&one), ratio(&two));
        assert!((one.value * two.value - 1.0).abs() < 1e-9, "{one:?} {two:?}");
        assert!((one.low.unwrap() * two.high.unwrap() - 1.0).abs() < 1e-9, "{one:?} {two:?}");
    }
}

/// A block in which nothing was confirmed is the worst there is, and not left out.
#[test]
fn an_arm_that_stands_still_fails() {
    let frozen = |_, _| {
        let mut pair = pair(1.0, 1.0);
        (pair.head.rows, pair.head.latency_s_p95) = (0, 0.0);
        pair
    };
    let both = failed(&[Metric::RowsPerS, Metric::LatencyP95]);
    check(&Options::default(), frozen, &both, &[15, 15]);
}

/// Stalls in a tenth of the blocks: the estimate does not see them, the totals do.
#[test]
fn totals_see_what_the_estimate_does_not() {
    let options = Options::default();
    let stalling = |_, at: usize| pair(if at.is_multiple_of(5) { 0.05 } else { 1.0 }, 1.0);
    let (check, _) = run(&options, stalling);
    let session = &check.sessions()[0];
    let totals = Totals::of(session.pairs(), &options).unwrap();
    assert!((totals.ratio - 0.81).abs() < 1e-3, "{totals:?}");
    assert!(totals.stalled_base.abs() < 1e-9 && (totals.stalled_head - 0.2).abs() < 1e-9);
    let advice = Advice::of(session, &options);
    let kinds = matches!(advice[..], [Advice::TotalsWorse { .. }, Advice::TotalsDiffer { .. }]);
    assert!(kinds, "{advice:?}");
    let (check, _) = run(&options, |_, _| pair(1.0, 1.0));
    assert!(Advice::of(&check.sessions()[0], &options).is_empty());
    assert_eq!(Totals::of(&[], &options), None);
}

#[test]
fn a_worse_p99_is_remarked_on_and_does_not_fail() {
    let slow_tail = |_, _| {
        let mut pair = pair(1.0, 1.0);
        pair.head.latency_s_p99 *= 1.2;
        pair
    };
    let options = Options::default();
    let (check, _) = run(&options, slow_tail);
    assert_eq!(check.outcome(&Evidence::default(), &options), Outcome::Pass);
    let advice = Advice::of(&check.sessions()[0], &options);
    assert!(matches!(advice[..], [Advice::P99Worse { .. }]), "{advice:?}");
}

#[test]
fn options_that_make_no_rule_are_refused() {
    let options = Options::default;
    let look = |pairs, alpha| Look { pairs, alpha };
    let bounds = |margin, tolerance| Some(Bounds { margin, tolerance });
    let cases = [
        (Options { rows_per_s: None, latency_p95: None, ..options() }, "nothing is gated"),
        (Options { looks: Vec::new(), ..options() }, "looks at [] pairs"),
        (Options { looks: vec![look(30, 0.01), look(30, 0.01)], ..options() }, "[30, 30]"),
        (Options { looks: vec![look(0, 0.01)], ..options() }, "[0]"),
        (Options { looks: vec![look(15, 0.5)], ..options() }, "looks.alpha is 0.5"),
        (Options { pass_alpha: f64::NAN, ..options() }, "pass_alpha is NaN"),
        (Options { rows_per_s: bounds(0.1, 0.1), ..options() }, "margin 0.1, tolerance 0.1"),
        (Options { latency_p95: bounds(-0.1, 0.1), ..options() }, "latency_p95: margin -0.1"),
        (Options { rows_per_s: bounds(0.1, 1.0), ..options() }, "of rows_per_s below 1"),
        (Options { looks: vec![look(10, 0.1)], ..options() }, "fewer than 15 (pairs_min)"),
        (
            Options { looks: vec![look(9, 0.002)], pairs_min: 9, ..options() },
            "at 9 pairs, cannot fail",
        ),
        (Options { block_min: Duration::ZERO, ..options() }, "0 < block_min"),
        (Options { block_max: Duration::from_millis(1), ..options() }, "block_min <= block_max"),
    ];
    for (options, want) in cases {
        let error = options.rule(1).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}

/// A latency may more than double: calibration proposes such a tolerance where a machine needs it.
#[test]
fn a_latency_may_be_let_double() {
    let bounds = Some(Bounds { margin: 0.3, tolerance: 1.3 });
    assert!(Options { latency_p95: bounds, ..Options::default() }.rule(1).is_ok());
}

/// Two metrics are two chances to fail, and three scenarios are six.
#[test]
fn levels_are_divided_by_the_chances_to_fail() {
    for (scenarios, chances) in [(0, 2.0), (1, 2.0), (3, 6.0)] {
        let rule = Options::default().rule(scenarios).unwrap();
        let alphas: f64 = rule.looks.iter().map(|look| look.alpha).sum();
        assert!((alphas * chances - 0.01).abs() < 1e-12, "{scenarios}: {alphas}");
    }
}

#[test]
fn orders_are_balanced_at_every_look_and_by_chance() {
    let rule = Options::default().rule(1).unwrap();
    let base = |orders: &[Arm]| orders.iter().filter(|it| **it == Arm::Base).count();
    let mut first = 0;
    for seed in 0..200 {
        let orders = orders(&rule, seed, 0);
        assert_eq!(orders.len(), 60);
        for look in &rule.looks {
            let twice = 2 * base(&orders[..look.pairs]);
            assert!(twice.abs_diff(look.pairs) <= 1, "{seed}: {twice} of {}", look.pairs);
        }
        first += base(&orders[..1]);
    }
    assert!((80..120).contains(&first), "{first} of 200 begin with base");
    assert_eq!(orders(&rule, 7, 0), orders(&rule, 7, 0));
    assert_ne!(orders(&rule, 7, 0), orders(&rule, 8, 0));
    assert_ne!(orders(&rule, 7, 0), orders(&rule, 7, 1));
    assert_eq!([0, 1, 2].map(created_first), [Arm::Base, Arm::Head, Arm::Base]);
}

#[test]
fn blocks_hold_enough_operations_and_their_guard() {
    let millis = Duration::from_millis;
    // Median latency, block, guard, all in ms.
    let cases = [
        (0, 1_000, 200),
        (10, 1_000, 200),
        (100, 2_000, 200),
        (200, 4_000, 400),
        (1_000, 5_000, 2_000),
        (2_000, 8_000, 4_000),
    ];
    for (operation, block, guard) in cases {
        let timing = Timing::of(millis(operation), &Options::default());
        assert_eq!((timing.block, timing.guard), (millis(block), millis(guard)), "{operation} ms");
        assert!(timing.block <= timing.kept() * 2);
    }
}

#[test]
fn warm_is_when_windows_agree_or_time_is_up() {
    let options = Options::default();
    let cases: &[(&[f64], u64, WarmUp)] = &[
        (&[], 0, WarmUp::GoOn),
        (&[100.0, 100.0], 1, WarmUp::GoOn),
        (&[100.0, 110.0, 119.0], 2, WarmUp::Steady),
        (&[100.0, 110.0, 125.0], 2, WarmUp::GoOn),
        // A cold start that was measured: the last three agree within 22 %.
        (&[720.0, 1131.0, 1071.0, 1442.0, 1784.0, 1841.0], 6, WarmUp::GoOn),
        (&[720.0, 1442.0, 1784.0, 1841.0, 1850.0], 7, WarmUp::Steady),
        (&[0.0, 0.0, 0.0], 2, WarmUp::GoOn),
        (&[100.0, f64::NAN, 100.0], 2, WarmUp::GoOn),
        (&[100.0, 300.0, 100.0], 20, WarmUp::TimedOut),
        (&[], 20, WarmUp::TimedOut),
        (&[100.0, 100.0, 100.0], 20, WarmUp::Steady),
    ];
    for (rates, seconds, want) in cases {
        assert_eq!(warm_up(rates, Duration::from_secs(*seconds), &options), *want, "{rates:?}");
    }
}

/// A check that is written down and read again goes on as if nothing had happened.
#[test]
fn a_check_survives_a_file() {
    let options = Options::default();
    let mut check = start(&options);
    for at in 0..17 {
        check.push(swinging(at));
    }
    let text = serde_json::to_string(&check).unwrap();
    let mut again: Check = serde_json::from_str(&text).unwrap();
    assert_eq!(check, again);
    for at in 17..60 {
        assert_eq!(check.push(swinging(at)), again.push(swinging(at)));
    }
    let read: Options = serde_json::from_str("{\"pass_alpha\": 0.05}").unwrap();
    assert_eq!(read, Options { pass_alpha: 0.05, ..options });
    assert!(serde_json::from_str::<Options>("{\"margin\": 0.05}").is_err(), "unknown key");
}
