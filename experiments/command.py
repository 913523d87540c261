"""What all commands share: the command line becomes a configuration, an error one line, and the outcome an exit status."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax

from experiments import end_loading, interrupts, locks
from experiments.schemas import Runtime
from experiments.sentences import say, say_warnings
from mdnjax import runtime
from mdnjax.config import ConfigError, keys, load
from mdnjax.config.describe import Key
from mdnjax.config.section import Section
from mdnjax.progress import running

S = TypeVar("S", bound=Section)
OVERWRITE = {"overwrite": "replace the results of another configuration in the output folder"}
CONFIGS = Path(__file__).resolve().parent.parent / "configs"


class UserError(Exception):
    """A mistake that the user can correct; its text is one line."""


def import_extra(module: str, extra: str = "tabular") -> Any:
    """Imports a module that only an optional extra of the package installs.

    Raises: UserError if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        raise UserError(f"{name} is not installed; install it with pip install -e '.[{extra}]'") from None


def setup_runtime(section: Runtime, all_cores: bool = False) -> None:
    """Sets up jax for this machine, before anything else uses it; with `all_cores`, each CPU core is a device.

    Raises: UserError if there is no device to run on.
    """
    try:
        runtime.setup(**dict(section), all_cores=all_cores)
    except (RuntimeError, AssertionError) as error:  # for a missing platform, jax raises an AssertionError without a message
        platforms = os.environ.get("JAX_PLATFORMS", "any")
        raise UserError(f"no device to run on: got JAX_PLATFORMS {platforms!r}; {error}".rstrip("; ")) from None


class RunFailed(Exception):
    """A run that failed although its configuration is valid; its text is one line."""


def main(
    module: str,
    purpose: str,
    schema: type[S],
    default: Path | None,
    run: Callable[..., None],
    arguments: Sequence[str] | None = None,
    *,
    read: Callable[[Path | None, Sequence[str]], Any] | None = None,
    flags: Mapping[str, str] = {},
    files: Sequence[str] = (),
) -> NoReturn:
    """Runs a command and exits with status 0 (done), 1 (the run failed), 2 (the user's mistake) or 130 (interrupted).

    Args: `run(config, overwrite=..., flag=...)` gets the result of `read(path, overrides)`, by default the loaded configuration.
    `files` are keys whose values come first on the command line, without the key; such a command has no configuration file.
    """
    say_warnings()
    with one_line_errors():
        parser = _parser(module, purpose, schema, default, {**OVERWRITE, **flags}, files)
        options = vars(parser.parse_intermixed_args(arguments))
        path, overrides = _path_and_overrides(schema, _with_keys(files, options.pop("arguments")), default)
        with runtime.one_cache_warning(), locks.released(), running(f"{module.removeprefix('experiments.')}: working"):
            run(read(path, overrides) if read else load(schema, path, overrides), **options)
    sys.exit(0)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns an expected error inside the block into one `error:` line on stderr and an exit status."""
    end_loading()
    try:
        with interrupts.ending():
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
        _exit(f"error: {error}"[:300], 1)  # for example, the device has no memory left
    except KeyboardInterrupt:
        interrupts.end()


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
        description="\n".join(_paragraph(purpose)),
        epilog=_argument_table(schema, default, files),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    for flag, meaning in flags.items():
        parser.add_argument(f"--{flag}", action="store_true", help=meaning)
    return parser


def _with_keys(files: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with the keys `files` put before their values, which are quoted: YAML may read a name as a number."""
    if not files:
        return list(arguments)
    values = [argument for argument in arguments if "=" not in argument or Path(argument).exists()][: len(files)]
    expected = f"expected {' '.join(file.upper() for file in files)} [key=value ...]"
    if len(values) < len(files):
        raise UserError(f"got no {files[len(values)].upper()}, {expected}")
    if more := [argument for argument in arguments if "=" not in argument and argument not in values]:
        quote = "put a pattern of files in quotes, such as 'rows/*.parquet', so that the shell does not replace it by their names"
        raise UserError(f"got {more[0]!r} after {values[-1]!r}, {expected}; {quote}")
    return [
        *(f"{file}={json.dumps(value)}" for file, value in zip(files, values, strict=True)),
        *(argument for argument in arguments if argument not in values),
    ]


def _path_and_overrides(schema: type[Section], arguments: Sequence[str], default: Path | None) -> tuple[Path | None, list[str]]:
    paths = [argument for argument in arguments if "=" not in argument]
    for path in paths:
        if not path or (not Path(path).exists() and path in {key.name for key in keys(schema)}):
            raise UserError(f"got {path!r}, expected {path or 'key'}=VALUE")
    if len(paths) > 1:
        raise UserError(f"got {len(paths)} configuration files ({', '.join(paths)}), expected one; give values as key=value")
    return Path(paths[0]) if paths else default, [argument for argument in arguments if "=" in argument]


def _argument_table(schema: type[Section], default: Path | None, files: Sequence[str]) -> str:
    """Returns the arguments and keys with their meanings, in the width of the terminal."""
    known = list(keys(schema, values=load(schema, default)))
    shown = default.relative_to(CONFIGS.parent) if default else "none"
    entries = [(key.name.upper(), key.meaning) for key in known if key.name in files]
    entries += [] if files else [("CONFIG.yaml", f"[{shown}]: a file with values of keys")]
    entries += [("key=value", "the value of a key" if files else "the value of a key; it takes precedence over that of a file")]
    heading = "keys, each with its type, the [value] that the command uses without arguments, and its meaning:"
    of_keys = [(key.name, _key_text(key)) for key in known if key.name not in files]
    return "\n".join([*_paragraph("arguments:"), *_listed(entries), "", *_paragraph(heading), *_listed(of_keys)])


def _key_text(key: Key) -> str:
    return f"{key.type} {key.default if key.default.startswith('[') else f'[{key.default}]'}: {key.meaning}"


def _listed(entries: Sequence[tuple[str, str]]) -> Iterator[str]:
    for name, text in entries:
        yield f"  {name}"
        yield from _paragraph(text, "      ")


def _paragraph(text: str, indent: str = "") -> list[str]:
    width = shutil.get_terminal_size().columns
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False)


def _exit(message: str, status: int) -> NoReturn:
    say(" ".join(message.split()), to=sys.stderr)
    sys.exit(status)
