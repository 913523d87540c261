"""Made-up crossings: people come out of one street and go on straight, left or right, so that there is more than one future."""

from __future__ import annotations

import numpy as np

LENGTH = 26  # frames that a group is there for, of 0.4 s
CROSSINGS: dict[str, tuple[float, float, float]] = {  # chances of left, straight and right
    "yield": (0.2, 0.6, 0.2),
    "market": (0.4, 0.2, 0.4),
    "bridge": (0.05, 0.9, 0.05),
}
TURN = 6  # frames that a turn takes


def record(name: str, seed: int, num_groups: int) -> tuple[np.ndarray, int]:
    """Rows (frame, pedestrian, x, y) of a crossing, and how many of them, the first, are to train on."""
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


def _walk(generator: np.random.Generator, chances: np.ndarray) -> np.ndarray:
    """A path `[LENGTH, 2]`: some stand, the others walk at their own pace and turn about the middle of the crossing."""
    speed = 0.0 if generator.uniform() < 0.1 else 0.4 * generator.normal(1.3, 0.2)
    heading, side = generator.uniform(0, 2 * np.pi), generator.choice([1, 0, -1], p=chances)
    begin = int(generator.integers(8, 14))
    turned = np.clip((np.arange(LENGTH) - begin) / TURN, 0, 1) * side * np.pi / 2
    wander = np.cumsum(generator.normal(0, 0.02, LENGTH))
    angle = heading + turned + wander
    pace = speed * (1 + np.cumsum(generator.normal(0, 0.02, LENGTH)))
    steps = pace[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return generator.uniform(-5, 5, 2) + np.cumsum(steps, axis=0) + generator.normal(0, 0.01, (LENGTH, 2))
