"""Runs a function for many items on the workers of Dask: processes on this machine, or those of a scheduler elsewhere."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import logging
import pickle
import platform
import queue
import socket
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, NamedTuple

import experiments
import mdnjax
from experiments.command import RunFailed, UserError
from experiments.schemas import Cluster
from mdnjax.config import ConfigError
from mdnjax.progress import running

CONNECT_SECONDS = 10
MAX_REPORTS_PER_SECOND = 100  # of all workers together: the client and the scheduler handle each of them
NO_DASHBOARD: Any = {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}  # a server without pages
AGAIN = "finished work is stored: run the command again to continue"
START = "python -m dask worker ADDRESS in a checkout of the same commit"

Observe = Callable[[int, Any], None]


class Failure(NamedTuple):
    """What a worker returns for an item that it cannot work on, by a mistake of the user."""

    text: str


@contextlib.contextmanager
def connect(section: Cluster) -> Iterator[Any]:
    """Gives a `distributed.Client` with the workers of a configuration, and ends those that were started on this machine.

    Raises: UserError if Dask is not installed, no scheduler is at the address, or a worker has other versions than this process.
    """
    if not importlib.util.find_spec("distributed"):
        raise UserError("cluster: got no Dask, expected it to be installed: pip install -e '.[cluster]'")
    import distributed  # pyright: ignore[reportMissingImports]
    from distributed.versions import VersionMismatchWarning  # pyright: ignore[reportMissingImports]

    for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # of what matters, an error of one line is raised
    warnings.filterwarnings("ignore", category=VersionMismatchWarning)
    with contextlib.ExitStack() as stack, running("cluster: starting") as rename:
        if section.scheduler is None:
            local = {"threads_per_worker": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL, **NO_DASHBOARD}
            address: Any = stack.enter_context(distributed.LocalCluster(n_workers=section.workers, **local))
        else:
            address = section.scheduler
            rename(f"cluster: connecting to {address}")
        client = stack.enter_context(_client(address))
        with _losing(client.scheduler.address):
            _check_workers(client)
            yield client


def num_workers(client: Any) -> int:
    """Returns the number of workers that the scheduler knows now."""
    return len(client.nthreads())


def results(
    client: Any, function: Callable[[Any, Callable[[Any], None]], Any], items: Sequence[Any], observe: Observe
) -> Iterator[tuple[int, Any]]:
    """Yields the index and the result function(item, report) of each item, as the workers complete them.

    An item whose worker ends is given to another worker. Args: the function may call report(value) with numbers at any time;
    observe(index, value) is called with some of these values, and with None when the work on an item starts or starts again.
    Raises: UserError if a worker cannot work on an item; RunFailed if the scheduler is lost, or several workers end while they
    work on the same item.
    """
    # Events come from other threads; the thread of the caller alone handles them.
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    topic, seconds = f"mdnjax-{uuid.uuid4().hex}", max(1.0, num_workers(client) / MAX_REPORTS_PER_SECOND)
    task, expected, address = _portable_task(), versions(), client.scheduler.address  # a lost client has none
    client.subscribe_topic(topic, events.put)
    payloads = (pickle.dumps(_Work(function, item, index, topic, seconds)) for index, item in enumerate(items))
    futures = {client.submit(task, expected, payload, pure=False): index for index, payload in enumerate(payloads)}
    left = set(futures.values())
    for future in futures:
        future.add_done_callback(events.put)
    with running("cluster: waiting for workers") as rename, _losing(address):
        while left:
            event = events.get()
            rename("cluster: working")
            if isinstance(event, tuple):
                _, (index, value) = event
                if index in left:
                    observe(index, value)
                continue
            result, index = _result(event, address), futures.pop(event)  # a result without a future is never computed again
            left.remove(index)
            yield index, result


class _Work(NamedTuple):
    """An item with all that a worker needs to work on it."""

    function: Callable[[Any, Callable[[Any], None]], Any]
    item: Any
    number: int
    topic: str
    seconds: float


def perform(expected: Mapping[str, str], payload: bytes) -> Any:
    """Works on an item, in a worker; versions are compared first, since others may be unable to read the item."""
    from distributed import get_worker  # pyright: ignore[reportMissingImports]

    worker, last = get_worker(), time.monotonic()
    if fault := difference(expected):
        return Failure(f"cluster: the worker {worker.name} on {socket.gethostname()} {fault}")
    work: _Work = pickle.loads(payload)

    def report(value: Any) -> None:
        nonlocal last
        if time.monotonic() - last >= work.seconds:
            last = time.monotonic()
            worker.log_event(work.topic, (work.number, value))

    worker.log_event(work.topic, (work.number, None))
    try:
        return work.function(work.item, report)
    except (ConfigError, UserError, OSError, MemoryError, ImportError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        return Failure(f"cluster: on the worker {worker.name} on {socket.gethostname()}: {text or type(error).__name__}")


@functools.cache
def versions() -> dict[str, str]:
    """Returns the versions on which results depend; that of mdnjax with a digest of its source, since commits share a version."""
    digest = hashlib.sha256()
    for package in (mdnjax, experiments):
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{path.relative_to(folder).as_posix()}\n".encode() + path.read_bytes())
    python = ".".join(platform.python_version_tuple()[:2])
    libraries = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy")}
    return {"Python": python, **libraries, "mdnjax": f"{mdnjax.__version__} ({digest.hexdigest()[:8]})"}


def difference(expected: Mapping[str, str]) -> str:
    """Returns how the versions of this process differ from those of the client; empty if they do not."""
    differing = [name for name, version in expected.items() if versions().get(name) != version]
    if not differing:
        return ""
    got = ", ".join(f"{name} {versions().get(name)}" for name in differing)
    return f"has {got}, expected {', '.join(f'{name} {expected[name]}' for name in differing)} as here"


def _client(address: Any) -> Any:
    import distributed  # pyright: ignore[reportMissingImports]

    try:
        return distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        expected = "expected the address of a running Dask scheduler, such as tcp://HOST:8786"
        raise UserError(f"cluster.scheduler: got {address!r} ({error}), {expected}") from None


@contextlib.contextmanager
def _losing(address: str) -> Iterator[None]:
    """Raises: RunFailed if the connection to the scheduler ends in the block."""
    try:
        yield
    except (CancelledError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of a file
            raise
        raise RunFailed(f"cluster: lost the scheduler at {address}; {AGAIN}") from None


def _check_workers(client: Any) -> None:
    """Raises: UserError, with the name of a worker, if its versions are not those of this process."""

    def fault_here(expected: Mapping[str, str], start: str) -> str:
        # A local function is sent as its code, so that it also runs where the project cannot be imported.
        try:
            from experiments import cluster
        except ImportError as error:
            return f"cannot import the project ({error}), expected it to be started by {start}"
        return cluster.difference(expected)

    start = START.replace("ADDRESS", client.scheduler.address)
    for address, fault in client.run(fault_here, versions(), start, on_error="return").items():
        if isinstance(fault, Exception) and not isinstance(fault, OSError):  # OSError: the worker has just ended
            raise UserError(f"cluster: the worker at {address} cannot be asked for its versions: {fault!r}")
        if fault and isinstance(fault, str):
            raise UserError(f"cluster: the worker at {address} {fault}")


def _portable_task() -> Callable[[Mapping[str, str], bytes], Any]:
    """Returns `perform` as a local function, whose code is sent: the scheduler, which reads all tasks, needs no mdnjax."""

    def perform_here(expected: Mapping[str, str], payload: bytes) -> Any:
        from experiments.cluster import perform

        return perform(expected, payload)

    return perform_here


def _result(future: Any, address: str) -> Any:
    """Returns the result of an ended task, or raises what ended it."""
    from distributed import KilledWorker  # pyright: ignore[reportMissingImports]

    try:
        result = future.result()
    except KilledWorker as error:
        last = f"{error.allowed_failures + 1} workers ended while they worked on the same item, the last one at"
        raise RunFailed(f"cluster: {last} {error.last_worker.address}, perhaps without enough memory; {AGAIN}") from None
    except ImportError as error:
        start = START.replace("ADDRESS", address)
        raise UserError(f"cluster: a worker cannot import the project ({error}), expected it to be started by {start}") from None
    if isinstance(result, Failure):
        raise UserError(result.text)
    return result
