"""Runs the real commands, as a user would, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHORT = ["data.num_train=60", "data.num_validation=20", "data.num_test=200", "train.num_steps=40", "train.report_every=20"]
SHORT += ["regression.num_steps=30", "model.num_components=3", "model.hidden_sizes=[5]"]


def run(module: str, *words: object, **environment: str) -> subprocess.CompletedProcess:
    """`python -m experiments.MODULE words...` in the checkout; never raises."""
    command = [sys.executable, "-m", f"experiments.{module}", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, env=os.environ | environment)


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
