"""The cells of the table that sets a network beside simple distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mdnjax.evaluation import LEVELS, Evaluation


def cells_of(judgements: Mapping[str, Evaluation], targets: Sequence[str]) -> list[list[str]]:
    """The cells of a table: a row for each way to predict, and for each target where there are several."""
    rows = []
    for name, own in judgements.items():
        for target, called in enumerate(targets):
            label = name if len(targets) == 1 else f"{name}, {called}"
            nll = f"{own.nll:.3f}" if target == 0 else ""
            scores = [f"{values[target]:.4g}" for values in (own.crps, own.rmse)]
            inside = [f"{100 * share:.1f} %" for share in own.coverage[target]]
            rows.append(
                [label, nll, *scores, *inside, *(f"{w:.4g}" for w in own.width[target]), f"{own.calibration[target]:.3f}"]
            )
    return rows


HEADINGS = ("", "NLL", "CRPS", "RMSE", *(f"in {100 * level:.0f} %" for level in LEVELS))
HEADINGS += (*(f"width {100 * level:.0f} %" for level in LEVELS), "PIT error")
