"""The study's training step as a plain C program for one core (step.c), built with the compiler of this machine."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.benchmark.timing import Contender
from experiments.benchmark.work import RATE, Work

SOURCE = Path(__file__).with_name("step.c")
FLAGS = ("-Ofast", "-march=native", "-fPIC", "-c")
BLOCK = 200  # examples of a block; the fastest of 40 to 1000 on the machine of the table in the README
NAME = "C, one thread"


def contender(work: Work, num_steps: int) -> Contender | str:
    """Returns the contender, or a line that explains why it is skipped."""
    train = build(work)
    if isinstance(train, str):
        return f"The C program is skipped, since {train}"
    return Contender(NAME, lambda: [train(num_steps)].clear(), train(1)[0], num_steps)


def build(work: Work) -> Callable[[int], tuple[float, np.ndarray]] | str:
    """Compiles the program; returns a function of the number of steps, or a text that explains why there is none.

    The function trains and returns the loss before the first step and the parameters after the last.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return "no C compiler (cc) is installed"
    with tempfile.TemporaryDirectory() as folder:
        library, part = Path(folder) / "step.so", Path(folder) / "step.o"
        sizes = [f"-D{name}={size}" for name, size in (("H", _units(work)), ("K", work.sizes.num_components), ("BLOCK", BLOCK))]
        # Linked without -Ofast: with it, loading the library would make this whole process round subnormal numbers to 0.
        for words in ([*FLAGS, *sizes, str(SOURCE), "-o", str(part)], ["-shared", str(part), "-o", str(library), "-lm"]):
            done = subprocess.run([compiler, *words], capture_output=True, text=True, check=False)
            if done.returncode:
                return f"{compiler} cannot compile step.c ({done.stderr.strip().splitlines()[-1]})"
        compiled = ctypes.CDLL(str(library)).train  # it stays loaded after the file is deleted
    compiled.restype = ctypes.c_float

    def train(num_steps: int) -> tuple[float, np.ndarray]:
        params = np.concatenate([part.ravel() for layer in work.layers for part in layer]).astype(np.float32)
        arrays = [array.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for array in (work.x, work.y, params)]
        return float(compiled(num_steps, len(work.x), *arrays, ctypes.c_float(RATE))), params

    return train


def _units(work: Work) -> int:
    (units,) = work.sizes.hidden_sizes
    return units
