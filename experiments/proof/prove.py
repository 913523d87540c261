"""Runs checks case by case, spread over processes, and collects the largest error of each."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import NamedTuple

import jax

from experiments.proof.cases import Case, Name, make_case
from experiments.proof.checks import CHECKS, Check, largest_error
from experiments.proof.checks.check import DTYPES
from experiments.proof.regimes import ORDINARY, REGIMES
from experiments.sentences import say

HEADER = ["function", "formula", "oracle", "error", "largest, float32", "allowed", "largest, float64", "allowed", "cases"]
EXTREME = [regime for regime in REGIMES if regime != ORDINARY]
INHERITED_SETTINGS = (  # of jax, which a worker process takes over
    "jax_enable_x64",
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


class CaseResult(NamedTuple):
    """The findings of one case, and how long they took."""

    name: Name
    seconds: float
    findings: list[Finding]


class Finding(NamedTuple):
    """The largest error of a check (its index in the table) in one case and dtype; `failure` explains an error of nan."""

    number: int
    case: Name
    dtype: str
    error: float
    failure: str = ""

    @property
    def check(self) -> Check:
        """Its row of the table."""
        return CHECKS[self.number]

    def passes(self) -> bool:
        """Whether the error is within the tolerance; nan is not."""
        return self.error <= self.check.tolerance(self.dtype)

    def __str__(self) -> str:
        outcome = self.failure or f"error {self.error:.1e} over {self.check.tolerance(self.dtype):.0e}"
        return f"{self.check.function} ({self.check.formula}; {self.case}; {self.dtype}): {outcome}"


def prove_case(name: Name, functions: Sequence[str]) -> CaseResult:
    """Runs all checks of the functions (of all, if none is named) that apply to a case."""
    chosen = [n for n, check in enumerate(CHECKS) if check.covers(name) and (not functions or check.function in functions)]
    start = time.perf_counter()
    case = make_case(name) if chosen else None
    findings = [finding for number in chosen for finding in prove_check(number, name, case)] if case else []
    jax.clear_caches()  # the programs of all cases together would need more memory maps than Linux allows a process
    return CaseResult(name, time.perf_counter() - start, findings)


def prove_check(number: int, name: Name, case: Case) -> Iterator[Finding]:
    """Runs one check in each of its dtypes. An exception becomes a finding, so that the other checks still run."""
    check = CHECKS[number]
    try:
        truth = check.truth(case)
    except Exception as error:
        yield Finding(number, name, check.dtypes[0], math.nan, f"the oracle failed: {type(error).__name__}: {error}"[:200])
        return
    for dtype in check.dtypes:
        try:
            yield Finding(number, name, dtype, largest_error(check, case, dtype, truth))
        except Exception as error:
            yield Finding(number, name, dtype, math.nan, f"{type(error).__name__}: {error}"[:200])


def prove(names: Sequence[Name], functions: Sequence[str], workers: int) -> Iterator[CaseResult]:
    """Yields the result of each case as it is done. Several workers run in separate processes."""
    if workers == 1:
        yield from (prove_case(name, functions) for name in names)
        return
    settings = {key: getattr(jax.config, key) for key in INHERITED_SETTINGS}
    with ProcessPoolExecutor(workers, get_context("spawn"), _configure_worker, (settings,)) as pool:
        futures = [pool.submit(prove_case, name, functions) for name in sorted(names, key=_cost, reverse=True)]
        yield from (future.result() for future in as_completed(futures))


def tables(findings: Sequence[Finding]) -> list[list[list[str]]]:
    """Returns the table of the ordinary cases, and that of the largest errors in each of the other regimes."""
    by_regime = {regime: [f for f in findings if f.case.regime == regime] for regime in REGIMES}
    rows = []
    for number, check in enumerate(CHECKS):
        cells = ["/".join(filter(None, _errors(check, [f for f in by_regime[r] if f.number == number])[::2])) for r in EXTREME]
        if any(cells):
            rows.append([check.function, check.formula, *cells])
    ordinary = [HEADER, *table_rows(by_regime[ORDINARY])]
    return [ordinary, [["function", "formula", *EXTREME], *rows]] if rows else [ordinary]


def rows_of_regimes(findings: Sequence[Finding]) -> list[list[str]]:
    """Returns the rows of all regimes, with the name of the regime as a last column."""
    rows = [[*HEADER, "regime"]]
    for regime in REGIMES:
        rows += [[*row, regime] for row in table_rows([f for f in findings if f.case.regime == regime])]
    return rows


def table_rows(findings: Sequence[Finding]) -> list[list[str]]:
    """Returns one row for each check with findings, in the order of the table."""
    rows = []
    for number, check in enumerate(CHECKS):
        of_check = [finding for finding in findings if finding.number == number]
        if of_check:
            num_cases = len({finding.case for finding in of_check})
            rows.append([check.function, check.formula, check.oracle, check.measure, *_errors(check, of_check), str(num_cases)])
    return rows


def report_progress(line: str) -> None:
    """Prints a line to stderr at once."""
    say(line, to=sys.stderr)


def _configure_worker(settings: dict[str, object]) -> None:
    for key, value in settings.items():
        jax.config.update(key, value)


def _cost(name: Name) -> float:
    """Ranks cases by their running time: the longest start first, so that none of them is left to run alone at the end."""
    if name.regime != ORDINARY:  # their programs are those of an ordinary case, and compiled by then
        return int(name.num_components != 3) - 1
    single = 4 * (name.num_targets == 1) * (name.num_components == 3)
    return single + 2 * (name.family == "student_t") + (name.family in ("diagonal", "laplace")) + (name.support == "line")


def _errors(check: Check, findings: Sequence[Finding]) -> list[str]:
    """Returns the largest error and the tolerance in each dtype; empty where the check has no such dtype."""
    cells = []
    for dtype in DTYPES:
        errors = [finding.error for finding in findings if finding.dtype == dtype]
        worst = max(errors, key=lambda error: math.inf if math.isnan(error) else error, default=None)
        cells += ["", ""] if worst is None else [f"{worst:.1e}", f"{check.tolerance(dtype):.0e}"]
    return cells
