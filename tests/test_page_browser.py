"""The page about a run in a browser: nothing goes wrong, the explorer moves, and its numbers are those of the library."""

import json
import shutil

import numpy as np
import pytest

import mdnjax as mdn
from experiments.page import writing
from experiments.page.blocks import Section
from experiments.page.explorer import make_explorer
from experiments.page.parallel import parallel_coordinates
from experiments.page.plots import bars_of_importance, histogram_of_pit
from experiments.page.states import choose_states
from experiments.page.summaries import LEVELS, summarise
from tests.test_page import COLUMNS, INPUTS, NAMES, SIZES, TEST, make_untrained

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (BROWSER and DRIVER):
    reason = "got no chromium and chromedriver, expected both: apt-get install chromium chromium-driver"
    pytest.skip(reason, allow_module_level=True)

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

PREDICTOR = make_untrained()
STATES = choose_states(COLUMNS, TEST, INPUTS, [("example", 5)])
SHOWN = "return [...document.querySelectorAll(arguments[0])].map((cell) => cell.textContent)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser without a network that shows a page with an explorer, plots and parallel coordinates."""
    summary = summarise(PREDICTOR, STATES.inputs, *SIZES)[0]
    y = np.full((len(TEST), 1), 1001.0)
    sections = [
        Section("Plots", [histogram_of_pit(np.linspace(0, 1, 50)), bars_of_importance({"$$x$$": np.array([0.1, 0.2])})]),
        Section("Explorer", [make_explorer([c.name for c in COLUMNS.inputs], COLUMNS.targets, STATES, [summary], y, NAMES)]),
        Section("Settings", [parallel_coordinates(["a", "$$b$$"], [[1.0, 9.0], [2.0, np.nan]], [["1", "x"], ["9", ""]], 1)]),
    ]
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(writing.render("title", sections))
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER))
    try:
        driver.get(path.as_uri())
        WebDriverWait(driver, 20).until(lambda page: page.execute_script("return Boolean(window.explorerNumbers)"))
        yield driver
    finally:
        driver.quit()


def numbers(browser):
    return browser.execute_script("return window.explorerNumbers()")


def assert_shows(browser, state):
    """Quantiles and modes in the page are those of the library, to 1e-4 standard deviations, and are in its tables."""
    mixture, shown = PREDICTOR.at(STATES.inputs[[state]])[0], numbers(browser)
    unit = 1e-4 * float(np.sqrt(mdn.variance(mixture)[0]))
    np.testing.assert_allclose(shown["quantiles"], mdn.quantile(mixture, np.array(LEVELS, np.float32))[:, 0], atol=unit)
    known = [float(y) for y in shown["modes"] if y is not None]
    for mode in known:
        assert np.nanmin(np.abs(np.asarray(mdn.modes(mixture).y) - mode)) < unit
    cells = list(map(float, browser.execute_script(SHOWN, "#quantiles td")))
    digits = 10.0 ** -len(browser.execute_script(SHOWN, "#quantiles td")[0].partition(".")[2])
    np.testing.assert_allclose(cells, shown["quantiles"], atol=0.51 * digits)
    assert len(browser.execute_script(SHOWN, "#modes tbody tr")) == len(known)


def test_rows_and_sliders_change_what_the_explorer_shows(browser):
    first = STATES.rows[0]
    assert_shows(browser, first.state)
    said = browser.find_element(By.ID, "said").text
    slider = browser.find_element(By.ID, "input-0")
    slider.send_keys(Keys.ARROW_RIGHT if first.sliders[0].own == 0 else Keys.ARROW_LEFT)
    place = int(slider.get_property("value"))
    assert abs(place - first.sliders[0].own) == 1
    assert_shows(browser, first.sliders[0].states[place])
    assert browser.find_element(By.ID, "value-0").text == first.sliders[0].texts[place]
    assert slider.get_attribute("aria-valuetext") == first.sliders[0].texts[place]
    assert browser.find_element(By.ID, "said").text != said
    browser.find_element(By.ID, "reset").click()
    assert_shows(browser, first.state)
    choice = browser.find_element(By.ID, "row")
    choice.send_keys(Keys.ARROW_DOWN)
    row = STATES.rows[int(choice.get_property("value"))]
    assert row is not first
    assert_shows(browser, row.state)


def test_a_setting_can_be_chosen(browser):
    choice = browser.find_element(By.ID, "setting")
    assert browser.execute_script(SHOWN, "#chosen-setting td") == ["1", "x"]
    choice.send_keys(Keys.ARROW_DOWN)
    assert browser.execute_script(SHOWN, "#chosen-setting td") == ["9", ""]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_the_page_fits_and_has_the_colours_of_the_reader(browser, width, scheme):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    # Bokeh lays its plots out again a moment after the window has changed.
    fits = "return document.documentElement.scrollWidth <= arguments[0]"
    WebDriverWait(browser, 20).until(lambda page: page.execute_script(fits, width))
    dark = browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 28)"
    assert dark == (scheme == "dark")
    label = "return Bokeh.documents[0].all_models.values().find((model) => model.type === 'LinearAxis').axis_label_text_color"
    text = "return getComputedStyle(document.documentElement).getPropertyValue('--text').trim()"
    WebDriverWait(browser, 20).until(lambda page: page.execute_script(label) == page.execute_script(text))


def test_nothing_goes_wrong_and_nothing_is_loaded(browser):
    entries = browser.get_log("browser")
    assert not [entry for entry in entries if entry["level"] in ("SEVERE", "WARNING")]
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("file:", "data:"))] == []
