"""Blocks of rows: every row once and in order, in blocks of one size."""

import numpy as np
import pytest

from mdnjax import parallel
from mdnjax.parallel import map_in_threads, map_row_blocks, num_threads, one_core


@pytest.mark.parametrize("num_rows", [1, 5, 64, 65, 129, 640, 1000])
@pytest.mark.parametrize("max_rows", [64, 256])
def test_blocks_have_every_row_once_and_one_size(num_rows, max_rows):
    sizes = []

    def function(rows):
        sizes.append(len(rows))
        return rows, {"squares": rows**2}

    rows, others = map_row_blocks(function, num_rows, max_rows)
    np.testing.assert_array_equal(rows, np.arange(num_rows))
    np.testing.assert_array_equal(others["squares"], np.arange(num_rows) ** 2)
    assert len({*sizes}) == 1
    assert sizes[0] <= max_rows
    assert len(sizes) == -(-num_rows // sizes[0])


def test_blocks_within_blocks_use_one_core(monkeypatch):
    monkeypatch.setattr(parallel, "num_cores", lambda: 3)
    assert [*map_in_threads(lambda _: num_threads(), range(4))] == [3, 1, 1, 1]  # the first block is computed alone
    with one_core():
        assert [*map_in_threads(lambda _: num_threads(), range(4))] == [1] * 4
    assert num_threads() == 3
