"""Published two-sample scores of the benchmark's tasks: means over the ten observations, by number of simulations.

Source: Lueckmann et al. (2021) for the spline and the autoregressive flow (posteriors in one round, two moons); the others, and
all of other tasks, as collected by Gloeckler et al. (2024) and GenSBI (2025), at 10,000 simulations.
"""

FLOW, AUTOREGRESSIVE = "posterior flow, published", "autoregressive flow, published"
LIKELIHOOD, BEST = "neural likelihood, published", "best published"
PUBLISHED: dict[str, dict[str, dict[int, float]]] = {
    "two_moons": {
        FLOW: {1000: 0.725, 10_000: 0.606, 100_000: 0.542},
        AUTOREGRESSIVE: {1000: 0.872, 10_000: 0.814, 100_000: 0.770},
        LIKELIHOOD: {10_000: 0.552},
        BEST: {10_000: 0.521},
    },
    "gaussian_mixture": {FLOW: {10_000: 0.615}, LIKELIHOOD: {10_000: 0.534}, BEST: {10_000: 0.511}},
    "slcp": {FLOW: {10_000: 0.901}, LIKELIHOOD: {10_000: 0.770}, BEST: {10_000: 0.646}},
    "bernoulli_glm": {FLOW: {10_000: 0.678}, BEST: {10_000: 0.616}},
    "gaussian_linear": {FLOW: {10_000: 0.552}, LIKELIHOOD: {10_000: 0.608}, BEST: {10_000: 0.507}},
}
