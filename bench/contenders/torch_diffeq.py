"""PyTorch with torchdiffeq: backpropagation through its odeint, and its odeint_adjoint."""

import time
from itertools import accumulate
from importlib.metadata import version

import torch
import torchdiffeq

from serve import growth, inputs, serve, write_gradient

torch.set_num_threads(1)
torch.set_num_interop_threads(1)


class Field(torch.nn.Module):
    def __init__(self, layers):
        super().__init__()
        modules = []
        for weight, bias in layers:
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
            linear.weight.data = torch.from_numpy(weight)
            linear.bias.data = torch.from_numpy(bias)
            modules += [linear, torch.nn.Tanh()]
        self.layers = torch.nn.Sequential(*modules[:-1])

    def forward(self, t, y):
        return self.layers(y)


def prepare(problem):
    start = time.perf_counter()
    layers, y0 = inputs(problem)
    field = Field(layers)
    y0 = torch.from_numpy(y0).requires_grad_()
    times = torch.tensor(problem["times"], dtype=torch.float32)
    steps = problem.get("steps")
    options = {"grid_constructor": lambda f, y, t: torch.linspace(0, 1, steps + 1)} if steps else {}
    solve = torchdiffeq.odeint_adjoint if problem["variant"]["adjoint"] else torchdiffeq.odeint
    extra = {"adjoint_options": adjoint_grid(steps)} if problem["variant"]["adjoint"] and steps else {}

    def gradient(y0=y0):
        y = solve(
            field, y0, times, rtol=problem["rtol"], atol=problem["atol"], method=problem["method"], options=options, **extra
        )
        value = (y[1:] ** 2).sum() / 2
        return torch.autograd.grad(value, [*field.parameters(), y0])

    # What is loaded on first use is no part of a gradient's memory.
    gradient(y0[:1].detach().requires_grad_())
    result, grown = growth(gradient)
    first = 1000 * (time.perf_counter() - start)
    counted = allocated(gradient) if (steps or 0) <= 100 else None
    write_gradient(problem, [part.numpy() for part in result[:-1]])
    accepted = steps or accepted_steps(field, y0, problem)
    versions = {name: version(name) for name in ("torch", "torchdiffeq")}
    return {"firstMs": first, "growthBytes": grown, "countedBytes": counted, "accepted": accepted, "versions": versions}, gradient


def allocated(body):
    """Bytes of tensors at the peak of `body`, over what there was before, by torch's profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        body()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in events), default=0)


def adjoint_grid(steps):
    return {"grid_constructor": lambda f, y, t: torch.linspace(1, 0, steps + 1)}


def accepted_steps(field, y0, problem):
    """Counted by the solver's own callback, in a solve apart."""
    count = 0

    def counting(t, y, dt):
        nonlocal count
        count += 1

    field.callback_accept_step = counting
    with torch.no_grad():
        torchdiffeq.odeint(
            field, y0, torch.tensor(problem["times"], dtype=torch.float32), rtol=problem["rtol"], atol=problem["atol"], method="dopri5"
        )
    del field.callback_accept_step
    return count


serve(prepare)
