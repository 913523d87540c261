# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
"""# The inverted sinusoid, from top to bottom

A curve that is easy to follow in one direction has several answers in the other, which a regression cannot learn and a mixture
density network can. This is the study `python -m experiments.inverse_sine`, step by step. It takes a minute and writes no files.

The settings are those of the study's file; words change them as on the command line, `["seed=3"]` say. Networks start from one
key, folded with a number for each purpose. The command does the same, so the numbers of its table return below."""

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "dpi": 100}
import sys
from pathlib import Path

# the checkout, whether this runs in it or in its folder experiments
sys.path.insert(0, str(next(folder for folder in (Path.cwd(), Path.cwd().parent) if (folder / "experiments").is_dir())))

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

import mdnjax as mdn
from experiments.command import CONFIGS
from experiments.figures import FORWARD, INVERSE, in_order
from experiments.pipeline import make_data
from experiments.regression import make_regression
from experiments.schemas import InverseSine
from mdnjax import plots
from mdnjax.config import load
from mdnjax.data import sinusoid
from mdnjax.fitting import fit_networks
from mdnjax.training import functions

# %% tags=["parameters"]
words: list[str] = []
config = load(InverseSine, CONFIGS / "inverse_sine.yaml", words)
key = jax.random.key(config.seed)

# %% [markdown]
"""## Data

x is uniform between -10.5 and 10.5, and y = 7 sin(0.75 x) + 0.5 x + noise of sd 1. In the code an example is a pair of arrays:
`.x` goes into a network and `.y` is what it should give. In the *easy* direction that is x and y themselves. In the *hard* one
the two have changed places: y is observed, and x is to be found. The points are the same."""

# %%
hard, truth = make_data(config)[0], sinusoid.TRUTH  # parts to train on, to watch and to test on; and what is known exactly
easy = type(hard)(*map(sinusoid.forward, hard))
plots.plot_points([("data", easy.train.x, easy.train.y)], FORWARD, f"{len(easy.train.x)} training points")

# %% [markdown]
"""To one x there belongs one y, up to the noise. Read the picture the other way: a horizontal line meets the curve up to five
times. Every crossing is a good answer to the question which x made this y.

## Warm-up: y from x

One loop trains all that is trained by hand. A loss is a function of parameters, a key for its noise, and a batch;
`make_train_step` makes a compiled pure step of it; `fit` runs steps. Here the loss is the squared error of a plain network."""


# %%
def squared_error(params, noise_key, batch):
    return jnp.mean((plain.apply(params, batch.x.T).T - batch.y) ** 2)  # a network by itself has the batch last


def train_by_hand(loss, init, loop, points):
    optimizer = functions.optimizer_of(loop)
    state = mdn.init_state(optimizer, init(jax.random.fold_in(key, functions.INIT)))
    train_step = mdn.make_train_step(loss, optimizer)
    return mdn.train_loop(train_step, state, (key, points), num_steps=loop.num_steps, report_every=loop.report_every).state.params


def show_regression(params, parts, x, exact, floor, names):
    on_train, on_test = (squared_error(params, key, part) for part in (parts.train, parts.test))
    print(f"mean squared error: train {on_train:.4f}, test {on_test:.4f}; the best possible {floor:.4f}")
    prediction, title = np.asarray(plain.apply(params, x[None]))[0], f"Regression of {names.y[0]} on {names.x[0]}"
    figure = plots.plot_regression((parts.train.x, parts.train.y), x, prediction, names, title)
    figure.axes[0].plot(x, exact, color=plots.TRUTH, ls="--", label=f"exact mean of {names.y[0]}")
    figure.axes[0].legend(loc="upper left", markerscale=2, frameon=False)
    return figure


plain = make_regression(config.regression, 1, 1)
x = np.linspace(-sinusoid.HALF_WIDTH, sinusoid.HALF_WIDTH, 300)
towards_y = train_by_hand(squared_error, plain.init, config.regression, easy.train)
show_regression(towards_y, easy, x, sinusoid.curve(x), sinusoid.FORWARD_FLOOR_MSE, FORWARD)

# %% [markdown]
"""The network follows the curve, and its error is little more than the noise.

## Failure: x from y

Nothing changes but the direction. The density of this data set is known, so the best that any single answer can do is known too:
the smallest error comes from the mean of x given y, drawn here as a dashed line."""

# %%
observed = np.linspace(hard.train.x.min(), hard.train.x.max(), 300, dtype=np.float32)
points = (hard.train.x, hard.train.y)
wanted = np.linspace(*plots.padded_range(hard.train.y), 300, dtype=np.float32)
pairs = (values.reshape(-1, 1) for values in np.meshgrid(observed, wanted, indexing="ij"))
exact = np.exp(truth.log_prob(*pairs)).reshape(300, 300)  # p(x|y), a row for each observed y
towards_x = train_by_hand(squared_error, plain.init, config.regression, hard.train)
show_regression(towards_x, hard, observed, exact @ wanted / exact.sum(axis=1), truth.floor_mse(), INVERSE)

# %% [markdown]
r"""The network comes near the best possible error, and wiggles about the dashed line. It is the question that is wrong: a mean of
several answers is hardly ever one of them, and most of the line lies where there are no points.

## A mixture

So the network should give a whole density: the weights $w_k$, locations $m_k$ and scales $s_k$ of a mixture (Bishop 1994), each
a function of the input. With the usual names, $x$ for the input and $y$ for the target:

$$p(y|x) = \sum_k w_k(x)\, \mathcal{N}\!\left(y \mid m_k(x), s_k(x)^2\right), \qquad w = \mathrm{softmax}(\mathrm{logits}).$$

It is trained by the negative log-likelihood, the mean of $-\log p(y|x)$ over the data, in nats. A sum of densities wants to be
computed from their logarithms, $\log p = \mathrm{logsumexp}_k (\log w_k + \log p_k)$: far from every location all densities round
to 0, and then neither the loss nor its gradient is a number."""

# %%
loc, scale = jnp.array([-1.0, 2.0]), jnp.array([0.5, 1.0])
two = mdn.Mixture(jnp.array([0.0, 1.0]), mdn.Diagonal(loc[:, None], scale[:, None]))
ways = {
    "densities": lambda y: -jnp.log(jnp.sum(mdn.weights(two) * norm.pdf(y, loc, scale))),
    "logarithms": lambda y: -jax.nn.logsumexp(mdn.log_weights(two) + norm.logpdf(y, loc, scale)),  # as mdn.nll does
}
for name, negative_log in ways.items():
    for y in (1.5, 60.0):
        value, slope = jax.value_and_grad(negative_log)(jnp.array(y))
        print(f"{name:10} at y = {y:4}: NLL {value:9.4f}, its derivative {slope:8.4f}")

# %% [markdown]
"""## Training

`make_mdn` gives pure functions; `model.apply(params, x)` is a `Mixture` for every input. In the loop only the loss changes."""


# %%
def negative_log_likelihood(params, noise_key, batch):
    return jnp.mean(mdn.nll(model.apply(params, batch.x), batch.y))


model = mdn.make_mdn(1, 1, **dict(config.model))
by_hand = train_by_hand(negative_log_likelihood, model.init, config.train, hard.train)
truth_nll = [-float(np.mean(truth.log_prob(*part))) for part in hard]
for name, part, of_truth in zip(hard._fields, hard, truth_nll, strict=True):
    print(f"{name:10} NLL {negative_log_likelihood(by_hand, key, part):.4f}, of the exact density {of_truth:.4f}")

# %% [markdown]
"""On the points that it was trained on the network does better than the truth, on others much worse: it has learnt the noise.
The project's `fit_networks` is the same loop with three things more: units in which the data have mean 0 and sd 1; a start at the
targets' own mixture; noise on the inputs, drawn afresh at every step, so that no point can be learnt by heart."""

# %%
fitted = fit_networks(config, hard.train, hard.validation)
predictor = fitted.predictor
plots.plot_history(fitted.leading.history, truth_nll=truth_nll[2], truth_train_nll=truth_nll[0])

# %% [markdown]
"""The loss is measured with the noise on the inputs, and so ends above the NLL that the network has without it. The validation
points are few; where their curve lies is partly luck, that it does not rise at the end is not.

## Weights, locations, scales

Called with inputs, a predictor gives the mixture in the data's own units, here along the range of the observed y. Each component
has a colour. Where it has no weight its curve is faint: nothing trains it there."""

# %%
mixture = in_order(predictor(observed[:, None]))
weight = np.asarray(mdn.weights(mixture))
location, above = (np.asarray(mdn.locations(mixture, scales))[..., 0] for scales in (0.0, 1.0))
plots.plot_components(observed, weight, weight, INVERSE._replace(y="weight"), "Mixing weights")

# %%
plots.plot_components(observed, location, weight, INVERSE, "Locations (faint: no weight)")

# %%
plots.plot_components(observed, above - location, weight, INVERSE._replace(y="scale of x"), "Scales", log=True)

# %% [markdown]
"""Weights hand over from one component to the next along the input. Locations are nearly straight where the curve is steep;
scales are smaller there, and larger where the curve turns and one y belongs to a wide range of x.

## The ribbon

All three in one picture: locations with one scale on either side, where a component has weight, over the data."""

# %%
plots.plot_ribbon(points, observed, mixture, INVERSE, "Locations ± one scale, over the data")

# %% [markdown]
r"""## Sampling

To draw from a mixture, choose a component and draw from it. To choose one, add to each logit a number $g_k = -\log(-\log u_k)$
with $u_k$ uniform, and take the largest: that is the Gumbel-max trick, two lines below. `mdn.sample` has the same law, and needs
one uniform number a component and no logarithm. A draw is a pure function of its key."""

# %%
at_zero = predictor(np.zeros(1))
keys = jax.random.split(key, 100_000)
chosen = jax.vmap(lambda k: jnp.argmax(at_zero.logits + jax.random.gumbel(k, at_zero.logits.shape)))(keys)
print("weights at y = 0:", *(f"{weight:.3f}" for weight in mdn.weights(at_zero)))
print("shares of draws: ", *(f"{count / len(keys):.3f}" for count in jnp.bincount(chosen, length=at_zero.logits.size)))
samples = np.asarray(mdn.sample(jax.random.fold_in(key, functions.SAMPLE), predictor(points[0])))
plots.plot_points([("data", *points), ("samples", points[0], samples)], INVERSE, "One sample for every data point")

# %% [markdown]
"""Samples lie where the data lie, on all branches, and hardly between them.

## How good is it?

The *excess* is the NLL on test points, which nothing was fitted to, less that of the exact density on the very same points. The
entropy is what the NLL of the exact density comes to over all points that there could be: no predictor is below it."""

# %%
on_test = predictor(hard.test.x)
test_nll, pit = np.mean(np.asarray(mdn.nll(on_test, hard.test.y), np.float64)), mdn.pit(on_test, hard.test.y)
print(f"NLL: mixture {test_nll:.4f}, truth {truth_nll[2]:.4f}, excess {test_nll - truth_nll[2]:.4f}")
print(f"exact entropy {truth.entropy():.5f}; CRPS of the mixture {np.mean(mdn.crps(on_test, hard.test.y)):.4f}")
print(f"inside the central intervals of 50 and 90 %: {mdn.coverage(pit, 0.5):.4f}, {mdn.coverage(pit, 0.9):.4f}")
plots.plot_calibration(np.asarray(pit))

# %% [markdown]
"""The PIT is the probability that was given to less than what came. Where the mixture is right its histogram is flat, and
intervals hold as many points as they promise. Here they hold somewhat more: the density that noisy inputs taught is a little
wider than the truth.

## Intervals and branches

A central interval spans the gaps between the answers. The highest-density region is the smallest set of a given probability,
and may be several intervals; `modes` are the peaks of the density, and `branches` follows them along the input."""

# %%
(low, high), region, modes = mdn.central_interval(at_zero, 0.9), mdn.hdr(at_zero, 0.9), mdn.modes(at_zero)
print(f"90 % at y = 0: the central interval is {high - low:.2f} long, the region {region.size:.2f} in {region.num_pieces} pieces")
print("modes at y = 0:", *(f"{mode:.2f} ({mass:.0%})" for mode, mass in zip(modes.y[:, 0], modes.mass, strict=True) if mass > 0))
regions = [(f"{100 * level:.0f} % region", mdn.hdr(mixture, level)) for level in (0.9, 0.5)]
plots.plot_intervals(points, observed, regions, mdn.branches(mixture, 0.01), INVERSE, "Highest-density regions, and branches")

# %%
learnt = mdn.prob(mixture[:, None], wanted[:, None])
plots.plot_density(observed, wanted, np.asarray(learnt), exact, INVERSE, "p(x|y), learnt from the training points and exact")

# %% [markdown]
"""Learnt and exact density agree branch by branch. The learnt one is blurred where the curve turns and where the data end;
the short pieces of branches above are places where components do not quite meet.

## Where to go on

- `python -m experiments.inverse_sine` keeps all this in a run folder; `configs/inverse_sine_ensemble.yaml` pools five networks.
- `python -m experiments.sweep configs/sweeps/seeds.yaml` compares settings over seeds.
- `python -m experiments.tabular data.path=FILE data.target=COLUMN` does it for a table of your own."""
