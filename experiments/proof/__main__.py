"""Compares every public function of a mixture, for each family, support and dtype, with an independent oracle; writes a table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import jax
from pydantic import Field

from experiments import command
from experiments.findings import Findings, write
from experiments.proof.cases import names
from experiments.proof.checks import CHECKS
from experiments.proof.prove import Finding, prove, report_progress, rows_of_regimes, tables
from experiments.proof.regimes import REGIMES
from experiments.run_folder import create_run_folder
from experiments.schemas import Runtime
from mdnjax import runtime
from mdnjax.config.nearest import nearest
from mdnjax.config.schema import Family
from mdnjax.config.section import Folder, Section

FILES = ("proof.csv", "proof.md", "environment.json")
ABOUT_ERRORS = (
    "Errors are absolute, relative, in standard errors of the estimate, or scaled (absolute up to a truth of 1, then relative). "
    "In float32 the oracle has the same rounded parameters and points as the library, so errors come from the computation alone. "
    "Far from zero an error of a position counts from two units in its last place on."
)
ABOUT_REGIMES = [
    "The second table has the largest errors, float32/float64, in other regimes; what is allowed is that of the first table.",
    *[f"- {name}: {regime.about}." for name, regime in REGIMES.items()],
]


class Proof(Section, frozen=True):
    """Which functions and families are compared, and where the table is written."""

    output: Folder = Field(default=Path("results/proof"), description="folder of the table")
    functions: tuple[str, ...] = Field(default=(), description="functions to check (empty: all)")
    families: tuple[Family, ...] = Field(default=(), description="families to check (empty: all)")
    workers: Annotated[int, Field(ge=1, le=256)] | None = Field(default=None, description="processes (null: one for each core)")
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")


def measure(settings: Proof, overwrite: bool) -> None:
    """Runs the checks, prints and writes their table, and fails if an error exceeds its tolerance."""
    jax.config.update("jax_enable_x64", True)
    command.setup_runtime(settings.runtime)
    known = sorted({check.function for check in CHECKS})
    if unknown := sorted({*settings.functions} - {*known}):
        expected = f"expected some of {', '.join(known)}{nearest(unknown[0], known)}"
        raise command.UserError(f"functions: got {unknown[0]!r}, {expected}")
    command.import_extra("scoringrules", "test")
    create_run_folder(settings, settings.output, FILES, overwrite)
    start, findings = time.perf_counter(), _findings(settings)
    minutes = (time.perf_counter() - start) / 60
    notes = [f"{len(findings)} comparisons in {minutes:.1f} minutes.", ABOUT_ERRORS, *ABOUT_REGIMES]
    write(settings.output, Findings(tables(findings), notes, rows_of_regimes(findings)), "proof")
    if failed := [str(finding) for finding in findings if not finding.passes()]:
        raise command.RunFailed(f"{len(failed)} of {len(findings)} comparisons failed: {'; '.join(failed)}")


def _findings(settings: Proof) -> list[Finding]:
    chosen = [name for name in names() if not settings.families or name.family in settings.families]
    findings: list[Finding] = []
    results = prove(chosen, settings.functions, settings.workers or runtime.num_cores())
    for count, result in enumerate(results, start=1):
        findings += result.findings
        report_progress(f"{count}/{len(chosen)} {result.name}: {len(result.findings)} comparisons in {result.seconds:.0f} s")
        for finding in result.findings:
            if not finding.passes():
                report_progress(f"  {finding}")
    return findings


if __name__ == "__main__":
    command.main("experiments.proof", __doc__ or "", Proof, None, measure)
