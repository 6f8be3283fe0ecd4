"""JAX: rk4 or Euler by lax.scan, compiled, with and without recomputing a step in reverse (jax.checkpoint)."""

import jax
import jax.numpy as jnp

from network import field, measured
from serve import serve


def prepare(problem):
    steps = problem["steps"]
    h = 1 / steps

    def loss(layers, y0):
        def step(y, _):
            k1 = field(layers, y)
            if problem["method"] == "euler":
                return y + h * k1, None
            k2 = field(layers, y + h / 2 * k1)
            k3 = field(layers, y + h / 2 * k2)
            k4 = field(layers, y + h * k3)
            return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        y, _ = jax.lax.scan(jax.checkpoint(step) if problem["variant"]["remat"] else step, y0, length=steps)
        return jnp.sum(y**2) / 2, steps

    return measured(problem, loss, [])


serve(prepare)
