//! How a batch lies in memory: panels `[batch / width][features][width]`, the batch being the SIMD lane.
//!
//! The width is what a program chooses for its blocks, so that a state is read and written where it lies. Row-major arrays
//! `[batch, features]` exist only at the public boundary. The last panel is narrower where the batch does not fill it, and its
//! padding lanes repeat the last sample; they carry no cotangent and no weight in norms.

use std::ops::Range;

use ndarray::ArrayView2;

use super::real::{Real, vector_len};

/// The panels of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panels {
    pub samples: usize,
    /// Samples and padding lanes together.
    pub lanes: usize,
    /// Lanes of a full panel.
    full: usize,
    count: usize,
}

/// One panel: its first lane, its number of lanes, and how many of them are samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panel {
    pub first: usize,
    pub width: usize,
    pub samples: usize,
}

impl Panel {
    /// Where the panel's numbers lie in an array with that many features.
    pub fn range(&self, features: usize) -> std::ops::Range<usize> {
        let start = self.first * features;
        start..start + self.width * features
    }
}

impl Panels {
    /// Panels of a cache line a row.
    pub fn new<T: Real>(samples: usize) -> Self {
        Self::wide::<T>(samples, T::LANES)
    }

    /// Panels of that width, a multiple of a register or one lane; the last one as narrow as its samples allow.
    pub fn wide<T: Real>(samples: usize, width: usize) -> Self {
        let rest = samples % width;
        let lanes = samples - rest + rest.next_multiple_of(vector_len::<T>());
        Self { samples, lanes, full: width, count: lanes.div_ceil(width) }
    }

    /// Lanes of a full panel.
    pub fn full(&self) -> usize {
        self.full
    }

    /// The width of full panels, zero if there is none, and that of a last, narrower one.
    pub fn widths(&self) -> (usize, usize) {
        (if self.lanes >= self.full { self.full } else { 0 }, self.lanes % self.full)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn all(&self) -> impl Iterator<Item = Panel> + use<> {
        self.range(0..self.count)
    }

    /// Some of them.
    pub fn range(&self, panels: Range<usize>) -> impl Iterator<Item = Panel> + use<> {
        let all = *self;
        panels.map(move |index| all.panel(index))
    }

    pub fn panel(&self, index: usize) -> Panel {
        let first = index * self.full;
        Panel { first, width: (self.lanes - first).min(self.full), samples: (self.samples - first).min(self.full) }
    }

    /// Copies rows `[samples, features]` into panels; padding lanes repeat the last sample, or are zero.
    pub fn pack<T: Real>(&self, rows: ArrayView2<'_, T>, panels: &mut [T], padding: Padding) {
        let features = rows.ncols();
        let rows = rows.as_standard_layout();
        let given = rows.as_slice().expect("rows one behind the other");
        for panel in self.all() {
            let numbers = &mut panels[panel.range(features)];
            for (feature, row) in numbers.chunks_exact_mut(panel.width).enumerate() {
                let (own, others) = row.split_at_mut(panel.samples);
                let column = given[panel.first * features + feature..].iter().step_by(features);
                own.iter_mut().zip(column).for_each(|(number, &given)| *number = given);
                others.fill(match padding {
                    Padding::Zero => T::zero(),
                    Padding::Repeat => own[panel.samples - 1],
                });
            }
        }
    }

    /// Copies panels into rows `[samples, features]`.
    pub fn unpack<T: Real>(&self, panels: &[T], rows: &mut [T]) {
        let features = rows.len() / self.samples;
        for panel in self.all() {
            let numbers = &panels[panel.range(features)];
            for (feature, row) in numbers.chunks_exact(panel.width).enumerate() {
                let column = rows[panel.first * features + feature..].iter_mut().step_by(features);
                column.zip(&row[..panel.samples]).for_each(|(to, &number)| *to = number);
            }
        }
    }
}

/// What fills the lanes that hold no sample.
#[derive(Clone, Copy)]
pub enum Padding {
    /// States: so that padding lanes compute what a sample computes, and nothing that could overflow.
    Repeat,
    /// Cotangents.
    Zero,
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn rows_survive_the_round_trip() {
        for samples in [1, 3, 4, 5, 8, 15, 16, 17, 31, 100] {
            let rows = Array2::from_shape_fn((samples, 3), |(sample, feature)| (sample * 10 + feature) as f32);
            let panels = Panels::new::<f32>(samples);
            let mut packed = vec![f32::NAN; panels.lanes * 3];
            panels.pack(rows.view(), &mut packed, Padding::Repeat);
            assert!(packed.iter().all(|number| number.is_finite()));
            let mut back = vec![f32::NAN; samples * 3];
            panels.unpack(&packed, &mut back);
            assert_eq!(rows.as_slice(), Some(&back[..]));
            assert_eq!(panels.all().map(|panel| panel.samples).sum::<usize>(), samples);
        }
    }

    #[test]
    fn a_batch_of_one_is_one_register_wide() {
        assert_eq!(Panels::new::<f32>(1).lanes, vector_len::<f32>());
        assert_eq!(Panels::new::<f64>(1).lanes, vector_len::<f64>());
        assert_eq!(Panels::new::<f32>(17).lanes, 16 + vector_len::<f32>());
    }
}
