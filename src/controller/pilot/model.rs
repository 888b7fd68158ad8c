//! What an operation costs by batch rows and workers, fitted to what was measured.
//!
//! Latency is a sum of costs that cannot be negative: of the operation, its rows, the workers in
//! its way, and their products. With workers it is the universal scalability law in its latency
//! form, with rows the line that Beam fits to batches; one least-squares problem holds both.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    controller::{Bounds, Cell, Grid, Setting},
    stats::{median, nnls, robust_deviation},
};

/// Time after which a measurement counts half.
const HALF_LIFE_S: f64 = 120.0;
/// Measurements kept.
const SAMPLES_MAX: usize = 400;
/// Distance from the middle of its cell at which a measurement was taken in a stall, and what it
/// then counts.
const STALL: f64 = 0.35;
const STALL_WEIGHT: f64 = 0.02;
/// Cells below which there is no model.
const CELLS_MIN: usize = 4;
/// Cells below which no cell is taken for an outlier: with few, robust weights call structure an
/// error.
const CELLS_ROBUST: usize = 12;
/// Cells from which the misfit is estimated.
const CELLS_MISFIT: usize = 8;
/// Least and most deviation of the model from the truth, as a logarithm.
const MISFIT: (f64, f64) = (0.03, 0.12);
/// Least noise of one measurement.
const NOISE_MIN: f64 = 0.05;
const ROUNDS: usize = 3;
/// Least that a place counts for being slow.
const SHARE_MIN: f64 = 0.01;

/// Noise of one window, and deviation of the model, where nothing is known of them.
const NOISE_USUAL: f64 = 0.1;
const MISFIT_USUAL: f64 = 0.05;

/// Rows a second that a model expects at each power of two within bounds, and at their upper ends.
/// It is fitted to settings, windows that each was measured in, and rows a second; nothing, if these
/// are too few.
pub fn expected(bounds: &Bounds, measured: &[(Setting, usize, f64)]) -> Vec<(Setting, f64)> {
    let Some((model, _)) = fitted(bounds, measured) else { return Vec::new() };
    let of = |setting: Setting| (setting, model.log_rate(setting).exp());
    let workers = powers(bounds.workers().0.into(), bounds.workers().1.into());
    let workers: Vec<u32> = workers.map(|it| u32::try_from(it).unwrap_or(u32::MAX)).collect();
    powers(bounds.batch_rows().0, bounds.batch_rows().1)
        .flat_map(|batch_rows| workers.iter().map(move |it| (batch_rows, *it)))
        .map(|(batch_rows, workers)| of(Setting { batch_rows, workers }))
        .collect()
}

/// Rows a second of measured settings, by what was measured and what a model of all of them says: of
/// many, the one that was fast in a window or two was most likely lucky. What was measured, if there
/// are too few for a model.
pub fn rated(bounds: &Bounds, measured: &[(Setting, usize, f64)]) -> Vec<f64> {
    let fitted = fitted(bounds, measured);
    let rate = |(setting, windows, rows_per_s): &(Setting, usize, f64)| match &fitted {
        None => *rows_per_s,
        Some((model, misfit)) => {
            let expected = model.log_rate(*setting);
            let truth = misfit.powi(2);
            let chance = NOISE_USUAL.powi(2) / *windows as f64;
            (expected + truth / (truth + chance) * (rows_per_s.ln() - expected)).exp()
        }
    };
    measured.iter().map(rate).collect()
}

/// A model of measured settings, and its misfit.
fn fitted(bounds: &Bounds, measured: &[(Setting, usize, f64)]) -> Option<(Model, f64)> {
    let grid = Grid::new(bounds);
    // Settings between the places of the grid share a cell.
    let mut of_cells: BTreeMap<Cell, (f64, f64)> = BTreeMap::new();
    for (setting, windows, rows_per_s) in measured {
        let (weight, sum) = of_cells.entry(grid.nearest(*setting)).or_default();
        *weight += *windows as f64;
        *sum += *windows as f64 * rows_per_s.ln();
    }
    let total =
        |(cell, (weight, sum)): (Cell, (f64, f64))| Total { cell, log_rate: sum / weight, weight };
    let totals: Vec<Total> = of_cells.into_iter().map(total).collect();
    Model::fit(&grid, &totals, NOISE_USUAL, MISFIT_USUAL, Focus::All)
}

/// Powers of two from the least to the most; the last is the most, where it is none.
fn powers(least: u64, most: u64) -> impl Iterator<Item = u64> {
    let powers = (0..u64::BITS).map(|it| 1_u64 << it);
    powers.filter(move |it| least <= *it && *it < most).chain([most])
}

/// Windows that were measured, by cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at_s: f64,
    cell: Cell,
    log_rate: f64,
}

/// All that is known of one cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Total {
    pub(super) cell: Cell,
    pub(super) log_rate: f64,
    /// Windows that it is worth.
    pub(super) weight: f64,
}

impl Data {
    pub(super) fn push(&mut self, at_s: f64, cell: Cell, log_rate: f64) {
        self.samples.push(Sample { at_s, cell, log_rate });
        if SAMPLES_MAX < self.samples.len() {
            self.samples.remove(0);
        }
    }

    pub(super) fn cells(&self) -> BTreeSet<Cell> {
        self.samples.iter().map(|it| it.cell).collect()
    }

    /// The cell of the fastest single window.
    pub(super) fn fastest(&self) -> Option<Cell> {
        let fastest = self.samples.iter().max_by(|a, b| a.log_rate.total_cmp(&b.log_rate));
        fastest.map(|it| it.cell)
    }

    /// Cells and log rates of the first window and the last.
    pub(super) fn first_and_last(&self) -> Option<[(Cell, f64); 2]> {
        let [first, .., last] = self.samples.as_slice() else { return None };
        Some([first, last].map(|it| (it.cell, it.log_rate)))
    }

    pub(super) fn mean_log_rate(&self) -> Option<f64> {
        let n = self.samples.len() as f64;
        let sum: f64 = self.samples.iter().map(|it| it.log_rate).sum();
        (!self.samples.is_empty()).then(|| sum / n)
    }

    /// Sums up each cell, where old windows count less, and those in a stall hardly.
    pub(super) fn totals(&self, now_s: f64) -> Vec<Total> {
        let mut cells: BTreeMap<Cell, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in &self.samples {
            let weight = 0.5_f64.powf((now_s - sample.at_s) / HALF_LIFE_S);
            // Of what is days old nothing is left.
            if 0.0 < weight * STALL_WEIGHT {
                cells.entry(sample.cell).or_default().push((sample.log_rate, weight));
            }
        }
        let total = |(cell, values): (Cell, Vec<(f64, f64)>)| {
            let center = center(values.iter().map(|it| it.0).collect());
            let weigh = |(value, weight): &(f64, f64)| {
                let is_stall = STALL <= (value - center).abs();
                (*value, if is_stall { weight * STALL_WEIGHT } else { *weight })
            };
            let weighed: Vec<(f64, f64)> = values.iter().map(weigh).collect();
            let weight: f64 = weighed.iter().map(|it| it.1).sum();
            let sum: f64 = weighed.iter().map(|it| it.0 * it.1).sum();
            Total { cell, log_rate: sum / weight, weight }
        };
        cells.into_iter().map(total).collect()
    }
}

/// The middle, or the next above it of a few; of two that lie far apart the faster one, since only
/// stalls make that much of a difference.
fn center(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.as_slice() {
        [low, high] if STALL < high - low => *high,
        [low, high] => f64::midpoint(*low, *high),
        _ => values[values.len().div_ceil(2).min(values.len() - 1)],
    }
}

/// Which places a model has to fit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Focus {
    /// All alike: what lies beyond a cliff must not look fast.
    All,
    /// The fast ones the more, by their rate: the way up to many workers begins at a hundredth of the
    /// best, where other costs count than there.
    Fast,
}

/// Invariant: some term is positive, so that every latency is.
#[derive(Clone, Debug)]
pub(super) struct Model {
    terms: Vec<f64>,
}

impl Model {
    /// Fits the totals; `None` if they are too few to say anything. Returns with it how far the
    /// truth lies from the model, if it can be told, and `misfit` otherwise.
    pub(super) fn fit(
        grid: &Grid,
        totals: &[Total],
        noise: f64,
        misfit: f64,
        focus: Focus,
    ) -> Option<(Model, f64)> {
        if totals.len() < CELLS_MIN {
            return None;
        }
        let noise = noise.max(NOISE_MIN);
        let top = totals.iter().map(|it| it.log_rate).fold(f64::NEG_INFINITY, f64::max);
        let share = |it: &Total| match focus {
            Focus::All => 1.0,
            Focus::Fast => (it.log_rate - top).exp().max(SHARE_MIN),
        };
        let variance = |it: &Total| noise * noise / it.weight.max(1e-3) + misfit * misfit;
        let weight = |it: &Total| share(it) / variance(it);
        let mut robust = vec![1.0; totals.len()];
        let mut model = Model { terms: Vec::new() };
        for _ in 0..ROUNDS {
            let rows: Vec<(Vec<f64>, f64)> = totals
                .iter()
                .zip(&robust)
                .map(|(it, robust)| row(grid.setting(it.cell), it.log_rate, weight(it) * robust))
                .collect();
            model.terms = nnls(&rows);
            if model.terms.iter().all(|it| *it <= 0.0) {
                return None;
            }
            if totals.len() < CELLS_ROBUST {
                break;
            }
            robust = robust_weights(&model.residuals(grid, totals));
        }
        let misfit = model.misfit(grid, totals, noise).unwrap_or(misfit);
        Some((model, misfit))
    }

    /// Measured less predicted.
    fn residuals(&self, grid: &Grid, totals: &[Total]) -> Vec<f64> {
        totals.iter().map(|it| it.log_rate - self.log_rate(grid.setting(it.cell))).collect()
    }

    fn misfit(&self, grid: &Grid, totals: &[Total], noise: f64) -> Option<f64> {
        if totals.len() < CELLS_MISFIT {
            return None;
        }
        let (mut sum, mut weights) = (0.0, 0.0);
        for (residual, total) in self.residuals(grid, totals).iter().zip(totals) {
            let weight = total.weight.min(4.0);
            sum += weight * (residual * residual - noise * noise / total.weight.max(0.5));
            weights += weight;
        }
        Some((sum / weights).max(0.0).sqrt().clamp(MISFIT.0, MISFIT.1))
    }

    /// Mean latency of an operation.
    pub(super) fn latency_s(&self, setting: Setting) -> f64 {
        let (operation_s, rows_s) = self.parts_s(setting);
        (operation_s + rows_s).max(1e-12)
    }

    /// The parts of it that the operation costs, whatever it carries, and that its rows cost.
    pub(super) fn parts_s(&self, setting: Setting) -> (f64, f64) {
        let costs = features(setting).into_iter().zip(&self.terms).enumerate();
        costs.fold((0.0, 0.0), |(operation_s, rows_s), (index, (feature, term))| {
            let cost_s = feature * term;
            if OF_ROWS[index] {
                (operation_s, rows_s + cost_s)
            } else {
                (operation_s + cost_s, rows_s)
            }
        })
    }

    /// Logarithm of the rows a second.
    pub(super) fn log_rate(&self, setting: Setting) -> f64 {
        (in_flight(setting) / self.latency_s(setting)).ln()
    }
}

/// Rows in flight.
pub(super) fn in_flight(setting: Setting) -> f64 {
    setting.batch_rows as f64 * f64::from(setting.workers)
}

/// No term with the square of both: it would be the first to fit noise, and the worst to
/// extrapolate.
fn features(setting: Setting) -> [f64; 8] {
    let b = setting.batch_rows as f64 / 1_000.0;
    let w = f64::from(setting.workers) / 8.0;
    [1.0, b, b * b, w, w * b, w * b * b, w * w, w * w * b]
}

/// Which of the features grow with the rows.
const OF_ROWS: [bool; 8] = [false, true, true, false, true, true, false, true];

/// A row of the least-squares problem. It is divided by the latency: errors are relative.
fn row(setting: Setting, log_rate: f64, weight: f64) -> (Vec<f64>, f64) {
    let latency_s = in_flight(setting) / log_rate.exp();
    let scale = weight.sqrt();
    (features(setting).iter().map(|it| scale * it / latency_s).collect(), scale)
}

/// Weights of Huber: what lies far away pulls no harder than what lies near.
fn robust_weights(residuals: &[f64]) -> Vec<f64> {
    let center = median(residuals);
    let away: Vec<f64> = residuals.iter().map(|it| (it - center).abs()).collect();
    let near = 2.5 * robust_deviation(&away).max(0.05);
    away.iter().map(|it| if *it < near { 1.0 } else { near / it }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    /// 1 ms an operation, 10 µs a row, of which workers make more.
    fn latency_s(setting: Setting) -> f64 {
        let (b, w) = (setting.batch_rows as f64, f64::from(setting.workers));
        1e-3 + 10e-6 * b * (1.0 + 0.1 * w)
    }

    fn measured(cells: &[(u64, u32)]) -> (Grid, Data) {
        let grid = Grid::new(&Bounds::WIDE);
        let mut data = Data::default();
        for (batch_rows, workers) in cells {
            let cell = grid.nearest(Setting { batch_rows: *batch_rows, workers: *workers });
            let setting = grid.setting(cell);
            data.push(0.0, cell, (in_flight(setting) / latency_s(setting)).ln());
        }
        (grid, data)
    }

    const DESIGN: [(u64, u32); 5] = [(16, 4), (128, 8), (1_024, 4), (1_024, 16), (4_096, 8)];

    /// Halved every so often, a weight is 0 after days; its sum divided the rates of its cell.
    #[test]
    fn what_is_days_old_is_nothing() {
        let mut data = Data::default();
        let [old, new] = [0, 1].map(|batch| Cell { batch, workers: 0 });
        data.push(0.0, old, 10.0);
        data.push(1e6, new, 11.0);
        let totals = data.totals(1e6);
        assert!(totals.iter().all(|it| it.cell == new && it.log_rate.is_finite()), "{totals:?}");
        assert_eq!(totals.len(), 1);
    }

    #[test]
    fn predicts_what_it_has_not_seen() {
        let (grid, data) = measured(&DESIGN);
        let (model, _) = Model::fit(&grid, &data.totals(0.0), 0.1, 0.05, Focus::All).unwrap();
        let unseen = Setting { batch_rows: 2_048, workers: 12 };
        let ratio = model.latency_s(unseen) / latency_s(unseen);
        // Five cells leave eight terms some freedom. Of all fits to them that are exact and have no
        // negative term (the corners of that set are solved for by hand), this place is told at
        // 0.938 of the truth by the least, and at 1 by the most.
        assert!((0.938..1.001).contains(&ratio), "{ratio}");
        let (grid, data) = measured(&[&DESIGN[..], &[(16, 32), (4_096, 2), (1_024, 32)]].concat());
        let (model, _) = Model::fit(&grid, &data.totals(0.0), 0.1, 0.05, Focus::All).unwrap();
        let ratio = model.latency_s(unseen) / latency_s(unseen);
        assert!((ratio - 1.0).abs() < 1e-3, "as many cells as terms: {ratio}");
    }

    #[test]
    fn expects_at_powers_of_two_what_was_measured_between_them() {
        let measured: Vec<(Setting, usize, f64)> = DESIGN
            .iter()
            .chain(&[(48, 32), (4_096, 2), (724, 32)])
            .map(|(batch_rows, workers)| Setting { batch_rows: *batch_rows, workers: *workers })
            .map(|setting| (setting, 3, in_flight(setting) / latency_s(setting)))
            .collect();
        let bounds = Bounds::new((1, 5_000), (1, 32)).unwrap();
        let expected = expected(&bounds, &measured);
        assert_eq!(expected.len(), 14 * 6, "1 to 4,096 and 5,000 rows, 1 to 32 workers");
        for (setting, rows_per_s) in expected {
            let ratio = rows_per_s * latency_s(setting) / in_flight(setting);
            assert!((0.9..1.1).contains(&ratio), "{setting:?}: {ratio}");
        }
        assert!(super::expected(&bounds, &measured[..3]).is_empty());
        // Settings of one cell are one thing that is known.
        let near = [1_000, 1_010, 1_020, 1_030, 1_040]
            .map(|batch_rows| (Setting { batch_rows, workers: 4 }, 10, 50_000.0));
        assert!(super::expected(&bounds, &near).is_empty());
    }

    /// From 4 to 16 workers the rate doubles with them; from 32 on each more is in the way of all. The
    /// terms cannot bend to both.
    #[test]
    fn who_looks_for_the_best_fits_what_is_fast() {
        let knee_s = |setting: Setting| 1e-3 * (f64::from(setting.workers) / 32.0).max(1.0).powi(2);
        let cells = [1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 48, 64].map(|workers| (1_000, workers));
        let (grid, _) = measured(&[]);
        let mut data = Data::default();
        for (batch_rows, workers) in cells {
            let cell = grid.nearest(Setting { batch_rows, workers });
            let setting = grid.setting(cell);
            data.push(0.0, cell, (in_flight(setting) / knee_s(setting)).ln());
        }
        let error = |focus| {
            let (model, _) = Model::fit(&grid, &data.totals(0.0), 0.1, 0.05, focus).unwrap();
            let near = [24, 32, 48, 64].map(|workers| Setting { batch_rows: 1_000, workers });
            near.map(|it| (model.latency_s(it) / knee_s(it)).ln().abs()).iter().sum::<f64>()
        };
        let (all, fast) = (error(Focus::All), error(Focus::Fast));
        assert!(fast < 0.95 * all, "{fast} and {all}");
    }

    /// Of a search's settings the one with the fastest window was once the runner-up, whatever those
    /// around it had shown.
    #[test]
    fn one_fast_window_is_taken_for_luck() {
        let around = [(256, 8), (512, 8), (512, 6), (362, 8), (512, 12)];
        let mut measured: Vec<(Setting, usize, f64)> = DESIGN
            .iter()
            .chain(&around)
            .map(|(batch_rows, workers)| Setting { batch_rows: *batch_rows, workers: *workers })
            .map(|setting| (setting, 4, in_flight(setting) / latency_s(setting)))
            .collect();
        let lucky = &mut measured[1];
        (lucky.1, lucky.2) = (1, 1.2 * lucky.2);
        let truth = in_flight(lucky.0) / latency_s(lucky.0);
        let rated = rated(&Bounds::WIDE, &measured);
        assert!(rated[1] < 1.1 * truth, "{} of {truth}", rated[1]);
        let often = (measured[6].0, rated[6] / measured[6].2);
        assert!((0.97..1.03).contains(&often.1), "{often:?}");
        let few = super::rated(&Bounds::WIDE, &measured[..2]);
        assert_eq!(few, [measured[0].2, measured[1].2]);
    }

    #[test]
    fn few_cells_make_no_model() {
        let (grid, data) = measured(&DESIGN[..3]);
        assert!(Model::fit(&grid, &data.totals(0.0), 0.1, 0.05, Focus::All).is_none());
        assert!(Model::fit(&grid, &Data::default().totals(0.0), 0.1, 0.05, Focus::All).is_none());
    }

    #[test]
    fn a_window_in_a_stall_hardly_counts() {
        let (grid, _) = measured(&DESIGN);
        let cell = grid.nearest(Setting { batch_rows: 128, workers: 8 });
        let mut data = Data::default();
        for log_rate in [10.0, 10.02, 9.98, 9.3] {
            data.push(0.0, cell, log_rate);
        }
        assert!((data.totals(0.0)[0].log_rate - 10.0).abs() < 0.01);
    }

    /// With few cells robust weights call real structure an error: here a cliff, of which one cell
    /// of nine tells. Twice the latency is more than the terms can bend to, but more than half of
    /// it, as a logarithm, stays in the model.
    #[test]
    fn structure_in_few_cells_is_no_outlier() {
        let around = [(256, 8), (512, 8), (512, 6), (362, 8), (512, 12), (724, 8)];
        let (grid, mut data) = measured(&[&DESIGN[..2], &around].concat());
        let beyond = grid.nearest(Setting { batch_rows: 1_024, workers: 8 });
        let setting = grid.setting(beyond);
        data.push(0.0, beyond, (in_flight(setting) / (2.0 * latency_s(setting))).ln());
        let (model, _) = Model::fit(&grid, &data.totals(0.0), 0.1, 0.05, Focus::All).unwrap();
        let ratio = model.latency_s(setting) / latency_s(setting);
        assert!(2_f64.sqrt() < ratio, "{ratio}");
    }
}
