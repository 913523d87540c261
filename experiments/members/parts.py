"""Writes and reads parts: the files of finished chunks, from which an interrupted sweep continues.

A part lists its members, so that reading does not depend on the sizes of chunks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.members.chunks import Outcome
from experiments.members.plan import Member
from experiments.sentences import say
from mdnjax import checkpoint
from mdnjax.data import Scaler, make_support
from mdnjax.data.atoms import atoms_like
from mdnjax.data.lattice import Lattice
from mdnjax.ensemble import Networks, params_like
from mdnjax.least_squares import least_squares_like
from mdnjax.trees import empty_trees

FOLDER = "parts"
PATTERN = f"{FOLDER}/*.safetensors"

Row = dict[str, Any]


class Part(NamedTuple):
    """A finished chunk: its file, a row of results for each member in the order of the file's arrays, and sizes of the arrays.

    `sizes` are the numbers of inputs, targets and reports, and 1 if the networks are pooled with least squares, and if there are
    atoms.
    """

    path: Path
    rows: list[Row]
    sizes: tuple[int, ...]


def save(folder: Path, rows: list[Row], outcome: Outcome) -> Part:
    """Writes a part, whole or not at all; its file has the number of the first member as its name."""
    path = folder / FOLDER / f"{rows[0]['member']:06d}.safetensors"
    path.parent.mkdir(exist_ok=True)
    scaler = outcome.scaler
    sizes = (scaler.x_mean.shape[1], scaler.y_offset.shape[1], len(outcome.report_steps))
    sizes = (*sizes, int(outcome.networks.least_squares is not None), int(scaler.atoms is not None))
    checkpoint.save(path, outcome, {"rows": json.dumps(rows), "sizes": json.dumps(sizes)})
    return Part(path, rows, sizes)


def read_all(folder: Path) -> list[Part]:
    """Returns all parts of a results folder; a damaged one is reported and left out, so that its members are trained again."""
    return list(_readable(folder))


def finished(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows of the members that did not diverge."""
    return [row for row in rows if row["status"] == "finished"]


def rows_of(parts: Sequence[Part], members: Sequence[Member]) -> list[Row]:
    """Returns the rows of those members that are trained, in their order, without rows of other configurations."""
    by_digest = {(row["member"], row["config"]): row for part in parts for row in part.rows}
    keys = ((member.number, member.digest) for member in members)
    return [by_digest[key] for key in keys if key in by_digest]


def outcome_of(part: Part, member: Member) -> Outcome:
    """Reads the arrays of a part; `member` is any member of its group.

    Raises: CheckpointError if the file is damaged.
    """
    num_inputs, num_targets, num_reports, *others = part.sizes  # files until November 2026 have three sizes
    model = member.config.model.model_copy(update={"num_components": part.rows[0]["num_components"]})
    num_networks = member.config.selection.num_settings * member.config.ensemble.num_members
    params = params_like(model, num_inputs, num_targets, num_networks)
    of_networks: Any = jax.ShapeDtypeStruct((num_networks,), np.float32)
    pooling = [of_networks if member.config.networks_differ else None] * 2
    factor = of_networks if member.config.networks_differ and member.config.selection.adjust_scales else None
    trees = empty_trees(model.experts, num_targets) or None
    atoms = atoms_like() if any(others[1:]) else None
    support = make_support(member.config.data.target_support, num_targets)
    sizes = (*(num_inputs,) * 2, *(num_targets,) * 4, *(num_inputs,) * 2)
    units: Any = (jax.ShapeDtypeStruct((n,), np.float64) for n in sizes)
    lattice: Any = Lattice(*[jax.ShapeDtypeStruct((num_targets,), np.float64)] * 3)  # pyright: ignore
    curve = jax.ShapeDtypeStruct((num_reports,), np.float64)
    linear = least_squares_like(num_inputs, num_targets) if any(others[:1]) else None
    networks = Networks(params, pooling[0], pooling[1], trees, linear, factor)
    like: Any = Outcome(networks, Scaler(*units, lattice, support, atoms), curve, curve, curve)  # pyright: ignore
    stacked = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((len(part.rows), *leaf.shape), leaf.dtype), like)
    steps = jax.ShapeDtypeStruct((num_reports,), np.int64)
    return checkpoint.load(part.path, stacked._replace(report_steps=steps))


def _readable(folder: Path) -> Iterator[Part]:
    for path in sorted(folder.glob(PATTERN)):
        try:
            metadata = checkpoint.read_metadata(path)
            yield Part(path, json.loads(metadata["rows"]), tuple(json.loads(metadata["sizes"])))
        except (checkpoint.CheckpointError, KeyError, ValueError) as error:
            say(f"ignored a damaged file of finished members: {error}", to=sys.stderr)
