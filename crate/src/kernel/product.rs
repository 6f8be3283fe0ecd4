//! Matrix products on blocks: Z = W·H, and with Wᵀ packed too dH = Wᵀ·dZ, and dW += dZ·Hᵀ.
//!
//! All three are one register tile: R rows of the left operand, broadcast, times V vector registers of the right one. R·V
//! accumulators and V + 1 operands fill the registers that there are and leave the multiply units busy. For one trajectory alone,
//! whose block is one lane wide, the registers go over the rows of W instead. Either way an output adds its products in the same
//! order, so that its bits are the same.

use std::ops::Range;

use super::real::Real;
use super::simd::{MOST, Register, Simd, Vector, dispatch, len_of};
use crate::error::Result;
use crate::memory::{Buffer, Ledger, Purpose};

/// In which order a packed matrix lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Groups of so many rows, each `[depth][rows of the group]`; the last one has the rows that are left.
    Groups(usize),
    /// `[depth][rows]`, the rows filled up with zeros to a multiple of that number.
    Columns(usize),
}

impl Order {
    /// For blocks of one lane, or of more.
    pub fn of<T: Real>(one_lane: bool) -> Self {
        let bits = dispatch::bits();
        match one_lane {
            true => Order::Columns(bits / 8 / size_of::<T>()),
            false => Order::Groups(group(bits)),
        }
    }
}

/// Rows that a tile takes together at least.
const fn group(bits: usize) -> usize {
    match bits {
        512 => 12,
        256 => 6,
        // There are 32 of them, where x86 has 16 of that width and WebAssembly is compiled for as many.
        _ if cfg!(target_arch = "aarch64") => 4,
        _ => 2,
    }
}

/// A matrix `[rows, depth]` in the order in which a tile reads it.
pub struct Packed<T> {
    rows: usize,
    depth: usize,
    order: Order,
    numbers: Buffer<T>,
}

impl<T: Real> Packed<T> {
    pub fn new(
        ledger: &Ledger,
        order: Order,
        rows: usize,
        depth: usize,
        entry: &dyn Fn(usize, usize) -> T,
    ) -> Result<Self> {
        let len = match order {
            Order::Groups(_) => rows * depth,
            Order::Columns(register) => rows.next_multiple_of(register) * depth,
        };
        let mut packed = Self { rows, depth, order, numbers: Buffer::zeroed(ledger, Purpose::Network, len)? };
        packed.fill(entry);
        Ok(packed)
    }

    /// Rows and depth.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.depth)
    }

    /// Sets all entries.
    pub fn fill(&mut self, entry: &dyn Fn(usize, usize) -> T) {
        let (rows, depth) = (self.rows, self.depth);
        for row in 0..rows {
            let (first, step) = match self.order {
                Order::Groups(size) => {
                    let begin = row / size * size;
                    (begin * depth + row - begin, size.min(rows - begin))
                }
                Order::Columns(register) => (row, rows.next_multiple_of(register)),
            };
            for k in 0..depth {
                self.numbers[first + k * step] = entry(row, k);
            }
        }
    }
}

/// `z[row] = start[row] + Σ_k w[row, k] h[k]` for a block: `h` is `[depth][width]`, `z` is `[rows][width]`; `start` is `[rows]`, or null.
/// A deep `h` is copied to `scratch` a strip at a time, so that the product reads it in order.
///
/// # Safety
/// `h` has depth·width readable numbers, `z` rows·width writable ones, `start` what it says, `scratch` [`strip_scratch`] of them.
#[inline(always)]
pub unsafe fn times<S: Simd, T: Real>(
    packed: &Packed<T>,
    start: *const T,
    width: usize,
    h: *const T,
    z: *mut T,
    scratch: *mut T,
) {
    let len = len_of::<S, T>();
    if let Order::Columns(register) = packed.order {
        assert!(register == len && width == 1, "packed for one lane");
        // SAFETY: as above.
        return unsafe { columns_times::<S, T>(packed, start, h, z) };
    }
    assert!(packed.order == Order::Groups(group(S::BITS)), "packed for other registers");
    let pieces = packed.depth.div_ceil(PIECE).max(1);
    let piece = packed.depth.div_ceil(pieces);
    for at in 0..pieces {
        let columns = at * piece..((at + 1) * piece).min(packed.depth);
        unsafe { Operands { packed, columns, start, width, h, z, scratch }.all_lanes::<S>() };
    }
}

/// The operands of a product.
struct Operands<'a, T> {
    packed: &'a Packed<T>,
    /// The columns of the matrix that are taken now. Those before them are in `z` already.
    columns: Range<usize>,
    start: *const T,
    width: usize,
    h: *const T,
    z: *mut T,
    scratch: *mut T,
}

impl<T: Real> Operands<'_, T> {
    /// All lanes, a strip at a time.
    ///
    /// # Safety
    /// As [`times`].
    #[inline(always)]
    unsafe fn all_lanes<S: Simd>(&self) {
        let len = len_of::<S, T>();
        let mut lane = 0;
        unsafe {
            match S::BITS {
                512 => {
                    while lane + 2 * len <= self.width {
                        self.strip::<S, 12, 1, 2>(lane);
                        lane += 2 * len;
                    }
                    if lane + len <= self.width {
                        self.strip::<S, 12, 2, 1>(lane);
                        lane += len;
                    }
                }
                256 => {
                    while lane + 2 * len <= self.width {
                        self.strip::<S, 6, 1, 2>(lane);
                        lane += 2 * len;
                    }
                    if lane + len <= self.width {
                        self.strip::<S, 6, 2, 1>(lane);
                        lane += len;
                    }
                }
                _ if group(128) == 4 => {
                    while lane + 4 * len <= self.width {
                        self.strip::<S, 4, 1, 4>(lane);
                        lane += 4 * len;
                    }
                    if lane + 2 * len <= self.width {
                        self.strip::<S, 4, 2, 2>(lane);
                        lane += 2 * len;
                    }
                    while lane + len <= self.width {
                        self.strip::<S, 4, 4, 1>(lane);
                        lane += len;
                    }
                }
                _ => {
                    while lane + 4 * len <= self.width {
                        self.strip::<S, 2, 1, 4>(lane);
                        lane += 4 * len;
                    }
                    if lane + 2 * len <= self.width {
                        self.strip::<S, 2, 2, 2>(lane);
                        lane += 2 * len;
                    }
                    while lane + len <= self.width {
                        self.strip::<S, 2, 4, 1>(lane);
                        lane += len;
                    }
                }
            }
            if lane < self.width {
                self.last_lanes::<S>(lane);
            }
        }
    }

    /// V registers of every row, from a lane on: tiles of N groups of G rows, of one group, and of the rows left.
    ///
    /// # Safety
    /// As [`times`].
    #[inline(always)]
    unsafe fn strip<S: Simd, const G: usize, const N: usize, const V: usize>(&self, lane: usize) {
        let (len, columns) = (len_of::<S, T>(), &self.columns);
        let strip = V * len;
        unsafe {
            let (mut h, mut stride) = (self.h.add(columns.start * self.width + lane), self.width);
            if self.packed.depth > DEEP && self.width > strip {
                for k in 0..columns.len() {
                    for v in 0..V {
                        let register = S::Vector::<T>::load(h.add(k * self.width + v * len));
                        register.store(self.scratch.add(k * strip + v * len));
                    }
                }
                (h, stride) = (self.scratch, strip);
            }
            self.rows_of::<S, G, N, V>(h, stride, lane, V * len);
        }
    }

    /// The lanes from one on, fewer than a register, as a register that is filled up.
    ///
    /// # Safety
    /// As [`times`].
    #[inline(always)]
    unsafe fn last_lanes<S: Simd>(&self, lane: usize) {
        let (len, count) = (len_of::<S, T>(), self.width - lane);
        unsafe {
            for (k, column) in self.columns.clone().enumerate() {
                let target = self.scratch.add(k * len);
                S::Vector::<T>::splat(T::zero()).store(target);
                std::ptr::copy_nonoverlapping(self.h.add(column * self.width + lane), target, count);
            }
            match S::BITS {
                512 => self.rows_of::<S, 12, 1, 1>(self.scratch, len, lane, count),
                256 => self.rows_of::<S, 6, 1, 1>(self.scratch, len, lane, count),
                _ if group(128) == 4 => self.rows_of::<S, 4, 1, 1>(self.scratch, len, lane, count),
                _ => self.rows_of::<S, 2, 1, 1>(self.scratch, len, lane, count),
            }
        }
    }

    /// All rows of so many lanes from one on, given the right operand's: tiles of N groups of G rows, of one group, and of the rows
    /// left.
    ///
    /// # Safety
    /// As [`times`]; rows of `h` are `stride` apart and V registers long.
    #[inline(always)]
    unsafe fn rows_of<S: Simd, const G: usize, const N: usize, const V: usize>(
        &self,
        h: *const T,
        stride: usize,
        lane: usize,
        lanes: usize,
    ) {
        let rows = self.packed.rows;
        let mut row = 0;
        unsafe {
            if N > 1 {
                while row + N * G <= rows {
                    self.tiles::<S, G, V>(N * G, row, h, stride, lane, lanes);
                    row += N * G;
                }
                if N > 2 && row + 2 * G <= rows {
                    self.tiles::<S, G, V>(2 * G, row, h, stride, lane, lanes);
                    row += 2 * G;
                }
            }
            while row + G <= rows {
                self.tile_at::<S, G, G, V>(row, h, stride, lane, lanes);
                row += G;
            }
            match rows - row {
                0 => {}
                1 => self.tile_at::<S, 1, 1, V>(row, h, stride, lane, lanes),
                2 if G > 2 => self.tile_at::<S, 2, 2, V>(row, h, stride, lane, lanes),
                3 if G > 3 => self.tile_at::<S, 3, 3, V>(row, h, stride, lane, lanes),
                4 if G > 4 => self.tile_at::<S, 4, 4, V>(row, h, stride, lane, lanes),
                5 if G > 5 => self.tile_at::<S, 5, 5, V>(row, h, stride, lane, lanes),
                6 if G > 6 => self.tile_at::<S, 6, 6, V>(row, h, stride, lane, lanes),
                7 if G > 7 => self.tile_at::<S, 7, 7, V>(row, h, stride, lane, lanes),
                8 if G > 8 => self.tile_at::<S, 8, 8, V>(row, h, stride, lane, lanes),
                9 if G > 9 => self.tile_at::<S, 9, 9, V>(row, h, stride, lane, lanes),
                10 if G > 10 => self.tile_at::<S, 10, 10, V>(row, h, stride, lane, lanes),
                11 if G > 11 => self.tile_at::<S, 11, 11, V>(row, h, stride, lane, lanes),
                _ => unreachable!("fewer rows than a group has"),
            }
        }
    }

    /// One tile of several groups: their product is what const generics cannot say.
    ///
    /// # Safety
    /// As [`rows_of`](Self::rows_of).
    #[inline(always)]
    unsafe fn tiles<S: Simd, const G: usize, const V: usize>(
        &self,
        rows: usize,
        first: usize,
        h: *const T,
        stride: usize,
        lane: usize,
        lanes: usize,
    ) {
        unsafe {
            match rows {
                24 => self.tile_at::<S, 24, G, V>(first, h, stride, lane, lanes),
                16 => self.tile_at::<S, 16, G, V>(first, h, stride, lane, lanes),
                12 => self.tile_at::<S, 12, G, V>(first, h, stride, lane, lanes),
                8 => self.tile_at::<S, 8, G, V>(first, h, stride, lane, lanes),
                4 => self.tile_at::<S, 4, G, V>(first, h, stride, lane, lanes),
                _ => unreachable!("two or four groups"),
            }
        }
    }

    /// One tile, of R rows from `first` on, which lie in groups of G.
    ///
    /// # Safety
    /// As [`rows_of`](Self::rows_of).
    #[inline(always)]
    unsafe fn tile_at<S: Simd, const R: usize, const G: usize, const V: usize>(
        &self,
        first: usize,
        h: *const T,
        stride: usize,
        lane: usize,
        lanes: usize,
    ) {
        let (len, depth, columns) = (len_of::<S, T>(), self.packed.depth, &self.columns);
        let mut sums = [[S::Vector::<T>::splat(T::zero()); V]; R];
        unsafe {
            let z = self.z.add(first * self.width + lane);
            if columns.start > 0 {
                for (r, sums) in sums.iter_mut().enumerate() {
                    let z = z.add(r * self.width);
                    if lanes < V * len {
                        sums[0] = load_part(z, lanes);
                    } else {
                        for (v, sum) in sums.iter_mut().enumerate() {
                            *sum = S::Vector::<T>::load(z.add(v * len));
                        }
                    }
                }
            } else if !self.start.is_null() {
                for (r, sums) in sums.iter_mut().enumerate() {
                    *sums = [S::Vector::<T>::splat(*self.start.add(first + r)); V];
                }
            }
            // Rows that are left, fewer than a group, lie closer together.
            let mut rows = [self.packed.numbers.as_ptr().add(first * depth + columns.start * G); G];
            for (g, row) in rows.iter_mut().enumerate() {
                *row = row.add(g);
            }
            tile::<S, T, R, G, V>(&mut sums, columns.len(), (rows, G * depth, G), h, stride);
            for (r, row) in sums.iter().enumerate() {
                let z = z.add(r * self.width);
                if lanes < V * len {
                    store_part(&row[..1], lanes, z);
                } else {
                    for (v, sum) in row.iter().enumerate() {
                        sum.store(z.add(v * len));
                    }
                }
            }
        }
    }
}

/// Columns of a deeper product lie too far apart to be read in place: they would share sets of the cache.
const DEEP: usize = 160;

/// The most columns of a matrix that are taken at a time: what they meet of a strip of `h` stays in the first-level cache.
const PIECE: usize = 256;

/// Numbers of scratch for [`times`] of that depth, on a block of that width.
pub fn strip_scratch<T: Real>(depth: usize, width: usize) -> usize {
    let register = dispatch::bits() / 8 / size_of::<T>();
    match depth > DEEP {
        true => depth.min(PIECE) * 4 * register,
        false if width.is_multiple_of(register) => 0,
        false => depth * register,
    }
}

/// `sums[r][v] += Σ_k rows[r mod G][(r / G)·group + k·step] · columns[k·pitch][v]`.
///
/// # Safety
/// `rows` have readable numbers there for all r and k, `columns` V registers at each of depth multiples of the pitch.
#[inline(always)]
unsafe fn tile<S: Simd, T: Real, const R: usize, const G: usize, const V: usize>(
    sums: &mut [[S::Vector<T>; V]; R],
    depth: usize,
    (rows, group, step): ([*const T; G], usize, usize),
    columns: *const T,
    pitch: usize,
) {
    let len = len_of::<S, T>();
    // What stays in registers while the loop goes on: sums behind a reference would be stored each time.
    let mut all = *sums;
    for k in 0..depth {
        unsafe {
            let mut column = [S::Vector::<T>::load(columns.add(k * pitch)); V];
            for (v, column) in column.iter_mut().enumerate().skip(1) {
                *column = S::Vector::<T>::load(columns.add(k * pitch + v * len));
            }
            for (r, sums) in all.iter_mut().enumerate() {
                let factor = S::Vector::<T>::splat(*rows[r % G].add(r / G * group + k * step));
                for v in 0..V {
                    sums[v] = factor.mul_add(column[v], sums[v]);
                }
            }
        }
    }
    *sums = all;
}

/// Stores the first numbers of registers.
///
/// # Safety
/// `to` has so many writable numbers.
#[inline(always)]
unsafe fn store_part<T: Real, V: Vector<T>>(registers: &[V], count: usize, to: *mut T) {
    let mut line = [T::zero(); 4 * MOST];
    unsafe {
        for (v, register) in registers.iter().enumerate() {
            register.store(line.as_mut_ptr().add(v * V::LEN));
        }
        std::ptr::copy_nonoverlapping(line.as_ptr(), to, count);
    }
}

/// [`times`] for one lane, the registers going over the rows.
///
/// # Safety
/// As [`times`].
#[inline(always)]
unsafe fn columns_times<S: Simd, T: Real>(packed: &Packed<T>, start: *const T, h: *const T, z: *mut T) {
    let (len, rows) = (len_of::<S, T>(), packed.rows);
    let mut row = 0;
    unsafe {
        while row + 8 * len <= rows {
            columns_tile::<S, T, 8>(packed, row, start, h, z);
            row += 8 * len;
        }
        if row + 4 * len <= rows {
            columns_tile::<S, T, 4>(packed, row, start, h, z);
            row += 4 * len;
        }
        if row + 2 * len <= rows {
            columns_tile::<S, T, 2>(packed, row, start, h, z);
            row += 2 * len;
        }
        while row < rows {
            columns_tile::<S, T, 1>(packed, row, start, h, z);
            row += len;
        }
    }
}

/// V registers of rows; the last one may have fewer than it holds.
///
/// # Safety
/// As [`times`].
#[inline(always)]
unsafe fn columns_tile<S: Simd, T: Real, const V: usize>(
    packed: &Packed<T>,
    row: usize,
    start: *const T,
    h: *const T,
    z: *mut T,
) {
    let len = len_of::<S, T>();
    let stride = packed.rows.next_multiple_of(len);
    let count = (packed.rows - row).min(V * len);
    let mut sums = [S::Vector::<T>::splat(T::zero()); V];
    unsafe {
        if !start.is_null() {
            let from = start.add(row);
            if count < len {
                sums[0] = load_part(from, count);
            } else {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = S::Vector::<T>::load(from.add(v * len));
                }
            }
        }
        let columns = packed.numbers.as_ptr().add(row);
        for k in 0..packed.depth {
            let factor = S::Vector::<T>::splat(*h.add(k));
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = S::Vector::<T>::load(columns.add(k * stride + v * len)).mul_add(factor, *sum);
            }
        }
        if count < V * len {
            store_part(&sums, count, z.add(row));
        } else {
            for (v, sum) in sums.iter().enumerate() {
                sum.store(z.add(row + v * len));
            }
        }
    }
}

/// `gradient[row, column] += Σ_lane dz[row, lane] h[column, lane]` over a block of that width.
///
/// `dz` is `[rows][width]`, `h` is `[columns][width]`; `gradient` is row-major with that stride; `scratch` has room for
/// [`outer_scratch`] numbers.
#[inline(always)]
pub fn add_outer<S: Simd, T: Real>(
    lanes: usize,
    (rows, dz): (usize, &[T]),
    (columns, h): (usize, &[T]),
    gradient: &mut [T],
    stride: usize,
    scratch: &mut [T],
) {
    assert!(dz.len() == rows * lanes && h.len() == columns * lanes && scratch.len() >= outer_scratch::<T>(lanes));
    assert!(rows == 0 || columns == 0 || gradient.len() >= (rows - 1) * stride + columns);
    let len = len_of::<S, T>();
    if lanes == 1 {
        // SAFETY: the lengths are asserted above.
        return unsafe { add_one_lane::<S, T>(dz, h, gradient, stride) };
    }
    // Operations a lane: of inner products with their sums over a register, and of the tiles with the transposition.
    let (inner, tiled) = (2 * rows * columns / len, columns.div_ceil(len) * (rows + 6));
    if inner < tiled && lanes.is_multiple_of(len) {
        let (mut left, mut right) =
            (Side { rows, numbers: dz, step: stride }, Side { rows: columns, numbers: h, step: 1 });
        if columns > rows {
            std::mem::swap(&mut left, &mut right);
        }
        // SAFETY: the lengths are asserted above.
        return unsafe {
            match len {
                16 => add_inner::<S, T, 8>(lanes, left, right, gradient.as_mut_ptr()),
                _ => add_inner::<S, T, 4>(lanes, left, right, gradient.as_mut_ptr()),
            }
        };
    }
    let mut first = 0;
    while first < columns {
        let width = (columns - first).min(strip_registers(S::BITS) * len);
        let registers = width.div_ceil(len).next_power_of_two();
        for lane in (0..lanes).step_by(PIECE_LINES * T::LANES) {
            let piece = lane..(lane + PIECE_LINES * T::LANES).min(lanes);
            let outer = OuterStrip { lanes, piece, rows, dz, first, width, stride };
            // SAFETY: the lengths are asserted above, and the scratch holds as many registers for every lane.
            unsafe {
                outer.transpose::<S>(registers, (columns, h), scratch);
                match (S::BITS, registers) {
                    (512, 4) => outer.all::<S, 6, 4>(gradient, scratch),
                    (512, 2) => outer.all::<S, 8, 2>(gradient, scratch),
                    (256, 2) => outer.all::<S, 6, 2>(gradient, scratch),
                    (128, 4) if group(128) == 4 => outer.all::<S, 4, 4>(gradient, scratch),
                    (128, 4) => outer.all::<S, 2, 4>(gradient, scratch),
                    (128, 2) => outer.all::<S, 4, 2>(gradient, scratch),
                    _ => outer.all::<S, 8, 1>(gradient, scratch),
                }
            }
        }
        first += width;
    }
}

/// One side of an outer product: rows of lanes, and how far apart entries of the gradient are from row to row.
#[derive(Clone, Copy)]
struct Side<'a, T> {
    rows: usize,
    numbers: &'a [T],
    step: usize,
}

/// An outer product with few rows on one side, as inner products: R rows of the left side and two of the right at a time, each sum
/// in a register whose lanes are added up at the end.
///
/// # Safety
/// Both sides have rows of so many lanes, whole registers; the gradient has the entries that their steps lead to.
#[inline(always)]
unsafe fn add_inner<S: Simd, T: Real, const R: usize>(
    lanes: usize,
    left: Side<'_, T>,
    right: Side<'_, T>,
    gradient: *mut T,
) {
    let len = len_of::<S, T>();
    for j in (0..right.rows).step_by(2) {
        for i in (0..left.rows).step_by(R) {
            // Rows beyond the last are the last again, whose sums nobody takes.
            let mut a = [left.numbers.as_ptr(); R];
            let mut b = [right.numbers.as_ptr(); 2];
            let mut sums = [[S::Vector::<T>::splat(T::zero()); R]; 2];
            let mut line = [T::zero(); 2 * MOST];
            unsafe {
                for (r, a) in a.iter_mut().enumerate() {
                    *a = a.add((i + r).min(left.rows - 1) * lanes);
                }
                for (c, b) in b.iter_mut().enumerate() {
                    *b = b.add((j + c).min(right.rows - 1) * lanes);
                }
                for at in (0..lanes).step_by(len) {
                    let (first, second) = (S::Vector::<T>::load(b[0].add(at)), S::Vector::<T>::load(b[1].add(at)));
                    for r in 0..R {
                        let factor = S::Vector::<T>::load(a[r].add(at));
                        sums[0][r] = factor.mul_add(first, sums[0][r]);
                        sums[1][r] = factor.mul_add(second, sums[1][r]);
                    }
                }
                for group in (0..2 * R).step_by(len) {
                    let mut square = [S::Vector::<T>::splat(T::zero()); MOST];
                    for (k, row) in square[..len].iter_mut().enumerate() {
                        *row = sums[(group + k) / R][(group + k) % R];
                    }
                    S::Vector::<T>::transpose(&mut square[..len]);
                    let mut total = square[0];
                    for row in &square[1..len] {
                        total = total.add(*row);
                    }
                    total.store(line.as_mut_ptr().add(group));
                }
                for c in 0..(right.rows - j).min(2) {
                    for r in 0..(left.rows - i).min(R) {
                        let entry = gradient.add((i + r) * left.step + (j + c) * right.step);
                        *entry = *entry + line[c * R + r];
                    }
                }
            }
        }
    }
}

/// The most cache lines of lanes that an outer product takes at a time: enough to hide that each time the gradient is read and written.
const PIECE_LINES: usize = 4;

/// The most registers of columns that an outer product takes together.
const fn strip_registers(bits: usize) -> usize {
    if bits == 256 { 2 } else { 4 }
}

/// Numbers of scratch for [`add_outer`] on a block of so many lanes.
pub fn outer_scratch<T: Real>(lanes: usize) -> usize {
    let bits = dispatch::bits();
    if lanes == 1 {
        return 0;
    }
    // Whole registers are transposed.
    lanes.min(PIECE_LINES * T::LANES).next_multiple_of(bits / 8 / size_of::<T>()) * strip_registers(bits) * bits
        / 8
        / size_of::<T>()
}

/// [`add_outer`] for one lane: `gradient[row, column] += dz[row] h[column]`, rounded as a sum over lanes is.
///
/// # Safety
/// As [`add_outer`] asserts.
#[inline(always)]
unsafe fn add_one_lane<S: Simd, T: Real>(dz: &[T], h: &[T], gradient: &mut [T], stride: usize) {
    let (columns, len) = (h.len(), len_of::<S, T>());
    let mut first = 0;
    unsafe {
        while first + 4 * len <= columns {
            add_one_lane_at::<T, S::Vector<T>, 4>(dz, h, gradient, stride, first);
            first += 4 * len;
        }
        while first + len <= columns {
            add_one_lane_at::<T, S::Vector<T>, 1>(dz, h, gradient, stride, first);
            first += len;
        }
        while first + 2 <= columns {
            add_one_lane_at::<T, S::One<T>, 2>(dz, h, gradient, stride, first);
            first += 2;
        }
        if first < columns {
            add_one_lane_at::<T, S::One<T>, 1>(dz, h, gradient, stride, first);
        }
    }
}

/// Of all rows, N vectors of columns from one on, which stay in registers.
///
/// # Safety
/// As [`add_outer`] asserts, of which there are so many columns.
#[inline(always)]
unsafe fn add_one_lane_at<T: Real, V: Vector<T>, const N: usize>(
    dz: &[T],
    h: &[T],
    gradient: &mut [T],
    stride: usize,
    first: usize,
) {
    let zero = V::splat(T::zero());
    let mut right = [zero; N];
    unsafe {
        for (n, right) in right.iter_mut().enumerate() {
            *right = V::load(h.as_ptr().add(first + n * V::LEN));
        }
        let mut to = gradient.as_mut_ptr().add(first);
        for &dz in dz {
            let left = V::splat(dz);
            for (n, right) in right.iter().enumerate() {
                let at = to.add(n * V::LEN);
                V::load(at).add(left.mul_add(*right, zero)).store(at);
            }
            to = to.wrapping_add(stride);
        }
    }
}

/// The outer product of all rows with one strip of columns.
struct OuterStrip<'a, T> {
    lanes: usize,
    /// The lanes that are taken now.
    piece: Range<usize>,
    rows: usize,
    dz: &'a [T],
    /// The strip's first column, and how many there are.
    first: usize,
    width: usize,
    stride: usize,
}

impl<T: Real> OuterStrip<'_, T> {
    /// The strip's columns of the piece as `[lane][registers]`, zero where there are fewer features.
    ///
    /// # Safety
    /// As [`add_outer`] asserts; `transposed` holds so many registers for every lane of the piece, filled up to a multiple of a register.
    #[inline(always)]
    unsafe fn transpose<S: Simd>(&self, registers: usize, (features, h): (usize, &[T]), transposed: &mut [T]) {
        let (len, width, first) = (len_of::<S, T>(), self.piece.len(), self.first);
        debug_assert!(transposed.len() >= width.next_multiple_of(len) * registers * len);
        for v in 0..registers {
            let present = features.saturating_sub(first + v * len).min(len);
            for lane in (0..width).step_by(len) {
                let count = (width - lane).min(len);
                let mut square = [S::Vector::<T>::splat(T::zero()); MOST];
                unsafe {
                    let from = h.as_ptr().add((first + v * len) * self.lanes + self.piece.start + lane);
                    let to = transposed.as_mut_ptr().add((lane * registers + v) * len);
                    // Loops of a length that the compiler knows, so that a square stays in registers.
                    if present == len && count == len {
                        for (i, row) in square[..len].iter_mut().enumerate() {
                            *row = S::Vector::<T>::load(from.add(i * self.lanes));
                        }
                        S::Vector::<T>::transpose(&mut square[..len]);
                        for (i, row) in square[..len].iter().enumerate() {
                            row.store(to.add(i * registers * len));
                        }
                        continue;
                    }
                    for (i, row) in square[..len].iter_mut().enumerate() {
                        if i < present {
                            *row = load_part(from.add(i * self.lanes), count);
                        }
                    }
                    S::Vector::<T>::transpose(&mut square[..len]);
                    for (i, row) in square[..len].iter().enumerate() {
                        if i < count {
                            row.store(to.add(i * registers * len));
                        }
                    }
                }
            }
        }
    }

    /// Tiles of R rows, and of fewer for those left.
    ///
    /// # Safety
    /// As [`add_outer`] asserts; `transposed` holds V registers for every lane of the block.
    #[inline(always)]
    unsafe fn all<S: Simd, const R: usize, const V: usize>(&self, gradient: &mut [T], transposed: &[T]) {
        unsafe {
            let mut done = self.rows_of::<S, R, V>(0, gradient, transposed);
            if R > 4 {
                done = self.rows_of::<S, 4, V>(done, gradient, transposed);
            }
            if R > 2 {
                done = self.rows_of::<S, 2, V>(done, gradient, transposed);
            }
            self.rows_of::<S, 1, V>(done, gradient, transposed);
        }
    }

    /// Tiles of R rows from row `row` on, as many as there are whole; returns the first row not done.
    ///
    /// # Safety
    /// As [`all`](Self::all).
    #[inline(always)]
    unsafe fn rows_of<S: Simd, const R: usize, const V: usize>(
        &self,
        mut row: usize,
        gradient: &mut [T],
        transposed: &[T],
    ) -> usize {
        let len = len_of::<S, T>();
        while row + R <= self.rows {
            let mut sums = [[S::Vector::<T>::splat(T::zero()); V]; R];
            unsafe {
                let mut rows = [self.dz.as_ptr().add(row * self.lanes); R];
                for (r, row) in rows.iter_mut().enumerate() {
                    *row = row.add(r * self.lanes + self.piece.start);
                }
                tile::<S, T, R, R, V>(&mut sums, self.piece.len(), (rows, 0, 1), transposed.as_ptr(), V * len);
            }
            for (r, sums) in sums.iter().enumerate() {
                let start = (row + r) * self.stride + self.first;
                let target = &mut gradient[start..start + self.width];
                let to = target.as_mut_ptr();
                if self.width == V * len {
                    for (v, sum) in sums.iter().enumerate() {
                        // SAFETY: as many numbers as the registers have.
                        unsafe { S::Vector::<T>::load(to.add(v * len)).add(*sum).store(to.add(v * len)) }
                    }
                } else {
                    let mut line = [T::zero(); 4 * MOST];
                    // SAFETY: as many numbers as the strip has columns.
                    unsafe { store_part(sums, self.width, line.as_mut_ptr()) };
                    for (target, sum) in target.iter_mut().zip(line) {
                        *target = *target + sum;
                    }
                }
            }
            row += R;
        }
        row
    }
}

/// A register whose first numbers are those, and whose others are zero.
///
/// # Safety
/// `from` has so many readable numbers.
#[inline(always)]
unsafe fn load_part<T: Real, V: Vector<T>>(from: *const T, count: usize) -> V {
    let mut line = [T::zero(); MOST];
    unsafe {
        std::ptr::copy_nonoverlapping(from, line.as_mut_ptr(), count);
        V::load(line.as_ptr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::simd::dispatch::WithSimd;
    use proptest::prelude::*;

    fn numbers<T: Real>(len: usize, seed: u64) -> Vec<T> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                T::of((state >> 33) as f64 / f64::from(1u32 << 30) - 1.0)
            })
            .collect()
    }

    /// Products of one shape, with the registers of a machine.
    struct Check {
        rows: usize,
        depth: usize,
        width: usize,
        seed: u64,
    }

    impl WithSimd for Check {
        type Output = ();
        fn run<S: Simd>(self) {
            let Check { rows, depth, width, seed } = self;
            check::<S, f32>(rows, depth, width, seed);
            check::<S, f64>(rows, depth, width, seed);
        }
    }

    fn check<S: Simd, T: Real>(rows: usize, depth: usize, width: usize, seed: u64) {
        let ledger = Ledger::new();
        let w: Vec<T> = numbers(rows * depth, seed);
        let start: Vec<T> = numbers(rows, seed + 1);
        let h: Vec<T> = numbers(depth * width, seed + 2);
        let dz: Vec<T> = numbers(rows * width, seed + 3);
        let order = Order::of::<T>(width == 1);
        let packed = Packed::new(&ledger, order, rows, depth, &|row, k| w[row * depth + k]).unwrap();
        let tolerance = (depth.max(width) as f64) * T::epsilon().wide();
        let close = |left: T, right: f64| (left.wide() - right).abs() <= tolerance;

        let mut z = vec![T::nan(); rows * width];
        let mut scratch = vec![T::nan(); strip_scratch::<T>(depth, width)];
        // SAFETY: the arrays are as long as it says.
        unsafe { times::<S, T>(&packed, start.as_ptr(), width, h.as_ptr(), z.as_mut_ptr(), scratch.as_mut_ptr()) };
        for (row, lane) in (0..rows).flat_map(|row| (0..width).map(move |lane| (row, lane))) {
            let naive: f64 = (0..depth).map(|k| w[row * depth + k].wide() * h[k * width + lane].wide()).sum();
            assert!(close(z[row * width + lane], naive + start[row].wide()));
        }

        let stride = depth + 1;
        let mut gradient = vec![T::one(); rows * stride];
        let mut scratch = vec![T::nan(); outer_scratch::<T>(width)];
        add_outer::<S, T>(width, (rows, &dz), (depth, &h), &mut gradient, stride, &mut scratch);
        for row in 0..rows {
            assert_eq!(gradient[row * stride + depth], T::one(), "beyond the columns nothing is written");
            for k in 0..depth {
                let sum: f64 = (0..width).map(|lane| dz[row * width + lane].wide() * h[k * width + lane].wide()).sum();
                assert!(close(gradient[row * stride + k], 1.0 + sum));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn products_match_naive_ones(rows in 1..40_usize, deep in 1..50_usize, width in 1..140_usize, seed: u32) {
            // Some of them deeper than what is read in place.
            let depth = if deep > 40 { deep * 8 } else { deep };
            for width in [width, 1] {
                dispatch::dispatch(Check { rows, depth, width, seed: seed.into() });
            }
        }
    }
}
