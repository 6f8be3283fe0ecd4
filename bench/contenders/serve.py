"""The side of a contender that answers, for contenders in Python: see ../shared/child.mjs."""

import json
import re
import sys
import time

import numpy as np


def resident():
    """Resident memory in bytes, now and at its highest; None where the system does not tell."""
    try:
        with open("/proc/self/status") as file:
            text = file.read()
    except OSError:
        return None
    return [1024 * int(re.search(rf"{name}:\s*(\d+)", text)[1]) for name in ("VmRSS", "VmHWM")]


def growth(body):
    """What `body` gives, and by how much resident memory grows at its peak meanwhile."""
    try:
        # The high-water mark starts again from here.
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass
    before = resident()
    result = body()
    after = resident()
    return result, before and max(0, after[1] - before[0])


def inputs(problem):
    """The layers as [(weight [out, in], bias [out])], and y0 [batch, state]."""
    flat = np.fromfile(problem["files"]["parameters"], np.float32)
    widths, layers, offset = problem["widths"], [], 0
    for rows, columns in zip(widths[1:], widths[:-1]):
        weight = flat[offset : offset + rows * columns].reshape(rows, columns)
        offset += rows * columns
        layers.append((weight.copy(), flat[offset : offset + rows].copy()))
        offset += rows
    y0 = np.fromfile(problem["files"]["y0"], np.float32).reshape(problem["batch"], widths[0])
    return layers, y0


def model_inputs(problem):
    """Of a model, the parameters, the arguments [batch] if there are any, and y0 [states, batch]."""
    parameters, arguments, y0 = (np.fromfile(problem["files"][kind], np.float32) for kind in ("parameters", "arguments", "y0"))
    return parameters, arguments, y0.reshape(problem["batch"], problem["states"]).T.copy()


def write_gradient(problem, arrays):
    """Writes the parameter gradient, arrays in the order of the parameters; of a solve, its outputs."""
    flat = np.concatenate([np.asarray(array, np.float32).ravel() for array in arrays])
    flat.tofile(problem["files"]["gradient"])


def milliseconds(body, clock=time.perf_counter):
    start = clock()
    result = body()
    return result, 1000 * (clock() - start)


def serve(prepare, clock=time.perf_counter):
    """Answers until there is nothing more to answer. `prepare(problem)` gives what is known then, and a function that
    computes a gradient to the end. `clock` gives seconds."""
    gradient = None
    for line in sys.stdin:
        message = json.loads(line)
        try:
            if "prepare" in message:
                reply, gradient = prepare(message["prepare"])
                reply["versions"]["python"] = sys.version.split()[0]
            else:
                times = []
                while not times or sum(times) < message["run"]:
                    times.append(milliseconds(gradient, clock)[1])
                reply = {"ms": times}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}".split("\n")[0]}
        print(json.dumps(reply), flush=True)
