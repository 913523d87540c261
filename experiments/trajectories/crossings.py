"""Simulated crossings: pedestrians arrive and continue straight, left or right, so that several futures are possible."""

from __future__ import annotations

import numpy as np

LENGTH = 26  # frames of 0.4 s in which a group is present
CROSSINGS: dict[str, tuple[float, float, float]] = {  # probabilities of left, straight and right
    "yield": (0.2, 0.6, 0.2),
    "market": (0.4, 0.2, 0.4),
    "bridge": (0.05, 0.9, 0.05),
}
TURN_LENGTH = 6  # frames


def record(name: str, seed: int, num_groups: int) -> tuple[np.ndarray, int]:
    """Returns rows (frame, pedestrian, x, y) of a crossing, and how many of the first rows are for training."""
    generator = np.random.default_rng([seed, list(CROSSINGS).index(name)])
    rows, person, num_train = [], 0, 0
    for group in range(num_groups):
        num = int(generator.integers(2, 5))
        paths = np.stack([_walk(generator, np.array(CROSSINGS[name])) for _ in range(num)], axis=1)
        for step, places in enumerate(paths):
            rows += [(group * LENGTH + step, person + who, *place) for who, place in enumerate(places)]
        person += num
        if group < 0.8 * num_groups:
            num_train = len(rows)
    return np.array(rows, float), num_train


def _walk(generator: np.random.Generator, probabilities: np.ndarray) -> np.ndarray:
    """Returns a path `[LENGTH, 2]`: a tenth of the pedestrians stand still, the others walk at a random speed and may turn."""
    speed = 0.0 if generator.uniform() < 0.1 else 0.4 * generator.normal(1.3, 0.2)
    heading, side = generator.uniform(0, 2 * np.pi), generator.choice([1, 0, -1], p=probabilities)
    start = int(generator.integers(8, 14))
    turned = np.clip((np.arange(LENGTH) - start) / TURN_LENGTH, 0, 1) * side * np.pi / 2
    drift = np.cumsum(generator.normal(0, 0.02, LENGTH))
    angle = heading + turned + drift
    pace = speed * (1 + np.cumsum(generator.normal(0, 0.02, LENGTH)))
    steps = pace[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return generator.uniform(-5, 5, 2) + np.cumsum(steps, axis=0) + generator.normal(0, 0.01, (LENGTH, 2))
