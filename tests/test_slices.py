"""Slices of the inputs in which a model is wrong: false alarms at the stated rate, known holes, and every kind of column."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

from experiments.slice_report import SLICES_FILE, plot_slices, show_slices, write_slices
from experiments.slices import CASES, draw_inputs, draw_pit
from mdnjax.data.columns import MISSING, Column, Columns, to_inputs
from mdnjax.data.units import own_units
from mdnjax.observed import PLAIN
from mdnjax.slices import RATE, slices_of
from mdnjax.slices.chance import UNIFORM, Chance, Sets, means, range_by_chance, sizes, z_scores
from mdnjax.slices.search import pit_of, prepare_search, slices_in
from mdnjax.slices.sets import MIN_ROWS, families_of
from tests.commands import assert_one_line_error, run
from tests.oracles import in_simulation_error, parts, random_mixture, random_targets

RNG = np.random.default_rng(0)
NUMBERS = Columns((Column("a"), Column("b")), ("y",))
X = RNG.random((300, 2))
U = RNG.random((300, 1))
SETS = Sets(RNG.random((6, 300)) < np.eye(6)[:, RNG.integers(0, 6, 300)], np.array([0, 1, 1, 3]), np.array([2, 2, 4, 6]))
WEIGHT = RNG.choice([0.5, 1.0, 4.0], 300)


@pytest.fixture
def few_draws(monkeypatch):
    """As many draws as the smallest p-values of these tests need."""
    monkeypatch.setattr("mdnjax.slices.chance.NUM_DRAWS", 399)


def shifted(u, rows, by=0.8):
    """The PIT of targets that are shifted by standard deviations in some rows."""
    return np.where(rows[:, None], stats.norm.cdf(stats.norm.ppf(u) + by), u)


def of_kind(slices, kind):
    return [one for one in slices.slices if one.kind == kind]


def test_means_of_sets_are_those_of_their_rows():
    found = means(SETS, WEIGHT, U.T)[:, :, 0]
    for j in range(4):
        rows = SETS.rows(j)
        u, weight = U[rows, 0], WEIGHT[rows]
        expected = [np.average(np.abs(u - 0.5) > 0.25, weights=weight), np.average(np.abs(u - 0.5) > 0.45, weights=weight)]
        np.testing.assert_allclose(found[j], [*expected, np.average(u, weights=weight)], rtol=1e-5)
        assert sizes(SETS, WEIGHT)[j] == pytest.approx(weight.sum() ** 2 / (weight**2).sum())
    np.testing.assert_allclose(sizes(SETS, np.full(300, 3.0)), [SETS.rows(j).sum() for j in range(4)])


def test_scores_are_about_standard_normal_also_with_weights():
    z = z_scores(SETS, WEIGHT, RNG.random((2000, 300), np.float32), UNIFORM)
    np.testing.assert_allclose(z.mean(axis=2), 0, atol=0.1)
    np.testing.assert_allclose(z.std(axis=2), 1, atol=0.1)


@pytest.mark.parametrize("num", [20, 150])
def test_the_score_of_a_share_has_nearly_the_tail_of_the_binomial(num):
    counts = np.arange(num + 1)
    u = np.where(np.arange(num) < counts[:, None], 0.01, 0.5)  # as many rows outside of the intervals
    z = z_scores(Sets(np.ones((1, num), bool), np.array([0]), np.array([1])), np.ones(num), u, UNIFORM)[0, 1]
    tail = stats.binom.sf(counts - 1, num, 0.1)
    shown = (tail > 1e-5) & (tail < 0.1)
    np.testing.assert_allclose(np.log(stats.norm.sf(z[shown])), np.log(tail[shown]), atol=0.5)


def test_the_range_by_chance_is_that_of_scores_within_the_limit():
    for ends, sign in zip(range_by_chance(300.0, 3.0), (1, -1), strict=True):
        inside = np.rint(300 * ends[:2]).astype(int)
        u = np.full(300, 0.5)
        u[: 300 - inside[0]] = 0.2
        u[: 300 - inside[1]] = 0.01
        z = z_scores(Sets(np.ones((1, 300), bool), np.array([0]), np.array([1])), np.ones(300), u[None], UNIFORM)[0, :2, 0]
        np.testing.assert_allclose(z, 3 * sign, atol=0.15)
        assert abs(ends[2] - 0.5) == pytest.approx(3 / (12 * 300) ** 0.5)


def test_corrected_p_values_are_those_of_their_definition():
    tops = np.abs(RNG.normal(size=(2, 60))) + 2
    z = [RNG.normal(size=(4, 3)) * 2, RNG.normal(size=(7, 3)) * 2]
    found = Chance(tops, [None, None]).corrected(z)
    draws = np.concatenate([tops, [[np.abs(scores).max()] for scores in z]], axis=1)
    smallest = [min(np.mean(draws[f] >= draws[f, b]) for f in range(2)) for b in range(61)]
    for f in range(2):
        expected = [[np.mean(smallest <= np.mean(draws[f] >= abs(score))) for score in row] for row in z[f]]
        np.testing.assert_allclose(found[f], expected)
    limits, rate = Chance(tops, [None, None]).limits(0.1), 0.1
    for f in range(2):
        assert (found[f][np.abs(z[f]) > limits[f] + 0.5] <= rate + 0.05).all()


def test_false_alarms_are_at_the_rate(few_draws):
    """The draws are shared by all runs, so that the rate itself varies by sqrt(.05 * .95 / 399) = .011."""
    search = prepare_search(NUMBERS, X[:80], WEIGHT[:80])
    assert {family.kind for family in search.families} == {"all rows", "column", "slab", "near"}
    assert search.chance is not None
    u = RNG.random((400, 80), np.float32)
    z = [z_scores(family.sets, search.weight, u, UNIFORM) for family in search.families]
    smallest = [min(p.min() for p in search.chance.corrected([scores[:, :, i] for scores in z])) for i in range(400)]
    assert in_simulation_error(np.array(smallest) <= RATE, RATE - 0.02, RATE + 0.02)
    found = slices_in(search, u[0, :, None].astype(np.float64))
    assert min(one.corrected for one in found.slices) == pytest.approx(smallest[0])


def test_a_hole_is_found_where_it_is(few_draws):
    slices = slices_of(NUMBERS, X, shifted(U, X[:, 1] > 0.7, 1.5))
    wrong = slices.wrong()
    assert [one.kind for one in wrong[:1]] == ["all rows"]
    assert all(one.text.startswith("b from 0.") or one.kind == "near" for one in wrong[1:])
    (slab,) = of_kind(slices, "slab")
    assert slab.low is not None
    assert slab.low == pytest.approx(0.7, abs=0.05)
    assert slab.high == X[:, 1].max()
    rows = X[:, 1] >= slab.low
    assert slab.num_rows == rows.sum()
    assert slab.fault == "predictions too low"
    assert slab.observed.mean_pit > slab.highest.mean_pit
    assert slab.median_width is None
    (slab,) = of_kind(slices_of(NUMBERS, X, shifted(U, X[:, 1] > 0.7, 1.5), width=X[:, [1]]), "slab")
    assert slab.median_width == np.median(X[rows, 1])
    assert slices.sentences()[0].startswith(f"Where not to trust it: {len(wrong)} slices of the test rows. Looked at: all 300")


def test_a_fault_of_all_rows_is_not_one_of_every_slice(few_draws):
    wrong = slices_of(NUMBERS, X, shifted(np.random.default_rng(3).random((300, 1)), np.ones(300, bool))).wrong()
    assert [one.text for one in wrong] == ["all rows"]


MIXED = Columns(
    (Column("n", None, 0.0, True), Column("k", ("a", "b", MISSING)), Column("d", None, None, False, "day"), Column("w")), ("y",)
)


def mixed_inputs(num=400):
    generator = np.random.default_rng(1)
    numbers = np.where(generator.random(num) < 0.2, np.nan, generator.normal(size=num))
    kinds = np.array(["a", "b", None, "new"])[generator.choice(4, num, p=[0.4, 0.3, 0.2, 0.1])]
    days = np.datetime64("2024-01-01") + generator.integers(0, 100, num)
    return to_inputs(MIXED, {"n": numbers, "k": kinds, "d": days, "w": generator.integers(0, 3, num)}), numbers, kinds


def test_every_kind_of_column_has_slices():
    inputs, numbers, kinds = mixed_inputs()
    families = {family.kind: family for family in families_of(MIXED, inputs, np.random.default_rng(0))}
    sets = families["column"].sets
    rows_of = {families["column"].describe(j).text: sets.rows(j) for j in range(len(sets.start))}
    np.testing.assert_array_equal(rows_of["n is missing"], np.isnan(numbers))
    np.testing.assert_array_equal(rows_of["k is missing"], [kind is None for kind in kinds])
    np.testing.assert_array_equal(rows_of["k = b"], kinds == "b")
    np.testing.assert_array_equal(rows_of["k has a category that training did not see"], kinds == "new")
    assert {"w = 0", "w = 1", "w = 2"} <= set(rows_of)
    of_days = [text for text in rows_of if text.startswith("d from 2024-0")]
    assert len(of_days) == 10
    for texts in (of_days, [text for text in rows_of if text.startswith("n from")], ["w = 0", "w = 1", "w = 2"]):
        together = np.sum([rows_of[text] for text in texts], axis=0)
        np.testing.assert_array_equal(together, ~np.isnan(numbers) if texts[0][0] == "n" else np.ones(400))
    for kind, family in families.items():
        counts = np.array([family.sets.rows(j).sum() for j in range(len(family.sets.start))])
        assert (counts >= (0.1 * 400 if kind == "slab" else MIN_ROWS)).all()
    assert any(
        " n from" in (text := families["slab"].describe(j).text) and "w" in text for j in range(len(families["slab"].sets.start))
    )


def test_a_column_that_is_missing_in_all_rows_is_no_slice():
    inputs = mixed_inputs()[0]
    inputs[:, :2] = 0, 1  # what becomes of a missing number
    for family in families_of(MIXED, inputs, np.random.default_rng(0)):
        assert not any("n" in family.describe(j).text.split() for j in range(len(family.sets.start)))


def test_a_slab_of_two_columns_has_the_rows_of_its_text():
    inputs, numbers, _ = mixed_inputs()
    family = {one.kind: one for one in families_of(MIXED, inputs, np.random.default_rng(0))}["slab"]
    part = family.describe(len(family.sets.start) - 1)
    assert part.column is not None
    assert part.low is not None
    assert part.high is not None
    first, sign, ratio, second = part.column.split()
    values = {"n": numbers, "w": inputs[:, -1]}
    combined = values[first] + (1 if sign == "+" else -1) * float(ratio) * values[second]
    margin = 0.005 * np.nanstd(combined)  # the ratio is shown with three digits
    inside = (combined >= part.low - margin) & (combined <= part.high + margin)
    assert np.mean(inside == family.sets.rows(len(family.sets.start) - 1)) > 0.98


@pytest.mark.parametrize("hole", ["n is missing", "k = b", "k is missing"])
def test_a_missing_value_and_a_category_can_be_the_hole(few_draws, hole):
    inputs, numbers, kinds = mixed_inputs()
    rows = {"n is missing": np.isnan(numbers), "k = b": kinds == "b", "k is missing": np.array([kind is None for kind in kinds])}[
        hole
    ]
    slices = slices_of(MIXED, inputs, shifted(np.random.default_rng(2).random((400, 1)), rows, -1.0))
    first = next(one for one in slices.wrong() if one.kind == "column")
    assert (first.text, first.fault, first.num_rows) == (hole, "predictions too high", rows.sum())
    assert first.column == hole[0]
    assert first.category == {"k = b": "b", "k is missing": MISSING}.get(hole)


def test_several_targets_have_slices_of_their_own(few_draws):
    columns = Columns(NUMBERS.inputs, ("y", "z"))
    pit = np.concatenate([U, shifted(RNG.random((300, 1)), X[:, 0] < 0.3, 2.0)], axis=1)
    slices = slices_of(columns, X, pit)
    single = slices_of(NUMBERS, X, U)
    assert {one.target for one in slices.wrong()} == {"z"}
    assert slices.name(slices.wrong()[0]) == "z: all rows"
    for one, two in zip(single.slices, slices.slices, strict=False):  # the first target's are those of this target alone
        assert two.corrected == pytest.approx(min(1, 2 * one.corrected))
        assert one.observed == two.observed


def test_rows_without_weight_or_pit_are_left_out(few_draws):
    weight = np.where(np.arange(300) < 40, 0.0, WEIGHT)
    pit = np.where(np.arange(300)[:, None] >= 250, np.nan, U)
    slices = slices_of(NUMBERS, X, pit, weight)
    assert slices == slices_of(NUMBERS, X[40:250], U[40:250], 7 * weight[40:250])
    assert slices.num_rows == 210
    assert slices.slices[0].observed.mean_pit == pytest.approx(np.average(U[40:250, 0], weights=weight[40:250]), rel=1e-5)


def test_of_many_rows_a_part_is_used(few_draws, monkeypatch):
    monkeypatch.setattr("mdnjax.slices.search.MAX_ROWS", 100)
    assert slices_of(NUMBERS, X, U).num_rows == 100


def test_few_rows_are_said():
    slices = slices_of(NUMBERS, X[:19], U[:19])
    assert slices.sentences() == ["Where not to trust it: not tested, since there are 19 test rows, and 20 are needed."]
    assert list(plot_slices(slices)) == []
    assert [one.kind for one in slices_of(NUMBERS, X[:39], U[:39]).slices] == ["all rows"]
    text = slices_of(Columns((Column("k", ("a", "b")),), ("y",)), np.eye(2)[RNG.integers(0, 2, 50)], U[:50]).summary()
    assert "50 test rows, 2 parts of columns, 50 neighbourhoods of rows" in text
    assert "would have been found" in text


def test_the_pit_of_targets_of_all_kinds_is_uniform():
    mixture, y = random_mixture(0, (30,), 2, 2), np.asarray(random_targets(0, (30,), 2))
    weights, loc, scale = parts(mixture)
    expected = np.sum(weights[..., None] * stats.norm.cdf((y[:, None] - loc) / scale), axis=1)
    np.testing.assert_allclose(pit_of(mixture, y, own_units(2), PLAIN), expected, rtol=1e-6)
    for name in ("right", "right, whole numbers", "right, half of the targets are 0"):
        generator = np.random.default_rng(5)
        pit = draw_pit(CASES[name], draw_inputs(300, generator), generator)
        assert stats.kstest(pit[:, 0], "uniform").pvalue > 0.01


def test_the_table_the_file_and_the_figure_of_slices(few_draws, tmp_path, capsys):
    slices = slices_of(NUMBERS, X, shifted(U, X[:, 1] > 0.7, 1.5))
    show_slices(slices)
    printed = capsys.readouterr().out
    assert "b from 0.7" in printed
    assert "predictions too low" in printed
    write_slices(tmp_path, slices)
    rows = list(csv.DictReader((tmp_path / SLICES_FILE).read_text().splitlines()))
    assert len(rows) == len(slices.slices)
    assert [row["text"] for row in rows if row["fault"]] == [one.text for one in slices.wrong()]
    assert float(rows[0]["observed_inside_90"]) == slices.slices[0].observed.inside_90
    numbers = json.loads(json.dumps(slices.numbers()))
    assert [one["text"] for one in numbers["slices"]] == [one.text for one in slices.wrong()]
    ((name, figure),) = plot_slices(slices)
    assert name == "slices"
    assert figure.axes[0].get_yticklabels()[0].get_text() == "all rows"
    assert len(figure.axes) == 2
    with_widths = slices_of(NUMBERS, X, U, width=X[:, [1]])
    ((_, figure),) = plot_slices(with_widths, "width")
    x, row = np.concatenate([dots.get_offsets() for dots in figure.axes[2].collections]).T
    assert x[row == 0] == with_widths.worst_first()[0].median_width == np.median(X[:, 1])
    show_slices(slices_of(NUMBERS, X, U))
    assert capsys.readouterr().out.startswith("Where not to trust it: nothing was found. Looked at: all 300 test rows")


def test_the_command_writes_its_table(tmp_path):
    done = run("slices", "num_draws=2", "num_rows=[20]", f"output={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    header, *rows = list(csv.reader((tmp_path / "out" / "slices.csv").read_text().splitlines()))
    assert header[:4] == ["data", "rows", "anything wrong", "all rows"]
    assert [row[0] for row in rows] == list(CASES)
    assert_one_line_error(run("slices", "num_rows=[19]", f"output={tmp_path / 'other'}"), "num_rows", "20")
