"""Figures of observed, true and predicted paths with the predicted density, for easy and hard cases."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.charts import MODEL, STYLE, TRUTH
from experiments.trajectories.frame import SECONDS, frame_of, to_frame
from experiments.trajectories.scores import Predictions, displacement
from experiments.trajectories.walks import OBSERVED, PREDICTED, Scene
from mdnjax.mixture import Mixture, log_prob
from mdnjax.statistics import marginal

NUM_GRID = 100
DECADES = 3.0  # range of the plotted densities
MIN_WALK = 1.0  # metres between the first and the last observed place of plotted windows
CASES = (("easy", 0.1), ("easy", 0.3), ("usual", 0.5), ("hard", 0.8), ("hard", 0.95), ("hard", 0.99))  # quantiles of displacement


def cases(predictions: Predictions, paths: np.ndarray) -> list[int]:
    """Returns the indices of windows of walking pedestrians at quantiles of the likeliest places' average displacement."""
    walks = np.flatnonzero(np.linalg.norm(paths[:, OBSERVED - 1] - paths[:, 0], axis=-1) > MIN_WALK)
    walks = walks if len(walks) >= len(CASES) else np.arange(len(paths))
    order = walks[np.argsort(displacement(predictions.likeliest[walks], paths[walks])[0], kind="stable")]
    return [int(order[int(share * (len(order) - 1))]) for _, share in CASES]


def paths_of_scene(scene: Scene, chosen: list[int], predictions: Predictions, mixture: Mixture) -> Figure:
    """Plots a panel for each chosen window; `mixture` has the batch of these windows."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 7.4), layout="constrained")
        panels = list(figure.subplots(2, 3).flat)
        for number, (axes, index, (kind, _)) in enumerate(zip(panels, chosen, CASES, strict=True)):
            _plot_case(axes, scene.test, index, predictions, mixture[number])
            average = displacement(predictions.likeliest[index], scene.test[index : index + 1])[0][0]
            axes.set_title(f"{kind}: likeliest places miss by {average:.2f} m", fontsize=10)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        shaded = f"shaded: predicted density of the places, down to 1/{10**DECADES:,.0f} of the highest"
        title = f"{scene.name}: 8 steps observed, 12 predicted; {shaded}"
        figure.suptitle(title, fontsize=12)
    return figure


def horizons(scenes: dict[str, tuple[Predictions, np.ndarray, np.ndarray]]) -> Figure:
    """Plots NLL and distance at each predicted step, from the predictions, the baseline's NLL and the paths of each scene."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        seconds = SECONDS * np.arange(1, PREDICTED + 1)
        for number, (name, (predictions, baseline, paths)) in enumerate(scenes.items()):
            colour = mpl.colormaps["tab10"](number)
            left.plot(seconds, predictions.step_nll.mean(axis=0), color=colour, lw=1.8, label=name)
            left.plot(seconds, baseline, color=colour, lw=1.2, ls="--")
            distance = np.linalg.norm(predictions.likeliest - paths[:, OBSERVED:], axis=-1).mean(axis=0)
            right.plot(seconds, distance, color=colour, lw=1.8)
        left.plot([], [], color="gray", lw=1.2, ls="--", label="without inputs")
        left.set(xlabel="seconds ahead", ylabel="NLL of the place, nats")
        right.set(xlabel="seconds ahead", ylabel="distance of the likeliest place, m", ylim=(0, None))
        left.legend()
    return figure


def _plot_case(axes: Axes, paths: np.ndarray, index: int, predictions: Predictions, mixture: Mixture) -> None:
    path, frame = paths[index], frame_of(paths)
    plotted = np.concatenate([path, predictions.drawn[:, index].reshape(-1, 2)])
    low, high = plotted.min(axis=0), plotted.max(axis=0)
    centre, half = (low + high) / 2, 0.55 * float((high - low).max()) + 0.3
    x, y = (np.linspace(centre[d] - half, centre[d] + half, NUM_GRID) for d in (0, 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    density = np.sum([_density(mixture, step, to_frame(frame, index, step, grid)) for step in range(PREDICTED)], axis=0)
    highest = float(np.log10(np.max(density)))
    log_density = np.log10(np.maximum(density, 10 ** (highest - DECADES)))
    axes.pcolormesh(x, y, log_density, cmap="Blues", shading="nearest", rasterized=True, alpha=0.8)
    for number, drawn in enumerate(predictions.drawn[:, index]):
        axes.plot(*drawn.T, color="white", lw=1.6, alpha=0.5)
        axes.plot(*drawn.T, color=MODEL, lw=0.6, alpha=0.6, label="samples" if number == 0 else None)
    axes.plot(*predictions.likeliest[index].T, "s", color=MODEL, ms=3.5, label="likeliest place at each step")
    axes.plot(*path[:OBSERVED].T, "o-", color="black", lw=1.6, ms=3, label="observed")
    axes.plot(*path[OBSERVED - 1 :].T, "o-", color=TRUTH, lw=1.6, ms=3, label="true")
    axes.set(aspect="equal", xlabel="x, m", ylabel="y, m")
    axes.locator_params(nbins=5)


def _density(mixture: Mixture, step: int, places: np.ndarray) -> np.ndarray:
    place = marginal(mixture, (2 * step, 2 * step + 1))
    return np.exp(np.asarray(log_prob(place, places.astype(np.float32))))
