//! The study: what is tried, and its tables.

use std::{
    io::{self, Write},
    thread,
};

use batchpilot::{
    gate::{Confirmation, Look, Options, Outcome},
    stats::{median, share_limits},
};

use crate::{
    machine::{BAD, Machine, QUIET, SHARED, WORST},
    trial::{self, Biases, Other, Trial},
};

const SLOW_DOWNS: [f64; 5] = [0.0, 0.03, 0.05, 0.10, 0.20];
/// Those that goals are set for, and one that the built rule alone is tried on.
const MACHINES: [Machine; 4] = [QUIET, SHARED, BAD, WORST];
const COMPARED: usize = 3;
/// One-sided, of both limits of a share: 95 % between them.
const ALPHA: f64 = 0.025;
/// The rules that the built one is compared with are run this many times less often.
const OTHERS_FEWER: u64 = 5;
/// Series of 30 pairs that say how far the pairs of a machine lie apart.
const SERIES: u64 = 200;

/// What happened in all trials of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    n: u64,
    suspected: u64,
    failed: u64,
    passed: u64,
    inconclusive: u64,
    invalid: u64,
    blocks_s: f64,
    warm_up_s: f64,
}

/// How many trials are run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Of unchanged arms.
    pub(crate) unchanged: u64,
    /// Of each slow-down.
    pub(crate) slowed: u64,
}

impl Counts {
    fn fewer(self) -> Counts {
        let Counts { unchanged, slowed } = self;
        Counts { unchanged: unchanged / OTHERS_FEWER, slowed: slowed / OTHERS_FEWER }
    }

    fn of(self, slow_down: f64) -> u64 {
        if slow_down > 0.0 { self.slowed } else { self.unchanged }
    }
}

impl Tally {
    fn of(trial: &Trial) -> Tally {
        let is = |yes: bool| u64::from(yes);
        Tally {
            n: 1,
            suspected: is(trial.is_suspected),
            failed: is(matches!(trial.outcome, Outcome::Fail(_))),
            passed: is(matches!(trial.outcome, Outcome::Pass)),
            inconclusive: is(matches!(trial.outcome, Outcome::Inconclusive(_))),
            invalid: is(matches!(trial.outcome, Outcome::Invalid(_))),
            blocks_s: trial.blocks_s,
            warm_up_s: trial.warm_up_s,
        }
    }

    fn join(self, other: Tally) -> Tally {
        Tally {
            n: self.n + other.n,
            suspected: self.suspected + other.suspected,
            failed: self.failed + other.failed,
            passed: self.passed + other.passed,
            inconclusive: self.inconclusive + other.inconclusive,
            invalid: self.invalid + other.invalid,
            blocks_s: self.blocks_s + other.blocks_s,
            warm_up_s: self.warm_up_s + other.warm_up_s,
        }
    }

    /// Of the trials that this count is of, in percent.
    fn percent(&self, count: u64) -> f64 {
        100.0 * count as f64 / self.n as f64
    }

    fn seconds(&self) -> f64 {
        (self.blocks_s + self.warm_up_s) / self.n as f64
    }

    /// Limits of the share that failed, in percent.
    fn failed_limits(&self) -> (f64, f64) {
        let (low, high) = share_limits(self.failed, self.n, ALPHA);
        (100.0 * low, 100.0 * high)
    }
}

/// The rule as it is, and what it was chosen over.
fn rules() -> Vec<(&'static str, Options, Biases)> {
    let look = |(pairs, alpha)| Look { pairs, alpha };
    let three = [(15, 0.001), (30, 0.003), (60, 0.006)].map(look).to_vec();
    let built = Options::default;
    vec![
        ("As built", built(), Biases::Fresh),
        (
            "Three looks (15, 30, 60 pairs at 0.001, 0.003, 0.006)",
            Options { looks: three.clone(), ..built() },
            Biases::Fresh,
        ),
        (
            "Three looks, and a second session that may pass early",
            Options { looks: three, confirmation: Confirmation::Same, ..built() },
            Biases::Fresh,
        ),
        ("As built, without latency", Options { latency_p95: None, ..built() }, Biases::Fresh),
        ("As built, the arms' biases the same in both sessions", built(), Biases::Lasting),
    ]
}

/// Runs all trials and writes the tables.
pub(crate) fn write(counts: Counts, out: &mut dyn Write) -> io::Result<()> {
    let Counts { unchanged, slowed } = counts;
    writeln!(out, "{}", include_str!("preface.md").trim_end())?;
    writeln!(
        out,
        "\n```sh\ncargo run --release --example gate_study -- {unchanged} {slowed} > \
         results/gate-study.md\n```\n\nRuns of the rule as built: {unchanged} of unchanged \
         arms and {slowed} of each slow-down, on each machine; of the others {OTHERS_FEWER} times \
         fewer. In brackets: 95 % limits (Clopper and Pearson)."
    )?;
    pairs_table(out)?;
    let mut tables = Vec::new();
    for (index, (name, options, biases)) in rules().into_iter().enumerate() {
        let is_built = index == 0;
        let counts = if is_built { counts } else { counts.fewer() };
        let machines = if is_built { &MACHINES[..] } else { &MACHINES[..COMPARED] };
        let mut table = Vec::new();
        for machine in machines.iter().copied() {
            for slow_down in SLOW_DOWNS {
                let n = counts.of(slow_down);
                let rule = options.rule(1).expect("the study's options are rules");
                let try_one =
                    |seed| trial::check((&options, &rule), machine, biases, slow_down, seed);
                let tally = spread(n, &|seed| Tally::of(&try_one(seed)), Tally::join);
                table.push((machine.name, slow_down, tally));
            }
        }
        tables.push((name, table));
    }
    goals(out, &tables[0].1)?;
    for (name, table) in &tables {
        rule_table(out, name, table)?;
    }
    others_table(out, counts.fewer().slowed)
}

/// How far pairs of unchanged arms lie apart, to be held against those of a real machine.
fn pairs_table(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "\nPairs of unchanged arms on these machines lie apart by (1.4826 x the median distance from \
         the median of the ratio's logarithm):\n\n| machine | rows/s | p95 latency |\n|---|--:|--:|"
    )?;
    for machine in MACHINES {
        let gains: Vec<(f64, f64)> =
            (0..SERIES).flat_map(|seed| trial::unchanged_pairs(machine, seed)).collect();
        let apart = |gains: Vec<f64>| {
            let center = median(&gains);
            let distances: Vec<f64> = gains.iter().map(|gain| (gain - center).abs()).collect();
            148.26 * median(&distances)
        };
        let (rates, latencies) = gains.into_iter().unzip();
        let name = machine.name;
        writeln!(out, "| {name} | {:.1} % | {:.1} % |", apart(rates), apart(latencies))?;
    }
    Ok(())
}

/// Runs trials 0 to n on all processors, and sums them up.
fn spread<T: Copy + Default + Send>(
    n: u64,
    trial: &(dyn Fn(u64) -> T + Sync),
    join: fn(T, T) -> T,
) -> T {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = |first| (first..n).step_by(threads).map(trial).fold(T::default(), join);
        let firsts = (0..n).take(threads);
        let running: Vec<_> = firsts.map(|first| scope.spawn(move || work(first))).collect();
        let end = |it: thread::ScopedJoinHandle<'_, T>| it.join().expect("no trial panics");
        running.into_iter().map(end).fold(T::default(), join)
    })
}

fn goals(out: &mut dyn Write, built: &[(&str, f64, Tally)]) -> io::Result<()> {
    writeln!(out, "\n## Goals, as built\n")?;
    writeln!(out, "| goal | machine | measured | |\n|---|---|---|---|")?;
    for (name, slow_down, tally) in
        built.iter().filter(|it| [SHARED.name, BAD.name].contains(&it.0))
    {
        let (low, high) = tally.failed_limits();
        let failed = tally.percent(tally.failed);
        let (goal, is_met) = match (*slow_down, *name) {
            (none, _) if none <= 0.0 => ("unchanged arms FAIL in 0.1 % at most", high <= 0.1),
            (it, "shared") if is(it, 0.10) => ("10 % slower: FAIL in 85 % at least", 85.0 <= low),
            (it, _) if is(it, 0.10) => ("10 % slower: FAIL in 75 % at least", 75.0 <= low),
            (it, _) if is(it, 0.20) => ("20 % slower: FAIL in 99 % at least", 99.0 <= low),
            _ => continue,
        };
        let word = |is_met| if is_met { "met" } else { "missed" };
        let measured = format!("{failed:.3} % [{low:.3}, {high:.3}]");
        writeln!(out, "| {goal} | {name} | {measured} | {} |", word(is_met))?;
        if *slow_down <= 0.0 {
            let seconds = tally.seconds();
            let goal = "unchanged arms: 45 s on average at most, warm-up included";
            writeln!(out, "| {goal} | {name} | {seconds:.1} s | {} |", word(seconds <= 45.0))?;
        }
    }
    Ok(())
}

fn is(one: f64, two: f64) -> bool {
    (one - two).abs() < 1e-9
}

fn rule_table(out: &mut dyn Write, name: &str, rows: &[(&str, f64, Tally)]) -> io::Result<()> {
    writeln!(out, "\n## {name}\n")?;
    writeln!(
        out,
        "| machine | slower by | first session fails | FAIL, confirmed | PASS | INCONCLUSIVE | \
         INVALID | seconds | with warm-up |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    for (machine, slow_down, tally) in rows {
        let (low, high) = tally.failed_limits();
        writeln!(
            out,
            "| {machine} | {:.0} % | {:.2} % | {:.3} % [{low:.3}, {high:.3}] | {:.1} % | {:.2} % | \
             {:.2} % | {:.1} | {:.1} |",
            100.0 * slow_down,
            tally.percent(tally.suspected),
            tally.percent(tally.failed),
            tally.percent(tally.passed),
            tally.percent(tally.inconclusive),
            tally.percent(tally.invalid),
            tally.blocks_s / tally.n as f64,
            tally.seconds(),
        )?;
    }
    Ok(())
}

fn others_table(out: &mut dyn Write, n: u64) -> io::Result<()> {
    writeln!(out, "\n## What others do\n")?;
    writeln!(
        out,
        "60 s each, both arms together (120 s at most for pairs until a test says so); {n} runs. The \
         share that is called slower:\n"
    )?;
    let percents: Vec<String> = SLOW_DOWNS.map(|it| format!("{:.0} %", 100.0 * it)).to_vec();
    writeln!(out, "| rule | machine | {} |", percents.join(" | "))?;
    writeln!(out, "|---|---|--:|--:|--:|--:|--:|")?;
    for (other, name) in Other::ALL {
        for machine in MACHINES.into_iter().take(COMPARED) {
            let share = |slow_down: f64| {
                let fails = |seed| u64::from(other.fails(machine, slow_down, seed));
                let failed = spread(n, &fails, |one, two| one + two);
                format!("{:.1} %", 100.0 * failed as f64 / n as f64)
            };
            let shares = SLOW_DOWNS.map(share).to_vec();
            writeln!(out, "| {name} | {} | {} |", machine.name, shares.join(" | "))?;
        }
    }
    Ok(())
}
