//! Least squares without negative coefficients.
//!
//! Lawson and Hanson, "Solving Least Squares Problems", 1974, chapter 23, on the normal equations:
//! for the few columns of a cost model they are small, and exact enough after scaling.

/// Columns that the solver is made for.
const COLUMNS_MAX: usize = 16;
/// Gradient below which a column that is out stays out, of scaled columns.
const GRADIENT_MIN: f64 = 1e-10;
/// Pivot below which a column is as good as a sum of others.
const PIVOT_MIN: f64 = 1e-12;

/// Finds `x >= 0` that makes `sum over rows of (row · x - value)²` least.
///
/// Every row has the same number of columns. A column of zeros gets 0, as do columns that others
/// make up for: the answer is always finite.
pub fn nnls(rows: &[(Vec<f64>, f64)]) -> Vec<f64> {
    let columns = rows.first().map_or(0, |(row, _)| row.len());
    assert!(columns <= COLUMNS_MAX, "{columns} columns: use a solver for large problems");
    let normal = Normal::of(rows, columns);
    let mut x = vec![0.0; columns];
    let mut is_in = vec![false; columns];
    // Each turn takes one column in and may put others out; it ends by the theory, and by the
    // count where rounding would let it go round.
    for _ in 0..3 * columns {
        let gradient = normal.gradient(&x);
        let entering = (0..columns)
            .filter(|at| !is_in[*at] && GRADIENT_MIN < gradient[*at])
            .max_by(|a, b| gradient[*a].total_cmp(&gradient[*b]));
        let Some(entering) = entering else { break };
        is_in[entering] = true;
        settle(&normal, &mut is_in, &mut x);
    }
    x.iter().zip(&normal.scales).map(|(x, scale)| x * scale).collect()
}

/// Solves for the columns that are in, and puts out those that would become negative.
fn settle(normal: &Normal, is_in: &mut [bool], x: &mut [f64]) {
    loop {
        let solved = normal.solve(is_in);
        let step = (0..x.len())
            .filter(|at| is_in[*at] && solved[*at] <= 0.0)
            .map(|at| x[at] / (x[at] - solved[at]).max(f64::MIN_POSITIVE))
            .fold(None, |least: Option<f64>, it| Some(least.map_or(it, |least| least.min(it))));
        let Some(step) = step else {
            x.copy_from_slice(&solved);
            return;
        };
        for at in 0..x.len() {
            x[at] += step * (solved[at] - x[at]);
            if is_in[at] && (x[at] <= GRADIENT_MIN || !x[at].is_finite()) {
                is_in[at] = false;
                x[at] = 0.0;
            }
        }
    }
}

/// The normal equations, with columns scaled to length 1.
struct Normal {
    products: Vec<Vec<f64>>,
    values: Vec<f64>,
    scales: Vec<f64>,
}

impl Normal {
    fn of(rows: &[(Vec<f64>, f64)], columns: usize) -> Normal {
        let scale = |at: usize| {
            let length = rows.iter().map(|(row, _)| row[at] * row[at]).sum::<f64>().sqrt();
            if 0.0 < length { 1.0 / length } else { 0.0 }
        };
        let scales: Vec<f64> = (0..columns).map(scale).collect();
        let product = |a: usize, b: usize| {
            rows.iter().map(|(row, _)| row[a] * row[b]).sum::<f64>() * scales[a] * scales[b]
        };
        let value =
            |at: usize| rows.iter().map(|(row, value)| row[at] * value).sum::<f64>() * scales[at];
        Normal {
            products: (0..columns).map(|a| (0..columns).map(|b| product(a, b)).collect()).collect(),
            values: (0..columns).map(value).collect(),
            scales,
        }
    }

    /// How much a little more of each column would help.
    fn gradient(&self, x: &[f64]) -> Vec<f64> {
        let explained = |row: &Vec<f64>| row.iter().zip(x).map(|(a, x)| a * x).sum::<f64>();
        self.products.iter().zip(&self.values).map(|(row, value)| value - explained(row)).collect()
    }

    /// Solves for the chosen columns by elimination with pivots; the others are 0.
    fn solve(&self, is_in: &[bool]) -> Vec<f64> {
        let chosen: Vec<usize> = (0..is_in.len()).filter(|at| is_in[*at]).collect();
        let mut system: Vec<Vec<f64>> = chosen
            .iter()
            .map(|a| {
                let row = chosen.iter().map(|b| self.products[*a][*b]);
                row.chain([self.values[*a]]).collect()
            })
            .collect();
        let n = chosen.len();
        for step in 0..n {
            let pivot = (step..n)
                .max_by(|a, b| system[*a][step].abs().total_cmp(&system[*b][step].abs()))
                .expect("there are rows left");
            system.swap(step, pivot);
            if system[step][step].abs() < PIVOT_MIN {
                system[step].fill(0.0);
                system[step][step] = 1.0;
            }
            let pivot_row = system[step].clone();
            for row in &mut system[step + 1..] {
                let factor = row[step] / pivot_row[step];
                row.iter_mut().zip(&pivot_row).for_each(|(it, pivot)| *it -= factor * pivot);
            }
        }
        let mut solved = vec![0.0; is_in.len()];
        for step in (0..n).rev() {
            let known: f64 =
                (step + 1..n).map(|later| system[step][later] * solved[chosen[later]]).sum();
            solved[chosen[step]] = (system[step][n] - known) / system[step][step];
        }
        solved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_solves(rows: &[([f64; 2], f64)], expected: [f64; 2]) {
        let rows: Vec<_> = rows.iter().map(|(row, value)| (row.to_vec(), *value)).collect();
        let solved = nnls(&rows);
        let is_close = solved.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-8);
        assert!(is_close, "{solved:?} is not {expected:?}");
    }

    /// The first two are examples of the documentation of `scipy.optimize.nnls`.
    #[test]
    fn solves_what_is_known() {
        assert_solves(&[([1.0, 0.0], 2.0), ([1.0, 0.0], 1.0), ([0.0, 1.0], 1.0)], [1.5, 1.0]);
        assert_solves(&[([1.0, 0.0], -1.0), ([1.0, 0.0], -1.0), ([0.0, 1.0], -1.0)], [0.0, 0.0]);
        // Free least squares is (2, -1); with the first column alone (1·1 + 1·2) / (1 + 1).
        assert_solves(&[([1.0, 1.0], 1.0), ([1.0, 0.0], 2.0)], [1.5, 0.0]);
    }

    /// A cost model of 8 terms, 6 of them there, is found again from exact values.
    #[test]
    fn finds_a_cost_model_again() {
        let truth = [1.0, 0.5, 0.0, 0.2, 0.3, 0.01, 0.05, 0.0];
        let mut rows = Vec::new();
        for b in [0.016, 0.128, 1.0, 4.0, 16.0] {
            for w in [0.25_f64, 0.5, 1.0, 2.0, 4.0] {
                let row = vec![1.0, b, b * b, w, w * b, w * b * b, w * w, w * w * b];
                let value = row.iter().zip(truth).map(|(a, x)| a * x).sum();
                rows.push((row, value));
            }
        }
        let solved = nnls(&rows);
        let is_close = solved.iter().zip(truth).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(is_close, "{solved:?}");
    }

    #[test]
    fn degenerate_problems_have_finite_answers() {
        assert!(nnls(&[]).is_empty());
        assert_solves(&[([0.0, 1.0], 3.0)], [0.0, 3.0]);
        let same = nnls(&[(vec![1.0, 1.0], 2.0), (vec![1.0, 1.0], 2.0)]);
        assert!((same.iter().sum::<f64>() - 2.0).abs() < 1e-8, "{same:?}");
    }
}
