"""jax.vmap(diffeqsolve) on the ensembles of ensembles.mjs: milliseconds of solves, and of solves with gradients, as JSON."""

import json
import os
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
BATCH = 4096


def lorenz(t, y, a):
    return jnp.stack([a[0] * (y[1] - y[0]), y[0] * (a[1] - y[2]) - y[1], y[0] * y[1] - a[2] * y[2]])


def lotka_volterra(t, y, a):
    return jnp.stack([y[0] * (a[0] - a[1] * y[1]), y[1] * (a[2] * y[0] - a[3])])


def noise(i):
    return ((i * 2654435761) % 2**32) % 1000 / 1000


def measure(function, *given):
    jax.block_until_ready(function(*given))
    times = []
    for _ in range(6):
        start = time.perf_counter()
        jax.block_until_ready(function(*given))
        times.append(1e3 * (time.perf_counter() - start))
    return times


def run(name, slope, states, end, means):
    y0 = jnp.asarray(1 + noise(np.arange(BATCH * states)).reshape(BATCH, states))
    columns = [mean * (0.9 + 0.2 * noise(7 * np.arange(BATCH) + k)) for k, mean in enumerate(means)]

    def solve(y, a):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            diffrax.Dopri5(),
            0.0,
            end,
            None,
            y,
            args=a,
            stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-8),
            max_steps=256,
        )
        return solution.ys.sum()

    arguments = jnp.asarray(np.stack(columns, axis=1))
    value = jax.jit(jax.vmap(solve))
    both = jax.jit(jax.vmap(jax.value_and_grad(solve, argnums=(0, 1))))
    return {"name": name, "solve": measure(value, y0, arguments), "gradient": measure(both, y0, arguments)}


print(
    json.dumps(
        [
            run("Lorenz", lorenz, 3, 1.0, [10, 28, 8 / 3]),
            run("Lotka–Volterra", lotka_volterra, 2, 10.0, [1.1, 0.4, 0.1, 0.4]),
        ]
    )
)
