"""Compiling: cheaply for programs that run once, and beside other work, since compiler and training each keep one core busy."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

# Without LLVM's optimisation, and without XLA's newer emitters of fused loops, a program compiles in a third of the time.
UNKNOWN_OPTION = "No such compile option"
QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


class JitOnce:
    """`jax.jit` for a program that runs once or a few times: on a CPU it compiles quickly and runs more slowly.

    It cannot be called inside of another compiled function.
    """

    def __init__(self, function: Callable[..., Any], static_argnums: Sequence[int] = ()) -> None:
        self._fast = jax.jit(function, static_argnums=static_argnums)
        self._quick = jax.jit(function, static_argnums=static_argnums, compiler_options=QUICK)

    def __call__(self, *arguments: Any) -> Any:
        """The function's result."""
        return self._by(lambda jitted: jitted(*arguments))

    def compile(self, *arguments: Any) -> None:
        """Compiles what a call with such arguments runs."""
        self._by(lambda jitted: jitted.lower(*arguments).compile())

    def shapes(self, *arguments: Any) -> Any:
        """Shapes and dtypes of the result."""
        return self._fast.eval_shape(*arguments)

    def num_programs(self) -> int:
        """How many programs were compiled."""
        return sum(jitted._cache_size() for jitted in (self._fast, self._quick))  # pyright: ignore[reportAttributeAccessIssue]

    def _by(self, use: Callable[[Any], Any]) -> Any:
        if jax.default_backend() != "cpu":
            return use(self._fast)
        try:
            return use(self._quick)
        except jax.errors.JaxRuntimeError as error:
            if UNKNOWN_OPTION not in str(error):
                raise
            return use(self._fast)  # another version of the compiler may not know these options


@contextlib.contextmanager
def in_background(work: Callable[[], object]) -> Iterator[None]:
    """Does some work in a thread beside the block, for the programs that jax keeps of it; its result and errors are forgotten.

    The same work follows in earnest, and raises its errors then.
    """
    x64 = jax.config.read("jax_enable_x64")  # in this thread; another one would start with the process's own

    def do() -> None:
        with contextlib.suppress(Exception), jax.enable_x64(x64):
            work()

    thread = threading.Thread(target=do, name="beside")
    thread.start()
    try:
        yield
    finally:
        thread.join()
