"""Every test runs with 64-bit floats allowed, on two devices, and with the library's shapes and types checked at every call.

Compiling is most of what the tests do, and their programs are small, so that they are compiled to be right and not to be fast,
and all workers and all commands keep them in one folder for as long as the tests run.
"""

import gc
import os
import shutil
import tempfile

# Without XLA's newer emitters of fused loops, and without LLVM's optimisation, a program compiles in a third of the time.
# `tests.commands.run` takes XLA_FLAGS="" where a test needs the programs that users get.
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
FOLDER = "MDNJAX_TESTS_FOLDER"
if FOLDER not in os.environ:  # the first process; its workers and their commands inherit what it sets here
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="mdnjax-tests-")
    os.environ["XDG_CACHE_HOME"] = os.environ[FOLDER]
    os.environ.setdefault("XLA_FLAGS", QUICK)

import jax  # noqa: E402
import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_compilation_cache_dir", os.path.join(os.environ["XDG_CACHE_HOME"], "mdnjax"))  # that of the commands
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
from experiments import locks  # noqa: E402

hook = install_import_hook("mdnjax", "beartype.beartype")
gc.set_threshold(100_000, 50, 1000)  # what was traced stays, and looking through all of it again and again takes seconds

# Files that take longest come first, so that no worker is left with one of them at the end.
LONGEST_FIRST = (
    *("test_sweep", "test_nan", "test_density", "test_readme", "test_inverse_sine", "test_estimator", "test_tabular"),
    *(
        "test_training_functions",
        "test_benchmark",
        "test_projectile",
        "test_components",
        "test_story",
        "test_posterior",
        "test_statistics",
    ),
    *("test_uci", "test_pen_strokes", "test_population", "test_sweep_trouble", "test_initialise", "test_compilation"),
    *("test_proof", "test_mixture", "test_predictor", "test_trajectories", "test_fitting"),
)


def pytest_collection_modifyitems(items):
    """Orders the files; within a file the order stays."""
    rank = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(autouse=True)
def folders_given_back():
    """A test that claims a folder, and is no command, holds it no longer than it runs."""
    with locks.released():
        yield


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ[FOLDER], ignore_errors=True)
