//! Rows of the register file.

/// Rows of the file, given out and taken back.
#[derive(Default)]
pub(super) struct RowAllocator {
    /// Free ranges, in order: where they begin and end.
    free: Vec<(usize, usize)>,
    pub len: usize,
}

impl RowAllocator {
    pub fn allocate(&mut self, rows: usize) -> usize {
        if let Some(index) = self.free.iter().position(|&(from, to)| to - from >= rows) {
            let (from, to) = self.free[index];
            if to - from == rows {
                self.free.remove(index);
            } else {
                self.free[index].0 += rows;
            }
            return from;
        }
        // The last free range may reach the end of the file.
        let from = match self.free.last() {
            Some(&(from, to)) if to == self.len => {
                self.free.pop();
                from
            }
            _ => self.len,
        };
        self.len = from + rows;
        from
    }

    pub fn free(&mut self, from: usize, rows: usize) {
        let index = self.free.partition_point(|range| range.0 < from);
        self.free.insert(index, (from, from + rows));
        if index + 1 < self.free.len() && self.free[index].1 == self.free[index + 1].0 {
            self.free[index].1 = self.free.remove(index + 1).1;
        }
        if index > 0 && self.free[index - 1].1 == self.free[index].0 {
            self.free[index - 1].1 = self.free.remove(index).1;
        }
    }
}
