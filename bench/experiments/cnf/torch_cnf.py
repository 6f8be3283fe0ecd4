"""PyTorch with torchdiffeq: one gradient, by backpropagation, of a flow's block, FFJORD's objective. Reads a line of JSON, prints one."""

import json
import sys
import time
from importlib.metadata import version
from itertools import accumulate

import numpy as np
import torch
import torchdiffeq

torch.set_num_threads(1)
torch.set_num_interop_threads(1)


class Squash(torch.nn.Module):
    """(W x + b) · sigmoid(gateWeight t + gateBias) + hyperBias t."""

    def __init__(self, layer, flat):
        super().__init__()
        for name, entry in layer.items():
            size = int(np.prod(entry["shape"]))
            array = flat[entry["offset"] : entry["offset"] + size].reshape(entry["shape"])
            setattr(self, name, torch.nn.Parameter(torch.from_numpy(array.copy())))

    def forward(self, t, x):
        gate = torch.sigmoid(self.gateWeight * t + self.gateBias)
        return torch.nn.functional.linear(x, self.weight, self.bias) * gate + self.hyperBias * t


class Flow(torch.nn.Module):
    def __init__(self, layers, flat, noise):
        super().__init__()
        self.layers = torch.nn.ModuleList(Squash(layer, flat) for layer in layers)
        self.noise = noise
        self.evaluations = 0

    def forward(self, t, state):
        self.evaluations += 1
        with torch.enable_grad():
            x = state[0]
            # The counting solve has states that are not differentiated.
            x = x if x.requires_grad else x.requires_grad_()
            y = x
            for layer in self.layers[:-1]:
                y = torch.nn.functional.softplus(layer(t, y))
            y = self.layers[-1](t, y)
            (pulled,) = torch.autograd.grad(y, x, self.noise, create_graph=True)
            return y, -(pulled * self.noise).sum(1, keepdim=True)


def main():
    asked = json.loads(sys.stdin.readline())
    flat = np.fromfile(asked["parameters"], np.float32)
    d, batch, solver = asked["features"], asked["batch"], asked["solver"]
    x = torch.from_numpy(np.fromfile(asked["x"], np.float32).reshape(-1, d)[:batch])
    generator = torch.Generator().manual_seed(1)
    flow = Flow(asked["layers"], flat, torch.randint(0, 2, x.shape, generator=generator).float() * 2 - 1)
    counted = {"accepted": 0}

    def accepted(t, y, h):
        counted["accepted"] += 1

    def gradient():
        flow.evaluations = 0
        start = (x.clone().requires_grad_(), torch.zeros(batch, 1))
        times = torch.tensor([0.0, 1.0])
        z, log = (part[-1] for part in torchdiffeq.odeint(flow, start, times, rtol=max(solver["rtol"], 1.1920929e-5), atol=solver["atol"], method="dopri5"))
        loss = (0.5 * (z**2).sum(1) + 0.5 * d * np.log(2 * np.pi) + log[:, 0]).mean()
        loss.backward()
        flow.zero_grad()
        return loss.item()

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        loss = gradient()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    peak = max(accumulate(event.nbytes() for event in events), default=0)
    start = time.process_time()
    gradient()
    milliseconds = 1000 * (time.process_time() - start)
    evaluations = flow.evaluations
    flow.callback_accept_step = accepted
    with torch.no_grad():
        torchdiffeq.odeint(flow, (x, torch.zeros(batch, 1)), torch.tensor([0.0, 1.0]), rtol=max(solver["rtol"], 1.1920929e-5), atol=solver["atol"], method="dopri5")
    versions = {name: version(name) for name in ("torch", "torchdiffeq")}
    print(json.dumps({"bytes": peak, "ms": milliseconds, "steps": counted["accepted"], "evaluations": evaluations, "loss": loss, "versions": versions}))


main()
