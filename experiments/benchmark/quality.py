"""Seconds until the held-out NLL is what it will be: recommended settings, the original recipe in PyTorch, skpro's regressor."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmark.timing import Failed

NEAR = 0.02  # nats from the last NLL
HELD_OUT = 2000
REPORT_EVERY = 100
STEPS = 8000  # of the original recipe
EPOCHS = (25, 50, 100, 200, 400, 600, 800, 1000)  # skpro says nothing on the way: it is fitted anew, up to its own default
NAMES = {"mdnjax": "mdnjax, recommended", "torch": "PyTorch, original recipe", "skpro": "skpro, MDNRegressor"}
PACKAGES = {"mdnjax": "jax", "torch": "torch", "skpro": "skpro"}


class Course(NamedTuple):
    """One process: seconds from its start to that of training, and (seconds, NLL) in its first training and in another."""

    startup: float
    first: list[tuple[float, float]]
    again: list[tuple[float, float]]


class Line(NamedTuple):
    """A contender: its last NLL, seconds to get near it with all that comes before and without, a number a round."""

    name: str
    nll: float
    included: list[float]
    excluded: list[float]
    course: list[tuple[float, float]]


def measure(num_rounds: int, tell: Callable[[str], None]) -> list[Line]:
    """Each contender in a process of its own, in turn."""
    there = [name for name in NAMES if importlib.util.find_spec(PACKAGES[name])]
    for name in NAMES:
        if name not in there:
            tell(f"{PACKAGES[name]} is not installed: skipped (pip install -e '.[bench]' brings it)")
    courses: dict[str, list[Course]] = {name: [] for name in there}
    with tempfile.TemporaryDirectory() as folder:
        data = _write_data(Path(folder) / "data.npz")
        for number in range(num_rounds):
            first = number % len(there)
            for name in there[first:] + there[:first]:
                courses[name].append(_in_process(name, data))
                tell(f"round {number + 1}/{num_rounds}: {NAMES[name]} {_line(name, courses[name]).included[-1]:.2f} s")
    return [_line(name, own) for name, own in courses.items()]


def table(lines: list[Line]) -> list[list[str]]:
    """Medians, and ratios to mdnjax within a round."""
    header = [
        "contender",
        "last held-out NLL",
        f"s to within {NEAR}, all included",
        "training alone",
        "times mdnjax, all included",
    ]
    return [[*header, "training alone"], *(_row(line, lines[0]) for line in lines)]


def plot(lines: list[Line]) -> Any:
    """Held-out NLL against seconds of training."""
    import matplotlib as mpl  # not above: a peer's process imports this file, and is not to pay for what it does not use
    from matplotlib.figure import Figure

    from mdnjax.plots import STYLE

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for index, line in enumerate(lines):
            color = mpl.colormaps["tab10"](index)
            axes.plot(*zip(*line.course, strict=True), "o-", ms=3, color=color, label=line.name)
            axes.axvline(float(np.median(line.excluded)), color=color, lw=1, ls=":")
        axes.set(xscale="log", xlabel="seconds of training (dotted: near its end)", ylabel="held-out NLL, nats")
        axes.set_ylim(1.2, 3.5)
        axes.legend()
    return figure


def work(name: str, data: str, began: float) -> None:
    """What a process does: trains twice and prints its course; `began` is the time at which it was started."""
    with np.load(data) as file:
        train = {"mdnjax": _mdnjax, "torch": _torch, "skpro": _skpro}[name](dict(file))
    startup = time.time() - began
    print(json.dumps(Course(startup, train(), train())))


def _in_process(name: str, data: Path) -> Course:
    code = "import sys; from experiments.benchmark.quality import work; work(*sys.argv[1:3], float(sys.argv[3]))"
    words = [sys.executable, "-c", code, name, str(data), str(time.time())]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{NAMES[name]} failed: {done.stderr.strip().splitlines()[-1]}")
    return Course(*json.loads(done.stdout.splitlines()[-1]))


def _write_data(path: Path) -> Path:
    """The study's points, some that are held out, and the original recipe's first layers: all that any contender reads."""
    from experiments.benchmark.mdnjax_steps import study
    from experiments.command import CONFIGS
    from experiments.pipeline import make_data
    from experiments.schemas import InverseSine
    from mdnjax.config import load
    from mdnjax.data.dataset import joined

    splits, _ = make_data(load(InverseSine, CONFIGS / "inverse_sine.yaml"))
    x, y = joined(splits.train, splits.validation)
    arrays: dict[str, Any] = {"x": x, "y": y, "num_train": len(splits.train.x)}
    arrays |= {"held_x": splits.test.x[:HELD_OUT], "held_y": splits.test.y[:HELD_OUT]}
    arrays |= {f"layer_{i}_{part}": array for i, layer in enumerate(study().layers) for part, array in enumerate(layer)}
    np.savez(path, **arrays)
    return path


def _line(name: str, courses: list[Course]) -> Line:
    included = [course.startup + _near(course.first) for course in courses]
    return Line(NAMES[name], courses[0].again[-1][1], included, [_near(course.again) for course in courses], courses[0].again)


def _near(course: list[tuple[float, float]]) -> float:
    """The first time from which on the NLL stays near the last one."""
    far = [i for i, (_, nll) in enumerate(course) if nll > course[-1][1] + NEAR]
    return course[far[-1] + 1 if far else 0][0]


def _row(line: Line, first: Line) -> list[str]:
    seconds = [f"{np.median(own):.2f} [{min(own):.2f}, {max(own):.2f}]" for own in (line.included, line.excluded)]
    ratios = [np.median(np.divide(a, b)) for a, b in ((line.included, first.included), (line.excluded, first.excluded))]
    return [line.name, f"{line.nll:.3f}", *seconds, *(f"{ratio:.2f}" for ratio in ratios)]


def _mdnjax(data: dict[str, np.ndarray]) -> Callable[[], list[tuple[float, float]]]:
    import jax

    from experiments.command import CONFIGS
    from experiments.schemas import InverseSine
    from mdnjax import runtime
    from mdnjax.config import load
    from mdnjax.data.dataset import Dataset
    from mdnjax.data.scaler import log_slopes, make_scaler, to_training_units
    from mdnjax.training import functions
    from mdnjax.training.train import train_one

    runtime.setup(compile_cache=False)
    config = load(InverseSine, CONFIGS / "inverse_sine.yaml")
    num_train = int(data["num_train"])  # the recommended settings keep some points to watch, and learn nothing from them
    points, held_out = Dataset(data["x"][:num_train], data["y"][:num_train]), Dataset(data["held_x"], data["held_y"])
    scaler = make_scaler(points, config.data.standardise)
    offset = float(np.mean(log_slopes(scaler, held_out.y)))
    scaled = [to_training_units(scaler, part) for part in (points, held_out)]
    model, shape, numbers = functions.split_sections(config.model, config.train)
    steps = functions.make_training_functions(model, shape, 1, 1)
    loop = config.train.model_copy(update={"report_every": REPORT_EVERY})

    def train() -> list[tuple[float, float]]:
        course, start = [], time.perf_counter()
        inputs = functions.make_training_inputs(numbers, jax.random.key(config.seed), *scaled)
        train_one(steps, loop, inputs, lambda _, __, nll: course.append((time.perf_counter() - start, nll + offset)))
        return course

    return train


def _torch(data: dict[str, np.ndarray]) -> Callable[[], list[tuple[float, float]]]:
    import torch  # pyright: ignore[reportMissingImports]

    from experiments.benchmark import torch_steps
    from experiments.benchmark.work import RATE, STUDY, Work

    layers = [(data[f"layer_{i}_0"], data[f"layer_{i}_1"]) for i in range(2)]
    beginning = Work(STUDY, layers, data["x"], data["y"])
    x, y, held_x, held_y = (torch.from_numpy(data[name]) for name in ("x", "y", "held_x", "held_y"))
    torch.set_num_threads(1)

    def train() -> list[tuple[float, float]]:
        net, course, start = torch_steps.network(beginning), [], time.perf_counter()
        optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=True)
        for step in range(1, STEPS + 1):
            optimizer.zero_grad(set_to_none=True)
            torch_steps.nll(beginning, net(x), y).backward()
            optimizer.step()
            if step % REPORT_EVERY == 0:
                with torch.no_grad():
                    nll = float(torch_steps.nll(beginning, net(held_x), held_y))
                course.append((time.perf_counter() - start, nll))
        return course

    return train


def _skpro(data: dict[str, np.ndarray]) -> Callable[[], list[tuple[float, float]]]:
    import pandas as pd  # pyright: ignore[reportMissingImports]
    from skpro.regression.mdn import MDNRegressor  # pyright: ignore[reportMissingImports]

    x, held_x = (pd.DataFrame(data[name], columns=["x"]) for name in ("x", "held_x"))
    y, held_y = (pd.DataFrame(data[name], columns=["y"]) for name in ("y", "held_y"))

    def train() -> list[tuple[float, float]]:
        course = []
        for epochs in EPOCHS:
            start = time.perf_counter()
            fitted = MDNRegressor(epochs=epochs, random_state=0).fit(x, y)
            seconds = time.perf_counter() - start
            course.append((seconds, -float(np.mean(fitted.predict_proba(held_x).log_pdf(held_y)))))
        return course

    return train
