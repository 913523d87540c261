"""From a sweep file and `key=value` words to the list of all members, each a configuration that has been validated."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.members.schema import Sweep
from experiments.members.settings import Setting, check_space, count_of, ends, expand, place_of
from experiments.members.sources import RUN_KEYS, Bases, sweep_and_run
from experiments.schemas import InverseSine
from mdnjax.config import ConfigError, Layer, merged, read_file, read_words, resolve, settings_layer, split
from mdnjax.config.data import Examples, Table
from mdnjax.config.ensembles import Ensemble
from mdnjax.config.schema import Model, Run, Train

NOT_OF_A_MEMBER = ("output", "runtime", "regression")
SHOWN_FAULTS = 8
MAX_MEMBERS = 100_000


class Group(NamedTuple):
    """What members have in common that share a compiled program: the shapes of their sections."""

    model: Model
    train: Train
    data: Examples
    ensemble: Ensemble
    num_settings: int


class Member(NamedTuple):
    """One of a sweep: its number, the number of its setting, its whole configuration, and what its results are recognised by."""

    number: int
    setting: int
    config: Run
    digest: str


class Plan(NamedTuple):
    """A sweep, ready to be trained.

    `settings` hold the value of every swept key; `configs` are their configurations with the first seed;
    `configure` makes a configuration of one more setting, as a search does; `written` is all but the sweep's own keys, as
    given, and `digest` tells these configurations (of a search, those at the ends of its space) from others.
    """

    sweep: Sweep
    swept: tuple[str, ...]
    settings: list[dict[str, Any]]
    configs: list[InverseSine]
    configure: Callable[[Setting], InverseSine]
    written: dict[str, Any]
    digest: str


def read(path: Path | None, words: Sequence[str]) -> Plan:
    """Reads a sweep file, expands its blocks and validates every member.

    Raises: ConfigError with all that is wrong, each with its place.
    """
    file, typed = read_file(path) if path else Layer({}, {}, []), read_words(words)
    (of_sweep, of_run), (sweep_words, run_words) = sweep_and_run(file), sweep_and_run(typed)
    of_a_run = not of_sweep.tree.keys() - {"output", "runtime"}
    if of_a_run:  # what it calls its output is where the run itself writes
        of_sweep.tree.pop("output", None)
    sweep = resolve(Sweep, [of_sweep, sweep_words])
    if path and "output" not in {**of_sweep.tree, **sweep_words.tree}:
        sweep = sweep.model_copy(update={"output": Path("results") / (path.stem + "_sweep" * of_a_run)})
    places = {**of_sweep.places, **sweep_words.places}
    bases = Bases(path.parent if path else Path(), place_of(places, ("base",)))

    def configure(setting: Setting) -> InverseSine:
        values = dict(setting.values)
        own = [bases(values.pop("base"), setting.places["base"])] if "base" in values else base
        config = resolve(InverseSine, [*own, of_run, run_words, settings_layer(values, setting.places)])
        if config.seed + sweep.num_seeds > 2**32:
            last = f"got {sweep.num_seeds} from seed {config.seed} on, expected the last seed to be below 2^32"
            raise ConfigError([f"num_seeds: {last}"])
        return config

    base = [bases(sweep.base, None)] if sweep.base is not None else []
    _check_count(sweep)
    settings = _proposable(sweep, places) if sweep.search else expand(sweep, places, InverseSine) or [Setting({}, {})]
    swept = tuple(dict.fromkeys(key for setting in settings for key in setting.values))
    _check_swept(settings, swept, run_words)
    configs = list(_validated(settings, configure))
    default = Layer(InverseSine().model_dump(mode="json"), {}, [])
    written = merged([of_run, run_words] if "base" in swept else [default, *base, of_run, run_words])
    digest = _sha256("\n".join(map(digest_of, configs)))
    if sweep.search:
        first = Setting({}, {}) if "base" not in swept else settings[0]
        return Plan(sweep, swept, [], [configure(first)], configure, written, digest)
    rows = [{key: value_at(config, key, setting) for key in swept} for config, setting in zip(configs, settings, strict=True)]
    return Plan(sweep, swept, rows, configs, configure, written, digest)


def members_of(plan: Plan) -> list[Member]:
    """All members, the seeds of a setting one after the other."""
    num = plan.sweep.num_seeds
    numbered = (
        (setting * num + i, setting, config.model_copy(update={"seed": config.seed + i}))
        for setting, config in enumerate(plan.configs)
        for i in range(num)
    )
    return [Member(*one, digest_of(one[-1])) for one in numbered]


def num_members(plan: Plan) -> int:
    """How many members there will be; of a search all are not known before its end."""
    return plan.sweep.num_seeds * (plan.sweep.search.num_trials if plan.sweep.search else len(plan.configs))


def group_of(config: Run) -> Group:
    """The group of a member."""
    own, num_settings = config.with_setting(0), config.selection.num_settings
    return Group(split(own.model)[0], split(own.train)[0], _shape_of(config.data), config.ensemble, num_settings)


def _shape_of(data: Examples) -> Examples:
    """What data of one shape have in common, but for the splits of a table, whose sizes tell."""
    shape = split(data)[0]
    return shape.model_copy(update={"split_by": None, "seed": None}) if isinstance(data, Table) else shape


def value_at(config: InverseSine, key: str, setting: Setting) -> Any:
    """The value of a swept key, also where the setting leaves it to its base."""
    if key in setting.values:
        return setting.values[key]
    value: Any = config.model_dump(mode="json")
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def resolved(plan: Plan) -> dict[str, Any]:
    """The sweep with its base written out and the digest of all members: what a results folder is recognised by."""
    tree = plan.sweep.model_dump(mode="json", by_alias=True) | {"base": None}
    written = {key: value for key, value in plan.written.items() if key in RUN_KEYS and key not in NOT_OF_A_MEMBER}
    return {**tree, **written, "digest": plan.digest}


def problem_of(config: Run) -> str:
    """What tells members that solve the same problem, each on its own draw of the data, from others."""
    return config.data.model_copy(update={"seed": None}).model_dump_json()


def digest_of(config: Run) -> str:
    """What a member's results are recognised by."""
    return _sha256(config.model_dump_json(include={"seed", "data", "model", "train", "ensemble", "selection"}))[:16]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _proposable(sweep: Sweep, places: Any) -> list[Setting]:
    """What a search may propose, key by key at its ends."""
    assert sweep.search
    if others := [name for name in ("grid", "zip", "list", "random") if getattr(sweep, name)]:
        raise ConfigError([f"{place_of(places, (others[0],))}: {others[0]}: got a search too, expected one of them"])
    if sweep.worker.num_workers > 1 or sweep.distributed != type(sweep.distributed)():
        raise ConfigError(["search: got several workers, expected one: each batch of trials learns from all before it"])
    check_space("search", sweep.search.space, places, InverseSine)
    return list(ends(sweep.search.space, places, InverseSine))


def _check_count(sweep: Sweep) -> None:
    count = sweep.num_seeds * (sweep.search.num_trials if sweep.search else count_of(sweep))
    if count > MAX_MEMBERS:
        raise ConfigError([f"got a sweep of {count:,} members, expected at most {MAX_MEMBERS:,}"])


def _check_swept(settings: Sequence[Setting], swept: Sequence[str], words: Layer) -> None:
    places = {key: place for setting in settings for key, place in setting.places.items()}
    faults = [
        f"{places[key]}: {key!r} cannot be swept: it does not change a member of a sweep"
        for key in swept
        if key.partition(".")[0] in NOT_OF_A_MEMBER
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
        more = [f"and {len(faults) - SHOWN_FAULTS} more"] if len(faults) > SHOWN_FAULTS else []
        raise ConfigError([*list(faults)[:SHOWN_FAULTS], *more])
