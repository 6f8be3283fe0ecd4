//! How the numbers of a state lie in memory, and which of them count.

use std::ops::Range;

use crate::kernel::panels::{Panel, Panels};
use crate::kernel::real::Real;

/// How a flat state is arranged: panels of a batch, followed by plain numbers.
#[derive(Debug, Clone)]
pub struct Layout {
    pub panels: Panels,
    /// How many lanes one sum of a norm covers, for any width of the panels: if a batch is shared, its parts have
    /// panels of different widths.
    pub group: usize,
    /// The number of features of each panel array, in order.
    pub arrays: Vec<usize>,
    /// Plain numbers after them.
    pub plain: usize,
    /// Whether those count in a norm.
    pub plain_counts: bool,
}

impl Layout {
    pub fn batch<T: Real>(samples: usize, features: usize) -> Self {
        Self::of::<T>(Panels::new::<T>(samples), features)
    }

    /// One array in these panels.
    pub fn of<T: Real>(panels: Panels, features: usize) -> Self {
        Self { panels, group: T::LANES, arrays: vec![features], plain: 0, plain_counts: true }
    }

    /// How many numbers count in a norm, for this number of samples.
    pub fn counted(&self, samples: usize) -> usize {
        samples * self.arrays.iter().sum::<usize>() + if self.plain_counts { self.plain } else { 0 }
    }

    /// Numbers in a state, padding lanes included.
    pub fn size(&self) -> usize {
        self.panels.lanes * self.arrays.iter().sum::<usize>() + self.plain
    }

    /// The rows of a state that count in a norm, as ranges: those of each group of lanes of each array, and last the plain numbers
    /// if they do.
    pub fn panel_rows(&self) -> impl Iterator<Item = impl Iterator<Item = Range<usize>>> + '_ {
        let mut origin = 0;
        let arrays = self.arrays.iter().flat_map(move |&features| {
            let start = origin;
            origin += self.panels.lanes * features;
            self.panels.all().flat_map(move |panel: Panel| {
                let first = start + panel.range(features).start;
                (0..panel.samples).step_by(self.group).map(move |lane| {
                    let samples = (panel.samples - lane).min(self.group);
                    Strided { first: first + lane, width: panel.width, samples, rows: features }
                })
            })
        });
        let plain = Strided { first: self.size() - self.plain, width: 0, samples: self.plain, rows: 1 };
        arrays.chain((self.plain > 0 && self.plain_counts).then_some(plain)).map(
            |Strided { first, width, samples, rows }| {
                (0..rows).map(move |row| first + row * width..first + row * width + samples)
            },
        )
    }
}

/// Rows of the same length at equal distances.
struct Strided {
    first: usize,
    width: usize,
    samples: usize,
    rows: usize,
}
