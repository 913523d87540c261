"""Training sets that break other libraries end in a finite, sensible mixture, whatever the optimiser."""

import jax
import numpy as np
import pytest

from mdnjax.config import Config, load
from mdnjax.data import Dataset, make_scaler, to_training_units
from mdnjax.data.dataset import outlier_notes
from mdnjax.ensemble import Networks
from mdnjax.predictor import make_predictor
from mdnjax.training import functions
from mdnjax.training.train import train_one

OPTIMIZERS = {
    "adam": ["train.optimizer.clip_norm=1.0"],
    "lbfgs": ["train.optimizer.name=lbfgs", "train.x_noise=0"],
}


def plain(num=50):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((num, 2))
    return Dataset(x.astype(np.float32), (x[:, :1] + 0.3 * generator.standard_normal((num, 1))).astype(np.float32))


def changed(name):
    x, y = plain()
    if name == "outlier":
        y[7] = 1e8
    if name == "outlying input":
        x[7, 0] = 1e8
    changes = {
        "repeated targets": (x, np.round(y)),
        "one target": (x, 0 * y + 3),
        "constant column": (x * np.array([1, 0], np.float32), y),
        "duplicate column": (x[:, [0, 0]], y),
        "offsets": (x + np.float32(1e6), y - np.float32(1e6)),
        "tiny": (x * np.float32(1e-20), y * np.float32(1e-20)),
        "huge": (x * np.float32(1e15), y * np.float32(1e15)),
    }
    return Dataset(*changes.get(name, (x, y)))


NAMES = ["plain", "outlier", "outlying input", "repeated targets", "one target", "constant column", "duplicate column"]
NAMES += ["offsets", "tiny", "huge"]


def train(data, *words):
    """A network trained on data that it is also watched by."""
    config = load(Config, None, ["train.num_steps=60", "model.num_components=4", "train.init.name=data", *words])
    scaler = make_scaler(data, True)
    scaled = to_training_units(scaler, data)
    model, shape, numbers = functions.split_sections(config.model, config.train)
    inputs = functions.make_training_inputs(numbers, jax.random.key(0), scaled, scaled)
    fitted = train_one(functions.make_training_functions(model, shape, 2, 1), config.train, inputs)
    params = jax.tree.map(lambda leaf: leaf[None], fitted.state.params)
    return fitted, make_predictor(config.model, Networks(params), scaler)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_ends_in_a_sensible_mixture(name, optimizer):
    data = changed(name)
    fitted, predictor = train(data, *OPTIMIZERS[optimizer])
    assert not fitted.diverged
    assert np.isfinite(fitted.history.loss).all()
    assert fitted.history.loss[-1] <= fitted.history.loss[0] + 1e-3
    assert np.isfinite(predictor.nll(data)).all()
    low, high = float(data.y.min()), float(data.y.max())
    room = 2 * (high - low) + 1e-2 * abs(high)
    mean = predictor.mean(data.x)
    assert ((mean >= low - room) & (mean <= high + room)).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_five_points_are_enough_to_end(optimizer):
    fitted, predictor = train(plain(5), *OPTIMIZERS[optimizer])
    assert not fitted.diverged
    assert np.isfinite(predictor.nll(plain(5))).all()


def test_a_far_outlier_is_told():
    """It sets the units of training: said in words, with its row."""
    assert list(outlier_notes(plain())) == []
    assert list(outlier_notes(changed("constant column"))) == []
    assert list(outlier_notes(changed("repeated targets"))) == []
    (target,) = outlier_notes(changed("outlier"))
    assert "target 0 is 1e+08 in row 8" in target
    (column,) = outlier_notes(changed("outlying input"))
    assert "input 0 is 1e+08 in row 8" in column
