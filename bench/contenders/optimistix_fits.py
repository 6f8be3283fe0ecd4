"""A fit by optimistix, with diffrax as its solver: Levenberg–Marquardt, compiled as a whole, in float64. Several trajectories
are one system."""

import time

import jax

jax.config.update("jax_enable_x64", True)

import diffrax
import jax.numpy as jnp
import numpy as np
import optimistix

from fit_models import MODELS
from serve import milliseconds, serve


def prepare(problem):
    slope, observe = MODELS[problem["case"]]
    times, measured, start = (jnp.array(problem[name], float) for name in ("times", "y", "start"))
    y0 = jnp.array(problem["y0"], float).T
    at_time, trajectory, observed = np.array(problem["at"]).T
    count = len(problem["parameters"])
    method = getattr(diffrax, problem["variant"]["method"])()

    # In units of the start, as its damping is the same for all numbers.
    def residuals(scaled, start):
        p = scaled * start
        begin = y0
        for k, state in enumerate(problem["estimatedStates"]):
            begin = begin.at[state].set(p[count + k])
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, p: slope(y, p)),
            method,
            t0=times[0],
            t1=times[-1],
            dt0=None,
            y0=tuple(begin),
            args=p,
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=problem["rtol"], atol=problem["atol"]),
            # What forward differentiation needs, by which the Jacobian is computed.
            adjoint=diffrax.ForwardMode(),
            max_steps=100_000,
            throw=False,
        )
        ys = jnp.stack(observe(solution.ys, p))
        return ys[observed, at_time, trajectory] - measured

    @jax.jit
    def compiled(start):
        solver = optimistix.LevenbergMarquardt(rtol=1e-8, atol=1e-8)
        found = optimistix.least_squares(residuals, solver, jnp.ones_like(start), args=start, throw=False)
        return found.value * start, found.stats["num_steps"], jnp.sum(residuals(found.value, start) ** 2) / 2

    def fit():
        return jax.block_until_ready(compiled(start))

    (estimates, steps, cost), first = milliseconds(fit, time.process_time)
    reply = {
        "firstMs": first,
        "estimates": estimates.tolist(),
        "cost": float(cost),
        "iterations": int(steps),
        "versions": {package.__name__: package.__version__ for package in (jax, diffrax, optimistix)},
    }
    return reply, fit


# Everyone has one core: what else runs on it does not count.
serve(prepare, time.process_time)
