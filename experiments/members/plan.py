"""Reads a sweep file and `key=value` words into a plan: all members of the sweep, each with a validated configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.members.schema import Sweep
from experiments.members.settings import Setting, check_space, expand, num_settings_of, place_of, settings_at_bounds
from experiments.members.sources import RUN_KEYS, SHARED_KEYS, Bases, split_layer
from experiments.schemas import InverseSine
from mdnjax.config import ConfigError, Layer, merged, read_file, read_words, resolve, settings_layer, split
from mdnjax.config.data import Examples, Table
from mdnjax.config.ensembles import Ensemble
from mdnjax.config.schema import Model, Run, Train

UNUSED_SECTIONS = ("output", "report", "runtime", "regression")  # they do not change a member
REPLACED_KEYS = ("worker", "distributed")
MAX_SHOWN_FAULTS = 8
MAX_MEMBERS = 100_000


class Group(NamedTuple):
    """What the members that share a compiled program have in common: sections without values that need no recompilation."""

    model: Model
    train: Train
    data: Examples
    ensemble: Ensemble
    num_settings: int


class Member(NamedTuple):
    """A member: its number, the index of its setting, its configuration, and the digest by which its results are recognised.

    The digest is that of the configuration as given, also where `num_components: auto` was resolved afterwards.
    """

    number: int
    setting: int
    config: Run
    digest: str


class Plan(NamedTuple):
    """A sweep, ready to be trained.

    `settings` hold the value of every swept key; `configs` are their configurations with the first seed. `configure` makes the
    configuration of one more setting, which a search needs. `run_values` are the values of the keys of a run, from base, file and
    command line. `digest` identifies the configurations; of a search, those at the bounds of its space.
    """

    sweep: Sweep
    swept: tuple[str, ...]
    settings: list[dict[str, Any]]
    configs: list[InverseSine]
    configure: Callable[[Setting], InverseSine]
    run_values: dict[str, Any]
    digest: str


def read(path: Path | None, words: Sequence[str]) -> Plan:
    """Reads a sweep file, expands its blocks and validates every member.

    Raises: ConfigError with every fault and its place.
    """
    file, typed = read_file(path) if path else Layer({}, {}, []), read_words(words)
    (sweep_file, run_file), (sweep_words, run_words) = split_layer(file), split_layer(typed)
    _check_replaced_keys(sweep_file, sweep_words)
    is_run_file = not sweep_file.tree.keys() - SHARED_KEYS
    if is_run_file:  # the output of a run's configuration is the folder of that run, not of the sweep
        sweep_file.tree.pop("output", None)
    sweep = resolve(Sweep, [sweep_file, sweep_words])
    if path and "output" not in {**sweep_file.tree, **sweep_words.tree}:
        sweep = sweep.model_copy(update={"output": Path("results") / (path.stem + "_sweep" * is_run_file)})
    places = {**sweep_file.places, **sweep_words.places}
    bases = Bases(path.parent if path else Path(), place_of(places, ("base",)))

    def configure(setting: Setting) -> InverseSine:
        values = dict(setting.values)
        base_layers = [bases(values.pop("base"), setting.places["base"])] if "base" in values else base
        config = resolve(InverseSine, [*base_layers, run_file, run_words, settings_layer(values, setting.places)])
        if config.seed + sweep.num_seeds > 2**32:
            fault = f"got {sweep.num_seeds} from seed {config.seed} on, expected the last seed to be below 2^32"
            raise ConfigError([f"num_seeds: {fault}"])
        return config

    base = [bases(sweep.base, None)] if sweep.base is not None else []
    _check_count(sweep)
    settings = _search_bounds(sweep, places) if sweep.search else expand(sweep, places, InverseSine) or [Setting({}, {})]
    swept = tuple(dict.fromkeys(key for setting in settings for key in setting.values))
    _check_swept(settings, swept, run_words)
    configs = list(_validated(settings, configure))
    default = Layer(InverseSine().model_dump(mode="json"), {}, [])
    run_values = merged([run_file, run_words] if "base" in swept else [default, *base, run_file, run_words])
    digest = _sha256("\n".join(map(digest_of, configs)))
    if sweep.search:
        first = Setting({}, {}) if "base" not in swept else settings[0]
        return Plan(sweep, swept, [], [configure(first)], configure, run_values, digest)
    rows = [{key: value_at(config, key, setting) for key in swept} for config, setting in zip(configs, settings, strict=True)]
    return Plan(sweep, swept, rows, configs, configure, run_values, digest)


def members_of(plan: Plan) -> list[Member]:
    """Returns all members, setting by setting, with the seeds of a setting in order."""
    num = plan.sweep.num_seeds
    numbered = (
        (setting * num + i, setting, config.model_copy(update={"seed": config.seed + i}))
        for setting, config in enumerate(plan.configs)
        for i in range(num)
    )
    return [Member(number, setting, config, digest_of(config)) for number, setting, config in numbered]


def group_of(config: Run) -> Group:
    """Returns the group of a member with this configuration."""
    first, num_settings = config.with_setting(0), config.selection.num_settings
    return Group(split(first.model)[0], split(first.train)[0], _shape_of(config.data), config.ensemble, num_settings)


def _shape_of(data: Examples) -> Examples:
    """Returns a data section without its numbers; of a table also without its splits, whose sizes are compared instead."""
    shape = split(data)[0]
    return shape.model_copy(update={"split_by": None, "seed": None}) if isinstance(data, Table) else shape


def value_at(config: InverseSine, key: str, setting: Setting) -> Any:
    """Returns the value of a swept key; a setting of a list that does not name the key has the value of its base."""
    if key in setting.values:
        return setting.values[key]
    value: Any = config.model_dump(mode="json")
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def resolved(plan: Plan) -> dict[str, Any]:
    """Returns the content of config.yaml: the sweep with its base written out, and the digest that identifies its folder."""
    tree = plan.sweep.model_dump(mode="json", by_alias=True) | {"base": None}
    run_values = {key: value for key, value in plan.run_values.items() if key in RUN_KEYS and key not in UNUSED_SECTIONS}
    return {**tree, **run_values, "digest": plan.digest}


def problem_of(config: Run) -> str:
    """Returns a text that is equal for members whose data differ only in the seed, so that their scores can be compared."""
    return config.data.model_copy(update={"seed": None}).model_dump_json()


def digest_of(config: Run) -> str:
    """Returns the digest by which the results of a member are recognised."""
    return _sha256(config.model_dump_json(include={"seed", "data", "model", "train", "ensemble", "selection"}))[:16]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _search_bounds(sweep: Sweep, places: Any) -> list[Setting]:
    """Checks the blocks of a search, and returns settings with each of its keys at its bounds."""
    assert sweep.search
    if others := [name for name in ("grid", "zip", "list", "random") if getattr(sweep, name)]:
        raise ConfigError([f"{place_of(places, (others[0],))}: {others[0]}: got a search too, expected one of them"])
    check_space("search", sweep.search.space, places, InverseSine)
    return list(settings_at_bounds(sweep.search.space, places, InverseSine))


def _check_replaced_keys(*layers: Layer) -> None:
    """Raises: ConfigError for the keys by which a sweep was shared among processes before it had workers of Dask."""
    expected = "expected no such key: delete it; cluster.workers=N or cluster.scheduler=tcp://HOST:8786 gives the sweep workers"
    found = [(place_of(layer.places, (key,)), key) for layer in layers for key in REPLACED_KEYS if key in layer.tree]
    if found:
        raise ConfigError([f"{place}: got the key {key!r}, which an older version wrote, {expected}" for place, key in found])


def _check_count(sweep: Sweep) -> None:
    count = sweep.num_seeds * (sweep.search.num_trials if sweep.search else num_settings_of(sweep))
    if count > MAX_MEMBERS:
        raise ConfigError([f"got a sweep of {count:,} members, expected at most {MAX_MEMBERS:,}"])


def _check_swept(settings: Sequence[Setting], swept: Sequence[str], words: Layer) -> None:
    places = {key: place for setting in settings for key, place in setting.places.items()}
    faults = [
        f"{places[key]}: {key!r} cannot be swept: it does not change a member of a sweep"
        for key in swept
        if key.partition(".")[0] in UNUSED_SECTIONS
    ]
    given = {".".join(map(str, path)) for path in words.places}
    faults += [f"command line: {key!r} is swept, at {places[key]}" for key in swept if key in given]
    if faults:
        raise ConfigError(faults)


def _validated(settings: Sequence[Setting], configure: Callable[[Setting], InverseSine]) -> Iterator[InverseSine]:
    faults: dict[str, None] = {}
    for setting in settings:
        try:
            yield configure(setting)
        except ConfigError as error:
            faults |= dict.fromkeys(error.faults)
    if faults:
        more = [f"and {len(faults) - MAX_SHOWN_FAULTS} more"] if len(faults) > MAX_SHOWN_FAULTS else []
        raise ConfigError([*list(faults)[:MAX_SHOWN_FAULTS], *more])
