"""Interrupts (Ctrl-C): one ends a command also while compiled code runs, which Python cannot leave."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

STATUS = 130  # by convention, of a command that was interrupted
SECONDS_IN_COMPILED_CODE = 1.0


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Raises a KeyboardInterrupt in the block after an interrupt; if no line of Python runs for a second, it ends the process.

    The system tells a second thread of a signal at once, while the main thread handles it between two lines of Python.
    """
    handled, (receiver, sender) = threading.Event(), socket.socketpair()
    sender.setblocking(False)

    def interrupt(*_: Any) -> NoReturn:
        handled.set()
        raise KeyboardInterrupt

    def watch() -> None:
        while received := receiver.recv(1):
            if received[0] == signal.SIGINT and not handled.wait(SECONDS_IN_COMPILED_CODE):
                end()

    signal.signal(signal.SIGINT, interrupt)
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=watch, name="interrupts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        sender.close()  # ends the thread
        thread.join()
        receiver.close()


def end() -> NoReturn:
    """Ends the process at once; an orderly exit could crash, since threads of jax may still be running."""
    print("error: interrupted", file=sys.stderr, flush=True)
    os._exit(STATUS)
