"""Settings proposed by Optuna, a batch at a time, from the mean validation NLL of all batches before."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.members.parts import Row
from experiments.members.plan import Member, Plan, members_of
from experiments.members.schema import Distribution, Search
from experiments.members.settings import Setting, bounds_of, whole_keys
from experiments.schemas import InverseSine

STUDY = "sweep"


def run(planned: Plan, folder: Path, train: Callable[[Sequence[Member]], list[Row]] | None) -> Plan:
    """Asks, trains and tells, batch by batch; the plan with the settings of all trials, or of those told if there is no `train`.

    Killed and started again it proposes the same: a batch is told as a whole, a proposal depends on the batches told and on its
    number alone, and members that were trained meanwhile are found on disk.
    """
    import optuna  # pyright: ignore[reportMissingImports]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    search = planned.sweep.search
    assert search
    planned = planned._replace(settings=[], configs=[])
    study = _open(folder / "search.journal", search.batch_size)
    told = study.get_trials(deepcopy=False)
    for trial in told:
        planned = _with(planned, trial.params)
    if train and told:
        train(members_of(planned))  # if a part of them was lost
    while train and len(planned.settings) < search.num_trials:
        first = len(planned.settings)
        batch = []
        for number in range(first, min(first + search.batch_size, search.num_trials)):
            study.sampler = _sampler(search, number)
            batch.append(study.ask(_distributions(search)))
            planned = _with(planned, batch[-1].params)
        rows = train(members_of(planned))
        for setting, trial in enumerate(batch, start=first):
            scores = [row["validation_nll"] for row in rows if row["setting"] == setting and row["status"] == "finished"]
            state = optuna.trial.TrialState.COMPLETE if scores else optuna.trial.TrialState.FAIL
            study.tell(trial, float(np.mean(scores)) if scores else None, state=state)
    return planned


def _open(path: Path, batch_size: int) -> Any:
    """The study of a journal file, with whole batches only: what was asked and not told is asked again."""
    import optuna  # pyright: ignore[reportMissingImports]
    from optuna.storages.journal import JournalFileBackend  # pyright: ignore[reportMissingImports]

    def study_at(path: Path) -> Any:
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)  # of a process that was killed
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        return optuna.create_study(storage=storage, study_name=STUDY, load_if_exists=True)

    if not path.exists():
        return study_at(path)
    trials = study_at(path).get_trials()
    finished = next((i for i, trial in enumerate(trials) if not trial.state.is_finished()), len(trials))
    kept = len(trials) if finished == len(trials) else finished // batch_size * batch_size
    if kept < len(trials):
        temporary = path.with_name(f".{path.name}")
        temporary.unlink(missing_ok=True)
        study_at(temporary).add_trials(trials[:kept])
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
    return {key: _distribution(one, key in whole) for key, one in search.space.items()}


def _distribution(one: Distribution, whole: bool) -> Any:
    import optuna  # pyright: ignore[reportMissingImports]

    if one.choice is not None:
        return optuna.distributions.CategoricalDistribution(one.choice)
    low, high = bounds_of(one, whole)
    if whole:
        return optuna.distributions.IntDistribution(int(low), int(high), log=one.uniform is None)
    return optuna.distributions.FloatDistribution(low, high, log=one.uniform is None)


def _with(planned: Plan, values: dict[str, Any]) -> Plan:
    places = dict.fromkeys(values, "search")
    config = planned.configure(Setting(dict(values), places))
    return planned._replace(settings=[*planned.settings, dict(values)], configs=[*planned.configs, config])
