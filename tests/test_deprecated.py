"""Old names work for one more version, with a warning that states the new name."""

import numpy as np
import pytest

import mdnjax as mdn
from mdnjax.training.history import History


def test_an_old_public_name_warns_and_is_the_new_one():
    with pytest.warns(DeprecationWarning, match=r"mdnjax\.Judgement is deprecated .* use mdnjax\.Evaluation"):
        assert mdn.Judgement is mdn.Evaluation


def test_an_old_argument_warns_and_is_taken():
    def score(params, *_):
        return params

    with (
        pytest.warns(DeprecationWarning, match="held_out_score of train_loop is deprecated .* use validation_score"),
        pytest.raises(TypeError),
    ):
        mdn.train_loop(held_out_score=score)


def test_an_old_attribute_warns_and_is_the_new_one():
    history = History(np.zeros(2), np.array([2]), np.array([0.5]))
    with pytest.warns(DeprecationWarning, match="use validation_scores"):
        assert history.held_out is history.validation_scores
