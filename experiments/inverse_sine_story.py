# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
"""# The inverted sinusoid, from top to bottom

A curve gives one y for each x, but up to five x for each y. A regression cannot learn the second direction; a mixture density
network can. This notebook runs `python -m experiments.inverse_sine` step by step, in about a minute, and writes no files.

The settings are those of the command. The list `overrides` changes them as on the command line, for example `["seed=3"]`.
Networks start from one key, folded with a number for each purpose, as in the command: the numbers of its table appear below."""

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "dpi": 100}
import sys
from pathlib import Path

# finds the checkout, whether this runs in it or in its folder experiments
sys.path.insert(0, str(next(folder for folder in (Path.cwd(), Path.cwd().parent) if (folder / "experiments").is_dir())))

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

import mdnjax as mdn
from experiments import charts
from experiments.command import CONFIGS
from experiments.figures import FORWARD, INVERSE, sort_components
from experiments.pipeline import make_data
from experiments.regression import make_regression
from experiments.schemas import InverseSine
from mdnjax.config import load
from mdnjax.data import sinusoid
from mdnjax.fitting import fit_networks
from mdnjax.training import functions

# %% tags=["parameters"]
overrides: list[str] = []
config = load(InverseSine, CONFIGS / "inverse_sine.yaml", overrides)
key = jax.random.key(config.seed)

# %% [markdown]
"""## Data

x is uniform between -10.5 and 10.5, and y = 7 sin(0.75 x) + 0.5 x + noise of sd 1. In the code, a data set is a pair of arrays:
`.x` is the input of a network and `.y` its target. In the *easy* direction these are x and y themselves. In the *hard*
direction they are swapped: y is observed, and x is predicted. The points are the same."""

# %%
hard, truth = make_data(config)[0], sinusoid.TRUTH  # train, validation and test parts; and the exact density
easy = type(hard)(*map(sinusoid.forward, hard))
charts.plot_points([("data", easy.train.x, easy.train.y)], FORWARD, f"{len(easy.train.x)} training points")

# %% [markdown]
"""Each x has a single y, up to the noise. In the other direction, a horizontal line at some y crosses the curve up to five
times, and every crossing is an x that may have produced this y.

## Regression: y from x

One function trains the networks of this notebook. A loss is a function of parameters, a key for its noise, and a batch;
`make_train_step` turns it into a compiled pure step, and `train_loop` runs steps. Here the loss is a mean squared error."""


# %%
def squared_error(params, noise_key, batch):
    return jnp.mean((plain.apply(params, batch.x.T).T - batch.y) ** 2)  # a bare network has the batch axis last


def train(loss, init, loop, data):
    optimizer = functions.optimizer_of(loop)
    state = mdn.init_state(optimizer, init(jax.random.fold_in(key, functions.INIT)))
    train_step = mdn.make_train_step(loss, optimizer)
    fitted = mdn.train_loop(train_step, state, (key, data), num_steps=loop.num_steps, report_every=loop.report_every)
    return fitted.state.params


def show_regression(params, parts, x, exact, floor, names):
    train_mse, test_mse = (squared_error(params, key, part) for part in (parts.train, parts.test))
    print(f"mean squared error: train {train_mse:.4f}, test {test_mse:.4f}; the best possible {floor:.4f}")
    prediction, title = np.asarray(plain.apply(params, x[None]))[0], f"Regression of {names.y[0]} on {names.x[0]}"
    figure = charts.plot_regression((parts.train.x, parts.train.y), x, prediction, names, title)
    figure.axes[0].plot(x, exact, color=charts.TRUTH, ls="--", label=f"exact mean of {names.y[0]}")
    figure.axes[0].legend(loc="upper left", markerscale=2, frameon=False)
    return figure


plain = make_regression(config.regression, 1, 1)
x = np.linspace(-sinusoid.HALF_WIDTH, sinusoid.HALF_WIDTH, 300)
forward_params = train(squared_error, plain.init, config.regression, easy.train)
show_regression(forward_params, easy, x, sinusoid.curve(x), sinusoid.FORWARD_FLOOR_MSE, FORWARD)

# %% [markdown]
"""The network follows the curve, and its error is only slightly larger than the variance of the noise.

## Failure: x from y

Only the direction changes. The density of this data set is known, and so is the best prediction by a single number: the mean of
x given y has the smallest mean squared error. It is the dashed line in the figure."""

# %%
observed = np.linspace(hard.train.x.min(), hard.train.x.max(), 300, dtype=np.float32)
points = (hard.train.x, hard.train.y)
candidates = np.linspace(*charts.padded_range(hard.train.y), 300, dtype=np.float32)
pairs = (values.reshape(-1, 1) for values in np.meshgrid(observed, candidates, indexing="ij"))
exact = np.exp(truth.log_prob(*pairs)).reshape(300, 300)  # p(x|y), a row for each observed y
inverse_params = train(squared_error, plain.init, config.regression, hard.train)
show_regression(inverse_params, hard, observed, exact @ candidates / exact.sum(axis=1), truth.floor_mse(), INVERSE)

# %% [markdown]
r"""The network comes close to the best possible error, and its curve is close to the dashed line. Yet the prediction is
useless: the mean of several possible x is rarely one of them, and most of the line lies where there are no points.

## A mixture

The network should therefore predict a whole density. It outputs the weights $w_k$, locations $m_k$ and scales $s_k$ of a
mixture (Bishop 1994), each a function of the input. With $x$ for the input and $y$ for the target, as usual:

$$p(y|x) = \sum_k w_k(x)\, \mathcal{N}\!\left(y \mid m_k(x), s_k(x)^2\right), \qquad w = \mathrm{softmax}(\mathrm{logits}).$$

The loss is the negative log-likelihood (NLL), the mean of $-\log p(y|x)$ over the data, in nats. It must be computed from the
logarithms of the densities, $\log p = \mathrm{logsumexp}_k (\log w_k + \log p_k)$. Far from all locations the densities
themselves underflow to 0, and then the loss is infinite and its gradient is not a number."""

# %%
loc, scale = jnp.array([-1.0, 2.0]), jnp.array([0.5, 1.0])
two_components = mdn.Mixture(jnp.array([0.0, 1.0]), mdn.Diagonal(loc[:, None], scale[:, None]))
formulas = {
    "densities": lambda y: -jnp.log(jnp.sum(mdn.weights(two_components) * norm.pdf(y, loc, scale))),
    "logarithms": lambda y: -jax.nn.logsumexp(mdn.log_weights(two_components) + norm.logpdf(y, loc, scale)),  # as mdn.nll does
}
for name, negative_log in formulas.items():
    for y in (1.5, 60.0):
        value, derivative = jax.value_and_grad(negative_log)(jnp.array(y))
        print(f"{name:10} at y = {y:4}: NLL {value:9.4f}, its derivative {derivative:8.4f}")

# %% [markdown]
"""## Training

`make_mdn` returns pure functions; `model.apply(params, x)` is a `Mixture` for every input. In training only the loss changes."""


# %%
def negative_log_likelihood(params, noise_key, batch):
    return jnp.mean(mdn.nll(model.apply(params, batch.x), batch.y))


model = mdn.make_mdn(1, 1, **dict(config.model))
unregularised = train(negative_log_likelihood, model.init, config.train, hard.train)
truth_nll = [-float(np.mean(truth.log_prob(part.x, part.y))) for part in hard]
for name, part, exact_nll in zip(hard._fields, hard, truth_nll, strict=True):
    print(f"{name:10} NLL {negative_log_likelihood(unregularised, key, part):.4f}, of the exact density {exact_nll:.4f}")

# %% [markdown]
"""On the training points the network has a lower NLL than the exact density, on other points a much higher one: it overfits.
The project's `fit_networks` runs the same loop with three additions: data standardised to mean 0 and sd 1; a start from a
mixture fitted to the targets; and, against overfitting, noise on the inputs that is drawn anew at every step."""

# %%
fitted = fit_networks(config, hard.train, hard.validation)
predictor = fitted.predictor
charts.plot_history(fitted.leading.history, truth_nll=truth_nll[2], truth_train_nll=truth_nll[0])

# %% [markdown]
"""The loss is measured with noise on the inputs, and therefore ends above the NLL without it. The level of the validation curve
depends on chance, since there are few validation points. But it does not rise at the end, as it would with strong overfitting.

## Weights, locations, scales

A predictor returns, for its inputs, the mixture in the units of the data, here over the range of the observed y. Each component
has a colour. Its curve is faint where its weight is small, since no data determine it there."""

# %%
mixture = sort_components(predictor(observed[:, None]))
weight = np.asarray(mdn.weights(mixture))
location, above = (np.asarray(mdn.locations(mixture, scales))[..., 0] for scales in (0.0, 1.0))
charts.plot_components(observed, weight, weight, INVERSE._replace(y="weight"), "Mixing weights")

# %%
charts.plot_components(observed, location, weight, INVERSE, "Locations (faint: no weight)")

# %%
charts.plot_components(observed, above - location, weight, INVERSE._replace(y="scale of x"), "Scales", log=True)

# %% [markdown]
"""As the input changes, the weight moves from one component to the next. Where the curve is steep, locations are nearly linear
and scales are small. Scales are larger where the curve turns, since one y corresponds to a wide range of x there.

## The ribbon

This figure combines all three: locations with a band of one scale on each side, where a component has weight, over the data."""

# %%
charts.plot_ribbon(points, observed, mixture, INVERSE, "Locations ± one scale, over the data")

# %% [markdown]
r"""## Sampling

To sample from a mixture, draw a component and then sample from it. The Gumbel-max trick draws a component: it adds to each
logit a number $g_k = -\log(-\log u_k)$ with $u_k$ uniform, and takes the largest sum. The cell below does this in one line.
`mdn.sample` has the same distribution, with one uniform number per component and no logarithm; it is pure given its key."""

# %%
at_zero = predictor(np.zeros(1))
keys = jax.random.split(key, 100_000)
component = jax.vmap(lambda k: jnp.argmax(at_zero.logits + jax.random.gumbel(k, at_zero.logits.shape)))(keys)
print("weights at y = 0:", *(f"{weight:.3f}" for weight in mdn.weights(at_zero)))
print("shares of draws: ", *(f"{count / len(keys):.3f}" for count in jnp.bincount(component, length=at_zero.logits.size)))
samples = np.asarray(mdn.sample(jax.random.fold_in(key, functions.SAMPLE), predictor(points[0])))
charts.plot_points([("data", *points), ("samples", points[0], samples)], INVERSE, "One sample for every data point")

# %% [markdown]
"""The samples lie where the data lie: on all branches, and rarely between them.

## Evaluation

The *excess* is the NLL on the test points minus that of the exact density on the same points. The entropy is the expected NLL
of the exact density; no predictor has a lower expected NLL."""

# %%
test_mixture = predictor(hard.test.x)
test_nll, pit = np.mean(np.asarray(mdn.nll(test_mixture, hard.test.y), np.float64)), mdn.pit(test_mixture, hard.test.y)
print(f"NLL: mixture {test_nll:.4f}, truth {truth_nll[2]:.4f}, excess {test_nll - truth_nll[2]:.4f}")
print(f"exact entropy {truth.entropy():.5f}; CRPS of the mixture {np.mean(mdn.crps(test_mixture, hard.test.y)):.4f}")
print(f"inside the central intervals of 50 and 90 %: {mdn.coverage(pit, 0.5):.4f}, {mdn.coverage(pit, 0.9):.4f}")
charts.plot_calibration(np.asarray(pit))

# %% [markdown]
"""The PIT is the predicted probability of values below the observed one. If the predicted densities are right, its histogram is
flat, and an interval of 90 % contains 90 % of the points. Here intervals contain slightly more: the noise on the inputs makes
the learnt density a little wider than the exact one.

## Intervals and branches

A central interval includes the gaps between branches. The highest-density region is the smallest set with a given probability,
and may consist of several intervals. `modes` returns the peaks of the density, and `branches` follows them along the input."""

# %%
(low, high), region, modes = mdn.central_interval(at_zero, 0.9), mdn.hdr(at_zero, 0.9), mdn.modes(at_zero)
print(f"90 % at y = 0: the central interval is {high - low:.2f} long, the region {region.size:.2f} in {region.num_pieces} pieces")
print("modes at y = 0:", *(f"{mode:.2f} ({mass:.0%})" for mode, mass in zip(modes.y[:, 0], modes.mass, strict=True) if mass > 0))
regions = [(f"{100 * level:.0f} % region", mdn.hdr(mixture, level)) for level in (0.9, 0.5)]
charts.plot_intervals(points, observed, regions, mdn.branches(mixture, 0.01), INVERSE, "Highest-density regions, and branches")

# %%
learnt = mdn.prob(mixture[:, None], candidates[:, None])
charts.plot_density(observed, candidates, np.asarray(learnt), exact, INVERSE, "p(x|y), learnt from the training points and exact")

# %% [markdown]
"""The learnt and the exact density agree on all branches. The learnt one is blurred where the curve turns and where the data
end. The short pieces of branches in the figure before are extra modes where two components do not join smoothly.

## Next steps

- `python -m experiments.inverse_sine` writes all this to a run folder; `configs/inverse_sine_ensemble.yaml` pools five networks.
- `python -m experiments.sweep configs/sweeps/seeds.yaml` compares settings over seeds.
- `python -m experiments.tabular data.path=FILE data.target=COLUMN` trains on a table of your own."""
