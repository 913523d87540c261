"""The settings recommended for tables: one configuration for all, most numbers of which rows held out of training choose."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from mdnjax.config.data import Table, Tables
from mdnjax.config.ensembles import Ensemble, Selection
from mdnjax.config.schema import Init, Model, Optimizer, Run, Train
from mdnjax.config.section import Folder

MODEL = Model(hidden_sizes=(64, 64, 64), activation="gelu", num_components=5)
ENSEMBLE = Ensemble(num_members=5, rotate=True)
NOISE_AND_FLOOR = ((0.002, 0.001), (0.007, 0.002), (0.02, 0.005), (0.05, 0.01), (0.12, 0.03), (0.3, 0.08))
SELECTION = Selection(settings=tuple({"train.x_noise": noise, "model.scale_floor": floor} for noise, floor in NOISE_AND_FLOOR))


def recommended_train() -> Train:
    """Training for tables."""
    optimizer = Optimizer(name="adam", learning_rate=0.02, clip_norm=1.0, weight_decay=0.1)
    return Train(num_steps=3000, batch_size=256, keep="best", patience=10, init=Init(name="data"), optimizer=optimizer)


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
