"""Where people may go: paths seen, true and foreseen with their density, easy cases and hard ones."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.trajectories.frame import frame_of, to_frame
from experiments.trajectories.scores import Foreseen, displacement
from experiments.trajectories.walks import OBSERVED, PREDICTED, Scene
from mdnjax.mixture import Mixture, log_prob
from mdnjax.plots import MODEL, STYLE, TRUTH
from mdnjax.statistics import marginal

NUM_GRID = 100
DECADES = 3.0  # of density that are shown
CASES = (("easy", 0.1), ("easy", 0.3), ("usual", 0.5), ("hard", 0.8), ("hard", 0.95), ("hard", 0.99))  # by average displacement


def cases(foreseen: Foreseen, paths: np.ndarray) -> list[int]:
    """Windows of people who walk, at some places in the order of how far off the likeliest places are."""
    walks = np.flatnonzero(np.linalg.norm(paths[:, OBSERVED - 1] - paths[:, 0], axis=-1) > 1.0)
    walks = walks if len(walks) >= len(CASES) else np.arange(len(paths))
    order = walks[np.argsort(displacement(foreseen.likeliest[walks], paths[walks])[0], kind="stable")]
    return [int(order[int(share * (len(order) - 1))]) for _, share in CASES]


def of_scene(scene: Scene, chosen: list[int], foreseen: Foreseen, mixture: Mixture) -> Figure:
    """A panel for each case; `mixture` has the batch of the chosen windows."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11, 7.4), layout="constrained")
        panels = list(figure.subplots(2, 3).flat)
        for number, (axes, index, (kind, _)) in enumerate(zip(panels, chosen, CASES, strict=True)):
            one = mixture[number]
            _case(axes, scene.test, index, foreseen, one)
            off = displacement(foreseen.likeliest[index], scene.test[index : index + 1])[0][0]
            axes.set_title(f"{kind}: likeliest places {off:.2f} m off", fontsize=10)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        title = f"{scene.name}: 8 steps seen, 12 foreseen; shaded: the density of the places to come, over {DECADES:g} decades"
        figure.suptitle(title, fontsize=12)
    return figure


def horizons(found: dict[str, tuple[Foreseen, np.ndarray, np.ndarray]]) -> Figure:
    """Nats and metres at each step to come: the network beside what knows no input, and constant velocity."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        at = 0.4 * np.arange(1, PREDICTED + 1)
        for number, (name, (foreseen, baseline, paths)) in enumerate(found.items()):
            colour = mpl.colormaps["tab10"](number)
            left.plot(at, foreseen.step_nll.mean(axis=0), color=colour, lw=1.8, label=name)
            left.plot(at, baseline, color=colour, lw=1.2, ls="--")
            right.plot(at, np.linalg.norm(foreseen.likeliest - paths[:, OBSERVED:], axis=-1).mean(axis=0), color=colour, lw=1.8)
        left.plot([], [], color="gray", lw=1.2, ls="--", label="without inputs")
        left.set(xlabel="seconds ahead", ylabel="NLL of the place, nats")
        right.set(xlabel="seconds ahead", ylabel="distance of the likeliest place, m", ylim=(0, None))
        left.legend()
    return figure


def _case(axes: Axes, paths: np.ndarray, index: int, foreseen: Foreseen, mixture: Mixture) -> None:
    path, frame = paths[index], frame_of(paths)
    shown = np.concatenate([path, foreseen.drawn[:, index].reshape(-1, 2)])
    low, high = shown.min(axis=0), shown.max(axis=0)
    centre, half = (low + high) / 2, 0.55 * float((high - low).max()) + 0.3
    x, y = (np.linspace(centre[d] - half, centre[d] + half, NUM_GRID) for d in (0, 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    density = np.sum([_density(mixture, step, to_frame(frame, index, step, grid)) for step in range(PREDICTED)], axis=0)
    highest = float(np.log10(np.max(density)))
    shade = np.log10(np.maximum(density, 10 ** (highest - DECADES)))
    axes.pcolormesh(x, y, shade, cmap="Blues", shading="nearest", rasterized=True, alpha=0.8)
    for number, drawn in enumerate(foreseen.drawn[:, index]):
        axes.plot(*drawn.T, color="white", lw=1.6, alpha=0.5)
        axes.plot(*drawn.T, color=MODEL, lw=0.6, alpha=0.6, label="draws" if number == 0 else None)
    axes.plot(*foreseen.likeliest[index].T, "s", color=MODEL, ms=3.5, label="likeliest place at each step")
    axes.plot(*path[:OBSERVED].T, "o-", color="black", lw=1.6, ms=3, label="seen")
    axes.plot(*path[OBSERVED - 1 :].T, "o-", color=TRUTH, lw=1.6, ms=3, label="true")
    axes.set(aspect="equal", xlabel="x, m")


def _density(mixture: Mixture, step: int, places: np.ndarray) -> np.ndarray:
    one = marginal(mixture, (2 * step, 2 * step + 1))
    return np.exp(np.asarray(log_prob(one, places.astype(np.float32))))
