"""Fits peers on the splits of the tables; the scores of each fit are written before the next one starts."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import report
from experiments.members.data import member_data
from experiments.sentences import say
from experiments.uci import peers
from experiments.uci.points import scores_of
from experiments.uci.runs import SplitRun
from mdnjax.data import Splits, make_scaler
from mdnjax.data.scaler import relative_units
from mdnjax.progress import running

FOLDER = "peers"


def peer_rows(names: Sequence[str], runs: Sequence[SplitRun], folder: Path) -> list[dict[str, Any]]:
    """Returns a row of scores for each peer and run; a fit that an earlier command has finished is read from its file.

    A fit that raises an error is noted, and the next command tries it again.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    return [_row(name, run, folder / FOLDER / f"{name}_{_digest(name, run)}.json") for name in names for run in runs]


def _row(name: str, run: SplitRun, file: Path) -> dict[str, Any]:
    train, validation, test = splits = member_data(run.member).splits
    num_rows, num_inputs = (len(train.x) + len(validation.x) + len(test.x), test.x.shape[1])
    row = {"table": run.problem, "contender": name, "seed": run.member.config.seed, "status": "finished"}
    row |= {"num_rows": num_rows, "num_inputs": num_inputs, "num_test": len(test.x)}
    if not file.exists():
        try:
            with running(f"{name}: split {run.split} of {run.problem}"):
                found = _fit(name, splits, run.member.config.seed)
        except Exception as error:  # of any kind, since it comes from a package that mdnjax does not know
            reason = " ".join(str(error).split())[:200]
            say(f"note: {name} failed on split {run.split} of {run.problem} ({type(error).__name__}: {reason})")
            return row | {"status": "failed"}
        report.write_json(file, found)
    stored = json.loads(file.read_text())
    return row | {key: math.nan if value is None else value for key, value in stored.items()}


def _fit(name: str, splits: Splits, seed: int) -> dict[str, float]:
    """Returns the scores of a peer on the test rows, with the seconds of fitting and predicting."""
    units = relative_units(make_scaler(splits.train, standardise=True))
    start = time.perf_counter()
    prediction = peers.predict(name, peers.rows_of(splits, units), seed)
    seconds = time.perf_counter() - start
    return {**scores_of(prediction, splits.test.y, units), "seconds": seconds}


def _digest(name: str, run: SplitRun) -> str:
    """Returns a digest of what the scores of a peer depend on: the split, the seed and the version of the package."""
    text = run.member.config.model_dump_json(include={"seed", "data"}) + importlib.metadata.version(name)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
