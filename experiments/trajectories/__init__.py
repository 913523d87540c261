"""Paths of pedestrians, and mixtures over where they go next."""
