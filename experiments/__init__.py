"""The commands of the project: each is run as `python -m experiments.NAME` from the checkout."""

import os
import signal
import sys


def _interrupted(*_: object) -> None:
    os.write(2, b"error: interrupted\n")
    os._exit(130)


# Importing a command's libraries takes a second, before any code of the command can catch an interrupt. With `python -m`,
# sys.argv[0] is "-m" while this package is imported; `command.one_line_errors` later installs Python's usual handler.
if sys.argv[:1] == ["-m"]:
    signal.signal(signal.SIGINT, _interrupted)
