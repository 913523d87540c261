"""Draws parameters from a prior and simulates with each of them, also on many workers: `mdnjax.simulate`."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import queue
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mdnjax import checkpoint
from mdnjax.file_lock import InUseError, take_lock
from mdnjax.posteriors.priors import Prior
from mdnjax.types import PRNGKey

MAX_CHUNKS = 1000  # by default there are at most so many files and tasks
LOCK_FILE = ".lock"
SECOND = ""  # of the arguments, given by its place
GENERATORS = ("rng", "generator")  # names of arguments that take a generator also where they need not

Simulator = Callable[..., Any]
Array = np.ndarray


class SimulatedRows(NamedTuple):
    """Simulations with the parameters `theta[n, D]` of some rows: `x[s, ...]` of those that succeeded, and texts of the errors.

    The names of the arrays are part of the file format.
    """

    rows: Array
    theta: Array
    succeeded: Array
    x: Array
    errors: tuple[str, ...]


def simulate(
    key: PRNGKey,
    simulator: Simulator,
    prior: Prior,
    num: int,
    *,
    client: Any = None,
    path: str | Path | None = None,
    chunk_size: int | None = None,
    observe: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws `num` parameters from the prior, and simulates with each of them.

    A simulation fails if the simulator raises an exception or its result is not finite; failures are rows of NaN, which
    `fit_posterior(..., missing="drop")` takes into account. The result depends on the key alone, not on the workers, unless the
    simulator draws random numbers of its own.

    Args:
        key: Determines the parameters, and the random numbers of the simulator.
        simulator: simulator(theta), or simulator(theta, generator) with another numpy Generator for each simulation, if it needs
            two arguments, or has one named rng or generator, without a default or with None. It takes the parameters `[D]` of one
            simulation, and returns a number or an array, of the same shape each time.
        prior: The law of the parameters.
        num: Number of simulations.
        client: Where to simulate, by default in this process: a `distributed.Client` of Dask, whose scheduler and workers need
            mdnjax, an executor of `concurrent.futures`, or anything else whose submit(function, *arguments) returns futures.
        path: A folder, to which finished simulations are written, failed ones too. The same call continues with what it holds.
            It cannot know whether the simulator was changed: choose another folder then. One call at a time uses a folder.
        chunk_size: Simulations in a task and in a file; by default 1, or as many as make a thousand tasks.
        observe: Called as observe(number of simulations done, number of them that failed).
    Returns: theta `[N, D]` and x `[N, X]`, or `[N, ...]` for results of more axes, in float64.
    Raises: ValueError if all simulations failed, results differ in shape, the folder has simulations of other parameters, or
        another call is using it.
    """
    if num < 1 or (chunk_size is not None and chunk_size < 1):
        raise ValueError(f"num, chunk_size: got {num} and {chunk_size}, expected at least 1")
    theta_key, noise_key = jax.random.split(key)
    theta, seed = prior.sample(theta_key, (num,)), np.asarray(jax.random.key_data(noise_key)).tolist()
    folder = None if path is None else Path(path)
    with _locked(folder):
        found = [] if folder is None else _read(folder, theta)
        left = np.setdiff1d(np.arange(num), np.concatenate([np.zeros(0, int), *(part.rows for part in found)]))
        size = chunk_size or -(-num // MAX_CHUNKS)
        chunks = [left[first : first + size] for first in range(0, len(left), size)]
        task = partial(simulate_rows, simulator, _generator_argument(simulator), seed)
        for part in _computed(client, [(task, rows, theta[rows]) for rows in chunks]):
            found.append(part)
            if folder is not None:
                _write(folder, part)
            if observe is not None:
                observe(sum(len(part.rows) for part in found), sum(len(part.errors) for part in found))
    return theta, _joined(found, num, folder)


@contextlib.contextmanager
def _locked(folder: Path | None) -> Iterator[None]:
    """Keeps a folder locked in the block, unless it can only be read. Raises: ValueError if another call has locked it."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        yield
        return
    try:
        lock = take_lock(folder / LOCK_FILE)
    except InUseError:
        raise ValueError(f"path: another call of simulate is using {folder}, expected it to end first, or another path") from None
    with lock:
        yield


def simulate_rows(simulator: Simulator, argument: str | None, seed: Sequence[int], rows: Array, theta: Array) -> SimulatedRows:
    """Simulates with the parameters of some rows; it is a function of this module so that workers can import it.

    `argument` is that of `_generator_argument`.
    Raises: ValueError if results differ in shape.
    """
    results, errors = [], []
    for row, parameters in zip(rows.tolist(), theta, strict=True):
        generator = np.random.default_rng([*seed, row])
        second, named = (generator,) if argument == SECOND else (), {argument: generator} if argument else {}
        try:
            result = np.atleast_1d(np.asarray(simulator(parameters.copy(), *second, **named), np.float64))
        except Exception as error:
            result, text = None, f"{type(error).__name__}: {error}"
        else:
            text = "" if np.isfinite(result).all() else "the result is not finite"
        results.append(None if text else result)
        errors += [f"simulation {row}: {text}"] * bool(text)
    good = [result for result in results if result is not None]
    _check_shapes([result.shape for result in good])
    succeeded = np.array([result is not None for result in results])
    return SimulatedRows(rows, theta, succeeded, np.stack(good) if good else np.zeros(0), tuple(errors))


def _generator_argument(simulator: Simulator) -> str | None:
    """Returns the name of the argument that takes a generator, `SECOND` if it is the second of two, or None if there is none."""
    try:
        parameters = inspect.signature(simulator).parameters.values()
    except (TypeError, ValueError):  # a function of C
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if sum(each.kind in positional and each.default is inspect.Parameter.empty for each in parameters) == 2:
        return SECOND
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    free = (each.name for each in parameters if each.kind in by_name and (each.default is None or each.default is each.empty))
    return next((name for name in free if name in GENERATORS), None)


def _computed(client: Any, tasks: Sequence[tuple[Any, ...]]) -> Iterator[SimulatedRows]:
    """Yields the results of tasks (function, *arguments) as they are done."""
    if client is None:
        for function, *arguments in tasks:
            yield function(*arguments)
        return
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    futures = {client.submit(*task) for task in tasks}
    try:
        for future in futures:
            future.add_done_callback(done.put)
        while futures:
            future = done.get()
            result = future.result()
            futures.remove(future)  # Dask would compute a result again whose worker ends while there is a future
            del future
            yield result
    finally:
        for future in futures:
            future.cancel()


def _joined(parts: Sequence[SimulatedRows], num: int, folder: Path | None) -> Array:
    """Returns the results of all rows, NaN where a simulation failed."""
    errors = [error for part in sorted(parts, key=lambda part: int(part.rows[0])) for error in part.errors]
    if len(errors) == num:
        again = "" if folder is None else f"; remove {folder} to simulate again"
        raise ValueError(f"simulator: all {num} simulations failed, such as {errors[0]}{again}")
    shapes = [part.x.shape[1:] for part in parts if part.succeeded.any()]
    _check_shapes(shapes)
    x = np.full((num, *shapes[0]), np.nan)
    for part in parts:
        x[part.rows[part.succeeded]] = part.x.reshape(-1, *shapes[0])
    if errors:
        warnings.warn(f"{len(errors)} of {num} simulations failed, such as {errors[0]}", stacklevel=3)
    return x


def _check_shapes(shapes: Sequence[tuple[int, ...]]) -> None:
    """Raises: ValueError if there are several shapes of results."""
    if len(set(shapes)) > 1:
        first, second = list(dict.fromkeys(shapes))[:2]
        raise ValueError(f"simulator: got results of shapes {first} and {second}, expected one shape")


def _write(folder: Path, part: SimulatedRows) -> None:
    metadata = {"simulations": json.dumps(part.errors)}
    checkpoint.save(folder / f"{part.rows[0]:09d}.safetensors", part._asdict() | {"errors": None}, metadata)


def _read(folder: Path, theta: Array) -> list[SimulatedRows]:
    """Returns the simulations in a folder; a damaged file is left out with a warning, and its simulations are repeated.

    Raises: ValueError if they are not of these parameters.
    """
    parts: list[SimulatedRows] = []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            arrays, metadata = checkpoint.read(path)
            part = SimulatedRows(**arrays, errors=tuple(json.loads(metadata["simulations"])))
        except (checkpoint.CheckpointError, KeyError, TypeError) as error:
            warnings.warn(f"its simulations are repeated: {error}", stacklevel=3)
            continue
        if part.rows.max() >= len(theta) or not np.array_equal(theta[part.rows], part.theta):
            raise ValueError(f"path: {path} holds simulations of another key, prior or num, expected those of this call")
        parts.append(part)
    return parts
