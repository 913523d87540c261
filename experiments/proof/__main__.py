"""Proves every public function of a mixture: each family, support and dtype against an independent answer, and writes a table."""

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
from experiments.proof.prove import HEADER, Finding, prove, rows_of, tell
from experiments.run_folder import create_run_folder
from mdnjax import runtime
from mdnjax.config.schema import Family, Runtime
from mdnjax.config.section import Folder, Section

FILES = ("proof.csv", "proof.md", "environment.json")


class Proof(Section, frozen=True):
    """What is proven."""

    output: Folder = Field(default=Path("results/proof"), description="folder of the table")
    functions: tuple[str, ...] = Field(default=(), description="functions to prove (none named: all)")
    families: tuple[Family, ...] = Field(default=(), description="families to prove on (none named: all)")
    workers: Annotated[int, Field(ge=1, le=256)] | None = Field(default=None, description="processes (null: one for each core)")
    runtime: Runtime = Field(default=Runtime(), description="use of the machine")


def measure(settings: Proof, overwrite: bool) -> None:
    """Runs the checks, prints and writes their table, and fails if an error exceeds its tolerance."""
    jax.config.update("jax_enable_x64", True)
    command.settle(settings.runtime)
    known = {check.function for check in CHECKS}
    if strange := sorted(set(settings.functions) - known):
        raise command.UserError(f"functions: got {strange[0]!r}, expected some of {', '.join(sorted(known))}")
    create_run_folder(settings, settings.output, FILES, overwrite)
    start, findings = time.perf_counter(), _findings(settings)
    minutes = (time.perf_counter() - start) / 60
    notes = [f"{len(findings)} comparisons in {minutes:.1f} minutes.", MEASURES]
    write(settings.output, Findings([[HEADER, *rows_of(findings)]], notes), "proof")
    if wrong := [str(finding) for finding in findings if not finding.passes()]:
        raise command.RunFailed(f"{len(wrong)} of {len(findings)} comparisons failed: {'; '.join(wrong)}")


MEASURES = (
    "Errors are absolute, relative, in standard errors of what is drawn, or scaled (absolute up to a truth of 1, then relative). "
    "In float32 the oracle has the very parameters and points of the library, so an error is that of the computation alone."
)


def _findings(settings: Proof) -> list[Finding]:
    chosen = [name for name in names() if not settings.families or name.family in settings.families]
    gathered: list[Finding] = []
    for count, proven in enumerate(prove(chosen, settings.functions, settings.workers or runtime.num_cores()), start=1):
        gathered += proven.findings
        tell(f"{count}/{len(chosen)} {proven.name}: {len(proven.findings)} comparisons in {proven.seconds:.0f} s")
        for finding in proven.findings:
            if not finding.passes():
                tell(f"  {finding}")
    return gathered


if __name__ == "__main__":
    command.main("experiments.proof", __doc__ or "", Proof, None, measure)
