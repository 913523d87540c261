"""Splits a sweep file into keys of the sweep and keys of its members, and reads the configurations that it uses as bases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.members.schema import Sweep
from experiments.schemas import InverseSine
from mdnjax.config import ConfigError, Layer, read_file
from mdnjax.config.load import COMMAND_LINE

SHARED_KEYS = {"output", "report", "runtime"}  # of a sweep and of a run
SWEEP_KEYS = {field.alias or name for name, field in Sweep.model_fields.items()}
RUN_KEYS = set(InverseSine.model_fields) - SWEEP_KEYS


class Bases:
    """Reads each base once.

    A path is relative to the folder of the file that names it, or else to the current folder; on the command line, where a shell
    completes paths, the current folder comes first.
    """

    def __init__(self, folder: Path, place: str):
        self.folder, self.place = folder, place
        self.layers: dict[Path, Layer] = {}

    def find(self, base: str | Path, place: str) -> Path:
        """Returns the path of a base that is named at this place."""
        folders = (Path(), self.folder) if place == COMMAND_LINE else (self.folder, Path())
        return next((path for folder in folders if (path := folder / base).exists()), Path(base))

    def __call__(self, base: Any, place: str | None) -> Layer:
        place = place or self.place
        if not isinstance(base, str | Path):
            raise ConfigError([f"{place}: base: got {base!r}, expected a path"])
        path = self.find(base, place)
        if path not in self.layers:
            layer = read_file(path)
            if layer.faults and not layer.places:  # the file cannot be read: the fault gets the place that names it
                beside = "" if path.exists() or path.is_absolute() else f" in {self.folder} and in the current folder"
                layer = layer._replace(faults=[f"{place}: base: {fault}{beside}" for fault in layer.faults])
            if wrong := (SWEEP_KEYS - SHARED_KEYS) & layer.tree.keys():
                layer.faults.append(f"{place}: base: {base} is a sweep itself (it has {min(wrong)!r})")
            tree = {key: value for key, value in layer.tree.items() if key not in SWEEP_KEYS}
            self.layers[path] = layer._replace(tree=tree)
        return self.layers[path]


def split_layer(layer: Layer) -> tuple[Layer, Layer]:
    """Returns the keys of the sweep, with unknown keys and all faults, and the keys of a run, which hold for every member."""
    run = {key: value for key, value in layer.tree.items() if key in RUN_KEYS}
    sweep, places = {key: value for key, value in layer.tree.items() if key not in RUN_KEYS}, dict(layer.places)
    for block in ("grid", "zip"):
        if isinstance(sweep.get(block), dict):
            sweep[block] = _dotted(sweep[block], (block,), (block,), places)
    return Layer(sweep, places, layer.faults), Layer(run, layer.places, [])


def _dotted(tree: dict[str, Any], path: tuple, above: tuple, places: dict) -> dict[str, Any]:
    """Turns `grid: {model: {num_components: [..]}}`, which the command line gives, into `grid: {model.num_components: [..]}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = (above[0], ".".join([*above[1:], key]))
        if (*path, key) in places:
            places.setdefault(name, places[(*path, key)])
        flat |= _dotted(value, (*path, key), name, places) if isinstance(value, dict) and value else {name[1]: value}
    return flat
