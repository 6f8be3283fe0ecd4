"""Writes sequential.safetensors: an nn.Sequential(Linear(2, 8), Tanh, Linear(8, 2)) as PyTorch names its state_dict."""

import sys

import numpy as np
from safetensors.numpy import save_file

random = np.random.default_rng(1)
tensors = {
    "0.weight": random.normal(size=(8, 2)),
    "0.bias": random.normal(size=8),
    "2.weight": random.normal(size=(2, 8)),
    "2.bias": random.normal(size=2),
}
save_file({name: array.astype(np.float32) for name, array in tensors.items()}, sys.argv[1], {"format": "pt"})
