"""Measures the speed of mdnjax and of other implementations of the same work."""
