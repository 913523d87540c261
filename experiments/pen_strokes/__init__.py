"""Drawings as sequences of pen strokes."""
