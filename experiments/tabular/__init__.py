"""Trains on a table, and compares the predictive distributions with simple ones."""
