"""Model files: they predict the same after loading, from every format, and forged files are an error."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

import mdnjax as mdn
from mdnjax import checkpoint
from mdnjax.checkpoint import CheckpointError

HERE = Path(__file__).parent
ROWS = {"year": 1.7e9 + np.array([500.0, 9000.0]), "size": np.array([4.0, np.nan]), "kind": np.array(["b", "z"], object)}
EXPECTED = {  # mean and 90 % quantile of both rows, computed by the version that wrote the file
    "real": ([36.272865, 51.741711], [55.284199, 96.36982]),
    "positive": ([32.230255, 7.0676470], [68.648491, 11.489233]),
}


def predictor_of(kind="real"):
    return mdn.load(HERE / f"format_3_{kind}.safetensors")


@pytest.mark.parametrize("file_format", [2, 3])
@pytest.mark.parametrize("kind", EXPECTED)
def test_files_of_every_version_predict_the_same(file_format, kind):
    predictor = mdn.load(HERE / f"format_{file_format}_{kind}.safetensors")
    mean, quantile = EXPECTED[kind]
    np.testing.assert_allclose(predictor.mean(ROWS)[:, 0], mean, rtol=1e-6)
    np.testing.assert_allclose(predictor.quantiles(ROWS, [0.9])[:, 0, 0], quantile, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(mdn.mean(predictor(ROWS)))[:, 0], mean, rtol=1e-6)


@pytest.mark.parametrize("kind", EXPECTED)
def test_saved_and_loaded_predicts_the_same(kind, tmp_path):
    predictor = predictor_of(kind)
    mdn.save(tmp_path / "m.safetensors", predictor)
    again = mdn.load(tmp_path / "m.safetensors")
    assert (again.model, again.columns, again.scaler.support) == (predictor.model, predictor.columns, predictor.scaler.support)
    np.testing.assert_array_equal(again.mean(ROWS), predictor.mean(ROWS))


def rewrite(path, change=lambda arrays: arrays, source="format_3_real", **texts):
    """Writes a file with other arrays or texts and the right checksum."""
    with safe_open(HERE / f"{source}.safetensors", "numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = {**file.metadata(), **texts}
    metadata.pop("sha256")
    changed = {name: np.asarray(array) for name, array in change(arrays).items()}
    checkpoint.write_bytes(path, checkpoint.to_bytes(changed, {**metadata, "sha256": checkpoint._digest(changed, metadata)}))
    return path


def columns_with(**changes):
    """Changes fields of the second column, which has a fill and is marked."""
    with safe_open(HERE / "format_3_real.safetensors", "numpy") as file:
        inputs, targets = json.loads(file.metadata()["columns"])
    names = ("name", "categories", "fill", "marked")
    inputs[1] = [changes.get(name, value) for name, value in zip(names, inputs[1], strict=True)]
    return json.dumps([inputs, targets])


def test_a_file_of_a_later_version_is_an_error_that_names_the_version(tmp_path):
    versions = {"mdnjax": "9.1"}
    path = rewrite(tmp_path / "m", format="mdnjax-99", versions=json.dumps(versions))
    with pytest.raises(CheckpointError, match=r"got format 'mdnjax-99', written by mdnjax 9.1, expected 'mdnjax-3'"):
        mdn.load(path)


WRONG_TEXTS = {
    "model": ["", "{}x", "[]", '{"num_components": -1}', '{"num_components": "auto"}', '{"hidden_sizes": [1e99]}', "null"],
    "columns": ["null", "3", "[[], []]", '[[["a"]], []]', '[[["a"]], ["a"]]', '[[["a", []]], ["y"]]', '[["a"], ["y"]]'],
    "support": ["{}", "[1]", "[[0], [0]]", "[[0, 1], [2, 3]]", '[["a"], [null]]', "[[NaN], [null]]", "[[1], [-1]]"],
}
WRONG_TEXTS["columns"] += [
    columns_with(fill=float("inf")),
    columns_with(marked=3),
    columns_with(name="year"),
    columns_with(name=3),
    '[[["a", null, null, false, "month"]], ["y"]]',
    '[[["a", ["b"], null, false, "day"]], ["y"]]',
]
CASES = [(name, text) for name, texts in WRONG_TEXTS.items() for text in texts]


@pytest.mark.parametrize(("name", "text"), CASES)
def test_forged_texts_are_a_checkpoint_error(name, text, tmp_path):
    with pytest.raises(CheckpointError) as caught:
        mdn.load(rewrite(tmp_path / "m", **{name: text}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 0.0])
@pytest.mark.parametrize(
    "name", ["scaler/x_sd", "scaler/y_factor", "scaler/line_sd", "networks/weight", "networks/params/head/bias"]
)
def test_forged_numbers_are_a_checkpoint_error(name, value, tmp_path):
    if (name, value) in [("scaler/x_sd", np.inf), ("networks/params/head/bias", -1.0), ("networks/params/head/bias", 0.0)]:
        pytest.skip("a column that was constant has an infinite sd, and a bias may be any number")
    path = rewrite(tmp_path / "m", lambda arrays: {**arrays, name: np.full_like(arrays[name], value)})
    with pytest.raises(CheckpointError):
        mdn.load(path)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_forged_shapes_and_types_are_a_checkpoint_error(tmp_path_factory, data):
    with safe_open(HERE / "format_3_real.safetensors", "numpy") as file:
        names = sorted(file.keys())
    name = data.draw(st.sampled_from(names))

    def forge(arrays):
        array, how = arrays[name], data.draw(st.sampled_from(["cut", "grown", "gone", "int32", "bool", "scalar", "renamed"]))
        if how == "gone" and name in ("networks/weight", "networks/scale_floor"):
            how = "cut"  # these are optional
        changed = {
            "cut": lambda: array[..., :-1],
            "grown": lambda: array[None],
            "int32": lambda: array.astype(np.int32),
            "bool": lambda: array.astype(bool),
            "scalar": lambda: array.ravel()[0],
        }
        rest = {other: value for other, value in arrays.items() if other != name}
        return rest if how == "gone" else {**rest, name + "x" * (how == "renamed"): changed.get(how, lambda: array)()}

    path = rewrite(tmp_path_factory.mktemp("forged") / "m", forge)
    with pytest.raises(CheckpointError):
        mdn.load(path)


@pytest.mark.parametrize("num_inputs", [2**70, -1, "4", None])
def test_forged_sizes_in_the_previous_format_are_a_checkpoint_error(num_inputs, tmp_path):
    with safe_open(HERE / "format_2_real.safetensors", "numpy") as file:
        shapes = json.loads(file.metadata()["shapes"]) | {"num_inputs": num_inputs}
    with pytest.raises(CheckpointError, match="its metadata cannot be used"):
        mdn.load(rewrite(tmp_path / "m", source="format_2_real", shapes=json.dumps(shapes)))
