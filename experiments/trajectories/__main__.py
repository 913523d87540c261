"""Paths of pedestrians: predicts a mixture over the next 12 steps from the last 8, tested on a scene left out of training."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments import command, report
from experiments.page.plain import plain_sections
from experiments.page.writing import PAGE_FILE, write_page
from experiments.progress import Clock
from experiments.run_folder import create_run_folder
from experiments.study import divergence_message, num_components_is_auto, prepare
from experiments.trajectories import figures
from experiments.trajectories.frame import dataset_of
from experiments.trajectories.published import ROWS, Published
from experiments.trajectories.schema import Trajectories
from experiments.trajectories.scores import Predictions, Score, baseline_nll, mean_score, predict, score
from experiments.trajectories.walks import Scene, make_scenes
from mdnjax.data import Splits
from mdnjax.fitting import fit_networks
from mdnjax.model_file import save
from mdnjax.predictor import Predictor
from mdnjax.progress import training_progress
from mdnjax.training.functions import SAMPLE
from mdnjax.training.population import Fit

FILES = ("metrics.json", "timing.json", "environment.json", "table.csv", "table.md", PAGE_FILE, "*.safetensors", "figures/*.png")
DEFAULT = command.CONFIGS / "trajectories.yaml"


class Outcome(NamedTuple):
    """A test scene, the networks trained on the others, their predictions, and the NLL of each step without inputs."""

    scene: Scene
    predictor: Predictor
    fit: Fit
    predictions: Predictions
    baseline: np.ndarray
    score: Score


def study(config: Trajectories, overwrite: bool) -> None:
    """Leaves out each scene in turn, trains on the others, scores the predictions, and writes the run folder."""
    prepare(config)
    if num_components_is_auto(config):
        raise command.UserError("model.num_components: got 'auto', expected a number")
    if config.data.target_support != "real":
        raise command.UserError(
            f"data.target_support: got {config.data.target_support!r}, expected 'real', since places have no bounds"
        )
    clock = Clock()
    with clock.phase("data"):
        scenes = make_scenes(config.data, config.data_seed)
    folder = create_run_folder(config, config.output, FILES, overwrite)
    outcomes = [run(config, scene, clock, folder) for scene in scenes]
    with clock.phase("figures"):
        report.write_figures(folder / "figures", draw(outcomes))
    write(config, folder, clock, outcomes)
    for outcome in outcomes:
        if outcome.fit.diverged:
            step, path = int(outcome.fit.state.step), folder / f"{outcome.scene.name}.safetensors"
            raise command.RunFailed(divergence_message(outcome.scene.name, step, config.train.num_steps, path))


def run(config: Trajectories, scene: Scene, clock: Clock, folder: Path) -> Outcome:
    """Trains on the other scenes, and predicts the paths of this one."""
    splits = Splits(dataset_of(scene.train, config.data.mirror), dataset_of(scene.validation), dataset_of(scene.test))
    with clock.phase("training"), training_progress(scene.name, config.train.num_steps, "validation NLL") as observe:
        fitted = fit_networks(config, *splits[:2], observe=observe)
    predictor = fitted.predictor
    save(folder / f"{scene.name}.safetensors", predictor)
    with clock.phase("scores"):
        key = jax.random.fold_in(jax.random.key(config.seed), SAMPLE)
        predictions = predict(predictor, scene.test, key, config.num_samples)
        baseline = baseline_nll(scene)
        return Outcome(scene, predictor, fitted.leading, predictions, baseline, score(scene, predictions, baseline))


def draw(outcomes: list[Outcome]) -> Iterator[tuple[str, Figure]]:
    """Yields every figure with its name."""
    for scene, predictor, _, predictions, *_ in outcomes:
        chosen = figures.cases(predictions, scene.test)
        yield scene.name, figures.paths_of_scene(scene, chosen, predictions, predictor.at(dataset_of(scene.test[chosen]).x))
    yield "horizons", figures.horizons({o.scene.name: (o.predictions, o.baseline, o.scene.test) for o in outcomes})


def write(config: Trajectories, folder: Path, clock: Clock, outcomes: list[Outcome]) -> None:
    """Writes the metrics, and writes and prints the table."""
    table = table_of(outcomes, ROWS if config.data.root and not config.data.scenes else ())
    title = f"Paths, seed {config.seed}: NLL in nats per step; average / final distance in metres"
    pictures = {outcome.scene.name: f"Observed and true paths, and predictions, in {outcome.scene.name}." for outcome in outcomes}
    pictures |= {"horizons": "The NLL and the distances against the number of steps ahead."}
    page = partial(plain_sections, __doc__ or "", config, DEFAULT, [(title, table)], [], folder, pictures)
    write_page(folder, clock, title, page, wanted=config.report and not any(outcome.fit.diverged for outcome in outcomes))
    report.write_table(folder, table)
    scores = {outcome.scene.name: outcome.score._asdict() for outcome in outcomes}
    report.write_run(folder, clock, {"seed": config.seed, "scenes": scores})
    report.print_table(title, table)
    report.print_end((), clock, folder)


def table_of(outcomes: list[Outcome], published: tuple[Published, ...]) -> list[list[str]]:
    """Returns a row for each scene, their mean, and published means."""
    num = len(outcomes[0].predictions.drawn)
    header = ["", "windows", "NLL", "final NLL", "joint NLL", "without inputs"]
    header += ["likeliest places", f"best of {num}", "constant velocity"]
    rows = [[o.scene.name, str(len(o.scene.test)), *_cells(o.score)] for o in outcomes]
    rows.append(["mean", "", *_cells(mean_score([outcome.score for outcome in outcomes]))])
    for row in published:
        nll = "" if row.nll is None else f"{row.nll:.2f}"
        rows.append([row.name, "", nll, "", "", "", _pair(row.likeliest), _pair(row.best), ""])
    return [header, *rows]


def _cells(score: Score) -> list[str]:
    numbers = (score.nll, score.final_nll, score.joint_nll, score.baseline_nll)
    return [*(f"{number:.2f}" for number in numbers), *map(_pair, (score.likeliest, score.best, score.constant_velocity))]


def _pair(pair: tuple[float, ...] | None) -> str:
    return "" if pair is None else " / ".join(f"{metres:.3f}" for metres in pair)


if __name__ == "__main__":
    command.main("experiments.trajectories", __doc__ or "", Trajectories, DEFAULT, study)
