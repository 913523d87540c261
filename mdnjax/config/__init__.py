"""The configuration of a run: what may stand in it (schema), and how it is read, checked, described and split."""

from mdnjax.config.describe import keys
from mdnjax.config.load import ConfigError, dump, load
from mdnjax.config.numbers import join, split
from mdnjax.config.schema import Config

__all__ = ["Config", "ConfigError", "dump", "join", "keys", "load", "split"]
