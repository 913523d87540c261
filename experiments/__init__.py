"""The commands of the project: each is run as `python -m experiments.NAME` from the checkout."""

import os
import signal
import sys

CLEAR = "\r\x1b[2K"
_shown: list[str] = []  # the text that stands on the terminal


def begin_loading() -> None:
    """Shows on a terminal that the libraries of a command are being imported, until `end_loading` removes it."""
    _, _, after = " ".join(sys.orig_argv).partition("-m experiments.")
    if after and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        _shown.append(f"{after.split()[0]}: loading libraries")
        print(_shown[0], end="\r", file=sys.stderr, flush=True)  # the first line of a traceback would replace it


def end_loading() -> None:
    """Removes what `begin_loading` has shown."""
    if _shown:
        _shown.clear()
        print(CLEAR, end="", file=sys.stderr, flush=True)


def _interrupted(*_: object) -> None:
    os.write(2, (CLEAR if _shown else "").encode() + b"error: interrupted\n")
    os._exit(130)


# Importing a command's libraries takes a second or two, before any code of the command can catch an interrupt or show what runs.
# With `python -m`, sys.argv[0] is "-m" while this package is imported; `command.one_line_errors` later installs Python's usual
# handler and calls `end_loading`.
if sys.argv[:1] == ["-m"]:
    signal.signal(signal.SIGINT, _interrupted)
    begin_loading()
