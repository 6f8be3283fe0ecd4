//! Order conditions over all rooted trees, and observed orders of convergence, of every method and its extension.

use ndarray::{Array3, array};
use symplectic_adjoint::field::custom::{Custom, RowField};
use symplectic_adjoint::tableau::methods::{DOPRI8, METHODS};
use symplectic_adjoint::{Options, Output, Result, Steps, Tableau, odeint};

/// A rooted tree, as the sorted list of its root's subtrees.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Tree(Vec<Tree>);

impl Tree {
    fn order(&self) -> usize {
        1 + self.0.iter().map(Tree::order).sum::<usize>()
    }

    /// γ: the product of the orders of all subtrees (Hairer, Nørsett, Wanner I, II.2).
    fn density(&self) -> f64 {
        self.order() as f64 * self.0.iter().map(Tree::density).product::<f64>()
    }

    /// The elementary weights of the stages: 1 for a leaf, else the product over subtrees of Σ_j a_ij φ_j.
    fn stage_weights(&self, tableau: &Tableau) -> Vec<f64> {
        let mut weights = vec![1.0; tableau.stages()];
        for subtree in &self.0 {
            let inner = subtree.stage_weights(tableau);
            for (weight, row) in weights.iter_mut().zip(tableau.a) {
                *weight *= row.iter().zip(&inner).map(|(a, phi)| a * phi).sum::<f64>();
            }
        }
        weights
    }
}

/// All trees of each order up to `order`, by grafting a leaf wherever one fits.
fn trees(order: usize) -> Vec<Vec<Tree>> {
    fn graft(tree: &Tree) -> Vec<Tree> {
        let mut grown = vec![{
            let mut children = tree.0.clone();
            children.push(Tree(Vec::new()));
            children
        }];
        for (i, child) in tree.0.iter().enumerate() {
            grown.extend(graft(child).into_iter().map(|child| {
                let mut children = tree.0.clone();
                children[i] = child;
                children
            }));
        }
        let sorted = grown.into_iter().map(|mut children| {
            children.sort();
            Tree(children)
        });
        sorted.collect()
    }
    let mut all = vec![vec![Tree(Vec::new())]];
    for _ in 1..order {
        let mut next: Vec<Tree> = all[all.len() - 1].iter().flat_map(graft).collect();
        next.sort();
        next.dedup();
        all.push(next);
    }
    all
}

#[test]
fn order_conditions_hold_to_rounding() {
    let trees = trees(9);
    assert_eq!(trees.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 2, 4, 9, 20, 48, 115, 286]);
    let residual = |tableau: &Tableau, weights: &[f64], tree: &Tree| {
        let phi = tree.stage_weights(tableau);
        (weights.iter().zip(&phi).map(|(b, phi)| b * phi).sum::<f64>() - 1.0 / tree.density()).abs()
    };
    for method in METHODS {
        for (weights, order) in [(method.b, method.order), (method.b_hat, method.embedded_order)] {
            if weights.is_empty() {
                continue;
            }
            let order = order as usize;
            for tree in trees[..order].iter().flatten() {
                // dopri8's fractions are good to 1e-17 each; their products cancel by three digits.
                assert!(residual(method, weights, tree) < 5e-14, "{} of order {order}", method.name);
            }
            let next = trees[order].iter().map(|tree| residual(method, weights, tree)).fold(0.0, f64::max);
            assert!(next > 1e-6, "{} is said to be of order {order} only", method.name);
        }
    }
}

#[test]
fn extensions_begin_and_end_with_the_step() {
    for method in METHODS {
        let len = method.gradient_stages() + 1;
        let (mut weights, mut slopes) = (vec![0.0; len], vec![0.0; len]);
        method.extension_weights(0.0, &mut weights, &mut slopes);
        assert!(weights.iter().all(|&b| b == 0.0));
        method.extension_weights(1.0, &mut weights, &mut slopes);
        for (i, weight) in weights.iter().enumerate() {
            let b = if i + 1 < len { method.b[i] } else { 0.0 };
            assert!((weight - b).abs() < 1e-11, "{}: b_{i}(1)", method.name);
        }
        // The derivative, by differences.
        for theta in [0.1, 0.45, 0.9] {
            let (mut above, mut below, mut unused) = (weights.clone(), weights.clone(), slopes.clone());
            method.extension_weights(theta + 1e-5, &mut above, &mut unused);
            method.extension_weights(theta - 1e-5, &mut below, &mut unused);
            method.extension_weights(theta, &mut weights, &mut slopes);
            for i in 0..len {
                assert!(((above[i] - below[i]) / 2e-5 - slopes[i]).abs() < 1e-7);
            }
        }
    }
}

/// Predator and prey, with a season: coupled, non-linear and dependent on time.
struct Seasons;

impl RowField<f64> for Seasons {
    fn evaluate(
        &self,
        t: f64,
        y: ndarray::ArrayView2<'_, f64>,
        _: &[f64],
        mut dy: ndarray::ArrayViewMut2<'_, f64>,
    ) -> Result<()> {
        dy[[0, 0]] = y[[0, 0]] * (1.0 - y[[0, 1]]) + 0.3 * t.sin();
        dy[[0, 1]] = y[[0, 1]] * (y[[0, 0]] - 1.0);
        Ok(())
    }

    fn vjp(
        &self,
        _: f64,
        _: ndarray::ArrayView2<'_, f64>,
        _: ndarray::ArrayView2<'_, f64>,
        _: &[f64],
        _: ndarray::ArrayViewMut2<'_, f64>,
        _: &mut [f64],
    ) -> Result<Option<f64>> {
        unreachable!("not differentiated")
    }
}

fn solve(method: &'static Tableau, times: &[f64], steps: Steps, output: Output) -> Array3<f64> {
    let field = Custom::new(2, &[], Seasons).unwrap();
    let options = Options { steps, output: Some(output), ..Options::new(method) };
    odeint(&field, array![[1.2, 0.7]].view(), times, &options).unwrap().y().to_owned()
}

/// The greatest error at the times for so many steps from 0 to 4.
fn error(method: &'static Tableau, times: &[f64], steps: f64, exact: &Array3<f64>) -> f64 {
    let output = if times.len() > 2 { Output::Interpolate } else { Output::Land };
    let y = solve(method, times, Steps::AtMost(4.0 / steps), output);
    (&y - exact).iter().fold(0.0, |worst, error| worst.max(error.abs()))
}

#[test]
fn observed_orders_are_the_documented_ones() {
    // Off the grid whatever the number of steps, and everywhere within steps.
    let inside: Vec<f64> = (0..=200).map(|i| if i == 200 { 4.0 } else { f64::from(i) * 0.01987 }).collect();
    let exact = |times: &[f64]| solve(&DOPRI8, times, Steps::AtMost(0.01), Output::Land);
    let (exact_end, exact_inside) = (exact(&[0.0, 4.0]), exact(&inside));
    for method in METHODS {
        let cases = [(&[0.0, 4.0][..], &exact_end, method.order), (&inside, &exact_inside, method.extension_order)];
        for (times, exact, order) in cases {
            // Steps so short that the leading term rules, so long that rounding does not.
            let steps = match order {
                1 => 2000.0,
                2 => 800.0,
                3 => 200.0,
                4 | 5 => 60.0,
                6 => 40.0,
                _ => 16.0,
            };
            let observed = (error(method, times, steps, exact) / error(method, times, 2.0 * steps, exact)).log2();
            let documented = f64::from(order);
            assert!((observed - documented).abs() < 0.2, "{}: {observed} for {documented}", method.name);
        }
    }
}
