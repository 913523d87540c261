"""Runs the measurement of a contender in a new process, in which nothing is imported or compiled yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.benchmark.timing import ContenderFailed


def measure_in_process(module: str, name: str, arguments: Sequence[Any], cache_folder: Path | str | None = None) -> Any:
    """Calls `measure_here(*arguments)` of a benchmark module in a new process, and returns the JSON of the last line printed.

    Args: `name` is the contender's name in an error; `cache_folder`, if given, is where compiled programs are cached.
    Raises: ContenderFailed if the process fails.
    """
    code = f"import json, sys; from experiments.benchmark.{module} import measure_here; measure_here(*json.loads(sys.argv[1]))"
    environment = dict(os.environ)
    if cache_folder is not None:
        environment["XDG_CACHE_HOME"] = str(cache_folder)
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # it would take precedence
    words = [sys.executable, "-c", code, json.dumps(arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"the process ended with status {done.returncode}"]
        raise ContenderFailed(f"{name} failed: {reason[0]}")
    return json.loads(done.stdout.splitlines()[-1])
