"""A small sample of `python -m experiments.proof`: each subject once, on one case a kind."""

import csv
import math

import jax
import numpy as np
import pytest

from experiments.proof.cases import Case, Name, names
from experiments.proof.checks import CHECKS, Check, run
from experiments.proof.checks.check import distance, every
from experiments.proof.prove import DTYPES, HEADER, Finding, rows_of
from mdnjax import FAMILIES
from tests.commands import assert_one_line_error
from tests.commands import run as command

# What compiles in a second or less; the rest is in the command.
QUICK = ("log_prob", "cdf", "responsibilities", "mean", "crps", "coverage", "from_raw")
CASES = [Name("diagonal"), Name("laplace", "positive"), Name("full", "line", 2)]


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request):
    return Case(request.param)


def test_a_sample_of_the_proof_holds(case):
    wrong = []
    for number, check in enumerate(CHECKS):
        if check.function in QUICK and check.applies(case.name) and "gradient" not in check.formula:
            truth = check.truth(case)
            found = [Finding(number, str(case.name), dtype, run(check, case, dtype, truth)) for dtype in check.dtypes]
            wrong += [str(finding) for finding in found if not finding.passes()]
    assert wrong == []


def test_every_family_and_every_check_has_a_case():
    assert {name.family for name in names()} == set(FAMILIES)
    assert [check.formula for check in CHECKS if not any(map(check.applies, names()))] == []


def test_both_dtypes_have_the_very_same_numbers():
    case = Case(CASES[0])
    for low, high in zip(jax.tree.leaves(case.float32), jax.tree.leaves(case.float64), strict=True):
        assert (low.dtype, high.dtype) == ("float32", "float64")
        assert (low == high).all()


@pytest.mark.parametrize(
    ("value", "truth", "error"), [(1.5, 1.0, 0.5), (30.0, 20.0, 0.5), (math.inf, math.inf, 0), (math.nan, 1.0, math.inf)]
)
def test_distances(value, truth, error):
    assert distance(np.array([value]), np.array([truth]), "scaled") == error


def test_a_value_that_is_wrong_is_found_and_named():
    check = Check("mean", "zero", "one", lambda m, c: 0.0, lambda c: 1.0, every)
    case = Case(CASES[0])
    assert [run(check, case, dtype, check.truth(case)) for dtype in DTYPES] == [1, 1]
    finding = Finding(0, str(case.name), "float64", math.nan, "no answer")
    assert not finding.passes()
    assert "no answer" in str(finding)
    assert len(rows_of([finding])[0]) == len(HEADER)


def test_the_command_writes_its_table(tmp_path):
    done = command("proof", 'functions=["calibration_error"]', 'families=["diagonal"]', "workers=1", f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "proof.csv") as file:
        assert [row["function"] for row in csv.DictReader(file)] == ["calibration_error"]
    assert (tmp_path / "proof.md").read_text().strip() in done.stdout


def test_an_unknown_function_is_one_line():
    assert_one_line_error(command("proof", 'functions=["cfd"]'), "functions: got 'cfd'", "cdf")
