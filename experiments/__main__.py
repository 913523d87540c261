"""Lists the commands: `python -m experiments`."""

from __future__ import annotations

import ast
import shutil
import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from experiments.sentences import say

FOLDER = Path(__file__).resolve().parent
GUARD = '__name__ == "__main__"'


def commands() -> Iterator[tuple[str, str]]:
    """Yields the name of each command, and the first sentence of its module; nothing is imported, which would take seconds."""
    paths = [path for path in (*FOLDER.glob("*.py"), *FOLDER.glob("*/__main__.py")) if path != Path(__file__).resolve()]
    for path in sorted(paths, key=_name):
        text = path.read_text()
        if GUARD in text:
            yield _name(path), (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]


def _name(path: Path) -> str:
    return path.parent.name if path.name == "__main__.py" else path.stem


def main(words: list[str]) -> int:
    """Prints the list; returns the exit status, 2 for a word, since the commands are modules of their own."""
    listed = dict(commands())
    if unknown := [word for word in words if word not in ("-h", "--help")]:
        command = f"python -m experiments.{unknown[0]}" if unknown[0] in listed else "python -m experiments.COMMAND"
        say(f"error: got {unknown[0]!r}, expected no argument; a command is run as {command}", to=sys.stderr)
        return 2
    say("usage: python -m experiments.COMMAND [arguments]; COMMAND --help describes its arguments", "")
    for name, sentence in listed.items():
        print(
            textwrap.fill(
                sentence, shutil.get_terminal_size().columns, initial_indent=f"  {name:<13} ", subsequent_indent=" " * 16
            )
        )
    return 0


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):  # not on Windows
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # so that `python -m experiments | head` ends without a traceback
    sys.exit(main(sys.argv[1:]))
