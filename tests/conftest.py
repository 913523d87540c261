"""Every test runs with 64-bit floats allowed, and with the library's shapes and types checked at every call."""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
hook = install_import_hook("mdnjax", "beartype.beartype")
