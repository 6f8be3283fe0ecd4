//! Loops over states whose lanes are trajectories that take different steps: what `combine` does with one step for all, done with
//! one for each lane, in the same order of the same operations. Arrays are `[rows][width]`.

use super::real::Real;
use super::simd::dispatch::{WithSimd, dispatch};
use super::simd::{Simd, Vector, len_of};

/// Writes `h_l w_j` for each weight that is not zero, in rows of `width`, and returns which weights these are.
pub fn scale<T: Real>(out: &mut [T], h: &[f64], weights: impl Iterator<Item = f64>, used: &mut Vec<usize>) {
    used.clear();
    let mut rows = out.chunks_exact_mut(h.len());
    for (index, weight) in weights.enumerate().filter(|weight| weight.1 != 0.0) {
        let row = rows.next().expect("a row for each weight");
        row.iter_mut().zip(h).for_each(|(to, h)| *to = T::of(h * weight));
        used.push(index);
    }
}

/// `out = start + Σ c_j k_j`, or without a start the sum alone; c_j is a row of coefficients, and k_j the first numbers of the
/// `used[j]`-th of `terms`, which are `stride` apart.
pub fn combine_lanes<T: Real>(
    out: &mut [T],
    start: Option<&[T]>,
    width: usize,
    coefficients: &[T],
    (terms, stride): (&[T], usize),
    used: &[usize],
) {
    let len = out.len();
    assert!(start.is_none_or(|start| start.len() >= len) && coefficients.len() >= used.len() * width);
    assert!(used.iter().all(|&term| term * stride + len <= terms.len()) && len.is_multiple_of(width));
    match (used.is_empty(), start) {
        (true, Some(start)) => out.copy_from_slice(&start[..len]),
        (true, None) => out.fill(T::zero()),
        _ => dispatch(Combine { out, start, width, coefficients, terms, stride, used }),
    }
}

struct Combine<'a, T> {
    out: &'a mut [T],
    start: Option<&'a [T]>,
    width: usize,
    coefficients: &'a [T],
    terms: &'a [T],
    stride: usize,
    used: &'a [usize],
}

impl<T: Real> WithSimd for Combine<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let (len, width, register) = (self.out.len(), self.width, len_of::<S, T>());
        let whole = width / register * register;
        for row in (0..len).step_by(width) {
            for lane in (0..whole).step_by(register) {
                // SAFETY: within the lengths that were checked.
                unsafe { self.at::<S::Vector<T>>(row, lane) }
            }
            for lane in whole..width {
                // SAFETY: as above.
                unsafe { self.at::<S::One<T>>(row, lane) }
            }
        }
    }
}

impl<T: Real> Combine<'_, T> {
    #[inline(always)]
    unsafe fn term<V: Vector<T>>(&self, index: usize, row: usize, lane: usize) -> V {
        unsafe {
            let coefficient = V::load(self.coefficients.as_ptr().add(index * self.width + lane));
            let term = *self.used.get_unchecked(index) * self.stride + row + lane;
            coefficient.mul(V::load(self.terms.as_ptr().add(term)))
        }
    }

    #[inline(always)]
    unsafe fn at<V: Vector<T>>(&mut self, row: usize, lane: usize) {
        unsafe {
            let mut sum = self.term::<V>(0, row, lane);
            if let Some(start) = self.start {
                sum = V::load(start.as_ptr().add(row + lane)).add(sum);
            }
            let mut index = 1;
            while index < self.used.len() {
                sum = sum.add(self.term::<V>(index, row, lane));
                index += 1;
            }
            sum.store(self.out.as_mut_ptr().add(row + lane));
        }
    }
}

/// Which numbers of a scaled sum of squares are measured against what.
pub struct Scaled<'a, T> {
    pub numbers: &'a [T],
    /// Subtracted first, if given.
    pub less: Option<&'a [T]>,
    /// The scale is atol + rtol·max(|x|, |y|), with the tolerances of the row.
    pub x: &'a [T],
    pub y: &'a [T],
    /// The tolerances of each row.
    pub tolerances: &'a [(f64, f64)],
}

impl<T: Real> Scaled<'_, T> {
    /// The sum of squares of each lane.
    pub fn sums(self, sums: &mut [f64]) {
        sums.fill(0.0);
        dispatch(Squares { scaled: self, sums });
    }

    /// The numbers divided by their scales, for this number of lanes.
    #[inline(never)]
    pub fn ratios(self, width: usize, ratios: &mut [T]) {
        let Self { numbers, less, x, y, tolerances } = self;
        for (row, &(rtol, atol)) in tolerances.iter().enumerate() {
            for at in row * width..(row + 1) * width {
                let number = numbers[at].wide() - less.map_or(0.0, |less| less[at].wide());
                let scale = atol + rtol * x[at].abs().max(y[at].abs()).wide();
                ratios[at] = if number == 0.0 { T::zero() } else { T::of(number / scale) };
            }
        }
    }
}

struct Squares<'a, T> {
    scaled: Scaled<'a, T>,
    sums: &'a mut [f64],
}

impl<T: Real> WithSimd for Squares<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { scaled: Scaled { numbers, less, x, y, tolerances }, sums } = self;
        let width = sums.len();
        for (row, &(rtol, atol)) in tolerances.iter().enumerate() {
            let at = row * width..(row + 1) * width;
            let (numbers, x, y) = (&numbers[at.clone()], &x[at.clone()], &y[at.clone()]);
            for (lane, sum) in sums.iter_mut().enumerate() {
                let mut number = numbers[lane].wide();
                if let Some(less) = less {
                    number -= less[at.start + lane].wide();
                }
                let scale = atol + rtol * x[lane].abs().max(y[lane].abs()).wide();
                // Zero is zero in every scale, even that of a zero tolerance.
                let ratio = if number == 0.0 { 0.0 } else { number / scale };
                *sum += ratio * ratio;
            }
        }
    }
}

/// Whether each lane is finite.
#[inline(never)]
pub fn finite_lanes<T: Real>(numbers: &[T], finite: &mut [bool]) {
    finite.fill(true);
    for row in numbers.chunks_exact(finite.len()) {
        for (finite, number) in finite.iter_mut().zip(row) {
            *finite &= number.is_finite();
        }
    }
}

/// Takes over the lanes that are chosen.
#[inline(never)]
pub fn select_lanes<T: Copy>(chosen: &[bool], from: &[T], to: &mut [T]) {
    let width = chosen.len();
    for (from, to) in from.chunks_exact(width).zip(to.chunks_exact_mut(width)) {
        for ((to, from), chosen) in to.iter_mut().zip(from).zip(chosen) {
            *to = if *chosen { *from } else { *to };
        }
    }
}

/// Moves rows closer together, or further apart: the first `lanes` of each stay.
#[inline(never)]
pub fn restride<T: Copy>(numbers: &mut [T], rows: usize, (old, new): (usize, usize), lanes: usize) {
    for row in 0..rows {
        numbers.copy_within(row * old..row * old + lanes, row * new);
    }
}

/// Copies one lane onto another.
#[inline(never)]
pub fn copy_lane<T: Copy>(numbers: &mut [T], rows: usize, width: usize, from: usize, to: usize) {
    for row in 0..rows {
        numbers[row * width + to] = numbers[row * width + from];
    }
}
