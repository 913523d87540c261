"""Every test runs with 64-bit floats allowed, on two devices, and with the library's shapes and types checked at every call."""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
hook = install_import_hook("mdnjax", "beartype.beartype")
