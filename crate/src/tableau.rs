//! Explicit Runge–Kutta methods as data, checked while the crate compiles.
//!
//! A method is its Butcher tableau
//!
//! ```text
//!  c_1 |
//!  c_2 | a_21
//!  c_3 | a_31  a_32
//!   …  |
//!  c_s | a_s1   …   a_s,s−1
//!  ----+--------------------
//!      | b_1    …     b_s        the solution
//!      | b̂_1    …     b̂_s        the embedded solution, for the error estimate
//! ```
//!
//! together with a continuous extension y(t_n + θh) = x_n + h Σ b_i(θ) k_i. Adding a solver is adding a constant to
//! [`methods`]. What can be derived (FSAL, error weights, which stages the solution depends on) is derived, not stated.
pub mod methods;

use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// How a method computes the solution within a step, from its stages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Extension {
    /// The cubic Hermite interpolant of (x_n, k_1) and (x_{n+1}, f(x_{n+1})), plus θ²(1−θ)² Σ d_i k_i.
    ///
    /// `d` has a weight for each stage, and one for f(x_{n+1}); it is empty for the plain cubic.
    Hermite {
        /// The weights d_i.
        d: &'static [f64],
    },
    /// b_i(θ) is Σ over p of row i's p-th entry times θ^{p+1}: a row for each stage that the solution depends on, the last for f(x_{n+1}).
    Polynomial(&'static [&'static [f64]]),
}

/// An explicit Runge–Kutta method. Write one of your own as a constant with [`checked`](Self::checked), or make it with
/// [`custom`](Self::custom) where its coefficients are known only when the program runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tableau {
    /// The name of the method, such as "dopri5"; "custom" for one from [`custom`](Self::custom).
    pub name: &'static str,
    /// The order of the solution that is propagated (weights b), from 1 to 20. The choice of steps depends on it.
    pub order: u32,
    /// The order of the embedded solution (weights b̂); 0 if there is none. Nothing depends on it.
    pub embedded_order: u32,
    /// Order of the continuous extension: over a fixed interval, the error of outputs within steps falls as h to this power. Outputs are
    /// interpolated by default only where it is at most one below the order of the method.
    pub extension_order: u32,
    /// Stage times c, in units of the step.
    pub c: &'static [f64],
    /// Stage weights a, ragged: row i has i entries, so the first is empty.
    pub a: &'static [&'static [f64]],
    /// Weights b of the solution.
    pub b: &'static [f64],
    /// Weights b̂ of the embedded solution; empty for a method without one, which takes fixed steps.
    pub b_hat: &'static [f64],
    /// How the solution within a step is computed.
    pub extension: Extension,
}

/// The most stages that a tableau of a user may have.
pub(crate) const MAX_STAGES: usize = 32;

impl Tableau {
    /// An explicit method whose coefficients are known only when the program runs: stage times c, ragged stage weights a (row i has i
    /// entries), weights b of a solution of order `order`, and weights b̂ of an embedded solution one order lower, or none. It has at most
    /// 32 stages. Outputs within steps are those of the cubic Hermite interpolant. The tableau is never freed; equal coefficients give
    /// the same one.
    ///
    /// # Errors
    /// `Option` for coefficients that contradict each other, or too many stages.
    pub fn custom(c: &[f64], a: &[Vec<f64>], b: &[f64], b_hat: &[f64], order: u32) -> Result<&'static Tableau> {
        static CUSTOM: Mutex<Vec<&'static Tableau>> = Mutex::new(Vec::new());
        let stages = b.len();
        let refused = |expected: String, given: String| Err(Error::option("method", expected, given));
        if stages == 0 || stages > MAX_STAGES {
            return refused(format!("b with 1 to {MAX_STAGES} weights"), format!("{stages}"));
        }
        if c.len() != stages || a.len() != stages {
            let given = format!("{} of c, {} of a", c.len(), a.len());
            return refused(format!("as many c and rows of a as b has weights, {stages}"), given);
        }
        if !b_hat.is_empty() && b_hat.len() != stages {
            return refused(format!("as many weights b_hat as b has, {stages}"), b_hat.len().to_string());
        }
        if !c.iter().chain(a.iter().flatten()).chain(b).chain(b_hat).all(|number| number.is_finite()) {
            return refused("finite coefficients".into(), "others".into());
        }
        for (i, row) in a.iter().enumerate() {
            if row.len() != i {
                return refused(
                    format!("{i} entries in row {i} of a, as explicit methods have"),
                    row.len().to_string(),
                );
            }
            if !near(sum(row), c[i]) {
                return refused(format!("row {i} of a to sum to c, {:?}", c[i]), format!("{:?}", sum(row)));
            }
        }
        for (name, weights) in [("b", b), ("b_hat", b_hat)] {
            if !weights.is_empty() && !near(sum(weights), 1.0) {
                return refused(format!("{name} to sum to 1"), format!("{:?}", sum(weights)));
            }
        }
        if !b_hat.is_empty() && nearly_equal(b, b_hat) {
            return refused(
                "b_hat that differs from b, as errors are estimated by the difference".into(),
                "the same".into(),
            );
        }
        if order == 0 || order > MAX_ORDER || order as usize > stages {
            let most = (MAX_ORDER as usize).min(stages);
            return refused(
                format!("an order from 1 to {most}, as a method of {stages} stages may have"),
                order.to_string(),
            );
        }
        let used = b.iter().rposition(|&weight| weight != 0.0).map_or(1, |last| last + 1);
        let last_is_next = used + 1 == stages && c[used] == 1.0 && a[used] == b[..used];
        if used != stages && !last_is_next {
            let expected = "a last stage that b leaves out to be f at the end of the step, whose row of a is b";
            return refused(expected.into(), "another".into());
        }
        let mut kept = CUSTOM.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&&'static Tableau| {
            known.order == order
                && known.c == c
                && known.b == b
                && known.b_hat == b_hat
                && known.a.iter().zip(a).all(|(known, row)| *known == &row[..])
        };
        if let Some(known) = kept.iter().find(same) {
            return Ok(known);
        }
        let leaked = |numbers: &[f64]| -> &'static [f64] { Box::leak(numbers.to_vec().into_boxed_slice()) };
        let rows: Vec<&'static [f64]> = a.iter().map(|row| leaked(row)).collect();
        let tableau = Tableau {
            name: "custom",
            order,
            embedded_order: if b_hat.is_empty() { 0 } else { order.saturating_sub(1).max(1) },
            extension_order: order.min(3),
            c: leaked(c),
            a: Box::leak(rows.into_boxed_slice()),
            b: leaked(b),
            b_hat: leaked(b_hat),
            extension: CUBIC,
        };
        let tableau: &'static Tableau = Box::leak(Box::new(tableau));
        kept.push(tableau);
        Ok(tableau)
    }

    /// The number of stages s.
    pub const fn stages(&self) -> usize {
        self.b.len()
    }

    /// Whether the method has an embedded solution, and so can estimate its error and adapt its steps.
    pub const fn adaptive(&self) -> bool {
        !self.b_hat.is_empty()
    }

    /// The number of leading stages on which x_{n+1} depends. Later ones are for the error estimate alone, and have no part in the gradient.
    pub const fn gradient_stages(&self) -> usize {
        let mut stages = self.b.len();
        while stages > 1 && self.b[stages - 1] == 0.0 {
            stages -= 1;
        }
        stages
    }

    /// Whether the method is first same as last: the last stage state is x_{n+1}, so its slope is the first of the next step.
    pub const fn fsal(&self) -> bool {
        let stages = self.stages();
        if stages < 2 || self.c.len() != stages || self.a.len() != stages || self.a[stages - 1].len() != stages - 1 {
            return false;
        }
        let last = stages - 1;
        if self.b[last] != 0.0 || self.c[last] != 1.0 {
            return false;
        }
        let mut j = 0;
        while j < last {
            if self.a[last][j] != self.b[j] {
                return false;
            }
            j += 1;
        }
        true
    }

    /// Weights b_i(θ) of the continuous extension and their derivatives b_i′(θ), into slices with one entry for each
    /// of the [`gradient_stages`](Self::gradient_stages) and a last one for f(x_{n+1}).
    ///
    /// # Panics
    /// If the slices are shorter, or the tableau contradicts itself.
    pub fn extension_weights(&self, theta: f64, weights: &mut [f64], slopes: &mut [f64]) {
        for i in 0..=self.gradient_stages() {
            (weights[i], slopes[i]) = polynomial(&self.extension_polynomial(i), theta);
        }
    }

    /// The degree of the continuous extension.
    pub(crate) fn extension_degree(&self) -> usize {
        match self.extension {
            Extension::Hermite { d } => {
                if d.is_empty() {
                    3
                } else {
                    4
                }
            }
            Extension::Polynomial(rows) => rows.iter().map(|row| row.len()).max().unwrap_or(1),
        }
    }

    /// b_i(θ) as the coefficients of θ¹, θ², …
    pub(crate) fn extension_polynomial(&self, i: usize) -> [f64; MAX_DEGREE] {
        let last = self.gradient_stages();
        match self.extension {
            Extension::Hermite { d } => hermite(&self.b[..last], i, if d.is_empty() { 0.0 } else { d[i] }),
            Extension::Polynomial(rows) => std::array::from_fn(|power| rows[i].get(power).copied().unwrap_or(0.0)),
        }
    }

    /// Checks a tableau. Use it in a constant: then one that contradicts itself does not compile. `examples/own_method.rs` shows how.
    /// Solves check it too, and refuse it.
    ///
    /// # Panics
    /// If the tableau contradicts itself.
    pub const fn checked(self) -> Tableau {
        match self.contradiction() {
            None => self,
            Some(expected) => panic!("{}", expected),
        }
    }

    /// The condition that a tableau violates, if any.
    pub(crate) const fn contradiction(&self) -> Option<&'static str> {
        let stages = self.b.len();
        if stages == 0 || self.c.len() != stages || self.a.len() != stages {
            return Some("one row of a and one c for each b");
        }
        if !self.b_hat.is_empty() && self.b_hat.len() != stages {
            return Some("b̂ as long as b");
        }
        if self.order == 0 || self.order > MAX_ORDER || self.order as usize > stages {
            return Some("an order from 1 to 20, and no higher than the number of stages");
        }
        if self.extension_order > MAX_ORDER {
            return Some("an order of the extension up to 20");
        }
        let mut i = 0;
        while i < stages {
            if self.a[i].len() != i {
                return Some("i entries in row i of a");
            }
            if !near(sum(self.a[i]), self.c[i]) {
                return Some("rows of a that sum to c");
            }
            i += 1;
        }
        if !near(sum(self.b), 1.0) || !(self.b_hat.is_empty() || near(sum(self.b_hat), 1.0)) {
            return Some("b and b̂ that sum to 1");
        }
        if !self.b_hat.is_empty() && nearly_equal(self.b, self.b_hat) {
            return Some("b̂ that differs from b");
        }
        if self.gradient_stages() + self.fsal() as usize != stages {
            return Some("a stage that b leaves out to be the first of the next step");
        }
        match self.extension {
            Extension::Hermite { d } => {
                if !d.is_empty() && (d.len() != self.gradient_stages() + 1 || !sum(d).is_finite()) {
                    return Some("a finite d for each slope");
                }
            }
            Extension::Polynomial(rows) => {
                if rows.len() != self.gradient_stages() + 1 {
                    return Some("a row of the extension for each slope");
                }
                let mut i = 0;
                while i < rows.len() {
                    if rows[i].len() > MAX_DEGREE {
                        return Some("an extension of degree 6 at most");
                    }
                    let b = if i + 1 < rows.len() { self.b[i] } else { 0.0 };
                    let ends = (sum(rows[i]) - b).abs() < 1e-11;
                    if !ends {
                        return Some("rows of the extension that sum to b");
                    }
                    i += 1;
                }
            }
        }
        None
    }
}

/// The highest order of a method.
const MAX_ORDER: u32 = 20;

/// Highest degree in θ of a continuous extension.
pub(crate) const MAX_DEGREE: usize = 6;

/// b_i(θ) of the cubic Hermite interpolant of a step with these weights, as the coefficients of θ¹, θ², …; after the last stage comes
/// f(x_{n+1}). With d a term d θ² (1 − θ)² is added.
pub(crate) fn hermite(b: &[f64], i: usize, d: f64) -> [f64; MAX_DEGREE] {
    let (first, next) = (f64::from(i == 0), f64::from(i == b.len()));
    let b = b.get(i).copied().unwrap_or(0.0);
    [first, 3.0 * b - 2.0 * first - next + d, first + next - 2.0 * b - 2.0 * d, d, 0.0, 0.0]
}

/// A polynomial with these coefficients of θ¹, θ², …, and its derivative.
pub(crate) fn polynomial(coefficients: &[f64], theta: f64) -> (f64, f64) {
    let (mut value, mut derivative) = (0.0, 0.0);
    for (power, coefficient) in coefficients.iter().enumerate().rev() {
        value = value * theta + coefficient;
        derivative = derivative * theta + coefficient * (power + 1) as f64;
    }
    (value * theta, derivative)
}

/// Whether weights are equal up to rounding.
const fn nearly_equal(b: &[f64], b_hat: &[f64]) -> bool {
    let mut i = 0;
    while i < b.len() {
        if (b[i] - b_hat[i]).abs() > 1e-14 {
            return false;
        }
        i += 1;
    }
    true
}

const fn sum(row: &[f64]) -> f64 {
    let (mut total, mut i) = (0.0, 0);
    while i < row.len() {
        total += row[i];
        i += 1;
    }
    total
}

/// Equal to the rounding of coefficients that are printed as fractions of large integers and cancel in a row.
const fn near(left: f64, right: f64) -> bool {
    (left - right).abs() < 4e-15
}

/// The cubic Hermite interpolant, which goes with every method.
pub const CUBIC: Extension = Extension::Hermite { d: &[] };
