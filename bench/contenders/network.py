"""What the contenders in JAX have for networks."""

import jax
import jax.numpy as jnp

from compiled import compiled
from serve import inputs, write_gradient


def field(layers, y):
    for weight, bias in layers[:-1]:
        y = jnp.tanh(y @ weight.T + bias)
    weight, bias = layers[-1]
    return y @ weight.T + bias


def measured(problem, loss, packages):
    """Compiles the gradient of `loss(layers, y0) -> (value, steps)`, and runs it once."""
    given = jax.tree.map(jnp.asarray, inputs(problem))
    gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    reply, body, ((_, steps), (parameters, _)) = compiled(gradient, given, packages)
    write_gradient(problem, jax.tree.leaves(parameters))
    return {**reply, "accepted": int(steps)}, body
