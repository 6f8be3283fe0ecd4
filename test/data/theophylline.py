"""Fits theophylline's concentrations with SciPy, and writes what it finds to theophylline.json, which the tests compare with.

    python3 -m venv .venv && .venv/bin/pip install scipy && .venv/bin/python test/data/theophylline.py

One compartment with absorption: gut' = -ka gut, central' = ka gut - (CL/V) central, of which central/V is measured. The solution is
that of Bateman. `solve_ivp` of the equations has to lead to the same estimates.
"""

import csv
import json
from pathlib import Path

import numpy as np
import scipy
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

HERE = Path(__file__).parent
START = np.array([1.0, 0.05, 0.5])
TIGHT = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 1000}

with open(HERE / "../../data/theophylline.csv") as file:
    rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
subject, dose, time, seen = (np.array([row[name] for row in rows]) for name in ("subject", "dose", "time", "concentration"))


def closed_form(p, who):
    ka, clearance, volume = p
    ke = clearance / volume
    return dose[who] * ka / (volume * (ka - ke)) * (np.exp(-ke * time[who]) - np.exp(-ka * time[who]))


def solved(p, who):
    ka, clearance, volume = p
    concentrations = []
    for one in np.unique(subject[who]):
        own = who & (subject == one)
        rate = lambda t, y: [-ka * y[0], ka * y[0] - clearance / volume * y[1]]
        span, times = (0, time[own][-1]), time[own]
        solution = solve_ivp(rate, span, [dose[own][0], 0], "DOP853", times, rtol=1e-12, atol=1e-12)
        concentrations.append(solution.y[1] / volume)
    return np.concatenate(concentrations)


def jacobian(model, p, who):
    """By complex steps, exact to rounding."""
    h = 1e-30
    return np.stack([model(p + 1j * h * unit, who).imag / h for unit in np.eye(3)], axis=1)


def fit(who, **options):
    result = least_squares(
        lambda p: closed_form(p, who) - seen[who],
        START,
        lambda p: jacobian(closed_form, p, who),
        x_scale="jac",
        **TIGHT,
        **options,
    )
    return result.x, result.cost


everyone = np.ones(len(rows), bool)
pooled, cost = fit(everyone)
J = jacobian(closed_form, pooled, everyone)
variance = 2 * cost / (len(rows) - 3)
covariance = variance * np.linalg.inv(J.T @ J)

equations = least_squares(lambda p: solved(p, everyone) - seen, START, x_scale="jac", **TIGHT).x
assert np.allclose(equations, pooled, rtol=1e-7), (equations, pooled)

losses = {"softL1": "soft_l1", "huber": "huber", "cauchy": "cauchy"}
robust = {name: fit(everyone, loss=loss, f_scale=0.8) for name, loss in losses.items()}
patients = {str(int(one)): fit(subject == one) for one in np.unique(subject)}


def named(p):
    return dict(zip(("absorption", "clearance", "volume"), p))


found = {
    "scipy": scipy.__version__,
    "pooled": {
        "estimates": named(pooled),
        "standardErrors": named(np.sqrt(np.diag(covariance))),
        "residualSumOfSquares": 2 * cost,
    },
    "robust": {name: {"estimates": named(p), "cost": cost} for name, (p, cost) in robust.items()},
    "patients": {name: {"estimates": named(p), "residualSumOfSquares": 2 * cost} for name, (p, cost) in patients.items()},
}
(HERE / "theophylline.json").write_text(json.dumps(found, indent=2) + "\n")
