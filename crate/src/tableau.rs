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
//! together with a continuous extension y(t_n + θh) = x_n + h Σ b_i(θ) k_i. Adding a solver is adding a constant
//! here. What can be derived (FSAL, error weights, which stages the solution depends on) is derived, not stated.
#![allow(clippy::excessive_precision, reason = "coefficients stand as they are printed")]

use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// How a method computes the solution within a step, from its stages.
#[derive(Debug, Clone, Copy)]
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
/// [`own`](Self::own) where its coefficients are known only when the program runs.
#[derive(Debug, Clone, Copy)]
pub struct Tableau {
    /// Its name in the public API; `"custom"` for one from [`own`](Self::own).
    pub name: &'static str,
    /// Order of the solution that is propagated (weights b), from 1 to 20. The choice of steps goes by it.
    pub order: u32,
    /// Order of the embedded solution (weights b̂); 0 where there is none. For information.
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

impl PartialEq for Tableau {
    fn eq(&self, other: &Self) -> bool {
        (self.name, self.a, self.b, self.b_hat) == (other.name, other.a, other.b, other.b_hat)
    }
}

impl Tableau {
    /// The method of [`METHODS`] with that name, if there is one.
    pub fn named(name: &str) -> Option<&'static Tableau> {
        METHODS.iter().copied().find(|tableau| tableau.name == name)
    }

    /// An explicit method whose coefficients are known only when the program runs: stage times c, ragged stage weights a (row i has i
    /// entries), weights b of a solution of this order, and weights b̂ of an embedded solution one order lower, or none. Outputs within
    /// steps are those of the cubic Hermite interpolant. The tableau is never freed; equal coefficients give the same one.
    ///
    /// # Errors
    /// `Option` for coefficients that contradict each other.
    pub fn own(c: &[f64], a: &[Vec<f64>], b: &[f64], b_hat: &[f64], order: u32) -> Result<&'static Tableau> {
        static OWN: Mutex<Vec<&'static Tableau>> = Mutex::new(Vec::new());
        const MAX_STAGES: usize = 32;
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
        if order == 0 || order > MAX_ORDER {
            return refused(format!("an order from 1 to {MAX_ORDER}"), order.to_string());
        }
        let used = b.iter().rposition(|&weight| weight != 0.0).map_or(1, |last| last + 1);
        let last_is_next = used + 1 == stages && c[used] == 1.0 && a[used] == b[..used];
        if used != stages && !last_is_next {
            let expected = "a last stage that b leaves out to be f at the end of the step, whose row of a is b";
            return refused(expected.into(), "another".into());
        }
        let mut kept = OWN.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Number of stages s.
    pub const fn stages(&self) -> usize {
        self.b.len()
    }

    /// Whether the method has an embedded solution, and so can estimate its error and adapt its steps.
    pub const fn adaptive(&self) -> bool {
        !self.b_hat.is_empty()
    }

    /// Number of leading stages that x_{n+1} depends on. Later ones serve only the error estimate and have no part
    /// in the gradient.
    pub const fn gradient_stages(&self) -> usize {
        let mut stages = self.b.len();
        while stages > 1 && self.b[stages - 1] == 0.0 {
            stages -= 1;
        }
        stages
    }

    /// First same as last: the last stage state is x_{n+1}, so its slope is the first of the next step.
    pub const fn fsal(&self) -> bool {
        let last = self.stages() - 1;
        if last == 0 || self.b[last] != 0.0 || self.c[last] != 1.0 {
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

    /// What a tableau that contradicts itself would have to have.
    pub(crate) const fn contradiction(&self) -> Option<&'static str> {
        let stages = self.b.len();
        if stages == 0 || self.c.len() != stages || self.a.len() != stages {
            return Some("one row of a and one c for each b");
        }
        if !self.b_hat.is_empty() && self.b_hat.len() != stages {
            return Some("b̂ as long as b");
        }
        if self.order == 0 || self.order > MAX_ORDER {
            return Some("an order from 1 to 20");
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

/// b_i(θ) of the cubic Hermite interpolant of a step with these weights, as the coefficients of θ¹, θ², …; behind the last stage comes
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

const CUBIC: Extension = Extension::Hermite { d: &[] };

/// Euler (1768).
pub const EULER: Tableau = Tableau {
    name: "euler",
    order: 1,
    embedded_order: 0,
    extension_order: 1,
    c: &[0.0],
    a: &[&[]],
    b: &[1.0],
    b_hat: &[],
    extension: CUBIC,
}
.checked();

/// The explicit midpoint rule of Runge (1895).
pub const MIDPOINT: Tableau = Tableau {
    name: "midpoint",
    order: 2,
    embedded_order: 0,
    extension_order: 2,
    c: &[0.0, 1.0 / 2.0],
    a: &[&[], &[1.0 / 2.0]],
    b: &[0.0, 1.0],
    b_hat: &[],
    extension: CUBIC,
}
.checked();

/// The explicit trapezoidal rule, Heun's method of order 2.
pub const HEUN: Tableau = Tableau {
    name: "heun",
    order: 2,
    embedded_order: 0,
    extension_order: 2,
    c: &[0.0, 1.0],
    a: &[&[], &[1.0]],
    b: &[1.0 / 2.0, 1.0 / 2.0],
    b_hat: &[],
    extension: CUBIC,
}
.checked();

/// Ralston (1962): the two-stage method of order 2 with the least bound on its error.
pub const RALSTON: Tableau = Tableau {
    name: "ralston",
    order: 2,
    embedded_order: 0,
    extension_order: 2,
    c: &[0.0, 2.0 / 3.0],
    a: &[&[], &[2.0 / 3.0]],
    b: &[1.0 / 4.0, 3.0 / 4.0],
    b_hat: &[],
    extension: CUBIC,
}
.checked();

/// Heun (1900): three stages, order 3.
pub const HEUN3: Tableau = Tableau {
    name: "heun3",
    order: 3,
    embedded_order: 0,
    extension_order: 3,
    c: &[0.0, 1.0 / 3.0, 2.0 / 3.0],
    a: &[&[], &[1.0 / 3.0], &[0.0, 2.0 / 3.0]],
    b: &[1.0 / 4.0, 0.0, 3.0 / 4.0],
    b_hat: &[],
    extension: CUBIC,
}
.checked();

/// The classical method of order 4, Kutta (1901).
pub const RK4: Tableau = Tableau {
    name: "rk4",
    order: 4,
    embedded_order: 0,
    extension_order: 4,
    c: &[0.0, 1.0 / 2.0, 1.0 / 2.0, 1.0],
    a: &[&[], &[1.0 / 2.0], &[0.0, 1.0 / 2.0], &[0.0, 0.0, 1.0]],
    b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    b_hat: &[],
    extension: CUBIC,
}
.checked();

/// Kutta's 3/8 rule (1901), of order 4; torchdiffeq's "rk4".
pub const RK38: Tableau = Tableau {
    name: "rk38",
    order: 4,
    embedded_order: 0,
    extension_order: 4,
    c: &[0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0],
    a: &[&[], &[1.0 / 3.0], &[-1.0 / 3.0, 1.0], &[1.0, -1.0, 1.0]],
    b: &[1.0 / 8.0, 3.0 / 8.0, 3.0 / 8.0, 1.0 / 8.0],
    b_hat: &[],
    extension: CUBIC,
}
.checked();

/// Fehlberg's RK1(2), NASA TR R-315 (1969), propagating the solution of order 2.
pub const FEHLBERG2: Tableau = Tableau {
    name: "fehlberg2",
    order: 2,
    embedded_order: 1,
    extension_order: 2,
    c: &[0.0, 1.0 / 2.0, 1.0],
    a: &[&[], &[1.0 / 2.0], &[1.0 / 256.0, 255.0 / 256.0]],
    b: &[1.0 / 512.0, 255.0 / 256.0, 1.0 / 512.0],
    b_hat: &[1.0 / 256.0, 255.0 / 256.0, 0.0],
    extension: CUBIC,
}
.checked();

/// Heun's method of order 2 with Euler's embedded.
pub const ADAPTIVE_HEUN: Tableau = Tableau {
    name: "adaptive_heun",
    order: 2,
    embedded_order: 1,
    extension_order: 2,
    c: &[0.0, 1.0],
    a: &[&[], &[1.0]],
    b: &[1.0 / 2.0, 1.0 / 2.0],
    b_hat: &[1.0, 0.0],
    extension: CUBIC,
}
.checked();

/// Bogacki and Shampine's 3(2) pair, Appl. Math. Lett. 2(4), 1989.
pub const BOSH3: Tableau = Tableau {
    name: "bosh3",
    order: 3,
    embedded_order: 2,
    extension_order: 3,
    c: &[0.0, 1.0 / 2.0, 3.0 / 4.0, 1.0],
    a: &[&[], &[1.0 / 2.0], &[0.0, 3.0 / 4.0], &[2.0 / 9.0, 1.0 / 3.0, 4.0 / 9.0]],
    b: &[2.0 / 9.0, 1.0 / 3.0, 4.0 / 9.0, 0.0],
    b_hat: &[7.0 / 24.0, 1.0 / 4.0, 1.0 / 3.0, 1.0 / 8.0],
    extension: CUBIC,
}
.checked();

/// Dormand and Prince's 5(4) pair, J. Comput. Appl. Math. 6(1), 1980.
///
/// b̂ are the weights of Shampine, Math. Comp. 46(173), 1986, as torchdiffeq and diffrax have them: two thirds of the
/// error that Dormand and Prince print. The extension is Shampine's too, in the form of Hairer, Nørsett and
/// Wanner I, II.6 (`contd5`).
pub const DOPRI5: Tableau = Tableau {
    name: "dopri5",
    order: 5,
    embedded_order: 4,
    extension_order: 5,
    c: &[0.0, 1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0, 1.0],
    a: &[
        &[],
        &[1.0 / 5.0],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
        &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    ],
    b: &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0, 0.0],
    b_hat: &[1951.0 / 21600.0, 0.0, 22642.0 / 50085.0, 451.0 / 720.0, -12231.0 / 42400.0, 649.0 / 6300.0, 1.0 / 60.0],
    extension: Extension::Hermite {
        d: &[
            -12715105075.0 / 11282082432.0,
            0.0,
            87487479700.0 / 32700410799.0,
            -10690763975.0 / 1880347072.0,
            701980252875.0 / 199316789632.0,
            -1453857185.0 / 822651844.0,
            69997945.0 / 29380423.0,
        ],
    },
}
.checked();

/// Tsitouras' 5(4) pair and its extension, Comput. Math. Appl. 62(2), 2011.
pub const TSIT5: Tableau = Tableau {
    name: "tsit5",
    order: 5,
    embedded_order: 4,
    extension_order: 5,
    c: &[0.0, 0.161, 0.327, 0.9, 0.980_025_540_904_509_7, 1.0, 1.0],
    a: &[
        &[],
        &[0.161],
        &[-0.008_480_655_492_356_989, 0.335_480_655_492_357],
        &[2.897_153_057_105_493_4, -6.359_448_489_975_075, 4.362_295_432_869_581],
        &[5.325_864_828_439_257, -11.748_883_564_062_828, 7.495_539_342_889_836_5, -0.092_495_066_361_755_25],
        &[
            5.861_455_442_946_42,
            -12.920_969_317_847_11,
            8.159_367_898_576_159,
            -0.071_584_973_281_401,
            -0.028_269_050_394_068_383,
        ],
        &[
            0.096_460_766_818_065_23,
            0.01,
            0.479_889_650_414_499_6,
            1.379_008_574_103_742,
            -3.290_069_515_436_081,
            2.324_710_524_099_774,
        ],
    ],
    b: &[
        0.096_460_766_818_065_23,
        0.01,
        0.479_889_650_414_499_6,
        1.379_008_574_103_742,
        -3.290_069_515_436_081,
        2.324_710_524_099_774,
        0.0,
    ],
    b_hat: &[
        0.094_680_755_765_839_45,
        0.009_183_565_540_343_254,
        0.487_770_528_424_761_6,
        1.234_297_566_930_479,
        -2.707_712_349_983_525_5,
        1.866_628_418_170_587,
        1.0 / 66.0,
    ],
    extension: Extension::Polynomial(&[
        // −1.05… θ (θ − p)(θ² − qθ + r) with p = 1.3299890189751412, q = 1.4364028541716351, r = 0.7139816917074209
        &[
            TSIT5_LEAD * -1.329_989_018_975_141_2 * 0.713_981_691_707_420_9,
            TSIT5_LEAD * (0.713_981_691_707_420_9 + 1.329_989_018_975_141_2 * 1.436_402_854_171_635_1),
            TSIT5_LEAD * -(1.329_989_018_975_141_2 + 1.436_402_854_171_635_1),
            TSIT5_LEAD,
        ],
        &[0.0, 0.1017 * 1.294_985_250_737_463_1, 0.1017 * -2.196_656_833_824_975_4, 0.1017],
        &[
            0.0,
            2.490_627_285_651_252_8 * 1.578_034_682_080_925,
            2.490_627_285_651_252_8 * -2.385_356_454_720_616_6,
            2.490_627_285_651_252_8,
        ],
        &double_root(-16.548_102_889_244_902, 1.217_129_272_955_332_5, 0.616_204_060_378_000_9),
        &double_root(47.379_521_962_819_28, 1.203_071_208_372_362_5, 0.658_047_292_653_547_4),
        &double_root(-34.870_657_861_496_61, 1.2, 0.666_666_666_666_666_7),
        &double_root(2.5, 1.0, 0.6),
    ]),
}
.checked();

const TSIT5_LEAD: f64 = -1.053_088_497_729_021_6;

/// The powers θ … θ⁴ of lead·θ²(θ − u)(θ − v), as Tsitouras prints his weights.
const fn double_root(lead: f64, u: f64, v: f64) -> [f64; 4] {
    [0.0, lead * u * v, -lead * (u + v), lead]
}

/// Prince and Dormand's 8(7) pair with 13 stages, J. Comput. Appl. Math. 7(1), 1981 ("RK8(7)13M").
///
/// The extension of degree 6 is the one that torchdiffeq and diffrax carry, after Bogacki and Shampine (1990). Its
/// error is of order h⁶, two below the method's: land on output times where they must be as good as the end point.
pub const DOPRI8: Tableau = Tableau {
    name: "dopri8",
    order: 8,
    embedded_order: 7,
    extension_order: 6,
    c: &[
        0.0,
        1.0 / 18.0,
        1.0 / 12.0,
        1.0 / 8.0,
        5.0 / 16.0,
        3.0 / 8.0,
        59.0 / 400.0,
        93.0 / 200.0,
        5490023248.0 / 9719169821.0,
        13.0 / 20.0,
        1201146811.0 / 1299019798.0,
        1.0,
        1.0,
    ],
    a: &[
        &[],
        &[1.0 / 18.0],
        &[1.0 / 48.0, 1.0 / 16.0],
        &[1.0 / 32.0, 0.0, 3.0 / 32.0],
        &[5.0 / 16.0, 0.0, -75.0 / 64.0, 75.0 / 64.0],
        &[3.0 / 80.0, 0.0, 0.0, 3.0 / 16.0, 3.0 / 20.0],
        &[
            29443841.0 / 614563906.0,
            0.0,
            0.0,
            77736538.0 / 692538347.0,
            -28693883.0 / 1125000000.0,
            23124283.0 / 1800000000.0,
        ],
        &[
            16016141.0 / 946692911.0,
            0.0,
            0.0,
            61564180.0 / 158732637.0,
            22789713.0 / 633445777.0,
            545815736.0 / 2771057229.0,
            -180193667.0 / 1043307555.0,
        ],
        &[
            39632708.0 / 573591083.0,
            0.0,
            0.0,
            -433636366.0 / 683701615.0,
            -421739975.0 / 2616292301.0,
            100302831.0 / 723423059.0,
            790204164.0 / 839813087.0,
            800635310.0 / 3783071287.0,
        ],
        &[
            246121993.0 / 1340847787.0,
            0.0,
            0.0,
            -37695042795.0 / 15268766246.0,
            -309121744.0 / 1061227803.0,
            -12992083.0 / 490766935.0,
            6005943493.0 / 2108947869.0,
            393006217.0 / 1396673457.0,
            123872331.0 / 1001029789.0,
        ],
        &[
            -1028468189.0 / 846180014.0,
            0.0,
            0.0,
            8478235783.0 / 508512852.0,
            1311729495.0 / 1432422823.0,
            -10304129995.0 / 1701304382.0,
            -48777925059.0 / 3047939560.0,
            15336726248.0 / 1032824649.0,
            -45442868181.0 / 3398467696.0,
            3065993473.0 / 597172653.0,
        ],
        &[
            185892177.0 / 718116043.0,
            0.0,
            0.0,
            -3185094517.0 / 667107341.0,
            -477755414.0 / 1098053517.0,
            -703635378.0 / 230739211.0,
            5731566787.0 / 1027545527.0,
            5232866602.0 / 850066563.0,
            -4093664535.0 / 808688257.0,
            3962137247.0 / 1805957418.0,
            65686358.0 / 487910083.0,
        ],
        &[
            403863854.0 / 491063109.0,
            0.0,
            0.0,
            -5068492393.0 / 434740067.0,
            -411421997.0 / 543043805.0,
            652783627.0 / 914296604.0,
            11173962825.0 / 925320556.0,
            -13158990841.0 / 6184727034.0,
            3936647629.0 / 1978049680.0,
            -160528059.0 / 685178525.0,
            248638103.0 / 1413531060.0,
            0.0,
        ],
    ],
    b: &[
        14005451.0 / 335480064.0,
        0.0,
        0.0,
        0.0,
        0.0,
        -59238493.0 / 1068277825.0,
        181606767.0 / 758867731.0,
        561292985.0 / 797845732.0,
        -1041891430.0 / 1371343529.0,
        760417239.0 / 1151165299.0,
        118820643.0 / 751138087.0,
        -528747749.0 / 2220607170.0,
        1.0 / 4.0,
    ],
    b_hat: &[
        13451932.0 / 455176623.0,
        0.0,
        0.0,
        0.0,
        0.0,
        -808719846.0 / 976000145.0,
        1757004468.0 / 5645159321.0,
        656045339.0 / 265891186.0,
        -3867574721.0 / 1518517206.0,
        465885868.0 / 322736535.0,
        53011238.0 / 667516719.0,
        2.0 / 45.0,
        0.0,
    ],
    extension: Extension::Polynomial(&[
        &[
            1.0,
            -6.691_018_173_783_76,
            19.999_006_933_368_398,
            -30.061_056_828_966_646,
            22.139_650_499_809_406,
            -6.344_834_939_286_04,
        ],
        &[],
        &[],
        &[],
        &[],
        &[
            0.0,
            -7.614_265_804_587_268,
            52.227_353_279_294_55,
            -121.499_962_773_133_47,
            116.442_214_955_034_22,
            -39.610_791_985_220_25,
        ],
        &[
            0.0,
            10.728_139_263_042_887,
            -46.891_916_418_109_36,
            83.172_100_463_984_77,
            -67.145_131_882_595_72,
            20.376_121_380_879_14,
        ],
        &[
            0.0,
            0.552_663_706_375_364_9,
            -0.189_089_322_501_059_55,
            9.572_450_755_599_367,
            -16.567_224_352_749_654,
            7.334_709_882_679_536,
        ],
        &[
            0.0,
            4.218_656_262_566_515,
            -35.707_597_594_622_21,
            87.840_605_767_720_56,
            -89.991_601_484_724_5,
            32.880_177_435_245_916,
        ],
        &[
            0.0,
            -0.662_720_912_536_159_8,
            6.273_644_808_324_035,
            -17.415_210_777_076_297,
            22.623_748_964_853_284,
            -10.158_899_052_642_676,
        ],
        &[
            0.0,
            -1.263_678_900_113_546_2,
            10.316_088_127_245_074,
            -28.590_328_951_479_096,
            32.236_234_016_735_535,
            -12.540_126_809_878_256,
        ],
        &[
            0.0,
            5.410_603_789_859_042,
            -34.765_076_986_661_184,
            81.663_095_058_434_14,
            -82.102_031_548_835_99,
            29.555_300_148_451_605,
        ],
        &[
            0.0,
            -7.032_137_906_794_574,
            47.745_797_107_822_554,
            -114.937_529_137_700_94,
            116.266_218_579_111_95,
            -41.792_348_642_439_06,
        ],
        &[
            0.0,
            2.353_758_675_971_498_5,
            -19.008_209_934_160_804,
            50.255_836_422_617_6,
            -53.902_077_746_638_54,
            20.300_692_582_210_084,
        ],
    ]),
}
.checked();

/// Every method, fixed-step ones first.
pub const METHODS: [&Tableau; 13] = [
    &EULER,
    &MIDPOINT,
    &HEUN,
    &RALSTON,
    &HEUN3,
    &RK4,
    &RK38,
    &FEHLBERG2,
    &ADAPTIVE_HEUN,
    &BOSH3,
    &DOPRI5,
    &TSIT5,
    &DOPRI8,
];
