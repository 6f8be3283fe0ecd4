"""diffrax on a model: Dopri5 with its usual controller, a batch as one system, a solve or a gradient by its default adjoint."""

import diffrax
import jax
import jax.numpy as jnp

from compiled import compiled
from equations import MODELS
from serve import model_inputs, serve, write_gradient


def prepare(problem):
    model = MODELS[problem["case"]]
    times = jnp.asarray(problem["times"], jnp.float32)
    parameters, arguments, y0 = (jnp.asarray(array) for array in model_inputs(problem))
    # Few states are arrays of their own, as one writes them, and as they are fastest.
    few = problem["states"] < 10
    start = tuple(y0) if few else y0

    def solve(parameters, arguments, y0):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, given: model(jnp, y, *given)),
            diffrax.Dopri5(),
            t0=times[0],
            t1=times[-1],
            dt0=None,
            y0=y0,
            args=(parameters, arguments),
            saveat=diffrax.SaveAt(ts=times[1:]),
            stepsize_controller=diffrax.PIDController(rtol=problem["rtol"], atol=problem["atol"]),
        )
        return solution.ys, [solution.stats[f"num_{kind}_steps"] for kind in ("accepted", "rejected")]

    def loss(*given):
        ys, steps = solve(*given)
        return sum(jnp.sum(y**2) for y in jax.tree.leaves(ys)) / 2, steps

    gradient = problem["task"] == "gradient"
    function = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True) if gradient else solve
    reply, body, result = compiled(function, (parameters, arguments, start), [diffrax])
    if gradient:
        (_, steps), (theta, given, _) = result
        write_gradient(problem, [theta, given])
    else:
        ys, steps = result
        write_gradient(problem, [jnp.stack(ys, -1) if few else jnp.moveaxis(ys, 1, -1)])
    accepted, rejected = (int(count) for count in steps)
    return {**reply, "accepted": accepted, "rejected": rejected}, body


serve(prepare)
