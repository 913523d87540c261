"""What every command shares: its words become a configuration, its mistakes one line, its outcome an exit status."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax

from experiments import locks
from mdnjax import runtime
from mdnjax.config import ConfigError, keys, load
from mdnjax.config.schema import Runtime
from mdnjax.config.section import Section

S = TypeVar("S", bound=Section)
OVERWRITE = {"overwrite": "replace another configuration's results in the output folder"}
CONFIGS = Path(__file__).resolve().parent.parent / "configs"


class UserError(Exception):
    """Something that the user can mend; its text is one line."""


def settle(section: Runtime, all_cores: bool = False, processes: runtime.Processes | None = None) -> None:
    """Settles how the machine is used, first of all; with all cores, each is a device of its own.

    Raises: UserError if there is no device to run on, or processes do not find together.
    """
    try:
        runtime.setup(**dict(section), all_cores=all_cores, processes=processes)
    except runtime.ProcessesError as error:
        raise UserError(f"distributed: the processes did not find together: {error}") from None
    except (RuntimeError, AssertionError) as error:  # jax asserts, without a word, where a wanted platform is not there
        wanted = os.environ.get("JAX_PLATFORMS", "any")
        raise UserError(f"no device to run on: got JAX_PLATFORMS {wanted!r}; {error}".rstrip("; ")) from None


class RunFailed(Exception):
    """A run that ended badly through no mistake of form; its text is one line."""


def main(
    module: str,
    purpose: str,
    schema: type[S],
    default: Path | None,
    run: Callable[..., None],
    words: Sequence[str] | None = None,
    *,
    read: Callable[[Path | None, Sequence[str]], Any] | None = None,
    flags: Mapping[str, str] = {},
    files: Sequence[str] = (),
) -> NoReturn:
    """Runs a command and exits: 0 done, 1 the run failed, 2 the user's mistake, 130 interrupted.

    Args: `run(config, overwrite=..., flag=...)` gets what `read(path, words)` makes of the command line, by default `load`.
    `files` are keys whose values stand first and without their names; there is no configuration file then.
    """
    with one_line_errors():
        parser = _parser(module, purpose, schema, default, {**OVERWRITE, **flags}, files)
        arguments = vars(parser.parse_intermixed_args(words))
        path, overrides = _path_and_overrides(schema, _named(files, arguments.pop("words")), default)
        with runtime.one_cache_warning(), locks.released():
            run(read(path, overrides) if read else load(schema, path, overrides), **arguments)
    sys.exit(0)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns the mistakes that a user can make into one `error:` line on stderr and an exit status."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except (ConfigError, UserError) as error:
        _exit(f"error: {error}", 2)
    except RunFailed as error:
        _exit(f"error: {error}", 1)
    except OSError as error:
        _exit(f"error: {error.filename or 'output'}: {error.strerror or error}", 2)
    except MemoryError as error:
        _exit(f"error: not enough memory: {error}", 2)
    except jax.errors.JaxRuntimeError as error:
        _exit(f"error: {error}"[:300], 1)  # a device that runs out of memory, say
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr, flush=True)
        os._exit(130)  # jax's threads may be at work, and an orderly end would pull the ground from under them


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def _parser(
    module: str, purpose: str, schema: type[Section], default: Path | None, flags: Mapping[str, str], files: Sequence[str]
) -> argparse.ArgumentParser:
    shown_files = [file.upper() for file in files] or ["[CONFIG.yaml]"]
    parser = _Parser(
        prog=f"python -m {module}",
        usage=" ".join(["%(prog)s [-h]", *(f"[--{flag}]" for flag in flags), *shown_files, "[key=value ...]"]),
        description=purpose,
        epilog=_key_table(schema),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    shown = default.relative_to(CONFIGS.parent) if default else "none"
    words = "files, and values of keys" if files else f"a configuration (default: {shown}), and values that win over it"
    parser.add_argument(
        "words", nargs="*", metavar=f"{' '.join(shown_files)} key=value".replace("[CONFIG.yaml] ", "CONFIG.yaml | "), help=words
    )
    for flag, meaning in flags.items():
        parser.add_argument(f"--{flag}", action="store_true", help=meaning)
    return parser


def _named(files: Sequence[str], words: Sequence[str]) -> list[str]:
    """The first words by the keys that they are values of. A file of any name is text, whatever YAML would make of it."""
    if not files:
        return list(words)
    values = [word for word in words if "=" not in word or Path(word).exists()][: len(files)]
    if len(values) < len(files):
        missing = files[len(values)]
        raise UserError(f"got no {missing.upper()}, expected {' '.join(file.upper() for file in files)} [key=value ...]")
    return [
        *(f"{file}={json.dumps(value)}" for file, value in zip(files, values, strict=True)),
        *(w for w in words if w not in values),
    ]


def _path_and_overrides(schema: type[Section], words: Sequence[str], default: Path | None) -> tuple[Path | None, list[str]]:
    paths = [word for word in words if "=" not in word]
    for word in paths:
        if not word or (not Path(word).exists() and word in {key.name for key in keys(schema)}):
            raise UserError(f"got {word!r}, expected {word or 'key'}=VALUE")
    if len(paths) > 1:
        raise UserError(f"got {len(paths)} configuration files ({', '.join(paths)}), expected one; values are given as key=value")
    return Path(paths[0]) if paths else default, [word for word in words if "=" in word]


def _key_table(schema: type[Section]) -> str:
    lines = ["keys (type, default of the schema, meaning):"]
    for key in keys(schema):
        lines += [f"  {key.name}", f"      {key.type} [{key.default}]: {key.meaning}"]
    return "\n".join(lines)


def _exit(message: str, status: int) -> NoReturn:
    print(" ".join(message.split()), file=sys.stderr)
    sys.exit(status)
