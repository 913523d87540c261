"""Predictions for the files of a pattern, each a part with a file of its own; a part that is complete is not computed again."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from experiments.command import UserError
from experiments.predict.columns import Predict
from experiments.predict.writing import record_of
from experiments.reading import files
from mdnjax.data.values import TableError


def is_pattern(config: Predict) -> bool:
    """Returns whether the rows are in the files of a pattern, such as rows/*.parquet."""
    return glob.has_magic(config.file) and not Path(config.file).exists()


def parts_of(config: Predict) -> list[Predict]:
    """Returns the configuration of each part; its output has the path of its file below the folders without wildcards.

    Raises: UserError if the output is no folder or that of the rows, no file matches, one is no Parquet file, or columns differ.
    """
    if config.output.suffix or config.output.is_file():
        got = f"output: got {str(config.output)!r}, expected a folder, such as output=predictions/"
        raise UserError(f"{got}, since {config.file!r} stands for several files")
    paths = sorted(path for path in map(Path, glob.glob(config.file, recursive=True)) if path.is_file())
    if not paths:
        raise UserError(f"file: got {config.file!r}, which matches no file")
    if other := next((path for path in paths if path.suffix.lower() != ".parquet"), None):
        raise UserError(f"file: got {config.file!r}, which matches {str(other)!r}, expected Parquet files alone")
    _check_columns(paths)
    root = _root(config.file)
    parts = [_part_of(config, path, path.relative_to(root)) for path in paths]
    inputs = {path.resolve() for path in paths}
    if clash := next((part.output for part in parts if part.output.resolve() in inputs), None):
        raise UserError(f"output: got a folder where {str(clash)!r} is a file of rows, expected another folder")
    if below := next((path for path in paths if config.output.resolve() in path.resolve().parents), None):
        raise UserError(f"file: got {config.file!r}, which matches {str(below)!r} in the output folder, expected rows elsewhere")
    return parts


def _part_of(config: Predict, path: Path, name: Path) -> Predict:
    """Returns the configuration of a part; samples of different parts are independent, whatever parts there are."""
    seed = int.from_bytes(hashlib.sha256(f"{config.seed} {name.as_posix()}".encode()).digest()[:4])
    output = (config.output / name).with_suffix(".parquet")
    return config.model_copy(update={"file": str(path), "output": output, "seed": seed})


def _root(pattern: str) -> Path:
    """Returns the folders of a pattern before the first wildcard."""
    fixed = Path()
    for name in Path(pattern).parts[:-1]:
        if glob.has_magic(name):
            break
        fixed /= name
    return fixed


def _check_columns(paths: list[Path]) -> None:
    """Raises: UserError if a file has other columns than the first, or is no Parquet file."""
    first: set[str] = set()
    for path in paths:
        try:
            names = set(files.parquet_file(path).schema_arrow.names)
        except TableError as error:
            raise UserError(f"{path}: {error}") from None
        first = first or names
        if names != first:
            name, has = min((name, name in names) for name in names ^ first)
            words = "a column" if has else "no column"
            raise UserError(f"{path}: got {words} {name!r}, expected the columns of {paths[0]}")


def records(parts: list[Predict]) -> Iterator[str]:
    """Yields for each part what its predictions depend on: the model, the settings, and size and time of its file."""
    model = digest_of(parts[0].model)
    excluded = {"model", "file", "output", "runtime", "cluster", *(() if parts[0].samples else ("chunk_rows", "seed"))}
    for part in parts:
        settings, file = part.model_dump(mode="json", exclude=excluded), Path(part.file).stat()
        yield json.dumps({"model": model, "settings": settings, "file": [file.st_size, file.st_mtime_ns]}, sort_keys=True)


def digest_of(path: str) -> str:
    """Returns a digest of the bytes of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def is_complete(part: Predict, record: str) -> bool:
    """Returns whether the predictions of a part are there.

    Raises: UserError if there is a file that was made otherwise.
    """
    if not part.output.exists():
        return False
    if record_of(part.output) != record:
        made = "was made by another model, with other settings, or for another file"
        raise UserError(f"output: {part.output} {made}; choose another folder with output=FOLDER, or replace it with --overwrite")
    return True
