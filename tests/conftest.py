"""All tests run with 64-bit floats, on two devices, and with the library's shapes and types checked at every call.

Most time of the tests is compilation of small programs. They are compiled without optimisation, and all workers and commands
share one compilation cache, which is deleted at the end.
"""

import gc
import os
import shutil
import tempfile

# Without LLVM's optimisation and XLA's fusion emitters, a program compiles in a third of the time.
# A test that needs the programs of users passes XLA_FLAGS="" to `tests.commands.run`.
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
FOLDER = "MDNJAX_TESTS_FOLDER"
if FOLDER not in os.environ:  # the first process; its workers and their commands inherit what it sets here
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="mdnjax-tests-")
    os.environ["XDG_CACHE_HOME"] = os.environ[FOLDER]
    os.environ.setdefault("XLA_FLAGS", QUICK)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads of scikit-learn that wait would take the cores from the workers
    os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")  # where each operation was traced is not recorded
    os.environ.setdefault("JAX_TRACEBACK_FILTERING", "off")

import jax  # noqa: E402
import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_compilation_cache_dir", os.path.join(os.environ["XDG_CACHE_HOME"], "mdnjax"))  # the commands use it too
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)  # it takes as long to store and read smaller programs
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
from experiments import locks  # noqa: E402
from tests import types_at_calls  # noqa: E402, F401

hook = install_import_hook("mdnjax", "tests.types_at_calls.checker")
gc.set_threshold(100_000, 50, 1000)  # traced functions stay in memory, and collecting garbage among them often takes seconds

# The slowest files come first, so that no worker is still busy with one of them at the end.
LONGEST_FIRST = """
readme likelihood guarantees estimator sweep tabular benchmark far_targets projectile inverse_sine density gradients components
statistics posterior censoring far_from_zero cells recalibration nan uci story pen_strokes atoms moments fitting modes
proof training_functions population fit_with_atoms trajectories hard_data boxes doors units conditions mixture predictor
initialise posterior_files tempering weights compare sweep_trouble steps runtime sequences export
"""


def pytest_collection_modifyitems(items):
    """Sorts the test files; the order within a file does not change."""
    rank = {f"test_{name}": number for number, name in enumerate(LONGEST_FIRST.split())}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


def pytest_collection_finish():
    """Takes what is in memory before the first test, half a million objects, out of the garbage collector's search."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def folders_unlocked():
    """Unlocks, after each test, the folders that it locked without running a command."""
    with locks.released():
        yield


@pytest.fixture
def floats_of_users():
    """Floats have 32 bits, as for users; the commands share these programs."""
    jax.config.update("jax_enable_x64", False)  # not by a context, because commands restore what is configured
    yield
    jax.config.update("jax_enable_x64", True)


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ[FOLDER], ignore_errors=True)
