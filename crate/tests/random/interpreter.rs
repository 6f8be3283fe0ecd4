//! Runs a program's JSON for one trajectory, node after node, in the plainest way.

use serde_json::Value;
use symplectic_adjoint::program::Program;

pub struct Interpreter {
    nodes: Vec<Vec<Value>>,
    result: usize,
}

/// Where a program is evaluated.
#[derive(Debug, Clone)]
pub struct Point {
    pub t: f64,
    pub state: Vec<f64>,
    pub arguments: Vec<f64>,
    pub parameters: Vec<f64>,
}

impl Interpreter {
    pub fn new(program: &Program) -> Self {
        let json: Value = serde_json::from_str(&program.to_json()).unwrap();
        let nodes = json["nodes"].as_array().unwrap().iter().map(|node| node.as_array().unwrap().clone()).collect();
        Self { nodes, result: json["result"].as_u64().unwrap() as usize }
    }

    /// The names of its operations.
    pub fn operations(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| node[0].as_str().unwrap())
    }

    /// The result, and on which side of every kink the point lies.
    pub fn run(&self, at: &Point) -> (Vec<f64>, Vec<bool>) {
        let mut values: Vec<Vec<f64>> = Vec::new();
        let mut sides = Vec::new();
        for node in &self.nodes {
            let value = evaluate(node, &values, at, &mut sides);
            values.push(value);
        }
        (values.swap_remove(self.result), sides)
    }
}

fn evaluate(node: &[Value], values: &[Vec<f64>], at: &Point, sides: &mut Vec<bool>) -> Vec<f64> {
    let name = node[0].as_str().unwrap();
    let number = |index: usize| node[index].as_u64().unwrap() as usize;
    let operand = |index: usize| &values[number(index)];
    let points = |index: usize| node.get(index).map_or(1, |points| points.as_u64().unwrap() as usize);
    // Row by row, where one row serves all.
    let wide = |operands: &[usize]| operands.iter().map(|&index| operand(index).len()).max().unwrap();
    let row = |index: usize, row: usize| operand(index)[if operand(index).len() == 1 { 0 } else { row }];
    match name {
        "constant" => vec![node[1].as_f64().unwrap()],
        "constants" => node[1..].iter().map(|number| number.as_f64().unwrap()).collect(),
        "time" => vec![at.t],
        "parameter" => at.parameters[number(1)..number(1) + number(2)].to_vec(),
        "state" => at.state[number(1)..number(1) + number(2)].to_vec(),
        "argument" => at.arguments[number(1)..number(1) + number(2)].to_vec(),
        "add" | "sub" | "mul" | "div" | "pow" | "atan2" | "min" | "max" => (0..wide(&[1, 2]))
            .map(|k| {
                let (a, b) = (row(1, k), row(2, k));
                match name {
                    "add" => a + b,
                    "sub" => a - b,
                    "mul" => a * b,
                    "div" => a / b,
                    "pow" => libm::pow(a, b),
                    "atan2" => libm::atan2(a, b),
                    _ => {
                        sides.push(a < b);
                        match name {
                            _ if a.is_nan() || b.is_nan() => f64::NAN,
                            "min" => a.min(b),
                            _ => a.max(b),
                        }
                    }
                }
            })
            .collect(),
        "select" => (0..wide(&[2, 3, 4, 5]))
            .map(|k| {
                let (a, b) = (row(2, k), row(3, k));
                let holds = if node[1] == "less" { a < b } else { a <= b };
                sides.push(holds);
                if holds { row(4, k) } else { row(5, k) }
            })
            .collect(),
        "slice" => operand(1)[number(2)..number(2) + number(3)].to_vec(),
        "concat" => (1..node.len()).flat_map(|index| operand(index).clone()).collect(),
        "spread" => {
            let (a, outer, inner) = (operand(1), number(2), number(3));
            (0..outer).flat_map(|_| a.iter().flat_map(|&a| std::iter::repeat_n(a, inner))).collect()
        }
        "sum" => {
            let (a, outer, inner) = (operand(1), number(2), number(3));
            let rows = a.len() / (outer * inner);
            let mut sums = vec![0.0; rows];
            for (index, a) in a.iter().enumerate() {
                sums[index / inner % rows] += a;
            }
            sums
        }
        "dense" | "matvec" => {
            let (m, x, points) = (operand(1), operand(2), points(3));
            let columns = x.len() / points;
            let mut y = vec![0.0; m.len() / columns * points];
            for (index, m) in m.iter().enumerate() {
                for point in 0..points {
                    y[index / columns * points + point] += m * x[index % columns * points + point];
                }
            }
            y
        }
        "matvecTransposed" => {
            let (m, x, points) = (operand(1), operand(2), points(3));
            let rows = x.len() / points;
            let columns = m.len() / rows;
            let mut y = vec![0.0; columns * points];
            for (index, m) in m.iter().enumerate() {
                for point in 0..points {
                    y[index % columns * points + point] += m * x[index / columns * points + point];
                }
            }
            y
        }
        "outer" => operand(1).iter().flat_map(|a| operand(2).iter().map(move |b| a * b)).collect(),
        name => operand(1).iter().map(|&x| unary(name, x, sides)).collect(),
    }
}

fn unary(name: &str, x: f64, sides: &mut Vec<bool>) -> f64 {
    match name {
        "neg" => -x,
        "abs" => {
            sides.push(x < 0.0);
            x.abs()
        }
        "sign" => {
            sides.extend([x < 0.0, x > 0.0]);
            if x < 0.0 {
                -1.0
            } else if x > 0.0 {
                1.0
            } else {
                0.0 * x
            }
        }
        "exp" => libm::exp(x),
        "expm1" => libm::expm1(x),
        "log" => libm::log(x),
        "log1p" => libm::log1p(x),
        "sqrt" => libm::sqrt(x),
        "sin" => libm::sin(x),
        "cos" => libm::cos(x),
        "tan" => libm::tan(x),
        "asin" => libm::asin(x),
        "acos" => libm::acos(x),
        "atan" => libm::atan(x),
        "sinh" => libm::sinh(x),
        "cosh" => libm::cosh(x),
        "tanh" => libm::tanh(x),
        "sigmoid" => 1.0 / (1.0 + libm::exp(-x)),
        "softplus" => x.max(0.0) + libm::log1p(libm::exp(-x.abs())),
        "relu" => {
            sides.push(x < 0.0);
            x.max(0.0)
        }
        "elu" => {
            sides.push(x < 0.0);
            if x > 0.0 { x } else { libm::expm1(x) }
        }
        "normalCdf" => 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        _ => panic!("no operation {name}"),
    }
}
