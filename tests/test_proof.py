"""A small sample of `python -m experiments.proof`: checks of each kind on three cases, and the command itself."""

import csv
import math

import jax
import numpy as np
import pytest

from experiments.proof.cases import Name, make_case, names
from experiments.proof.checks import CHECKS, Check, largest_error
from experiments.proof.checks.check import DTYPES, distance
from experiments.proof.checks.select import every
from experiments.proof.prove import HEADER, Finding, prove_check, table_rows
from mdnjax import FAMILIES
from tests.commands import assert_one_line_error
from tests.commands import run as command

# These compile in a second or less; only the command runs the others.
QUICK = ("log_prob", "cdf", "responsibilities", "mean", "crps", "coverage", "from_raw")
CASES = [Name("diagonal"), Name("laplace", "positive"), Name("full", "line", 2)]


@pytest.mark.parametrize("name", CASES, ids=str)
def test_quick_checks_pass(name):
    case, failed = make_case(name), []
    for number, check in enumerate(CHECKS):
        if check.function in QUICK and check.applies(name) and "gradient" not in check.formula:
            failed += [str(finding) for finding in prove_check(number, name, case) if not finding.passes()]
    assert failed == []


def test_every_family_and_every_check_has_a_case():
    assert {name.family for name in names()} == set(FAMILIES)
    assert [check.formula for check in CHECKS if not any(map(check.applies, names()))] == []


def test_both_dtypes_have_the_same_numbers():
    case = make_case(CASES[0])
    for low, high in zip(*(jax.tree.leaves(case.mixture(dtype)) for dtype in DTYPES), strict=True):
        assert (low.dtype, high.dtype) == DTYPES
        assert (low == high).all()


@pytest.mark.parametrize(
    ("value", "truth", "error"), [(1.5, 1.0, 0.5), (30.0, 20.0, 0.5), (math.inf, math.inf, 0), (math.nan, 1.0, math.inf)]
)
def test_distances(value, truth, error):
    assert distance(np.array([value]), np.array([truth]), "scaled") == error


def test_a_wrong_value_is_found_and_named():
    check = Check("mean", "zero", "one", lambda m, c: 0.0, lambda c: 1.0, every)
    case = make_case(CASES[0])
    assert [largest_error(check, case, dtype, check.truth(case)) for dtype in DTYPES] == [1, 1]
    finding = Finding(0, str(CASES[0]), "float64", math.nan, "no value")
    assert not finding.passes()
    assert "no value" in str(finding)
    assert len(table_rows([finding])[0]) == len(HEADER)


def test_the_command_writes_its_table(tmp_path):
    done = command("proof", 'functions=["calibration_error"]', 'families=["diagonal"]', "workers=1", f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "proof.csv") as file:
        assert [row["function"] for row in csv.DictReader(file)] == ["calibration_error"]
    assert (tmp_path / "proof.md").read_text().strip() in done.stdout


def test_an_unknown_function_is_a_one_line_error():
    assert_one_line_error(command("proof", 'functions=["cfd"]'), "functions: got 'cfd'", "cdf")
