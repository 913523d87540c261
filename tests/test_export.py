"""Exported programs: they give the same numbers for any number of rows, without flax and mdnjax."""

import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.data.lattice import Lattice
from mdnjax.export import export_model
from mdnjax.predictor import make_predictor
from tests.test_tasks import CONFIG, SCALER, TRAIN, networks_of, selected  # noqa: F401 (a fixture)


@pytest.fixture(scope="module")
def predictor(selected, tmp_path_factory):  # noqa: F811
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    mdn.save(path, make_predictor(CONFIG.model, networks_of(CONFIG, selected), SCALER))
    return mdn.load(path)


def test_it_gives_the_same_numbers_for_any_number_of_rows(predictor):
    program = jax.export.deserialize(bytearray(export_model(predictor, quantiles=(0.1, 0.9))))
    for num in (1, 7, 50):
        x = TRAIN.x[:num].astype(np.float64)
        x[-1, 0] = 1e9  # far outside of the rows of training
        statistics, mixture = program.call(x), predictor(x)
        np.testing.assert_allclose(statistics["mean"], mdn.mean(mixture), rtol=1e-5)
        np.testing.assert_allclose(statistics["sd"], np.sqrt(mdn.variance(mixture)), rtol=1e-5)
        loc = statistics["offset"][:, None] + statistics["factor"][:, None] * statistics["loc"]
        np.testing.assert_allclose(loc, mixture.component.loc, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(statistics["quantiles"], mdn.central_interval(mixture, 0.8), rtol=1e-4)


def test_it_runs_without_flax_and_without_mdnjax(predictor, tmp_path):
    (tmp_path / "m.bin").write_bytes(export_model(predictor))
    code = "import sys, jax.export, numpy as np; jax.config.update('jax_enable_x64', True); "
    code += "sys.modules['flax'] = sys.modules['mdnjax'] = None; "
    code += "program = jax.export.deserialize(bytearray(open('m.bin', 'rb').read())); "
    code += "print(program.call(np.ones((3, 2)))['mean'].shape)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "(3, 1)", done.stderr


def test_rounded_targets_are_the_same_as_those_of_the_predictor(predictor):
    lattice = Lattice(np.array([0.5]), np.array([-3.0]), np.array([3.0]))
    rounded = replace(predictor, scaler=predictor.scaler._replace(lattice=lattice))
    x = TRAIN.x[:5].astype(np.float64)
    statistics = jax.export.deserialize(bytearray(export_model(rounded, quantiles=(0.1, 0.9)))).call(x)
    np.testing.assert_allclose(statistics["mean"], rounded.mean(x), atol=1e-3)
    np.testing.assert_allclose(statistics["sd"], rounded.sd(x), rtol=1e-3)
    np.testing.assert_array_equal(statistics["quantiles"], rounded.quantiles(x, [0.1, 0.9])[..., 0])
