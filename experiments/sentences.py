"""Sentences that commands print: a terminal gets them wrapped at spaces, and a file or a pipe gets one line for each."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import warnings
from typing import TextIO

from experiments import CLEAR


def say(*sentences: str, to: TextIO | None = None) -> None:
    """Prints each sentence on stdout, or on the stream `to`."""
    stream = to or sys.stdout
    clear_progress(stream)
    for sentence in sentences:
        print(*(_wrapped(sentence) if stream.isatty() else [sentence]), sep="\n", file=stream, flush=True)


def clear_progress(stream: TextIO) -> None:
    """Removes the line of progress from a terminal on which something else is printed."""
    if stream.isatty() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        print(CLEAR, end="", file=sys.stderr, flush=True)


def say_warnings() -> None:
    """From now on, a UserWarning is one `warning:` sentence on stderr, without the line of code that gave it."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
        if category is UserWarning:
            say(f"warning: {message}", to=sys.stderr)
        else:
            usual(message, category, *place, **more)  # pyright: ignore[reportArgumentType]

    warnings.showwarning = show


def _wrapped(sentence: str) -> list[str]:
    """Returns the lines of a sentence; a word that is longer than a line, such as a path, stays whole."""
    width = shutil.get_terminal_size().columns
    return textwrap.wrap(sentence, width, break_long_words=False, break_on_hyphens=False) or [""]
