//! `cargo bench`: one gradient of the cases of bench/cases.json and the models of bench/models.json by each method, natively, as
//! tables. A name of a case as argument measures that one alone, and `SYMPLECTIC_ADJOINT_REGISTERS` limits the registers.
//!
//! With `--serve` it is a contender of `npm run bench`, which asks in lines of JSON: see bench/shared/child.mjs.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use ndarray::{Array2, Array3, s};
use serde_json::{Value, json};
use symplectic_adjoint::field::program::ProgramField;
use symplectic_adjoint::program::{Builder, Program, concat};
use symplectic_adjoint::{
    Activation, Architecture, Gradient, GradientMethod, Mlp, Options, Solution, Steps, Tableau, Time, VectorField, Vjp,
    kernel_peak, odeint, register_bits, vjp,
};

type Failure = Box<dyn std::error::Error>;

/// The gradients, as they are named in TypeScript too.
const METHODS: [&str; 6] = ["auto", "symplectic", "aca", "baseline", "backprop", "adjoint"];

fn method(name: &str, options: &Options) -> Result<GradientMethod, Failure> {
    Ok(match name {
        // With room for all tapes of every case.
        "auto" => GradientMethod::Auto { budget: 1 << 31 },
        "symplectic" => GradientMethod::Symplectic,
        "aca" => GradientMethod::Aca,
        "baseline" => GradientMethod::Baseline,
        "backprop" => GradientMethod::Backprop,
        "adjoint" => GradientMethod::Adjoint(Box::new(options.clone())),
        _ => return Err(format!("no gradient {name} natively").into()),
    })
}

/// A network, or a model with the arguments of each trajectory.
enum Field {
    Network(Box<Mlp<f32>>),
    Model(Box<ProgramField<f32>>, Array2<f32>),
}

/// A gradient of ½ Σ y(t)² over the outputs after the first time, in float32.
struct Problem {
    field: Field,
    y0: Array2<f32>,
    times: Vec<f64>,
    options: Options,
}

impl Problem {
    /// Calls a function with the vector field.
    fn with_field<R>(
        &self,
        body: impl FnOnce(&dyn VectorField<f32>) -> symplectic_adjoint::Result<R>,
    ) -> symplectic_adjoint::Result<R> {
        match &self.field {
            Field::Network(field) => body(field.as_ref()),
            Field::Model(field, arguments) => body(&field.with_arguments(arguments.view())?),
        }
    }

    fn solve(&self) -> symplectic_adjoint::Result<Solution<f32>> {
        self.with_field(|field| odeint(field, self.y0.view(), &self.times, &self.options))
    }

    fn gradient(&self, method: &GradientMethod) -> symplectic_adjoint::Result<(Vjp<f32>, Gradient<f32>)> {
        let mut trajectory = self.with_field(|field| vjp(field, self.y0.view(), &self.times, &self.options, method))?;
        let mut cotangent: Array3<f32> = trajectory.solution.y().to_owned();
        cotangent.slice_mut(s![0, .., ..]).fill(0.0);
        let gradient = trajectory.pullback(cotangent.view())?;
        Ok((trajectory, gradient))
    }

    /// Runs what is measured: a gradient, or a solve if no method is given.
    fn run(&self, method: Option<&GradientMethod>) -> symplectic_adjoint::Result<()> {
        match method {
            Some(method) => drop(std::hint::black_box(self.gradient(method)?)),
            None => drop(std::hint::black_box(self.solve()?)),
        }
        Ok(())
    }
}

/// A model of bench/models.json, with the names of its parameters in order.
type Model = (&'static str, fn() -> symplectic_adjoint::Result<Program>, &'static [&'static str]);

const MODELS: [Model; 3] = [
    ("lotka-volterra", lotka_volterra, &["birth", "hunt", "feed", "death"]),
    (
        "pharmacokinetics",
        pharmacokinetics,
        &["absorption", "volume", "reservoir", "capacity", "half", "clearance", "exchange"],
    ),
    ("lorenz-96", lorenz_96, &["forcing"]),
];

fn lotka_volterra() -> symplectic_adjoint::Result<Program> {
    let mut model = Builder::new(2);
    let [hare, lynx] = [0, 1].map(|row| model.state(row..row + 1));
    let [birth, hunt, feed, death] = [(); 4].map(|()| model.parameter(1));
    let slope = concat(&[&hare * (birth - hunt * &lynx), &lynx * (feed * &hare - death)]);
    model.finish(&slope)
}

fn pharmacokinetics() -> symplectic_adjoint::Result<Program> {
    let mut model = Builder::new(3);
    let [gut, central, peripheral] = [0, 1, 2].map(|row| model.state(row..row + 1));
    let [absorption, volume, reservoir, capacity, half, clearance, exchange] = [(); 7].map(|()| model.parameter(1));
    let size = model.argument(1) / 70.0;
    let scale = size.powf(0.75);
    let blood = central / (volume * &size);
    let tissue = peripheral / (reservoir * &size);
    let inward = absorption * gut;
    let out = &scale * (clearance * &blood + capacity * &blood / (half + &blood));
    let over = scale * exchange * (blood - tissue);
    let slope = concat(&[-&inward, inward - out - &over, over]);
    model.finish(&slope)
}

fn lorenz_96() -> symplectic_adjoint::Result<Program> {
    let mut model = Builder::new(40);
    let x = model.state(0..40);
    let slope = (x.roll(-1) - x.roll(2)) * x.roll(1) - &x + model.parameter(1);
    model.finish(&slope)
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--serve") { serve() } else { print_tables(&arguments) }
}

/// A problem as the runner describes it; `y0` and parameters are set afterwards.
fn problem(described: &Value) -> Result<Problem, Failure> {
    let batch: usize = serde_json::from_value(described["batch"].clone())?;
    let model = described["case"].as_str().and_then(|case| MODELS.iter().find(|(name, ..)| *name == case));
    let (field, state) = if let Some((_, program, names)) = model {
        let program = program()?;
        let (state, arguments) = (program.state(), Array2::zeros((batch, program.arguments())));
        (Field::Model(Box::new(ProgramField::new(program, &vec![0.0; names.len()])?), arguments), state)
    } else {
        let widths: Vec<usize> = serde_json::from_value(described["widths"].clone())?;
        let state = widths[0];
        let architecture = Architecture { widths, activation: Activation::Tanh, time: Time::None, bias: true };
        (Field::Network(Box::new(Mlp::new(architecture, 1)?)), state)
    };
    let y0 = Array2::from_shape_fn((batch, state), |(row, column)| ((row * state + column) as f32).sin());
    let method = described["method"].as_str().ok_or("a problem without a method")?;
    let tableau = Tableau::named(method).ok_or_else(|| format!("{method}: no such method"))?;
    let steps = described["steps"].as_u64().map_or(Steps::Automatic, |steps| Steps::PerInterval(steps as usize));
    let tolerance = |name: &str, default: f64| described[name].as_f64().unwrap_or(default);
    let options = Options {
        steps,
        rtol: tolerance("rtol", 100.0 * f64::from(f32::EPSILON)),
        atol: tolerance("atol", 1e-8),
        // Of models, nobody else computes them.
        time_gradients: model.is_none(),
        ..Options::new(tableau)
    };
    let times = serde_json::from_value(described["times"].clone())?;
    Ok(Problem { field, y0, times, options })
}

/// Prints tables of time and memory.
fn print_tables(names: &[String]) -> Result<(), Failure> {
    let [cases, models] = [read("cases.json")?, read("models.json")?];
    let known: Vec<_> = cases.keys().chain(models.keys()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        let known: Vec<_> = known.into_iter().cloned().collect();
        return Err(format!("{unknown}: no such case; there are {}", known.join(", ")).into());
    }
    let chosen = |(name, _): &(&String, &Value)| names.is_empty() || names.contains(name);
    println!(
        "| {:<8} | {:<8} | {:<10} | {:>24} | {:>12} |",
        "case", "solver", "gradient", "ms: median (range)", "peak MiB"
    );
    println!("| {:-<8} | {:-<8} | {:-<10} | {:->24} | {:->12} |", "", "", "", "", "");
    for (name, case) in cases.iter().filter(chosen) {
        for (solver, settings) in case["methods"].as_object().ok_or("a case without methods")? {
            let outputs = case["outputs"].as_u64().unwrap_or(1);
            let times: Vec<f64> = (0..=outputs).map(|i| i as f64 / outputs as f64).collect();
            let mut described = case.clone();
            described["method"] = json!(solver);
            described["steps"] = settings["steps"].clone();
            described["times"] = json!(times);
            let problem = problem(&described)?;
            for gradient in METHODS {
                let method = method(gradient, &problem.options)?;
                let peak = problem.gradient(&method)?.1.stats.peak.total();
                let spread = spread(&problem, Some(&method))?;
                let peak = peak as f64 / f64::from(1 << 20);
                println!("| {name:<8} | {solver:<8} | {gradient:<10} | {spread:>24} | {peak:>12.2} |");
            }
        }
    }
    println!("\n| {:<16} | {:>5} | {:<10} | {:>24} |", "model", "batch", "gradient", "ms: median (range)");
    println!("| {:-<16} | {:->5} | {:-<10} | {:->24} |", "", "", "", "");
    for (name, model) in models.iter().filter(chosen) {
        for batch in [1, 16, 256, 4096] {
            let problem = model_problem(name, model, batch)?;
            println!("| {name:<16} | {batch:>5} | {:<10} | {:>24} |", "none", spread(&problem, None)?);
            for gradient in METHODS.into_iter().filter(|gradient| *gradient != "adjoint") {
                let spread = spread(&problem, Some(&method(gradient, &problem.options)?))?;
                println!("| {name:<16} | {batch:>5} | {gradient:<10} | {spread:>24} |");
            }
        }
    }
    Ok(())
}

/// What a file of bench/ has, by name.
fn read(name: &str) -> Result<serde_json::Map<String, Value>, Failure> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench").join(name);
    Ok(serde_json::from_str(&std::fs::read_to_string(file)?)?)
}

/// The problem of a model as bench/shared/models.mjs makes it.
fn model_problem(name: &str, model: &Value, batch: usize) -> Result<Problem, Failure> {
    let until = model["until"].as_f64().ok_or("a model without an end")?;
    let times: Vec<f64> = (0..=10).map(|i| until * f64::from(i) / 10.0).collect();
    let mut problem = problem(&json!({ "case": name, "batch": batch, "method": "dopri5", "times": times }))?;
    let names = MODELS.iter().find(|(known, ..)| *known == name).ok_or("a model without a program")?.2;
    if let Field::Model(field, arguments) = &mut problem.field {
        for (parameter, name) in field.parameters_mut().iter_mut().zip(names) {
            *parameter = model["parameters"][name].as_f64().ok_or("a parameter without a value")? as f32;
        }
        if let Some(given) = model["arguments"].as_object() {
            around(arguments, &given.values().filter_map(Value::as_f64).collect::<Vec<_>>(), 1);
        }
    }
    around(&mut problem.y0, &serde_json::from_value::<Vec<f64>>(model["y0"].clone())?, 0);
    Ok(problem)
}

/// Fills an array with numbers that differ from those given by up to a fifth.
fn around(array: &mut Array2<f32>, values: &[f64], shift: usize) {
    for (i, number) in array.iter_mut().enumerate() {
        *number = (values[i % values.len()] * (1.0 + 0.2 * ((i + shift) as f64).sin())) as f32;
    }
}

/// The median and range of milliseconds.
fn spread(problem: &Problem, method: Option<&GradientMethod>) -> Result<String, Failure> {
    let times = timed(problem, method, Duration::from_millis(500))?;
    let [low, median, high] = [0, times.len() / 2, times.len() - 1].map(|i| times[i]);
    Ok(format!("{median:.3} ({low:.3}–{high:.3})"))
}

/// Milliseconds of gradients, or solves, in ascending order, as many as begin within a time.
fn timed(problem: &Problem, method: Option<&GradientMethod>, duration: Duration) -> Result<Vec<f64>, Failure> {
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || begin.elapsed() < duration {
        let start = Instant::now();
        problem.run(method)?;
        times.push(1e3 * start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Answers the runner.
fn serve() -> Result<(), Failure> {
    let mut prepared = None;
    for line in std::io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line?)?;
        let reply = answer(&message, &mut prepared).unwrap_or_else(|error| json!({ "error": error.to_string() }));
        println!("{reply}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// A problem and the gradient asked for, or none for a solve.
type Prepared = (Problem, Option<GradientMethod>);

fn answer(message: &Value, prepared: &mut Option<Prepared>) -> Result<Value, Failure> {
    if message["prepare"].is_object() {
        let (ready, reply) = prepare(&message["prepare"])?;
        *prepared = Some(ready);
        return Ok(reply);
    }
    let (problem, method) = prepared.as_ref().ok_or("nothing is prepared")?;
    let milliseconds = message["run"].as_f64().ok_or("neither prepare nor run")?;
    let times = timed(problem, method.as_ref(), Duration::from_secs_f64(1e-3 * milliseconds))?;
    // Models have no matrix products.
    if matches!(problem.field, Field::Model(..)) {
        return Ok(json!({ "ms": times }));
    }
    Ok(json!({ "ms": times, "peakGflops": peak(Duration::from_millis(60))? }))
}

/// What the micro-kernel reaches in float32, in GFLOP/s, as `kernelPeak` of the package measures it.
fn peak(duration: Duration) -> Result<f64, Failure> {
    let run = |repeats: usize| -> Result<(f64, f64), Failure> {
        let start = Instant::now();
        let flops = kernel_peak::<f32>(repeats)?;
        let seconds = start.elapsed().as_secs_f64();
        Ok((seconds, 1e-9 * flops / seconds))
    };
    // A millisecond or so each: the best of many is least disturbed.
    let mut repeats = 100;
    while run(repeats)?.0 < 1e-3 {
        repeats *= 2;
    }
    let begin = Instant::now();
    let mut best: f64 = 0.0;
    while best == 0.0 || begin.elapsed() < duration {
        best = best.max(run(repeats)?.1);
    }
    Ok(best)
}

/// Reads what the contenders share, and computes the first gradient, or solve.
fn prepare(described: &Value) -> Result<(Prepared, Value), Failure> {
    let file = |kind: &str| described["files"][kind].as_str().ok_or_else(|| format!("no file of the {kind}"));
    let mut problem = problem(described)?;
    let parameters = numbers(file("parameters")?)?;
    match &mut problem.field {
        Field::Network(field) => field.parameters_mut().copy_from_slice(&parameters),
        Field::Model(field, arguments) => {
            field.parameters_mut().copy_from_slice(&parameters);
            *arguments = Array2::from_shape_vec(arguments.dim(), numbers(file("arguments")?)?)?;
        }
    }
    problem.y0 = Array2::from_shape_vec(problem.y0.dim(), numbers(file("y0")?)?)?;
    let before = resident("VmRSS");
    let start = Instant::now();
    let since = || {
        let first = 1e3 * start.elapsed().as_secs_f64();
        (first, before.zip(resident("VmHWM")).map(|(before, highest)| highest.saturating_sub(before)))
    };
    if described["task"] == "solve" {
        let solution = problem.solve()?;
        let (first, growth) = since();
        write(file("gradient")?, solution.y().slice(s![1.., .., ..]).iter())?;
        let (accepted, rejected) = (solution.stats.accepted, solution.stats.rejected);
        let reply = json!({
            "firstMs": first,
            "growthBytes": growth,
            "accepted": accepted,
            "rejected": rejected,
            "registerBits": register_bits(),
            "versions": {},
        });
        return Ok(((problem, None), reply));
    }
    let name = described["variant"]["gradient"].as_str().ok_or("no gradient named")?;
    let method = method(name, &problem.options)?;
    let (trajectory, gradient) = problem.gradient(&method)?;
    let (first, growth) = since();
    write(file("gradient")?, gradient.parameters().iter().chain(gradient.arguments().iter()))?;
    let solve = trajectory.solution.stats;
    let backward_steps = Some(gradient.stats.backward_steps).filter(|&steps| steps > 0);
    let reply = json!({
        "firstMs": first,
        "countedBytes": gradient.stats.peak.total(),
        "growthBytes": growth,
        "accepted": solve.accepted,
        "rejected": solve.rejected,
        "uses": solve.evaluations + gradient.stats.evaluations + 2 * gradient.stats.vjps,
        "backwardSteps": backward_steps,
        "registerBits": register_bits(),
        "versions": {},
    });
    drop(trajectory);
    Ok(((problem, Some(method)), reply))
}

fn write<'a>(file: &str, numbers: impl Iterator<Item = &'a f32>) -> std::io::Result<()> {
    std::fs::write(file, numbers.flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())
}

/// Bytes of this process: resident now (`VmRSS`), or at most (`VmHWM`); none where the system does not tell.
fn resident(field: &str) -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(1024 * line.trim().trim_end_matches(" kB").parse::<usize>().ok()?)
}

fn numbers(file: &str) -> std::io::Result<Vec<f32>> {
    let bytes = std::fs::read(file)?;
    Ok(bytes.chunks_exact(4).map(|number| f32::from_le_bytes([number[0], number[1], number[2], number[3]])).collect())
}
