"""The cache of compiled programs: it is off by default, and its errors never stop a run."""

import os
import subprocess
import sys
import warnings

import jax
import pytest

import mdnjax as mdn
from mdnjax import runtime
from tests.commands import ROOT

PROGRAMS = """
import resource, sys, warnings
import jax
import mdnjax as mdn
from mdnjax.runtime import one_cache_warning
assert jax.config.jax_compilation_cache_dir is None
folder, trouble = sys.argv[1:]
limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
limit() if trouble == "full before" else None
with warnings.catch_warnings(record=True) as caught, one_cache_warning():
    mdn.use_compile_cache(folder)
    limit() if trouble == "full later" else None
    print([float(jax.jit(lambda x, i=i: x + i)(1.0)) for i in range(3)])
    warnings.warn("another warning")
print(*(warning.message for warning in caught), sep="\\n")
"""


def cache_dir():
    return jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]


def run_programs(folder, trouble=""):
    """Runs three programs, checks their results and returns the warnings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    words = [sys.executable, "-c", PROGRAMS, str(folder), trouble]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    numbers, *warnings = done.stdout.splitlines()
    assert numbers == "[1.0, 2.0, 3.0]"
    return warnings


def test_programs_are_stored_and_damaged_ones_are_one_warning(tmp_path):
    folder = tmp_path / "deep" / "cache"
    assert run_programs(folder) == ["another warning"]
    stored = [path for path in folder.iterdir() if path.name.endswith("-cache")]
    assert len(stored) >= 3
    for path in stored:
        path.write_bytes(path.read_bytes()[:-20] + b"x" * 20)
    other, trouble = run_programs(folder)
    assert other == "another warning"
    assert trouble.startswith(f"compiled programs cannot be stored in {folder} (")


@pytest.mark.parametrize("trouble", ["full before", "full later"])
def test_a_full_disk_is_one_warning(tmp_path, trouble):
    texts = run_programs(tmp_path, trouble)
    assert sorted(text.split(" (")[0] for text in texts) == [
        "another warning",
        f"compiled programs cannot be stored in {tmp_path}",
    ]
    assert any("File too large" in text for text in texts)


def test_a_folder_that_cannot_be_written_is_one_warning(tmp_path):
    (tmp_path / "file").write_text("")
    before = cache_dir()
    with pytest.warns(UserWarning, match="cannot be stored in .*file/below .Not a directory.: they are compiled again"):
        mdn.use_compile_cache(tmp_path / "file" / "below")
    assert cache_dir() == before


def test_the_environment_variable_takes_precedence(monkeypatch):
    before = cache_dir()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    mdn.use_compile_cache("here")
    assert cache_dir() == before


def test_the_warning_is_given_when_the_block_fails_too():
    def fail():
        with runtime.one_cache_warning():
            warnings.warn("another warning", stacklevel=1)
            raise KeyError

    with pytest.warns(UserWarning, match="another warning"), pytest.raises(KeyError):
        fail()
