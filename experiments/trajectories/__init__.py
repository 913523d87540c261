"""Paths of people on foot, and where they may go."""
