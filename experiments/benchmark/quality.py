"""Times how long training takes until the held-out NLL is near its last value: mdnjax, PyTorch and skpro."""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmark.processes import measure_in_process
from experiments.benchmark.timing import order_of_round

NEAR_LAST = 0.02  # nats from the last NLL
NUM_HELD_OUT = 2000
REPORT_EVERY = 100
NUM_STEPS = 8000  # of the original recipe
EPOCHS = (
    25,
    50,
    100,
    200,
    400,
    600,
    800,
    1000,
)  # skpro is fitted once for each; the last is its default
NAMES = {"mdnjax": "mdnjax, recommended", "torch": "PyTorch, original recipe", "skpro": "skpro, MDNRegressor"}
PACKAGES = {"mdnjax": "jax", "torch": "torch", "skpro": "skpro"}


Curve = list[tuple[float, float]]  # seconds of training, held-out NLL


class Trainings(NamedTuple):
    """Two trainings in one process: the seconds from its start to the first training, and the learning curve of each."""

    startup: float
    first: Curve
    second: Curve


class Result(NamedTuple):
    """A contender's last NLL, and seconds until the NLL is near it, one number for each round.

    `from_start` counts from the start of the process, with imports and compilation; `training_alone` is of the second training,
    and `curve` is its learning curve.
    """

    name: str
    nll: float
    from_start: list[float]
    training_alone: list[float]
    curve: Curve


def measure(num_rounds: int, report: Callable[[str], None]) -> list[Result]:
    """Measures the contenders in turn, each time in a new process."""
    installed = [name for name in NAMES if importlib.util.find_spec(PACKAGES[name])]
    for name in NAMES:
        if name not in installed:
            report(f"{PACKAGES[name]} is not installed, so it is skipped; pip install -e '.[bench]' installs it")
    trainings: dict[str, list[Trainings]] = {name: [] for name in installed}
    with tempfile.TemporaryDirectory() as folder:
        data = _write_data(Path(folder) / "data.npz")
        for number in range(num_rounds):
            for name in order_of_round(installed, number):
                arguments = [name, str(data), time.time()]
                trainings[name].append(Trainings(*measure_in_process("quality", NAMES[name], arguments)))
                seconds = _result(name, trainings[name]).from_start[-1]
                report(f"round {number + 1}/{num_rounds}: {NAMES[name]} {seconds:.2f} s")
    return [_result(name, of_contender) for name, of_contender in trainings.items()]


def table(results: list[Result]) -> list[list[str]]:
    """Returns medians and ranges, and median ratios to mdnjax within a round."""
    header = [
        "contender",
        "last held-out NLL",
        f"s to within {NEAR_LAST}, all included",
        "training alone",
        "times mdnjax, all included",
    ]
    return [[*header, "training alone"], *(_row(result, results[0]) for result in results)]


def plot(results: list[Result]) -> Any:
    """Plots the held-out NLL against seconds of training."""
    import matplotlib as mpl  # here, since the contenders' processes import this file and must not wait for matplotlib
    from matplotlib.figure import Figure

    from experiments.charts import STYLE, label_plainly

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for index, result in enumerate(results):
            color = mpl.colormaps["tab10"](index)
            axes.plot(*zip(*result.curve, strict=True), "o-", ms=3, color=color, label=result.name)
            axes.axvline(float(np.median(result.training_alone)), color=color, lw=1, ls=":")
        axes.set(xscale="log", xlabel="seconds of training (dotted: NLL near its last value)", ylabel="held-out NLL, nats")
        axes.set_ylim(1.2, 3.5)
        label_plainly(axes.xaxis)
        axes.legend()
    return figure


def measure_here(name: str, data: str, started: float) -> None:
    """Trains twice in this process, which was started at the time `started`, and prints the trainings."""
    with np.load(data) as file:
        train = {"mdnjax": _mdnjax, "torch": _torch, "skpro": _skpro}[name](dict(file))
    startup = time.time() - started
    print(json.dumps(Trainings(startup, train(), train())))


def _write_data(path: Path) -> Path:
    """Writes everything that a contender reads: the study's points, held-out points, and the original recipe's first layers."""
    from experiments.benchmark.mdnjax_steps import study_work
    from experiments.command import CONFIGS
    from experiments.pipeline import make_data
    from experiments.schemas import InverseSine
    from mdnjax.config import load
    from mdnjax.data.dataset import joined

    splits, _ = make_data(load(InverseSine, CONFIGS / "inverse_sine.yaml"))
    known = joined(splits.train, splits.validation)
    arrays: dict[str, Any] = {"x": known.x, "y": known.y, "num_train": len(splits.train.x)}
    arrays |= {"held_x": splits.test.x[:NUM_HELD_OUT], "held_y": splits.test.y[:NUM_HELD_OUT]}
    arrays |= {f"layer_{i}_{part}": array for i, layer in enumerate(study_work().layers) for part, array in enumerate(layer)}
    np.savez(path, **arrays)
    return path


def _result(name: str, trainings: list[Trainings]) -> Result:
    from_start = [process.startup + _seconds_to_near_last(process.first) for process in trainings]
    training_alone = [_seconds_to_near_last(process.second) for process in trainings]
    curve = trainings[0].second
    return Result(NAMES[name], curve[-1][1], from_start, training_alone, curve)


def _seconds_to_near_last(curve: Curve) -> float:
    """Returns the first time after which the NLL stays near its last value."""
    far = [i for i, (_, nll) in enumerate(curve) if nll > curve[-1][1] + NEAR_LAST]
    return curve[far[-1] + 1 if far else 0][0]


def _row(result: Result, first: Result) -> list[str]:
    cells, ratios = [], []
    for seconds, of_first in ((result.from_start, first.from_start), (result.training_alone, first.training_alone)):
        cells.append(f"{np.median(seconds):.2f} [{min(seconds):.2f}, {max(seconds):.2f}]")
        ratios.append(f"{np.median(np.divide(seconds, of_first)):.2f}")
    return [result.name, f"{result.nll:.3f}", *cells, *ratios]


def _mdnjax(data: dict[str, np.ndarray]) -> Callable[[], Curve]:
    import jax

    from experiments.command import CONFIGS
    from experiments.schemas import InverseSine
    from mdnjax import runtime
    from mdnjax.config import load
    from mdnjax.data.dataset import Dataset
    from mdnjax.data.scaler import log_slopes, to_training_units
    from mdnjax.data.training_units import make_scaler
    from mdnjax.training import functions
    from mdnjax.training.train import train_one

    runtime.setup(compile_cache=False)
    config = load(InverseSine, CONFIGS / "inverse_sine.yaml")
    num_train = int(data["num_train"])  # the recommended settings do not train on the validation points
    points, held_out = Dataset(data["x"][:num_train], data["y"][:num_train]), Dataset(data["held_x"], data["held_y"])
    scaler = make_scaler(points, config.data.standardise)
    offset = float(np.mean(log_slopes(scaler, held_out.y)))
    train_part, validation_part = (to_training_units(scaler, part) for part in (points, held_out))
    model, shape, numbers = functions.split_sections(config.model, config.train)
    steps = functions.make_training_functions(model, shape, 1, 1)
    loop = config.train.model_copy(update={"report_every": REPORT_EVERY})

    def train() -> Curve:
        curve, start = [], time.perf_counter()
        inputs = functions.make_training_inputs(numbers, jax.random.key(config.seed), train_part, validation_part)
        train_one(steps, loop, inputs, lambda report: curve.append((time.perf_counter() - start, report.scores[0] + offset)))
        return curve

    return train


def _torch(data: dict[str, np.ndarray]) -> Callable[[], Curve]:
    import torch  # pyright: ignore[reportMissingImports]

    from experiments.benchmark import torch_steps
    from experiments.benchmark.work import RATE, STUDY, Work

    layers = [(data[f"layer_{i}_0"], data[f"layer_{i}_1"]) for i in range(2)]
    work = Work(STUDY, layers, data["x"], data["y"])
    x, y, held_x, held_y = (torch.from_numpy(data[name]) for name in ("x", "y", "held_x", "held_y"))
    torch.set_num_threads(1)

    def train() -> Curve:
        net, curve, start = torch_steps.network(work), [], time.perf_counter()
        optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=True)
        for step in range(1, NUM_STEPS + 1):
            optimizer.zero_grad(set_to_none=True)
            torch_steps.nll(work, net(x), y).backward()
            optimizer.step()
            if step % REPORT_EVERY == 0:
                with torch.no_grad():
                    nll = float(torch_steps.nll(work, net(held_x), held_y))
                curve.append((time.perf_counter() - start, nll))
        return curve

    return train


def _skpro(data: dict[str, np.ndarray]) -> Callable[[], Curve]:
    import pandas as pd  # pyright: ignore[reportMissingImports]
    from skpro.regression.mdn import MDNRegressor  # pyright: ignore[reportMissingImports]

    x, held_x = (pd.DataFrame(data[name], columns=["x"]) for name in ("x", "held_x"))
    y, held_y = (pd.DataFrame(data[name], columns=["y"]) for name in ("y", "held_y"))

    def train() -> Curve:
        curve = []
        for epochs in EPOCHS:
            start = time.perf_counter()
            fitted = MDNRegressor(epochs=epochs, random_state=0).fit(x, y)
            seconds = time.perf_counter() - start
            curve.append((seconds, -float(np.mean(fitted.predict_proba(held_x).log_pdf(held_y)))))
        return curve

    return train
