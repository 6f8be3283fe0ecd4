"""A fit by SciPy: solve_ivp, and least_squares with its own differences. Several trajectories are one system."""

import time

import numpy as np
import scipy
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

from fit_models import MODELS
from serve import milliseconds, serve


def prepare(problem):
    slope, observe = MODELS[problem["case"]]
    times, measured, start = (np.array(problem[name], float) for name in ("times", "y", "start"))
    y0 = np.array(problem["y0"], float).T
    at_time, trajectory, observed = np.array(problem["at"]).T
    states, batch = y0.shape
    count = len(problem["parameters"])
    tolerances = {name: problem[name] for name in ("rtol", "atol")}
    method = problem["variant"]["method"]

    def slopes(t, y, p):
        # Numbers where there is one trajectory, rows of them where there are several.
        return slope(y, p) if batch == 1 else np.concatenate(slope(y.reshape(states, batch), p))

    def residuals(p):
        begin = y0.copy()
        for state, value in zip(problem["estimatedStates"], p[count:]):
            begin[state] = value
        span = (times[0], times[-1])
        solution = solve_ivp(slopes, span, begin.ravel(), method=method, t_eval=times, args=(p,), **tolerances)
        ys = np.stack(observe(solution.y.reshape(states, batch, -1), p))
        return ys[observed, trajectory, at_time] - measured

    def fit():
        return least_squares(residuals, start, x_scale="jac")

    found, first = milliseconds(fit, time.process_time)
    reply = {
        "firstMs": first,
        "estimates": found.x.tolist(),
        "cost": float(found.cost),
        # The Jacobian takes one more for each number.
        "solves": int(found.nfev + found.njev * len(start)),
        "iterations": int(found.njev),
        "versions": {"scipy": scipy.__version__},
    }
    return reply, fit


# Everyone has one core: what else runs on it does not count.
serve(prepare, time.process_time)
