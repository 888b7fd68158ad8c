//! Which blocks after a search were measured while the machine was slower than before and after.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    record::{BlockRecord, Record},
    stats,
};

/// Least blocks of a setting for its level to be known: more than one look around the best gives.
const KNOWN_BLOCKS: usize = 4;
/// Part of a setting's blocks that its level is above; of fewer than are needed, all but the highest.
/// What disturbs from outside only ever slows down: what a setting gives undisturbed is seen near its
/// highest rates.
///
/// Source: Chen and Revels, "Robust benchmarking in noisy environments", HPEC 2016.
const LEVEL: (usize, usize) = (3, 4);
/// The nearest in the order of running whose level is known say what a time was like; how far they may
/// be off. As many in a row say so, too, if each gave less than the highest of its own, however few.
const NEAREST: usize = 3;
const FAR_BLOCKS: usize = 8;
/// A time is disturbed where most of the nearest, or each in a row, gave less than this share of their
/// levels, and that is more than so many deviations of what a setting gives from one block to its next;
/// and they are of two settings at least.
const FALLEN: f64 = 0.88;
const DEVIATIONS: f64 = 2.5;

/// Rows a second of a block, in the order of running.
#[derive(Clone, Copy, Debug)]
struct Rate {
    block: usize,
    cell: usize,
    ln_rate: f64,
}

/// Numbers of the blocks of a search's contenders that ran while other settings, too, gave clearly less
/// than they did before or after: a neighbour on the machine, a processor that was lent to another.
/// What a setting brings upon itself is not among them, as the settings that ran beside it did not
/// suffer.
pub fn disturbed(record: &Record) -> Vec<usize> {
    let contenders = record.plan.tuning.iter().flat_map(|it| &it.contenders);
    let contenders: Vec<usize> = contenders.map(|it| it.cell).collect();
    let is_own = |it: &&BlockRecord| it.is_valid() && contenders.contains(&it.cell);
    let measured = record.blocks.iter().filter(is_own).filter(|it| 0 < it.rows_confirmed);
    let rates: Vec<Rate> = measured
        .map(|it| Rate { block: it.number, cell: it.cell, ln_rate: it.rows_per_s().ln() })
        .collect();
    among(&rates)
}

fn among(rates: &[Rate]) -> Vec<usize> {
    let mut by_cell: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for rate in rates {
        by_cell.entry(rate.cell).or_default().push(rate.ln_rate);
    }
    let fallen = FALLEN.ln().min(-DEVIATIONS * deviation(by_cell.values()));
    let below: Vec<f64> = rates.iter().map(|it| it.ln_rate - level(&by_cell[&it.cell])).collect();
    let is_known = |place: usize| KNOWN_BLOCKS <= by_cell[&rates[place].cell].len();
    let known: Vec<usize> = (0..rates.len()).filter(|it| is_known(*it)).collect();
    let has_fallen = |it: &&f64| **it < fallen;
    let in_a_row = |place: usize| {
        let before = below[..place].iter().rev().take_while(has_fallen).count();
        let run = place - before..place + below[place..].iter().take_while(has_fallen).count();
        let settings: BTreeSet<usize> = rates[run.clone()].iter().map(|it| it.cell).collect();
        NEAREST <= run.len() && 1 < settings.len()
    };
    let is_disturbed = |place: usize| {
        if below[place] < fallen && in_a_row(place) {
            return true;
        }
        let mut near: Vec<usize> =
            known.iter().copied().filter(|it| it.abs_diff(place) <= FAR_BLOCKS).collect();
        near.sort_by_key(|it| it.abs_diff(place));
        near.truncate(NEAREST);
        let low = near.iter().filter(|it| below[**it] < fallen);
        let settings: BTreeSet<usize> = low.clone().map(|it| rates[*it].cell).collect();
        near.len() == NEAREST && NEAREST < 2 * low.count() && 1 < settings.len()
    };
    let disturbed: Vec<bool> = (0..rates.len()).map(is_disturbed).collect();
    // Of a setting whose level is not known nobody can say that it did not fall beside them.
    let is_beside = |place: usize| {
        let around = place.saturating_sub(1)..=(place + 1).min(rates.len() - 1);
        !is_known(place) && disturbed[around].contains(&true)
    };
    let all = (0..rates.len()).filter(|it| disturbed[*it] || is_beside(*it));
    all.map(|it| rates[it].block).collect()
}

fn level(own: &[f64]) -> f64 {
    let mut sorted = own.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    if sorted.len() < KNOWN_BLOCKS { sorted[last] } else { sorted[LEVEL.0 * last / LEVEL.1] }
}

/// Deviation of a setting's blocks, by the differences of each from the one before: a time that is
/// slower as a whole adds no more than two to them.
fn deviation<'a>(cells: impl Iterator<Item = &'a Vec<f64>>) -> f64 {
    let differences: Vec<f64> =
        cells.flat_map(|own| own.windows(2).map(|it| (it[1] - it[0]).abs())).collect();
    stats::robust_deviation(&differences) / std::f64::consts::SQRT_2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rates of a block each of cells 0, 1, …, again and again; `None` where a cell does not run.
    fn rates(repetitions: &[&[Option<f64>]]) -> Vec<Rate> {
        let places = repetitions.iter().flat_map(|it| it.iter().enumerate());
        let ran = places.filter_map(|(cell, rate)| Some((cell, (*rate)?)));
        ran.enumerate()
            .map(|(block, (cell, rate))| Rate { block, cell, ln_rate: f64::ln(rate) })
            .collect()
    }

    /// As on PostgreSQL 15 with two processors: cell 0, of two workers, was the best until the machine
    /// gave less, and then cell 1, which is 9 % slower, was the answer. Cell 4, of one worker, does not
    /// suffer.
    #[test]
    fn a_slow_time_of_the_machine_is_no_merit_of_who_did_not_run_in_it() {
        let some = |it: [f64; 5]| it.map(Some);
        let look = |two, four, one| [Some(two), Some(four), None, None, Some(one)];
        let calm = [some([1.02, 0.95, 0.90, 0.91, 0.62]), some([1.00, 0.93, 0.88, 0.89, 0.61])];
        let slow = [some([0.67, 0.80, 0.72, 0.74, 0.62]), some([0.68, 0.79, 0.71, 0.73, 0.61])];
        let run = [
            &look(1.03, 0.96, 0.61)[..],
            &look(1.00, 0.95, 0.61),
            &slow[0],
            &slow[1],
            &slow[0],
            &calm[0],
            &calm[1],
            &calm[0],
            &calm[1],
        ];
        let found = among(&rates(&run));
        // The three times five blocks of the slow time; who runs first or last in it may be either.
        assert!((8..19).all(|it| found.contains(&it)), "{found:?}");
        assert!(found.iter().all(|it| (6..=20).contains(it)), "{found:?}");
        assert!(among(&rates(&[&calm[0][..]; 8])).is_empty());
    }

    /// One that is slow every now and then, beside others that are not, has itself to blame.
    #[test]
    fn what_a_setting_brings_upon_itself_counts() {
        let good: [Option<f64>; 4] = [1.0, 0.9, 0.8, 0.7].map(Some);
        let bad = [Some(0.4), Some(0.9), Some(0.81), Some(0.69)];
        assert!(among(&rates(&[&good, &bad, &good, &bad, &bad, &good, &good, &bad])).is_empty());
    }

    /// Of two that met again, good blocks once did not count beside the slow ones of the other.
    #[test]
    fn what_a_setting_brings_upon_itself_is_not_the_fault_of_its_rival() {
        let (good, bad) = ([1.0, 0.95].map(Some), [0.7, 0.97].map(Some));
        let run = [&good[..], &good, &bad, &bad, &good, &good, &bad, &good];
        assert_eq!(among(&rates(&run)), Vec::<usize>::new());
        let slow = [0.7, 0.68].map(Some);
        let run = [&good[..], &good, &slow, &slow, &good, &good, &good, &good];
        assert_eq!(among(&rates(&run)), [4, 5, 6, 7]);
        let alone = [&good[..1], &good[..1], &bad[..1], &bad[..1], &bad[..1], &good[..1]];
        let alone = [&alone[..], &[&good[..1]; 12]].concat();
        assert!(among(&rates(&alone)).is_empty(), "who is alone has nobody beside it");
    }

    /// Where blocks differ by a factor of three from one to the next, a low one is nothing special.
    #[test]
    fn a_machine_that_is_never_calm_is_not_disturbed() {
        let high: [Option<f64>; 4] = [3.0, 2.9, 3.1, 3.0].map(Some);
        let low: [Option<f64>; 4] = [1.0, 1.1, 1.0, 0.9].map(Some);
        assert!(among(&rates(&[&high, &low, &high, &low, &high, &low])).is_empty());
    }

    /// A machine that became slower and stayed so is what there is.
    #[test]
    fn what_lasts_for_most_of_the_time_is_the_level() {
        let before: [Option<f64>; 4] = [1.0, 0.9, 0.8, 0.7].map(Some);
        let after = before.map(|it| it.map(|it| it / 2.0));
        let mut run = vec![&before[..]; 2];
        run.extend([&after[..]; 7]);
        assert!(among(&rates(&run)).is_empty());
        assert!(among(&[]).is_empty());
    }
}
