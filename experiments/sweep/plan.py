"""From a sweep file and `key=value` words to the list of all members, each a configuration that has been validated."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.inverse_sine import InverseSine
from experiments.sweep.schema import Sweep
from experiments.sweep.settings import Setting, expand, place_of
from mdnjax.config import ConfigError, Layer, read_file, read_words, resolve, settings_layer, split
from mdnjax.config.schema import Data, Model, Train

SWEEP_KEYS = {field.alias or name for name, field in Sweep.model_fields.items()}
RUN_KEYS = set(InverseSine.model_fields) - SWEEP_KEYS
NOT_OF_A_MEMBER = ("output", "runtime", "regression")
SHOWN_FAULTS = 8


class Group(NamedTuple):
    """What members have in common that share a compiled program: the shapes of their sections."""

    model: Model
    train: Train
    data: Data


class Member(NamedTuple):
    """One training run: its number in the sweep, the number of its setting, its whole configuration."""

    number: int
    setting: int
    config: InverseSine


class Plan(NamedTuple):
    """A sweep, ready to be trained.

    `settings` hold the value of every swept key; `configs` are their configurations with the first seed;
    `configure` makes a configuration of one more setting, as a search does.
    """

    sweep: Sweep
    swept: tuple[str, ...]
    settings: list[dict[str, Any]]
    configs: list[InverseSine]
    configure: Callable[[Setting], InverseSine]


def read(path: Path | None, words: Sequence[str]) -> Plan:
    """Reads a sweep file, expands its blocks and validates every member.

    Raises: ConfigError with all that is wrong, each with its place.
    """
    file, typed = read_file(path) if path else Layer({}, {}, []), read_words(words)
    (of_sweep, of_run), (sweep_words, run_words) = _parts(file), _parts(typed)
    of_a_run = not of_sweep.tree.keys() - {"output", "runtime"}
    if of_a_run:  # what it calls its output is where the run itself writes
        of_sweep.tree.pop("output", None)
    sweep = resolve(Sweep, [of_sweep, sweep_words])
    if path and "output" not in {**of_sweep.tree, **sweep_words.tree}:
        sweep = sweep.model_copy(update={"output": Path("results") / (path.stem + "_sweep" * of_a_run)})
    places = {**of_sweep.places, **sweep_words.places}
    bases = _Bases(path.parent if path else Path(), place_of(places, ("base",)))

    def configure(setting: Setting) -> InverseSine:
        values = dict(setting.values)
        base = values.pop("base", sweep.base)
        layers = [bases(base, setting.places.get("base"))] if base is not None else []
        return resolve(InverseSine, [*layers, of_run, run_words, settings_layer(values, setting.places)])

    settings = _proposable(sweep, places) if sweep.search else expand(sweep, places, InverseSine) or [Setting({}, {})]
    swept = tuple(dict.fromkeys(key for setting in settings for key in setting.values))
    _check_swept(settings, swept, sweep, run_words)
    if sweep.search:
        return Plan(sweep, swept, [], [configure(Setting({}, {}))], configure)
    configs = list(_validated(settings, sweep, configure))
    rows = [{key: value_at(config, key, setting) for key in swept} for config, setting in zip(configs, settings, strict=True)]
    return Plan(sweep, swept, rows, configs, configure)


def members_of(plan: Plan) -> list[Member]:
    """All members, the seeds of a setting one after the other."""
    num = plan.sweep.num_seeds
    return [
        Member(setting * num + i, setting, config.model_copy(update={"seed": config.seed + i}))
        for setting, config in enumerate(plan.configs)
        for i in range(num)
    ]


def group_of(config: InverseSine) -> Group:
    """The group of a member."""
    return Group(split(config.model)[0], split(config.train)[0], split(config.data)[0])


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
    tree = plan.sweep.model_dump(mode="json", by_alias=True)
    if "base" not in plan.swept:
        run = (plan.configs[0] if not plan.swept else plan.configure(Setting({}, {}))).model_dump(mode="json")
        tree = {**tree, "base": None, **{key: run[key] for key in run if key not in NOT_OF_A_MEMBER}}
    return {**tree, "digest": _sha256("\n".join(map(digest_of, plan.configs)))}


def digest_of(config: InverseSine) -> str:
    """What a member's results are recognised by."""
    return _sha256(config.model_dump_json(include={"seed", "data", "model", "train"}))[:16]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class _Bases:
    """Reads each base once: relative to the sweep's file or, where there is none, to the current folder."""

    def __init__(self, folder: Path, place: str):
        self.folder, self.place = folder, place
        self.layers: dict[str, Layer] = {}

    def __call__(self, base: Any, place: str | None) -> Layer:
        if str(base) not in self.layers:
            beside = self.folder / str(base)
            layer = read_file(beside if beside.exists() else Path(str(base)))
            if layer.faults and not layer.places:  # it cannot be read: the fault is where it is named
                layer = layer._replace(faults=[f"{place or self.place}: base: {fault}" for fault in layer.faults])
            if wrong := (SWEEP_KEYS - {"output", "runtime"}) & layer.tree.keys():
                layer.faults.append(f"{place or self.place}: base: {base} is a sweep itself (it has {min(wrong)!r})")
            tree = {key: value for key, value in layer.tree.items() if key not in SWEEP_KEYS}
            self.layers[str(base)] = layer._replace(tree=tree)
        return self.layers[str(base)]


def _parts(layer: Layer) -> tuple[Layer, Layer]:
    """What speaks of the sweep (and what nobody knows), and what speaks of every member."""
    run = {key: value for key, value in layer.tree.items() if key in RUN_KEYS}
    sweep, places = {key: value for key, value in layer.tree.items() if key not in RUN_KEYS}, dict(layer.places)
    for block in ("grid", "zip"):
        if isinstance(sweep.get(block), dict):
            sweep[block] = _dotted(sweep[block], (block,), (block,), places)
    return Layer(sweep, places, layer.faults), Layer(run, layer.places, [])


def _dotted(tree: dict[str, Any], path: tuple, above: tuple, places: dict) -> dict[str, Any]:
    """`grid: {model: {num_components: [..]}}`, as the command line gives it, is `grid: {model.num_components: [..]}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = (above[0], ".".join([*above[1:], key]))
        if (*path, key) in places:
            places.setdefault(name, places[(*path, key)])
        flat |= _dotted(value, (*path, key), name, places) if isinstance(value, dict) and value else {name[1]: value}
    return flat


def _proposable(sweep: Sweep, places: Any) -> list[Setting]:
    assert sweep.search
    if others := [name for name in ("grid", "zip", "list", "random") if getattr(sweep, name)]:
        raise ConfigError([f"{place_of(places, (others[0],))}: {others[0]}: got a search too, expected one of them"])
    if sweep.worker.num_workers > 1 or sweep.distributed != type(sweep.distributed)():
        raise ConfigError(["search: got several workers, expected one: each batch of trials learns from all before it"])
    return [Setting({key: None}, {key: place_of(places, ("search", "space", key))}) for key in sweep.search.space]


def _check_swept(settings: Sequence[Setting], swept: Sequence[str], sweep: Sweep, words: Layer) -> None:
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


def _validated(settings: Sequence[Setting], sweep: Sweep, configure: Callable[[Setting], InverseSine]) -> Iterator[InverseSine]:
    faults: dict[str, None] = {}
    for setting in settings:
        try:
            config = configure(setting)
        except ConfigError as error:
            faults |= dict.fromkeys(error.faults)
            continue
        if config.seed + sweep.num_seeds > 2**32:
            faults[f"num_seeds: got {sweep.num_seeds} from seed {config.seed} on, expected the last seed to be below 2^32"] = None
        yield config
    if faults:
        more = [f"and {len(faults) - SHOWN_FAULTS} more"] if len(faults) > SHOWN_FAULTS else []
        raise ConfigError([*list(faults)[:SHOWN_FAULTS], *more])
