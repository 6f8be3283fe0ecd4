"""What the contenders in JAX share."""

import time

import jax

from serve import growth


def compiled(function, arguments, packages):
    """Compiles a function and runs it once: what is known then, the compiled call, and its result."""
    start = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()

    def body():
        return jax.block_until_ready(program(*arguments))

    result, grown = growth(body)
    reply = {
        "firstMs": 1000 * (time.perf_counter() - start),
        "growthBytes": grown,
        # Scratch, inputs and outputs, as the compiler has laid them out.
        "countedBytes": planned(program.memory_analysis()),
        "versions": {package.__name__: package.__version__ for package in (jax, *packages)},
    }
    return reply, body, result


def planned(analysis):
    if analysis is None:
        return None
    names = ("temp_size_in_bytes", "argument_size_in_bytes", "output_size_in_bytes")
    return sum(getattr(analysis, name) for name in names)
