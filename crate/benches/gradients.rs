//! `cargo bench`: one gradient of the cases of bench/cases.json by each method, natively, as a table. `-C target-cpu=native` in
//! RUSTFLAGS makes use of what the machine has; a name of a case as argument measures that one alone.
//!
//! With `--serve` it is a contender of `npm run bench`, which asks in lines of JSON: see bench/shared/child.mjs.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use ndarray::{Array2, Array3, s};
use serde_json::{Value, json};
use symplectic_adjoint::{
    Activation, Architecture, Gradient, GradientMethod, Mlp, Options, Steps, Tableau, Time, Trajectory, vjp,
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

/// A gradient of ½ Σ y(t)² over the outputs after the first time, in float32.
struct Problem {
    field: Mlp<f32>,
    y0: Array2<f32>,
    times: Vec<f64>,
    options: Options,
}

impl Problem {
    fn gradient(&self, method: &GradientMethod) -> symplectic_adjoint::Result<(Trajectory<f32>, Gradient<f32>)> {
        let mut trajectory = vjp(&self.field, self.y0.view(), &self.times, &self.options, method)?;
        let mut cotangent: Array3<f32> = trajectory.solution.y().to_owned();
        cotangent.slice_mut(s![0, .., ..]).fill(0.0);
        let gradient = trajectory.pullback(cotangent.view())?;
        Ok((trajectory, gradient))
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--serve") { serve() } else { print_table(&arguments) }
}

/// A problem as the runner describes it; `y0` and parameters are set afterwards.
fn problem(described: &Value) -> Result<Problem, Failure> {
    let widths: Vec<usize> = serde_json::from_value(described["widths"].clone())?;
    let batch: usize = serde_json::from_value(described["batch"].clone())?;
    let y0 = Array2::from_shape_fn((batch, widths[0]), |(row, column)| ((row * widths[0] + column) as f32).sin());
    let architecture = Architecture { widths, activation: Activation::Tanh, time: Time::None, bias: true };
    let method = described["method"].as_str().ok_or("a problem without a method")?;
    let tableau = Tableau::named(method).ok_or_else(|| format!("{method}: no such method"))?;
    let steps = described["steps"].as_u64().map_or(Steps::Automatic, |steps| Steps::PerInterval(steps as usize));
    let tolerance = |name: &str, default: f64| described[name].as_f64().unwrap_or(default);
    let options = Options {
        steps,
        rtol: tolerance("rtol", 100.0 * f64::from(f32::EPSILON)),
        atol: tolerance("atol", 1e-8),
        ..Options::new(tableau)
    };
    let times = serde_json::from_value(described["times"].clone())?;
    Ok(Problem { field: Mlp::new(architecture, 1)?, y0, times, options })
}

/// Prints a table of time and memory.
fn print_table(names: &[String]) -> Result<(), Failure> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/cases.json");
    let cases: serde_json::Map<String, Value> = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    if let Some(unknown) = names.iter().find(|name| !cases.contains_key(*name)) {
        let known: Vec<_> = cases.keys().cloned().collect();
        return Err(format!("{unknown}: no such case; there are {}", known.join(", ")).into());
    }
    println!(
        "| {:<8} | {:<8} | {:<10} | {:>24} | {:>12} |",
        "case", "solver", "gradient", "ms: median (range)", "peak MiB"
    );
    println!("| {:-<8} | {:-<8} | {:-<10} | {:->24} | {:->12} |", "", "", "", "", "");
    for (name, case) in cases.iter().filter(|(name, _)| names.is_empty() || names.contains(name)) {
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
                let times = timed(&problem, &method, Duration::from_millis(500))?;
                let [low, median, high] = [0, times.len() / 2, times.len() - 1].map(|i| times[i]);
                let spread = format!("{median:.3} ({low:.3}–{high:.3})");
                let peak = peak as f64 / f64::from(1 << 20);
                println!("| {name:<8} | {solver:<8} | {gradient:<10} | {spread:>24} | {peak:>12.2} |");
            }
        }
    }
    Ok(())
}

/// Milliseconds of gradients, in ascending order, as many as begin within a time.
fn timed(problem: &Problem, method: &GradientMethod, duration: Duration) -> Result<Vec<f64>, Failure> {
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || begin.elapsed() < duration {
        let start = Instant::now();
        std::hint::black_box(problem.gradient(method)?);
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

fn answer(message: &Value, prepared: &mut Option<(Problem, GradientMethod)>) -> Result<Value, Failure> {
    if message["prepare"].is_object() {
        let (ready, reply) = prepare(&message["prepare"])?;
        *prepared = Some(ready);
        return Ok(reply);
    }
    let (problem, method) = prepared.as_ref().ok_or("nothing is prepared")?;
    let milliseconds = message["run"].as_f64().ok_or("neither prepare nor run")?;
    Ok(json!({ "ms": timed(problem, method, Duration::from_secs_f64(1e-3 * milliseconds))? }))
}

/// Reads what the contenders share, and computes the first gradient.
fn prepare(described: &Value) -> Result<((Problem, GradientMethod), Value), Failure> {
    let file = |kind: &str| described["files"][kind].as_str().ok_or_else(|| format!("no file of the {kind}"));
    let mut problem = problem(described)?;
    problem.field.parameters_mut().copy_from_slice(&numbers(file("parameters")?)?);
    problem.y0 = Array2::from_shape_vec(problem.y0.dim(), numbers(file("y0")?)?)?;
    let name = described["variant"]["gradient"].as_str().ok_or("no gradient named")?;
    let method = method(name, &problem.options)?;
    let before = resident("VmRSS");
    let start = Instant::now();
    let (trajectory, gradient) = problem.gradient(&method)?;
    let growth = before.zip(resident("VmHWM")).map(|(before, highest)| highest.saturating_sub(before));
    let first = 1e3 * start.elapsed().as_secs_f64();
    let bytes: Vec<u8> = gradient.parameters().iter().flat_map(|number| number.to_le_bytes()).collect();
    std::fs::write(file("gradient")?, bytes)?;
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
        "versions": {},
    });
    drop(trajectory);
    Ok(((problem, method), reply))
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
