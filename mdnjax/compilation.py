"""Compiling: cheaply for programs that run once, and beside other work, since compiler and training each keep one core busy."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

# Without LLVM's optimisation, and without XLA's newer emitters of fused loops, a program compiles in a third of the time.
QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


def jit_once(function: Callable[..., Any], static_argnums: Sequence[int] = ()) -> Any:
    """`jax.jit` for a program that runs once or a few times: on a CPU it compiles quickly and runs more slowly.

    It cannot be called inside of another compiled function. `lower` compiles it ahead, as that of `jax.jit` does.
    """
    fast = jax.jit(function, static_argnums=static_argnums)
    quick = jax.jit(function, static_argnums=static_argnums, compiler_options=QUICK)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return chosen()(*arguments)

    def chosen() -> Any:
        return quick if _is_quick_known() else fast

    call.lower = lambda *arguments: chosen().lower(*arguments)  # pyright: ignore[reportFunctionMemberAccess]
    call.num_programs = lambda: fast._cache_size() + quick._cache_size()  # pyright: ignore
    return call


@functools.cache
def _is_quick_known() -> bool:
    """Whether this is a CPU whose compiler knows these options; another version of it may not."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda: 0, compiler_options=QUICK).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


@contextlib.contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
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
