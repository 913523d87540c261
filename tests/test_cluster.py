"""Workers of Dask: results of all items, progress, and errors of one line; how a sweep uses them is in test_sweep."""

import importlib
import time
from types import SimpleNamespace
from typing import Any

import distributed  # pyright: ignore[reportMissingImports]
import pytest

from experiments import cluster
from experiments.command import RunFailed, UserError
from experiments.schemas import Cluster

THREADS: Any = {"processes": False, "n_workers": 2, "threads_per_worker": 1, **cluster.NO_DASHBOARD}
WORKER = "cluster: (on )?the worker [01] on "


@pytest.fixture(scope="module")
def client():
    """Two workers, threads of this process, which start at once."""
    with distributed.LocalCluster(**THREADS) as workers, distributed.Client(workers, set_as_default=False) as client:
        yield client


def square(item, report):
    report(0.5)
    return item**2


def read(path, _):
    return open(path).read()


def import_library(*_):
    return importlib.import_module("no_such_library")


def results(client, function, items):
    seen: list[tuple[int, Any]] = []
    found = dict(cluster.results(client, function, items, lambda *values: seen.append(values)))
    return found, seen


def test_every_item_has_its_result_and_its_start_is_observed(client):
    found, seen = results(client, square, range(40))
    assert found == {index: index**2 for index in range(40)}
    assert {value for _, value in seen} == {None}  # reports within the first second are left out
    assert results(client, square, []) == ({}, [])


def test_a_worker_without_a_file_is_one_line(client, tmp_path):
    with pytest.raises(UserError, match=WORKER + ".*: .*rows.csv: No such file or directory"):
        results(client, read, [tmp_path / "rows.csv"])


def test_a_library_that_a_worker_lacks_is_one_line(client):
    with pytest.raises(UserError, match=WORKER + ".*: No module named 'no_such_library'"):
        results(client, import_library, [1])


def test_a_worker_of_another_version_is_one_line(client, monkeypatch):
    here, other = {"jax": "0.1", "numpy": "2"}, {"jax": "0.2", "numpy": "2"}
    of_client_first = iter([here])
    monkeypatch.setattr(cluster, "versions", lambda: next(of_client_first, other))
    with pytest.raises(UserError, match=WORKER + ".* has jax 0.2, expected jax 0.1 as here"):
        results(client, square, [1])
    of_client_first = iter([here])
    with pytest.raises(UserError, match=r"the worker at inproc.* has jax 0.2, expected jax 0.1 as here"):
        cluster._check_workers(client)


def test_errors_of_a_function_are_not_hidden(client):
    with pytest.raises(TypeError, match="unsupported operand"):
        results(client, square, ["text"])


def test_the_versions_hold_a_digest_of_the_source():
    assert cluster.versions().keys() == {"Python", "jax", "jaxlib", "numpy", "mdnjax"}
    assert cluster.difference(cluster.versions()) == ""
    assert cluster.difference(cluster.versions() | {"mdnjax": "0.1.0 (12345678)"}).endswith(
        "expected mdnjax 0.1.0 (12345678) as here"
    )


def test_no_scheduler_at_the_address_is_one_line(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.3)
    with (
        pytest.raises(UserError, match=r"scheduler: got 'tcp://127.0.0.1:1' .*, expected the address"),
        cluster.connect(Cluster(scheduler="tcp://127.0.0.1:1")),
    ):
        pass


def sleep(seconds, _):
    time.sleep(seconds)


def test_a_scheduler_that_ends_is_one_line():
    with distributed.LocalCluster(**THREADS) as workers, distributed.Client(workers, set_as_default=False) as client:
        found = cluster.results(client, sleep, [0, 0.5], lambda *_: None)
        next(found)
        workers.close()
        with pytest.raises(RunFailed, match=r"cluster: lost the scheduler at inproc.*run the command again to continue"):
            next(found)


def test_an_item_that_ends_its_workers_is_one_line():
    def result():
        worker: Any = SimpleNamespace(address="tcp://a:1")
        raise distributed.KilledWorker("task", worker, 3)

    with pytest.raises(RunFailed, match="4 workers ended while they worked on the same item, the last one at tcp://a:1"):
        cluster._result(SimpleNamespace(result=result), "tcp://a:2")
