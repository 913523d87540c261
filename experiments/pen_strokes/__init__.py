"""Drawings as sequences of pen strokes, generated point by point by a recurrent network."""
