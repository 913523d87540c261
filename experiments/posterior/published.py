"""Published two-sample scores of two moons: means over the ten observations, by number of simulations."""

# Neural posterior estimation in one round. Source: Lueckmann et al. (2021).
PUBLISHED: dict[str, dict[int, float]] = {
    "spline flow, published": {1000: 0.725, 10_000: 0.606, 100_000: 0.542},
    "autoregressive flow, published": {1000: 0.872, 10_000: 0.814, 100_000: 0.770},
}
