"""Paths of people on foot: a mixture over the next 12 steps from the last 8, on the scene that was left out of training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments import command, report
from experiments.progress import Clock, training
from experiments.run_folder import create_run_folder
from experiments.study import divergence_message, num_components_is_auto, prepare
from experiments.trajectories import figures
from experiments.trajectories.frame import dataset_of
from experiments.trajectories.published import ROWS, Published
from experiments.trajectories.schema import Trajectories
from experiments.trajectories.scores import Foreseen, Score, baseline_nll, foresee, mean_score, score
from experiments.trajectories.walks import Scene, make_scenes
from mdnjax.data import Splits
from mdnjax.fitting import fit_networks
from mdnjax.model_file import save
from mdnjax.predictor import Predictor
from mdnjax.training.functions import SAMPLE
from mdnjax.training.population import Fit

FILES = ("metrics.json", "timing.json", "environment.json", "table.csv", "table.md", "*.safetensors", "figures/*.png")


class Outcome(NamedTuple):
    """A scene, the networks that never saw it, what they say of it, and nats of each step without inputs."""

    scene: Scene
    predictor: Predictor
    fit: Fit
    foreseen: Foreseen
    baseline: np.ndarray
    score: Score


def study(config: Trajectories, overwrite: bool) -> None:
    """Leaves each scene out in turn: trains, foresees, and writes the run folder."""
    prepare(config)
    if num_components_is_auto(config):
        raise command.UserError("model.num_components: got 'auto', expected a number")
    if config.data.target_support != "real":
        raise command.UserError(f"data.target_support: got {config.data.target_support!r}, expected 'real' for places")
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
    """Trains on the other scenes, and foresees the paths of this one."""
    splits = Splits(dataset_of(scene.train, config.data.mirror), dataset_of(scene.validation), dataset_of(scene.test))
    with clock.phase("training"), training(scene.name, config.train.num_steps, "validation nll") as observe:
        fitted = fit_networks(config, *splits[:2], observe=observe)
    predictor = fitted.predictor
    save(folder / f"{scene.name}.safetensors", predictor)
    with clock.phase("scores"):
        key = jax.random.fold_in(jax.random.key(config.seed), SAMPLE)
        foreseen = foresee(predictor, scene.test, key, config.num_samples)
        baseline = baseline_nll(scene)
        return Outcome(scene, predictor, fitted.leading, foreseen, baseline, score(scene, foreseen, baseline))


def draw(outcomes: list[Outcome]) -> Iterator[tuple[str, Figure]]:
    """Every figure, by name."""
    for scene, predictor, _, foreseen, *_ in outcomes:
        chosen = figures.cases(foreseen, scene.test)
        yield scene.name, figures.of_scene(scene, chosen, foreseen, predictor.at(dataset_of(scene.test[chosen]).x))
    yield "horizons", figures.horizons({o.scene.name: (o.foreseen, o.baseline, o.scene.test) for o in outcomes})


def write(config: Trajectories, folder: Path, clock: Clock, outcomes: list[Outcome]) -> None:
    """Writes and prints the table."""
    table = table_of(outcomes, ROWS if config.data.root and not config.data.scenes else ())
    report.write_table(folder, table)
    scores = {outcome.scene.name: outcome.score._asdict() for outcome in outcomes}
    report.write_run(folder, clock, {"seed": config.seed, "scenes": scores})
    title = f"Paths, seed {config.seed}: nats per step; average / final metres"
    report.print_table(title, table)
    report.print_end((), clock, folder)


def table_of(outcomes: list[Outcome], published: tuple[Published, ...]) -> list[list[str]]:
    """A row for each scene, their mean, and what is known of it."""
    num = len(outcomes[0].foreseen.drawn)
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
    command.main("experiments.trajectories", __doc__ or "", Trajectories, command.CONFIGS / "trajectories.yaml", study)
