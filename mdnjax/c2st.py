"""The classifier two-sample test, by the protocol of the public benchmark of simulation-based inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

NUM_FOLDS = 5
SEED = 1


def c2st(reference: np.ndarray, draws: np.ndarray) -> float:
    """Returns the test accuracy of a classifier of reference `[S, D]` against draws `[S, D]`; 1/2 if it cannot separate them.

    The classifier has two layers of 10 D ReLU units and is trained by Adam until its loss stops improving. The accuracy is the
    mean of 5 folds; both sets are standardised by the reference.
    Source: Lopez-Paz & Oquab (2017); Lueckmann et al. (2021), section 2.3 and their code.
    Raises: ValueError if the shapes differ.
    """
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    if reference.shape != draws.shape:
        raise ValueError(f"c2st: got {reference.shape} and {draws.shape}, expected as many of each")
    mean, sd = reference.mean(axis=0), reference.std(axis=0, ddof=1)
    points = np.concatenate([(part.astype(np.float64) - mean) / sd for part in (reference, draws)])
    labels = np.repeat([0, 1], len(reference))
    units = 10 * reference.shape[1]
    network = MLPClassifier((units, units), activation="relu", solver="adam", max_iter=10_000, random_state=SEED)
    folds = KFold(NUM_FOLDS, shuffle=True, random_state=SEED)
    return float(cross_val_score(network, points, labels, cv=folds, scoring="accuracy").mean())


def c2st_of_each(references: Sequence[np.ndarray], draws: Sequence[np.ndarray]) -> list[float]:
    """Returns the accuracy of each pair, computed in parallel; of the longer set only the first points are used."""
    from joblib import Parallel, delayed

    pairs = [(reference, drawn, min(len(reference), len(drawn))) for reference, drawn in zip(references, draws, strict=True)]
    jobs = (delayed(c2st)(reference[:num], drawn[:num]) for reference, drawn, num in pairs)
    scores: list[Any] = list(Parallel(n_jobs=-1)(jobs))
    return scores
