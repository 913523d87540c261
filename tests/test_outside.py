"""Rows that are outside of what training had: by ranges of columns and by categories, in the library and in the command."""

from typing import Any

import numpy as np
import pandas
import pytest

import mdnjax as mdn
from mdnjax.outside import outside_of_training
from tests.commands import run

SMALL = {"selection.settings": [], "ensemble.num_members": 1, "train.num_steps": 20, "model.experts": []}
SMALL |= {"model.hidden_sizes": [4], "model.num_components": 2, "model.embedding": "none"}


@pytest.fixture(scope="module")
def predictor():
    generator = np.random.default_rng(0)
    number = generator.uniform(1e6, 1e6 + 10, 80)
    table = {"size": number, "kind": np.tile(["a", "b"], 40), "dose": generator.normal(size=80)}
    return table, mdn.fit(table | {"y": number - 1e6}, "y", settings=SMALL)


def test_rows_of_training_are_inside_and_others_beyond_their_range_are_not(predictor):
    table, predictor = predictor
    assert outside_of_training(predictor, predictor.inputs(table)) == {}
    low, high = table["size"].min(), table["size"].max()
    new = {"size": np.array([low, high, high + 0.1, low - 0.1]), "kind": ["a", "c", "b", "a"], "dose": [0.0, 0.0, 0.0, 99.0]}
    found = outside_of_training(predictor, predictor.inputs(new))
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "size": [False, False, True, True],
        "kind": [False, True, False, False],
        "dose": [False, False, False, True],
    }


def test_the_command_writes_the_names_of_the_columns(predictor, tmp_path):
    table, predictor = predictor
    mdn.save(tmp_path / "m.safetensors", predictor)
    new = {"size": [table["size"][0], 1e6 + 99, 1e6 + 99], "kind": ["a", "b", "c"], "dose": [0.0, 0.0, 0.0]}
    pandas.DataFrame(new).to_csv(tmp_path / "new.csv", index=False)
    process = run("predict", tmp_path / "m.safetensors", tmp_path / "new.csv", "outside=true", f"output={tmp_path / 'p.csv'}")
    assert process.returncode == 0, process.stderr
    written: Any = pandas.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert written["outside"].tolist() == ["", "size", "size; kind"]
    assert "note: 2 of 3 rows: column 'size' is outside of what training had" in process.stdout
