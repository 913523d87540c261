"""Runs the real commands, as a user would, in a process of their own."""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.image
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 240
SHORT = ["data.num_train=60", "data.num_validation=20", "data.num_test=200", "train.num_steps=40", "train.report_every=20"]
SHORT += ["regression.num_steps=30", "model.num_components=3", "model.hidden_sizes=[5]"]

# What keeps a training of the study's settings from diverging, off.
UNHELPED = ["train.init.name=glorot", "train.optimizer.clip_norm=0", "train.optimizer.base_width=0"]


def run(module: str, *words: object, **environment: str) -> subprocess.CompletedProcess:
    """`python -m experiments.MODULE words...` in the checkout; never raises.

    It is a fork of a process that has its libraries, unless a variable is given that these read while they are imported.
    """
    if any(name.startswith(("JAX_", "PYTHON")) for name in environment):
        command = [sys.executable, "-m", f"experiments.{module}", *map(str, words)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, env=os.environ | environment)
    forks = _forks()
    assert forks.stdin is not None
    assert forks.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        request = {"module": f"experiments.{module}", "words": [*map(str, words)], "environment": environment}
        print(json.dumps(request | {"outputs": [*map(str, outputs)], "timeout": TIMEOUT}), file=forks.stdin, flush=True)
        status = int(forks.stdout.readline())
        return subprocess.CompletedProcess([module, *map(str, words)], status, *(path.read_text() for path in outputs))


@functools.cache
def _forks() -> subprocess.Popen:
    """The process of `tests.forks`, which ends with this one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forks"], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    atexit.register(process.communicate)
    return process


def assert_one_line_error(done: subprocess.CompletedProcess, *expected: str, status: int = 2) -> None:
    """The user's mistake is one line on stderr, after progress if there was any, and an exit status."""
    assert done.returncode == status, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "Traceback" not in done.stderr
    if status == 2:
        assert done.stderr.count("\n") == 1
    for words in expected:
        assert words in last, last


def assert_not_blank(picture_file: Path) -> None:
    """A figure of some size, with something on it and not all over it."""
    picture = matplotlib.image.imread(picture_file)[..., :3]
    assert min(picture.shape[:2]) >= 300
    assert len(np.unique(np.round(255 * picture).astype(int) @ [1, 256, 256**2])) > 30
    assert 0.02 < np.mean(picture.min(axis=2) < 0.98) < 0.98
