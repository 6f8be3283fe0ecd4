//! Options by the names of the public API, as one object. A name that is not known is an error here too.

use crate::control::Controller;
use crate::error::{Error, Result};
use crate::gradient::{DEFAULT_BUDGET, GradientMethod};
use crate::kernel::real::Real;
use crate::solve::{Options, Output, Steps, Summation};
use crate::stepper::Method;
use crate::tableau::Tableau;

/// The value of an option.
pub enum OptionValue {
    Number(f64),
    Text(String),
    Flag(bool),
    Object(Entries),
}

/// Names and values.
pub type Entries = Vec<(String, OptionValue)>;

/// Unless an option says otherwise.
pub const DEFAULT_METHOD: &str = "dopri5";
pub const DEFAULT_GRADIENT: &str = "auto";

/// The gradients by name.
pub const GRADIENTS: [&str; 6] = ["auto", "symplectic", "backprop", "baseline", "aca", "adjoint"];

/// Choices by name.
pub const OUTPUTS: [(&str, Output); 2] = [("land", Output::Land), ("interpolate", Output::Interpolate)];
pub const CONTROLLERS: [(&str, Controller); 4] = [
    ("standard", Controller::Standard),
    ("torchdiffeq", Controller::Torchdiffeq),
    ("pi", Controller::PI),
    ("pid", Controller::PID),
];
pub const SUMMATIONS: [(&str, Summation); 3] =
    [("compensated", Summation::Compensated), ("gradient", Summation::Gradient), ("plain", Summation::Plain)];
/// Whether the continuous adjoint leaves the error of the parameters' gradient out.
pub const NORMS: [(&str, bool); 2] = [("full", false), ("seminorm", true)];

/// In float32 the default relative tolerance, in units of ε: what is left of the precision after some hundred steps.
const DEFAULT_RTOL: f64 = 100.0;

/// How to solve, and by which method to take the gradient.
pub fn read<T: Real>(entries: Entries) -> Result<(Options, GradientMethod)> {
    let [mut gradient, mut budget, mut adjoint] = [None, None, None];
    let mut solve = Vec::new();
    for (name, value) in entries {
        match name.as_str() {
            "gradient" => gradient = Some(value),
            "memoryBudget" => budget = Some(value),
            "adjoint" => adjoint = Some(value),
            _ => solve.push((name, value)),
        }
    }
    let mut options = Options::new(Method::named(DEFAULT_METHOD).expect("a known method"));
    if T::DTYPE == "float32" {
        options.rtol = DEFAULT_RTOL * T::epsilon().wide();
    }
    set_all(&mut options, solve)?;
    let budget = budget.map_or(Ok(DEFAULT_BUDGET), |value| Ok(number("memoryBudget", &value)? as usize))?;
    let gradient = match gradient.as_ref().map_or(Ok(DEFAULT_GRADIENT), |value| text("gradient", value))? {
        "auto" => GradientMethod::Auto { budget },
        "symplectic" => GradientMethod::Symplectic,
        "backprop" => GradientMethod::Backprop,
        "baseline" => GradientMethod::Baseline,
        "aca" => GradientMethod::Aca,
        "adjoint" => GradientMethod::Adjoint(Box::new(backward(&options, adjoint)?)),
        other => return Err(Error::option("gradient", GRADIENTS.join(", "), other)),
    };
    Ok((options, gradient))
}

/// The options of the continuous adjoint: those of the solve, except what is given.
fn backward(solve: &Options, given: Option<OptionValue>) -> Result<Options> {
    let mut options = solve.clone();
    match given {
        None => {}
        Some(OptionValue::Object(entries)) => {
            if entries.iter().any(|(name, _)| name == "steps" || name == "stepSize") {
                options.steps = Steps::Automatic;
            }
            set_all(&mut options, entries)?;
        }
        Some(_) => return Err(Error::option("adjoint", "an object", "something else")),
    }
    Ok(options)
}

fn set_all(options: &mut Options, entries: Entries) -> Result<()> {
    entries.into_iter().try_for_each(|(name, value)| set(options, &name, &value))
}

fn set(options: &mut Options, name: &str, value: &OptionValue) -> Result<()> {
    match name {
        "method" => {
            let given = text("method", value)?;
            options.method = if given.starts_with('{') { tableau(given)?.into() } else { given.parse()? };
        }
        "rtol" => tolerances("rtol", value, &mut options.rtol, &mut options.tolerances.relative)?,
        "atol" => tolerances("atol", value, &mut options.atol, &mut options.tolerances.absolute)?,
        "firstStep" => options.first_step = Some(number("firstStep", value)?),
        "minStep" => options.min_step = number("minStep", value)?,
        "maxStep" => options.max_step = number("maxStep", value)?,
        "maxSteps" => options.max_steps = number("maxSteps", value)? as usize,
        "safety" => options.safety = number("safety", value)?,
        "minFactor" => options.min_factor = number("minFactor", value)?,
        "maxFactor" => options.max_factor = number("maxFactor", value)?,
        "steps" => options.steps = Steps::PerInterval(number("steps", value)? as usize),
        "stepSize" => options.steps = Steps::AtMost(number("stepSize", value)?),
        "output" => options.output = Some(choice("output", value, &OUTPUTS)?),
        "controller" => {
            options.controller = match value {
                OptionValue::Object(entries) => pid(entries)?,
                _ => choice("controller", value, &CONTROLLERS)?,
            }
        }
        "summation" => options.summation = choice("summation", value, &SUMMATIONS)?,
        "threads" => options.threads = number("threads", value)? as usize,
        "norm" => options.seminorm = choice("norm", value, &NORMS)?,
        "timeGradients" => match value {
            OptionValue::Flag(flag) => options.time_gradients = *flag,
            _ => return Err(Error::option("timeGradients", "true or false", "something else")),
        },
        _ => return Err(Error::option("options", "known names", name)),
    }
    Ok(())
}

/// A method by its coefficients, as JSON: `{ "c": [], "a": [[]], "b": [], "bHat": [], "order": 3 }`.
#[inline(never)]
fn tableau(text: &str) -> Result<&'static Tableau> {
    let expected = "lists of numbers c, b and bHat, a list of lists a, and an order";
    let refused = || Error::option("method", expected, "another object");
    let json: serde_json::Value = serde_json::from_str(text).map_err(|_| refused())?;
    let list = |value: &serde_json::Value| -> Option<Vec<f64>> {
        value.as_array()?.iter().map(serde_json::Value::as_f64).collect()
    };
    let numbers = |name: &str| list(&json[name]).ok_or_else(refused);
    let a = json["a"].as_array().and_then(|rows| rows.iter().map(list).collect::<Option<Vec<_>>>());
    let order = json["order"].as_u64().and_then(|order| u32::try_from(order).ok()).ok_or_else(refused)?;
    Tableau::custom(&numbers("c")?, &a.ok_or_else(refused)?, &numbers("b")?, &numbers("bHat")?, order)
}

/// A tolerance for all features, or as the text of a JSON list one for each.
#[inline(never)]
fn tolerances(name: &'static str, value: &OptionValue, all: &mut f64, each: &mut Vec<f64>) -> Result<()> {
    each.clear();
    match value {
        OptionValue::Text(text) => {
            let list: Option<Vec<f64>> = serde_json::from_str::<serde_json::Value>(text)
                .ok()
                .and_then(|list| list.as_array()?.iter().map(serde_json::Value::as_f64).collect());
            *each = list.ok_or_else(|| Error::option(name, "a number, or a list of numbers", text))?;
        }
        _ => *all = number(name, value)?,
    }
    Ok(())
}

/// A controller by its coefficients.
#[inline(never)]
fn pid(entries: &Entries) -> Result<Controller> {
    let [mut p, mut i, mut d] = [0.0; 3];
    for (name, value) in entries {
        *match name.as_str() {
            "p" => &mut p,
            "i" => &mut i,
            "d" => &mut d,
            _ => return Err(Error::option("controller", "p, i and d", name)),
        } = number("controller", value)?;
    }
    Ok(Controller::Pid { p, i, d })
}

#[inline(never)]
fn number(name: &'static str, value: &OptionValue) -> Result<f64> {
    match value {
        OptionValue::Number(number) => Ok(*number),
        _ => Err(Error::option(name, "a number", "something else")),
    }
}

fn text<'a>(name: &'static str, value: &'a OptionValue) -> Result<&'a str> {
    match value {
        OptionValue::Text(text) => Ok(text),
        _ => Err(Error::option(name, "a text", "something else")),
    }
}

#[inline(never)]
fn choice<C: Copy>(name: &'static str, value: &OptionValue, choices: &[(&str, C)]) -> Result<C> {
    let given = text(name, value)?;
    let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let found = choices.iter().find(|(name, _)| *name == given);
    found.map(|(_, choice)| *choice).ok_or_else(|| Error::option(name, names(), given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: OptionValue) -> Result<(Options, GradientMethod)> {
        read::<f32>(vec![(name.into(), value)])
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        assert_eq!(one("rtoll", OptionValue::Number(1.0)).unwrap_err().code(), "OPTION");
        assert_eq!(one("rtol", OptionValue::Text("1".into())).unwrap_err().code(), "OPTION");
        assert_eq!(one("method", OptionValue::Text("rk5".into())).unwrap_err().code(), "OPTION");
        assert_eq!(one("output", OptionValue::Text("dense".into())).unwrap_err().code(), "OPTION");
        let adjoint =
            vec![("gradient".into(), OptionValue::Text("adjoint".into())), ("adjoint".into(), OptionValue::Flag(true))];
        assert_eq!(read::<f64>(adjoint).unwrap_err().code(), "OPTION");
    }

    #[test]
    fn the_adjoint_has_the_options_of_the_solve_but_for_its_own() {
        let own = OptionValue::Object(vec![
            ("rtol".into(), OptionValue::Number(1e-3)),
            ("stepSize".into(), OptionValue::Number(0.5)),
            ("norm".into(), OptionValue::Text("seminorm".into())),
        ]);
        let entries = vec![
            ("steps".into(), OptionValue::Number(3.0)),
            ("atol".into(), OptionValue::Number(1e-4)),
            ("gradient".into(), OptionValue::Text("adjoint".into())),
            ("adjoint".into(), own),
        ];
        let (solve, gradient) = read::<f64>(entries).unwrap();
        let GradientMethod::Adjoint(backward) = gradient else { panic!("the adjoint was asked for") };
        assert_eq!((solve.steps, solve.rtol, solve.seminorm), (Steps::PerInterval(3), 1e-6, false));
        assert_eq!((backward.steps, backward.rtol, backward.atol), (Steps::AtMost(0.5), 1e-3, 1e-4));
        assert!(backward.seminorm);
    }
}
