"""Tables of scores, as texts, that compare a network with simple distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mdnjax.evaluation import LEVELS, Evaluation


def cells_of(evaluations: Mapping[str, Evaluation], targets: Sequence[str]) -> list[list[str]]:
    """Returns the cells of a table: a row for each kind of prediction and each target."""
    rows = []
    for name, evaluation in evaluations.items():
        for target, target_name in enumerate(targets):
            label = name if len(targets) == 1 else f"{name}, {target_name}"
            nll = f"{evaluation.nll:.3f}" if target == 0 else ""
            scores = [f"{values[target]:.4g}" for values in (evaluation.crps, evaluation.rmse)]
            coverage = [f"{100 * share:.1f} %" for share in evaluation.coverage[target]]
            widths = [f"{width:.4g}" for width in evaluation.width[target]]
            rows.append([label, nll, *scores, *coverage, *widths, f"{evaluation.calibration[target]:.3f}"])
    return rows


HEADINGS = ("", "NLL", "CRPS", "RMSE", *(f"in {100 * level:.0f} %" for level in LEVELS))
HEADINGS += (*(f"width {100 * level:.0f} %" for level in LEVELS), "PIT error")


def table_of_atoms(evaluations: Mapping[str, Evaluation]) -> list[list[str]]:
    """Returns a table with its header: how often each atom occurs and is predicted to, and the NLL of both parts."""
    rows, values = [], list[float]()
    for name, evaluation in evaluations.items():
        parts = evaluation.atoms
        assert parts is not None
        values = parts.values
        shares = [
            f"{100 * share:.1f} %" for pair in zip(parts.observed_share, parts.predicted_share, strict=True) for share in pair
        ]
        rows.append([name, *shares, f"{parts.nll_of_kind:.3f}", f"{parts.nll_of_rest:.3f}"])
    shown = [heading for value in values for heading in (f"is {value:g}", f"P({value:g})")]
    return [["", *shown, "NLL of which", "NLL of others"], *rows]
