"""Published results on these tables: mean test NLL with its standard error or sd; lower is better."""

from __future__ import annotations

# From the name of a folder to the name that papers use.
SHORT_NAMES = {
    "bostonHousing": "boston",
    "concrete": "concrete",
    "energy": "energy",
    "power-plant": "power",
    "wine-quality-red": "wine",
    "yacht": "yacht",
}
ORDER = ("boston", "concrete", "energy", "power", "wine", "yacht")

# Rows differ in splits, in networks and in what ± means; only MC dropout uses the same splits as this benchmark.
NLL: dict[str, tuple[tuple[float, float] | None, ...]] = {
    "least squares, one sigma": ((2.973, 0), (3.755, 0), (2.544, 0), (2.949, 0), (0.997, 0), (3.627, 0)),
    "MC dropout (Gal 2018)": ((2.402, 0.042), (2.937, 0.025), (1.212, 0.005), (2.808, 0.009), (0.928, 0.013), (1.250, 0.015)),
    "Deep ensembles (2017)": ((2.41, 0.25), (3.06, 0.18), (1.38, 0.22), (2.79, 0.04), (0.94, 0.12), (1.18, 0.21)),
    "NGBoost (2020)": ((2.43, 0.15), (3.04, 0.17), (0.60, 0.45), (2.79, 0.11), (0.91, 0.06), (0.20, 0.26)),
    "CARD (2022)": ((2.32, 0.17), (2.99, 0.12), (1.12, 0.15), (2.82, 0.02), (0.87, 0.08), (0.89, 0.07)),
    "Wasserstein boosting": ((2.47, 0.16), (2.83, 0.11), (0.53, 0.08), (2.60, 0.04), (0.95, 0.08), (0.16, 0.24)),
    "TabResFlow": (None, (2.90, 0.15), (0.77, 0.19), (2.60, 0.04), (-0.85, 0.0), (0.67, 0.32)),
    "MDN with noise (Rothfuss 2019)": ((2.49, 0.11), (2.92, 0.08), (1.04, 0.09), None, None, None),
    "a pretrained transformer": (None, (2.215, 0), (0.150, 0), (2.278, 0), None, (-0.731, 0)),
}
CRPS: dict[str, tuple[float | None, ...]] = {"five networks pooled": (1.686, 2.757, None, 2.228, 0.372, 0.478)}
