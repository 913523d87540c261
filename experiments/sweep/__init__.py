"""Sweeps: every setting with every seed, trained by a few compiled programs, with the results in one table."""
