"""Bishop's robot arm: joint angles from the position of the hand, two answers where a regression gives one that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from experiments import command, report
from experiments.pipeline import Result, make_data, run
from experiments.progress import Clock
from experiments.run_folder import create_run_folder
from experiments.schemas import RobotArm
from experiments.sorted_modes import sorted_modes
from experiments.study import MODEL_FILE, RUN_FILES, prepare, resolve_num_components, write_run
from mdnjax.data import robot_arm
from mdnjax.plots import DATA, MODEL, STYLE, TRUTH
from mdnjax.statistics import mean, modes

FILES = (*RUN_FILES, "figures/arm.png", "figures/errors.png", "figures/angles.png")
MIN_MODE_MASS = 0.02  # of a mode that counts as an answer
REACHED = 0.05  # how far off the hand may be where a branch is called found


class Answers(NamedTuple):
    """What the network says of each position `[N, 2]`: angles and how far off they put the hand.

    `mean` is the mean of the angles; `angles[N, M, 2]` are the modes, the most probable first, nan where there is none.
    """

    position: np.ndarray
    mean: np.ndarray
    angles: np.ndarray
    solutions: np.ndarray


def study(config: RobotArm, overwrite: bool) -> None:
    """Trains, answers for the test positions, and writes the run folder."""
    prepare(config)
    if config.data.name != "robot_arm":
        raise command.UserError(f"data.name: got {config.data.name!r}, expected 'robot_arm'")
    folder, clock = create_run_folder(config, config.output, FILES, overwrite), Clock()
    with clock.phase("data"):
        splits, truth = make_data(config)
    settled = resolve_num_components(config, splits, clock)
    result = run(settled, splits, truth, clock, folder / MODEL_FILE)
    with clock.phase("modes"):
        answers = answer(result)
    metrics = scores(answers)
    with clock.phase("figures"):
        report.write_figures(folder / "figures", draw(answers, metrics))
    write_run(folder, clock, result, {"robot_arm": metrics})
    show(folder, clock, config.seed, metrics, result.notes)


def answer(result: Result) -> Answers:
    """Mean and modes for every test position."""
    position = result.splits.test.x
    mixture = result.predictor.at(position)
    angles, _ = sorted_modes(modes(mixture), MIN_MODE_MASS)
    return Answers(position, np.asarray(mean(mixture)), angles, robot_arm.solutions(position))


def misses(answers: Answers, angles: np.ndarray) -> np.ndarray:
    """Distance of the hand from its position, for angles `[N, 2]` or `[N, M, 2]`."""
    position = answers.position if angles.ndim == 2 else answers.position[:, None]
    return np.linalg.norm(robot_arm.hand(angles) - position, axis=-1)


def found_branches(answers: Answers) -> np.ndarray:
    """`[N, 2]`: whether a mode that reaches the position has its elbow on the side of each solution, b below or above pi."""
    near = misses(answers, answers.angles) <= REACHED
    up = answers.angles[..., 1] > np.pi
    return np.stack([(near & ~up).any(axis=1), (near & up).any(axis=1)], axis=1)


def second_modes(answers: Answers) -> np.ndarray:
    """The most probable mode with the elbow on the other side than the first, `[N, 2]`; nan where there is none."""
    first, others = answers.angles[:, :1], answers.angles[:, 1:]
    opposite = (others[..., 1] > np.pi) != (first[..., 1] > np.pi)
    opposite &= np.isfinite(others[..., 1])
    index = opposite.argmax(axis=1)
    return np.where(opposite.any(axis=1)[:, None], others[np.arange(len(others)), index], np.nan)


def scores(answers: Answers) -> dict[str, float]:
    """Root mean squares of the misses, in the arm's units of length, and how many branches were found."""
    two = np.isfinite(answers.solutions).all(axis=(1, 2))
    second = second_modes(answers)[two]
    there = np.isfinite(second).all(axis=1)
    second_miss = np.linalg.norm(robot_arm.hand(second[there]) - answers.position[two][there], axis=1)
    return {
        "rms_conditional_mean": _rms(misses(answers, answers.mean)),
        "rms_most_probable_mode": _rms(misses(answers, answers.angles[:, 0])),
        "rms_second_mode": _rms(second_miss),
        "share_both_found": float(found_branches(answers)[two].all(axis=1).mean()),
        "num_two": int(two.sum()),
        "exact_rms_conditional_mean": robot_arm.rms_of_conditional_mean(),
        "exact_share_of_two": robot_arm.share_of_two(),
    }


def draw(answers: Answers, metrics: dict[str, float]) -> Iterator[tuple[str, Figure]]:
    """The figures: an arm with both answers, the errors over the reachable positions, the angles."""
    yield "arm", plot_arm(answers)
    yield "errors", plot_errors(answers, metrics)
    yield "angles", plot_angles(answers)


def plot_arm(answers: Answers) -> Figure:
    """Four positions that are far from each other: both arms that reach each, by the network's modes, and the arm of the mean."""
    two = np.isfinite(answers.solutions).all(axis=(1, 2)) & np.isfinite(second_modes(answers)).all(axis=1)
    bend = np.where(two, np.abs(answers.solutions[:, 0, 1] - np.pi), np.nan)
    target = np.nanquantile(bend, [0.95, 0.75, 0.5, 0.25])
    chosen = [int(np.nanargmin(np.abs(bend - one))) for one in target]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12, 3.6), layout="constrained")
        for axes, i in zip(figure.subplots(1, 4, sharex=True, sharey=True), chosen, strict=True):
            axes.scatter(*answers.position.T, s=3, color=DATA, alpha=0.35, linewidths=0)
            for angles, colour, label in (
                (answers.angles[i, 0], MODEL, "most probable mode"),
                (second_modes(answers)[i], "#0f9d8a", "second mode"),
                (answers.mean[i], TRUTH, "mean of the angles"),
            ):
                axes.plot(*joints(angles).T, "-o", color=colour, lw=2.2, ms=4, label=label)
            axes.plot(*answers.position[i], "x", color="black", ms=9, mew=2, label="where the hand should be")
            axes.set(xlabel="x1", aspect="equal", title=f"mean misses by {misses(answers, answers.mean)[i]:.3f}")
        figure.axes[0].set_ylabel("x2")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def joints(angles: np.ndarray) -> np.ndarray:
    """Shoulder, elbow and hand, `[3, 2]`."""
    elbow = robot_arm.LENGTHS[0] * np.array([np.cos(angles[0]), np.sin(angles[0])])
    return np.stack([np.zeros(2), elbow, robot_arm.hand(angles)])


def plot_errors(answers: Answers, metrics: dict[str, float]) -> Figure:
    """From where the hand should be to where it is, for the mean of the angles and for the most probable mode."""
    panels = (
        ("mean of the angles", answers.mean, metrics["rms_conditional_mean"]),
        ("most probable mode", answers.angles[:, 0], metrics["rms_most_probable_mode"]),
    )
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.6), layout="constrained")
        for axes, (title, angles, rms) in zip(figure.subplots(1, 2, sharex=True, sharey=True), panels, strict=True):
            hands = robot_arm.hand(angles)
            axes.add_collection(LineCollection(list(np.stack([answers.position, hands], axis=1)), colors=TRUTH, lw=0.9))
            axes.scatter(*answers.position.T, s=5, color=MODEL, linewidths=0)
            axes.set(title=f"{title}: RMS {rms:.4f}", xlabel="x1", aspect="equal")
        figure.axes[0].set_ylabel("x2")
    return figure


def plot_angles(answers: Answers) -> Figure:
    """Both angles of every mode over the angles of the exact solutions."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        for axes, index, name in zip(figure.subplots(1, 2), (0, 1), ("a (shoulder)", "b (elbow)"), strict=True):
            _against(axes, answers, index)
            axes.set(xlabel=f"{name}, exact", ylabel=f"{name}, the nearest mode")
    return figure


def _against(axes: Axes, answers: Answers, index: int) -> None:
    distance = np.linalg.norm(answers.angles[:, None] - answers.solutions[:, :, None], axis=-1)
    nearest = np.where(np.isnan(distance), np.inf, distance).argmin(axis=2)
    angles = np.take_along_axis(answers.angles, nearest[..., None], axis=1)
    axes.axline((1.0, 1.0), slope=1, color=DATA, lw=1)
    axes.scatter(answers.solutions[..., index].ravel(), angles[..., index].ravel(), s=6, color=MODEL, alpha=0.6, linewidths=0)


def show(folder: Path, clock: Clock, seed: int, metrics: dict[str, float], notes: list[str]) -> None:
    """Prints the table."""
    rows = [
        ("", "RMS", "known"),
        ("mean of the angles", f"{metrics['rms_conditional_mean']:.4f}", f"{metrics['exact_rms_conditional_mean']:.4f}"),
        ("most probable mode", f"{metrics['rms_most_probable_mode']:.4f}", "0"),
        ("second mode, where there are two", f"{metrics['rms_second_mode']:.4f}", "0"),
    ]
    report.print_table(f"Robot arm, seed {seed}: distance of the hand from its position", rows)
    print(f"both solutions found: {100 * metrics['share_both_found']:.1f} % of {metrics['num_two']} positions that have two")
    report.print_end(notes, clock, folder)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else float("nan")


if __name__ == "__main__":
    command.main("experiments.robot_arm", __doc__ or "", RobotArm, command.CONFIGS / "robot_arm.yaml", study)
