"""Figures of a run folder as pictures of a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from experiments.page.blocks import Block, Picture

MAX_BYTES = 1_400_000  # of all pictures, so that a page is smaller than 3 MB


def pictures_of(folder: Path, descriptions: Mapping[str, str]) -> list[Block]:
    """Returns the figures that exist, with a sentence about each by the name of its file, as long as all are small enough."""
    pictures, num_bytes = list[Block](), 0
    for name, description in descriptions.items():
        path = folder / "figures" / f"{name}.png"
        if path.exists() and num_bytes + path.stat().st_size * 4 / 3 <= MAX_BYTES:
            pictures.append(Picture(name.replace("_", " ").capitalize(), description, path.read_bytes()))
            num_bytes += path.stat().st_size * 4 // 3
    return pictures
