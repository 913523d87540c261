"""The configuration of a run: its keys and their types, and functions that read, check, describe and split it."""

from mdnjax.config.describe import keys
from mdnjax.config.load import ConfigError, Layer, dump, load, merged, read_file, read_words, resolve, settings_layer
from mdnjax.config.numbers import join, split
from mdnjax.config.schema import Config

__all__ = [
    "Config",
    "ConfigError",
    "Layer",
    "dump",
    "join",
    "keys",
    "load",
    "merged",
    "read_file",
    "read_words",
    "resolve",
    "settings_layer",
    "split",
]
