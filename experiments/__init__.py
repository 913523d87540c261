"""Commands of the study: each is run as `python -m experiments.NAME` from the checkout."""

import os
import signal
import sys


def _interrupted(*_: object) -> None:
    os.write(2, b"error: interrupted\n")
    os._exit(130)


# While a command's libraries are being imported, which takes a second, nobody is there yet to catch an interrupt.
# Python says "-m" in the place of the program's name just that long; `command.one_line_errors` takes over from here.
if sys.argv[:1] == ["-m"]:
    signal.signal(signal.SIGINT, _interrupted)
