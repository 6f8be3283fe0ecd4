"""SciPy on a model: solves by RK45, which is dopri5, with NumPy over the batch. It computes in float64 whatever it is given."""

import time

import numpy as np
import scipy
from scipy.integrate import solve_ivp

from equations import MODELS
from serve import growth, model_inputs, serve, write_gradient


def prepare(problem):
    start = time.perf_counter()
    model = MODELS[problem["case"]]
    times = problem["times"]
    parameters, arguments, y0 = (array.astype(np.float64) for array in model_inputs(problem))

    def slope(t, flat):
        slopes = model(np, flat.reshape(y0.shape), parameters, arguments)
        return np.concatenate(slopes) if isinstance(slopes, tuple) else slopes.ravel()

    def solve(outputs=times[1:]):
        span, tolerances = (times[0], times[-1]), {name: problem[name] for name in ("rtol", "atol")}
        return solve_ivp(slope, span, y0.ravel(), method="RK45", t_eval=outputs, **tolerances)

    solution, grown = growth(solve)
    first = 1000 * (time.perf_counter() - start)
    write_gradient(problem, [np.transpose(solution.y.reshape(*y0.shape, -1), (2, 1, 0))])
    # Without outputs asked for there is one after each step. Two evaluations come before the first step, then six each.
    accepted = len(solve(None).t) - 1
    reply = {
        "firstMs": first,
        "growthBytes": grown,
        "accepted": accepted,
        "rejected": (solution.nfev - 2) // 6 - accepted,
        "versions": {"scipy": scipy.__version__},
    }
    return reply, solve


serve(prepare)
