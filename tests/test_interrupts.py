"""An interrupt ends a command soon, whatever it does; what a killed one leaves behind is removed by the next."""

import os
import signal
import time

import numpy as np
import pytest

from experiments import interrupts, locks
from experiments.predict.writing import table_writer
from tests.commands import run_program

STUCK = """
import hashlib, os, signal, threading
from experiments.command import one_line_errors
with one_line_errors():
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9)  # minutes of compiled code
"""
DEAD = 2**22 + 1  # above the largest number of a process


def test_an_interrupt_ends_compiled_code(tmp_path):
    start = time.monotonic()
    done = run_program(STUCK, tmp_path)
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")
    assert time.monotonic() - start < 60


def test_an_interrupt_between_lines_of_python_is_an_exception_and_nothing_stays():
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt), interrupts.ending():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize("name", ["p.csv", "p[1].parquet"])
def test_temporary_files_of_killed_commands_are_removed_and_others_stay(name, tmp_path):
    left, alive, other, words = (tmp_path / f".{end}" for end in (f"{name}.{DEAD}", f"{name}.1", f"q.csv.{DEAD}", f"{name}.old"))
    for file in (left, alive, other, words):
        file.write_text("x")
    with table_writer(tmp_path / name, overwrite=False) as write:
        write({"a": np.array([1.0, 2.0])})
        assert (tmp_path / f".{name}.{os.getpid()}").exists()
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / name, alive, other, words])


def test_a_locked_temporary_file_stays_whatever_its_process(tmp_path):
    with locks.temporary_file(tmp_path / "t"):
        locks.remove_abandoned(tmp_path / "t", DEAD)
        assert (tmp_path / "t").exists()
    assert not (tmp_path / "t").exists()
