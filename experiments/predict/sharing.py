"""Predicts for the files of a pattern: one after the other in this process, or shared by the workers of a cluster."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments import cluster, command
from experiments.predict.columns import Predict
from experiments.predict.parts import digest_of, is_complete, parts_of, records
from experiments.predict.rows import Summary, predict_file
from mdnjax.model_file import load
from mdnjax.parallel import one_core
from mdnjax.predictor import Predictor
from mdnjax.progress import ProgressLine


class Part(NamedTuple):
    """The configuration of a part, what its predictions depend on, and whether a part that was made otherwise is replaced."""

    config: Predict
    record: str
    overwrite: bool


def predict_parts(config: Predict, predictor: Predictor, overwrite: bool, progress: ProgressLine) -> tuple[Summary, int]:
    """Predicts for the files of a pattern that are not complete; returns the summary of these, and how many were complete."""
    configs = parts_of(config)
    parts = [Part(part, record, overwrite) for part, record in zip(configs, records(configs), strict=True)]
    missing = [part for part in parts if overwrite or not is_complete(part.config, part.record)]
    if config.cluster.is_used:
        summaries = _predict_on_workers(config, missing, progress)
    else:
        summaries = _predict_here(predictor, missing, progress)
    return functools.reduce(Summary.plus, summaries, Summary()), len(parts) - len(missing)


def rows_shown(progress: ProgressLine, which: str = "") -> Callable[[int], None]:
    """Returns a function of the number of rows so far that shows it in the line of progress."""
    start = time.perf_counter()

    def show(num: int) -> None:
        progress.update(lambda now: f"predict: {which}{num:,} rows  {num / (now - start):,.0f} rows/s")

    return show


def _predict_here(predictor: Predictor, parts: Sequence[Part], progress: ProgressLine) -> Iterator[Summary]:
    for index, (part, record, overwrite) in enumerate(parts):
        report = rows_shown(progress, f"part {index + 1} of {len(parts)}  ")
        yield predict_file(part, predictor, overwrite, report, record=record, compiled=index > 0)


def _predict_on_workers(config: Predict, parts: Sequence[Part], progress: ProgressLine) -> Iterator[Summary]:
    """Yields the summaries of parts as the workers complete them; workers read and write the same files as this process."""
    rows: dict[int, int] = {}
    start, ended = time.perf_counter(), 0

    def observe(index: int, value: Any) -> None:
        rows[index] = value or 0
        num = sum(rows.values())
        words = f"predict: {ended} of {len(parts)} parts  {num:,} rows"
        progress.update(lambda now: f"{words}  {num / (now - start):,.0f} rows/s")

    parts = [part._replace(config=_with_whole_paths(part.config)) for part in parts]
    with cluster.connect(config.cluster) as client:
        for index, summary in cluster.results(client, _predict_on_worker, parts, observe):
            ended += 1
            observe(index, summary.num_rows)
            yield summary


def _with_whole_paths(part: Predict) -> Predict:
    """Returns the configuration with paths that do not depend on the folder in which a process was started."""
    paths = {name: str(Path(getattr(part, name)).absolute()) for name in ("model", "file")}
    return part.model_copy(update={**paths, "output": part.output.absolute()})


def _predict_on_worker(part: Part, report: Callable[[Any], None]) -> Summary:
    """Predicts for a part in a worker, unless another worker that has ended since then completed it."""
    config, record, overwrite = part
    predictor = _model_of_worker(config.model, json.loads(record)["model"])
    command.setup_runtime(config.runtime)
    if not overwrite and is_complete(config, record):
        return Summary()
    with one_core():
        return predict_file(config, predictor, overwrite, report, record=record)


@functools.lru_cache(maxsize=1)
def _model_of_worker(path: str, digest: str) -> Predictor:
    """Reads the model in a worker, once. Raises: UserError if it is not that of the command."""
    if digest_of(path) != digest:
        raise command.UserError(f"model: {path} is not the file that the command has read, expected a folder that all share")
    return load(path)
