"""Draws the pictures of the pages again by the commands that are named there, and compares them with those of the pages."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import matplotlib.image
import numpy as np
from pydantic import Field

from experiments import command
from experiments.findings import Findings, write
from experiments.run_folder import create_run_folder
from experiments.sentences import say
from mdnjax.checkpoint import write_bytes
from mdnjax.config.section import Folder, Section

ROOT = Path(__file__).resolve().parent.parent
FILES = ("pictures.csv", "pictures.md", "environment.json")
MAX_DIFFERENCE = 0.02  # that of a picture of little ink which is moved by five pixels

Name = Literal[
    "study", "table", "slices", "pen_strokes", "trajectories", "posterior", "slcp", "projectile", "num_components", "robot_arm"
]


class Source(NamedTuple):
    """A command, and the pictures in its folder with the places of the pages where they are shown."""

    words: str
    pictures: dict[str, str]


# Missing are pictures of the benchmark, which show how fast a machine is, the page of a run in a browser, and the pictures of the
# examples in Python, which the tests draw.
SOURCES: dict[Name, Source] = {
    "study": Source(
        "inverse_sine",
        {
            "figures/overview.png": "experiments/inverse_sine.png",
            **{f"figures/{name}.png": f"experiments/{name}.png" for name in ("ribbon", "intervals", "density", "calibration")},
        },
    ),
    "table": Source(
        "tabular data.path={output}/diabetes.csv data.target=target",
        {f"figures/{name}.png": f"experiments/{name}.png" for name in ("observed", "densities", "importance")},
    ),
    "slices": Source("slices", {"slices.png": "experiments/slices.png"}),
    "pen_strokes": Source(
        "pen_strokes", {"figures/drawings.png": "experiments/letters.png", "figures/density.png": "experiments/next_point.png"}
    ),
    "trajectories": Source("trajectories", {"figures/yield.png": "experiments/crossing.png"}),
    "posterior": Source(
        "posterior data.num_observations=4",
        {f"figures/{name}.png": f"experiments/{name}.png" for name in ("posteriors", "ranks")},
    ),
    "slcp": Source(
        "posterior data.task=slcp method=likelihood data.num_simulations=[10000] data.num_rounds=2 data.num_observations=3",
        {"figures/corner.png": "experiments/corner.png"},
    ),
    "projectile": Source("projectile", {f"figures/{name}.png": f"experiments/{name}.png" for name in ("angles", "arcs")}),
    "num_components": Source(
        "sweep configs/sweeps/num_components.yaml", {"figures/by_model.num_components.png": "experiments/num_components.png"}
    ),
    "robot_arm": Source("robot_arm", {"figures/arm.png": "experiments/arm.png", "figures/errors.png": "configs/arm_errors.png"}),
}


class Pictures(Section, frozen=True):
    """Which pictures are drawn, and whether those of the pages are replaced."""

    output: Folder = Field(default=Path("results/pictures"), description="folder of the table and of the results of the commands")
    sources: tuple[Name, ...] = Field(default=get_args(Name), description="which commands are run")
    replace: bool = Field(default=False, description="put the new pictures in the place of those of the pages")


def draw(settings: Pictures, overwrite: bool) -> None:
    """Runs the commands, and prints and writes how much their pictures differ from those of the pages.

    Raises: RunFailed if a command fails or draws no such picture, or one differs by more than MAX_DIFFERENCE and is not replaced.
    """
    create_run_folder(settings, settings.output, FILES, overwrite)
    if "table" in settings.sources:
        write_diabetes(settings.output / "diabetes.csv")
    rows, differing = [], []
    for name in settings.sources:
        words = SOURCES[name].words.format(output=settings.output.resolve())
        folder = settings.output / name
        run(f"{words} output={shlex.quote(str(folder.resolve()))} --overwrite")
        for made, shown in SOURCES[name].pictures.items():
            if not (folder / made).exists():
                raise command.RunFailed(f"experiments.{words} wrote no {made}, which is {shown}")
            difference = difference_of(folder / made, ROOT / shown)
            differing += [shown] if difference > MAX_DIFFERENCE else []
            rows.append([shown, SOURCES[name].words.format(output="."), f"{difference:.4f}"])
            if settings.replace:
                write_bytes(ROOT / shown, (folder / made).read_bytes())
    note = f"Mean differences of colours, from 0 to 1; up to {MAX_DIFFERENCE} is allowed, since processors round differently."
    write(settings.output, Findings([[["picture", "command", "difference"], *rows]], [note]), "pictures")
    if differing and not settings.replace:
        raise command.RunFailed(f"these pictures differ from those of the pages: {', '.join(differing)}")


def run(words: str) -> None:
    """Runs a command in a new process, whose progress and notes are shown. Raises: RunFailed if it fails."""
    say(f"python -m experiments.{words}")
    done = subprocess.run([sys.executable, "-m", *shlex.split(f"experiments.{words}")], cwd=ROOT, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise command.RunFailed(f"experiments.{words} ended with exit status {done.returncode}")


def write_diabetes(path: Path) -> None:
    """Writes the table of the first page, which comes with scikit-learn."""
    datasets = command.import_extra("sklearn.datasets")
    write_bytes(path, datasets.load_diabetes(as_frame=True, scaled=False).frame.to_csv(index=False).encode())


def difference_of(picture: Path, other: Path) -> float:
    """Returns the mean absolute difference of the colours, from 0 to 1, of two pictures; inf if their sizes are not equal."""
    first, second = (matplotlib.image.imread(path)[..., :3] for path in (picture, other))
    return float(np.mean(np.abs(first - second))) if first.shape == second.shape else np.inf


if __name__ == "__main__":
    command.main("experiments.pictures", __doc__ or "", Pictures, None, draw)
