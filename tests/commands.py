"""Runs the commands as a user would, in this process or in a new one."""

import atexit
import contextlib
import functools
import io
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import jax
import matplotlib.image
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 240
TEST_CACHE = {
    "JAX_COMPILATION_CACHE_DIR": os.path.join(os.environ["XDG_CACHE_HOME"], "mdnjax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
SHORT = [
    "report=false",
    "data.num_train=60",
    "data.num_validation=20",
    "data.num_test=200",
    "train.num_steps=40",
    "train.report_every=20",
]
SHORT += ["regression.num_steps=30", "model.num_components=3", "model.hidden_sizes=[5]"]

# Switches off the settings that keep the study's training from diverging.
UNSTABLE = ["train.init.name=glorot", "train.optimizer.clip_norm=0", "train.optimizer.base_width=0"]


def run(module: str, *words: object, **environment: str) -> subprocess.CompletedProcess:
    """Runs `python -m experiments.MODULE words...` in the checkout; never raises.

    It runs in this process, which reuses compiled programs, with 32-bit floats, as for a user; a UserWarning is an error. With
    environment variables it runs in a new process, by `run_process`.
    """
    if environment:
        return run_process(module, *words, **environment)
    arguments, stdout, stderr, status = [*map(str, words)], io.StringIO(), io.StringIO(), 0
    with _like_a_process(arguments), contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        try:
            runpy.run_module(f"experiments.{module}", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            status = int(end.code or 0)
        except Exception:
            traceback.print_exc()
            status = 1
    return subprocess.CompletedProcess([module, *arguments], status, stdout.getvalue(), stderr.getvalue())


@contextlib.contextmanager
def _like_a_process(arguments: list[str]) -> Iterator[None]:
    """Sets arguments, folder, float size, interrupt handler and warnings as in a new process, and restores them at the end."""
    interrupt, x64, folder = signal.getsignal(signal.SIGINT), jax.config.read("jax_enable_x64"), Path.cwd()
    environment = {"JAX_NUM_CPU_DEVICES": str(jax.device_count())}  # a process can set this only once
    with mock.patch.dict(os.environ, environment), mock.patch.object(sys, "argv", ["", *arguments]), warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "'experiments.*' found in sys.modules", RuntimeWarning)
        jax.config.update("jax_enable_x64", False)
        os.chdir(ROOT)
        try:
            yield
        finally:
            os.chdir(folder)
            jax.config.update("jax_enable_x64", x64)
            signal.signal(signal.SIGINT, interrupt)


def run_process(module: str, *words: object, **environment: str) -> subprocess.CompletedProcess:
    """Runs a command in a fork of a process that has imported the libraries already."""
    return _fork([module, *map(str, words)], ROOT, environment)


def run_program(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Runs the text of a Python program in a folder, in a fork of a process that has imported the libraries already."""
    return _fork(["-c", program], folder, environment)


def _fork(words: list[str], cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess:
    forks = _forks()
    assert forks.stdin is not None
    assert forks.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        request = {"words": words, "cwd": str(cwd), "environment": environment, "outputs": [*map(str, outputs)]}
        print(json.dumps(request | {"timeout": TIMEOUT}), file=forks.stdin, flush=True)
        status = int(forks.stdout.readline())
        return subprocess.CompletedProcess(words, status, *(path.read_text() for path in outputs))


@functools.cache
def _forks() -> subprocess.Popen:
    """Starts the process of `tests.forks`, which ends with this one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forks"], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    atexit.register(process.communicate)
    return process


def use_test_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes processes that use no compilation cache by themselves use that of the tests."""
    for name, value in TEST_CACHE.items():
        monkeypatch.setenv(name, value)


def assert_one_line_error(done: subprocess.CompletedProcess, *expected: str, status: int = 2) -> None:
    """Checks the exit status, and that stderr ends with one error line; for a user's mistake it is the only line."""
    assert done.returncode == status, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "Traceback" not in done.stderr
    if status == 2:  # on a busy machine, words about what runs may come before it
        assert [line for line in done.stderr.splitlines() if not re.search(r", \d+ s$", line)] == [last]
    for words in expected:
        assert words in last, last


def assert_not_blank(picture_file: Path) -> None:
    """Checks that a figure is large enough, has many colours, and is neither nearly empty nor nearly full."""
    picture = matplotlib.image.imread(picture_file)[..., :3]
    assert min(picture.shape[:2]) >= 300
    assert len(np.unique(np.round(255 * picture).astype(int) @ [1, 256, 256**2])) > 30
    assert 0.02 < np.mean(picture.min(axis=2) < 0.98) < 0.98
