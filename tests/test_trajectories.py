"""Tests of trajectories: windows, frames and displacements by hand, scores by another library, the command, and bad files."""

import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from experiments.command import CONFIGS, UserError
from experiments.trajectories import crossings
from experiments.trajectories.__main__ import FILES
from experiments.trajectories.frame import constant_velocity, dataset_of, frame_of, to_frame, to_world
from experiments.trajectories.schema import Paths, Trajectories
from experiments.trajectories.scores import displacement, likeliest_of, predict
from experiments.trajectories.walks import SCENES, make_scenes, windows
from mdnjax.components import Diagonal
from mdnjax.config import load
from mdnjax.config.schema import Model
from mdnjax.data import make_scaler
from mdnjax.ensemble import Networks, params_like
from mdnjax.mixture import Mixture, weights
from mdnjax.predictor import make_predictor
from tests.commands import assert_not_blank, assert_one_line_error, run

PATHS = np.random.default_rng(0).normal(size=(6, 20, 2)).cumsum(axis=1)
TINY = ["data.num_groups=6", "train.num_steps=4", "train.report_every=2", "train.batch_size=32", "num_samples=3"]
TINY += ["model.num_components=2", "model.hidden_sizes=[4]", "model.family=diagonal", "ensemble.num_members=1"]


def rows_of(tracks):
    """Returns rows (frame, pedestrian, x, y) of tracks {pedestrian: frames}; x is a tenth of the frame, y the pedestrian."""
    rows = [(frame, pedestrian, frame / 10, pedestrian) for pedestrian, frames in tracks.items() for frame in frames]
    return np.array(sorted(rows), float)


def test_windows_need_two_pedestrians():
    paths = windows(rows_of({1: range(0, 220, 10), 2: range(0, 210, 10)}))
    assert paths.shape == (4, 20, 2)  # two starts with two pedestrians each; at the third start there is only one
    np.testing.assert_allclose(paths[0], [[i, 1] for i in range(20)])
    np.testing.assert_allclose(paths[3], [[i + 1, 2] for i in range(20)])


def test_windows_leave_out_single_pedestrians_and_gaps():
    assert len(windows(rows_of({1: range(0, 400, 10)}))) == 0
    gap = [*range(0, 100, 10), *range(110, 300, 10)]
    assert len(windows(rows_of({1: range(0, 200, 10), 2: range(0, 200, 10), 3: gap}))) == 2


def test_frames_without_pedestrians_are_skipped():
    tracks = {pedestrian: [*range(0, 100, 10), *range(500, 600, 10)] for pedestrian in (1, 2)}
    assert len(windows(rows_of(tracks))) == 2  # as in the published protocol


def test_targets_are_converted_back_to_places():
    frame, y = frame_of(PATHS), dataset_of(PATHS).y
    np.testing.assert_allclose(to_world(frame, y), PATHS[:, 8:], atol=1e-4)
    for step in (0, 11):
        np.testing.assert_allclose(to_frame(frame, 2, step, PATHS[2, 8 + step]), y[2, 2 * step : 2 * step + 2], atol=1e-4)


def test_inputs_and_targets_do_not_depend_on_place_and_direction():
    angle = 1.1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = dataset_of(PATHS @ turn.T + [30, -4])
    for original, same in zip(dataset_of(PATHS)[:2], moved[:2], strict=True):
        np.testing.assert_allclose(original, same, atol=1e-4)
    sets = (dataset_of(PATHS, mirror=True), dataset_of(PATHS), dataset_of(PATHS * [1, -1]))
    for both, original, image in zip(*(dataset[:2] for dataset in sets), strict=True):
        np.testing.assert_allclose(both, np.concatenate([original, image]), atol=1e-5)


def test_displacements_by_hand():
    paths = np.zeros((2, 20, 2))
    places = np.zeros((3, 2, 12, 2))
    places[0, 0, :, 0], places[1, 1, 11] = 3.0, (3.0, 4.0)
    average, final = displacement(places, paths)
    np.testing.assert_allclose(average, [[3, 0], [0, 5 / 12], [0, 0]])
    np.testing.assert_allclose(final, [[3, 0], [0, 5], [0, 0]])


def test_constant_velocity_predicts_a_straight_path():
    path = np.stack([np.arange(20.0), 0.5 * np.arange(20)], axis=1)[None]
    np.testing.assert_allclose(displacement(constant_velocity(frame_of(path)), path), 0, atol=1e-9)
    np.testing.assert_allclose(dataset_of(path).y, 0, atol=1e-5)


def test_the_likeliest_place_is_the_mode_with_the_largest_weight():
    loc = np.array([[0.0, 0.0], [5.0, 5.0], [5.2, 5.0]])
    logits, scale = jnp.log(jnp.array([[0.4, 0.35, 0.25]])), jnp.full((1, 3, 2), 0.5)
    mixture = Mixture(logits, Diagonal(jnp.asarray(loc)[None], scale))
    np.testing.assert_allclose(likeliest_of(mixture), [(0.35 * loc[1] + 0.25 * loc[2]) / 0.6], rtol=1e-6)


@pytest.fixture(scope="module")
def predictor():
    """Returns a network with random parameters."""
    model = Model(family="low_rank", rank=1, num_components=2, hidden_sizes=(4,), scale_floor=0.05)
    like = params_like(model, 14, 24, 1)
    generator = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: generator.normal(0, 0.3, leaf.shape).astype(leaf.dtype), like)
    return make_predictor(model, Networks(params), make_scaler(dataset_of(PATHS), standardise=False))


def test_predictions_do_not_depend_on_the_order_of_pedestrians(predictor):
    order = np.random.default_rng(2).permutation(len(PATHS))
    original, permuted = (predict(predictor, paths, jax.random.key(0), 3) for paths in (PATHS, PATHS[order]))
    for name in ("step_nll", "joint_nll", "likeliest"):
        np.testing.assert_allclose(getattr(original, name)[order], getattr(permuted, name), rtol=1e-5, atol=1e-5)


def test_the_nll_of_a_step_uses_its_block_of_the_covariance(predictor):
    x, y = dataset_of(PATHS)[:2]
    mixture = predictor(x)
    weight, (loc, factor, scale) = np.asarray(weights(mixture)), map(np.asarray, mixture.component)
    covariance = factor @ np.swapaxes(factor, -1, -2) + scale[..., None] ** 2 * np.eye(24)
    predictions = predict(predictor, PATHS, jax.random.key(0), 3)

    def nats(n, at):
        parts = zip(weight[n], loc[n], covariance[n], strict=True)
        return -np.log(sum(w * multivariate_normal(m[at], c[at, at]).pdf(y[n, at]) for w, m, c in parts))

    for n, step in ((0, 0), (3, 11)):
        np.testing.assert_allclose(predictions.step_nll[n, step], nats(n, slice(2 * step, 2 * step + 2)), rtol=1e-3)
    np.testing.assert_allclose(predictions.joint_nll[0], nats(0, slice(None)) / 12, rtol=1e-3)


@pytest.mark.parametrize("name", ["trajectories", "eth_ucy"])
def test_the_configuration_files_are_valid(name):
    assert load(Trajectories, CONFIGS / f"{name}.yaml").model.scale_floor == 0.01


@pytest.mark.parametrize("name", list(crossings.CROSSINGS))
def test_crossings_depend_on_their_seed_only(name):
    rows, num_train = crossings.record(name, 3, 10)
    same, _ = crossings.record(name, 3, 10)
    np.testing.assert_array_equal(rows, same)
    assert 0 < num_train < len(rows)
    assert len(windows(rows)) > 0


def test_constant_velocity_has_the_published_displacements():
    root = os.environ.get("MDNJAX_ETH_UCY")
    if not root:
        pytest.skip("this test needs the scenes of ETH and UCY: set MDNJAX_ETH_UCY=DIR to their folder")
    found = [displacement(constant_velocity(frame_of(scene.test)), scene.test) for scene in make_scenes(Paths(root=root), 0)]
    np.testing.assert_allclose(np.mean([[pair[0].mean(), pair[1].mean()] for pair in found], axis=0), [0.520, 1.141], atol=5e-4)


def test_the_command_writes_its_files(tmp_path):
    scenes = ("yield", "bridge")
    done = run("trajectories", f"output={tmp_path / 'run'}", *TINY, f"data.scenes=[{','.join(scenes)}]")
    assert done.returncode == 0, done.stderr
    found = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*.*")}
    of_scenes = {f"{name}.safetensors" for name in scenes}
    of_scenes |= {f"figures/{name}.png" for name in (*scenes, "horizons")}
    assert found == {*(name for name in FILES if "*" not in name), *of_scenes, "config.yaml"}
    for path in (tmp_path / "run" / "figures").glob("*.png"):
        assert_not_blank(path)
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())["scenes"]
    assert set(scores) == set(scenes)
    assert all(np.isfinite(score["nll"]) for score in scores.values())


def write_scenes(root: Path, **changes):
    """Writes a folder in the layout of ETH and UCY, with some files changed (None: left out)."""
    rows, num_train = crossings.record("yield", 0, 8)
    text = "\n".join("\t".join(map(str, row)) for row in rows)
    names = [file for files in SCENES.values() for file in files]
    lines = [f"{name} {len(rows)} {num_train} {len(rows) - num_train}" for name in names]
    splits = "\n".join(["file rows n_train_rows n_val_rows", *lines])
    for name, content in (dict.fromkeys(names, text) | {"SPLITS": splits} | changes).items():
        if content is not None:
            (root / f"{name}.txt").write_text(content)


def test_files_of_eth_and_ucy_are_read(tmp_path):
    write_scenes(tmp_path)
    scenes = make_scenes(Paths(root=str(tmp_path)), 0)
    assert [scene.name for scene in scenes] == list(SCENES)
    assert len(scenes[2].test) == 2 * len(scenes[0].test)  # of two files


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SPLITS": None}, "there is no file"),
        ({"biwi_eth": None}, "there is no file"),
        ({"SPLITS": "file rows n_train_rows n_val_rows\nbiwi_eth 9 5 4"}, "no line for 'biwi_hotel'"),
        ({"biwi_eth": "1\t2\t3"}, "got 3 columns"),
        ({"biwi_eth": "1 2 3 x"}, "biwi_eth.txt"),
        ({"biwi_eth": "1 2 3 nan"}, "not finite"),
        ({"biwi_eth": "1 2 3 4\n1 2 5 6"}, "twice in one frame"),
        ({"biwi_eth": "1 2 3 4"}, "got no window"),
    ],
)
def test_bad_files_raise_one_line_errors(tmp_path, changes, message):
    write_scenes(tmp_path, **changes)
    with pytest.raises(UserError, match=message) as caught:
        make_scenes(Paths(root=str(tmp_path)), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.scenes=[yeld]", "expected some of yield"),
        ("data.target_support=positive", "expected 'real'"),
        ("model.num_components=auto", "expected a number"),
        ("data.root=nowhere", "there is no file"),
    ],
)
def test_mistakes_raise_one_line_errors_and_write_nothing(tmp_path, override, message):
    assert_one_line_error(run("trajectories", f"output={tmp_path / 'run'}", *TINY, override), message)
    assert not (tmp_path / "run").exists()
