"""Scores predictive distributions on rows that were not trained on."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mdnjax.components import GAUSSIAN
from mdnjax.data import Dataset
from mdnjax.data.atoms import Atoms
from mdnjax.data.columns import blocks
from mdnjax.data.dataset import mean_over_rows, select_rows
from mdnjax.data.examples import as_weight
from mdnjax.data.units import Units
from mdnjax.mixed import atom_probabilities, log_prob_with_atoms
from mdnjax.mixture import Mixture
from mdnjax.observed import PLAIN, Observed
from mdnjax.predictor import Predictor
from mdnjax.scores import calibration_error, crps, nll, pit
from mdnjax.statistics import mean
from mdnjax.statistics.quick import quick_interval
from mdnjax.statistics.targets import marginals
from mdnjax.types import Float, Int

LEVELS = (0.5, 0.8, 0.95)
MAX_CRPS_ROWS = 1000  # if the CRPS is computed by quadrature
NUM_SHUFFLES = 5
MAX_IMPORTANCE_ROWS = 5000


class PartScores(NamedTuple):
    """Scores of a target with atoms: their values, how often they occur and are predicted to, and the NLL of both parts.

    The NLL is `nll_of_kind`, that of being one of the atoms or none, plus the share of targets that are none times `nll_of_rest`,
    the mean NLL of their density.
    """

    values: list[float]
    observed_share: list[float]
    predicted_share: list[float]
    nll_of_kind: float
    nll_of_rest: float


class Evaluation(NamedTuple):
    """Means over rows: the NLL in nats and the targets' own units, other scores of each target `[D]`, at each level `[D, L]`.

    `coverage` and `width` (a median) are those of central intervals at `LEVELS`; `calibration` is the mean distance between the
    distribution of the PIT values `[N, D]` and the uniform distribution. `widths` `[D, N, L]` are those of the rows' intervals.
    """

    nll: float
    crps: list[float]
    rmse: list[float]
    coverage: list[list[float]]
    width: list[list[float]]
    calibration: list[float]
    pit: np.ndarray
    widths: np.ndarray
    atoms: PartScores | None = None

    def numbers(self) -> dict[str, Any]:
        """Returns all scores but those of single rows, and the levels, for a JSON file."""
        numbers = {name: value for name, value in self._asdict().items() if name not in ("pit", "widths", "atoms")}
        parts = {} if self.atoms is None else {"atoms": self.atoms._asdict()}
        return numbers | parts | {"levels": list(LEVELS)}


def evaluate(predictor: Predictor, rows: Any, y: Any, weight: Any = None, event: Any = None) -> Evaluation:
    """Scores a predictor on rows that it was not trained on, by their observed targets y `[N]` or `[N, D]`.

    Args: `weight` `[N]` says how much each row counts in the means, by default all the same; `event` `[N]` says which targets are
    observed and which are censored, as for `mdnjax.fit`.
    Raises: TableError (a ValueError) if the rows lack a column of the predictor; ValueError if y or weight has another shape.
    """
    inputs = predictor.inputs(rows)
    weight = None if weight is None else as_weight("weight", weight, len(inputs))
    y = predictor.checked_targets(y, len(inputs))
    censoring = predictor.observed.checked_censoring(event, y)
    return evaluate_mixtures(predictor.at(inputs), y, predictor.units, weight, predictor.observed, censoring)


def evaluate_mixtures(
    mixture: Mixture,
    y: np.ndarray,
    units: Units,
    weight: Float[np.ndarray, " N"] | None = None,
    observed: Observed = PLAIN,
    censoring: Int[np.ndarray, " N"] | None = None,
) -> Evaluation:
    """Scores the mixtures `[N]` of N rows, which are in these units, by the recorded targets y `[N, D]` in their own units.

    With weights all means, medians and distributions over rows are weighted, so that whole numbers have the effect of copies.
    With a lattice all scores are those of the rounded targets: the NLL of cells, the CRPS of the discrete distribution, the
    randomised PIT, and intervals whose ends are values of the lattice, with the share of rows inside of them. With atoms they are
    those of the target that has them, and with bounds beyond which targets are censored those of what is recorded. With a
    recalibration they are those of the recalibrated distribution.
    Rows with a `censoring` other than 0 (see `Dataset`) have the NLL of all numbers where the true target may be, and a PIT that
    is drawn among those of these numbers; a target is inside of an interval if its PIT is. CRPS and RMSE are those of other rows.
    """
    plain, atoms, of_known = observed.is_plain, observed.atoms, weight
    scores = scores_of_density(mixture, y, units) if plain else scores_of_probabilities(mixture, y, units, observed)
    if censoring is not None:
        scores = with_censored_rows(scores, mixture, y, units, observed, censoring)
        of_known = weight_of_observed(censoring, weight)
    widths = scores.ends[..., 1] - scores.ends[..., 0]
    return Evaluation(
        nll=float(mean_over_rows(scores.nll, weight)),
        crps=[mean_of_first_rows(score, of_known) for score in scores.crps],
        rmse=[float(value) for value in np.sqrt(mean_over_rows((scores.mean - y).T ** 2, of_known))],
        coverage=[[float(mean_over_rows(inside, weight)) for inside in target] for target in scores.inside],
        width=[[median_over_rows(width, weight) for width in of_target.T] for of_target in widths],
        calibration=[float(calibration_error(values, weight)) for values in scores.pit],
        pit=scores.pit.T,
        widths=widths,
        atoms=None if atoms is None else parts_of_atoms(mixture, y, units, atoms, weight),
    )


class RowScores(NamedTuple):
    """Scores of N rows in the targets' own units; the CRPS may be that of the first rows alone (see `crps_of`).

    `ends` are those of central intervals at LEVELS, and `inside` is 1 where they contain the target.
    """

    nll: Float[np.ndarray, " N"]
    crps: list[Float[np.ndarray, " n"]]
    pit: Float[np.ndarray, "D N"]
    mean: Float[np.ndarray, "N D"]
    ends: Float[np.ndarray, "D N L 2"]
    inside: Float[np.ndarray, "D L N"]


def scores_of_density(mixture: Mixture, targets: np.ndarray, units: Units) -> RowScores:
    """Returns the scores of rows by their densities."""
    y, factor = units.relative(targets).astype(mixture.logits.dtype), units.factor
    singles = [(single, y[:, [target]]) for target, single in enumerate(marginals(mixture))]
    ends = [np.asarray(quick_interval(single[:, None], jnp.array(LEVELS)), np.float64) for single, _ in singles]
    pits = np.stack([np.asarray(pit(*single), np.float64) for single in singles])
    return RowScores(
        nll=np.asarray(nll(mixture, y), np.float64) + np.sum(np.log(factor)),
        crps=[crps_of(*single).astype(np.float64) * factor[target] for target, single in enumerate(singles)],
        pit=pits,
        mean=units.absolute(mean(mixture)),
        ends=np.stack([units.select(target).absolute(values) for target, values in enumerate(ends)]),
        inside=np.stack([np.abs(pits - 0.5) <= level / 2 for level in LEVELS], axis=1).astype(np.float64),
    )


def scores_of_probabilities(mixture: Mixture, y: np.ndarray, units: Units, observed: Observed) -> RowScores:
    """Returns the scores of rows of targets of which values have probabilities, or that are recalibrated."""
    recorded = observed.as_recorded()
    singles = [(single, units.select(d), recorded.select(d)) for d, single in enumerate(marginals(mixture))]
    scores = [single.scores(mixture, units, y[:, [d]]) for d, (mixture, units, single) in enumerate(singles)]
    ends = np.stack(
        [
            single.quantiles(units.absolute(single.mixture_intervals(mixture, np.array(LEVELS))[..., None]))[..., 0]
            for mixture, units, single in singles
        ]
    )
    at = y.T[..., None]
    return RowScores(
        nll=-recorded.log_prob(mixture, units, y),
        crps=[score.crps for score in scores],
        pit=np.stack([score.pit for score in scores]),
        mean=np.stack([score.mean for score in scores], axis=1),
        ends=ends,
        inside=np.moveaxis((ends[..., 0] <= at) & (at <= ends[..., 1]), 1, 2).astype(np.float64),
    )


def with_censored_rows(
    scores: RowScores, mixture: Mixture, y: np.ndarray, units: Units, observed: Observed, censoring: Int[np.ndarray, " N"]
) -> RowScores:
    """Returns the scores with those of the censored rows of a single target; their CRPS has no meaning."""
    pits = observed.pit(mixture, units, y, censoring)
    inside = np.stack([np.abs(pits - 0.5) <= level / 2 for level in LEVELS])
    nll = -observed.log_prob(mixture, units, y, censoring)
    return scores._replace(nll=nll, pit=pits[None], inside=np.where(censoring == 0, scores.inside, inside[None]))


def weight_of_observed(censoring: Int[np.ndarray, " N"], weight: Float[np.ndarray, " N"] | None) -> Float[np.ndarray, " N"]:
    """Returns the weights of rows, 0 for those that are censored."""
    return np.where(censoring == 0, 1.0 if weight is None else weight, 0.0)


def parts_of_atoms(mixture: Mixture, y: np.ndarray, units: Units, atoms: Atoms, weight: np.ndarray | None) -> PartScores:
    """Returns separate scores of which atom a recorded target is, or none, and of the density of the other targets."""
    recorded = atoms.as_recorded()
    share = atom_probabilities(mixture, units, recorded)
    place, rest = recorded.place_of(y)[:, 0], np.maximum(1 - share.sum(axis=1), np.finfo(np.float64).tiny)
    ordinary = place < 0
    index = np.searchsorted(recorded.predicted, place)
    of_kind = np.log(np.where(ordinary, rest, np.maximum(share[np.arange(len(y)), np.where(ordinary, 0, index)], 1e-300)))
    of_rest = log_prob_with_atoms(mixture, units, recorded, y) - of_kind
    mean_rest = mean_over_rows(of_rest[ordinary], None if weight is None else weight[ordinary]) if ordinary.any() else np.nan
    kinds = [mean_over_rows((place == p).astype(float), weight) for p in recorded.predicted]
    values = np.asarray(recorded.value)[recorded.predicted].tolist()
    predicted = mean_over_rows(share.T, weight)
    nll = -float(mean_over_rows(of_kind, weight))
    return PartScores(values, [float(v) for v in kinds], [float(v) for v in predicted], nll, -float(mean_rest))


def crps_of(mixture: Mixture, y: np.ndarray) -> np.ndarray:
    """Computes the CRPS of every example; without a closed form, of the first 1000: 125 Student-t components take 40 ms each."""
    if not isinstance(mixture.component, GAUSSIAN):
        mixture, y = mixture[:MAX_CRPS_ROWS], y[:MAX_CRPS_ROWS]
    return np.asarray(crps(mixture, y))


def mean_of_first_rows(values: np.ndarray, weight: np.ndarray | None) -> float:
    """Returns the mean of scores that may be those of the first rows alone (see `crps_of`), nan if none of them counts."""
    of_first = None if weight is None else weight[: len(values)]
    return math.nan if of_first is not None and not of_first.any() else float(mean_over_rows(values, of_first))


def median_over_rows(values: Float[np.ndarray, " N"], weight: Float[np.ndarray, " N"] | None) -> float:
    """Returns the median of the distribution with these weights; between two values it is their mean."""
    if weight is None:
        return float(np.median(values))
    order = np.argsort(values)
    below = np.cumsum(weight[order]) / np.sum(weight)
    return float(np.mean(values[order][[np.searchsorted(below, 0.5, side) for side in ("left", "right")]]))


def permutation_importance(predictor: Predictor, examples: Dataset, seed: int) -> dict[str, np.ndarray]:
    """Computes the rise of the mean NLL, in nats, when one column is shuffled among the rows: `[NUM_SHUFFLES]` for each column.

    The examples' inputs are those that `predictor.inputs` returns; only the first MAX_IMPORTANCE_ROWS rows are used. Of two
    columns with the same information, each has little importance. Source: Breiman (2001), section 10.
    """
    test = select_rows(examples, slice(MAX_IMPORTANCE_ROWS))
    generator, nll_before = np.random.default_rng(seed), float(mean_over_rows(predictor.nll(test), test.weight))
    rises = {}
    for name, block in blocks(predictor.columns):
        increases = []
        for _ in range(NUM_SHUFFLES):
            x = test.x.copy()
            x[:, block] = x[generator.permutation(len(x)), block]
            increases.append(float(mean_over_rows(predictor.nll(test._replace(x=x)), test.weight)) - nll_before)
        rises[name] = np.array(increases)
    return rises
