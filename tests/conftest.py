"""Every test runs with 64-bit floats allowed, on two devices, and with the library's shapes and types checked at every call."""

import os
import shutil
import tempfile

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
hook = install_import_hook("mdnjax", "beartype.beartype")


def pytest_configure(config):
    """The commands of all workers keep their compiled programs in one folder, for as long as the tests run."""
    if not hasattr(config, "workerinput"):
        config.stash["cache"] = os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="mdnjax-tests-")


def pytest_unconfigure(config):
    if "cache" in config.stash:
        shutil.rmtree(config.stash["cache"])
