"""Trains one configuration on the splits of many tables, and compares its scores with published ones."""
