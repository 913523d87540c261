"""What the commands show on a terminal: their help, and tables in its width."""

import io
import sys
import warnings

import pytest

import experiments
from experiments.__main__ import commands
from experiments.report import print_table
from experiments.sentences import say, say_warnings
from tests.commands import ROOT, run


@pytest.mark.parametrize("name", dict(commands()))
def test_the_help_of_every_command_only_prints(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    notebook = ROOT / "experiments" / "inverse_sine_story.ipynb"
    before = notebook.stat().st_mtime_ns
    done = run(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: python -m experiments.{name} ")
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith("usage"))
    assert notebook.stat().st_mtime_ns == before


def test_a_table_wider_than_the_terminal_is_printed_in_parts_that_repeat_the_names_of_the_rows(monkeypatch, capsys):
    header = ["", *(f"score {j}" for j in range(15))]
    table = [header, *([name, *(f"{i}.{j:03d}" for j in range(15))] for i, name in enumerate(["training", "test"]))]
    for width, num_parts in ((80, 3), (200, 1)):
        monkeypatch.setenv("COLUMNS", str(width))
        print_table("A title", table)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= width
        assert (sum(line.rstrip() == "A title" for line in lines), sum(line.startswith(" training") for line in lines)) == (
            1,
            num_parts,
        )
        printed = " ".join(lines).split()
        assert all(printed.count(cell) == 1 for row in table[1:] for cell in row[1:])


def test_the_parts_of_a_table_repeat_no_more_names_than_fit(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    names = ["first name", "second name", "third name"]
    print_table(None, [[*names, "x", "y"], ["a" * 10, "b" * 11, "c" * 10, "1.0", "2.0"]], left=names)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    assert " ".join(lines).split().count("b" * 11) == 1


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["python", "-X", "dev", "-m", "experiments.tabular", "data.path=a.csv"], "tabular: loading libraries"),
        (["python", "-m", "experiments"], ""),
        (["python", "-m", "pytest"], ""),
    ],
)
def test_a_terminal_shows_at_once_that_a_command_loads_its_libraries(words, shown, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "orig_argv", words)
    for stream, text in ((Terminal(), shown), (io.StringIO(), "")):
        monkeypatch.setattr(sys, "stderr", stream)
        experiments.begin_loading()
        assert stream.getvalue().rstrip("\r") == text
        experiments.end_loading()
        experiments.end_loading()
        assert stream.getvalue().removeprefix(f"{text}\r") == (experiments.CLEAR if text else "")


def test_sentences_and_warnings_are_wrapped_at_spaces_on_a_terminal_and_stay_whole_in_a_pipe(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    path = "results/" + 50 * "a"
    sentence = f"note: a file-name is {path}, and this sentence is longer than the line of the terminal"
    terminal, pipe = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        say_warnings()
        say(sentence, "", "the end", to=terminal)
        warnings.warn("40 of 100 simulations failed, such as simulation 7", stacklevel=2)
    say(sentence, to=pipe)
    assert terminal.getvalue().startswith(experiments.CLEAR)  # a line of progress may be there
    lines = terminal.getvalue().replace(experiments.CLEAR, "").splitlines()
    assert pipe.getvalue() == sentence + "\n"
    assert " ".join(lines[:-4]) == sentence
    assert lines[-4:] == ["", "the end", "warning: 40 of 100 simulations failed,", "such as simulation 7"]
    assert all(len(line) <= 40 or line == f"{path}," for line in lines)
