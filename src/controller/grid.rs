//! The settings that a search tells apart: a quarter octave of batch rows, half an octave of
//! workers, and the article's own.

use super::{Bounds, Setting};

/// Steps of an octave of batch rows.
pub(super) const STEPS_AN_OCTAVE: usize = 4;

/// Invariant: both axes rise, and hold at least one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    batches: Vec<u64>,
    workers: Vec<u32>,
}

/// A place on the grid: numbers of the batch and of the workers on their axes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Cell {
    /// Along the batch rows.
    pub batch: usize,
    /// Along the workers.
    pub workers: usize,
}

impl Grid {
    /// The grid within bounds. The bounds are on it, even where no step is, and so is the article's
    /// setting: a controller was once held to 1,024 x 6 in its place, from which a cliff parted it.
    pub fn new(bounds: &Bounds) -> Grid {
        let (low, high) = bounds.batch_rows();
        let article = Setting::ARTICLE;
        // Places 2 % apart tell nothing: its batch stands for the step next to it.
        let article_batch = |step: u64| match step {
            1_024 if low < article.batch_rows => article.batch_rows,
            _ => step,
        };
        let steps = (0..).map(|it| article_batch(step_of_batch(it))).take_while(|it| *it < high);
        let mut batches: Vec<u64> = steps.filter(|it| low < *it).chain([low, high]).collect();
        batches.sort_unstable();
        batches.dedup();

        let (low, high) = bounds.workers();
        let octaves = (0..31).flat_map(|it| [1_u32 << it, (1 << it) + (1 << it) / 2]);
        let steps = octaves.chain([article.workers]).filter(|it| low < *it && *it < high);
        let mut workers: Vec<u32> = steps.chain([low, high]).collect();
        workers.sort_unstable();
        workers.dedup();
        Grid { batches, workers }
    }

    /// Batch rows, rising.
    pub fn batches(&self) -> &[u64] {
        &self.batches
    }

    /// Workers, rising.
    pub fn workers(&self) -> &[u32] {
        &self.workers
    }

    /// All places, batch by batch.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + use<> {
        let count = self.workers.len();
        (0..self.batches.len())
            .flat_map(move |batch| (0..count).map(move |workers| Cell { batch, workers }))
    }

    /// The setting at a place.
    pub fn setting(&self, cell: Cell) -> Setting {
        Setting { batch_rows: self.batches[cell.batch], workers: self.workers[cell.workers] }
    }

    /// The place nearest to a setting, by octaves.
    pub fn nearest(&self, setting: Setting) -> Cell {
        let batches: Vec<f64> = self.batches.iter().map(|it| *it as f64).collect();
        let workers: Vec<f64> = self.workers.iter().map(|it| f64::from(*it)).collect();
        Cell {
            batch: nearest(&batches, setting.batch_rows as f64),
            workers: nearest(&workers, f64::from(setting.workers)),
        }
    }

    /// The place some steps away, if the grid has it.
    pub fn step(&self, cell: Cell, batch: isize, workers: isize) -> Option<Cell> {
        let batch = cell.batch.checked_add_signed(batch).filter(|it| *it < self.batches.len())?;
        let workers = cell.workers.checked_add_signed(workers);
        Some(Cell { batch, workers: workers.filter(|it| *it < self.workers.len())? })
    }

    /// The place some steps away, as far as the grid goes.
    pub fn offset(&self, cell: Cell, batch: isize, workers: isize) -> Cell {
        Cell {
            batch: cell.batch.saturating_add_signed(batch).min(self.batches.len() - 1),
            workers: cell.workers.saturating_add_signed(workers).min(self.workers.len() - 1),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, positive")]
fn step_of_batch(step: u32) -> u64 {
    (f64::from(step) / STEPS_AN_OCTAVE as f64).exp2().round() as u64
}

fn nearest(axis: &[f64], value: f64) -> usize {
    let distance = |it: &usize| (axis[*it] / value).ln().abs();
    (0..axis.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).expect("an axis has places")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wide_grid_is_that_of_the_research_and_the_articles_setting() {
        let grid = Grid::new(&Bounds::WIDE);
        assert_eq!(grid.batches()[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(grid.batches()[grid.batches().len() - 2..], [55_109, 65_535]);
        assert_eq!(grid.workers(), [1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64]);
    }

    #[test]
    fn the_articles_setting_is_on_the_grid_where_the_bounds_hold_it() {
        let nearest = |batch_rows, workers| {
            let grid = Grid::new(&Bounds::new(batch_rows, workers).unwrap());
            grid.setting(grid.nearest(Setting::ARTICLE))
        };
        for (batch_rows, workers) in
            [((1, 65_535), (1, 64)), ((999, 1_001), (4, 6)), ((1_000, 9_000), (5, 5))]
        {
            assert_eq!(nearest(batch_rows, workers), Setting::ARTICLE);
        }
        let beyond = Grid::new(&Bounds::new((1_010, 5_000), (1, 4)).unwrap());
        assert_eq!(beyond.batches()[..2], [1_010, 1_024]);
        assert_eq!(beyond.workers(), [1, 2, 3, 4]);
    }

    #[test]
    fn bounds_are_on_the_grid() {
        let grid = Grid::new(&Bounds::new((100, 1_000), (5, 5)).unwrap());
        assert_eq!((grid.batches()[0], grid.batches().last()), (100, Some(&1_000)));
        assert_eq!(grid.workers(), [5]);
        let one = Grid::new(&Bounds::new((7, 7), (1, 1)).unwrap());
        assert_eq!(one.cells().count(), 1);
    }

    #[test]
    fn places_near_a_setting_and_beyond_the_edge() {
        let grid = Grid::new(&Bounds::WIDE);
        let cell = grid.nearest(Setting { batch_rows: 1_000, workers: 10 });
        assert_eq!(grid.setting(cell), Setting { batch_rows: 1_000, workers: 12 });
        let edge = grid.offset(cell, -1_000, 1_000);
        assert_eq!(grid.setting(edge), Setting { batch_rows: 1, workers: 64 });
        assert_eq!(grid.offset(edge, 0, 0), edge);
        assert_eq!(grid.step(edge, 0, 1), None);
        assert_eq!(grid.step(edge, 0, -1), Some(grid.offset(edge, 0, -1)));
    }
}
