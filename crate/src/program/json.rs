//! The form in which programs travel to workers, other machines and model files: JSON, checked before anything runs.
//!
//! ```json
//! { "version": 1, "state": 2, "parameters": 1, "arguments": 0, "nodes": [["state", 0, 2], …], "result": 3 }
//! ```
//!
//! A node is `[operation, …]`; operands are indices of nodes before it. docs/programs.md lists the operations.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::differentiate::{gradient, without_variables};
use super::graph::{Binary, Compare, Condition, Graph, Id, Input, Op, Place, Unary};
use super::{Program, Sizes};
use crate::error::{Error, Result};

/// The version of the form.
pub const VERSION: u64 = 1;
/// The most nodes that a program may have, those of gradients within it included.
pub const MAX_NODES: usize = 16_384;
/// The most gradients that are taken within a program, each of which looks at all nodes before it.
pub const MAX_GRADIENTS: usize = 1024;
/// The most operands that values joined of others may have together.
pub const MAX_PARTS: usize = 1 << 16;
/// The most rows that its values may have together; those of parameters may be four times as many as there are, and as many more.
pub const MAX_ROWS: usize = 1 << 21;
/// The most bytes of its text.
pub const MAX_BYTES: usize = 1 << 24;

impl Program {
    /// Reads a program from JSON.
    ///
    /// # Errors
    /// `Option`, which names the node that is wrong and what was expected there.
    pub fn from_json(text: &str) -> Result<Self> {
        if text.len() > MAX_BYTES {
            return Err(option_error("program", format!("{MAX_BYTES} bytes at most"), text.len()));
        }
        let value: Value =
            serde_json::from_str(text).map_err(|error| option_error("program", "JSON", error.to_string()))?;
        let version = field(&value, "version")?;
        if version as u64 != VERSION {
            return Err(option_error("program.version", format!("{VERSION}; a newer package may read it"), version));
        }
        let [state, parameters, arguments] =
            [field(&value, "state")?, field(&value, "parameters")?, field(&value, "arguments")?];
        if state == 0 {
            return Err(option_error("program.state", "a positive integer", 0));
        }
        let nodes = value.get("nodes").and_then(Value::as_array);
        let nodes = nodes.ok_or_else(|| option_error("program.nodes", "a list of nodes", shown(value.get("nodes"))))?;
        if nodes.is_empty() || nodes.len() > MAX_NODES {
            return Err(option_error("program.nodes", format!("1 to {MAX_NODES} nodes"), nodes.len()));
        }
        let data = value.get("data").map_or(Ok(0), |_| field(&value, "data"))?;
        let sizes = Sizes { state, parameters, arguments, data };
        let graph = Graph::default();
        let variables = Variables::of(nodes);
        let mut reader =
            Reader { graph, ids: Vec::new(), variables, gradients: 0, rows: 0, parts: 0, parameter_rows: 0, sizes };
        for (index, node) in nodes.iter().enumerate() {
            let id = reader.node(index, node).map_err(|InvalidNode { expected, given }| {
                option_error("program.nodes", format!("node {index} to be {expected}"), given)
            })?;
            reader.ids.push(id);
        }
        let result = field(&value, "result")?;
        let Some(&value) = reader.ids.get(result) else {
            return Err(option_error("program.result", format!("the index of one of {} nodes", nodes.len()), result));
        };
        let (graph, value) = without_variables(&reader.graph, value);
        Ok(Self::of(graph, value, sizes))
    }

    /// The program as JSON, which [`from_json`](Self::from_json) reads.
    pub fn to_json(&self) -> String {
        let (graph, value) = &self.source;
        let live = graph.live([*value]);
        let mut index = vec![0; graph.nodes.len()];
        let mut nodes = Vec::new();
        for id in (0..graph.nodes.len()).filter(|&id| live[id]) {
            index[id] = nodes.len();
            nodes.push(written(graph, id, &index));
        }
        let mut program = json!({
            "version": VERSION,
            "state": self.sizes.state,
            "parameters": self.sizes.parameters,
            "arguments": self.sizes.arguments,
            "nodes": nodes,
            "result": index[*value],
        });
        if self.sizes.data > 0 {
            program["data"] = json!(self.sizes.data);
        }
        program.to_string()
    }
}

fn option_error(argument: &'static str, expected: impl std::fmt::Display, given: impl std::fmt::Display) -> Error {
    Error::option(argument, expected, given)
}

/// A value as a message shows it: the beginning, where it is long.
fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".into() };
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn field(value: &Value, name: &'static str) -> Result<usize> {
    let argument = match name {
        "version" => "program.version",
        "state" => "program.state",
        "parameters" => "program.parameters",
        "arguments" => "program.arguments",
        "data" => "program.data",
        _ => "program.result",
    };
    whole(value.get(name)).ok_or_else(|| option_error(argument, "an integer, zero or more", shown(value.get(name))))
}

fn whole(value: Option<&Value>) -> Option<usize> {
    value.and_then(Value::as_u64).filter(|&number| number <= u64::from(u32::MAX)).map(|number| number as usize)
}

/// With respect to what gradients are taken.
#[derive(Default)]
struct Variables {
    /// Nodes, by their indices.
    nodes: HashSet<usize>,
    /// Rows of the state and of arguments, which several nodes may read: the whole is a variable then.
    state: bool,
    arguments: bool,
}

impl Variables {
    fn of(nodes: &[Value]) -> Self {
        let mut all = Self::default();
        for node in nodes {
            let Some([name, _, of]) = node.as_array().map(Vec::as_slice) else { continue };
            let Some(index) = whole(Some(of)).filter(|_| name == "gradient") else { continue };
            match nodes.get(index).and_then(|node| node.get(0)).and_then(Value::as_str) {
                Some("state") => all.state = true,
                Some("argument") => all.arguments = true,
                _ => _ = all.nodes.insert(index),
            }
        }
        all
    }

    fn has(&self, input: Input) -> bool {
        match input {
            Input::State => self.state,
            Input::Argument => self.arguments,
            _ => false,
        }
    }
}

struct InvalidNode {
    expected: String,
    given: String,
}

struct Reader {
    graph: Graph,
    /// The nodes of the graph, by index in the list.
    ids: Vec<Id>,
    variables: Variables,
    gradients: usize,
    rows: usize,
    /// Operands of joined values, and rows of parameters, each value once.
    parts: usize,
    parameter_rows: usize,
    sizes: Sizes,
}

type NodeResult = std::result::Result<Id, InvalidNode>;

fn invalid<R>(expected: impl Into<String>, given: impl ToString) -> std::result::Result<R, InvalidNode> {
    Err(InvalidNode { expected: expected.into(), given: given.to_string() })
}

impl Reader {
    fn node(&mut self, index: usize, node: &Value) -> NodeResult {
        let Some([name, rest @ ..]) = node.as_array().map(Vec::as_slice) else {
            return invalid("[operation, …]", shown(Some(node)));
        };
        let Some(name) = name.as_str() else { return invalid("[operation, …]", shown(Some(node))) };
        let before = self.graph.nodes.len();
        let id = self.operation(name, rest, node)?;
        for node in &self.graph.nodes[before..] {
            match &node.op {
                Op::Concat(parts) => self.parts += parts.len(),
                Op::Parameter(_) => self.parameter_rows = self.parameter_rows.saturating_add(node.rows),
                _ => {}
            }
        }
        if self.parts > MAX_PARTS {
            return invalid(format!("a value that leaves all with {MAX_PARTS} joined parts at most"), self.parts);
        }
        let most = self.sizes.parameters.saturating_mul(4).saturating_add(MAX_ROWS);
        if self.parameter_rows > most {
            return invalid(format!("a value that leaves {most} rows of parameters at most"), self.parameter_rows);
        }
        if !matches!(self.graph.nodes[id].op, Op::Parameter(_)) {
            self.rows += self.graph.rows(id);
        }
        if self.rows > MAX_ROWS {
            return invalid(format!("a value that leaves all with {MAX_ROWS} rows at most"), self.rows);
        }
        match self.variables.nodes.contains(&index) {
            true if self.graph.uniform(id) => invalid(
                "a value of the state or of arguments, as a gradient is taken with respect to it",
                shown(Some(node)),
            ),
            true => Ok(self.graph.push(Op::Variable(id), self.graph.rows(id))),
            false => Ok(id),
        }
    }

    fn operation(&mut self, name: &str, rest: &[Value], node: &Value) -> NodeResult {
        if let Some(function) = Unary::ALL.into_iter().find(|function| function.name() == name) {
            let [a] = self.operands(rest, node)?;
            return Ok(self.graph.unary(function, a));
        }
        if let Some(function) = Binary::ALL.into_iter().find(|function| function.name() == name) {
            let [a, b] = self.operands(rest, node)?;
            self.check_rows(&[a, b])?;
            return Ok(self.graph.binary(function, a, b));
        }
        match name {
            "constant" => match rest {
                [number] => match number.as_f64().filter(|number| number.is_finite()) {
                    Some(number) => Ok(self.graph.constant(number)),
                    None => invalid("[\"constant\", a finite number]", shown(Some(node))),
                },
                _ => invalid("[\"constant\", number]", shown(Some(node))),
            },
            "constants" => {
                let numbers: Option<Vec<f64>> =
                    rest.iter().map(|number| number.as_f64().filter(|number| number.is_finite())).collect();
                match numbers.filter(|numbers| !numbers.is_empty()) {
                    Some(numbers) => Ok(self.graph.constants(&numbers)),
                    None => invalid("[\"constants\", finite numbers]", shown(Some(node))),
                }
            }
            "time" => match rest {
                [] => Ok(self.graph.time()),
                _ => invalid("[\"time\"]", shown(Some(node))),
            },
            "parameter" => {
                let [offset, rows] = self.numbers(rest, node, "[\"parameter\", offset, rows]")?;
                self.within(offset, rows, self.sizes.parameters, "parameters")?;
                Ok(self.graph.parameter(Place::vector(offset, rows)))
            }
            "state" | "argument" | "data" => {
                let [row, rows] = self.numbers(rest, node, "[\"state\", \"argument\" or \"data\", row, rows]")?;
                let (input, most) = match name {
                    "state" => (Input::State, self.sizes.state),
                    "argument" => (Input::Argument, self.sizes.arguments),
                    _ => (Input::Data, self.sizes.data),
                };
                self.within(row, rows, most, name)?;
                if !self.variables.has(input) {
                    return Ok(self.graph.load(input, row, rows));
                }
                let variable = self.whole(input);
                Ok(self.graph.slice(variable, row, rows))
            }
            "select" => {
                let [compare, operands @ ..] = rest else {
                    return invalid("[\"select\", comparison, a, b, then, else]", shown(Some(node)));
                };
                let compare = match compare.as_str() {
                    Some("less") => Compare::Less,
                    Some("lessEqual") => Compare::LessEqual,
                    _ => return invalid("a choice by \"less\" or \"lessEqual\"", shown(Some(compare))),
                };
                let [a, b, then, otherwise] = self.operands(operands, node)?;
                self.check_rows(&[a, b, then, otherwise])?;
                Ok(self.graph.select(Condition { compare, a, b }, then, otherwise))
            }
            "slice" => {
                let [a, start, rows] = self.numbers(rest, node, "[\"slice\", a, start, rows]")?;
                let a = self.operand(a)?;
                self.within(start, rows, self.graph.rows(a), "rows of its operand")?;
                Ok(self.graph.slice(a, start, rows))
            }
            "concat" => {
                if rest.is_empty() {
                    return invalid("[\"concat\", a, …]", shown(Some(node)));
                }
                let mut parts = Vec::with_capacity(rest.len());
                for part in rest {
                    let Some(index) = whole(Some(part)) else { return invalid("a list of nodes", shown(Some(part))) };
                    parts.push(self.operand(index)?);
                }
                let rows = parts.iter().fold(0_usize, |rows, &part| rows.saturating_add(self.graph.rows(part)));
                self.check_row_limit(rows)?;
                Ok(self.graph.concat(parts))
            }
            "spread" | "sum" => {
                let [a, outer, inner] = self.numbers(rest, node, "[\"spread\" or \"sum\", a, outer, inner]")?;
                let a = self.operand(a)?;
                let copies = outer.saturating_mul(inner);
                if copies == 0 || (name == "sum" && !self.graph.rows(a).is_multiple_of(copies)) {
                    let expected = format!("a {name} over factors of its operand's {} rows", self.graph.rows(a));
                    return invalid(expected, format!("{outer} and {inner}"));
                }
                if name == "sum" {
                    return Ok(self.graph.sum(a, outer, inner));
                }
                self.check_row_limit(copies.saturating_mul(self.graph.rows(a)))?;
                Ok(self.graph.spread(a, outer, inner))
            }
            "dense" => {
                let [w, x, points] = self.numbers(rest, node, "[\"dense\", matrix, x, points]")?;
                let (w, x) = (self.operand(w)?, self.operand(x)?);
                if !self.graph.uniform(w) {
                    return invalid(
                        "dense with a matrix of parameters; use matvec for one of the state",
                        "another matrix",
                    );
                }
                self.product(w, x, points)?;
                self.check_row_limit(self.graph.rows(w) / (self.graph.rows(x) / points) * points)?;
                Ok(self.graph.dense(w, x, points))
            }
            // Tangents of dense layers have points too.
            "matvec" | "matvecTransposed" => {
                let (operands, points) = match rest {
                    [operands @ .., points] if rest.len() == 3 => (operands, whole(Some(points)).unwrap_or(0)),
                    _ => (rest, 1),
                };
                let [m, v] = self.operands(operands, node)?;
                self.product(m, v, points)?;
                self.check_row_limit(self.graph.rows(m) / (self.graph.rows(v) / points) * points)?;
                Ok(match name {
                    "matvec" => self.graph.mat_vec(m, v, points),
                    _ => self.graph.mat_vec_transposed(m, v, points),
                })
            }
            "outer" => {
                let [a, b] = self.operands(rest, node)?;
                self.check_row_limit(self.graph.rows(a).saturating_mul(self.graph.rows(b)))?;
                Ok(self.graph.outer(a, b, 1))
            }
            "gradient" => {
                let [value, variable] = self.operands(rest, node)?;
                if self.graph.rows(value) != 1 {
                    return invalid("the gradient of a value of one row", format!("{} rows", self.graph.rows(value)));
                }
                self.gradients += 1;
                if self.gradients > MAX_GRADIENTS {
                    return invalid(format!("one of {MAX_GRADIENTS} gradients at most"), self.gradients);
                }
                let before = self.graph.nodes.len();
                let id = match self.graph.nodes[variable].op {
                    // Rows of an input.
                    Op::Slice(whole, start) => {
                        let all = gradient(&mut self.graph, value, whole);
                        self.graph.slice(all, start, self.graph.rows(variable))
                    }
                    _ => gradient(&mut self.graph, value, variable),
                };
                if self.graph.nodes.len() > MAX_NODES {
                    let expected = format!("a gradient that leaves all with {MAX_NODES} nodes at most");
                    return invalid(expected, self.graph.nodes.len());
                }
                self.rows += self.graph.nodes[before..].iter().map(|node| node.rows).sum::<usize>();
                Ok(id)
            }
            _ => invalid("an operation", shown(Some(node))),
        }
    }

    /// An input as a variable.
    fn whole(&mut self, input: Input) -> Id {
        let rows = if input == Input::State { self.sizes.state } else { self.sizes.arguments };
        let whole = self.graph.load(input, 0, rows);
        self.graph.push(Op::Variable(whole), rows)
    }

    fn operand(&self, index: usize) -> NodeResult {
        match self.ids.get(index) {
            Some(&id) => Ok(id),
            None => invalid(format!("of nodes before it, 0 to {}", self.ids.len().saturating_sub(1)), index),
        }
    }

    fn operands<const N: usize>(&self, rest: &[Value], node: &Value) -> std::result::Result<[Id; N], InvalidNode> {
        let indices: Option<Vec<usize>> = rest.iter().map(|index| whole(Some(index))).collect();
        let Some(indices) = indices.filter(|indices| indices.len() == N) else {
            return invalid(format!("an operation on {N} nodes"), shown(Some(node)));
        };
        let mut ids = [0; N];
        for (id, index) in ids.iter_mut().zip(indices) {
            *id = self.operand(index)?;
        }
        Ok(ids)
    }

    fn numbers<const N: usize>(
        &self,
        rest: &[Value],
        node: &Value,
        expected: &str,
    ) -> std::result::Result<[usize; N], InvalidNode> {
        let numbers: Option<Vec<usize>> = rest.iter().map(|number| whole(Some(number))).collect();
        match numbers.and_then(|numbers| <[usize; N]>::try_from(numbers).ok()) {
            Some(numbers) => Ok(numbers),
            None => invalid(expected, shown(Some(node))),
        }
    }

    fn within(&self, start: usize, rows: usize, most: usize, of: &str) -> std::result::Result<(), InvalidNode> {
        match rows > 0 && start.saturating_add(rows) <= most {
            true => Ok(()),
            false => invalid(format!("within {most} {of}"), format!("{rows} from {start} on")),
        }
    }

    fn check_rows(&self, ids: &[Id]) -> std::result::Result<(), InvalidNode> {
        let rows: Vec<usize> = ids.iter().map(|&id| self.graph.rows(id)).collect();
        let most = rows.iter().copied().max().unwrap_or(1);
        match rows.iter().all(|&rows| rows == most || rows == 1) {
            true => Ok(()),
            false => invalid("of operands with as many rows, or one", format!("{rows:?}")),
        }
    }

    fn product(&self, matrix: Id, vector: Id, points: usize) -> std::result::Result<(), InvalidNode> {
        let (numbers, rows) = (self.graph.rows(matrix), self.graph.rows(vector));
        let fits = points > 0 && rows.is_multiple_of(points) && numbers.is_multiple_of(rows / points.max(1));
        match fits {
            true => Ok(()),
            false => invalid(
                format!("a product whose matrix has a multiple of the vector's {rows} rows, at {points} points"),
                format!("{numbers} numbers"),
            ),
        }
    }

    fn check_row_limit(&self, rows: usize) -> std::result::Result<(), InvalidNode> {
        match self.rows.saturating_add(rows) <= MAX_ROWS {
            true => Ok(()),
            false => invalid(format!("a value that leaves all with {MAX_ROWS} rows at most"), rows),
        }
    }
}

fn written(graph: &Graph, id: Id, index: &[usize]) -> Value {
    let at = |id: &Id| index[*id];
    let rows = graph.rows(id);
    match &graph.nodes[id].op {
        Op::Constant(bits) => json!(["constant", f64::from_bits(*bits)]),
        Op::Time => json!(["time"]),
        Op::Parameter(place) => json!(["parameter", place.offset, rows]),
        Op::Load(Input::State, row) => json!(["state", row, rows]),
        Op::Load(Input::Argument, row) => json!(["argument", row, rows]),
        Op::Load(_, row) => json!(["data", row, rows]),
        Op::Constants(numbers) => {
            let numbers = numbers.iter().map(|&bits| json!(f64::from_bits(bits)));
            Value::Array(std::iter::once(json!("constants")).chain(numbers).collect())
        }
        Op::Unary(function, a) => json!([function.name(), at(a)]),
        Op::Binary(function, a, b) => json!([function.name(), at(a), at(b)]),
        Op::Select(Condition { compare, a, b }, then, otherwise) => {
            let name = if *compare == Compare::Less { "less" } else { "lessEqual" };
            json!(["select", name, at(a), at(b), at(then), at(otherwise)])
        }
        Op::Slice(a, start) => json!(["slice", at(a), start, rows]),
        Op::Concat(parts) => {
            let parts = parts.iter().map(|part| json!(at(part)));
            Value::Array(std::iter::once(json!("concat")).chain(parts).collect())
        }
        Op::Spread { a, outer, inner } => json!(["spread", at(a), outer, inner]),
        Op::Sum { a, outer, inner } => json!(["sum", at(a), outer, inner]),
        Op::Dense { w, x, points, .. } => json!(["dense", at(w), at(x), points]),
        Op::MatVec { m, v, points: 1 } => json!(["matvec", at(m), at(v)]),
        Op::MatVec { m, v, points } => json!(["matvec", at(m), at(v), points]),
        Op::MatVecTransposed { m, v, points: 1 } | Op::DenseTransposed { w: m, x: v, points: 1 } => {
            json!(["matvecTransposed", at(m), at(v)])
        }
        Op::MatVecTransposed { m, v, points } | Op::DenseTransposed { w: m, x: v, points } => {
            json!(["matvecTransposed", at(m), at(v), points])
        }
        Op::Outer { a, b, .. } => json!(["outer", at(a), at(b)]),
        op => unreachable!("a field's own program has no {op:?}"),
    }
}
