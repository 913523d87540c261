"""The page about a run whose command has no plots of its own on it: settings, tables, notes and the figures as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from experiments.page.blocks import Bullets, Grid, Paragraph, Section
from experiments.page.pictures import pictures_of
from experiments.page.settings import settings_that_differ
from mdnjax.config import load
from mdnjax.config.section import Section as ConfigSection

Table = tuple[str, Sequence[Sequence[str]]]  # a caption, and the rows with the header first


def plain_sections(
    question: str,
    config: ConfigSection,
    default: Path | None,
    tables: Sequence[Table],
    notes: Sequence[str],
    folder: Path,
    pictures: Mapping[str, str],
) -> Iterator[Section]:
    """Yields the sections.

    Args: `default` is the configuration of the bare command, and `pictures` are sentences about the figures by the names of
    their files.
    """
    yield Section("Question", [Paragraph(question)])
    yield Section("Settings", settings_that_differ(config, load(type(config), default)))
    yield Section("Scores", [Grid(caption, header, rows) for caption, (header, *rows) in tables])
    yield Section("Where not to trust it", [Bullets(notes)] if notes else [])
    yield Section("Pictures", pictures_of(folder, pictures))
