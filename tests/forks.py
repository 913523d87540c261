"""Runs commands in forks of one process that has imported what they need: a fork starts at once, an interpreter in two seconds.

The modules of a command are its fork's own. Nothing touches a device before, so there are no threads of jax yet.
A request is a line of JSON on stdin, its answer an exit status on stdout.
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
    """Answers one request after the other; only in a fork does it return, with what the fork is to do."""
    gc.freeze()  # else a fork copies all that its collector looks at, and takes five times as long
    for line in sys.stdin:
        request = json.loads(line)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the threads of numpy's BLAS know how to be forked
            process = os.fork()
        if not process:
            return request
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit(0)


def become(module: str, words: list[str], environment: dict[str, str], outputs: list[str], timeout: int) -> None:
    """Goes on as `python -m MODULE words...` with its stdout and stderr in two files; killed when it takes too long."""
    signal.alarm(timeout)
    os.environ.update(environment)
    for name, value in environment.items():
        if name.startswith("JAX_"):  # jax has read its variables already
            jax.config.update(name.lower(), int(value) if value.isdigit() else value)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv[1:] = words
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    become(**fork_each())
