"""diffrax: Dopri5 with its usual controller, a batch as one system as everywhere here, through two of its adjoints."""

import diffrax
import jax.numpy as jnp

from network import field, measured
from serve import serve


def prepare(problem):
    controller = diffrax.PIDController(rtol=problem["rtol"], atol=problem["atol"])
    variant = problem["variant"]["adjoint"]
    # The backward solve's own norm counts everything, as torchdiffeq's and ours do; it takes the forward tolerances.
    adjoint = diffrax.RecursiveCheckpointAdjoint() if variant == "checkpoints" else diffrax.BacksolveAdjoint(
        solver=diffrax.Dopri5(), stepsize_controller=controller
    )
    times = jnp.asarray(problem["times"], jnp.float32)
    save = diffrax.SaveAt(ts=times[1:]) if len(times) > 2 else diffrax.SaveAt(t1=True)

    def loss(layers, y0):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, layers: field(layers, y)),
            diffrax.Dopri5(),
            t0=0.0,
            t1=1.0,
            dt0=None,
            y0=y0,
            args=layers,
            saveat=save,
            stepsize_controller=controller,
            adjoint=adjoint,
        )
        return jnp.sum(solution.ys**2) / 2, solution.stats["num_accepted_steps"]

    return measured(problem, loss, [diffrax])


serve(prepare)
