"""Files of arrays: a saved tree is restored, and a damaged file is an error."""

import jax.numpy as jnp
import numpy as np
import pytest

from mdnjax import checkpoint
from mdnjax.checkpoint import CheckpointError

TREE = {"a": {"kernel": jnp.arange(6.0).reshape(2, 3)}, "b": (jnp.zeros((), jnp.int32), jnp.array([True]))}


def test_round_trip(tmp_path):
    checkpoint.save(tmp_path / "f", TREE, {"note": "text"})
    back = checkpoint.load(tmp_path / "f", TREE)
    assert back["a"]["kernel"].dtype == TREE["a"]["kernel"].dtype
    np.testing.assert_array_equal(back["a"]["kernel"], TREE["a"]["kernel"])
    np.testing.assert_array_equal(back["b"][1], [True])
    assert checkpoint.read_metadata(tmp_path / "f")["note"] == "text"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_a_truncated_file_is_an_error(tmp_path, cut):
    checkpoint.save(tmp_path / "f", TREE)
    (tmp_path / "f").write_bytes((tmp_path / "f").read_bytes()[:cut])
    with pytest.raises(CheckpointError):
        checkpoint.load(tmp_path / "f", TREE)


def test_a_flipped_bit_is_found(tmp_path):
    checkpoint.save(tmp_path / "f", TREE)
    content = bytearray((tmp_path / "f").read_bytes())
    content[-3] ^= 1
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(CheckpointError, match="sha256"):
        checkpoint.load(tmp_path / "f", TREE)


def test_foreign_and_missing_files_are_an_error(tmp_path):
    (tmp_path / "f").write_bytes(b"not at all a safetensors file")
    for name in ("f", "nothing"):
        with pytest.raises(CheckpointError, match="cannot read"):
            checkpoint.load(tmp_path / name, TREE)


@pytest.mark.parametrize("other", [{"a": TREE["a"]}, {**TREE, "c": jnp.zeros(1)}, {**TREE, "a": {"kernel": jnp.zeros((3, 2))}}])
def test_a_tree_of_another_structure_is_an_error(tmp_path, other):
    checkpoint.save(tmp_path / "f", TREE)
    with pytest.raises(CheckpointError):
        checkpoint.load(tmp_path / "f", other)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.write_bytes(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
