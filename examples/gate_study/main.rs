//! How often the gate is wrong, and how long it takes: many checks on simulated machines.
//!
//! `cargo run --release --example gate_study -- 100000 10000` prints `results/gate-study.md`: so many
//! checks of unchanged arms, and so many of each slow-down. The same numbers give the same tables.

mod machine;
mod table;
mod trial;

use std::{
    env,
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "{error}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let counts: Vec<u64> = env::args().skip(1).map(|it| it.parse()).collect::<Result<_, _>>()?;
    let [unchanged, slowed] = counts[..] else {
        return Err(
            "usage: gate_study <checks of unchanged arms> <checks of each slow-down>".into()
        );
    };
    let counts = table::Counts { unchanged, slowed };
    table::write(counts, &mut io::stdout().lock())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use batchpilot::gate::{Options, Outcome};

    use crate::{
        machine::{BAD, Machine, QUIET, SHARED},
        trial::{Biases, check},
    };

    /// Checks that fail, of so many; and their mean time in seconds.
    fn failures(machine: Machine, slow_down: f64, n: u64) -> (usize, f64) {
        let options = Options::default();
        let rule = options.rule(1).unwrap();
        let try_one = |seed| check((&options, &rule), machine, Biases::Fresh, slow_down, seed);
        let trials: Vec<_> = (0..n).map(try_one).collect();
        let failed = trials.iter().filter(|it| matches!(it.outcome, Outcome::Fail(_))).count();
        let seconds: f64 = trials.iter().map(|it| it.blocks_s + it.warm_up_s).sum();
        (failed, seconds / n as f64)
    }

    /// A small study by fixed numbers: a change of the rule that breaks its promises shows here.
    #[test]
    fn the_rule_keeps_its_promises() {
        for machine in [QUIET, SHARED, BAD] {
            let (failed, seconds) = failures(machine, 0.0, 2_000);
            assert_eq!(failed, 0, "{}: unchanged arms", machine.name);
            assert!(seconds <= 45.0, "{}: {seconds} s", machine.name);
            let (found, _) = failures(machine, 0.2, 300);
            assert!(297 <= found, "{}: {found} of 300 at 20 %", machine.name);
        }
        for (machine, goal) in [(QUIET, 285), (SHARED, 255), (BAD, 225)] {
            let (found, _) = failures(machine, 0.1, 300);
            assert!(goal <= found, "{}: {found} of 300 at 10 %", machine.name);
        }
    }

    /// A number that breaks off here breaks the claim that a command writes the same tables.
    #[test]
    fn a_number_draws_the_same_check() {
        assert_eq!(failures(BAD, 0.05, 50), failures(BAD, 0.05, 50));
    }
}
