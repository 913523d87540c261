"""Bishop's robot arm: joint angles from the position of the hand, which has up to two solutions; their mean is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from experiments import command, report
from experiments.charts import DATA, MODEL, STYLE, TRUTH
from experiments.page.plain import plain_sections
from experiments.page.writing import write_page
from experiments.pipeline import Result, make_data, run
from experiments.progress import Clock
from experiments.run_folder import create_run_folder
from experiments.schemas import RobotArm
from experiments.sentences import say
from experiments.sorted_modes import sorted_modes
from experiments.study import MODEL_FILE, RUN_FILES, prepare, resolve_num_components, write_run
from mdnjax.data import robot_arm
from mdnjax.statistics import mean, modes

FILES = (*RUN_FILES, "figures/arm.png", "figures/errors.png", "figures/angles.png")
DEFAULT = command.CONFIGS / "robot_arm.yaml"
PICTURES = {
    "arm": "The arms of both modes and of the mean of the angles, for four positions of the hand.",
    "errors": "Lines from each given position to where the hand is, for the mean of the angles and for the most probable mode.",
    "angles": "The angles of the nearest mode against those of each exact solution.",
}
MIN_MODE_MASS = 0.02  # of a mode that counts as a predicted solution
MAX_FOUND_MISS = 0.05  # largest distance of the hand from its position at which a solution counts as found


class Predictions(NamedTuple):
    """Joint angles predicted for positions of the hand `[N, 2]`, and the exact solutions `[N, 2, 2]`.

    `mean` is the mean of the angles; `angles[N, M, 2]` are the modes, the most probable first, NaN where there is none.
    """

    position: np.ndarray
    mean: np.ndarray
    angles: np.ndarray
    solutions: np.ndarray


def study(config: RobotArm, overwrite: bool) -> None:
    """Trains, predicts angles for the test positions, and writes the run folder."""
    prepare(config)
    if config.data.name != "robot_arm":
        raise command.UserError(f"data.name: got {config.data.name!r}, expected 'robot_arm'")
    folder, clock = create_run_folder(config, config.output, FILES, overwrite), Clock()
    with clock.phase("data"):
        splits, truth = make_data(config)
    resolved = resolve_num_components(config, splits, clock)
    result = run(resolved, splits, truth, clock, folder / MODEL_FILE)
    with clock.phase("modes"):
        predictions = predict(result)
    metrics = scores(predictions)
    with clock.phase("figures"):
        report.write_figures(folder / "figures", draw(predictions, metrics))
    title, table = f"Robot arm, seed {config.seed}: distance of the hand from its position", table_of(metrics)
    tables = [("Distance of the hand from its position", table)]
    page = partial(plain_sections, __doc__ or "", config, DEFAULT, tables, result.notes, folder, PICTURES)
    write_page(folder, clock, title, page, wanted=config.report and not result.fit.diverged)
    write_run(folder, clock, result, {"robot_arm": metrics})
    show(title, folder, clock, table, metrics, result.notes)


def predict(result: Result) -> Predictions:
    """Returns mean and modes of the angles for every test position."""
    position = result.splits.test.x
    mixture = result.predictor.at(position)
    angles, _ = sorted_modes(modes(mixture), MIN_MODE_MASS)
    return Predictions(position, np.asarray(mean(mixture)), angles, robot_arm.solutions(position))


def misses(predictions: Predictions, angles: np.ndarray) -> np.ndarray:
    """Returns the distance of the hand from its position, for angles `[N, 2]` or `[N, M, 2]`."""
    position = predictions.position if angles.ndim == 2 else predictions.position[:, None]
    return np.linalg.norm(robot_arm.hand(angles) - position, axis=-1)


def found_solutions(predictions: Predictions) -> np.ndarray:
    """Whether a mode reaches the position with the elbow on the side of each solution `[N, 2]`: b up to pi, b above pi."""
    reached = misses(predictions, predictions.angles) <= MAX_FOUND_MISS
    above = predictions.angles[..., 1] > np.pi
    return np.stack([(reached & ~above).any(axis=1), (reached & above).any(axis=1)], axis=1)


def second_modes(predictions: Predictions) -> np.ndarray:
    """Returns the most probable mode with the elbow on the opposite side of the first, `[N, 2]`; NaN where there is none."""
    first, others = predictions.angles[:, :1], predictions.angles[:, 1:]
    opposite = (others[..., 1] > np.pi) != (first[..., 1] > np.pi)
    opposite &= np.isfinite(others[..., 1])
    index = opposite.argmax(axis=1)
    return np.where(opposite.any(axis=1)[:, None], others[np.arange(len(others)), index], np.nan)


def scores(predictions: Predictions) -> dict[str, float]:
    """Returns root mean squares of the misses, in the arm's units of length, and the share of solutions that are found."""
    two = np.isfinite(predictions.solutions).all(axis=(1, 2))
    second = second_modes(predictions)[two]
    exists = np.isfinite(second).all(axis=1)
    second_miss = np.linalg.norm(robot_arm.hand(second[exists]) - predictions.position[two][exists], axis=1)
    return {
        "rms_conditional_mean": _rms(misses(predictions, predictions.mean)),
        "rms_most_probable_mode": _rms(misses(predictions, predictions.angles[:, 0])),
        "rms_second_mode": _rms(second_miss),
        "share_both_found": float(found_solutions(predictions)[two].all(axis=1).mean()),
        "num_two": int(two.sum()),
        "exact_rms_conditional_mean": robot_arm.rms_of_conditional_mean(),
        "exact_share_of_two": robot_arm.share_of_two(),
    }


def draw(predictions: Predictions, metrics: dict[str, float]) -> Iterator[tuple[str, Figure]]:
    """Yields every figure with its name."""
    yield "arm", plot_arm(predictions)
    yield "errors", plot_errors(predictions, metrics)
    yield "angles", plot_angles(predictions)


def plot_arm(predictions: Predictions) -> Figure:
    """Plots the arms of the two modes and of the mean, for four positions whose solutions differ by a lot to a little."""
    two = np.isfinite(predictions.solutions).all(axis=(1, 2)) & np.isfinite(second_modes(predictions)).all(axis=1)
    bend = np.where(two, np.abs(predictions.solutions[:, 0, 1] - np.pi), np.nan)
    quantiles = np.nanquantile(bend, [0.95, 0.75, 0.5, 0.25])
    chosen = [int(np.nanargmin(np.abs(bend - quantile))) for quantile in quantiles]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12, 3.6), layout="constrained")
        for axes, i in zip(figure.subplots(1, 4, sharex=True, sharey=True), chosen, strict=True):
            axes.scatter(*predictions.position.T, s=3, color=DATA, alpha=0.35, linewidths=0)
            for angles, colour, label in (
                (predictions.angles[i, 0], MODEL, "most probable mode"),
                (second_modes(predictions)[i], "#0f9d8a", "second mode"),
                (predictions.mean[i], TRUTH, "mean of the angles"),
            ):
                axes.plot(*joints(angles).T, "-o", color=colour, lw=2.2, ms=4, label=label)
            axes.plot(*predictions.position[i], "x", color="black", ms=9, mew=2, label="given position")
            axes.set(xlabel="x1", aspect="equal", title=f"mean misses by {misses(predictions, predictions.mean)[i]:.3f}")
        figure.axes[0].set_ylabel("x2")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def joints(angles: np.ndarray) -> np.ndarray:
    """Returns the positions of shoulder, elbow and hand, `[3, 2]`."""
    elbow = robot_arm.LENGTHS[0] * np.array([np.cos(angles[0]), np.sin(angles[0])])
    return np.stack([np.zeros(2), elbow, robot_arm.hand(angles)])


def plot_errors(predictions: Predictions, metrics: dict[str, float]) -> Figure:
    """Plots lines from the given position to that of the hand, for the mean of the angles and for the most probable mode."""
    panels = (
        ("mean of the angles", predictions.mean, metrics["rms_conditional_mean"]),
        ("most probable mode", predictions.angles[:, 0], metrics["rms_most_probable_mode"]),
    )
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.6), layout="constrained")
        for axes, (title, angles, rms) in zip(figure.subplots(1, 2, sharex=True, sharey=True), panels, strict=True):
            hands = robot_arm.hand(angles)
            axes.add_collection(LineCollection(list(np.stack([predictions.position, hands], axis=1)), colors=TRUTH, lw=0.9))
            axes.scatter(*predictions.position.T, s=5, color=MODEL, linewidths=0)
            axes.set(title=f"{title}: RMS {rms:.4f}", xlabel="x1", aspect="equal")
        figure.axes[0].set_ylabel("x2")
    return figure


def plot_angles(predictions: Predictions) -> Figure:
    """Plots the angles of the nearest mode against those of each exact solution."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        for axes, index, name in zip(figure.subplots(1, 2), (0, 1), ("a (shoulder)", "b (elbow)"), strict=True):
            _plot_nearest_modes(axes, predictions, index)
            axes.set(xlabel=f"{name}, exact", ylabel=f"{name}, the nearest mode")
    return figure


def _plot_nearest_modes(axes: Axes, predictions: Predictions, index: int) -> None:
    distance = np.linalg.norm(predictions.angles[:, None] - predictions.solutions[:, :, None], axis=-1)
    nearest = np.where(np.isnan(distance), np.inf, distance).argmin(axis=2)
    angles = np.take_along_axis(predictions.angles, nearest[..., None], axis=1)
    axes.axline((1.0, 1.0), slope=1, color=DATA, lw=1)
    axes.scatter(predictions.solutions[..., index].ravel(), angles[..., index].ravel(), s=6, color=MODEL, alpha=0.6, linewidths=0)


def table_of(metrics: dict[str, float]) -> list[tuple[str, ...]]:
    """Returns the table of scores with its header."""
    return [
        ("", "RMS", "exact"),
        (
            "mean of the angles",
            report.figures(metrics["rms_conditional_mean"]),
            report.figures(metrics["exact_rms_conditional_mean"]),
        ),
        ("most probable mode", report.figures(metrics["rms_most_probable_mode"]), "0"),
        ("second mode, where two solutions exist", report.figures(metrics["rms_second_mode"]), "0"),
    ]


def show(
    title: str, folder: Path, clock: Clock, table: list[tuple[str, ...]], metrics: dict[str, float], notes: list[str]
) -> None:
    """Prints the table of scores."""
    report.print_table(title, table)
    say(f"both solutions found: {100 * metrics['share_both_found']:.1f} % of {metrics['num_two']} positions with two solutions")
    report.print_end(notes, clock, folder)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else float("nan")


if __name__ == "__main__":
    command.main("experiments.robot_arm", __doc__ or "", RobotArm, DEFAULT, study)
