"""Runs commands in forks of a process that has imported their libraries: a fork starts at once, an interpreter in two seconds.

The modules of `experiments` are imported in the fork. No device is used before, so that jax has no threads yet when it forks.
A request is a line of JSON on stdin; the reply is a line with the exit status on stdout.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import sys
import warnings
from typing import Any

import flax.linen
import jax
import matplotlib.backends.backend_agg
import matplotlib.figure
import optax
import pandas
import pydantic
import rich.table
import safetensors.numpy
import scipy.optimize
import scipy.stats
import sklearn.base
import yaml

import mdnjax

LIBRARIES = (flax, jax, matplotlib, mdnjax, optax, pandas, pydantic, rich, safetensors, scipy, sklearn, yaml)


def fork_each() -> dict[str, Any]:
    """Forks for each request and replies with the exit status; returns, with the request, only in a fork."""
    gc.freeze()  # else the garbage collector touches all memory of a fork, which takes five times as long
    for line in sys.stdin:
        request = json.loads(line)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # numpy's BLAS has threads, which survive a fork
            process = os.fork()
        if not process:
            return request
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit(0)


def run_words(words: list[str], cwd: str, environment: dict[str, str], outputs: list[str], timeout: int) -> None:
    """Runs `python -m experiments.COMMAND words...` or `python -c PROGRAM` in this process, with stdout and stderr in two files.

    A timeout kills the process.
    """
    signal.alarm(timeout)
    os.chdir(cwd)
    os.environ.update(environment)
    for name, value in environment.items():
        if name.startswith("JAX_"):  # jax has already read its environment variables
            jax.config.update(name.lower(), int(value) if value.lstrip("-").isdigit() else value)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    name, *rest = words
    sys.argv[1:] = rest
    if name == "-c":
        exec(compile(rest[0], "<program>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    run_words(**fork_each())
