//! Programs from files that somebody has damaged or made to hurt: refused with an error, or else run and differentiated like others,
//! in time and memory that the limits on nodes, operands and rows bound.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ndarray::Array2;
use serde_json::{Value, json};
use symplectic_adjoint::Error;
use symplectic_adjoint::field::program::ProgramField;
use symplectic_adjoint::field::{evaluate, vjp};
use symplectic_adjoint::program::Program;

use crate::numbers::numbers;
use crate::random::{Genes, array, program};

/// Random choices of one case.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end.max(1)
    }

    fn genes(&mut self) -> Vec<u32> {
        let len = 5 + self.below(80);
        (0..len).map(|_| (self.below(1 << 30) << 2) as u32).collect()
    }
}

const NAMES: [&str; 48] = [
    "neg",
    "abs",
    "sign",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "sigmoid",
    "softplus",
    "relu",
    "normalCdf",
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "atan2",
    "min",
    "max",
    "constant",
    "time",
    "parameter",
    "state",
    "argument",
    "select",
    "slice",
    "concat",
    "spread",
    "sum",
    "dense",
    "matvec",
    "matvecTransposed",
    "gradient",
    "outer",
    "sumLanes",
    "data",
    "constants",
    "elu",
];

fn number(random: &mut Random) -> Value {
    let large = [u64::from(u32::MAX), 1 << 32, u64::MAX, 1 << 24, (1 << 24) - 1, 1 << 16, 1 << 31, 16_384];
    match random.below(10) {
        0..=4 => json!(random.below(12)),
        5 => json!(random.below(100)),
        6 => json!(large[random.below(large.len())]),
        7 => json!([-1.0, 0.5, 1e308, -1e308, 5e-324, -0.0, 1e300, 3.0][random.below(8)]),
        8 => json!(-1),
        _ => [json!(null), json!("less"), json!([]), json!({}), json!(true), json!([[[[]]]])][random.below(6)].clone(),
    }
}

fn damage(program: &mut Value, random: &mut Random) {
    let nodes = program["nodes"].as_array_mut().unwrap();
    if nodes.is_empty() {
        nodes.push(json!(["time"]));
    }
    let (count, index) = (nodes.len(), random.below(nodes.len()));
    match random.below(12) {
        0..=3 => {
            if let Some(node) = nodes.get_mut(index).and_then(Value::as_array_mut) {
                let at = random.below(node.len());
                if let Some(item) = node.get_mut(at) {
                    *item = if at == 0 { json!(NAMES[random.below(NAMES.len())]) } else { number(random) };
                }
            }
        }
        4 | 5 => {
            // Another operand that there is.
            if let Some(node) = nodes.get_mut(index).and_then(Value::as_array_mut) {
                let at = 1 + random.below(node.len().saturating_sub(1));
                if let Some(item) = node.get_mut(at) {
                    *item = json!(random.below(index));
                }
            }
        }
        6 => {
            if let Some(node) = nodes.get_mut(index).and_then(Value::as_array_mut) {
                if random.below(2) == 0 {
                    node.push(number(random));
                } else {
                    node.pop();
                }
            }
        }
        7 => nodes.swap(index, random.below(count)),
        8 => {
            let copy = nodes[random.below(count)].clone();
            nodes.insert(index, copy);
        }
        9 if count > 1 => {
            nodes.remove(index);
        }
        10 => {
            let name = ["version", "state", "parameters", "arguments", "result"][random.below(5)];
            program[name] = number(random);
        }
        _ => {
            let name = NAMES[random.below(NAMES.len())];
            let mut node = vec![json!(name)];
            (0..random.below(4)).for_each(|_| node.push(json!(random.below(index + 1))));
            nodes.push(Value::Array(node));
            program["result"] = json!(count);
        }
    }
}

fn hostile(seed: u64) -> String {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66);
    let program = program(&mut Genes::new(&random.genes()), random.below(2) == 0);
    let program = if random.below(8) == 0 { program.tangent() } else { program };
    let mut value: Value = serde_json::from_str(&program.to_json()).unwrap();
    if random.below(4) > 0 {
        for _ in 0..1 + random.below(3) {
            damage(&mut value, &mut random);
            if !value["nodes"].is_array() {
                break;
            }
        }
        return value.to_string();
    }
    let mut bytes = value.to_string().into_bytes();
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] = b"0123456789,[]{}\":.-e\\ "[random.below(22)],
            1 => {
                bytes.remove(at);
            }
            2 => bytes.insert(at, b"0123456789,[]-"[random.below(14)]),
            _ if random.below(4) == 0 => bytes.truncate(at + 1),
            _ => bytes[at] = random.below(256) as u8,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Runs and differentiates a program, if its inputs are few enough to be made.
fn used(program: &Program, batches: &[usize], seed: u64) {
    let sizes = [program.state(), program.parameters(), program.arguments(), program.outputs()];
    if sizes.iter().any(|&size| size > 1 << 21) {
        return;
    }
    let parameters = numbers(program.parameters(), seed);
    let field = ProgramField::<f64>::new(program.clone(), &parameters).unwrap();
    for &batch in batches {
        let (y, arguments) = (array(batch, program.state(), seed + 1), array(batch, program.arguments(), seed + 2));
        let with = field.with_arguments(arguments.view()).unwrap();
        let value = evaluate(&with, &parameters, 0.3, y.view());
        assert!(matches!(&value, Ok(value) if value.len() == batch * program.outputs()), "a value of another size");
        let pulled = vjp(&with, &parameters, 0.3, y.view(), Array2::ones((batch, program.outputs())).view());
        assert!(matches!(pulled, Ok(_) | Err(Error::NonFiniteResult { .. })), "{:?}", pulled.err());
    }
}

/// Whether it was accepted.
fn case(seed: u64) -> bool {
    let text = hostile(seed);
    let run = || {
        let read = Program::from_json(&text);
        let Ok(program) = read else {
            assert!(matches!(read, Err(Error::Option { .. })));
            return false;
        };
        let again = Program::from_json(&program.to_json()).expect("what was read can be written and read");
        assert_eq!(again.to_json(), program.to_json());
        used(&program, &[1, 5], seed);
        if seed.is_multiple_of(16) && text.len() < 5000 {
            used(&program.tangent(), &[1], seed);
        }
        true
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| panic!("case {seed}: {text}"))
}

fn cases(range: std::ops::Range<u64>) {
    let count = range.end - range.start;
    let accepted = range.filter(|&seed| case(seed)).count() as u64;
    assert!(accepted * 10 > count && accepted * 10 < count * 9, "{accepted} of {count} accepted");
}

#[test]
fn damaged_programs() {
    cases(0..20_000);
}

#[test]
#[ignore = "takes long: npm run test:long"]
fn a_million_damaged_programs() {
    cases(20_000..1_020_000);
}

/// Programs as bad as the limits allow.
fn worst() -> Vec<(&'static str, Value)> {
    let whole = |state: usize, parameters: usize, nodes: Vec<Value>| {
        let result = nodes.len() - 1;
        json!({ "version": 1, "state": state, "parameters": parameters, "arguments": 0, "nodes": nodes, "result": result })
    };
    let most = 16_384;
    let mut all = vec![];
    // Slices of one value, each of one row, of many, and in the order of their beginnings or not; added up.
    for (name, rows, window, stride) in [
        ("rows", 5000, 1, 1),
        ("windows", 5200, 100, 1),
        ("long windows", 5200, 100, 7),
        ("longer windows", 6000, 135, 11),
    ] {
        let count = 5000;
        let mut nodes = vec![json!(["state", 0, rows]), json!(["tanh", 0])];
        (0..count).for_each(|k| nodes.push(json!(["slice", 1, k * stride % (rows - window + 1), window])));
        (0..count).for_each(|k| nodes.push(json!(["sin", 2 + k])));
        nodes.push(json!(["add", 2 + count, 3 + count]));
        (2..count).for_each(|k| nodes.push(json!(["add", nodes.len() - 1, 2 + count + k])));
        all.push((name, whole(rows, 0, nodes)));
    }
    // A chain of everything that is cheap to write.
    for (name, link) in [("sines", "sin"), ("roots", "sqrt"), ("exponentials", "exp"), ("negations", "neg")] {
        let mut nodes = vec![json!(["state", 0, 8])];
        (1..most).for_each(|k| nodes.push(json!([link, k - 1])));
        all.push((name, whole(8, 0, nodes)));
    }
    let mut nodes = vec![json!(["state", 0, 8])];
    (1..most).for_each(|k| nodes.push(json!(["mul", k - 1, k - 1])));
    all.push(("squares", whole(8, 0, nodes)));
    // All of a value, again and again joined to itself, and slices across the seams.
    let mut nodes = vec![json!(["state", 0, 4]), json!(["sin", 0])];
    (0..14).for_each(|_| nodes.push(json!(["concat", nodes.len() - 1, nodes.len() - 1])));
    all.push(("doubled", whole(4, 0, nodes)));
    let mut nodes = vec![json!(["state", 0, 2]), json!(["sin", 0]), json!(["cos", 0])];
    for k in 0..(most - 4) / 2 {
        let before = nodes.len() - 1;
        nodes.push(if k % 2 == 0 { json!(["concat", 1, before]) } else { json!(["concat", before, 1]) });
        nodes.push(json!(["slice", before + 1, 1, 2]));
    }
    all.push(("seams", whole(2, 0, nodes)));
    let mut nodes = vec![json!(["state", 0, 2]), json!(["sin", 0])];
    nodes.push(json!(["concat", 1, 1, 0]));
    for k in 0..(most - 8) / 2 {
        let before = nodes.len() - 1;
        nodes.push(if k % 2 == 0 { json!(["concat", 1, before]) } else { json!(["concat", before, 1]) });
        nodes.push(json!(["slice", before + 1, 1, 6]));
    }
    nodes.push(json!(["slice", nodes.len() - 1, 3, 1]));
    all.push(("deep seams", whole(2, 0, nodes)));
    // A join of many pairs of rows, sliced whole and through the middle of pairs.
    for (name, cut, count) in [("joined and sliced", 0, 40), ("joined and cut", 1, 4500)] {
        let mut nodes = vec![json!(["state", 0, 3000]), json!(["tanh", 0])];
        (0..1500).for_each(|k| nodes.push(json!(["slice", 1, 2998 - 2 * k, 2])));
        nodes.push(Value::Array(std::iter::once(json!("concat")).chain((0..1500).map(|k| json!(2 + k))).collect()));
        let joined = nodes.len() - 1;
        (0..count).for_each(|k| nodes.push(json!(["slice", joined, 2 * (k % 800) + cut, 400])));
        (0..count).for_each(|k| nodes.push(json!(["sum", joined + 1 + k, 1, 400])));
        let last = nodes.len();
        nodes.push(Value::Array(
            std::iter::once(json!("concat")).chain((last - count..last).map(|k| json!(k))).collect(),
        ));
        all.push((name, whole(3000, 0, nodes)));
    }
    // Choices within choices, and one value in many.
    let mut nodes = vec![json!(["state", 0, 1]), json!(["constant", 0.5])];
    while nodes.len() + 3 < most {
        let before = nodes.len() - 1;
        nodes.push(json!(["constant", before as f64 * 1e-5]));
        nodes.push(json!(["sqrt", before]));
        nodes.push(json!(["select", "less", before + 1, 0, before + 2, 0]));
    }
    all.push(("choices within choices", whole(1, 0, nodes)));
    let mut nodes = vec![json!(["state", 0, 3]), json!(["sqrt", 0])];
    let mut chosen = vec![];
    while nodes.len() + 3 < most {
        nodes.push(json!(["constant", nodes.len() as f64 * 1e-5]));
        nodes.push(json!(["select", "less", nodes.len() - 1, 0, 1, 0]));
        chosen.push(json!(nodes.len() - 1));
    }
    nodes.push(Value::Array(std::iter::once(json!("concat")).chain(chosen).collect()));
    all.push(("one value in many choices", whole(3, 0, nodes)));
    // Short slices of a long value, each in a choice of its own.
    let mut nodes = vec![json!(["state", 0, 2]), json!(["spread", 0, 1, 200_000]), json!(["sqrt", 1])];
    let mut chosen = vec![];
    while nodes.len() + 4 < most {
        let k = nodes.len();
        nodes.push(json!(["constant", k as f64 * 1e-5]));
        nodes.push(json!(["slice", 2, k, 2]));
        nodes.push(json!(["select", "less", k, 0, k + 1, 0]));
        chosen.push(json!(k + 2));
    }
    nodes.push(Value::Array(std::iter::once(json!("concat")).chain(chosen).collect()));
    all.push(("slices in choices", whole(2, 0, nodes)));
    // Parameters: many, one by one and overlapping, and a layer for each.
    let mut nodes = vec![json!(["state", 0, 1])];
    for k in 0..most / 3 {
        let before = nodes.len() - 1;
        nodes.push(json!(["parameter", k, 1]));
        nodes.push(json!(["mul", before, before + 1]));
        nodes.push(json!(["sin", before + 2]));
    }
    all.push(("parameters", whole(1, most, nodes)));
    let mut nodes = vec![json!(["state", 0, 1])];
    for k in 0..6 {
        nodes.push(json!(["parameter", k, 1 << 20]));
        nodes.push(json!(["sum", nodes.len() - 1, 1, 1 << 20]));
        nodes.push(json!(["add", nodes.len() - 3, nodes.len() - 1]));
    }
    all.push(("overlapping parameters", whole(1, (1 << 20) + most, nodes)));
    let mut nodes = vec![json!(["state", 0, 1])];
    for k in 0..most / 2 - 1 {
        let before = nodes.len() - 1;
        nodes.push(json!(["parameter", k, 1]));
        nodes.push(json!(["dense", before + 1, before, 1]));
    }
    all.push(("layers", whole(1, most, nodes)));
    // Rows up to the limit.
    all.push(("rows at the limit", whole(1, 0, vec![json!(["state", 0, 1]), json!(["spread", 0, 1, (1 << 21) - 1])])));
    for rows in [130_000, 1 << 16] {
        let mut nodes = vec![json!(["state", 0, 1]), json!(["spread", 0, 1, rows])];
        (0..14).for_each(|k| nodes.push(json!(["sin", 1 + k])));
        nodes.push(json!(["sum", 15, 1, rows]));
        all.push(("many rows", whole(1, 0, nodes)));
    }
    // Large matrices and products of them.
    let nodes = vec![json!(["parameter", 0, 1 << 20]), json!(["state", 0, 1024]), json!(["dense", 0, 1, 1])];
    all.push(("a large matrix", whole(1024, 1 << 20, nodes)));
    let nodes = vec![json!(["state", 0, 1024]), json!(["outer", 0, 0]), json!(["matvec", 1, 0])];
    all.push(("a large matrix of the state", whole(1024, 0, nodes)));
    let mut nodes = vec![json!(["state", 0, 256])];
    for _ in 0..31 {
        nodes.push(json!(["outer", nodes.len() - 1, nodes.len() - 1]));
        nodes.push(json!(["matvec", nodes.len() - 1, nodes.len() - 2]));
    }
    all.push(("products of the state", whole(256, 0, nodes)));
    let mut nodes = vec![json!(["parameter", 0, 1 << 20]), json!(["exp", 0]), json!(["state", 0, 1024])];
    for _ in 0..10 {
        nodes.push(json!(["dense", 1, nodes.len() - 1, 1]));
    }
    all.push(("a large computed matrix", whole(1024, 1 << 20, nodes)));
    // Many loads of the state.
    let mut nodes = vec![];
    (0..most / 2).for_each(|k| nodes.push(json!(["state", k % 4000, 1 + (k * 7) % 90])));
    (0..most / 2 - 1).for_each(|k| nodes.push(json!(["sum", k, 1, 1 + (k * 7) % 90])));
    nodes.push(Value::Array(std::iter::once(json!("concat")).chain((most / 2..most - 1).map(|k| json!(k))).collect()));
    all.push(("loads", whole(4096, 0, nodes)));
    all
}

#[test]
fn beyond_the_limits() {
    let nodes = |nodes: Vec<Value>| {
        json!({ "version": 1, "state": 1, "parameters": 1 << 23, "arguments": 0, "nodes": nodes, "result": 0 })
            .to_string()
    };
    let join = std::iter::once(json!("concat")).chain((0..40_000).map(|_| json!(1)));
    let parts = Value::Array(join.collect());
    let (state, sine) = (json!(["state", 0, 1]), json!(["sin", 0]));
    let refused = [
        nodes(vec![]),
        nodes(vec![json!(["state", 0, 1]); 16_385]),
        nodes(vec![state.clone(), sine, parts, json!(["sin", 2]), json!(["concat", 2, 3, 2])]),
        nodes(vec![state.clone(), json!(["spread", 0, 1 << 31, 1 << 31])]),
        nodes(vec![state.clone(), json!(["spread", 0, 1, 1 << 21])]),
        nodes(vec![json!(["parameter", 0, 1 << 20]), json!(["outer", 0, 0])]),
        nodes(vec![json!(["state", u32::MAX, 2])]),
        nodes((0..64).map(|k| json!(["parameter", k, 1 << 22])).collect()),
        nodes(vec![json!(["constant", 0]); 5]) + &" ".repeat(1 << 24),
        "[".repeat(1 << 20),
    ];
    for text in refused {
        assert!(matches!(Program::from_json(&text), Err(Error::Option { .. })), "{}", &text[..100.min(text.len())]);
    }
}

#[test]
fn the_worst_programs() {
    for (name, value) in worst() {
        let start = std::time::Instant::now();
        let read = Program::from_json(&value.to_string());
        let parsed = start.elapsed();
        let program = read.unwrap_or_else(|error| panic!("{name} is just within the limits: {error}"));
        used(&program, &[1], 1);
        println!("{name}: {parsed:?}, {:?} with its gradient", start.elapsed());
    }
}
