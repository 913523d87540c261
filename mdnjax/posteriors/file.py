"""Saves a posterior as the file of its networks, with the prior and the probability of success beside them, and loads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mdnjax import model_file
from mdnjax.checkpoint import CheckpointError, read_metadata
from mdnjax.posteriors.direct import DirectPosterior
from mdnjax.posteriors.likelihood import LikelihoodPosterior
from mdnjax.posteriors.posterior import Posterior
from mdnjax.posteriors.priors import Prior
from mdnjax.posteriors.success import Success
from mdnjax.posteriors.tempering import Effort

KEY = "posterior"


def save_posterior(path: str | Path, posterior: Posterior) -> None:
    """Writes a posterior to one file, of which `mdnjax.load` reads the networks; an existing file is replaced whole."""
    prior = posterior.prior
    content: dict[str, Any] = {"prior": None if prior is None else _texts(vars(prior))}
    if isinstance(posterior, LikelihoodPosterior):
        success = None if posterior.success is None else _texts(posterior.success._asdict())
        content |= {"success": success, "effort": posterior.effort._asdict()}
    model_file.save(path, posterior.predictor, {KEY: json.dumps(content)})


def load_posterior(path: str | Path) -> Posterior:
    """Returns a saved posterior.

    Raises: CheckpointError (a ValueError) if the file cannot be read, or is not that of a posterior.
    """
    predictor, metadata = model_file.load(path), read_metadata(Path(path))
    if KEY not in metadata:
        raise CheckpointError(f"{path}: got networks without a posterior, expected a file of mdnjax.save_posterior")
    try:
        content = json.loads(metadata[KEY])
        prior = None if content["prior"] is None else Prior(**_arrays(content["prior"]))
        if "effort" not in content:
            return DirectPosterior(predictor, prior)
        if prior is None:
            raise ValueError("got a likelihood without a prior")
        success = None if content["success"] is None else Success(**_arrays(content["success"]))
        return LikelihoodPosterior(predictor, prior, success, Effort(**content["effort"]))
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: its posterior cannot be used: {str(error)[:100]}") from None


def _texts(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns fields with lists in place of arrays, whose numbers JSON stores without a loss."""
    return {name: _as_list(value) for name, value in fields.items()}


def _as_list(value: Any) -> Any:
    if isinstance(value, tuple):
        return {"tuple": [_as_list(each) for each in value]}
    return {"array": value.tolist()} if isinstance(value, np.ndarray) else value


def _arrays(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: _from_list(value) for name, value in fields.items()}


def _from_list(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return tuple(map(_from_list, value["tuple"])) if "tuple" in value else np.array(value["array"])
