"""The settings recommended for tables: one configuration for all, most numbers of which rows held out of training choose."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from mdnjax.config.data import Table, Tables
from mdnjax.config.ensembles import Ensemble, Selection
from mdnjax.config.schema import Init, Model, Optimizer, Run, Train
from mdnjax.config.section import Folder

MODEL = Model(hidden_sizes=(64, 64, 64), activation="gelu", num_components=5, line=True)
ENSEMBLE = Ensemble(num_members=5, rotate=True)
# Noise on the inputs, scale floor, weight decay, factor of the line: from what suits exact tables, where a line is a detour, to
# what suits few and noisy rows, which without the strong decays are overfitted before the first report.
SMOOTHNESS = ((0.002, 0.001, 0.1, 0.0), (0.01, 0.003, 0.1, 1.0), (0.03, 0.01, 0.1, 1.0), (0.1, 0.02, 0.1, 1.0))
SMOOTHNESS += ((0.03, 0.01, 1.0, 1.0), (0.1, 0.03, 3.0, 1.0), (0.1, 0.05, 10.0, 1.0), (0.1, 0.3, 10.0, 1.0))
KEYS = ("train.x_noise", "model.scale_floor", "train.optimizer.weight_decay", "train.init.line")
SELECTION = Selection(settings=tuple(dict(zip(KEYS, numbers, strict=True)) for numbers in SMOOTHNESS))


def recommended_train() -> Train:
    """Training for tables."""
    optimizer = Optimizer(name="adam", learning_rate=0.02, clip_norm=1.0)
    return Train(
        num_steps=3000, report_every=25, batch_size=256, keep="best", patience=40, init=Init(name="data"), optimizer=optimizer
    )


class Tabular(Run, frozen=True):
    """Rows of a file, with the settings recommended for them."""

    output: Folder = Field(default=Path("results/tabular"), description="folder of the results")
    data: Table = Field(default=Table(), description="table")
    model: Model = Field(default=MODEL, description="mixture density network")
    train: Train = Field(default_factory=recommended_train, description="training of the mixture density network")
    ensemble: Ensemble = Field(default=ENSEMBLE, description="several trainings")
    selection: Selection = Field(default=SELECTION, description="choice of the number of components, and of other numbers")


class Benchmark(Tabular, frozen=True):
    """The same settings on many tables."""

    output: Folder = Field(default=Path("results/uci"), description="folder of the results")
    data: Tables = Field(default=Tables(), description="tables")  # pyright: ignore[reportIncompatibleVariableOverride]
