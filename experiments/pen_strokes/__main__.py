"""Pen strokes: a recurrent mixture density network that learns to draw; it predicts each point from those before it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments import charts, command, report
from experiments.page.plain import plain_sections
from experiments.page.writing import PAGE_FILE, write_page
from experiments.pen_strokes import drawer, figures, network
from experiments.pen_strokes.drawer import Drawer
from experiments.pen_strokes.drawings import Parts, as_arrays, make_drawings
from experiments.pen_strokes.schema import PenStrokes
from experiments.pen_strokes.scores import independent_nll, score
from experiments.progress import Clock
from experiments.run_folder import create_run_folder
from experiments.study import check_optimizers, divergence_message
from mdnjax.progress import training_progress
from mdnjax.sequences import Rows, pack
from mdnjax.training.functions import SAMPLE
from mdnjax.training.population import Fit
from mdnjax.training.selection import selected_params
from mdnjax.training.train import train_one

FILES = ("metrics.json", "timing.json", "environment.json", "history.csv", "model.safetensors", "samples.npz", PAGE_FILE)
FILES += tuple(f"figures/{name}" for name in ("drawings.png", "drawings.svg", "continued.png", "density.png", "loss.png"))
DEFAULT = command.CONFIGS / "pen_strokes.yaml"
PICTURES = {
    "drawings": "Test drawings, and drawings that were sampled from the network.",
    "continued": "Drawings of which the network was given the beginning.",
    "density": "The predicted density of the next point along one drawing.",
    "loss": "Training loss and validation NLL against the step.",
}
DEQUANTISE = 3  # purpose of a key, after INIT, TRAIN and SAMPLE


class Samples(NamedTuple):
    """Sampled drawings `[points, 3]` by temperature, and test drawings with the continuation of each temperature."""

    whole: dict[float, list[np.ndarray]]
    continued: list[tuple[np.ndarray, list[np.ndarray]]]


def study(config: PenStrokes, overwrite: bool) -> None:
    """Trains and scores the network, samples drawings, and writes the run folder."""
    command.setup_runtime(config.runtime)
    check_optimizers(train=config.train)
    clock = Clock()
    with clock.phase("data"):
        parts = make_drawings(config.data, config.seed)
        unit = float(np.concatenate(parts.train)[:, :2].astype(np.float64).std()) or 1.0
        rounding = rounding_of(parts) / unit
        rows = pack_parts(config, parts, unit, rounding)
    folder = create_run_folder(config, config.output, FILES, overwrite)
    with clock.phase("training"):
        fitted = train(config, rows, rounding)
    params = selected_params(fitted.state, config.train.keep)
    trained = Drawer(config.model, params, unit)
    drawer.save(folder / "model.safetensors", trained)
    with clock.phase("scores"):
        metrics = {name: score(config.model, params, part)._asdict() for name, part in zip(Parts._fields, rows, strict=True)}
        metrics["independent"] = independent_nll(rows[0], rows[2], config.model.num_components)._asdict()
    with clock.phase("samples"):
        samples = sample_drawings(config, trained, parts)
    with clock.phase("figures"):
        write_figures(folder, draw_figures(config, trained, parts, samples, fitted))
    report.write_npz(folder / "samples.npz", arrays_of(samples))
    report.write_history(folder / "history.csv", fitted.history)
    source = Path(config.data.path).name if config.data.path else "alphabet"
    title, table = f"Pen strokes, {source}, seed {config.seed}: nats per point", table_of(metrics)
    page = partial(plain_sections, __doc__ or "", config, DEFAULT, [("NLL in nats per point", table)], [], folder, PICTURES)
    write_page(folder, clock, title, page, wanted=config.report and not fitted.diverged)
    status = "diverged" if fitted.diverged else "finished"
    steps = int(fitted.state.step)
    report.write_run(folder, clock, {"seed": config.seed, "status": status, "unit": unit, "steps": steps, **metrics})
    report.print_table(title, table)
    report.print_end((), clock, folder)
    if fitted.diverged:
        raise command.RunFailed(divergence_message("pen strokes", steps, config.train.num_steps, folder / "model.safetensors"))


def rounding_of(parts: Parts) -> float:
    """Returns 1 if all offsets are integers, which are then dequantised since integers have no density, otherwise 0."""
    return float(all((drawing[:, :2] == np.round(drawing[:, :2])).all() for part in parts for drawing in part))


def pack_parts(config: PenStrokes, parts: Parts, unit: float, rounding: float) -> list[Rows]:
    """Packs each part into rows of one length, in units of training.

    Validation and test offsets are dequantised here with fixed noise; training adds new noise at every step.
    """
    length = max(len(drawing) for part in parts for drawing in part)
    scale = np.array([1 / unit, 1 / unit, 1], np.float32)
    train, *others = (pack([scale * drawing for drawing in part], length) for part in parts)
    key = jax.random.fold_in(jax.random.key(config.seed), DEQUANTISE)
    noisy = (network.dequantised(jax.random.fold_in(key, i), rows, rounding) for i, rows in enumerate(others))
    return [train, *(jax.tree.map(np.asarray, rows) for rows in noisy)]


def train(config: PenStrokes, rows: list[Rows], rounding: float) -> Fit:
    """Trains the network; the validation score is the mean NLL of a point with lift and end."""
    inputs = network.TrainingInputs(jax.random.key(config.seed), rows[0], rows[1], jnp.float32(rounding))
    with training_progress("pen strokes", config.train.num_steps, "validation NLL") as observe:
        return train_one(network.make_training_functions(config.model, config.train), config.train, inputs, observe)


def sample_drawings(config: PenStrokes, trained: Drawer, parts: Parts) -> Samples:
    """Samples whole drawings and continuations of test drawings, at every temperature."""
    settings, num_steps = config.sampling, max(map(len, parts.train))
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), SAMPLE), len(settings.temperatures) + 1)
    whole = {
        temperature: drawer.draw(trained, key, settings.num_drawings, num_steps=num_steps, temperature=temperature)
        for key, temperature in zip(keys, settings.temperatures, strict=False)
    }
    originals = [drawing for drawing in parts.test if len(drawing) > settings.begin][: settings.num_begun]
    if not originals:
        return Samples(whole, [])
    begun = np.stack([drawing[: settings.begin] for drawing in originals])
    by_temperature = [
        drawer.continue_drawings(trained, keys[-1], begun, num_steps=num_steps, temperature=temperature)
        for temperature in settings.temperatures
    ]
    continued = [[np.concatenate([begun[i], ends[i]]) for ends in by_temperature] for i in range(len(originals))]
    return Samples(whole, list(zip(originals, continued, strict=True)))


def arrays_of(samples: Samples) -> dict[str, np.ndarray]:
    """Returns the whole sampled drawings in the layout of files that are read."""
    return {
        f"at_{temperature:g}_{name}": array
        for temperature, drawings in samples.whole.items()
        for name, array in as_arrays(drawings).items()
    }


def draw_figures(config: PenStrokes, trained: Drawer, parts: Parts, samples: Samples, fit: Fit) -> Iterator[tuple[str, Figure]]:
    """Yields every figure with its name."""
    yield "drawings", figures.sheet(parts.test[: config.sampling.num_drawings], samples.whole)
    if samples.continued:
        yield "continued", figures.continued(samples.continued, config.sampling.begin, config.sampling.temperatures)
    median_length = np.median(list(map(len, parts.test)))
    typical = min(parts.test, key=lambda drawing: abs(len(drawing) - median_length))
    mixture = network.mixtures(trained.model, trained.params, pack([typical / trained.units]))
    yield "density", figures.next_points(typical, mixture, trained.unit)
    yield "loss", charts.plot_history(fit.history)


def write_figures(folder: Path, drawn: Iterator[tuple[str, Figure]]) -> None:
    """Writes figures as PNG, and the sheet of drawings also as SVG."""
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in drawn:
        report.write_figure(folder / "figures" / f"{name}.png", figure)
        if name == "drawings":
            report.write_figure(folder / "figures" / f"{name}.svg", figure)


def table_of(metrics: dict[str, dict[str, float]]) -> list[list[str]]:
    """Returns the table of scores with its header."""
    columns, rows = ("offset", "lift", "point", "end"), []
    for name, scores in metrics.items():
        label = "independent points, test" if name == "independent" else f"network, {name}"
        rows.append([label, *(f"{scores[column]:.3f}" for column in columns)])
    return [["", *columns], *rows]


if __name__ == "__main__":
    command.main("experiments.pen_strokes", __doc__ or "", PenStrokes, DEFAULT, study)
