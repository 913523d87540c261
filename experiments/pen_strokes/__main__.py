"""Pen strokes: a recurrent mixture density network learns to draw, each point predicted from those before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments import command, report
from experiments.pen_strokes import drawer, figures, pen
from experiments.pen_strokes.drawer import Drawer
from experiments.pen_strokes.drawings import Parts, as_arrays, make_drawings
from experiments.pen_strokes.schema import PenStrokes
from experiments.pen_strokes.scores import independent_nll, score
from experiments.progress import Clock, training
from experiments.run_folder import create_run_folder
from experiments.study import check_optimizers, divergence_message
from mdnjax import plots
from mdnjax.sequences import Rows, pack
from mdnjax.training.functions import SAMPLE
from mdnjax.training.population import Fit
from mdnjax.training.train import train_one

FILES = ("metrics.json", "timing.json", "environment.json", "history.csv", "model.safetensors", "samples.npz")
FILES += tuple(f"figures/{name}" for name in ("drawings.png", "drawings.svg", "continued.png", "density.png", "loss.png"))
HELD_OUT = 3  # purpose of a key beside those of recipe


class Drawn(NamedTuple):
    """Drawings `[points, 3]` by temperature, and test drawings that were begun with what each temperature made of them."""

    fresh: dict[float, list[np.ndarray]]
    begun: list[tuple[np.ndarray, list[np.ndarray]]]


def study(config: PenStrokes, overwrite: bool) -> None:
    """Trains, scores, draws, and writes the run folder."""
    command.settle(config.runtime)
    check_optimizers(train=config.train)
    clock = Clock()
    with clock.phase("data"):
        parts = make_drawings(config.data, config.seed)
        unit = float(np.concatenate(parts.train)[:, :2].astype(np.float64).std()) or 1.0
        rounding = rounding_of(parts) / unit
        rows = in_rows(config, parts, unit, rounding)
    folder = create_run_folder(config, config.output, FILES, overwrite)
    with clock.phase("training"):
        fitted = train(config, rows, rounding)
    params = fitted.state.best.params if config.train.keep == "best" else fitted.state.params
    own = Drawer(config.model, params, unit)
    drawer.save(folder / "model.safetensors", own)
    with clock.phase("scores"):
        metrics = {name: score(config.model, params, part)._asdict() for name, part in zip(Parts._fields, rows, strict=True)}
        metrics["independent"] = independent_nll(rows[0], rows[2], config.model.num_components)._asdict()
    with clock.phase("samples"):
        drawn = draw_all(config, own, parts)
    with clock.phase("figures"):
        write_figures(folder, draw_figures(config, own, parts, drawn, fitted))
    report.write_npz(folder / "samples.npz", samples_of(drawn))
    report.write_history(folder / "history.csv", fitted.history)
    status = "diverged" if fitted.diverged else "finished"
    steps = int(fitted.state.step)
    report.write_run(folder, clock, {"seed": config.seed, "status": status, "unit": unit, "steps": steps, **metrics})
    show(config, folder, clock, metrics)
    if fitted.diverged:
        raise command.RunFailed(divergence_message("pen", steps, config.train.num_steps, folder / "model.safetensors"))


def rounding_of(parts: Parts) -> float:
    """1 where all offsets are whole numbers, which have no density unless they are spread out; else 0."""
    return float(all((one[:, :2] == np.round(one[:, :2])).all() for part in parts for one in part))


def in_rows(config: PenStrokes, parts: Parts, unit: float, rounding: float) -> list[Rows]:
    """The parts in rows of one length, in units of training; those held out are dequantised once and for all."""
    length = max(len(one) for part in parts for one in part)
    scale = np.array([1 / unit, 1 / unit, 1], np.float32)
    rows = [pack([scale * one for one in part], length) for part in parts]
    key = jax.random.fold_in(jax.random.key(config.seed), HELD_OUT)
    held_out = [pen.dequantised(jax.random.fold_in(key, i), part, rounding) for i, part in enumerate(rows[1:])]
    return [rows[0], *(jax.tree.map(np.asarray, part) for part in held_out)]


def train(config: PenStrokes, rows: list[Rows], rounding: float) -> Fit:
    """Trains the network; the observer sees mean NLL of a point, its coins included."""
    inputs = pen.TrainingInputs(jax.random.key(config.seed), rows[0], rows[1], jnp.float32(rounding))
    with training("pen", config.train.num_steps, "validation nll") as observe:
        return train_one(pen.make_training_functions(config.model, config.train), config.train, inputs, observe)


def draw_all(config: PenStrokes, own: Drawer, parts: Parts) -> Drawn:
    """Drawings from nothing at every temperature, and test drawings drawn on."""
    settings, most = config.sampling, max(len(one) for one in parts.train)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), SAMPLE), len(settings.temperatures) + 1)
    fresh = {
        temperature: drawer.draw(own, key, settings.num_drawings, num_steps=most, temperature=temperature)
        for key, temperature in zip(keys, settings.temperatures, strict=False)
    }
    chosen = [one for one in parts.test if len(one) > settings.begin][: settings.num_begun]
    if not chosen:
        return Drawn(fresh, [])
    given = np.stack([one[: settings.begin] for one in chosen])
    ways = [drawer.draw_on(own, keys[-1], given, num_steps=most, temperature=each) for each in settings.temperatures]
    whole = [[np.concatenate([given[i], on[i]]) for on in ways] for i in range(len(chosen))]
    return Drawn(fresh, list(zip(chosen, whole, strict=True)))


def samples_of(drawn: Drawn) -> dict[str, np.ndarray]:
    """The drawings from nothing, as drawings are read."""
    return {f"at_{name:g}_{what}": array for name, own in drawn.fresh.items() for what, array in as_arrays(own).items()}


def draw_figures(config: PenStrokes, own: Drawer, parts: Parts, drawn: Drawn, fitted: Fit) -> Iterator[tuple[str, Figure]]:
    """Every figure, by name."""
    yield "drawings", figures.sheet(parts.test[: config.sampling.num_drawings], drawn.fresh)
    if drawn.begun:
        yield "continued", figures.continued(drawn.begun, config.sampling.begin, config.sampling.temperatures)
    shown = min(parts.test, key=lambda one: abs(len(one) - np.median([len(each) for each in parts.test])))
    mixture = pen.mixtures(own.model, own.params, pack([shown / own.units]))
    yield "density", figures.next_points(shown, mixture, own.unit)
    yield "loss", plots.plot_history(fitted.history)


def write_figures(folder: Path, drawn: Iterator[tuple[str, Figure]]) -> None:
    """As PNG; the sheet of drawings as SVG too."""
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in drawn:
        report.write_figure(folder / "figures" / f"{name}.png", figure)
        if name == "drawings":
            report.write_figure(folder / "figures" / f"{name}.svg", figure)


def show(config: PenStrokes, folder: Path, clock: Clock, metrics: dict[str, dict[str, float]]) -> None:
    """Prints the table."""
    source = Path(config.data.path).name if config.data.path else "alphabet"
    columns, rows = ("offset", "lift", "point", "end"), []
    for name, own in metrics.items():
        label = "points without memory, test" if name == "independent" else f"network, {name}"
        rows.append([label, *(f"{own[column]:.3f}" for column in columns)])
    report.print_table(f"Pen strokes, {source}, seed {config.seed}: nats per point", [["", *columns], *rows])
    report.print_end((), clock, folder)


if __name__ == "__main__":
    command.main("experiments.pen_strokes", __doc__ or "", PenStrokes, command.CONFIGS / "pen_strokes.yaml", study)
