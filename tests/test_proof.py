"""A small sample of `python -m experiments.proof`: checks of each kind on three cases, and the command itself."""

import csv
import math

import jax
import numpy as np
import pytest

from experiments.proof.cases import Name, make_case, names
from experiments.proof.checks import CHECKS, Check, largest_error
from experiments.proof.checks.check import DTYPES, Position, Stated, distance, zeros_at_points
from experiments.proof.checks.select import every
from experiments.proof.prove import HEADER, Finding, prove_check, rows_of_regimes, table_rows, tables
from experiments.proof.regimes import EVERY, REGIMES
from mdnjax import FAMILIES
from tests.commands import assert_one_line_error
from tests.commands import run as command

# These compile in a second or less; only the command runs the others.
QUICK = ("log_prob", "cdf", "responsibilities", "mean", "crps", "coverage", "from_raw")
CASES = [Name("diagonal"), Name("laplace", "positive"), Name("full", "line", 2)]
IN_REGIMES = [Name("laplace", regime="kinks"), Name("diagonal", regime="weights"), Name("full", "line", 2, regime="far")]
IN_REGIMES += [Name("diagonal", regime="ends")]


@pytest.mark.parametrize("name", [*CASES, *IN_REGIMES], ids=str)
def test_quick_checks_pass(name):
    case, failed = make_case(name), []
    for number, check in enumerate(CHECKS):
        if check.function in QUICK and check.covers(name) and "gradient" not in check.formula:
            failed += [str(finding) for finding in prove_check(number, name, case) if not finding.passes()]
    assert failed == []


def test_every_family_every_regime_and_every_check_has_a_case():
    assert {name.family for name in names()} == set(FAMILIES)
    assert {name.regime for name in names()} == set(REGIMES)
    assert {regime for check in CHECKS for regime in check.regimes} == set(EVERY)
    assert [check.formula for check in CHECKS if not any(map(check.covers, names()))] == []


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
    finding = Finding(0, CASES[0], "float64", math.nan, "no value")
    assert not finding.passes()
    assert "no value" in str(finding)
    assert len(table_rows([finding])[0]) == len(HEADER)


def test_errors_that_are_stated_and_roundings_far_from_zero_do_not_count():
    case = make_case(Name("diagonal", regime="far"))
    last_digit = np.spacing(np.abs(case.centre).astype(np.float32))
    values = [Position(case.centre + last_digit), Position(case.centre + 0.5), Stated(1.25, 0.25), Stated(1.5, 0.25)]
    truths = [0 * case.centre, 0 * case.centre, 1.0, 1.0]
    for value, truth, error in zip(values, truths, (0, 0.5, 0, 0.25), strict=True):
        check = Check("mean", "", "", lambda m, c, value=value: value, zeros_at_points, every)
        assert largest_error(check, case, "float32", truth) == pytest.approx(error, abs=2e-3)


def test_regimes_have_a_table_of_their_own():
    findings = [Finding(0, name, "float32", 2.0**-number) for number, name in enumerate((*CASES[:1], *IN_REGIMES))]
    ordinary, regimes = tables(findings)
    assert [len(row) for row in ordinary] == [len(HEADER)] * 2
    assert dict(zip(regimes[0], regimes[1], strict=True))["kinks"] == "5.0e-01"
    assert len(rows_of_regimes(findings)) == 1 + len(findings)


def test_the_command_writes_its_table(tmp_path):
    done = command("proof", 'functions=["calibration_error"]', 'families=["diagonal"]', "workers=1", f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "proof.csv") as file:
        assert [row["function"] for row in csv.DictReader(file)] == ["calibration_error"]
    assert (tmp_path / "proof.md").read_text().strip() in done.stdout


def test_an_unknown_function_is_a_one_line_error():
    assert_one_line_error(command("proof", 'functions=["cfd"]'), "functions: got 'cfd'", "cdf")
