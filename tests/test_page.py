"""The page about a run: its structure, what is escaped, and its numbers against the library's."""

import html.parser
import importlib.util
import re

import jax
import numpy as np
import pytest

import mdnjax as mdn
from experiments.page import writing
from experiments.page.blocks import Bullets, Grid, Paragraph, Picture, Plot, Section
from experiments.page.explorer import make_explorer
from experiments.page.parallel import parallel_coordinates
from experiments.page.plots import bars_of_importance, curve_of_coverage, histogram_of_pit
from experiments.page.settings import settings_that_differ
from experiments.page.states import choose_states
from experiments.page.summaries import LEVELS, in_blocks, summarise
from experiments.posterior.figures import PosteriorEvaluation
from experiments.posterior.page import draws_of as draws_of_page
from experiments.progress import Clock
from experiments.schemas import TabularRun
from mdnjax.config import load
from mdnjax.config.schema import Model
from mdnjax.data import Dataset, make_scaler
from mdnjax.data.columns import Column, Columns, to_inputs
from mdnjax.ensemble import untrained
from mdnjax.posteriors.ranks import Ranks
from mdnjax.predictor import make_predictor

EVIL = "</script><script>alert(1)</script> $$x$$ [kg] & <b>"
RNG = np.random.default_rng(0)
ROWS = {"number": RNG.normal(size=60), "colour": RNG.choice(["red", "green", EVIL], 60), "days": np.arange(60.0) + 19000}
ROWS["number"][3] = np.nan
COLUMNS = Columns(
    (
        Column("number", fill=0.0, marked=True),
        Column("colour", ("red", "green", EVIL)),
        Column("days", fill=19000.0, dates="day"),
    ),
    (EVIL,),
)
INPUTS = to_inputs(COLUMNS, {**ROWS, "days": ROWS["days"].astype(int).astype("datetime64[D]")})


TEST, SIZES = INPUTS[:20], (20, 7)  # rows, and how many of them are computed at a time
NAMES = [f"row {i}" for i in range(20)]


def make_untrained():
    """Makes a predictor whose densities have several modes; its networks are not trained."""
    model, generator = Model(hidden_sizes=(4,), num_components=3), np.random.default_rng(1)
    networks = untrained(model, INPUTS.shape[1], 1, 2)
    params = jax.tree.map(lambda leaf: generator.normal(size=leaf.shape).astype(np.float32) / 2, networks.params)
    y = 1000 + 5 * generator.normal(size=(60, 1))
    return make_predictor(model, networks._replace(params=params), make_scaler(Dataset(INPUTS, y), True), COLUMNS)


@pytest.fixture(scope="module")
def predictor():
    return make_untrained()


@pytest.fixture(scope="module")
def states():
    return choose_states(COLUMNS, TEST, INPUTS, [("example", 5)])


@pytest.fixture(scope="module")
def summary(predictor, states):
    return summarise(predictor, states.inputs, *SIZES)[0]


@pytest.fixture(scope="module")
def page(states, summary):
    explorer = make_explorer(
        [c.name for c in COLUMNS.inputs], COLUMNS.targets, states, [summary], np.full((20, 1), 1001.0), NAMES
    )
    rises = {EVIL: np.array([0.1, 0.2]), "other": np.array([-0.1, 0.1])}
    pit = RNG.uniform(size=50)
    sections = [
        Section("First", [Paragraph(EVIL), Bullets([EVIL]), Grid(EVIL, [EVIL, "b"], [[EVIL, "1"]]), Picture(EVIL, EVIL, b"png")]),
        Section("Without content", []),
        Section("Plots", [histogram_of_pit(pit), curve_of_coverage(pit), bars_of_importance(rises)]),
        Section("Explorer", [explorer]),
        Section("Settings", [parallel_coordinates(["a", EVIL], [[1.0, 100.0], [2.0, np.nan]], [["1", EVIL], ["100", ""]], 1)]),
    ]
    return writing.render(EVIL, sections)


class Elements(html.parser.HTMLParser):
    """Collects the elements of a page with their attributes, and the text of the scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        (self.scripts if self.elements and self.elements[-1][0] == "script" else self.texts).append(data)


def test_the_page_loads_nothing_and_is_small(page):
    assert len(page.encode()) < 3_000_000
    for tag, attributes in Elements(page).elements:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert re.match(r"#|data:", attributes.get(name, "#")), (tag, attributes)
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert style
    assert not re.search(r"@import|url\(", style)


def test_texts_of_the_user_are_escaped(page):
    found = Elements(page)
    assert sum(tag == "script" for tag, _ in found.elements) == 3  # the data, bokeh, and those of the page
    assert "alert(1)" in "".join(found.texts)
    assert not any("alert(1)" in text and "</script" in text for text in found.scripts)
    assert not any(tag == "b" for tag, _ in found.elements)


def test_the_page_can_be_read_without_seeing_it(page):
    """Headings are in order, without sections that have no content; images and plots have texts, controls have labels."""
    elements = Elements(page).elements
    headings = [tag for tag, _ in elements if re.fullmatch(r"h\d", tag)]
    assert headings == ["h1", *["h2"] * 4]
    assert "Without content" not in page
    assert ("html", {"lang": "en"}) in elements
    labels = {attributes.get("for") for tag, attributes in elements if tag == "label"}
    for tag, attributes in elements:
        assert tag != "img" or attributes["alt"]
        assert attributes.get("role") != "img" or attributes.get("aria-label") or attributes.get("aria-describedby")
        assert tag not in ("select", "input") or attributes["id"] in labels
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_rows_of_an_explorer_differ_in_one_column_from_a_test_row(states):
    assert states.rows[0].place == 5
    assert states.rows[0].label == "example"
    assert sorted(row.place for row in states.rows) == list(range(20))
    blocks = dict(mdn.data.columns.blocks(COLUMNS))
    for row in states.rows:
        np.testing.assert_array_equal(states.inputs[row.state], TEST[row.place])
        for slider, block in zip(row.sliders, blocks.values(), strict=False):
            assert slider.states[slider.own] == row.state
            assert len(slider.texts) == len(slider.states) == len(set(slider.texts))
            for state in slider.states:
                assert np.all(np.delete(states.inputs[state] == TEST[row.place], np.r_[block]))
    assert states.rows[0].sliders
    missing = next(row for row in states.rows if row.place == 3)
    assert missing.texts[0] == "(missing)"
    assert missing.texts[2] == "2022-01-11"


def test_the_numbers_of_an_explorer_are_those_of_the_library(predictor, states, summary):
    """Quantiles, modes and densities agree to 1e-4 standard deviations, those of the page after they are stored too."""
    mixture = in_blocks(predictor.at, states.inputs, 20)
    sd = np.sqrt(np.asarray(mdn.variance(mixture)))
    expected = in_blocks(lambda rows: mdn.quantile(rows[:, None], np.array(LEVELS, np.float32))[..., 0], mixture, 7)
    assert np.all(np.abs(summary.quantiles - expected) < 1e-4 * sd)
    density = np.asarray(mdn.prob(mixture[:, None], summary.curve_y[..., None].astype(np.float32)))
    np.testing.assert_allclose(summary.density, density, rtol=1e-3, atol=1e-4 * density.max())
    area = np.trapezoid(summary.density, summary.curve_y, axis=1)
    np.testing.assert_allclose(area, 0.998, atol=0.01)  # between the outermost quantiles
    found = in_blocks(mdn.modes, mixture, 7)
    counts = set()
    rows = zip(summary.modes, summary.heights, found.y[..., 0], found.log_density, sd[:, 0], strict=True)
    for modes, heights, y, log_density, unit in rows:
        known = ~np.isnan(y) & (np.exp(log_density) > 0.02 * np.nanmax(np.exp(log_density)))
        shown = heights > 0.02 * np.nanmax(heights)
        np.testing.assert_allclose(modes[shown], y[known], atol=1e-4 * unit)
        np.testing.assert_allclose(heights[shown], np.exp(log_density[known]), rtol=1e-3)
        counts.add(int(shown.sum()))
    assert len(counts) > 1


def test_only_changed_settings_are_listed():
    assert isinstance(settings_that_differ(TabularRun(), TabularRun())[0], Paragraph)
    words = ["train.num_steps=7", "output=elsewhere", "report=false", "runtime.compile_cache=false"]
    (grid,) = settings_that_differ(load(TabularRun, None, words), TabularRun())
    assert isinstance(grid, Grid)
    assert [row[:3] for row in grid.rows] == [["train.num_steps", "7", "3000"]]


def test_without_the_plotting_library_a_note_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    writing.write_page(tmp_path, Clock(), "title", lambda: pytest.fail("no section is needed"), wanted=True)
    assert "pip install bokeh" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("num_parameters", "num_drawn"), [(1, 4), (2, 4), (3, 3), (5, 1), (12, 1)])
def test_a_page_of_posteriors_has_few_panels_and_quantiles_of_the_other_observations(num_parameters, num_drawn):
    names, draws = [f"theta_{i}" for i in range(num_parameters)], [RNG.normal(size=(50, num_parameters)) for _ in range(6)]
    ranks = Ranks(np.zeros((3, num_parameters), int), np.zeros(3, int), 9)
    blocks = list(draws_of_page(PosteriorEvaluation(1000, draws, ranks, []), None, names))
    assert [block.title for block in blocks if isinstance(block, Plot)] == [
        f"Posterior for observation {number + 1}" for number in range(num_drawn)
    ]
    grids = [block for block in blocks if isinstance(block, Grid)]
    assert len(blocks) == 4 == num_drawn + len(grids)
    for number, grid in enumerate(grids, num_drawn):
        assert f"observation {number + 1}" in grid.caption
        np.testing.assert_allclose([float(row[2]) for row in grid.rows], np.median(draws[number], axis=0), rtol=1e-3)
