"""The settings of a run that differ from those of the bare command."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from experiments.page.blocks import Block, Grid, Paragraph
from experiments.run_folder import KEYS_WITHOUT_EFFECT, flat
from mdnjax.config import keys
from mdnjax.config.section import Section

MAX_LENGTH = 200  # of a value


def settings_that_differ(config: Section, defaults: Section, leave_out: Collection[str] = ()) -> list[Block]:
    """Returns a table of the keys whose values differ from the defaults, with their meanings; without the keys of the machine."""
    ours, theirs = (flat(section.model_dump(mode="json", by_alias=True)) for section in (config, defaults))
    meanings = {key.name: key.meaning for key in keys(type(config))}
    changed = [
        [key, _text(value), _text(theirs.get(key)), meanings.get(key, "")]
        for key, value in ours.items()
        if value != theirs.get(key) and key.partition(".")[0] not in KEYS_WITHOUT_EFFECT and key not in leave_out
    ]
    if not changed:
        return [Paragraph("All settings are those of the bare command.")]
    return [Grid("Settings that differ from those of the bare command", ["key", "value", "default", "meaning"], changed, 4)]


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}…"
