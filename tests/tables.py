"""A small table, and its file in each format."""

import numpy as np
import pandas

NUM = 60
FRAME = pandas.DataFrame(
    {
        "x": np.linspace(-1, 1, NUM),
        "kind": ["a", "b", "c"] * 20,
        "group": np.repeat(np.arange(12), 5),
        "day": pandas.date_range("2024-01-01", periods=NUM).astype(str)[::-1],
        "part": ["train"] * 40 + ["validation"] * 8 + ["test"] * 12,
        "y": np.sin(np.arange(NUM)),
    }
)


def written(folder, frame, name):
    """Writes a table in the format of its name, and returns the path."""
    path = folder / name
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    elif name.endswith(".npz"):
        np.savez(path, **{name: column.to_numpy(str if column.dtype == object else None) for name, column in frame.items()})
    else:
        frame.to_csv(path, index=False, sep="\t" if name.endswith(".tsv") else ",")
    return path
