"""What the contenders in JAX share."""

import time

import jax
import jax.numpy as jnp

from serve import growth, inputs, write_gradient


def field(layers, y):
    for weight, bias in layers[:-1]:
        y = jnp.tanh(y @ weight.T + bias)
    weight, bias = layers[-1]
    return y @ weight.T + bias


def measured(problem, loss, packages):
    """Compiles the gradient of `loss(layers, y0) -> (value, steps)`, and runs it once."""
    layers, y0 = jax.tree.map(jnp.asarray, inputs(problem))
    start = time.perf_counter()
    compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)).lower(layers, y0).compile()

    def gradient():
        return jax.block_until_ready(compiled(layers, y0))

    ((_, steps), (parameters, _)), grown = growth(gradient)
    first = 1000 * (time.perf_counter() - start)
    write_gradient(problem, jax.tree.leaves(parameters))
    reply = {
        "firstMs": first,
        "growthBytes": grown,
        # Scratch, inputs and outputs, as the compiler has laid them out.
        "countedBytes": planned(compiled.memory_analysis()),
        "accepted": int(steps),
        "versions": {package.__name__: package.__version__ for package in (jax, *packages)},
    }
    return reply, gradient


def planned(analysis):
    if analysis is None:
        return None
    names = ("temp_size_in_bytes", "argument_size_in_bytes", "output_size_in_bytes")
    return sum(getattr(analysis, name) for name in names)
