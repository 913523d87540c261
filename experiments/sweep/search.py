"""Trains settings that Optuna proposes, batch by batch, from the mean validation NLL of all earlier batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.members.parts import Row, finished
from experiments.members.plan import Member, Plan, members_of
from experiments.members.schema import Distribution, Search
from experiments.members.settings import Setting, bounds_of, whole_keys
from experiments.schemas import InverseSine

STUDY_NAME = "sweep"


def run(planned: Plan, folder: Path, train: Callable[[Sequence[Member]], list[Row]]) -> Plan:
    """Runs the search, and returns the plan with the settings of all trials.

    A search that was interrupted proposes the same settings again: results are reported to Optuna batch by batch, a proposal
    depends on nothing but the earlier batches and its own number, and members that are trained already are found on disk.
    """
    import optuna  # pyright: ignore[reportMissingImports]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    search = planned.sweep.search
    assert search
    planned = planned._replace(settings=[], configs=[])
    study = _open(folder / "search.journal", search.batch_size)
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        planned = _with_setting(planned, trial.params)
    if trials:
        train(members_of(planned))  # trains members again whose file was lost
    while len(planned.settings) < search.num_trials:
        first = len(planned.settings)
        batch = []
        for number in range(first, min(first + search.batch_size, search.num_trials)):
            study.sampler = _sampler(search, number)
            batch.append(study.ask(_distributions(search)))
            planned = _with_setting(planned, batch[-1].params)
        rows = train(members_of(planned))
        for setting, trial in enumerate(batch, start=first):
            scores = [row["validation_nll"] for row in finished(rows) if row["setting"] == setting]
            state = optuna.trial.TrialState.COMPLETE if scores else optuna.trial.TrialState.FAIL
            study.tell(trial, float(np.mean(scores)) if scores else None, state=state)
    return planned


def _open(path: Path, batch_size: int) -> Any:
    """Opens the study of a journal file and removes trials of an unfinished batch, which are proposed again."""
    import optuna  # pyright: ignore[reportMissingImports]
    from optuna.storages.journal import JournalFileBackend  # pyright: ignore[reportMissingImports]

    def study_at(path: Path) -> Any:
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)  # left by a process that was killed
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        return optuna.create_study(storage=storage, study_name=STUDY_NAME, load_if_exists=True)

    if not path.exists():
        return study_at(path)
    trials = study_at(path).get_trials()
    num_finished = next((i for i, trial in enumerate(trials) if not trial.state.is_finished()), len(trials))
    if num_finished < len(trials):
        temporary = path.with_name(f".{path.name}")
        temporary.unlink(missing_ok=True)
        study_at(temporary).add_trials(trials[: num_finished // batch_size * batch_size])
        temporary.replace(path)
    return study_at(path)


def _sampler(search: Search, number: int) -> Any:
    import optuna  # pyright: ignore[reportMissingImports]

    seed = int(np.random.SeedSequence([search.seed, number]).generate_state(1)[0])
    if search.method == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def _distributions(search: Search) -> dict[str, Any]:
    whole = whole_keys(InverseSine)
    return {key: _optuna_distribution(distribution, key in whole) for key, distribution in search.space.items()}


def _optuna_distribution(distribution: Distribution, whole: bool) -> Any:
    import optuna  # pyright: ignore[reportMissingImports]

    if distribution.choice is not None:
        return optuna.distributions.CategoricalDistribution(distribution.choice)
    low, high = bounds_of(distribution, whole)
    if whole:
        return optuna.distributions.IntDistribution(int(low), int(high), log=distribution.uniform is None)
    return optuna.distributions.FloatDistribution(low, high, log=distribution.uniform is None)


def _with_setting(planned: Plan, values: dict[str, Any]) -> Plan:
    places = dict.fromkeys(values, "search")
    config = planned.configure(Setting(dict(values), places))
    return planned._replace(settings=[*planned.settings, dict(values)], configs=[*planned.configs, config])
