"""Quick compilation for programs that run only once, and compilation in the background, while other code runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

UNKNOWN_OPTION = "No such compile option"
# Without LLVM's optimisation, and without XLA's newer emitters of fused loops, a program compiles in a third of the time.
QUICK_COMPILE_OPTIONS = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


class JitOnce:
    """Replaces `jax.jit` for a program that runs once or a few times: on a CPU it compiles faster and runs more slowly.

    It cannot be called inside another compiled function. Args: a call whose arguments have more than `max_size` numbers runs the
    optimised program, since it would take longer than compiling does.
    """

    def __init__(self, function: Callable[..., Any], static_argnums: Sequence[int] = (), max_size: int | None = None) -> None:
        self._max_size = max_size
        self._optimised = jax.jit(function, static_argnums=static_argnums)
        self._unoptimised = jax.jit(function, static_argnums=static_argnums, compiler_options=QUICK_COMPILE_OPTIONS)

    def __call__(self, *arguments: Any) -> Any:
        """Returns the function's result."""
        if self._max_size is not None and sum(map(np.size, jax.tree.leaves(arguments))) > self._max_size:
            return self._optimised(*arguments)
        return self._with_fallback(lambda jitted: jitted(*arguments))

    def compile(self, *arguments: Any) -> None:
        """Compiles the program that a call with these arguments runs."""
        self._with_fallback(lambda jitted: jitted.lower(*arguments).compile())

    def shapes(self, *arguments: Any) -> Any:
        """Returns the shapes and dtypes of the result."""
        return self._optimised.eval_shape(*arguments)

    def num_programs(self) -> int:
        """Returns how many programs were compiled."""
        return sum(jitted._cache_size() for jitted in (self._optimised, self._unoptimised))  # pyright: ignore[reportAttributeAccessIssue]

    def _with_fallback(self, use: Callable[[Any], Any]) -> Any:
        if jax.default_backend() != "cpu":
            return use(self._optimised)
        try:
            return use(self._unoptimised)
        except jax.errors.JaxRuntimeError as error:
            if UNKNOWN_OPTION not in str(error):
                raise
            return use(self._optimised)  # another version of the compiler may not know these options


@contextlib.contextmanager
def in_background(
    work: Callable[[], object], waiting: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
) -> Iterator[None]:
    """Runs a function in a thread while the block runs, so that the programs it compiles are in jax's cache afterwards.

    Its result and its errors are discarded: the caller later does the same work itself, and gets the errors then. Args: at the
    end of the block, the function is awaited inside of `waiting()`, which can say so.
    """
    x64 = jax.config.read("jax_enable_x64")  # of this thread; a new thread starts with the default of the process

    def run() -> None:
        with contextlib.suppress(Exception), jax.enable_x64(x64):
            work()

    thread = threading.Thread(target=run, name="background")
    thread.start()
    try:
        yield
    finally:
        with waiting():
            thread.join()
