"""What a page is made of: sections of paragraphs, lists, tables, plots, pictures and an explorer."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple


class Paragraph(NamedTuple):
    """A paragraph of plain text."""

    text: str
    kind: str = "paragraph"


class Bullets(NamedTuple):
    """A list of sentences."""

    texts: Sequence[str]
    kind: str = "bullets"


class Grid(NamedTuple):
    """A table of texts: its caption, the header, and the rows; the first `num_names` columns are texts, the others numbers."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_names: int = 1
    kind: str = "grid"


class Plot(NamedTuple):
    """A plot of bokeh with a title, a sentence about what it shows, and the same numbers as a table, if they are few."""

    title: str
    description: str
    model: Any
    numbers: Grid | None = None
    kind: str = "plot"


class Picture(NamedTuple):
    """A PNG image, with a sentence about what it shows."""

    title: str
    description: str
    png: bytes
    kind: str = "picture"

    @property
    def address(self) -> str:
        """The image as an address that holds its content."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


class Explorer(NamedTuple):
    """Controls and a plot of the predicted density; `data` are texts and numbers for the script of the page.

    `inputs` are the names of the inputs, and `targets` those of the targets.
    """

    inputs: Sequence[str]
    targets: Sequence[str]
    model: Any
    data: dict[str, Any]
    kind: str = "explorer"


class Parallel(NamedTuple):
    """Parallel coordinates of settings, of which one can be chosen; `data` are texts and heights for the script of the page."""

    names: Sequence[str]
    labels: Sequence[str]
    model: Any
    data: dict[str, Any]
    kind: str = "parallel"


Block = Paragraph | Bullets | Grid | Plot | Picture | Explorer | Parallel


class Section(NamedTuple):
    """A heading with blocks below it; a section without blocks is left out of the page."""

    title: str
    blocks: Sequence[Block]
