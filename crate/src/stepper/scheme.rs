//! A method's weights, for each part of a state's features.
//!
//! A Runge–Kutta method has the same weights for all features. A partitioned one, such as leapfrog, has different weights for each part,
//! with common stage times.

use std::ops::Range;

use super::{Method, leapfrog};
use crate::kernel::panels::Panels;
use crate::tableau::{MAX_DEGREE, Tableau, hermite, polynomial};

/// The weights of some of the features.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    pub rows: Range<usize>,
    /// Row i has the weights of the stages before stage i.
    pub a: &'static [&'static [f64]],
    pub b: &'static [f64],
}

/// The weights of a method.
#[derive(Debug, Clone)]
pub(crate) struct Scheme {
    pub stages: usize,
    pub c: &'static [f64],
    /// All features, in their order.
    pub parts: Vec<Weights>,
    /// The tableau of a Runge–Kutta method; `None` for a partitioned one.
    tableau: Option<&'static Tableau>,
    /// b_i(θ) of a Runge–Kutta method's continuous extension, the last of f(x_{n+1}), as the coefficients of θ¹, θ², …, and its degree.
    extension: Vec<[f64; MAX_DEGREE]>,
    degree: usize,
    /// Whether the estimate of the error takes f(x_{n+1}), which is then the next step's first slope.
    pub estimates_with_next: bool,
}

impl Scheme {
    /// The weights of a method for a state of `features` features.
    pub fn new(method: Method, features: usize) -> Self {
        let Method::RungeKutta(tableau) = method else {
            let parts = leapfrog::parts(features).to_vec();
            return Self {
                stages: leapfrog::STAGES,
                c: &leapfrog::C,
                parts,
                tableau: None,
                extension: vec![],
                degree: 3,
                estimates_with_next: false,
            };
        };
        let all = Weights { rows: 0..features, a: tableau.a, b: tableau.b };
        let estimates_with_next = tableau.adaptive() && tableau.fsal();
        let (stages, parts) = (tableau.gradient_stages(), vec![all]);
        let extension = (0..=stages).map(|i| tableau.extension_polynomial(i)).collect();
        Self {
            stages,
            c: tableau.c,
            parts,
            tableau: Some(tableau),
            extension,
            degree: tableau.extension_degree(),
            estimates_with_next,
        }
    }

    fn runge_kutta(&self) -> &'static Tableau {
        self.tableau.expect("a Runge–Kutta method, which alone adapts steps and interpolates outputs")
    }

    /// The order of an adaptive method.
    pub fn order(&self) -> u32 {
        self.runge_kutta().order
    }

    /// Calls `each` with the place of each part in a state of `len` numbers; if there are several parts, panel by panel.
    #[inline(always)]
    pub fn for_each_range<'s>(&'s self, panels: Panels, len: usize, mut each: impl FnMut(Range<usize>, &'s Weights)) {
        let whole = self.parts.len() == 1;
        let features = self.parts.last().map_or(0, |part| part.rows.end);
        for index in 0..if whole { 1 } else { panels.count() } {
            for part in &self.parts {
                let place = if whole {
                    0..len
                } else {
                    let panel = panels.panel(index);
                    let start = panel.range(features).start;
                    start + part.rows.start * panel.width..start + part.rows.end * panel.width
                };
                each(place, part);
            }
        }
    }

    /// The weights of the estimate of an adaptive method's error.
    pub fn error(&self) -> impl Iterator<Item = f64> {
        let Tableau { b, b_hat, .. } = *self.runge_kutta();
        b.iter().zip(b_hat).map(|(b, b_hat)| b - b_hat)
    }

    /// b_i(θ) of the continuous extension and b_i′(θ), the last of f(x_{n+1}), of a method that interpolates outputs.
    pub fn extension_weights(&self, theta: f64, weights: &mut [f64], rates: &mut [f64]) {
        debug_assert!(!self.extension.is_empty(), "of a Runge–Kutta method");
        for (i, coefficients) in self.extension.iter().enumerate() {
            (weights[i], rates[i]) = polynomial(&coefficients[..self.degree], theta);
        }
    }

    /// The degree of the continuous extension.
    pub fn extension_degree(&self) -> usize {
        self.degree
    }

    /// b_i(θ) of a part as the coefficients of θ¹, θ², …; of leapfrog those of the cubic Hermite interpolant.
    pub fn extension_polynomial(&self, part: &Weights, i: usize) -> [f64; MAX_DEGREE] {
        match self.tableau {
            Some(_) => self.extension[i],
            None => hermite(part.b, i, 0.0),
        }
    }
}
