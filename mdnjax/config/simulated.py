"""The configuration recommended for simulations: networks of the posterior p(theta|x), others of the likelihood p(x|theta)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mdnjax.config.ensembles import Ensemble, Selection
from mdnjax.config.schema import Checked, Init, Model, Optimizer, Run, Train
from mdnjax.config.section import Count

HIDDEN_SIZES = (64, 64, 64)
MODEL = Model(family="full", num_components="auto", hidden_sizes=HIDDEN_SIZES, activation="silu", scale_floor=0.003)
ENSEMBLE = Ensemble(num_members=5, rotate=True)
# Posteriors of one piece are near to a Gaussian, of which many components overfit if there are many parameters; others need many.
SELECTION = Selection(num_components=(1, 20))
# A likelihood is multiplied over trials and compared between parameters, so that its errors count more than those of a posterior:
# its networks are larger, and their scale floor is smaller.
LIKELIHOOD_MODEL = Model(family="full", num_components="auto", hidden_sizes=(128, 128, 128), activation="silu", scale_floor=0.001)
LIKELIHOOD_ENSEMBLE = Ensemble(num_members=3, rotate=True)
# With results of many numbers, more components than needed overfit; a single one is not enough for results on a curve.
LIKELIHOOD_SELECTION = Selection(num_components=(1, 8))


def recommended_train() -> Train:
    """Returns the training section for p(theta|x)."""
    optimizer = Optimizer(learning_rate=0.01, schedule="cosine_decay_schedule", clip_norm=1.0, base_width=20.0)
    return Train(
        num_steps=10_000, batch_size=500, keep="best", x_noise=0.0, init=Init(name="data", slope=0.5), optimizer=optimizer
    )


def recommended_train_of_likelihood() -> Train:
    """Returns the training section for p(x|theta)."""
    optimizer = Optimizer(learning_rate=0.003, schedule="cosine_decay_schedule", clip_norm=1.0, weight_decay=0.03)
    init = Init(name="data", slope=0.5)
    return Train(num_steps=10_000, report_every=250, batch_size=500, keep="best", x_noise=0.0, init=init, optimizer=optimizer)


class Likelihood(Checked, frozen=True):
    """The networks of the likelihood p(x|theta)."""

    model: Model = Field(default=LIKELIHOOD_MODEL, description="mixture density network")
    train: Train = Field(default_factory=recommended_train_of_likelihood, description="training of the network")
    ensemble: Ensemble = Field(default=LIKELIHOOD_ENSEMBLE, description="several networks that are pooled")
    selection: Selection = Field(default=LIKELIHOOD_SELECTION, description="what is selected with the validation rows")
    num_particles: Annotated[Count, Field(ge=20, le=10**6)] = Field(
        default=2000, description="particles that move from the prior to the posterior of an observation"
    )
    num_moves: Annotated[Count, Field(le=10**5)] = Field(default=50, description="moves of each particle at a temperature")


class Simulated(Run, frozen=True):
    """A run on simulations, with the settings recommended for them."""

    method: Literal["posterior", "likelihood", "both"] = Field(
        default="posterior",
        description="posterior: networks of p(theta|x); likelihood: networks of p(x|theta), from which posteriors are drawn with "
        "tempered particles; both: the one of which the densities of held-out parameters are higher",
    )
    model: Model = Field(default=MODEL, description="mixture density network of the posterior")
    train: Train = Field(default_factory=recommended_train, description="training of the network of the posterior")
    ensemble: Ensemble = Field(default=ENSEMBLE, description="several networks that are pooled")
    selection: Selection = Field(default=SELECTION, description="what is selected with the validation rows")
    likelihood: Likelihood = Field(default_factory=Likelihood, description="networks of the likelihood")
