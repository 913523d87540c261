"""Runs checks case by case, spread over processes, and gathers the largest error of each."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import NamedTuple

import jax

from experiments.proof.cases import Case, Name
from experiments.proof.checks import CHECKS, Check, run

HEADER = ["function", "formula", "oracle", "error", "largest, float32", "allowed", "largest, float64", "allowed", "cases"]
DTYPES = ("float32", "float64")


class Proven(NamedTuple):
    """What was found in one case, and how long it took."""

    name: Name
    seconds: float
    findings: list[Finding]


class Finding(NamedTuple):
    """The largest error of a check, by its place in the table, in one case and dtype; what went wrong if nothing came out."""

    number: int
    case: str
    dtype: str
    error: float
    trouble: str = ""

    @property
    def check(self) -> Check:
        """Its row of the table."""
        return CHECKS[self.number]

    def passes(self) -> bool:
        """Whether the error is within the tolerance; nan is not."""
        return self.error <= self.check.tolerance(self.dtype)

    def __str__(self) -> str:
        said = self.trouble or f"error {self.error:.1e} over {self.check.tolerance(self.dtype):.0e}"
        return f"{self.check.function} ({self.check.formula}; {self.case}; {self.dtype}): {said}"


def prove_case(name: Name, functions: Sequence[str]) -> Proven:
    """All checks of the functions (all, if none is named) that apply to a case."""
    chosen = [n for n, check in enumerate(CHECKS) if check.applies(name) and (not functions or check.function in functions)]
    start = time.perf_counter()
    case = Case(name) if chosen else None
    findings = [finding for number in chosen for finding in _prove(number, case)] if case else []
    return Proven(name, time.perf_counter() - start, findings)


def prove(names: Sequence[Name], functions: Sequence[str], workers: int) -> Iterator[Proven]:
    """The findings of each case, as they come; with several workers each is a process of its own."""
    if workers == 1:
        yield from (prove_case(name, functions) for name in names)
        return
    settings = {key: getattr(jax.config, key) for key in KEPT}
    with ProcessPoolExecutor(workers, get_context("spawn"), _start, (settings,)) as pool:
        waiting = [pool.submit(prove_case, name, functions) for name in sorted(names, key=_cost, reverse=True)]
        yield from (done.result() for done in as_completed(waiting))


def rows_of(findings: Sequence[Finding]) -> list[list[str]]:
    """One row a check, in the order of the table."""
    rows = []
    for number, check in enumerate(CHECKS):
        mine = [finding for finding in findings if finding.number == number]
        if mine:
            cases = len({finding.case for finding in mine})
            rows.append([check.function, check.formula, check.oracle, check.measure, *_errors(check, mine), str(cases)])
    return rows


KEPT = (
    "jax_enable_x64",
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


def _start(settings: dict[str, object]) -> None:
    for key, value in settings.items():
        jax.config.update(key, value)


def _cost(name: Name) -> float:
    """Long ones first, so that no process is left alone with one."""
    single = 4 * (name.num_targets == 1) * (name.num_components == 3)
    return single + 2 * (name.family == "student_t") + (name.family in ("diagonal", "laplace")) + (name.support == "line")


def _prove(number: int, case: Case) -> Iterator[Finding]:
    check, about = CHECKS[number], str(case.name)
    try:
        truth = check.truth(case)
    except Exception as error:  # an oracle that fails is a finding too, and the others go on
        yield Finding(number, about, check.dtypes[0], math.nan, f"the oracle failed: {type(error).__name__}: {error}"[:200])
        return
    for dtype in check.dtypes:
        try:
            yield Finding(number, about, dtype, run(check, case, dtype, truth))
        except Exception as error:
            yield Finding(number, about, dtype, math.nan, f"{type(error).__name__}: {error}"[:200])


def _errors(check: Check, findings: Sequence[Finding]) -> list[str]:
    cells = []
    for dtype in DTYPES:
        errors = [finding.error for finding in findings if finding.dtype == dtype]
        worst = max(errors, key=lambda error: math.inf if math.isnan(error) else error, default=None)
        cells += ["", ""] if worst is None else [f"{worst:.1e}", f"{check.tolerance(dtype):.0e}"]
    return cells


def tell(line: str) -> None:
    """Progress, on stderr."""
    print(line, file=sys.stderr, flush=True)
