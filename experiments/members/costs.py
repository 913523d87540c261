"""The estimated memory and time of a member, by which members are put together in chunks."""

from __future__ import annotations

from typing import NamedTuple

import jax

from experiments.members.data import member_data
from experiments.members.plan import Member
from mdnjax.components import FAMILIES, Sizes
from mdnjax.training.inputs import training_functions_of, training_inputs


class MemberCost(NamedTuple):
    """Estimated cost of a member: bytes while its chunk is trained, more bytes during a step, seconds of a step on one core."""

    stored_bytes: int
    working_bytes: int
    step_seconds: float


def cost_of(member: Member) -> MemberCost:
    """Returns the estimated memory and time of a member."""
    (task, splits, _), model, train = member_data(member), member.config.model, member.config.train
    inputs, *others = training_inputs(task)
    num_runs = 1 + len(others)
    (num_train, num_inputs), num_targets = splits.train.x.shape, splits.train.y.shape[1]
    state = jax.eval_shape(training_functions_of(task).init, inputs)
    data_bytes = sum(part.x.nbytes + part.y.nbytes for part in splits) + inputs.train.x.nbytes + inputs.train.y.nbytes
    nll_bytes = 4 * sum(len(part.x) for part in splits)
    # Three copies of the data: as drawn, stacked, and on the device.
    # Three copies of the state: before and after a step, and after the previous block of steps.
    run_bytes = 3 * data_bytes + 8 * train.num_steps + 3 * sum(leaf.size * 4 for leaf in jax.tree.leaves(state))
    mixture_sizes = Sizes(model.fixed_num_components, num_targets, model.rank)
    num_outputs = mixture_sizes.num_components + sum(FAMILIES[model.family].raw_sizes(mixture_sizes))
    num_products = sum(leaf.size for leaf in jax.tree.leaves(state.params) if leaf.ndim > 1)  # those of all kernels
    num_units = sum(model.hidden_sizes)
    noise = 30 * (num_inputs * (train.x_noise != 0) + num_targets * (train.y_noise != 0))
    nanoseconds = 10 + 0.07 * num_products + 0.5 * num_units + 1.4 * num_outputs + noise  # per example; fitted to measurements
    step_rows = min(num_train, train.batch_size or num_train) * train.noise_copies
    working_bytes = 4 * step_rows * (2 * num_units + 6 * num_outputs)
    return MemberCost(nll_bytes + num_runs * run_bytes, working_bytes, 1e-9 * num_runs * step_rows * nanoseconds)
