"""The configuration recommended for tables; it tries several settings and weights their networks with the validation rows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mdnjax.config.data import Table
from mdnjax.config.ensembles import Ensemble, Selection
from mdnjax.config.schema import Init, Model, Optimizer, Run, Train

EXPERTS = ("boosted_trees", "extra_trees")
MODEL = Model(
    hidden_sizes=(64, 64, 64),
    activation="gelu",
    num_components=5,
    line=True,
    embedding="piecewise_linear",
    embedding_size=16,
    experts=EXPERTS,
)
ENSEMBLE = Ensemble(num_members=5, rotate=True)
# Noise on the inputs, scale floor, weight decay, factors of the fitted line, of the embedded inputs and of the experts, and rate.
# The first setting suits smooth tables without noise, for which nothing but the inputs helps. Embedded inputs suit rough targets,
# the experts also rows with near twins. Those with a weight decay of 10 suit few and noisy rows, which a network with less weight
# decay overfits before the first report. The last two settings learn slowly, which suits embedded inputs if there are many steps.
SETTING_VALUES = (
    (0.002, 0.001, 0.1, 0.0, 0.0, 0.0, 0.02),
    (0.002, 0.001, 0.1, 0.0, 1.0, 0.0, 0.02),
    (0.03, 0.01, 0.1, 1.0, 1.0, 0.0, 0.02),
    (0.03, 0.01, 1.0, 1.0, 1.0, 0.0, 0.02),
    (0.002, 0.001, 0.1, 0.0, 0.0, 1.0, 0.02),
    (0.1, 0.03, 3.0, 1.0, 0.0, 1.0, 0.02),
    (0.002, 0.001, 0.1, 0.0, 1.0, 1.0, 0.02),
    (0.03, 0.01, 1.0, 1.0, 1.0, 1.0, 0.02),
    (0.1, 0.05, 10.0, 1.0, 0.0, 0.0, 0.02),
    (0.1, 0.3, 10.0, 1.0, 0.0, 0.0, 0.02),
    (0.002, 0.001, 0.1, 0.0, 1.0, 0.0, 0.007),
    (0.03, 0.01, 0.1, 1.0, 1.0, 0.0, 0.007),
)
SETTING_KEYS = ("train.x_noise", "model.scale_floor", "train.optimizer.weight_decay", "train.init.line")
SETTING_KEYS += ("train.init.embedding", "train.init.experts", "train.optimizer.learning_rate")
SELECTION = Selection(
    settings=tuple(dict(zip(SETTING_KEYS, values, strict=True)) for values in SETTING_VALUES),
    racing=True,
    least_squares=True,
    adjust_scales=True,
)


def recommended_train() -> Train:
    """Returns the training section for tables."""
    optimizer = Optimizer(name="adam", learning_rate=0.02, clip_norm=1.0)
    return Train(
        num_steps=3000, report_every=25, batch_size=256, keep="best", patience=40, init=Init(name="data"), optimizer=optimizer
    )


class Tabular(Run, frozen=True):
    """A run on the rows of a file, with the settings recommended for tables."""

    data: Table = Field(default=Table(), description="table")
    model: Model = Field(default=MODEL, description="mixture density network")
    train: Train = Field(default_factory=recommended_train, description="training of the mixture density network")
    ensemble: Ensemble = Field(default=ENSEMBLE, description="several networks that are pooled")
    budget: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        default=None,
        description="seconds that a fit may take, with its trees and compilation (null: no limit); the learning rates fall with "
        "the time, so that results depend on the speed of the machine",
    )
    selection: Selection = Field(default=SELECTION, description="what is selected with the validation rows")
