"""Writes `report.html`: a page that holds its styles, its scripts and its numbers."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from experiments.page.blocks import Explorer, Parallel, Plot, Section
from experiments.progress import Clock
from experiments.sentences import say
from mdnjax.checkpoint import write_bytes

PAGE_FILE = "report.html"
SCRIPTED = ("explorer", "parallel")  # blocks of which a page has one, with a script
SCRIPTS = ("page.js", "explorer.js", "parallel.js")
HERE = Path(__file__).resolve().parent
INSTALL = "pip install bokeh"


def write_page(folder: Path, clock: Clock, title: str, sections: Callable[[], Iterable[Section]], *, wanted: bool) -> None:
    """Writes the page of a run into its folder, if it is wanted and the plotting library is installed.

    Args: `sections` makes the sections, and imports the plotting library, which takes about half a second.
    """
    if not wanted:
        return
    if importlib.util.find_spec("bokeh") is None:
        say(f"note: {PAGE_FILE} was not written, since bokeh is not installed: {INSTALL}")
        return
    with clock.phase("page"):
        write_bytes(folder / PAGE_FILE, render(title, [*sections()]).encode())


def render(title: str, sections: Sequence[Section]) -> str:
    """Returns the page as HTML; sections without blocks are left out, and all texts are escaped."""
    from bokeh.embed import json_item
    from bokeh.resources import Resources

    shown = [section for section in sections if section.blocks]
    models = [block.model for section in shown for block in section.blocks if isinstance(block, Plot | Explorer | Parallel)]
    items = [json_item(model, f"plot-{i}") for i, model in enumerate(models)]  # pyright: ignore[reportArgumentType]
    of_kind = {block.kind: block.data for section in shown for block in section.blocks if isinstance(block, Explorer | Parallel)}
    return _template().render(
        title=title,
        sections=shown,
        style=(HERE / "page.css").read_text(),
        script="\n".join((HERE / name).read_text() for name in SCRIPTS),
        library="\n".join(Resources(mode="inline", components=["bokeh"], log_level="error").js_raw) if items else "",
        data=_as_json({"items": items, **{kind: of_kind.get(kind) for kind in SCRIPTED}}),
    )


@cache
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html")


def _as_json(tree: Any) -> str:
    """Returns JSON that may stand inside of a script: no text in it can end the script or begin a comment."""
    return json.dumps(tree, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
