//! Expressions with operators: how a program is written in Rust.

use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Neg, Sub};
use std::rc::Rc;

use super::differentiate::{gradient, without_variables};
use super::graph::{Binary, Compare, Condition, Graph, Id, Input, Op, Place, Unary};
use super::{Program, Sizes};
use crate::error::{Error, Result};

/// Builds the program of a vector field.
///
/// ```
/// use symplectic_adjoint::program::{Builder, concat};
///
/// # fn main() -> symplectic_adjoint::Result<()> {
/// // Prey and predator.
/// let mut model = Builder::new(2);
/// let [x, y] = [model.state(0..1), model.state(1..2)];
/// let [alpha, beta, delta, gamma] = [0; 4].map(|_| model.parameter(1));
/// let slope = concat(&[&alpha * &x - &beta * &x * &y, &delta * &x * &y - &gamma * &y]);
/// let program = model.finish(&slope)?;
/// assert_eq!((program.state(), program.parameters()), (2, 4));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Builder {
    shared: Rc<RefCell<Shared>>,
    state: usize,
    parameters: usize,
    arguments: usize,
}

#[derive(Debug, Default)]
struct Shared {
    graph: Graph,
    /// The first thing that was wrong.
    error: Option<Error>,
}

/// The most rows of a value, and the most parameters.
const MAX_ROWS: usize = 1 << 27;

/// A value of a program: rows of numbers for each trajectory. Operators work row by row, on values with as many rows or with one.
///
/// Shapes that do not fit are reported by [`Builder::finish`].
#[derive(Debug, Clone)]
pub struct Value {
    shared: Rc<RefCell<Shared>>,
    id: Id,
}

impl Builder {
    /// A builder for programs of a state with `state` features.
    pub fn new(state: usize) -> Self {
        Self { shared: Rc::default(), state, parameters: 0, arguments: 0 }
    }

    fn value(&self, id: Id) -> Value {
        Value { shared: Rc::clone(&self.shared), id }
    }

    fn push(&self, make: impl FnOnce(&mut Graph) -> Id) -> Value {
        let id = make(&mut self.shared.borrow_mut().graph);
        self.value(id)
    }

    /// The end of the next `rows` numbers of a kind, which begin at `begin`.
    fn end_of(&self, kind: &str, begin: usize, rows: usize) -> std::result::Result<usize, Value> {
        let end = begin.checked_add(rows).filter(|&end| rows > 0 && end <= MAX_ROWS);
        end.ok_or_else(|| self.fail(format!("one {kind} or more, and {MAX_ROWS} in all at most"), rows))
    }

    fn fail(&self, expected: impl std::fmt::Display, given: impl std::fmt::Display) -> Value {
        fail(&self.shared, expected, given)
    }

    /// These features of the state, as a value.
    pub fn state(&self, rows: std::ops::Range<usize>) -> Value {
        if rows.is_empty() || rows.end > self.state || rows.len() > MAX_ROWS {
            let expected = format!("rows of a state of {} features, {MAX_ROWS} at most", self.state);
            return self.fail(expected, format!("{rows:?}"));
        }
        self.push(|graph| graph.load(Input::State, rows.start, rows.len()))
    }

    /// The time t, as a value of one row.
    pub fn time(&self) -> Value {
        self.push(Graph::time)
    }

    /// A constant, as a value of one row. It must be finite.
    pub fn constant(&self, number: f64) -> Value {
        if !number.is_finite() {
            return self.fail("finite constants", number);
        }
        self.push(|graph| graph.constant(number))
    }

    /// The next `rows` parameters, as a value. Parameters are numbered in the order of these calls.
    pub fn parameter(&mut self, rows: usize) -> Value {
        let offset = self.parameters;
        self.parameters = match self.end_of("parameter", offset, rows) {
            Ok(end) => end,
            Err(failed) => return failed,
        };
        self.push(|graph| graph.parameter(Place::vector(offset, rows)))
    }

    /// The next `rows` arguments, as a value: numbers of each trajectory besides its state. They are numbered in the order of these calls.
    pub fn argument(&mut self, rows: usize) -> Value {
        let row = self.arguments;
        self.arguments = match self.end_of("argument", row, rows) {
            Ok(end) => end,
            Err(failed) => return failed,
        };
        self.push(|graph| graph.load(Input::Argument, row, rows))
    }

    /// The program that computes a value. You may continue with the builder and finish other programs, such as the functions of events;
    /// each has all parameters and arguments so far.
    ///
    /// # Errors
    /// `Option` for the first operation whose operands do not fit: shapes, another builder, or too many rows.
    pub fn finish(&self, value: &Value) -> Result<Program> {
        if !Rc::ptr_eq(&self.shared, &value.shared) {
            return Err(Error::option("value", "a value of this builder", "one of another"));
        }
        let shared = self.shared.borrow();
        if let Some(error) = &shared.error {
            return Err(error.clone());
        }
        if self.state == 0 {
            return Err(Error::option("state", "a positive integer", 0));
        }
        let &Self { state, parameters, arguments, .. } = self;
        let (graph, value) = without_variables(&shared.graph, value.id);
        Ok(Program::of(graph, value, Sizes { state, parameters, arguments, data: 0 }))
    }
}

fn fail(shared: &Rc<RefCell<Shared>>, expected: impl std::fmt::Display, given: impl std::fmt::Display) -> Value {
    let mut inner = shared.borrow_mut();
    inner.error.get_or_insert_with(|| Error::option("program", expected, given));
    let id = inner.graph.constant(0.0);
    Value { shared: Rc::clone(shared), id }
}

impl Value {
    /// How many rows the value has.
    pub fn rows(&self) -> usize {
        self.shared.borrow().graph.rows(self.id)
    }

    /// Whether the value is the same for all trajectories: it is computed from parameters, constants and the time alone.
    pub fn is_uniform(&self) -> bool {
        self.shared.borrow().graph.uniform(self.id)
    }

    fn push(&self, make: impl FnOnce(&mut Graph) -> Id) -> Value {
        let id = make(&mut self.shared.borrow_mut().graph);
        let rows = self.shared.borrow().graph.rows(id);
        if rows > MAX_ROWS {
            return fail(&self.shared, format!("a value of {MAX_ROWS} rows at most"), rows);
        }
        Value { shared: Rc::clone(&self.shared), id }
    }

    /// The error for values of another builder, if there are any.
    fn of_other_builder(&self, others: &[&Value]) -> Option<Value> {
        let foreign = others.iter().any(|other| !Rc::ptr_eq(&self.shared, &other.shared));
        foreign.then(|| fail(&self.shared, "values of one builder", "one of another"))
    }

    /// The error for values whose rows do not match, if they do not.
    fn check_rows(&self, others: &[&Value]) -> Option<Value> {
        if let Some(failed) = self.of_other_builder(others) {
            return Some(failed);
        }
        let rows: Vec<usize> = std::iter::once(self.rows()).chain(others.iter().map(|other| other.rows())).collect();
        let most = rows.iter().copied().max().unwrap_or(1);
        let fits = rows.iter().all(|&rows| rows == most || rows == 1);
        (!fits).then(|| fail(&self.shared, "operands with as many rows, or one", format!("{rows:?}")))
    }

    fn unary(&self, function: Unary) -> Value {
        self.push(|graph| graph.unary(function, self.id))
    }

    fn binary(&self, function: Binary, other: &Value) -> Value {
        self.check_rows(&[other]).unwrap_or_else(|| self.push(|graph| graph.binary(function, self.id, other.id)))
    }

    /// A constant in the builder of this value.
    fn number(&self, number: f64) -> Value {
        if !number.is_finite() {
            return fail(&self.shared, "finite constants", number);
        }
        self.push(|graph| graph.constant(number))
    }

    /// |x|, the absolute value of each row.
    pub fn abs(&self) -> Value {
        self.unary(Unary::Abs)
    }
    /// The sign of each row: −1, 0 or 1. Its derivative is zero.
    pub fn sign(&self) -> Value {
        self.unary(Unary::Sign)
    }
    /// e^x.
    pub fn exp(&self) -> Value {
        self.unary(Unary::Exp)
    }
    /// e^x − 1.
    pub fn expm1(&self) -> Value {
        self.unary(Unary::Expm1)
    }
    /// log x, the natural logarithm.
    pub fn log(&self) -> Value {
        self.unary(Unary::Log)
    }
    /// log(1 + x).
    pub fn log1p(&self) -> Value {
        self.unary(Unary::Log1p)
    }
    /// √x, the square root.
    pub fn sqrt(&self) -> Value {
        self.unary(Unary::Sqrt)
    }
    /// sin x, with x in radians.
    pub fn sin(&self) -> Value {
        self.unary(Unary::Sin)
    }
    /// cos x, with x in radians.
    pub fn cos(&self) -> Value {
        self.unary(Unary::Cos)
    }
    /// tan x, with x in radians.
    pub fn tan(&self) -> Value {
        self.unary(Unary::Tan)
    }
    /// The inverse of the sine, in radians, from −π/2 to π/2.
    pub fn asin(&self) -> Value {
        self.unary(Unary::Asin)
    }
    /// The inverse of the cosine, in radians, from 0 to π.
    pub fn acos(&self) -> Value {
        self.unary(Unary::Acos)
    }
    /// The inverse of the tangent, in radians, from −π/2 to π/2.
    pub fn atan(&self) -> Value {
        self.unary(Unary::Atan)
    }
    /// sinh x, the hyperbolic sine.
    pub fn sinh(&self) -> Value {
        self.unary(Unary::Sinh)
    }
    /// cosh x, the hyperbolic cosine.
    pub fn cosh(&self) -> Value {
        self.unary(Unary::Cosh)
    }
    /// tanh x, the hyperbolic tangent.
    pub fn tanh(&self) -> Value {
        self.unary(Unary::Tanh)
    }
    /// 1 / (1 + e^−x).
    pub fn sigmoid(&self) -> Value {
        self.unary(Unary::Sigmoid)
    }
    /// log(1 + e^x).
    pub fn softplus(&self) -> Value {
        self.unary(Unary::Softplus)
    }
    /// max(x, 0).
    pub fn relu(&self) -> Value {
        self.unary(Unary::Relu)
    }
    /// Φ(x), the standard normal distribution function.
    pub fn normal_cdf(&self) -> Value {
        self.unary(Unary::NormalCdf)
    }
    /// x^p. The derivative with respect to p is zero where x is not positive.
    pub fn pow(&self, power: &Value) -> Value {
        self.binary(Binary::Pow, power)
    }
    /// x^p with a constant p.
    pub fn powf(&self, power: f64) -> Value {
        self.pow(&self.number(power))
    }
    /// The angle of the point (x, y) in radians, from −π to π, for `y.atan2(&x)`.
    pub fn atan2(&self, x: &Value) -> Value {
        self.binary(Binary::Atan2, x)
    }
    /// The lesser of two values, row by row.
    pub fn min(&self, other: &Value) -> Value {
        self.binary(Binary::Min, other)
    }
    /// The greater of two values, row by row.
    pub fn max(&self, other: &Value) -> Value {
        self.binary(Binary::Max, other)
    }
    /// Row by row, `then` where this value is less than `other`, and `otherwise` elsewhere. The branch that is not taken has no effect on
    /// gradients.
    pub fn if_less(&self, other: &Value, then: &Value, otherwise: &Value) -> Value {
        self.choose(Compare::Less, other, then, otherwise)
    }
    /// Row by row, `then` where this value is at most `other`, and `otherwise` elsewhere. The branch that is not taken has no effect on
    /// gradients.
    pub fn if_less_equal(&self, other: &Value, then: &Value, otherwise: &Value) -> Value {
        self.choose(Compare::LessEqual, other, then, otherwise)
    }

    fn choose(&self, compare: Compare, other: &Value, then: &Value, otherwise: &Value) -> Value {
        self.check_rows(&[other, then, otherwise]).unwrap_or_else(|| {
            let condition = Condition { compare, a: self.id, b: other.id };
            self.push(|graph| graph.select(condition, then.id, otherwise.id))
        })
    }

    /// The same value as a variable: [`gradient`](Value::gradient) differentiates with respect to it what is computed from it.
    pub fn variable(&self) -> Value {
        if self.is_uniform() {
            return fail(
                &self.shared,
                "a variable of the state or of arguments",
                "a value that is the same for all trajectories",
            );
        }
        self.push(|graph| graph.push(Op::Variable(self.id), graph.rows(self.id)))
    }
    /// The gradient of this value, which must have one row, with respect to a [`variable`](Value::variable). It has the rows of the variable.
    ///
    /// ```
    /// use symplectic_adjoint::program::{Builder, concat};
    ///
    /// # fn main() -> symplectic_adjoint::Result<()> {
    /// // A pendulum, by its energy: q' = ∂H/∂p, p' = −∂H/∂q.
    /// let model = Builder::new(2);
    /// let [q, p] = [model.state(0..1).variable(), model.state(1..2).variable()];
    /// let energy = p.powf(2.0) / 2.0 - q.cos();
    /// let program = model.finish(&concat(&[energy.gradient(&p), -energy.gradient(&q)]))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn gradient(&self, variable: &Value) -> Value {
        if let Some(failed) = self.of_other_builder(&[variable]) {
            return failed;
        }
        if self.rows() != 1 {
            return fail(&self.shared, "the gradient of a value of one row", format!("{} rows", self.rows()));
        }
        if !matches!(self.shared.borrow().graph.nodes[variable.id].op, Op::Variable(_)) {
            return fail(&self.shared, "a gradient with respect to a variable", "another value");
        }
        self.push(|graph| gradient(graph, self.id, variable.id))
    }

    /// A range of the value's rows.
    pub fn slice(&self, rows: std::ops::Range<usize>) -> Value {
        if rows.is_empty() || rows.end > self.rows() {
            return fail(&self.shared, format!("rows of a value with {}", self.rows()), format!("{rows:?}"));
        }
        self.push(|graph| graph.slice(self.id, rows.start, rows.len()))
    }
    /// One row of the value, counted from 0.
    pub fn row(&self, row: usize) -> Value {
        self.slice(row..row.saturating_add(1))
    }
    /// The sum of all rows, as a value of one row.
    pub fn sum(&self) -> Value {
        self.push(|graph| graph.sum_rows(self.id))
    }
    /// Copies of the rows, `[n]` to `[outer][n][inner]`.
    pub fn spread(&self, outer: usize, inner: usize) -> Value {
        let rows = outer.checked_mul(inner).and_then(|copies| copies.checked_mul(self.rows()));
        if rows.is_none_or(|rows| rows == 0 || rows > MAX_ROWS) {
            let expected = format!("one copy or more, and {MAX_ROWS} rows at most");
            return fail(&self.shared, expected, format!("{outer} × {inner}"));
        }
        self.push(|graph| graph.spread(self.id, outer, inner))
    }
    /// Sums of rows, `[outer][n][inner]` to `[n]`.
    pub fn sum_over(&self, outer: usize, inner: usize) -> Value {
        let factors = outer.saturating_mul(inner);
        if factors == 0 || !self.rows().is_multiple_of(factors) {
            return fail(&self.shared, format!("factors of {} rows", self.rows()), format!("{outer} × {inner}"));
        }
        self.push(|graph| graph.sum(self.id, outer, inner))
    }
    /// The rows moved by `shift` places towards the end; those that leave one end enter at the other.
    pub fn roll(&self, shift: isize) -> Value {
        let rows = self.rows();
        let at = (rows - shift.rem_euclid(rows as isize) as usize) % rows;
        if at == 0 {
            return self.clone();
        }
        self.push(|graph| {
            let (end, start) = (graph.slice(self.id, at, rows - at), graph.slice(self.id, 0, at));
            graph.concat(vec![end, start])
        })
    }
    /// The matrix–vector product of this value, a row-major matrix `[rows, columns]`, with a vector of `columns` rows.
    pub fn mat_vec(&self, vector: &Value) -> Value {
        self.product(vector, 1, |graph, m, v, points| graph.mat_vec(m, v, points))
    }
    /// The product of the transpose of this value, a row-major matrix `[rows, columns]`, with a vector of `rows` rows.
    pub fn mat_vec_transposed(&self, vector: &Value) -> Value {
        self.product(vector, 1, |graph, m, v, points| graph.mat_vec_transposed(m, v, points))
    }
    /// The product of this value, a row-major matrix of parameters, with the vector at each of some points: `[columns][points]` to
    /// `[rows][points]`.
    pub fn dense(&self, x: &Value, points: usize) -> Value {
        if !self.shared.borrow().graph.uniform(self.id) {
            return fail(&self.shared, "a matrix of parameters; mat_vec takes one of the state", "another matrix");
        }
        self.product(x, points, |graph, w, x, points| graph.dense(w, x, points))
    }

    fn product(&self, v: &Value, points: usize, make: impl FnOnce(&mut Graph, Id, Id, usize) -> Id) -> Value {
        let (numbers, rows) = (self.rows(), v.rows());
        let fits = Rc::ptr_eq(&self.shared, &v.shared)
            && points > 0
            && rows.is_multiple_of(points)
            && numbers.is_multiple_of(rows / points);
        match fits && (numbers / (rows / points)).saturating_mul(points) <= MAX_ROWS {
            true => self.push(|graph| make(graph, self.id, v.id, points)),
            false => {
                let expected = format!("a matrix with a multiple of the vector's {rows} rows, at {points} points");
                fail(&self.shared, expected, format!("{numbers} numbers"))
            }
        }
    }
    /// The outer product of two vectors, a matrix of `self.rows()` rows and `other.rows()` columns, row-major.
    pub fn outer(&self, other: &Value) -> Value {
        if !Rc::ptr_eq(&self.shared, &other.shared) {
            return fail(&self.shared, "values of one builder", "one of another");
        }
        if self.rows().saturating_mul(other.rows()) > MAX_ROWS {
            let given = format!("{} × {}", self.rows(), other.rows());
            return fail(&self.shared, format!("an outer product of {MAX_ROWS} rows at most"), given);
        }
        self.push(|graph| graph.outer(self.id, other.id, 1))
    }
    /// The inner product of two vectors, as a value of one row. A value of one row is broadcast.
    pub fn dot(&self, other: &Value) -> Value {
        (self * other).sum()
    }
}

/// The rows of all values, one value after another.
///
/// # Panics
/// If `parts` is empty.
pub fn concat(parts: &[Value]) -> Value {
    let first = parts.first().expect("at least one value");
    if parts.iter().any(|part| !Rc::ptr_eq(&part.shared, &first.shared)) {
        return fail(&first.shared, "values of one builder", "one of another");
    }
    first.push(|graph| graph.concat(parts.iter().map(|part| part.id).collect()))
}

macro_rules! operators {
    ($($trait:ident $method:ident $function:expr;)+) => {
        $(
            impl $trait<&Value> for &Value {
                type Output = Value;
                fn $method(self, other: &Value) -> Value {
                    self.binary($function, other)
                }
            }
            impl $trait<Value> for &Value {
                type Output = Value;
                fn $method(self, other: Value) -> Value {
                    self.binary($function, &other)
                }
            }
            impl $trait<&Value> for Value {
                type Output = Value;
                fn $method(self, other: &Value) -> Value {
                    self.binary($function, other)
                }
            }
            impl $trait<Value> for Value {
                type Output = Value;
                fn $method(self, other: Value) -> Value {
                    self.binary($function, &other)
                }
            }
            impl $trait<f64> for &Value {
                type Output = Value;
                fn $method(self, other: f64) -> Value {
                    self.binary($function, &self.number(other))
                }
            }
            impl $trait<f64> for Value {
                type Output = Value;
                fn $method(self, other: f64) -> Value {
                    self.binary($function, &self.number(other))
                }
            }
            impl $trait<&Value> for f64 {
                type Output = Value;
                fn $method(self, other: &Value) -> Value {
                    other.number(self).binary($function, other)
                }
            }
            impl $trait<Value> for f64 {
                type Output = Value;
                fn $method(self, other: Value) -> Value {
                    other.number(self).binary($function, &other)
                }
            }
        )+
    };
}

operators! {
    Add add Binary::Add;
    Sub sub Binary::Sub;
    Mul mul Binary::Mul;
    Div div Binary::Div;
}

impl Neg for &Value {
    type Output = Value;
    fn neg(self) -> Value {
        self.unary(Unary::Neg)
    }
}

impl Neg for Value {
    type Output = Value;
    fn neg(self) -> Value {
        self.unary(Unary::Neg)
    }
}
