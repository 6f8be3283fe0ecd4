//! Random programs, and a plain interpreter of programs to compare with.

pub mod interpreter;

use ndarray::Array2;
use symplectic_adjoint::program::{Builder, Program, Value, concat};

use crate::numbers::numbers;

pub fn array(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    Array2::from_shape_vec((rows, columns), numbers(rows * columns, seed)).unwrap()
}

/// What decides a program: as long as there are numbers, operations are added.
pub struct Genes<'a> {
    numbers: &'a [u32],
    at: usize,
}

impl<'a> Genes<'a> {
    pub fn new(numbers: &'a [u32]) -> Self {
        Self { numbers, at: 0 }
    }

    fn left(&self) -> bool {
        self.at < self.numbers.len()
    }

    pub fn below(&mut self, end: usize) -> usize {
        let number = self.numbers.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        // The high bits are as random as the low ones, and a smaller number is a smaller choice.
        ((u64::from(number) * end as u64) >> 32) as usize
    }
}

/// A value, with a bound of its magnitude.
#[derive(Clone)]
struct Bounded {
    value: Value,
    most: f64,
}

struct Generator<'g, 'a> {
    genes: &'g mut Genes<'a>,
    model: Builder,
    state: usize,
    pool: Vec<Bounded>,
}

/// The most rows of a value.
const ROWS: usize = 24;
/// The greatest magnitude of a value that goes on.
const MOST: f64 = 3.0;

/// A program of every operation, whose values are smooth and a few units large, but for choices.
///
/// If `square`, it has as many outputs as its state has features.
pub fn program(genes: &mut Genes, square: bool) -> Program {
    let state = 1 + genes.below(5);
    let model = Builder::new(state);
    let mut generator = Generator { genes, model, state, pool: vec![] };
    generator.leaf(0);
    while generator.genes.left() {
        generator.operation();
    }
    generator.finish(square)
}

impl Generator<'_, '_> {
    fn add(&mut self, value: Value, most: f64) {
        let value = if most > MOST { value.tanh() * 1.5 } else { value };
        self.pool.push(Bounded { value, most: if most > MOST { 1.5 } else { most } });
    }

    fn any(&mut self) -> Bounded {
        let count = self.pool.len();
        // Later ones more often.
        let index = self.genes.below(count).max(self.genes.below(count));
        self.pool[index].clone()
    }

    /// One that matches so many rows, or broadcasts to them.
    fn compatible(&mut self, rows: usize) -> Bounded {
        let fits = |one: &&Bounded| one.value.rows() == rows || one.value.rows() == 1 || rows == 1;
        let fitting: Vec<Bounded> = self.pool.iter().filter(fits).cloned().collect();
        let count = fitting.len();
        match count {
            0 => Bounded { value: self.model.constant(0.75), most: 0.75 },
            _ => fitting[self.genes.below(count).max(self.genes.below(count))].clone(),
        }
    }

    fn leaf(&mut self, kind: usize) {
        match kind {
            0 => {
                let from = self.genes.below(self.state);
                let rows = 1 + self.genes.below(self.state - from);
                // It moves while it is integrated.
                self.add(self.model.state(from..from + rows), 1.5);
            }
            1 => {
                let rows = 1 + self.genes.below(4);
                let value = self.model.argument(rows);
                self.add(value, 1.0);
            }
            2 => {
                let rows = 1 + self.genes.below(6);
                let value = self.model.parameter(rows);
                self.add(value, 1.0);
            }
            3 => self.add(self.model.time(), 1.0),
            _ => {
                let number = [0.0, 1.0, -1.0, 0.5, 2.0, -0.25, 0.3, -0.0, 1.7][self.genes.below(9)];
                self.add(self.model.constant(number), 2.0);
            }
        }
    }

    /// A uniform matrix of so many numbers.
    fn matrix(&mut self, numbers: usize) -> Value {
        let fits = |one: &&Bounded| one.value.rows() == numbers && one.value.is_uniform();
        let fitting: Vec<Bounded> = self.pool.iter().filter(fits).cloned().collect();
        match self.genes.below(5) {
            0 | 1 if !fitting.is_empty() => fitting[self.genes.below(fitting.len())].value.clone(),
            2 => {
                let (p, t) = (self.model.parameter(numbers), self.model.time());
                let matrix = (p * 0.3).exp() * (t + 0.2).cos();
                self.add(matrix.clone(), 1.5);
                matrix
            }
            _ => {
                let matrix = self.model.parameter(numbers);
                self.add(matrix.clone(), 1.0);
                matrix
            }
        }
    }

    fn operation(&mut self) {
        match self.genes.below(20) {
            0 => {
                let kind = self.genes.below(5);
                self.leaf(kind);
            }
            1..=4 => self.unary(),
            5..=9 => self.binary(),
            10 => self.choice(),
            11 => {
                let Bounded { value, most } = self.any();
                let from = self.genes.below(value.rows());
                let rows = 1 + self.genes.below(value.rows() - from);
                self.add(value.slice(from..from + rows), most);
            }
            12 | 13 => {
                let (mut parts, mut rows, mut most) = (vec![], 0, 0.0_f64);
                for _ in 0..1 + self.genes.below(4) {
                    let part = self.any();
                    if rows + part.value.rows() <= ROWS {
                        rows += part.value.rows();
                        most = most.max(part.most);
                        parts.push(part.value);
                    }
                }
                if !parts.is_empty() {
                    self.add(concat(&parts), most);
                }
            }
            14 => {
                let Bounded { value, most } = self.any();
                let (outer, inner) = (1 + self.genes.below(3), 1 + self.genes.below(3));
                if value.rows() * outer * inner <= ROWS {
                    self.add(value.spread(outer, inner), most);
                }
            }
            15 => self.sum(),
            16 => {
                let Bounded { value, most } = self.any();
                let shift = self.genes.below(7) as isize - 3;
                self.add(value.roll(shift), most);
            }
            17 | 18 => self.dense(),
            _ => self.product(),
        }
    }

    fn unary(&mut self) {
        let Bounded { value: v, most } = self.any();
        let small = 0.9 / most.max(0.9);
        let (value, most) = match self.genes.below(24) {
            0 => (-&v, most),
            1 => (v.abs(), most),
            2 => (v.sign() * 0.5 + &v, most + 0.5),
            3 => ((&v * small).exp(), 2.5),
            4 => ((&v * small).expm1(), 1.5),
            5 => ((&v * &v + 0.5).log(), 2.5),
            6 => ((&v * &v).log1p(), 2.5),
            7 => ((&v * &v + 0.5).sqrt(), most + 0.8),
            8 => (v.sin(), 1.0),
            9 => (v.cos(), 1.0),
            10 => ((&v * small).tan(), 1.3),
            11 => ((&v * small).asin(), 1.2),
            12 => ((&v * small).acos(), 2.8),
            13 => (v.atan(), 1.3),
            14 => ((&v * small).sinh(), 1.1),
            15 => ((&v * small).cosh(), 1.5),
            16 => (v.tanh(), 1.0),
            17 => (v.sigmoid(), 1.0),
            18 => (v.softplus(), most + 0.7),
            19 => (v.relu(), most),
            20 => (v.normal_cdf(), 1.0),
            21 => (&v + 0.25, most + 0.25),
            22 => (1.5 - &v, most + 1.5),
            _ => (&v / 1.25, most),
        };
        self.add(value, most);
    }

    fn binary(&mut self) {
        let Bounded { value: a, most } = self.any();
        let Bounded { value: b, most: other } = self.compatible(a.rows());
        let powers = [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, -1.0, -2.0, 1.7, 5.0, -0.5];
        let positive = |v: &Value| v * v * 0.3 + 0.5;
        let (value, most) = match self.genes.below(14) {
            0 => (&a + &b, most + other),
            1 => (&a - &b, most + other),
            2..=4 => (&a * &b, most * other),
            5 => (&a / (&b * &b + 0.75), most * 1.4),
            6 => (positive(&a).pow(&(&b * 0.5)), 6.0),
            7 => (positive(&a).powf(powers[self.genes.below(powers.len())]), 30.0),
            8 => (a.powf([2.0, 3.0, 4.0, 5.0, 1.0, 0.0][self.genes.below(6)]) * 0.1, most.powi(5) * 0.1),
            9 => (a.atan2(&(&b * &b + 0.5)), 1.6),
            10 => (a.atan2(&(&b - 4.5)), 3.2),
            11 => (a.min(&b), most.max(other)),
            12 => (a.max(&b), most.max(other)),
            _ => (&a * &b + &a, most * other + most),
        };
        self.add(value, most);
    }

    fn choice(&mut self) {
        let a = self.any();
        let b = self.compatible(a.value.rows());
        let rows = a.value.rows().max(b.value.rows());
        let then = self.compatible(rows);
        let otherwise = self.compatible(rows.max(then.value.rows()));
        let most = then.most.max(otherwise.most);
        let rows = [&a, &b, &then, &otherwise].map(|one| one.value.rows());
        let widest = rows.into_iter().max().unwrap();
        if rows.into_iter().any(|rows| rows != 1 && rows != widest) {
            return;
        }
        let value = match self.genes.below(4) {
            0 => a.value.if_less_equal(&b.value, &then.value, &otherwise.value),
            // Nobody sees what the other branch computes.
            1 => {
                let root = (&a.value - &b.value + 0.1).sqrt();
                a.value.if_less(&b.value, &then.value, &(root * &otherwise.value))
            }
            _ => a.value.if_less(&b.value, &then.value, &otherwise.value),
        };
        self.add(value, most * 3.0);
    }

    fn sum(&mut self) {
        let Bounded { value, most } = self.any();
        let rows = value.rows();
        let (value, terms) = match self.genes.below(4) {
            0 => (value.sum(), rows),
            1 => {
                let other = self.compatible(rows);
                (value.dot(&other.value) * 0.3, rows.max(other.value.rows()))
            }
            _ => {
                let factors: Vec<(usize, usize)> = (1..=rows)
                    .flat_map(|outer| (1..=rows).map(move |inner| (outer, inner)))
                    .filter(|(outer, inner)| rows.is_multiple_of(outer * inner))
                    .collect();
                let (outer, inner) = factors[self.genes.below(factors.len())];
                (value.sum_over(outer, inner), outer * inner)
            }
        };
        let mean = if terms > 1 { value * (1.0 / terms as f64) } else { value };
        self.add(mean, most * MOST);
    }

    fn dense(&mut self) {
        let Bounded { value: x, most } = self.any();
        let points: Vec<usize> = (1..=x.rows()).filter(|&points| x.rows().is_multiple_of(points)).collect();
        let points = points[self.genes.below(points.len())];
        let depth = x.rows() / points;
        let rows = 1 + self.genes.below((ROWS / points).min(5));
        let product = self.matrix(rows * depth).dense(&x, points);
        let scale = 1.0 / depth as f64;
        let value = match self.genes.below(4) {
            // At every point the same.
            0 => product * scale + self.model.parameter(rows).spread(1, points),
            1 => (product + self.compatible(rows * points).value) * scale,
            2 => product * scale + self.model.parameter(1),
            _ => product * scale,
        };
        // Matrices are of values like others.
        self.add(value, MOST * (most + 1.0));
    }

    fn product(&mut self) {
        let (Bounded { value: m, most }, Bounded { value: v, most: other }) = (self.any(), self.any());
        match self.genes.below(3) {
            0 if m.rows() * v.rows() <= ROWS => self.add(m.outer(&v), most * other),
            1 if m.rows().is_multiple_of(v.rows()) => {
                let columns = v.rows() as f64;
                self.add(m.mat_vec(&v) * (1.0 / columns), most * other);
            }
            2 if m.rows().is_multiple_of(v.rows()) => {
                let rows = v.rows() as f64;
                self.add(m.mat_vec_transposed(&v) * (1.0 / rows), most * other);
            }
            _ => {}
        }
    }

    fn finish(self, square: bool) -> Program {
        let result = match self.genes.below(4) {
            // Whatever came last.
            0 => self.pool.last().unwrap().value.clone(),
            // Many at once, some of them twice.
            _ => {
                let (mut parts, mut rows) = (vec![], 0);
                for one in self.pool.iter().rev().take(6) {
                    if rows + one.value.rows() <= ROWS {
                        rows += one.value.rows();
                        parts.push(one.value.clone());
                    }
                }
                if parts.is_empty() {
                    parts.push(self.model.time());
                }
                if rows + parts[0].rows() <= ROWS {
                    parts.push(parts[0].clone());
                }
                concat(&parts)
            }
        };
        let result = match square {
            false => result,
            true => {
                let mut parts = vec![result.clone()];
                while parts.iter().map(Value::rows).sum::<usize>() < self.state {
                    parts.push(result.clone());
                }
                let rows = parts.iter().map(Value::rows).sum::<usize>();
                let all = concat(&parts);
                all.slice(rows - self.state..rows) * 0.2
            }
        };
        self.model.finish(&result).unwrap()
    }
}
