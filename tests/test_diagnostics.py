"""Tests of diagnoses: each problem gives a note with its remedy, and a healthy network gives none."""

import jax.numpy as jnp
import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.components import FAMILIES, Sizes
from mdnjax.config.schema import Run
from mdnjax.diagnostics import diagnose, remedies
from mdnjax.mixture import from_batch_last


def network(logits, scale=1.0):
    """Mixtures of three components for fifty inputs."""
    logits = np.broadcast_to(logits, (50, 3))
    return mdn.Mixture(jnp.asarray(logits), mdn.Diagonal(jnp.zeros((50, 3, 2)), jnp.full((50, 3, 2), scale)))


def test_equal_components_are_all_in_use():
    found = diagnose(network(np.zeros(3)), np.array(0.1))
    assert found.num_effective == pytest.approx(3)
    assert found.num_in_use == pytest.approx(3)
    assert found.num_dead == 0
    assert found.share_at_floor == 0
    assert list(remedies(found)) == []


def test_components_of_different_inputs_are_in_use_but_not_at_once():
    logits = np.where(np.arange(50)[:, None] % 3 == np.arange(3), 0.0, -50.0)
    found = diagnose(network(logits), np.array(0.1))
    assert found.num_effective == pytest.approx(1)
    assert found.num_in_use == pytest.approx(3, rel=1e-3)
    assert list(remedies(found)) == []


@pytest.mark.parametrize(
    ("logits", "scale", "phrases"),
    [
        (np.array([0.0, 0.0, -50.0]), 1.0, ["dead components: 1 of 3 (mean weight below 0.001)", "train.init.name=data"]),
        (np.array([0.0, -50.0, -50.0]), 1.0, ["one component of 3 has all the weight", "the others are unused", "learning_rate"]),
        (np.zeros(3), 0.105, ["100 % of the weight is in components at the scale floor", "model.scale_floor"]),
    ],
)
def test_each_problem_has_its_remedy(logits, scale, phrases):
    (note,) = remedies(diagnose(network(logits, scale), np.array(0.1)))
    for phrase in phrases:
        assert phrase in note


def test_nothing_is_advised_that_is_set_already():
    dead, lonely = np.array([0.0, 0.0, -50.0]), np.array([0.0, -50.0, -50.0])
    config = Run.model_validate({"train": {"init": {"name": "data"}, "entropy_bonus": 0.05}})
    for logits in (dead, lonely):
        (note,) = remedies(diagnose(network(logits), np.array(0.1)), config)
        assert "init.name" not in note
        assert "train.entropy_bonus=0.1" in note


def test_advice_about_a_value_that_each_setting_has_is_about_the_settings():
    found = diagnose(network(np.zeros(3), 0.105), np.array(0.1))
    config = Run.model_validate({"selection": {"settings": ({"model.scale_floor": 0.01},)}})
    assert "raise train.x_noise or model.scale_floor in selection.settings;" in next(remedies(found, config))
    assert "selection" not in next(remedies(found, Run()))


@pytest.mark.parametrize("family", FAMILIES)
def test_scales_at_the_floor_are_counted_for_every_family(family):
    """Raw scales far below 0 give scales at the floor, also after a change of units by factors of 10 and 1000."""
    sizes, factor = Sizes(2, 2, 1), np.array([10.0, 1000.0])
    for raw_scale, share in ((-30.0, 1.0), (3.0, 0.0)):
        raw = FAMILIES[family].to_raw(jnp.zeros((2, 2)), jnp.ones((2, 2)), sizes, 0.0)
        raw = raw.at[4 : 4 + (2 if family == "isotropic" else 4)].set(raw_scale)
        component = FAMILIES[family].from_raw(jnp.stack([raw] * 5, axis=1), sizes, 0.01)
        mixture = from_batch_last(jnp.zeros((2, 5)), component)
        found = diagnose(mdn.affine(mixture, np.zeros(2), factor), 0.01 * factor)
        assert found.share_at_floor == pytest.approx(share)
