"""The units of training that a configuration asks for: support and atoms of the targets, means, standard deviations, lattice."""

from __future__ import annotations

import numpy as np

from mdnjax.components import Support
from mdnjax.config.data import Examples
from mdnjax.data.atoms import Atoms, atoms_of
from mdnjax.data.bounds import check_inside, check_spread, make_support
from mdnjax.data.censoring import SHARE_OF_SD, drawn_beyond, gaussian_tail
from mdnjax.data.centre import centre_of, offset_and_factor, wild_values, without_wild_values
from mdnjax.data.dataset import Dataset, joined, rounding_step, select_rows
from mdnjax.data.lattice import lattice_of, no_lattice
from mdnjax.data.scaler import Scaler, latent_targets, to_line, to_training_units
from mdnjax.types import Float

# Lengths of cells in the loss of training, in its units: on either side of the latent number of an atom, and beyond a bound.
ATOM_LENGTH, CENSORED_LENGTH = 1.0, 2.0
LIMIT_MARGIN = 0.5  # on either side of the inputs of the train rows, in lengths of their range


def fit_units(section: Examples, train: Dataset, validation: Dataset, cells: bool = True) -> tuple[Scaler, Dataset, Dataset]:
    """Returns the units of training, and both parts with each wild target replaced by the nearest one that is not wild.

    Args: without `cells`, the loss of the training knows no probabilities of cells, so there are neither atoms nor a lattice.
    Raises: ValueError if a target is outside of its support, or if the data have no such atoms or bounds as the section sets.
    """
    support, atoms = support_and_atoms(section, joined(train, validation), cells)
    scaler = make_scaler(train, section.standardise, support, atoms)
    train, validation = limited_targets(scaler, train, validation)
    if section.lattice and cells and atoms is None:
        scaler = scaler._replace(lattice=lattice_of(section.rounding, joined(train, validation).y))
    return scaler, train, validation


def support_and_atoms(section: Examples, known: Dataset, cells: bool = True) -> tuple[Support | None, Atoms | None]:
    """Returns the support and the atoms of targets; with atoms the support is that of the latent numbers.

    Raises: ValueError, which names the key of the section.
    """
    num_targets = known.y.shape[1]
    try:
        support = make_support(section.target_support, num_targets)
    except ValueError as error:
        raise ValueError(f"data.target_support: {error}") from None
    if known.censoring is not None:
        check_censored_rows(section, num_targets, cells)
        return support, None
    asked = section.atoms not in ("auto", ()) or section.censored != (None, None)
    if not cells and asked:
        raise ValueError("data.atoms: got atoms or censored bounds, expected none with a loss other than train.loss nll")
    try:
        atoms = atoms_of(section.atoms, known.y, support, section.censored, known.weight) if cells else None
    except ValueError as error:
        raise ValueError(f"data.{'atoms' if section.censored == (None, None) else 'censored'}: {error}") from None
    return (support, None) if atoms is None else (atoms.support_of_latent(support), atoms)


def check_censored_rows(section: Examples, num_targets: int, cells: bool = True) -> None:
    """Raises: ValueError if a configuration cannot be trained on rows that are censored."""
    if num_targets > 1:
        raise ValueError(f"event: got censored rows and {num_targets} targets, expected a single target")
    if section.censored != (None, None):
        raise ValueError("data.censored: got bounds beside rows that are censored by their event, expected one of the two")
    if section.atoms not in ("auto", ()):
        raise ValueError("data.atoms: got atoms beside rows that are censored by their event, expected none")
    if not cells:
        raise ValueError("event: got censored rows with a loss other than train.loss nll, which knows no probabilities")


def make_scaler(dataset: Dataset, standardise: bool, support: Support | None = None, atoms: Atoms | None = None) -> Scaler:
    """Returns the scaler that gives a data set mean 0 and sd 1, or without `standardise` only applies the support.

    Wild values (see `mdnjax.data.centre`) have no effect on it, and targets that are atoms or censored none on the units of
    targets. It has no lattice.
    Args: with `atoms`, `support` is that of the latent numbers.
    Raises: ValueError if a target is outside of its support, or too far from its bounds for float32.
    """
    check_inside(support, dataset.y if atoms is None else atoms.latent(dataset.y))
    if not standardise:
        (x_zeros, x_ones), (y_zeros, y_ones) = ((np.zeros(n), np.ones(n)) for n in (dataset.x.shape[1], dataset.y.shape[1]))
        no_limit = np.full(dataset.x.shape[1], np.inf)
        units = (x_zeros, x_ones, y_zeros, y_ones, y_zeros, y_ones, -no_limit, no_limit)
        return Scaler(*units, no_lattice(dataset.y.shape[1]), support, atoms)
    of_targets = dataset if atoms is None else _without_atoms(dataset, atoms)
    y = np.asarray(of_targets.y if atoms is None else atoms.latent(of_targets.y), np.float64)
    bounds = support or Support((-np.inf,) * y.shape[1], (np.inf,) * y.shape[1])
    weight = of_targets.weight
    offset, factor = np.array([offset_and_factor(*target, weight) for target in zip(y.T, *bounds, strict=True)]).T
    x = centre_of(dataset.x, np.inf, dataset.weight)
    margin = LIMIT_MARGIN * (x.high - x.low)
    limits = ((x.low - margin - x.mean) / x.sd, (x.high + margin - x.mean) / x.sd)
    line = (np.zeros(len(offset)), np.ones(len(offset)))
    scaler = Scaler(x.mean, x.sd, offset, factor, *line, *limits, no_lattice(len(offset)), support, atoms)
    line_mean, line_sd, *_ = centre_of(to_line(scaler, y), 1.0, weight)
    if support is not None:
        check_spread(support, (y - offset) / factor)
    return scaler._replace(line_mean=line_mean, line_sd=line_sd)


def limited_targets(scaler: Scaler, *parts: Dataset) -> tuple[Dataset, ...]:
    """Returns parts to train and select with, in which each wild target is replaced by the nearest one that is not wild.

    A network that is to explain a wild target changes the distributions of other rows. Only scores use the target itself.
    """
    y = joined(*parts).y
    ordinary = np.ones(len(y), bool) if scaler.atoms is None else scaler.atoms.place_of(y)[:, 0] < 0
    wild = wild_values(to_line(scaler, latent_targets(scaler, y[ordinary])))
    if not wild.any():
        return parts
    ends = np.cumsum([len(part.y) for part in parts])[:-1]
    y = y.copy()
    y[ordinary] = without_wild_values(y[ordinary], wild)
    limited = np.split(y, ends)
    return tuple(part._replace(y=values) for part, values in zip(parts, limited, strict=True))


def limits_of_targets(scaler: Scaler, y: Float[np.ndarray, "N D"], limited: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "2 D"]:
    """Returns the lowest and the highest target to train with, for targets beyond those by which the units were computed.

    These are the limits of `limited_targets` where it replaced wild ones, and else half of the range of the targets on either
    side of them. Targets that are atoms do not count.
    """
    ordinary = np.ones(len(y), bool) if scaler.atoms is None else scaler.atoms.place_of(y)[:, 0] < 0
    low, high = limited[ordinary].min(axis=0), limited[ordinary].max(axis=0)
    replaced = (y[ordinary] != limited[ordinary]).any(axis=0)
    margin = np.where(replaced, 0.0, LIMIT_MARGIN * (high - low))
    return np.stack([low - margin, high + margin])


def within_limits(scaler: Scaler, y: Float[np.ndarray, "N D"], limits: Float[np.ndarray, "2 D"]) -> Float[np.ndarray, "N D"]:
    """Returns targets with those beyond their limits replaced by the nearest number inside; atoms stay as they are."""
    clipped = np.clip(y, *limits)
    return clipped if scaler.atoms is None else np.where(scaler.atoms.place_of(y) < 0, clipped, y)


def min_scale_of_rounding(rounding: float | str, scaler: Scaler, y: Float[np.ndarray, "N D"]) -> float:
    """Returns the sd of the targets' rounding errors, step / sqrt(12), in units of training; the smallest of several targets.

    With a support it is 0, since there a rounding step has no constant size on the real line; with a lattice, because a cell has
    a probability of at most 1 however narrow a component is.
    """
    if scaler.support is not None or rounding == 0 or scaler.lattice.exists:
        return 0.0
    y = y if scaler.atoms is None else y[scaler.atoms.place_of(y)[:, 0] < 0]
    return float(np.min(rounding_step(rounding, y) / np.sqrt(12) / (scaler.y_factor * scaler.line_sd)))


def to_train_on(scaler: Scaler, dataset: Dataset) -> Dataset:
    """Returns examples in units of training, with the cells of atoms and of censored targets bounded, for the loss of training.

    A cell without an end does not limit the location and the scale of a component in it, which then reaches far beyond all
    targets. The latent numbers of censored targets, which only the first parameters and the trees see, are spread beyond the
    bound like the tail of a Gaussian: components that start at one and the same number stay there.
    """
    scaled = to_training_units(scaler, dataset)
    if scaler.atoms is None or scaled.cells is None or scaled.exact is None:
        return scaled
    place, y, cells = scaler.atoms.place_of(dataset.y)[:, 0], scaled.y.copy(), scaled.cells.copy()
    for atom in np.unique(place[place >= 0]):
        rows = place == atom
        low, high = scaled.cells[rows][0, :, 0]
        if not scaler.atoms.censored[atom]:
            ends = scaled.y[rows][0, 0] - ATOM_LENGTH, scaled.y[rows][0, 0] + ATOM_LENGTH
        else:
            ends = high - CENSORED_LENGTH if np.isinf(low) else low, low + CENSORED_LENGTH if np.isinf(high) else high
            beyond = SHARE_OF_SD * gaussian_tail(int(rows.sum()), float(rows.mean()))
            y[rows, 0] = np.clip(low + beyond if np.isfinite(low) else high - beyond, *ends)
        cells[rows] = np.clip(scaled.cells[rows], *ends)
    return scaled._replace(y=y, cells=cells)


def parts_to_train_on(scaler: Scaler, *parts: Dataset) -> list[Dataset]:
    """Returns `to_train_on` of parts; where a column says which rows are censored, with targets drawn from beyond theirs.

    Only the first parameters and the trees see these targets, and the loss of training their cells.
    """
    scaled = [to_train_on(scaler, part) for part in parts]
    whole, of_all = joined(*parts), joined(*scaled)
    if whole.censoring is None:
        return scaled
    y = of_all.y.copy()
    y[:, 0] = drawn_beyond(y[:, 0], whole.censoring, whole.weight)
    ends = np.cumsum([len(part.y) for part in parts])[:-1]
    return [part._replace(y=values) for part, values in zip(scaled, np.split(y, ends), strict=True)]


def _without_atoms(dataset: Dataset, atoms: Atoms) -> Dataset:
    return select_rows(dataset, atoms.place_of(dataset.y)[:, 0] < 0)
